"""Runs that can be repeated from their folder, and that start from one another."""

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from lattgnn.cli import main
from lattgnn.dynamics import Trajectory
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.native import library
from lattgnn.pretrained import pretrained_path
from lattgnn.run_records import describe_force_field
from lattgnn.solvers import ExactDiagonalization
from lattgnn.spin_orders import tetrahedral

QUENCH = {
    "lattice": {"class_path": "lattgnn.lattice.square", "init_args": {"extent": [4, 4]}},
    "force_field": {
        "hamiltonian": {"class_path": "lattgnn.hamiltonians.Holstein"},
        "solver": {
            "class_path": "lattgnn.solvers.ExactDiagonalization",
            "init_args": {"kT": 0.1, "mu": 0.0},
        },
    },
    "integrator": {
        "class_path": "lattgnn.dynamics.VerletLangevin",
        "init_args": {"dt": 0.05, "kT": 0.1, "gamma": 0.2, "mass": 5.0},
    },
    "initial": {"seed": 3, "n_replicas": 2, "field_std": 5.0, "momentum_std": 5.0},
    "save": {"class_path": "lattgnn.dynamics.LogSpaced", "init_args": {"n_frames": 4}},
    "n_steps": 10,
    "progress": False,
}
KAGOME = {"lattice": {"class_path": "lattgnn.lattice.kagome", "init_args": {"extent": [2, 2]}}}
SPINS = {
    "force_field": {
        "hamiltonian": {"class_path": "lattgnn.hamiltonians.DoubleExchange"},
        "solver": {
            "class_path": "lattgnn.solvers.ExactDiagonalization",
            "init_args": {"kT": 0.1, "mu": -3.0},
        },
    },
    "integrator": {
        "class_path": "lattgnn.dynamics.HeunLLG",
        "init_args": {"dt": 0.1, "kT": 0.01, "alpha": 0.1},
    },
    "initial": {"seed": 1},
}
TETRAHEDRAL = "--initial.order=lattgnn.spin_orders.tetrahedral"
VECTORS = {
    "force_field": {
        "hamiltonian": {"class_path": "lattgnn.hamiltonians.JahnTeller"},
        "solver": {
            "class_path": "lattgnn.solvers.ExactDiagonalization",
            "init_args": {"kT": 0.1, "filling": 0.5},
        },
    },
    "integrator": {
        "class_path": "lattgnn.dynamics.BAOAB",
        "init_args": {
            "dt": 0.05,
            "kT": [0.1, 0.0],
            "gamma": [0.2, 0.0],
            "mass": [5.0, 2.0],
        },
    },
    "initial": {"seed": 1, "field_std": [1.0, 0.5], "momentum_std": [1.0, 0.0]},
}
LEARNED = {
    "lattice": {"class_path": "lattgnn.lattice.square", "init_args": {"extent": [8, 8]}},
    "force_field": {"checkpoint": "holstein-square-small"},
}


