"""The quickstart at toy sizes: the whole road is open, and a second call does nothing again."""

import json
import re
import warnings

import pytest

from lattgnn.cli import main
from lattgnn.cli.quickstart import print_table, settings, stages
from lattgnn.cli.quickstart_report import summary_rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished toy quickstart and what it printed."""
    out = tmp_path_factory.mktemp("quickstart") / "run"
    with warnings.catch_warnings():
        # A network after three epochs at toy sizes may warn of the fields that it meets.
        warnings.simplefilter("default")
        assert main(["quickstart", "--fast", f"--out={out}"]) == 0
    return out


def figures(out):
    return json.loads((out / "metrics.json").read_text())


@pytest.mark.slow
def test_it_leaves_a_report_with_everything_inside(finished):
    page = (finished / "report.html").read_text()
    assert not re.search(r'(src|href)="(https?:)?//', page)
    names = {path.stem for path in finished.glob("*.png")}
    assert {
        "loss",
        "parity",
        "windows",
        "dynamics",
        "snapshots",
        "structure_factor",
        "structure_cut",
        "temperature",
    } <= names
    assert page.count("data:image/png;base64,") == len(names)
    for heading in ("Summary", "Fit", "Learned against exact dynamics", "Domains", "Versions"):
        assert heading in page


@pytest.mark.slow
def test_metrics_hold_the_figures_of_every_stage(finished):
    found = figures(finished)
    assert found["test"]["test/quench/mse"] > 0
    assert found["data"]["extent"] == "6×6"
    assert found["quench"]["n_replicas"] == 2
    assert {"data", "fit", "test", "quench", "report"} <= found["times"].keys()
    assert all(seconds["wall"] > 0 for seconds in found["times"].values())


@pytest.mark.slow
def test_a_second_call_does_nothing_again(finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.ckpt")}
    before |= {
        path: path.stat().st_mtime_ns
        for path in (finished / "report.html", finished / "metrics.json")
    }
    assert main(["quickstart", "--fast", f"--out={finished}"]) == 0
    out, err = capsys.readouterr()
    assert err.count("already finished") == len(stages(finished)) == 6
    assert "lattgnn fit" not in err
    assert "total" in out and str(finished / "report.html") in out
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_an_unfinished_stage_alone_is_done_again(finished, capsys):
    old = figures(finished)
    (finished / "report.html").unlink()
    (finished / "fit" / "predictions.npz").unlink()
    assert main(["quickstart", "--fast", f"--out={finished}"]) == 0
    assert capsys.readouterr().err.count("already finished") == 5
    new = figures(finished)
    assert (finished / "report.html").exists()
    assert new["test"] == old["test"] and new["quench"] == old["quench"]


@pytest.mark.slow
def test_other_settings_are_refused(finished, capsys):
    assert main(["quickstart", "--fast", "--seed=1", f"--out={finished}"]) == 2
    err = capsys.readouterr().err
    assert "--out" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--sed=1"], "Did you mean '--seed'?"),
        (["--seed=x"], "seed: expected int"),
        (["--seed=-1"], "seed must be"),
        (["fast"], "fast"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(options, part, tmp_path, capsys):
    try:
        code = main(["quickstart", f"--out={tmp_path / 'run'}", *options])
    except SystemExit as stop:  # argparse's way
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2 and out == ""
    assert part in err and err.count("\n") == 1, err
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_one_line(tmp_path, capsys):
    (tmp_path / "run").write_text("something of the user's")
    assert main(["quickstart", f"--out={tmp_path / 'run'}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "run").read_text() == "something of the user's"


def test_fast_changes_sizes_only():
    full, fast = settings(), settings(fast=True)
    assert full["generate"]["hamiltonian"] == fast["generate"]["hamiltonian"]
    assert full["quench"]["integrator"] == fast["quench"]["integrator"]
    assert full["quench"]["lattice"]["init_args"]["extent"] == [128, 128]
    assert fast["quench"]["lattice"]["init_args"]["extent"] == [16, 16]
    assert full["quench"]["lattice"]["class_path"] == fast["quench"]["lattice"]["class_path"]


def test_the_table_lists_what_is_known(capsys, tmp_path):
    known = {
        "data": {"n_frames": 5, "extent": "6×6"},
        "fit": {"parameters": 7, "epochs": 2},
        "test": {"test/quench/mse": 1e-4, "test/random/mse": 3e-4},
        "dynamics": {"n_replicas": 2, "extent": "8×8", "n_steps": 9, "largest_deviation": 0.004},
        "quench": {"n_replicas": 3, "extent": "64×64", "final_step": 100}
        | {
            "growth_exponent_from_correlation": 0.5,
            "growth_interval_from_correlation": [0.45, 0.55],
        },
        "times": {"data": {"wall": 2.0, "cpu": 3.0}, "fit": {"wall": 1.0, "cpu": 1.0}},
    }
    assert summary_rows(known)[-1] == ("total", "", 3.0, 4.0)
    print_table(known, tmp_path)
    out = capsys.readouterr().out
    for part in (
        "1.0e-04 quench",
        "within 0.4 %",
        "3 quenches of 64×64",
        "0.50 [0.45, 0.55] from C(r)",
    ):
        assert part in out
    short = known | {"quench": {"n_replicas": 1, "extent": "4×4", "final_step": 1}}
    assert "too short" in summary_rows(short)[-2][1]
