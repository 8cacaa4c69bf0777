import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lattgnn.data import LatticeDataset, Quench, RandomFields, generate
from lattgnn.data.generation import tasks
from lattgnn.files import run_lock
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.solvers import ExactDiagonalization
from tests.patience import PATIENCE


def contents(path: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


@pytest.mark.slow
def test_same_bits_for_any_number_of_processes(made, recipe, tmp_path):
    parallel = generate(**recipe | {"n_workers": 2}, root=tmp_path)
    assert contents(parallel) == contents(made)


def test_finished_dataset_is_left_alone(made, recipe):
    before = {file: file.stat().st_mtime_ns for file in made.rglob("*")}
    assert generate(**recipe, root=made.parent) == made
    assert {file: file.stat().st_mtime_ns for file in made.rglob("*")} == before


def test_resume_makes_only_what_is_missing(made, recipe, tmp_path):
    copy = shutil.copytree(made, tmp_path / made.name)
    (copy / "manifest.json").unlink()
    shutil.rmtree(copy / "00-quench-train-0001")
    damaged = copy / "02-quench-val-0000" / "step" / "zarr.json"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (copy / ".00-quench-train-0001.stale").mkdir()
    kept = (copy / "00-quench-train-0000" / "record.json").stat().st_mtime_ns
    generate(**recipe, root=tmp_path)
    assert contents(copy) == contents(made)
    assert (copy / "00-quench-train-0000" / "record.json").stat().st_mtime_ns == kept


def test_a_source_added_at_the_end_changes_no_seed(recipe):
    first, *others = recipe["sources"]
    before = tasks([first, *others], seed=7)
    longer = [replace(first, n_trajectories=5), *others, RandomFields("val", n_samples=2)]
    after = {task.name: task.seed for task in tasks(longer, seed=7)}
    assert all(after[task.name] == task.seed for task in before)
    assert len(set(after.values())) == len(after)
    assert {task.seed for task in tasks([first, *others], seed=8)}.isdisjoint(after.values())


def test_second_generator_is_refused(recipe, tmp_path, made):
    with run_lock(tmp_path / made.name):
        with pytest.raises(ValueError, match=f"is being written by process {os.getpid()} on"):
            generate(**recipe, root=tmp_path)
    generate(**recipe, root=tmp_path)
    assert os.listdir(tmp_path) == [made.name]  # no lock is left


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"sources": []}, "at least one source"),
        ({"seed": -1}, "seed must be"),
        ({"name": "a/b"}, "plain folder name"),
        ({"n_workers": -1}, "n_workers must be at least 0, got -1. Use null"),
    ],
)
def test_wrong_arguments_write_nothing(recipe, tmp_path, change, match):
    with pytest.raises(ValueError, match=match):
        generate(**recipe | change, root=tmp_path)
    assert not list(tmp_path.iterdir())


class Broken(RandomFields):
    """A source whose labels fail."""

    def label(self, exact, task, seed):
        raise RuntimeError("no label today")


def test_failure_of_a_task_is_raised_and_the_rest_is_kept(recipe, tmp_path):
    sources = [recipe["sources"][0], Broken("val", n_samples=1)]
    with pytest.raises(RuntimeError, match="no label today"):
        generate(**recipe | {"sources": sources}, root=tmp_path)
    (path,) = tmp_path.iterdir()
    assert len(list(path.glob("00-*"))) == 2 and not (path / "manifest.json").exists()


def test_an_empty_address_of_a_cluster_means_this_machine(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "")
    generate(**recipe | {"sources": [RandomFields("val", n_samples=1)]}, root=tmp_path)


