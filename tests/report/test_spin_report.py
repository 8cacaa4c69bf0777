"""The report of a run of spins: its numbers, arrays and pictures."""

import json

import numpy as np
import pytest
import xarray
from PIL import Image

from lattgnn.analysis import analyze_spins
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, chain, kagome, triangular
from lattgnn.report import (
    analysis_figures,
    analyze_trajectory,
    spin_colors,
    spin_panel,
    write_quench_report,
    write_spin_movie,
)
from lattgnn.report.spin_report import (
    DEFINITIONS,
    analyze_spin_runs,
    spin_figures,
    spin_metrics,
)
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
    init_args = {"dt": 0.1, "kT": 0.01, "alpha": 0.1}
    config = {
        "lattice": lattice.to_dict(),
        "integrator": {"class_path": "lattgnn.dynamics.HeunLLG", "init_args": init_args},
    }
    steps = np.array([0, 10, 100, 1000])
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
    page = (tmp_path / "report.html").read_text()
    assert "Magnetic order" in page and "Scalar chirality" in page
    with xarray.open_dataset(tmp_path / "arrays.nc", engine="scipy") as arrays:
        assert arrays.spin_structure_factor.dims[:2] == ("shown_time", "spin_component")
        for name, (symbol, definition, unit) in DEFINITIONS.items():
            attributes = arrays[name].attrs
            assert (attributes["long_name"], attributes["units"]) == (symbol, unit)
            assert attributes["definition"] == definition


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
