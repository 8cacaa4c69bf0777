"""The results of a campaign, from what the analyses of its points have written."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray
from matplotlib.collections import LineCollection

from lattgnn.dynamics import Trajectory
from lattgnn.lattice import triangular
from lattgnn.report import (
    ScanCurve,
    campaign_dataset,
    scan_plot,
    write_campaign_report,
    write_quench_report,
)
from lattgnn.report.campaign_points import scan_points
from lattgnn.report.plots import curves_plot
from lattgnn.report.quench_arrays import write_dataset

TIMES = np.array([0.0, 1.0, 2.0, 4.0])


def analysis(out: Path, number: int, seeds: list[int], length: float) -> dict:
    """The files of an analysis of one run per seed, whose length is `length` + its seed."""
    folder = out / f"analyze/{number}"
    folder.mkdir(parents=True)
    runs = [out / f"simulate/{number}/seed-{seed}" for seed in seeds]
    values = np.tile(length + np.array(seeds, dtype=np.float64), (len(TIMES), 1))
    arrays = xarray.Dataset(
        {"length_correlation": (("time", "replica"), values)},
        {
            "time": TIMES,
            "run": ("replica", np.arange(len(seeds), dtype=np.int32)),
            "step": ("time", np.arange(len(TIMES), dtype=np.int32)),
        },
        {"runs": ", ".join(map(str, runs))},
    )
    write_dataset(arrays, folder / "arrays.nc")
    metrics = {
        "n_runs": len(seeds),
        "n_replicas": len(seeds),
        "final_length_from_correlation": length + float(np.mean(seeds)),
        "final_length_from_correlation_error": 0.5,
        "growth_exponent_from_correlation": 0.4,
        "growth_interval_from_correlation": [0.3, 0.5],
        "order": "checkerboard",
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    found = {("simulate", number, s): run for s, run in zip(seeds, runs, strict=True)}
    return found | {("analyze", number, seed): folder for seed in seeds}


def test_results_are_arrays_over_parameters_and_seeds(tmp_path):
    points = [{"g": 2.0, "kT": 0.1}, {"g": 3.0, "kT": 0.1}, {"g": 3.0, "kT": 0.5}]
    folders = analysis(tmp_path, 0, [0, 1], 10.0) | analysis(tmp_path, 2, [1], 20.0)
    data = campaign_dataset(points, 2, folders, {"kT": ["simulate.a", "simulate.b"]})
    length = data.length_correlation
    assert length.dims == ("g", "kT", "seed", "replica", "time")
    assert length.sel(g=2, kT=0.1, seed=1).values == pytest.approx(11.0)
    assert length.sel(g=3, kT=0.5, seed=1).values == pytest.approx(21.0)
    assert np.isnan(length.sel(g=3, kT=0.5, seed=0)).all()  # this seed has failed
    assert np.isnan(length.sel(g=3, kT=0.1)).all()  # and so has this point
    assert data.growth_interval_from_correlation_high.sel(g=2, kT=0.1) == 0.5
    assert data.kT.attrs["options"] == "simulate.a, simulate.b"


@pytest.mark.slow
def test_results_of_spins_have_their_magnetic_numbers(tmp_path):
    """From the files that `analyze` writes for two temperatures, one seed each."""
    folders = {}
    for number in (0, 1):
        run, report = tmp_path / f"simulate/{number}/seed-0", tmp_path / f"analyze/{number}"
        write_quench_report(spin_run(run, number), report, movie="none")
        folders |= {("simulate", number, 0): run, ("analyze", number, 0): report}
    points = [{"kT": 0.1}, {"kT": 0.2}]
    data = campaign_dataset(points, 1, folders)
    assert data.topological_charge.dims == ("kT", "seed", "replica", "time")
    for name in ("magnetization", "scalar_chirality", "star_weight", "topological_charge"):
        assert np.isfinite(data[f"final_{name}"]).all() and np.isfinite(data[f"mean_{name}"]).all()
    write_campaign_report(tmp_path, "Spins", points, 1, folders)
    page = (tmp_path / "report.html").read_text()
    assert "Magnetic order" in page and "Final star weight against kT" in page
    assert (tmp_path / "figures" / "scalar_chirality.png").exists()


def spin_run(path: Path, seed: int) -> Trajectory:
    """Two frames of random spins."""
    lattice = triangular(4)
    init_args = {"dt": 0.1, "kT": 0.01, "alpha": 0.1}
    config = {
        "lattice": lattice.to_dict(),
        "integrator": {"class_path": "lattgnn.dynamics.HeunLLG", "init_args": init_args},
    }
    field = np.random.default_rng(seed).normal(size=(2, 2, lattice.n_sites, 3))
    field /= np.linalg.norm(field, axis=-1, keepdims=True)
    arrays = {"field": field, "momentum": field, "forces": field, "step": np.array([0, 10])}
    return Trajectory(arrays, config, path)


def test_a_sparse_scan_keeps_its_points(tmp_path):
    points = [{"a": float(n), "b": float(n)} for n in range(11)]
    data = campaign_dataset(points, 1, analysis(tmp_path, 4, [0], 10.0))
    assert data.length_correlation.dims == ("point", "seed", "replica", "time")
    assert data.b.values == pytest.approx(np.arange(11))
    assert float(data.length_correlation.isel(point=4).mean()) == pytest.approx(10.0)


@pytest.mark.slow
def test_the_report_shows_numbers_against_the_parameter(tmp_path):
    points = [{"kT": 0.1}, {"kT": 0.5}]
    folders = analysis(tmp_path, 0, [0, 1], 10.0) | analysis(tmp_path, 1, [0, 1], 20.0)
    write_campaign_report(tmp_path, "Growth", points, 2, folders)
    assert xarray.open_dataset(tmp_path / "results.nc").sizes["kT"] == 2
    page = (tmp_path / "report.html").read_text()
    assert "kT=0.5" in page and "Growth exponent from correlation against kT" in page
    names = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert "final_length_from_correlation_against_kT" in names and "length_correlation" in names


def test_a_parameter_that_nothing_scans_is_not_named(tmp_path):
    folders = analysis(tmp_path, 0, [0, 1], 10.0) | analysis(tmp_path, 1, [0, 1], 20.0)
    points = [{"kT": 0.1, "forces": "base"}, {"kT": 0.5, "forces": "base"}]
    found = scan_points(campaign_dataset(points, 2, folders), points, folders)
    assert [row.name() for row in found] == ["kT=0.1", "kT=0.5"]
    assert [row.name(without="kT") for row in found] == ["", ""]
    points[1]["forces"] = "learned"
    found = scan_points(campaign_dataset(points, 2, folders), points, folders)
    assert [row.name(without="kT") for row in found] == ["forces=base", "forces=learned"]


def test_seeds_alone_are_curves_without_a_legend(caplog):
    """matplotlib would log that there are no labels."""
    figure = curves_plot({"": (np.array([1.0, 2.0]), np.ones((2, 3)))}, "E")
    assert not figure.legends and not caplog.messages


def test_nothing_is_written_without_results(tmp_path):
    write_campaign_report(tmp_path, "Growth", [{"kT": 0.1}], 1, {})
    assert not list(tmp_path.iterdir())


def test_intervals_are_bars_and_the_guide_is_a_line():
    curve = ScanCurve(
        *np.array([[0.1, 1.0, 2.0], [0.2, 0.3, 0.4], [0.1, np.nan, 0.3], [0.4, 1, 1]])
    )
    figure = scan_plot({"g=2": curve}, "exponent", "kT", guide=0.5)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and np.asarray(axes.lines[-1].get_ydata()) == pytest.approx(
        0.5
    )
    (collection,) = axes.collections
    assert isinstance(collection, LineCollection)
    bars = np.array(collection.get_segments())
    assert bars[0][:, 1] == pytest.approx([0.1, 0.4])
    assert bars[1][0, 1] == pytest.approx(0.3)  # no lower end


def test_a_curve_without_points_keeps_its_color():
    none = ScanCurve(*np.zeros((4, 0)))
    some = ScanCurve(*np.array([[0.1, 0.2], [0.3, 0.4], [0.2, 0.3], [0.4, 0.5]]))
    alone = scan_plot({"g=1": none, "g=2": some}, "exponent", "kT").axes[0]
    both = scan_plot({"g=1": some, "g=2": some}, "exponent", "kT").axes[0]
    assert len(alone.lines) < len(both.lines)
    assert alone.lines[0].get_color() == both.lines[-1].get_color()
