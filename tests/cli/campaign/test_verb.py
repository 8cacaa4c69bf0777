"""`lattgnn campaign` as a user runs it, on this process alone."""

import subprocess
import sys
from pathlib import Path

import pytest
import xarray
import yaml

from lattgnn import cli
from lattgnn.dynamics import Trajectory
from tests.patience import PATIENCE

RUN = "out/simulate/g=3.5,kT=0.1/seed-0"


def refused(capsys, code: int) -> str:
    assert code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    assert err.startswith("lattgnn campaign: error: ")
    return err


def test_a_dry_run_lists_the_tasks_and_writes_nothing(campaign, capsys):
    scan = {"g": [2, 3.5], "kT": [0.1]}
    assert campaign("--dry_run", scan=scan, n_seeds=2, analyze={}) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "to do  simulate/g=2,kT=0.1/seed-0"
    assert lines[-1].startswith("6 tasks: 0 done") and len(lines) == 7
    assert not Path("out").exists()


def test_a_task_is_what_simulate_makes_of_its_file(campaign, quench, capsys):
    assert campaign("--simulate.n_steps=2") == 0
    assert Trajectory.open(RUN).config["n_steps"] == 2
    config = yaml.safe_load(Path(f"{RUN}.yaml").read_text())
    assert config["initial"] == quench["initial"] | {"seed": 0}
    assert cli.main(["simulate", f"--config={RUN}.yaml", "--out=by-hand"]) == 0
    one, other = Trajectory.open(RUN), Trajectory.open("by-hand")
    assert one.config == other.config and (one.fields[:] == other.fields[:]).all()


def test_a_failed_task_stops_nothing_and_is_named(campaign, capsys):
    scan = [{"g": [3.5], "dt": [1e6]}, {"g": [3.5], "kT": [0.1]}]
    assert campaign("--simulate.n_steps=2", scan=scan) == 1
    err = capsys.readouterr().err.splitlines()
    assert err[-2].startswith("failed: simulate/g=3.5,dt=1000000/seed-0: ") and "step" in err[-2]
    assert err[-1].startswith("lattgnn campaign: error: 1 of 2 tasks have failed, and 0 that need")
    log = Path("out/simulate/g=3.5,dt=1000000/seed-0.log").read_text()
    assert log.startswith("lattgnn simulate: error: ")
    assert Trajectory.open(RUN).complete


def test_a_scan_may_grow_but_keeps_what_is_finished(campaign, capsys):
    failing = {"dt": [1e6, 0.05], "g": [3.5]}
    assert campaign("--simulate.n_steps=2", scan=failing) == 1
    finished = Path("out/simulate/g=3.5,dt=0.05/seed-0")
    before = finished.with_suffix(".log").stat().st_mtime_ns
    capsys.readouterr()
    other = {"dt": [0.01], "g": [3.5]}
    message = refused(capsys, campaign("--simulate.n_steps=2", scan=other))
    assert "results that this campaign leaves out: simulate/g=3.5,dt=0.05/seed-0. " in message
    # The value that has failed may go, and another one may come.
    grown = {"dt": [0.01, 0.05], "g": [3.5]}
    assert campaign("--simulate.n_steps=2", scan=grown) == 0
    assert Trajectory.open("out/simulate/g=3.5,dt=0.01/seed-0").complete
    assert finished.with_suffix(".log").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "changes", "parts"),
    [
        ([], {"simulate": None}, ["at least one of the stages"]),
        ([], {"simulate": "missing.yaml"}, ["there is no file 'missing.yaml'"]),
        ([], {"simulate": 3}, ["simulate must be a file or a mapping"]),
        ([], {"n_seeds": 0}, ["n_seeds must be", ">= 1"]),
        (["--simulate.n_step=3"], {}, [RUN[4:], "n_steps"]),
        (["--simulate.n_steps=x"], {}, [RUN[4:], "n_steps"]),
        (["--simulate.n_steps=["], {}, ["must have a value in YAML"]),
        ([], {"scan": {"g": [2], "kT": [-1.0]}}, ["kT=-1", "kT must be finite"]),
        ([], {"modules": ["no_such_module"]}, ["no_such_module"]),
        (["--simulate.initial.seed=3"], {}, ["initial.seed must not be given", "--n_seeds"]),
        (["--simulate.initial={seed: 3}"], {}, ["initial.seed must not be given", "--n_seeds"]),
        (["--simulate.n_steps=-1"], {}, [RUN[4:], "n_steps must be", ">= 0"]),
        (["--simulate.cuts=[2,1]"], {}, [RUN[4:], "cuts must be left out for one process"]),
        (["--simulate.initial={field_std: -2.0}"], {}, [RUN[4:], "field_std must be", ">= 0"]),
        (["--simulate.initial={n_replicas: 0}"], {}, [RUN[4:], "n_replicas must be at least 1"]),
        (["--analyze.window=[8,1]"], {"analyze": {}}, ["analyze/", "two ascending times"]),
        (["--analyze.window=[1,8]"], {"analyze": {}}, ["analyze/", "must overlap with the run"]),
        (["--analyze.average=[1,8]"], {"analyze": {}}, ["analyze/", "must contain a saved time"]),
        (["--n_seed=2"], {}, ["Did you mean '--n_seeds'"]),
    ],
)
def test_bad_input_is_one_line_before_anything_runs(campaign, capsys, options, changes, parts):
    message = refused(capsys, campaign(*options, **changes))
    assert all(part in message for part in parts), message
    assert not Path("out").exists()


