"""The report of a run of spins: its numbers, arrays and pictures."""

import json

import numpy as np
import pytest
import xarray
from matplotlib.collections import PolyCollection
from PIL import Image

from lattgnn.analysis import analyze_spins, triangles
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, chain, kagome, square, triangular
from lattgnn.report import (
    analysis_figures,
    analyze_trajectory,
    spin_colors,
    spin_panel,
    write_comparison,
    write_quench_report,
    write_spin_movie,
)
from lattgnn.report.averages import average_metrics
from lattgnn.report.ensemble import as_ensemble
from lattgnn.report.quench_figures import order_maps, shown_order
from lattgnn.report.spin_numbers import DEFINITIONS, spin_metrics
from lattgnn.report.spin_report import analyze_spin_runs, spin_figures
from lattgnn.report.style import figure_png
from lattgnn.spin_orders import Spiral, tetrahedral

WIDTHS = (3, 6, 12, 24)


def growing_domains(lattice: Lattice, noise: float = 0.1) -> Trajectory:
    """Stripes of the two tetrahedral orders, which become wider, with noise; two replicas."""
    one, other = (tetrahedral(sign).spins(lattice) for sign in (1, -1))
    frames = []
    for width in WIDTHS:
        is_one = (lattice.cells[:, 0] // width) % 2 == 0
        frames.append(np.where(is_one[:, None], one, other))
    field = np.stack(frames)[:, None].repeat(2, axis=1)
    field = field + noise * np.random.default_rng(0).normal(size=field.shape)
    field /= np.linalg.norm(field, axis=-1, keepdims=True)
    return run_of(field, lattice, np.array([0, 10, 100, 1000]))


def run_of(field: np.ndarray, lattice: Lattice, steps: np.ndarray) -> Trajectory:
    """A run of spins with these frames [frame, replica, site, 3]."""
    init_args = {"dt": 0.1, "kT": 0.01, "alpha": 0.1}
    config = {
        "lattice": lattice.to_dict(),
        "integrator": {"class_path": "lattgnn.dynamics.HeunLLG", "init_args": init_args},
    }
    arrays = {"field": field, "momentum": 0 * field, "forces": field, "step": steps}
    return Trajectory(arrays, config)


def test_colors_of_directions():
    spins = [[1, 0, 0], [-0.5, 3**0.5 / 2, 0], [0, 0, 1], [0, 0, -1], [-1, 0, 0]]
    expected = [[1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 0], [0, 1, 1]]
    np.testing.assert_allclose(spin_colors(np.array(spins, dtype=float)), expected, atol=1e-12)


def test_magnetic_numbers_of_a_run():
    run = growing_domains(triangular(24))
    result = analyze_spin_runs(run)
    assert result is not None
    assert (np.diff(result.chirality_length[:3].mean(axis=1)) > 0).all()
    figures = spin_figures(run, result)
    names = {"spins", "chirality", "charge_density", "magnetic_order", "waves", "chirality_length"}
    assert names <= set(figures)


def test_snapshots_of_spins_are_those_of_a_spin_component():
    run = growing_domains(triangular(6))
    snapshots = analysis_figures(run, analyze_trajectory(run))["snapshots"]
    assert snapshots.axes[-1].get_ylabel() == "spin component along the order"


def test_replicas_of_opposite_chirality_do_not_cancel():
    lattice = triangular(4)
    spins = np.stack([tetrahedral(1).spins(lattice), tetrahedral(-1).spins(lattice)])
    metrics = spin_metrics(analyze_spins(np.zeros(1), spins[None], lattice))
    # A magnetic cell of four sites has the charge 2, and each triangle the chirality 4/(3√3).
    assert metrics["final_topological_charge"] == pytest.approx(8, abs=1e-9)
    assert metrics["final_scalar_chirality"] == pytest.approx(4 / 27**0.5, abs=1e-9)
    assert metrics["final_topological_charge_error"] == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_report_of_spins(tmp_path):
    metrics = write_quench_report(growing_domains(triangular(24)), tmp_path, movie="gif")
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["final_scalar_chirality"] == pytest.approx(4 / 27**0.5, rel=0.05)
    assert metrics["final_effective_arms"] == pytest.approx(3, rel=0.05)
    assert len(metrics["final_arm_wavevectors"]) == 3
    assert metrics["final_star_weight"] == pytest.approx(sum(metrics["final_arm_weights"]))
    page = (tmp_path / "report.html").read_text()
    assert "Magnetic order" in page and "Scalar chirality" in page
    with xarray.open_dataset(tmp_path / "arrays.nc", engine="scipy") as arrays:
        assert arrays.spin_structure_factor.dims[:2] == ("shown_time", "spin_component")
        for name, (symbol, definition, unit) in DEFINITIONS.items():
            attributes = arrays[name].attrs
            assert (attributes["long_name"], attributes["units"]) == (symbol, unit)
            assert attributes["definition"] == definition


@pytest.mark.slow
def test_a_comparison_shows_the_magnetic_numbers_of_each_system(tmp_path):
    lattice = triangular(12)
    runs = []
    for kT, scale in ((0.01, 0.1), (0.5, 0.4)):
        run = growing_domains(lattice, scale)
        integrator = dict(run.config["integrator"])
        integrator["init_args"] = integrator["init_args"] | {"kT": kT}
        runs.append(Trajectory(run.arrays, run.config | {"integrator": integrator}))
    metrics = write_comparison(runs, tmp_path, movie="none", average=(10.0, 100.0))
    page = (tmp_path / "report.html").read_text()
    assert "Magnetic order" in page and "topological charge" in page and "Σ w" in page
    assert (tmp_path / "scalar_chirality_overlay.png").exists()
    cold, hot = metrics["kT=0.01"], metrics["kT=0.5"]
    assert cold["final_scalar_chirality"] > hot["final_scalar_chirality"]
    assert cold["average_window"] == [10, 100] and cold["n_averaged_frames"] == 2
    with xarray.open_dataset(tmp_path / "kT=0.01" / "arrays.nc", engine="scipy") as arrays:
        chirality = np.abs(arrays.scalar_chirality.values)[2:].mean(axis=0)
        weight = arrays.arm_weight.values[2:].sum(axis=-1).mean(axis=0)
    assert cold["mean_scalar_chirality"] == pytest.approx(chirality.mean())
    error = abs(chirality[0] - chirality[1]) / 2
    assert cold["mean_scalar_chirality_error"] == pytest.approx(error)
    assert cold["mean_star_weight"] == pytest.approx(weight.mean())


def test_averages_are_those_of_the_frames_of_the_window():
    run = growing_domains(triangular(6))
    ensemble = as_ensemble(run)
    result, spins = analyze_trajectory(run), analyze_spin_runs(run)
    assert spins is not None
    metrics = average_metrics(ensemble, result, spins, (0.0, 1.0))
    assert metrics["average_window"] == [0, 1] and metrics["n_averaged_frames"] == 2
    assert metrics["mean_magnetization"] == pytest.approx(spins.magnetization[:2].mean())
    metrics = average_metrics(ensemble, result, spins)
    assert metrics["average_window"] == [100, 100]  # frames are at 0, 1, 10 and 100
    with pytest.raises(InputError, match="from t = 0 to 100"):
        average_metrics(ensemble, result, spins, (200.0, 300.0))
    for nonsense in ((100.0, 1.0), (1.0, np.inf), (np.nan, 100.0)):
        with pytest.raises(InputError, match="average must be two ascending times"):
            average_metrics(ensemble, result, spins, nonsense)


def test_pictures_of_spins_on_lattices_with_a_basis(tmp_path):
    lattice = kagome(6)
    spins = np.stack([Spiral(["1/6", 0]).spins(lattice), Spiral([0, 0]).spins(lattice)])
    assert figure_png(spin_panel(spins, lattice, [0.0, 1.0])).startswith(b"\x89PNG")
    path = write_spin_movie(tmp_path / "spins.gif", spins, lattice, np.arange(2.0), dpi=40)
    with Image.open(path) as movie:
        assert getattr(movie, "n_frames", 1) == 2
    with pytest.raises(InputError, match="two dimensions"):
        spin_panel(np.ones((1, 4, 3)), chain(4), [0.0])


def test_other_fields_have_no_magnetic_order():
    run = growing_domains(triangular(4))
    init_args = {"dt": 0.1, "kT": 0.0, "gamma": 0.1, "mass": 1.0}
    integrator = {"class_path": "lattgnn.dynamics.VerletLangevin", "init_args": init_args}
    assert (
        analyze_spin_runs(Trajectory(run.arrays, run.config | {"integrator": integrator})) is None
    )


@pytest.mark.parametrize("kind", ["uniform", "checkerboard"])
def test_a_domain_of_spins_has_one_color_in_the_snapshots(kind):
    """Two domains along x of a ferromagnet or an antiferromagnet on a bipartite lattice."""
    lattice = square(8)
    domain = np.where(lattice.cells[:, 0] < 4, 1.0, -1.0)
    signs = domain if kind == "uniform" else domain * lattice.bipartite_signs
    tilted = signs[:, None] * np.array([0.6, 0.0, 0.8])
    run = run_of(np.tile(tilted, (2, 1, 1, 1)), lattice, np.arange(2))
    result = analyze_trajectory(run)
    drawn = order_maps(run.fields[:, 0], shown_order(result))[-1]
    inside = lattice.cells[:, 0] % 4 != 0  # away from the walls, where neighbors are averaged
    inside &= lattice.cells[:, 0] % 4 != 3
    np.testing.assert_allclose((drawn * domain)[inside], 1.0, atol=1e-12)
    assert str(shown_order(result)) == kind


def test_a_ferromagnet_that_is_not_yet_ordered_is_not_drawn_as_a_checkerboard():
    lattice = square(12)
    spins = np.random.default_rng(1).normal(size=(2, 1, lattice.n_sites, 3)) + [0, 0, 0.6]
    spins /= np.linalg.norm(spins, axis=-1, keepdims=True)
    run = run_of(spins, lattice, np.arange(2))
    result = analyze_trajectory(run)
    assert not result.is_ordered and shown_order(result).kind == "uniform"


def test_chirality_is_drawn_where_the_triangles_are():
    lattice = triangular(6)
    run = growing_domains(lattice)
    drawn = spin_figures(run, analyze_spin_runs(run))["chirality"].axes[0].collections[0]
    assert isinstance(drawn, PolyCollection)
    triangles_drawn = np.stack([np.asarray(path.vertices)[:3] for path in drawn.get_paths()])
    found = triangles(lattice)
    np.testing.assert_allclose(triangles_drawn, found.points)
    # The corners are the positions of the sites, up to whole periods.
    apart = found.points - lattice.positions[found.corners]
    turns = apart @ np.linalg.inv(np.asarray(lattice.primitive_vectors, dtype=float)) / 6
    np.testing.assert_allclose(turns, turns.round(), atol=1e-9)
    sides = np.linalg.norm(np.roll(found.points, 1, axis=1) - found.points, axis=-1)
    np.testing.assert_allclose(sides, 1.0)
