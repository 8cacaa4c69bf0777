"""Make a dataset: label all tasks of all sources in parallel, and resume after an interruption.

Workers only compute. This process alone writes, each part under a temporary name that is renamed
when the part is complete. The seed of a task is derived from (seed, source, task), and the exact
solver uses one thread, so the bits do not depend on the number of processes, on their order or on
interruptions.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lattgnn.checks import CheckResult, check_model, check_symmetry, require_valid
from lattgnn.data.code_identity import CODE, code_identity, made_by_other_code
from lattgnn.data.dataset import FORMAT_VERSION, LatticeDataset
from lattgnn.data.label_check import check_labels
from lattgnn.data.parts import MANIFEST, Record, read_record, remove_leftovers, write_part
from lattgnn.data.quenches import source_identity
from lattgnn.data.shared_fields import warn_of_shared_fields
from lattgnn.data.sources import Source
from lattgnn.data.workers import Task, compute
from lattgnn.dynamics.philox import GENERATOR
from lattgnn.errors import InputError
from lattgnn.files import atomic_directory, atomic_write_text, run_lock
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.progress import progress_bar
from lattgnn.serialize import config_hash, describe, versions
from lattgnn.solvers import Solver
from lattgnn.solvers.model_cache import model_cache

_LOGGER = logging.getLogger("lattgnn")


def dataset_config(
    lattice: Lattice,
    hamiltonian: Callable[[Lattice], Hamiltonian],
    solver: Solver,
    sources: Sequence[Source],
    seed: int = 0,
) -> dict[str, Any]:
    """The resolved config, whose hash is part of the dataset's name. Arguments as in `generate`."""
    if not sources:
        raise InputError(
            "sources must name at least one source, got none. Use [Quench(split='train')]."
        )
    if seed < 0:
        raise InputError(f"seed must be a whole number >= 0, got {seed!r}.")
    model = hamiltonian(lattice)
    solver = solver.resolved(model)
    config = {
        "lattice": lattice.to_dict(),
        "hamiltonian": describe(model),
        "solver": describe(solver),
        "sources": [source_identity(source) for source in sources],
        "noise": GENERATOR,
        "seed": seed,
        "format_version": FORMAT_VERSION,
    }
    code = code_identity(model, solver, *sources)
    return config | {CODE: code} if code else config


def dataset_path(config: dict[str, Any], root: str | Path, name: str) -> Path:
    """Directory of a dataset, `root/name-hash` with the hash of its config."""
    if not name or "/" in name:
        raise InputError(f"name must be a plain folder name, got {name!r}. Use 'holstein-square'.")
    if len(name.encode()) > 200:  # file systems allow 255 bytes, with the hash and temporary parts
        raise InputError(f"name must have at most 200 characters, got {len(name)}.")
    return Path(root) / f"{name}-{config_hash(config)}"


def tasks(sources: Sequence[Source], seed: int) -> list[Task]:
    """All tasks of all sources.

    A seed depends on the numbers of its source and task only, so adding a source at the end, or
    tasks to a source, does not change the other seeds.
    """
    found = []
    for number, source in enumerate(sources):
        label = f"{number:02d}-{_kind(source)}-{source.split}"
        for index in range(source.n_tasks):
            sequence = np.random.SeedSequence(seed, spawn_key=(number, index))
            # 63 bits, so that the seed is positive as an int64, in any file format.
            task_seed = int(sequence.generate_state(1, np.uint64)[0] >> 1)
            found.append(Task(f"{label}-{index:04d}", source, index, task_seed))
    return found


def _kind(source: Source) -> str:
    """The kind of a source in names of parts and in records."""
    return type(source).__name__.lower()


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
    model_check: bool = True,
    symmetry_check: bool = True,
    reuse_labels: bool | None = None,
) -> Path:
    """Make a dataset. An interrupted one is resumed, and a complete one is only checked.

    Args:
        lattice: Lattice of every frame.
        hamiltonian: Makes the Hamiltonian of a lattice: `Holstein` or `partial(Holstein, g=3.5)`.
        solver: The exact solver, with the electronic ensemble (kT, and mu or filling).
        sources: What to label.
        seed: Seed of the dataset.
        root: Folder of datasets.
        name: First part of the directory's name; the hash of the resolved config is the second.
        n_workers: Number of local processes, each with one thread; None takes one per core, 0 or 1
            works in this process. If the environment variable DASK_SCHEDULER_ADDRESS is set, the
            tasks go to that cluster instead.
        progress: Show a progress bar on a terminal, or print a line every ten seconds otherwise.
        model_check: Before the first label, check the model as `lattgnn check` does (forces,
            bounds, Hermitian matrix and so on; about a second). Before labels are used again,
            compute one of each task and compare. False is for models that break a check on purpose.
        symmetry_check: Check that the electrons have the symmetry of the lattice, which every
            network assumes. False is for labels of no network, or networks of your own that assume
            less. Neither check is part of the dataset's hash.
        reuse_labels: What to do if there are labels of the same configuration made by other code of
            your classes, and the present code gives the same labels: true copies them, false makes
            all labels anew, and null refuses to choose. Labels that differ are always made anew.

    Returns:
        The directory, `root/name-hash`.

    Raises:
        InputError: If an argument is invalid, the model fails a check, the dataset is damaged, or
            another process makes it.
    """
    if n_workers is not None and n_workers < 0:
        raise InputError(
            f"n_workers must be at least 0, got {n_workers!r}. Use null for one process per core."
        )
    config = dataset_config(lattice, hamiltonian, solver, sources, seed)
    path = dataset_path(config, root, name)
    exact = ExactForceField(hamiltonian(lattice), solver)
    is_new = not (path / MANIFEST).exists()
    if is_new:
        # Before anything is written: the pattern cannot be computed if the lattice is too small.
        _ = exact.hamiltonian.rows
        for source in sources:
            source.check(exact.hamiltonian)
    if any(source.computes_labels for source in sources):
        require_valid(_check(exact, model_check and is_new, symmetry_check))
    elif symmetry_check:
        _LOGGER.info("The symmetry of the labels is not checked, because they come from files.")
    todo = tasks(sources, seed)
    if is_new:
        old = None if path.exists() else made_by_other_code(root, name, config)
        if old is not None and _are_current(old, exact, todo):
            _reuse(path, config, old, reuse_labels)
        with run_lock(path):
            path.mkdir(exist_ok=True)
            # Checked again: another process may have finished since the first check.
            if not (path / MANIFEST).exists():
                records = _finish(path, exact, todo, n_workers, progress, model_check)
                _write_manifest(path, config, records)
    dataset = LatticeDataset.open(path, expect=config)
    if model_check and not is_new:
        check_labels(path, _computed(dataset.records, todo), exact)
    warn_of_shared_fields(dataset)
    return dataset.path


