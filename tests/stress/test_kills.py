"""Commands that are killed at random moments, on large and on full disks, and run again."""

import hashlib
import os
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
import yaml

from lattgnn.data import LatticeDataset
from lattgnn.dynamics import Trajectory
from tests.stress.commands import ROOT, run

pytestmark = pytest.mark.slow

KILLS = {"generate": 34, "fit": 33, "simulate": 33, "analyze": 6, "audit": 6}
"""Number of kills of each verb: more than 100 in all."""

SOURCES = [
    {"class_path": "lattgnn.data.RandomFields", "init_args": {"split": split, "n_samples": n}}
    for split, n in (("train", 33), ("val", 7), ("test", 5))
]
GENERATE = {
    "lattice": {"class_path": "lattgnn.lattice.square", "init_args": {"extent": [4, 4]}},
    "hamiltonian": {"class_path": "lattgnn.hamiltonians.Holstein"},
    "solver": {
        "class_path": "lattgnn.solvers.ExactDiagonalization",
        "init_args": {"kT": 0.1, "mu": 0.0},
    },
    "sources": SOURCES,
    "root": "datasets",
    "name": "set",
    "n_workers": 1,
    "progress": False,
}
NET = {
    "class_path": "lattgnn.nn.OrbitNetwork",
    "init_args": {"n_layers": 1, "hidden": {"channels": 4}},
}
FIT = {
    "data": GENERATE,
    "model": {"net": NET},
    "trainer": {"max_epochs": 4, "accelerator": "cpu", "devices": 1},
    "run_dir": "run",
}
SIMULATE = [
    "simulate",
    f"--config={ROOT / 'configs/simulate/quench.yaml'}",
    "--lattice.init_args.extent=[6,6]",
    "--n_steps=300",
    "--save=lattgnn.dynamics.Regular",
    "--save.init_args.every=10",
    "--progress=false",
    "--out=run",
]
COMMANDS = {
    "generate": ["generate", "--config=generate.yaml"],
    "fit": ["fit", "--config=fit.yaml"],
    "simulate": SIMULATE,
    "analyze": ["analyze", "run"],
    "audit": [
        *("audit", "run", "--n_patches=6", "--windows=2", "--core=2", "--halo=1"),
        *("--n_checks=1", "--progress=false", "--solver=lattgnn.solvers.DomainDiagonalization"),
        *("--solver.init_args.kT=0.1", "--solver.init_args.mu=0.0"),
        *("--solver.init_args.core=2", "--solver.init_args.buffer=1"),
    ],
}
NEED_RUN = ("analyze", "audit")
"""Verbs that begin with a finished run."""


def new_folder(parent: Path, name: str) -> Path:
    """A folder with the configurations."""
    folder = parent / name
    folder.mkdir()
    (folder / "generate.yaml").write_text(yaml.safe_dump(GENERATE), encoding="utf-8")
    (folder / "fit.yaml").write_text(yaml.safe_dump(FIT), encoding="utf-8")
    return folder


def result(verb: str, folder: Path) -> str:
    """What the command has made, as one text that tells whether two results are the same."""
    if verb == "generate":
        (path,) = (p for p in (folder / "datasets").iterdir() if p.is_dir())
        dataset = LatticeDataset.open(path)
        arrays = [np.asarray(dataset.frames(s).field) for s in ("train", "val", "test")]
        arrays += [np.asarray(dataset.frames(s).forces) for s in ("train", "val", "test")]
    elif verb == "fit":
        weights = torch.load(folder / "run/last.ckpt", weights_only=True)["state_dict"]
        arrays = [weights[key].numpy() for key in sorted(weights)]
    elif verb == "simulate":
        trajectory = Trajectory.open(folder / "run")
        assert trajectory.complete
        state = trajectory.state()
        arrays = [trajectory.fields[:], state.momentum.numpy(), state.forces.numpy()]
    elif verb == "audit":
        audit = folder / "run-audit"
        assert (audit / "report.html").stat().st_size > 0
        assert len(list((audit / "patches").iterdir())) == 12
        arrays = [np.frombuffer((audit / "metrics.json").read_bytes(), np.uint8)]
        for file in [*sorted((audit / "patches").iterdir()), audit / "train.npz"]:
            with np.load(file) as saved:
                arrays += [saved[name] for name in sorted(saved.files)]
    else:
        report = folder / "run-report"
        assert (report / "report.html").stat().st_size > 0
        with xarray.open_dataset(report / "arrays.nc") as saved:
            arrays = [saved[name].values for name in sorted(map(str, saved.data_vars))]
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A finished run, for `analyze` and `audit`."""
    folder = new_folder(tmp_path_factory.mktemp("simulated"), "work")
    assert run(SIMULATE, folder).code == 0
    return folder


@pytest.mark.parametrize("verb", KILLS)
def test_a_killed_command_that_is_run_again_gives_the_uninterrupted_result(
    verb, tmp_path, simulated
):
    """SIGKILL at a random moment, up to three times in a row; then the same command finishes."""
    chance = random.Random(verb)

    def prepared(name: str) -> Path:
        folder = new_folder(tmp_path, name)
        if verb in NEED_RUN:
            shutil.copytree(simulated / "run", folder / "run")
        return folder

    whole = prepared("whole")
    ended = run(COMMANDS[verb], whole)
    assert ended.code == 0, ended.output
    right, n_kills = result(verb, whole), 0
    for attempt in range(4 * KILLS[verb]):
        folder = prepared(f"killed-{attempt}")
        for _ in range(3):
            killed = run(COMMANDS[verb], folder, kill_after=chance.uniform(0, ended.seconds))
            assert killed.code in (0, -9), killed.output
            n_kills += killed.code == -9
        again = run(COMMANDS[verb], folder)
        assert again.code == 0, again.output
        assert result(verb, folder) == right
        shutil.rmtree(folder)
        if n_kills >= KILLS[verb]:
            break
    assert n_kills >= KILLS[verb]


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own; the function it comes with sets the size in KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root can mount a small file system")

    def resize(kibibytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kibibytes}k", str(folder)], check=True)

    yield folder, resize
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("verb", ["generate", "fit", "simulate", "analyze", "audit"])
def test_a_full_disk_gives_one_line_and_the_command_finishes_when_there_is_room(
    verb, small_disk, tmp_path, simulated
):
    disk, resize = small_disk

    def prepared(parent: Path, name: str) -> Path:
        folder = new_folder(parent, name)
        if verb in NEED_RUN:
            shutil.copytree(simulated / "run", folder / "run")
        return folder

    whole = prepared(tmp_path, "whole")
    assert run(COMMANDS[verb], whole).code == 0
    right, n_full = result(verb, whole), 0
    size = sum(p.stat().st_blocks for p in whole.rglob("*")) // 2  # blocks of 512 bytes, in KiB
    resize(4 * size + 1000)
    start = size if verb in NEED_RUN else 40
    for number, fraction in enumerate((0.05, 0.2, 0.4, 0.6, 0.8, 0.95)):
        folder = prepared(disk, f"work-{number}")
        used = shutil.disk_usage(disk).used // 1024
        resize(used + max(4, int(fraction * (size / 2 if verb in NEED_RUN else size - start))))
        full = run(COMMANDS[verb], folder)
        if full.code != 0:
            n_full += 1
            assert full.code in (1, 2), full.output
            assert "Traceback" not in full.output, full.output
            assert "No space left" in full.output, full.output
        resize(4 * size + used + 1000)
        again = run(COMMANDS[verb], folder)
        assert again.code == 0, again.output
        assert result(verb, folder) == right
        shutil.rmtree(folder)
    assert n_full >= 2
