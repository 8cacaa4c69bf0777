import html
import json

import numpy as np
import pytest
import xarray

from lattgnn import analysis
from lattgnn.dynamics import Trajectory
from lattgnn.lattice import Lattice, chain, cubic, honeycomb, kagome, square, triangular
from lattgnn.report import (
    Movie,
    Section,
    analysis_figures,
    analyze_trajectory,
    quench_metrics,
    write_movie,
    write_quench_report,
    write_report,
)
from lattgnn.report.quench_arrays import DEFINITIONS, quench_dataset, write_dataset
from lattgnn.report.quench_figures import order_maps, picture_frames

PICTURES = {"snapshots", "domain_length", "local_slope", "correlation", "structure_factor"}
PICTURES |= {"structure_cut", "order", "energy", "temperature"}

STEPS = np.unique(np.geomspace(1, 400, 14).round().astype(int) - 1)


def coarsening(lattice: Lattice, n_replicas: int) -> Trajectory:
    """Time-dependent Ginzburg–Landau dynamics of a nonconserved checkerboard order."""
    rng = np.random.default_rng(5)
    bonds = lattice.bonds(lattice.neighbor_distance)
    order = 0.3 * rng.normal(size=(n_replicas, lattice.n_sites))
    frames = []
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            frames.append(order * lattice.bipartite_signs)
        change = order - order**3
        differences = order[:, bonds.source] - order[:, bonds.destination]
        change += np.stack(
            [np.bincount(bonds.destination, row, lattice.n_sites) for row in differences]
        )
        order = order + 0.1 * change
    field = np.stack(frames)
    init_args = {"dt": 0.1, "kT": 0.0, "gamma": 0.2, "mass": 5.0}
    config = {
        "lattice": lattice.to_dict(),
        "integrator": {"class_path": "lattgnn.dynamics.VerletLangevin", "init_args": init_args},
    }
    arrays = {"field": field, "momentum": np.ones_like(field), "forces": field, "step": STEPS}
    return Trajectory(arrays, config)


@pytest.fixture(scope="module")
def quench() -> Trajectory:
    return coarsening(square(48), n_replicas=3)


def test_domains_grow(quench):
    result = analyze_trajectory(quench)
    lengths = result.lengths["C(r)"]
    assert lengths.shape == (len(STEPS), 3)
    ordered = lengths[np.isfinite(lengths).all(axis=1)]
    assert len(ordered) >= 6 and ordered[-1].mean() > 3 * ordered[0].mean()
    np.testing.assert_allclose(
        result.correlation[:, 0], np.asarray(quench.fields[:]).var(axis=2).mean(axis=1)
    )
    assert result.neighbor_correlation[-1].max() < -0.9
    peak = np.unravel_index(result.structure[-1].argmax(), (48, 48))
    np.testing.assert_allclose(peak, 24, atol=1)
    given = analyze_trajectory(quench, window=(3.0, 30.0)).fits["C(r)"]
    assert 0.15 < given.exponent < 0.8 and given.n_replicas == 3


@pytest.mark.slow
def test_report_files(quench, tmp_path):
    metrics = write_quench_report(quench, tmp_path / "out", title="A quench", movie="none")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    assert metrics["n_sites"] == 48 * 48 and metrics["kinetic_temperature"] == pytest.approx(0.2)
    for kind in ("png", "pdf"):
        assert {path.stem for path in (tmp_path / "out").glob(f"*.{kind}")} == PICTURES
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(PICTURES)
    for text in ("A quench", "lattgnn.dynamics.VerletLangevin", "torch", "growth exponent"):
        assert text in page
    for _, definition, unit in DEFINITIONS.values():
        assert html.escape(definition) in page or "electrons" in definition, "nothing undefined"
        assert html.escape(unit) in page


def test_all_arrays_are_saved_with_units_and_definitions(quench, tmp_path):
    result = analyze_trajectory(quench)
    write_dataset(quench_dataset(quench, result), tmp_path / "arrays.nc")
    with xarray.open_dataset(tmp_path / "arrays.nc") as saved:
        for name in saved.variables:
            assert saved[name].attrs["long_name"] and saved[name].attrs["units"], name
        np.testing.assert_array_equal(saved.length_correlation, result.lengths["C(r)"])
        np.testing.assert_array_equal(saved.structure_factor, result.structure)
        np.testing.assert_allclose(saved.kinetic_temperature, 0.2)
        assert (
            saved.length_correlation.units == "a"
            and "one half" in saved.length_correlation.definition
        )
        assert json.loads(saved.attrs["config"]) == quench.config
        assert saved.sizes["replica"] == 3 and saved.wavevector.shape == (48, 48, 2)


def test_one_replica_in_one_dimension():
    trajectory = coarsening(chain(64), n_replicas=1)
    result = analyze_trajectory(trajectory, window=(1.0, 40.0))
    metrics = quench_metrics(trajectory, result)
    assert metrics["growth_interval_from_correlation"] == [None, None]
    assert "Too few replicas" in metrics["growth_reason_from_correlation"]
    expected = PICTURES - {"snapshots", "structure_factor"}
    assert set(analysis_figures(trajectory, result)) == expected


def test_the_movie_is_part_of_the_page(tmp_path):
    lattice = square(6)
    fields = np.outer([0.0, 1.0, 2.0], lattice.bipartite_signs)
    path = write_movie(tmp_path / "quench.webp", fields, lattice, np.arange(3.0), dpi=40)
    write_report(tmp_path / "report.html", "Movie", [Section("Movie", content=Movie(path))])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<img src="data:image/webp;base64,' in page
    assert Movie(tmp_path / "a.mp4").media_type == "video/mp4"