def _computed(records: Iterable[Record], todo: list[Task]) -> list[Record]:
    """The records of parts that the exact solver has made."""
    names = {task.name for task in todo if task.source.computes_labels}
    return [record for record in records if record.name in names]


def _are_current(path: Path, exact: ExactForceField, todo: list[Task]) -> bool:
    """Whether labels that other code has made are those of the present code."""
    try:
        check_labels(path, _computed(LatticeDataset.open(path).records, todo), exact)
    except InputError:
        _LOGGER.info(f"The labels of {path} are not those of the present code; new ones are made.")
        return False
    return True


def _reuse(path: Path, config: dict[str, Any], old: Path, reuse: bool | None) -> None:
    """Copy the labels that other code has made, if they are wanted.

    Args:
        path: Directory of the new dataset.
        config: Its configuration.
        old: Dataset of the same configuration, with labels of the present code.
        reuse: As in `generate`.

    Raises:
        InputError: If it is not said whether to copy them.
    """
    if reuse is None:
        raise InputError(
            f"{old} has the same configuration and was made by other code of "
            f"{', '.join(config[CODE])}, but the present code gives the same labels. Use "
            "`lattgnn generate` with --reuse_labels=true to copy them, or with "
            "--reuse_labels=false to make them anew."
        )
    if reuse:
        with atomic_directory(path) as temporary:
            shutil.copytree(old, temporary, dirs_exist_ok=True)
            _write_manifest(temporary, config, list(LatticeDataset.open(old).records))


def _check(exact: ExactForceField, model: bool, symmetry: bool) -> Sequence[CheckResult]:
    """The results of the checks that are wanted."""
    return _cached_checks(exact.hamiltonian, exact.solver, model, symmetry)


# A program may make many datasets of one model.
@model_cache(16)
def _cached_checks(
    hamiltonian: Hamiltonian, solver: Solver, model: bool, symmetry: bool
) -> tuple[CheckResult, ...]:
    if model:
        return tuple(check_model(hamiltonian, solver, symmetry=symmetry))
    return (check_symmetry(hamiltonian, solver),) if symmetry else ()


def _finish(
    path: Path,
    exact: ExactForceField,
    todo: list[Task],
    n_workers: int | None,
    progress: bool,
    check: bool,
) -> list[Record]:
    """Make the missing parts and return the records of all parts, in the order of the tasks."""
    found = {task.name: read_record(path / task.name) for task in todo}
    records = {name: record for name, record in found.items() if record is not None}
    remove_leftovers(path, found)
    if check and records:
        check_labels(path, _computed(records.values(), todo), exact)
    missing = [task for task in todo if task.name not in records]
    # The longest first, so that the others do not wait for a long task that started last.
    missing.sort(key=lambda task: -task.n_solves)
    # Progress is measured in exact solutions, because tasks differ in length.
    total = sum(task.n_solves for task in todo)
    done = total - sum(task.n_solves for task in missing)
    with progress_bar(total, done, progress, name="label", unit="labels") as show:
        for task, frames in compute(exact, missing, n_workers):
            with atomic_directory(path / task.name) as temporary:
                records[task.name] = write_part(
                    temporary,
                    frames,
                    name=task.name,
                    split=task.source.split,
                    kind=_kind(task.source),
                    seed=task.seed,
                )
            done += task.n_solves
            show(done)
    return [records[task.name] for task in todo]


def _write_manifest(path: Path, config: dict[str, Any], records: list[Record]) -> None:
    """Write the manifest, which declares the dataset complete."""
    manifest = {
        "format_version": FORMAT_VERSION,
        "hash": config_hash(config),
        "config": config,
        "versions": versions(),
        "parts": [asdict(record) for record in records],
    }
    atomic_write_text(path / MANIFEST, json.dumps(manifest, indent=2) + "\n")