def test_unreachable_cluster_is_one_clear_line(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    monkeypatch.setattr(sys.modules["lattgnn.data.workers"], "_CONNECT_SECONDS", 0.5)
    with pytest.raises(
        ValueError, match="DASK_SCHEDULER_ADDRESS must be the address of a running scheduler"
    ):
        generate(**recipe, root=tmp_path)


LONGER = """
from functools import partial
from lattgnn.data import Quench, RandomFields, generate
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.solvers import ExactDiagonalization

if __name__ == "__main__":
    quench = Quench("train", n_trajectories=6, n_steps=150, n_frames=20)
    sources = [quench, RandomFields("test", n_samples=20)]
    solver = ExactDiagonalization(0.1, mu=0.0)
    holstein = partial(Holstein, g=3.5)
    generate(square(8), holstein, solver, sources, 3, {root!r}, "killed", {n_workers}, False)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("n_workers", "kills"), [(1, (1, 3)), (2, (2,))])
def test_killed_and_run_again_equals_uninterrupted(tmp_path, n_workers, kills):
    sources = [
        Quench("train", n_trajectories=6, n_steps=150, n_frames=20),
        RandomFields("test", n_samples=20),
    ]
    arguments = (square(8), partial(Holstein, g=3.5), ExactDiagonalization(0.1, mu=0.0), sources, 3)
    whole = generate(*arguments, tmp_path / "whole", "killed", n_workers=1, progress=False)
    script = tmp_path / "longer.py"
    root = tmp_path / "killed"
    script.write_text(LONGER.format(root=str(root), n_workers=n_workers))
    for n_parts in kills:  # as soon as so many parts are there
        process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
        deadline = time.monotonic() + PATIENCE
        while len(list(root.glob("*/*/record.json"))) < n_parts and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    (path,) = root.glob("killed-*")  # beside it lies the lock of the killed process
    with pytest.raises(ValueError, match="not complete"):
        LatticeDataset.open(path)
    again = generate(*arguments, root, "killed", n_workers=n_workers, progress=False)
    assert again == path and contents(again) == contents(whole)


def unfinished(made: Path, tmp_path: Path) -> Path:
    """A copy of the dataset without one part and without the manifest."""
    copy = shutil.copytree(made, tmp_path / made.name)
    (copy / "manifest.json").unlink()
    shutil.rmtree(copy / "02-quench-val-0000")
    return copy


def test_files_of_the_user_stay_in_an_unfinished_dataset(recipe, made, tmp_path):
    copy = unfinished(made, tmp_path)
    outside = tmp_path / "outside"
    kept = [copy / "figures" / "a.png", copy / "notes.tmp", copy / ".git.tmp" / "config"]
    kept.append(outside / "data.npz")
    for file in kept:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    (copy / "link").symlink_to(outside, target_is_directory=True)
    killed = copy / ".02-quench-val-0000.0123abcd.tmp"
    (killed / "field").mkdir(parents=True)
    generate(**recipe, root=tmp_path)
    assert all(file.read_text() == "mine" for file in kept) and (copy / "link").is_symlink()
    assert not killed.exists() and (copy / "manifest.json").exists()


def test_a_damaged_part_with_a_file_of_the_user_is_not_replaced(recipe, made, tmp_path):
    copy = unfinished(made, tmp_path)
    note = copy / "00-quench-train-0000" / "field" / "note.txt"
    note.write_text("mine")
    with pytest.raises(ValueError, match=r"note.txt was not written by lattgnn. Move this file"):
        generate(**recipe, root=tmp_path)
    assert note.read_text() == "mine"


def test_test_fields_that_are_training_fields_of_another_dataset_give_a_line(tmp_path):
    solver = ExactDiagonalization(kT=0.1, mu=0.0)

    def made(name, *sources, seed=0, model: Any = Holstein):
        options: dict[str, Any] = {"root": tmp_path, "n_workers": 0, "progress": False}
        return generate(square(4), model, solver, list(sources), seed, name=name, **options)

    train, test = (RandomFields(split, n_samples=2) for split in ("train", "test"))
    first = made("fitted", train, test)
    # The test source of the second dataset has the place of the training source of the first.
    with pytest.warns(UserWarning, match="test fields of fresh-.* are training fields of fitted-"):
        second = made("fresh", test)
    old, new = (LatticeDataset.open(path) for path in (first, second))
    assert (old.frames("train").field == new.frames("test").field).all()
    # None of these share them; warnings are errors in these tests.
    made("other seed", test, seed=1)
    made("other model", test, model=partial(Holstein, g=2.0))
    with pytest.warns(UserWarning, match="test fields of fresh-.* are training fields of later-"):
        made("later", train)
