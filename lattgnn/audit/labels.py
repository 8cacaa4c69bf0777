"""The solved patches as labels: files and a configuration for `lattgnn fit`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from lattgnn.audit.halo import on_lattice
from lattgnn.audit.patches import PatchShape
from lattgnn.audit.store import SolvedPatch
from lattgnn.data import PublishedSnapshots
from lattgnn.data.sources import Split
from lattgnn.files import atomic_file, atomic_write_text
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.serialize import describe
from lattgnn.solvers import Solver

DATASET = "dataset.yaml"
#: Parts of the patches for training, validation and test.
SPLITS: dict[Split, float] = {"train": 0.7, "val": 0.15, "test": 0.15}


def write_dataset(
    folder: Path,
    patches: Sequence[SolvedPatch],
    shape: PatchShape,
    model: Hamiltonian,
    solver: Solver,
) -> Path | None:
    """Write patches as npz files of three splits, and a configuration that `fit` and `test` read.

    A patch is a lattice of its own, of which the reference gives the forces on all sites. Patches
    are ordered by their place along the longest axis that was cut, or by replica and frame if they
    are whole lattices, before they are split. So patches of one place do not end up in two splits,
    except for margins that overlap at the borders.

    Args:
        folder: Folder of the audit.
        patches: The patches.
        shape: Their shape.
        model: The model on the lattice of the run.
        solver: The solver that made the labels.

    Returns:
        The configuration, None if there are too few patches for three splits.
    """
    small = on_lattice(model, shape.patch_lattice)
    ordered = sorted(patches, key=lambda patch: _order(patch, shape))
    ends = np.round(len(ordered) * np.cumsum(list(SPLITS.values()))).astype(int)
    starts = np.concatenate([[0], ends[:-1]])
    if (starts == ends).any():
        return None
    sources = []
    for split, start, end in zip(SPLITS, starts, ends, strict=True):
        path = folder / f"{split}.npz"
        _write_npz(path, ordered[start:end], small)
        sources.append(describe(PublishedSnapshots(split=split, path=str(path.resolve()))))
        # The path is not part of a description, but a configuration needs it.
        sources[-1]["init_args"]["path"] = str(path.resolve())
    config = {
        "lattice": {
            "class_path": "lattgnn.lattice.Lattice",
            "init_args": describe(shape.patch_lattice)["init_args"],
        },
        "hamiltonian": describe(model),
        "solver": describe(solver),
        "sources": sources,
        "name": "audited-patches",
        "n_workers": 0,
    }
    text = (
        "# Patches of an audited run with their exact forces. Fit a network to them with\n"
        "# lattgnn fit --config FIT.yaml --data=THIS_FILE, or test one with lattgnn test.\n"
    )
    atomic_write_text(folder / DATASET, text + yaml.safe_dump(config, sort_keys=False))
    return folder / DATASET


def _order(patch: SolvedPatch, shape: PatchShape) -> tuple[int, ...]:
    """Place along the longest axis that was cut; or replica and frame."""
    frame, replica, *start = patch.place.tolist()
    if shape.is_whole:
        return replica, frame
    cut = [axis for axis, core in enumerate(shape.core) if core < shape.lattice.extent[axis]]
    axis = max(cut, key=lambda axis: shape.lattice.extent[axis])
    return start[axis], frame, replica


def _write_npz(path: Path, patches: Sequence[SolvedPatch], model: Hamiltonian) -> None:
    """Fields and whole forces, from which the source subtracts the classical part again."""
    field = torch.from_numpy(np.stack([patch.field for patch in patches]))
    forces = torch.from_numpy(np.stack([patch.forces for patch in patches]))
    energy = torch.from_numpy(np.stack([patch.energy for patch in patches]))
    forces = forces + model.classical_forces(field)
    energy = energy + model.classical_energy(field)
    with atomic_file(path) as temporary:
        np.savez(temporary, field=field.numpy(), forces=forces.numpy(), energy=energy.numpy())
