"""Make a dataset: label every task of every source, in parallel, so that it can be killed and run again.

Processes only compute; this one alone writes, each part under a temporary name first. The seed of a
task comes from (seed, source, task) and the exact solver uses one thread, so the bits do not depend on
the number of processes, on their order, or on interruptions.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lattgnn.data.dataset import (
    FORMAT_VERSION,
    MANIFEST,
    LatticeDataset,
    Record,
    read_record,
    write_part,
)
from lattgnn.data.quenches import source_identity
from lattgnn.data.sources import Source
from lattgnn.data.workers import Task, compute
from lattgnn.dynamics.philox import GENERATOR
from lattgnn.errors import InputError
from lattgnn.files import atomic_directory, atomic_write_text
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.progress import progress_bar
from lattgnn.serialize import config_hash, describe, versions
from lattgnn.solvers import Solver


def dataset_config(
    lattice: Lattice,
    hamiltonian: Callable[[Lattice], Hamiltonian],
    solver: Solver,
    sources: Sequence[Source],
    seed: int = 0,
) -> dict[str, Any]:
    """The resolved config whose hash names the dataset; arguments as in `generate`."""
    if not sources:
        raise InputError(
            "sources must name at least one source, got none. Use [Quench(split='train')]."
        )
    if seed < 0:
        raise InputError(f"seed must be a whole number >= 0, got {seed!r}.")
    return {
        "lattice": lattice.to_dict(),
        "hamiltonian": describe(hamiltonian(lattice)),
        "solver": describe(solver),
        "sources": [source_identity(source) for source in sources],
        "noise": GENERATOR,
        "seed": seed,
        "format_version": FORMAT_VERSION,
    }


def dataset_path(config: dict[str, Any], root: str | Path, name: str) -> Path:
    """Directory of the dataset of a config: its name and the hash of the config."""
    if not name or "/" in name:
        raise InputError(f"name must be a plain folder name, got {name!r}. Use 'holstein-square'.")
    return Path(root) / f"{name}-{config_hash(config)}"


def tasks(sources: Sequence[Source], seed: int) -> list[Task]:
    """All tasks. A source added at the end, or a longer one, leaves the seeds of the others as they were."""
    return [
        Task(
            f"{number:02d}-{type(source).__name__.lower()}-{source.split}-{index:04d}",
            source,
            index,
            # 63 bits: a task's seed is positive and fits the int64 of any file format
            int(
                np.random.SeedSequence(seed, spawn_key=(number, index)).generate_state(
                    1, np.uint64
                )[0]
                >> 1
            ),
        )
        for number, source in enumerate(sources)
        for index in range(source.n_tasks)
    ]


def generate(
    lattice: Lattice,
    hamiltonian: Callable[[Lattice], Hamiltonian],
    solver: Solver,
    sources: Sequence[Source],
    seed: int = 0,
    root: str | Path = "datasets",
    name: str = "holstein-square",
    n_workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Make the dataset, or finish it if it was interrupted, or only check it if it is complete.

    Args:
        lattice: lattice of every frame.
        hamiltonian: makes the Hamiltonian of a lattice, `Holstein` or `partial(Holstein, g=3.5)`.
        solver: how the electrons are found, with their ensemble (kT, and mu or filling).
        sources: what to label.
        seed: seed of the dataset.
        root: folder of datasets.
        name: first part of the directory's name; the hash of the resolved config is the second.
        n_workers: local processes of one thread each; None takes one a core, 0 or 1 stays in this process.
            With the environment variable DASK_SCHEDULER_ADDRESS set, the tasks go to that cluster instead.
        progress: Show a progress bar on a terminal, or print a line every ten seconds otherwise.

    Returns:
        The directory, `root/name-hash`.

    Raises:
        ValueError: on input that makes no dataset, a damaged dataset, or a second generator at work in it.
    """
    config = dataset_config(lattice, hamiltonian, solver, sources, seed)
    path = dataset_path(config, root, name)
    if not (path / MANIFEST).exists():
        exact = ExactForceField(hamiltonian(lattice), solver)
        _ = (
            exact.hamiltonian.rows
        )  # refuses a lattice that is too small for its bonds, before anything is written
        _check_sources(sources, exact.hamiltonian)
        path.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            if not (
                path / MANIFEST
            ).exists():  # another generator may have finished while this one started
                records = _finish(path, exact, tasks(sources, seed), n_workers, progress)
                _write_manifest(path, config, records)
    return LatticeDataset.open(path, expect=config).path


def _check_sources(sources: Sequence[Source], model: Hamiltonian) -> None:
    """Refuse sources that make another kind of field than the model has."""
    for source in sources:
        if source.makes_spins not in (None, model.field_type.is_spin):
            use = "RandomSpins, SpinQuench" if model.field_type.is_spin else "RandomFields, Quench"
            raise InputError(
                f"sources must make fields of {type(model).__name__}, got {type(source).__name__}. Use {use}."
            )


def _finish(
    path: Path, exact: ExactForceField, todo: list[Task], n_workers: int | None, progress: bool
) -> list[Record]:
    """Make the parts that are not there yet; the records of all parts, in the order of the tasks."""
    found = {task.name: read_record(path / task.name) for task in todo}
    for entry in path.iterdir():  # what a killed process left half written, and damaged parts
        if entry.is_dir() and found.get(entry.name) is None:
            shutil.rmtree(entry)
        elif entry.suffix == ".tmp":
            entry.unlink()
    records = {name: record for name, record in found.items() if record is not None}
    missing = [task for task in todo if task.name not in records]
    # The longest first, so that no process ends with a long one alone.
    missing.sort(key=lambda task: -task.n_solves)
    total = sum(task.n_solves for task in todo)
    done = total - sum(task.n_solves for task in missing)
    with progress_bar(total, done, progress, name="label", unit="labels") as show:
        for task, frames in compute(exact, missing, n_workers):
            labels = {
                "split": task.source.split,
                "kind": type(task.source).__name__.lower(),
                "seed": task.seed,
            }
            with atomic_directory(path / task.name) as temporary:
                records[task.name] = write_part(temporary, frames, name=task.name, **labels)
            done += task.n_solves
            show(done)
    return [records[task.name] for task in todo]


def _write_manifest(path: Path, config: dict[str, Any], records: list[Record]) -> None:
    manifest = {
        "format_version": FORMAT_VERSION,
        "hash": config_hash(config),
        "config": config,
        "versions": versions(),
        "parts": [asdict(record) for record in records],
    }
    atomic_write_text(path / MANIFEST, json.dumps(manifest, indent=2) + "\n")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the directory's lock, which the kernel drops when this process dies, however it dies."""
    lock = path / ".lock"
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"dataset {path} must have one generator at a time, got a second one. Wait for the first."
            ) from None
        yield
        lock.unlink()
