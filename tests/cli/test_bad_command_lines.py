"""Bad command lines from a grammar: each is exit code 2 and one line, and writes nothing.

Each option of a verb gets values of the wrong type, beyond its limits, or without end.
"""

import json
from pathlib import Path

import pytest

from lattgnn import cli

CONFIGS = Path(__file__).parents[2] / "configs"
SOURCES = json.dumps(
    [{"class_path": "lattgnn.data.RandomFields", "init_args": {"split": "train", "n_samples": 2}}]
)
MODEL = ["hamiltonian=lattgnn.hamiltonians.Holstein", f"sources={SOURCES}", "progress=false"]
MODEL += ["lattice=lattgnn.lattice.square", "lattice.init_args.extent=[4,4]", "n_workers=0"]
MODEL += ["solver=lattgnn.solvers.ExactDiagonalization", "solver.init_args.kT=0.1"]
MODEL += ["solver.init_args.mu=0.0", "root=datasets"]
VERBS = {
    "generate": [f"--{option}" for option in MODEL],
    "fit": [
        *(f"--data.{option}" for option in MODEL),
        *("--model.net=lattgnn.nn.OrbitNetwork", "--trainer.max_epochs=1", "--run_dir=run"),
    ],
    "simulate": [
        *(f"--config={CONFIGS / 'simulate/quench.yaml'}", "--lattice.init_args.extent=[6,6]"),
        *("--n_steps=4", "--save=lattgnn.dynamics.Regular", "--save.init_args.every=2"),
        *("--progress=false", "--force_field.checkpoint=holstein-square-small", "--out=run"),
    ],
}
NO_NUMBER = ["x", "", "nan", "inf", "-inf", "1e400", "[1,2]", "{}", "null"]
NO_FLOAT = [value for value in NO_NUMBER if value != "1e400"]
NO_COUNT = [*NO_NUMBER, "-1", "1.5", "true", "99999999999999999999"]
# Option, and the values that it must not have.
BAD = {
    "generate": {
        "lattice.init_args.extent": [*NO_COUNT, "0", "[4,-4]", "[4,x]", "[[4,4]]"],
        "hamiltonian.init_args.g": NO_NUMBER[:4] + ["{}", "null", "true", "[1,2]"],
        "hamiltonian.init_args.t": [*NO_NUMBER[:4], "{}", "null", "[1,x]", "[1,nan]", "[]", "true"],
        "hamiltonian.init_args.gg": ["1"],
        "hamiltonian": ["Holstien", "os.system", "lattgnn.lattice.square", "3", "[]"],
        "solver.init_args.kT": [*NO_NUMBER[:4], "-1", "null", "[1,2]"],
        "solver.init_args.filling": ["0", "1", "2", "-1", "nan", "x", "0.5"],  # mu is given too
        "sources": ["", "x", "3", "{}", "[]", "null", "[3]"],
        "seed": [*NO_NUMBER, "-1", "1.5"],
        "name": ["", "a/b", "x" * 300],
        "n_workers": [value for value in NO_COUNT if value not in ("null", "99999999999999999999")],
        "root": ["x" * 300],
        "unknown": ["1"],
    },
    "simulate": {
        "n_steps": [*NO_COUNT],
        "threads": [*(value for value in NO_COUNT if value != "null"), "0", "100000"],
        "field_limit": ["x", "", "nan", "-1", "0", "null", "[1,2]"],
        "dtype": ["x", "float16", "3", "[]"],
        "initial.device": ["x", "cuda:99", "", "3"],
        "initial.field_std": [*(v for v in NO_FLOAT if v != "null"), "1e400", "-1"],
        "initial.momentum_std": [*(v for v in NO_FLOAT if v != "null"), "1e400", "-1"],
        # null means the default.
        "initial.n_replicas": [
            *(v for v in NO_COUNT if len(v) < 9 and v != "null"),
            "0",
            "1000000000000",
        ],
        "initial.seed": ["x", "", "nan", "[1,2]", "null", "1.5"],
        "integrator.init_args.dt": [*NO_FLOAT, "1e400", "-1", "0"],
        "integrator.init_args.kT": ["x", "", "nan", "inf", "{}", "null", "-1"],
        "integrator.init_args.mass": ["x", "", "nan", "{}", "null", "-1", "0"],
        "integrator": ["Verlet", "os.system", "lattgnn.lattice.square", "3"],
        "save.init_args.every": [*(v for v in NO_COUNT if len(v) < 9), "0"],
        "force_field.filling": ["x", "", "nan", "inf", "0", "1", "-1", "[1,2]"],
        "force_field.checkpoint": ["", "holstein", "a.ckpt", "a/b", "."],
        "out": ["x" * 300],
        "n_step": ["4"],
    },
    "fit": {
        "threads": [*NO_COUNT, "0", "100000"],
        "seed_everything": [
            "x",
            "",
            "-1",
            "99999999999999999999",
            "4294967296",
            "[1,2]",
            "1.5",
            "true",
        ],
        "model.lr": [*NO_FLOAT, "1e400", "-1"],
        "model.energy_weight": [*NO_FLOAT, "1e400", "-1"],
        "model.net.init_args.cutoff": [*NO_FLOAT, "1e400", "-1", "0", "1e20"],
        "model.net.init_args.n_layers": [*NO_COUNT, "0"],
        "trainer.devices": ["x", "", "-1", "0", "nan", "{}", "99999999999999999999"],
        "trainer.accelerator": ["x", "", "3", "cuda:1"],
        "trainer.max_time": ["x", "", "-1"],
        "trainer.precision": ["x", "16-mixed", "", "3"],
        "trainer.max_epochs": ["x", "", "nan", "1.5", "[1,2]"],
        "data.dtype": ["x", "float16", "3"],
        "data.batch_size": [*(v for v in NO_COUNT if len(v) < 9 and v != "null"), "0"],
        "data.n_workers": ["x", "", "-1", "1.5", "nan"],
        "ckpt_path": ["none.ckpt", "holstein", "a/b"],
        "trainer.max_epoch": ["3"],
    },
}
LINES = []
for _verb, _options in BAD.items():
    for _option, _values in _options.items():
        for _value in _values:
            LINES.append((_verb, f"--{_option}={_value}"))


def check(verb: str, change: str, folder: Path, capfd, monkeypatch) -> None:
    """Run a verb with one wrong option."""
    monkeypatch.chdir(folder)
    try:
        code = cli.main([verb, *VERBS[verb], change])
    except SystemExit as stop:
        code = stop.code
    out, err = capfd.readouterr()
    errors = [line for line in err.splitlines() if ": error: " in line]
    # Before the error there may be a note, such as that there are no validation data.
    assert code == 2 and out == "" and len(errors) == 1, err
    assert err.splitlines()[-1] == errors[0] and "Traceback" not in err
    assert not list(folder.iterdir())


@pytest.mark.parametrize("line", [LINES[n] for n in range(0, len(LINES), 29)], ids=" ".join)
def test_a_bad_command_line_is_one_line_and_writes_nothing(line, tmp_path, capfd, monkeypatch):
    verb, change = line
    check(verb, change, tmp_path, capfd, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_every_bad_command_line(line, tmp_path, capfd, monkeypatch):
    verb, change = line
    check(verb, change, tmp_path, capfd, monkeypatch)


def test_an_array_beyond_the_memory_is_one_line(tmp_path, capfd, monkeypatch):
    check("simulate", "--initial.n_replicas=1000000000000", tmp_path, capfd, monkeypatch)