@pytest.mark.slow
def test_a_campaign_of_quenches_from_the_first_run_to_the_report(campaign, capsys):
    changes = {
        "scan": {"g": [2.0], "kT": [0.1, 0.3]},
        "n_seeds": 2,
        "analyze": {"movie": "none"},
    }
    assert campaign(**changes) == 0
    data = xarray.open_dataset("out/results.nc")
    assert data.potential_energy.dims == ("g", "kT", "seed", "replica", "time")
    run = Trajectory.open("out/simulate/g=2,kT=0.3/seed-1")
    chosen = data.potential_energy.sel(g=2, kT=0.3, seed=1, replica=0)
    assert run.energies is not None
    assert chosen.values == pytest.approx(run.energies[:][:, 0] / 16)
    assert chosen.time.values == pytest.approx(run.times)
    assert data.kT.attrs["options"].count("kT") == 2
    page = Path("out/report.html").read_text()
    assert "g=2, kT=0.3" in page and "final share of the order" not in page.split("<img")[0]
    before = Path("out/simulate/g=2,kT=0.3/seed-1.log").stat().st_mtime_ns
    capsys.readouterr()
    # Everything is there: nothing runs again.
    assert campaign(**changes) == 0
    assert capsys.readouterr().err == ""
    assert campaign("--dry_run", **changes) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("6 tasks: 6 done")
    assert Path("out/simulate/g=2,kT=0.3/seed-1.log").stat().st_mtime_ns == before
    # Longer runs are continued, and analyzed again.
    assert campaign("--simulate.n_steps=6", **changes) == 0
    assert xarray.open_dataset("out/results.nc").final_step.values == pytest.approx(6)
    message = refused(capsys, campaign("--simulate.integrator.init_args.gamma=1.0", **changes))
    assert "gamma=0.2, got 1.0" in message


@pytest.mark.slow
def test_a_whole_chain_on_two_processes(configured):
    sources = [
        {"class_path": "lattgnn.data.RandomFields", "init_args": {"split": split, "n_samples": 8}}
        for split in ("train", "val", "test")
    ]
    stages = {
        "generate": {
            "lattice": {"class_path": "lattgnn.lattice.square", "init_args": {"extent": [4, 4]}},
            "hamiltonian": {"class_path": "lattgnn.hamiltonians.Holstein"},
            "solver": {
                "class_path": "lattgnn.solvers.ExactDiagonalization",
                "init_args": {"kT": 0.1, "mu": 0.0},
            },
            "sources": sources,
        },
        "fit": {
            "model": {
                "net": {
                    "class_path": "lattgnn.nn.OrbitNetwork",
                    "init_args": {"cutoff": 1.5, "n_layers": 1, "hidden": {"channels": 2}},
                }
            },
            "trainer": {"max_epochs": 1, "accelerator": "cpu", "devices": 1},
            "test": True,
        },
        "analyze": {"movie": "none"},
        "parameters": {"g": "generate.hamiltonian.init_args.g", "lr": "fit.model.lr"},
        "scan": {"g": [2.0, 3.0], "lr": [0.001]},
        "n_workers": 2,
    }
    file = configured(**stages)
    given = yaml.safe_load(file.read_text())
    given["simulate"]["force_field"] = {}
    file.write_text(yaml.safe_dump(given))
    command = [sys.executable, "-m", "lattgnn", "campaign", f"--config={file}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    data = xarray.open_dataset("out/results.nc")
    assert dict(data.sizes)["g"] == 2 and (data.fit_test_mse > 0).all()
    assert data.fit_test_mse.dims == ("g", "lr", "seed")
    weights = Trajectory.open("out/simulate/g=2,lr=0.001/seed-0").config["force_field"]
    assert weights["init_args"]["hamiltonian"]["init_args"]["g"] == 2.0
    assert Path("out/fits/report.html").exists()