@pytest.mark.parametrize(("suffix", "start"), [("gif", b"GIF89a"), ("webp", b"RIFF")])
def test_movie(quench, tmp_path, suffix, start):
    fields = np.asarray(quench.fields[:3, 0])
    path = write_movie(tmp_path / f"quench.{suffix}", fields, quench.lattice, quench.times[:3])
    assert path.read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [f"quench.{suffix}"]
    with pytest.raises(ValueError, match=r"\.webp, \.gif or \.mp4"):
        write_movie(tmp_path / "quench.avi", fields, quench.lattice, quench.times[:3])


def test_movie_without_imageio_names_the_extra(quench, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "imageio.v2", None)
    with pytest.raises(ImportError, match=r"lattgnn\[movie\]"):
        write_movie(tmp_path / "a.mp4", np.ones((1, 48 * 48)), quench.lattice, np.zeros(1))


def test_picture_frames_are_spread_in_log_time():
    times = np.concatenate([[0.0], np.geomspace(0.1, 1000, 41)])
    frames = picture_frames(times)
    assert frames[-1] == 41 and len(frames) == 8
    assert picture_frames(np.zeros(1)).tolist() == [0]


@pytest.mark.slow
def test_a_vector_is_the_sum_of_its_components(quench):
    """The same quench along (3, 4)/5: what is found does not depend on the axes."""
    direction = np.array([0.6, 0.8])
    arrays = {
        name: array if name == "step" else array[..., None] * direction
        for name, array in quench.arrays.items()
    }
    turned = Trajectory(arrays, quench.config)
    found, expected = analyze_trajectory(turned), analyze_trajectory(quench)
    np.testing.assert_allclose(found.order_parameter, np.abs(expected.order_parameter), atol=1e-12)
    for name in ("neighbor_correlation", "correlation", "structure"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-12
        )
    np.testing.assert_allclose(found.lengths["S(q)"], expected.lengths["S(q)"], rtol=1e-9)
    one, other = (order_maps(run.fields[:, 0], expected.order) for run in (turned, quench))
    np.testing.assert_allclose(one, other, atol=1e-12)
    assert "snapshots" in analysis_figures(turned, found)


@pytest.mark.parametrize(
    "lattice",
    [
        pytest.param(triangular(12), marks=pytest.mark.slow),
        pytest.param(kagome(6), marks=pytest.mark.slow),
        square(9),
    ],
    ids=lambda lattice: lattice.name,
)
def test_without_two_colors_the_peak_of_s_q_is_the_order(lattice):
    """A growing wave is planted on a uniform field; ±Q of a real field are one wave."""
    rng = np.random.default_rng(3)
    q = analysis.wavevectors(lattice)[2, 1]
    times = np.arange(6)
    wave = times[:, None] * np.cos(lattice.positions @ q) + 5.0
    field = wave[:, None] + 0.1 * rng.normal(size=(6, 2, lattice.n_sites))
    config = {"lattice": lattice.to_dict(), "integrator": {"init_args": {"dt": 0.1}}}
    trajectory = Trajectory(
        {"field": field, "momentum": field, "forces": field, "step": times}, config
    )
    result = analyze_trajectory(trajectory)
    np.testing.assert_allclose(np.abs(result.order.center), np.abs(q), atol=1e-12)
    np.testing.assert_allclose(result.order_parameter.mean(1), 0.5 * times, atol=0.1)
    assert set(result.lengths) == {"S(q)"}
    assert "wave with Q" in quench_metrics(trajectory, result)["order"]
    assert {"snapshots", "structure_factor", "order"} <= set(analysis_figures(trajectory, result))


@pytest.mark.slow
def test_a_run_of_one_frame_has_a_report_without_growth(quench, tmp_path):
    begun = Trajectory({name: array[:1] for name, array in quench.arrays.items()}, quench.config)
    metrics = write_quench_report(begun, tmp_path, movie="none")
    assert metrics["n_frames"] == 1 and "growth_exponent_from_correlation" not in metrics
    assert not (tmp_path / "domain_length.png").exists()


@pytest.mark.parametrize(
    ("lattice", "value"),
    [(square(6), 0.0), (square(5, 7), 1.0), (honeycomb(4), 1.0), (chain(12), 0.0), (cubic(2), 1.0)],
    ids=lambda x: getattr(x, "name", str(x)),
)
def test_a_field_without_fluctuations_can_be_drawn(lattice, value):
    field = np.full((4, 1, lattice.n_sites), value)
    config = {"lattice": lattice.to_dict(), "integrator": {"init_args": {"dt": 0.1}}}
    arrays = {"field": field, "momentum": field, "forces": field, "step": np.arange(4)}
    trajectory = Trajectory(arrays, config)
    result = analyze_trajectory(trajectory)
    metrics = quench_metrics(trajectory, result)
    assert metrics["order"].startswith("none")
    assert metrics["final_length_from_structure_factor"] is None
    figures = analysis_figures(trajectory, result)
    assert "order" in figures and "domain_length" not in figures
    quench_dataset(trajectory, result)


def test_a_single_domain_has_no_length():
    lattice = square(8)
    field = np.broadcast_to(lattice.bipartite_signs * 1.0, (4, 1, 64))
    config = {"lattice": lattice.to_dict(), "integrator": {"init_args": {"dt": 0.1}}}
    arrays = {"field": field, "momentum": field, "forces": field, "step": np.arange(4)}
    trajectory = Trajectory(arrays, config)
    result = analyze_trajectory(trajectory)
    metrics = quench_metrics(trajectory, result)
    assert (
        metrics["final_order_parameter"] == 1.0 and metrics["final_length_from_correlation"] is None
    )
    assert "domain_length" not in analysis_figures(trajectory, result)