@pytest.fixture
def simulate(tmp_path, monkeypatch):
    """Run `lattgnn simulate` with a configuration and options; the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(config: dict | str | Path, *options: str) -> int:
        if isinstance(config, dict):
            given = tmp_path / "given.yaml"
            given.write_text(yaml.safe_dump(config), encoding="utf-8")
            config = given
        return main(["simulate", f"--config={config}", *options])

    return run


def same_numbers(one: str | Path, other: str | Path) -> bool:
    runs = [Trajectory.open(path) for path in (one, other)]
    if runs[0].config != runs[1].config or runs[0].arrays.keys() != runs[1].arrays.keys():
        return False
    return all(
        np.array_equal(*(run.arrays[name][:] for run in runs), equal_nan=True)
        for name in runs[0].arrays
    )


@pytest.mark.parametrize(
    "change",
    [{}, KAGOME, SPINS, VECTORS, LEARNED],
    ids=["scalars", "kagome", "spins", "components", "learned"],
)
def test_a_run_is_repeated_from_its_folder(simulate, change) -> None:
    assert simulate(QUENCH | change, "--out=a") == 0
    assert simulate("a/config.yaml", "--out=b") == 0
    assert same_numbers("a", "b")


@pytest.mark.slow
def test_the_folder_says_what_a_tolerance_has_become(simulate) -> None:
    solver = {
        "class_path": "lattgnn.solvers.DomainDiagonalization",
        "init_args": {"kT": 0.1, "mu": 0.0, "core": 4, "tolerance": 1e-2},
    }
    force_field = QUENCH["force_field"] | {"solver": solver}
    assert simulate(QUENCH | {"force_field": force_field}, "--out=a") == 0
    found = yaml.safe_load(Path("a/config.yaml").read_text())["force_field"]
    assert found["solver"]["init_args"]["buffer"] >= 1
    assert found["energy"] is True
    assert simulate("a/config.yaml", "--out=b") == 0
    assert same_numbers("a", "b")


@pytest.mark.slow
@pytest.mark.skipif(library() is None, reason="needs a compiler")
def test_compiled_forces_of_a_solver_leave_out_the_energy(simulate) -> None:
    solver = {
        "class_path": "lattgnn.solvers.GreenFunction",
        "init_args": {"kT": 0.1, "mu": 0.0, "schedule": ["ring0:1", "mean"]},
    }
    force_field = QUENCH["force_field"] | {"solver": solver}
    assert simulate(QUENCH | {"force_field": force_field}, "--out=a") == 0
    assert "energy" not in Trajectory.open("a").arrays
    assert Trajectory.open("a").fields[:].dtype == np.float32
    assert simulate("a/config.yaml", "--out=b") == 0
    assert same_numbers("a", "b")
    assert simulate(QUENCH | {"force_field": force_field | {"energy": True}}, "--out=c") == 0
    assert "energy" in Trajectory.open("c").arrays


def test_the_folder_says_how_the_run_was_made(simulate, tmp_path) -> None:
    assert simulate(QUENCH | LEARNED, "--out=a", "--n_steps=5") == 0
    found = json.loads(Path("a/provenance.json").read_text())
    assert found["command"].endswith("--out=a --n_steps=5")
    assert found["seed"] == 3 and "torch" in found["versions"]
    assert found["checkpoint"]["path"] == str(pretrained_path("holstein-square-small"))
    config = yaml.safe_load(Path("a/config.yaml").read_text())
    assert config["n_steps"] == 5 and config["out"] == str(tmp_path / "a")
    assert config["force_field"]["sha256"] == found["checkpoint"]["sha256"]
    assert config["force_field"]["checkpoint"] == "holstein-square-small"


def test_a_longer_run_keeps_the_records_of_its_parts(simulate) -> None:
    for n_steps in (10, 20, 30):
        assert simulate(QUENCH, "--out=a", f"--n_steps={n_steps}") == 0
    found = json.loads(Path("a/provenance.json").read_text())
    commands = [record["command"] for record in (*found["earlier"], found)]
    assert [command.split("=")[-1] for command in commands] == ["10", "20", "30"]


def test_another_checkpoint_under_the_same_name_is_noticed(simulate, capsys) -> None:
    content = torch.load(pretrained_path("holstein-square-small"), weights_only=True)
    torch.save(content, "mine.ckpt")
    assert simulate(QUENCH | LEARNED, "--force_field.checkpoint=mine.ckpt", "--out=a") == 0
    content["state_dict"][next(iter(content["state_dict"]))] += 1
    torch.save(content, "mine.ckpt")
    assert simulate("a/config.yaml", "--out=b") == 2
    assert "the file is not that of the recorded run" in capsys.readouterr().err
    assert not Path("b").exists()


def test_a_longer_run_is_repeated_with_its_frames(simulate) -> None:
    for n_steps in (10, 30, 70):
        assert simulate(QUENCH, "--out=a", f"--n_steps={n_steps}") == 0
    assert simulate("a/config.yaml", "--out=b") == 0
    assert same_numbers("a", "b") and Trajectory.open("b").steps[-1] == 70
    assert simulate("a/config.yaml") == 0  # finished: the same command changes nothing
    assert same_numbers("a", "b")


def test_a_run_starts_from_a_frame_of_another_one(simulate) -> None:
    assert simulate(QUENCH, "--out=a", "--save.init_args.momenta=true") == 0
    old = Trajectory.open("a")
    cold = "--integrator={class_path: lattgnn.dynamics.OverdampedLangevin, "
    cold += "init_args: {dt: 0.01, kT: 0.01, gamma: 1.0}}"
    new = {key: value for key, value in QUENCH.items() if key != "initial"}
    for name, frame in (("a", -1), ("a:2", 2)):
        out = f"--out=from{frame}"
        seed = "--initial.seed=8"
        assert simulate(new, f"--initial.from={name}", seed, cold, out) == 0
        run = Trajectory.open(f"from{frame}")
        assert np.array_equal(run.fields[0], old.fields[frame])
        assert run.steps[0] == 0 and run.config["start"]["seed"] == 8
        assert simulate(f"from{frame}/config.yaml", f"--out=again{frame}") == 0
        assert same_numbers(f"from{frame}", f"again{frame}")
    more = ("--initial.from=a", "--initial.seed=8", "--initial.n_replicas=6", "--out=six")
    assert simulate(new, *more) == 0
    six = Trajectory.open("six")
    assert np.array_equal(six.momenta[0], np.tile(old.momenta[-1], (3, 1)))
    assert not np.array_equal(six.fields[-1, 0], six.fields[-1, 2])  # each has noise of its own
    # The start of a run is kept in it, with the seed that goes with it.
    assert simulate(new, "--initial.from=six:0", "--initial.seed=8", "--out=seven") == 0
    assert Trajectory.open("seven").config["start"] == six.config["start"]
    assert same_numbers("six", "seven")


def test_a_run_starts_from_a_perfect_order(simulate) -> None:
    magnet = QUENCH | SPINS | {"n_steps": 1}
    magnet["lattice"] = {
        "class_path": "lattgnn.lattice.triangular",
        "init_args": {"extent": [4, 4]},
    }
    assert simulate(magnet, TETRAHEDRAL, "--initial.n_replicas=2", "--out=a") == 0
    run = Trajectory.open("a")
    assert np.array_equal(run.fields[0], np.stack([tetrahedral().spins(run.lattice)] * 2))
    assert not np.array_equal(run.fields[1, 0], run.fields[1, 1])  # each has noise of its own
    assert simulate("a/config.yaml", "--out=b") == 0
    assert same_numbers("a", "b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--initial.from=a", "--initial.seed=3"], "seed must differ from that of .*Use 4"),
        (["--initial.from=a:9"], r"has 4 frames, got frame 9. Use .*:-1"),
        (["--initial.from=nowhere"], "'nowhere' does not exist"),
        (["--initial.from=a:1"], "momenta of frame 1 were not saved"),
        (["--initial.from=a", "--initial.n_replicas=3"], "multiple of the 2 replicas"),
        (["--initial.from=a", "--initial.field_std=1"], "field_std must not be given"),
        (["--initial.from=a", "--lattice.init_args.extent=[6,6]"], "lattice and field must be"),
        (["--initial.from=a", TETRAHEDRAL], "only one of from and order"),
        ([TETRAHEDRAL], "order needs a field of spins"),
        (["--initial.field_std=[1.0,2.0]"], "field_std has 2 numbers, one for each component"),
        (["--integrator.init_args.mass=[1.0,2.0]"], "mass has 2 numbers, one for each component"),
    ],
)
def test_a_start_that_cannot_be_is_refused(simulate, capsys, options, message) -> None:
    assert simulate(QUENCH, "--out=a") == 0
    capsys.readouterr()
    new = QUENCH | {"initial": {"seed": 8}}
    assert simulate(new, "--out=b", *options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert not Path("b").exists()


class StifferHolstein(Holstein):
    """A model of a user's own."""

    def classical_energy(self, field):
        return 2 * super().classical_energy(field)


