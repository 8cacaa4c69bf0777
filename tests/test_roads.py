"""generate → fit → simulate → analyze, as a user types it, over models and lattices; a size of
seconds.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import lattgnn
from lattgnn import cli
from lattgnn.dynamics import Trajectory
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Peierls
from lattgnn.lattice import square
from lattgnn.solvers import DomainDiagonalization, ExactDiagonalization

CONFIGS = Path(__file__).parents[1] / "configs"
TINY = (
    "{class_path: lattgnn.data.%s, "
    "init_args: {split: %s, n_trajectories: 1, n_steps: 6, n_frames: 4}}"
)

LATTICES = [
    "kagome",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("triangular", "honeycomb")),
]
pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),  # its configuration is there
    # A learned run after one epoch of training on three frames.
    pytest.mark.filterwarnings("ignore:the run leaves the fields"),
]


def sources(kind: str = "Quench") -> str:
    return f"[{', '.join(TINY % (kind, split) for split in ('train', 'val', 'test'))}]"


def run(*arguments: str | Path) -> None:
    assert cli.main([str(argument) for argument in arguments]) == 0


def lattice_options(lattice: str | None, extent: int, prefix: str = "") -> list[str]:
    """A lattice swapped from the command line, nothing else."""
    swapped = [f"--{prefix}lattice.class_path=lattgnn.lattice.{lattice}"] if lattice else []
    return [*swapped, f"--{prefix}lattice.init_args.extent=[{extent},{extent}]"]


def travel(
    folder: Path,
    dataset: str,
    fit: str,
    simulation: str,
    lattice: str | None = None,
    kind: str = "Quench",
) -> dict:
    """The whole road; the metrics of the learned run, on twice the extent."""
    made = [f"--root={folder}", f"--sources={sources(kind)}", "--n_workers=0", "--progress=false"]
    run(
        "generate",
        f"--config={CONFIGS / 'generate' / dataset}",
        *made,
        *lattice_options(lattice, 4),
    )
    datasets = set(folder.iterdir())
    data = [f"--data.root={folder}", f"--data.sources={sources(kind)}", "--data.batch_size=2"]
    data += lattice_options(lattice, 4, "data.")
    short = [
        "--trainer.max_epochs=1",
        "--trainer.check_val_every_n_epoch=1",
        f"--run_dir={folder / 'fit'}",
    ]
    run("fit", f"--config={CONFIGS / 'fit' / fit}", *data, *short)
    assert set(folder.iterdir()) == {*datasets, folder / "fit"}, "the dataset is not made twice"
    simulate = ["simulate", f"--config={CONFIGS / 'simulate' / simulation}"]
    simulate += ["--n_steps=4", "--progress=false"]
    run(*simulate, f"--out={folder / 'exact'}", *lattice_options(lattice, 4))
    learned = [
        f"--force_field.checkpoint={folder / 'fit/best.ckpt'}",
        f"--out={folder / 'learned'}",
    ]
    run(*simulate, *learned, *lattice_options(lattice, 8))
    run("analyze", folder / "learned")
    assert (folder / "learned-report/report.html").stat().st_size > 10_000
    return json.loads((folder / "learned-report/metrics.json").read_text())


@pytest.mark.parametrize("lattice", LATTICES)
def test_holstein_on_any_lattice(lattice, tmp_path):
    metrics = travel(
        tmp_path, "holstein_square.yaml", "holstein_square_small.yaml", "quench.yaml", lattice
    )
    trained_on = LearnedForceField.load(tmp_path / "fit/best.ckpt").lattice
    assert trained_on.name == lattice and trained_on.extent == (4, 4)
    assert metrics["n_sites"] == 4 * trained_on.n_sites
    two_colours = lattice == "honeycomb"
    # A short run may have no order yet: "none (checkerboard is not there)".
    assert ("checkerboard" in metrics["order"]) is two_colours
    assert ("final_length_from_correlation" in metrics) is two_colours
    assert "final_length_from_structure_factor" in metrics and metrics["final_order_parameter"] >= 0


def test_a_solver_by_domains_makes_labels_and_dynamics(tmp_path):
    dataset = CONFIGS / "generate/holstein_square_domain.yaml"
    solver, small = ["init_args.core=[3,4]", "init_args.buffer=2"], lattice_options(None, 8)
    made = [f"--root={tmp_path}", f"--sources={sources()}", "--n_workers=0", "--progress=false"]
    run("generate", f"--config={dataset}", *made, *small, *[f"--solver.{key}" for key in solver])
    datasets = set(tmp_path.iterdir())
    data = [
        f"--data={dataset}",
        f"--data.root={tmp_path}",
        f"--data.sources={sources()}",
        "--data.batch_size=2",
    ]
    data += [*lattice_options(None, 8, "data."), *[f"--data.solver.{key}" for key in solver]]
    short = [
        "--trainer.max_epochs=1",
        "--trainer.check_val_every_n_epoch=1",
        f"--run_dir={tmp_path / 'fit'}",
    ]
    run("fit", f"--config={CONFIGS / 'fit/holstein_square_small.yaml'}", *data, *short)
    assert set(tmp_path.iterdir()) == {*datasets, tmp_path / "fit"}, "the dataset is not made twice"
    checkpoint = tmp_path / "fit/best.ckpt"
    learned = LearnedForceField.load(checkpoint, square(12), filling=0.5)
    assert learned.solver == DomainDiagonalization(0.1, 0.0, core=(3, 4), buffer=2)
    assert learned(torch.randn(144))[1].shape == (144,)

    simulate = [
        "simulate",
        f"--config={CONFIGS / 'simulate/quench.yaml'}",
        "--n_steps=3",
        "--progress=false",
    ]
    simulate += [*small, "--force_field.solver.class_path=lattgnn.solvers.DomainDiagonalization"]
    simulate += [f"--force_field.solver.{key}" for key in solver]
    run(*simulate, f"--out={tmp_path / 'exact'}")
    run(*simulate, f"--out={tmp_path / 'learned'}", f"--force_field.checkpoint={checkpoint}")
    described = Trajectory.open(tmp_path / "exact").config["force_field"]["init_args"]["solver"]
    assert described["init_args"] == {"kT": 0.1, "mu": 0.0, "core": [3, 4], "buffer": 2}


@pytest.mark.slow
@pytest.mark.parametrize(("model", "components"), [("jahn_teller", 2), ("peierls", 2)])
def test_fields_with_components(model, components, tmp_path):
    square_yaml = f"{model}_square.yaml"
    metrics = travel(tmp_path, square_yaml, square_yaml, f"{model}.yaml")
    assert metrics["n_sites"] == 64
    assert Trajectory.open(tmp_path / "learned").fields[:].shape == (5, 1, 64, components)


def test_a_published_file_is_tested_by_one_command(tmp_path):
    """An npz of displacement and force [n, ix, iy, 2]; R² of the whole force, against numpy."""
    exact = ExactForceField(Peierls(square(12)), ExactDiagonalization(1e-5, filling=0.5))
    dimers = (
        torch.tensor(exact.lattice.bipartite_signs)[:, None] * torch.tensor([0.24, 0.0]).double()
    )
    noise = torch.randn(3, 144, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    field = dimers + 0.02 * noise
    forces = exact(field)[1]
    displacement, force = (x.reshape(3, 12, 12, 2).numpy() for x in (field, forces))
    np.savez(tmp_path / "new.npz", displacement=displacement, force=force)
    asked = "[{class_path: lattgnn.data.PublishedSnapshots, init_args: {split: test, path: %s}}]"
    options = [
        f"--data.sources={asked % (tmp_path / 'new.npz')}",
        "--data.lattice.init_args.extent=[12,12]",
    ]
    checkpoint = Path(lattgnn.__file__).parent / "pretrained/peierls-square.ckpt"
    options += [
        f"--ckpt_path={checkpoint}",
        f"--data.root={tmp_path}",
        f"--run_dir={tmp_path / 'run'}",
    ]
    run(
        "test", f"--config={CONFIGS / 'fit/peierls_published.yaml'}", *options, "--data.n_workers=0"
    )
    (written,) = (tmp_path / "run").glob("test-*.json")
    figures = json.loads(written.read_text())
    error = LearnedForceField.pretrained("peierls-square", square(12))(field)[1] - forces
    mse = float(error.square().mean())
    assert figures["test/all/mse"] == pytest.approx(mse, rel=1e-3)
    unexplained = mse / float(forces.var(unbiased=False))
    assert (
        figures["test/all/unexplained_total"] == pytest.approx(unexplained, rel=1e-3)
        and unexplained < 0.1
    )


@pytest.mark.slow
@pytest.mark.parametrize("lattice", LATTICES)
def test_double_exchange_on_any_lattice(lattice, tmp_path):
    dataset = "double_exchange_square.yaml"
    metrics = travel(tmp_path, dataset, dataset, "llg_quench.yaml", lattice, "SpinQuench")
    trained_on = LearnedForceField.load(tmp_path / "fit/best.ckpt").lattice
    assert trained_on.name == lattice and trained_on.extent == (4, 4)
    assert metrics["n_sites"] == 4 * trained_on.n_sites
    spins = Trajectory.open(tmp_path / "learned").fields[:]
    assert spins.shape == (5, 1, metrics["n_sites"], 3)
    np.testing.assert_allclose(np.linalg.norm(spins, axis=-1), 1, rtol=1e-12)
    assert np.abs(spins[-1] - spins[0]).max() > 0.01  # they move


@pytest.mark.parametrize(
    ("fit", "options", "words"),
    [
        ("holstein_square", [], "particle_hole needs a bipartite lattice"),
        ("holstein_weak", [], "odd=True needs a bipartite lattice"),
        (
            "holstein_square_small",
            ["--model.net.init_args.hidden.representation=A1 + E"],
            "must be one of",
        ),
        ("jahn_teller_square", [], "needs a square lattice"),
    ],
)
def test_what_another_lattice_does_not_have_is_refused_in_one_line(
    fit, options, words, tmp_path, capsys
):
    arguments = [
        "fit",
        f"--config={CONFIGS / f'fit/{fit}.yaml'}",
        *lattice_options("kagome", 4, "data."),
    ]
    assert (
        cli.main([*arguments, *options, f"--run_dir={tmp_path}/run", f"--data.root={tmp_path}"])
        == 2
    )
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1
    assert not list(tmp_path.iterdir())
