"""Checkpoints: what they hold beside the weights, and how they are read without running anything in them."""

import pickle
from pathlib import Path
from typing import Any

import torch

from lattgnn.errors import InputError
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.nn import ForceNetwork
from lattgnn.serialize import describe, versions
from lattgnn.solvers import Solver
from lattgnn.symmetry import field_representation

FORMAT_VERSION = 2
"""Version of the checkpoint header; a checkpoint of another version is refused."""


def checkpoint_header(
    net: ForceNetwork, hamiltonian: Hamiltonian, solver: Solver
) -> dict[str, Any]:
    """Plain data that rebuilds a learned force field: network, Hamiltonian, ensemble, lattice, versions."""
    return {
        "format_version": FORMAT_VERSION,
        "net": describe(net),
        "hamiltonian": describe(hamiltonian),
        "solver": describe(solver),
        "lattice": describe(hamiltonian.lattice),
        "versions": versions(),
    }


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """The contents of a checkpoint; no code in it is run.

    Raises:
        ValueError: the file is missing, damaged, or no checkpoint of tensors and plain data.
    """
    if not Path(path).is_file():
        raise InputError(
            f"checkpoint must be a file, got {str(path)!r}, which does not exist. Run `lattgnn fit` first."
        )
    try:
        checkpoint = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise InputError(
            f"checkpoint must be a file of `lattgnn fit`, got {str(path)!r}, which cannot be read "
            f"({type(error).__name__}). Use another checkpoint."
        ) from None
    # A lone tensor is a readable file too: it has no header, which `read_header` says.
    return checkpoint if isinstance(checkpoint, dict) else {}


def read_header(checkpoint: dict[str, Any], name: str | Path = "checkpoint") -> dict[str, Any]:
    """The header of a loaded checkpoint.

    Raises:
        ValueError: it has none, or one of another format version.
    """
    header = checkpoint.get("lattgnn")
    if header is None:
        raise InputError(
            f"{name} must be a checkpoint of `lattgnn fit`, got a file without its header."
        )
    if header["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"{name} must have format version {FORMAT_VERSION}, got {header['format_version']!r}, written by "
            f"lattgnn {header['versions']['lattgnn']}. Use that version of lattgnn, or train again."
        )
    return header


def check_hamiltonian(
    header: dict[str, Any], hamiltonian: Hamiltonian, name: str | Path = "checkpoint"
) -> None:
    """Refuse the checkpoint of another Hamiltonian.

    Raises:
        ValueError: the Hamiltonian of the header has another class or other parameters.
    """
    if header["hamiltonian"] != describe(hamiltonian):
        raise InputError(
            f"{name} must belong to the Hamiltonian asked for, {_text(describe(hamiltonian))}, got one "
            f"trained for {_text(header['hamiltonian'])}. Use its Hamiltonian, or train on this one."
        )


def check_representation(net: ForceNetwork, hamiltonian: Hamiltonian) -> None:
    """Refuse a network made for a field that transforms otherwise than the Hamiltonian's.

    Raises:
        ValueError: the representations or internal spaces differ, in whatever words they are named.
    """
    lattice, name = hamiltonian.lattice, type(hamiltonian).__name__
    declared = hamiltonian.field_type.representation
    internal = "spin" if hamiltonian.field_type.is_spin else ""
    same = field_representation(lattice.cell, net.field) == field_representation(
        lattice.cell, declared
    )
    if not same or net.internal != internal:
        raise InputError(
            f"field and internal of {type(net).__name__} must be the representation and internal space of "
            f"the field of {name} on {lattice.name}, {declared!r} and {internal!r}, got {net.field!r} and "
            f"{net.internal!r}. Use field: {declared!r} and internal: {internal!r}."
        )


def _text(spec: dict[str, Any]) -> str:
    arguments = ", ".join(f"{key}={value}" for key, value in spec["init_args"].items())
    return f"{spec['class_path'].rpartition('.')[2]}({arguments})"