def test_a_run_of_a_users_model_is_continued_by_the_same_code_only():
    """The configuration names the class; the hash of its source tells an edited one."""
    solver = ExactDiagonalization(kT=0.1, mu=0.0)
    own = describe_force_field(ExactForceField(StifferHolstein(square(4)), solver))
    assert [name.split(".")[-1] for name in own["init_args"]["code"]] == ["StifferHolstein"]
    shipped = describe_force_field(ExactForceField(Holstein(square(4)), solver))
    assert "code" not in shipped["init_args"]


OWN = """
from lattgnn.hamiltonians import Holstein


class Own(Holstein):
    def classical_energy(self, field):
        return {factor} * super().classical_energy(field)
"""


@pytest.mark.filterwarnings("default:the source of")
def test_a_repetition_with_other_code_of_a_users_class_says_so(
    simulate, tmp_path, monkeypatch, capsys
):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for number, factor in enumerate((1, 1, 12)):
        (tmp_path / "own_model_to_repeat.py").write_text(OWN.format(factor=factor))
        sys.modules.pop("own_model_to_repeat", None)
        importlib.invalidate_caches()
        config: dict | Path = tmp_path / "0/config.yaml"
        if number == 0:
            field = QUENCH["force_field"] | {"hamiltonian": "own_model_to_repeat.Own"}
            config = QUENCH | {"force_field": field}
        assert simulate(config, f"--out={number}") == 0
        warning = capsys.readouterr().err
        record = json.loads((tmp_path / f"{number}/provenance.json").read_text())["changed_code"]
        if number < 2:
            assert (warning, record) == ("", {})
    assert warning.count("\n") == 1 and "source of own_model_to_repeat.Own has changed" in warning
    old, new = (
        yaml.safe_load((tmp_path / run / "config.yaml").read_text())["code"] for run in ("0", "2")
    )
    (name,) = old
    assert record == {name: [old[name], new[name]]} and old != new
