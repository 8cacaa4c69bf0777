"""The command line from outside: fast, and clear about mistakes."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lattgnn.dynamics import Trajectory
from tests.command_line import CONFIGS, QUENCH, refused, run


def test_help_answers_within_half_a_second():
    # Time of the CPU, which other processes of the machine hardly change.
    def seconds() -> float:
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "lattgnn", "--help"], capture_output=True, text=True, check=True
        )
        assert all(verb in done.stdout for verb in ("generate", "fit", "simulate", "doctor"))
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from lattgnn import cli; cli.main(['--help']);"
        "sys.exit(any(m in sys.modules for m in ('numpy', 'torch', 'jsonargparse', 'lightning')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_unknown_verb_is_corrected(capsys):
    assert "Did you mean 'simulate'?" in refused(capsys, "simulat")


def test_no_verb_shows_the_verbs(capsys):
    assert run() == 2
    assert "generate" in capsys.readouterr().out


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("lattgnn ")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (["--force_field.hamiltonian=lattgnn.hamiltonians.Holstien"], ["Did you mean 'Holstein'?"]),
        (["--force_field.solver=GreenFunktion"], ["Did you mean 'lattgnn.solvers.GreenFunction'?"]),
        (
            ["--force_field.solver=lattgnn.solvers.Exact"],
            ["Use one of Chebyshev, DomainDiagonalization, ExactDiagonalization, Green"],
        ),
        (
            ["--force_field.hamiltonian=lattgnn.solvers.GreenFunction"],
            ["Use one of ClassicalMagnet, DoubleExchange, Holstein, ", " of lattgnn.hamiltonians."],
        ),
        (["--force_field.hamiltonian.lattice=4"], ["Leave it out here: it has an option of its"]),
        (["--lattice=sqare"], ["Did you mean 'lattgnn.lattice.square'?"]),
        (["--lattice=lattgnn.lattice.Unitcel"], ["Use one of Lattice, brick_wall, chain, "]),
        (["--force_field.hamiltonian.init_args.gg=3"], ["force_field.hamiltonian", "'gg'"]),
        (["--integrator=lattgnn.lattice.square"], ["integrator", "square"]),
        (["--lattice.init_args.extent=[0,6]"], ["extent"]),
        (["--lattice.init_args.extent=[6,6,6]"], ["extent"]),
        (["--n_step=3"], ["Did you mean '--n_steps'?"]),
        (["--initial.device=gpuu"], ["device 'gpuu' cannot be used", "Use cpu."]),
        (["--device=gpuu"], ["device 'gpuu' cannot be used", "Use cpu."]),
        (["--device=gpu"], ["device 'gpu' cannot be used", "Use cuda."]),
        (["--cuts=[2,1]"], ["cuts must be left out for one process, got [2, 1]", "torchrun"]),
        (
            [
                "--force_field.hamiltonian=lattgnn.hamiltonians.DoubleExchange",
                "--force_field.hamiltonian.init_args.classical={anisotropi: 0.1}",
            ],
            ["Option 'anisotropi' is not accepted. Did you mean 'anisotropy'?"],
        ),
        (["--dtype=float16"], ["dtype: expected one of 'float32', 'float64'"]),
        ([f"--config={CONFIGS / 'fit/holstein_square.yaml'}"], ["configuration of another verb"]),
        (["--force_field.solver=null"], ["force_field must have"]),
        (["--force_field.checkpoint=nowhere.ckpt"], ["nowhere.ckpt"]),
        (["--force_field.checkpoint=no-such-name"], ["no-such-name"]),
        (
            ["--force_field.hamiltonian=lattgnn.hamiltonians.DoubleExchange"],
            ["must suit the field of DoubleExchange, got VerletLangevin", "HeunLLG"],
        ),
    ],
)
def test_a_mistake_in_simulate_writes_nothing(capsys, tmp_path, changes, parts):
    err = refused(capsys, *QUENCH, f"--out={tmp_path / 'run'}", *changes)
    assert err.startswith("lattgnn simulate: error: ")
    assert all(part in err for part in parts), err
    assert not list(tmp_path.iterdir())


def test_no_checkpoint_is_one_line(capsys, tmp_path):
    (tmp_path / "broken.ckpt").write_bytes(b"nothing of ours")
    err = refused(
        capsys,
        *QUENCH,
        f"--out={tmp_path / 'run'}",
        f"--force_field.checkpoint={tmp_path}/broken.ckpt",
    )
    assert "broken.ckpt" in err
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_left_alone_and_analyze_wants_a_run(capsys, tmp_path):
    small = [f"--out={tmp_path / 'quench'}", "--lattice.init_args.extent=[8,8]"]
    assert run(*QUENCH, *small) == 0
    record = tmp_path / "quench/provenance.json"
    before = record.stat().st_mtime_ns
    assert run(*QUENCH, *small) == 0
    assert record.stat().st_mtime_ns == before
    assert "initial" not in refused(capsys_after(capsys), "analyze", str(tmp_path / "nothing"))


@pytest.mark.slow  # tests/test_roads.py also analyzes a run
def test_simulate_then_analyze(tmp_path):
    out = str(tmp_path / "quench")
    assert run(*QUENCH, f"--out={out}", "--lattice.init_args.extent=[8,8]") == 0
    assert run("analyze", out) == 0
    report = tmp_path / "quench-report"
    assert (report / "report.html").stat().st_size > 10_000
    assert json.loads((report / "metrics.json").read_text())["n_sites"] == 64


def test_disorder_is_an_option_of_the_force_field_and_part_of_the_run(capsys, tmp_path):
    out = tmp_path / "run"
    assert run(*QUENCH, f"--out={out}", "--force_field.disorder.width=2.0") == 0
    described = Trajectory.open(out).config["force_field"]["init_args"]
    assert described["on_site_energy"]["init_args"] == {"width": 2.0, "seed": 0}
    assert "holstein" in json.dumps(described["clean"]).lower()
    other = [*QUENCH, f"--out={out}", "--force_field.disorder.width=1.0"]
    err = refused(capsys_after(capsys), *other)
    assert "width" in err


def capsys_after(capsys):
    """The capture without what was printed before."""
    capsys.readouterr()
    return capsys


@pytest.mark.slow
def test_spins_start_on_the_sphere_and_take_no_std(capsys, tmp_path):
    config = CONFIGS / "simulate/llg_quench.yaml"
    small = ["--lattice.init_args.extent=[4,4]", "--n_steps=3", f"--out={tmp_path / 'run'}"]
    assert "field_std" in refused(
        capsys, "simulate", f"--config={config}", *small, "--initial.field_std=1"
    )
    assert run("simulate", f"--config={config}", *small, "--progress=false") == 0
    spins = Trajectory.open(tmp_path / "run").fields[:]
    assert spins.shape == (4, 1, 16, 3)
    np.testing.assert_allclose(np.linalg.norm(spins, axis=-1), 1, atol=1e-12)
    assert np.abs(spins[0].mean(axis=1)).max() < 0.6 and spins[0].std() > 0.4
    assert run("analyze", str(tmp_path / "run")) == 0


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["analyze", "run", "--window", "30", "100"], "such as [10,100]"),
        (["generate", "labels.yaml"], "Use --config FILE"),
    ],
)
def test_the_right_form_of_an_argument_is_shown(capsys, arguments, part):
    assert part in refused(capsys, *arguments)


def test_simulate_refuses_to_go_on_with_another_run(capsys, tmp_path):
    out = f"--out={tmp_path / 'quench'}"
    assert run(*QUENCH, out) == 0
    err = refused(capsys_after(capsys), *QUENCH, out, "--initial.seed=1")
    assert "seed" in err


def test_a_runaway_field_is_exit_code_1_and_one_line(capsys, tmp_path):
    assert (
        run(
            *QUENCH,
            f"--out={tmp_path / 'quench'}",
            "--integrator.init_args.dt=50",
            "--field_limit=100",
        )
        == 1
    )
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "step 1" in err


def test_an_extent_too_small_for_the_bonds_is_one_line(tmp_path, capsys):
    options = [f"--out={tmp_path / 'run'}", "--lattice.init_args.extent=[1,6]"]
    assert "extent must be large enough" in refused(capsys, *QUENCH, *options)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_extent_too_small_for_the_bonds_writes_nothing(tmp_path):
    """Without the run-time type checks, which evaluate the model's bonds before it is used."""
    options = [f"--out={tmp_path / 'run'}", "--lattice.init_args.extent=[1,6]"]
    command = [sys.executable, "-m", "lattgnn", *QUENCH, *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "extent" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_interrupt_is_exit_code_130(monkeypatch, capsys):
    def interrupt(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr("lattgnn.cli.doctor.main", interrupt)
    assert run("doctor") == 130


def test_debugging_raises(monkeypatch, tmp_path):
    monkeypatch.setenv("LATTGNN_DEBUG", "1")
    with pytest.raises(ValueError, match=r"nowhere\.ckpt"):
        run(*QUENCH, f"--out={tmp_path / 'run'}", "--force_field.checkpoint=nowhere.ckpt")


def test_generate_small(capsys, tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(
        """
lattice: {class_path: lattgnn.lattice.chain, init_args: {extent: [8]}}
hamiltonian: {class_path: lattgnn.hamiltonians.Holstein}
solver: {class_path: lattgnn.solvers.ExactDiagonalization, init_args: {kT: 0.1, mu: 0.0}}
sources:
  - {class_path: lattgnn.data.RandomFields, init_args: {split: train, n_samples: 3}}
"""
    )
    arguments = [
        "generate",
        f"--config={config}",
        f"--root={tmp_path}",
        "--name=tiny",
        "--n_workers=0",
    ]
    assert run(*arguments, "--progress=false") == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.parent == tmp_path
    assert path.name.startswith("tiny-")

    before = sorted(tmp_path.iterdir())
    err = refused(capsys, *arguments, "--sources+=lattgnn.data.Quensh")
    assert "Did you mean 'Quench'?" in err
    assert "extent" in refused(capsys, *arguments, "--lattice.init_args.extent=[1]")
    assert sorted(tmp_path.iterdir()) == before


def test_doctor_tells_versions_and_plan(capsys, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("LATTGNN_NATIVE", raising=False)
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://somewhere:8786")
    assert run("doctor") == 0
    out = capsys.readouterr().out
    for part in ("torch ", "memory", "torch_scatter", "WANDB_MODE=offline", "tcp://somewhere:8786"):
        assert part in out
    assert "scalar fields and spins on the CPU" in out
    assert os.path.basename(sys.executable) in out


def test_a_bug_of_lattgnn_blames_no_class_of_the_user(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("lattgnn.cli.simulate_verb.CPU_COUNT", "two")
    assert (
        run(*QUENCH, f"--out={tmp_path / 'run'}", "--force_field.checkpoint=holstein-square-small")
        == 1
    )
    advice = capsys.readouterr().err.splitlines()[-1]
    assert "this is a bug in lattgnn; please report it" in advice
