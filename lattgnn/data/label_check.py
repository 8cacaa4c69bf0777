"""Stored labels compared with those of the present code, before they are used again."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from lattgnn.data.parts import Record, read_frames
from lattgnn.data.workers import threads
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField

# Relative difference that other versions of LAPACK and other processors explain, with a margin.
TOLERANCE = 1e-6

# The comparison stops after this many seconds, and is left out if one label may take that long.
_SECONDS, _MOST_STATES = 10.0, 2000

_LOGGER = logging.getLogger("lattgnn")


def check_labels(path: Path, records: Sequence[Record], exact: ExactForceField) -> None:
    """Compute one label of each part again and compare it with the stored one.

    A difference means that the code of the model or of the solver has changed. The comparison takes
    at most ten seconds: parts of all sources take turns, and large lattices are left out.

    Args:
        path: Directory of the dataset.
        records: Parts whose labels the exact solver has made.
        exact: The exact force field.

    Raises:
        InputError: If a label differs by more than 10⁻⁶ of the largest force or energy.
    """
    if records and exact.hamiltonian.n_states > _MOST_STATES:
        _LOGGER.info(
            "Stored labels are not compared with the present code: one label of "
            f"{exact.hamiltonian.n_states} states takes too long."
        )
        return
    deadline = time.monotonic() + _SECONDS
    # Names are source-kind-split-task: the first tasks of all sources come first.
    for record in sorted(records, key=lambda record: (record.name[-4:], record.name)):
        error = label_error(path, record, exact)
        if not error <= TOLERANCE:
            raise InputError(
                f"dataset {path} does not hold the labels of the present code: one label of part "
                f"{record.name} differs by a relative {error:.1e}. Remove the dataset to make it "
                "anew, or go back to the code that made it."
            )
        if time.monotonic() > deadline:
            break


def label_error(path: Path, record: Record, exact: ExactForceField) -> float:
    """Relative difference between a stored label of a part and the same label computed now.

    Args:
        path: Directory of the dataset.
        record: Record of the part, whose last sample is taken.
        exact: The exact force field.
    """
    frames = read_frames(path / record.name)
    field, forces = (torch.from_numpy(x[-1:]) for x in (frames.field, frames.forces))
    with threads(1):
        energy_now, forces_now = exact.electronic(field)
    size = forces.abs().max().clamp(min=1e-300)
    of_forces = float((forces_now - forces).abs().max() / size)
    energy = float(frames.energy[-1])
    of_energy = abs(float(energy_now) - energy) / max(abs(energy), 1.0)
    return max(of_forces, of_energy)
