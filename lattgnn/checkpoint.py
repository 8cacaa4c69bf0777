"""Checkpoints: what they hold beside the weights, and how they are read without running code in them."""

import pickle
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from lattgnn.errors import InputError
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork, HiddenChannels
from lattgnn.serialize import build, describe, versions
from lattgnn.solvers import Solver
from lattgnn.symmetry import field_representation

FORMAT_VERSION = 3
"""Version of the checkpoint header; version 2 is upgraded when it is read."""


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
        InputError: If the file is missing, is damaged, or holds more than tensors and plain data.
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
        InputError: If it has none, or one of an unknown format version.
    """
    header = checkpoint.get("lattgnn")
    if header is None:
        raise InputError(
            f"{name} must be a checkpoint of `lattgnn fit`, got a file without its header."
        )
    if header["format_version"] == 2:
        return _upgraded(header)
    if header["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"{name} must have format version {FORMAT_VERSION}, got {header['format_version']!r}, written by "
            f"lattgnn {header['versions']['lattgnn']}. Use that version of lattgnn, or train again."
        )
    return header


def check_hamiltonian(
    header: dict[str, Any], hamiltonian: Hamiltonian, name: str | Path = "checkpoint"
) -> None:
    """Refuse a checkpoint of another Hamiltonian.

    Raises:
        InputError: If the Hamiltonian of the header has another class or other parameters.
    """
    if header["hamiltonian"] != describe(hamiltonian):
        raise InputError(
            f"{name} must belong to the chosen Hamiltonian, {_text(describe(hamiltonian))}, got one "
            f"trained for {_text(header['hamiltonian'])}. Use its Hamiltonian, or train on this one."
        )


def check_field_type(net: ForceNetwork, hamiltonian: Hamiltonian) -> None:
    """Refuse a network made for another kind of field than the Hamiltonian's.

    Raises:
        InputError: If the components of the field differ in number or in how they transform.
    """
    cell, wanted, found = hamiltonian.lattice.cell, hamiltonian.field_type, net.field_type
    # Two texts can name the same representation: "E" and "vector" do on the square lattice.
    representations = [field_representation(cell, kind.representation) for kind in (wanted, found)]
    same = representations[0] == representations[1]
    if not same or (wanted.is_spin, wanted.n_components) != (found.is_spin, found.n_components):
        raise InputError(
            f"field_type of {type(net).__name__} must be that of {type(hamiltonian).__name__} on "
            f"{hamiltonian.lattice.name}, {wanted}, got {found}. Make the network with "
            "hamiltonian.field_type."
        )


def _upgraded(header: dict[str, Any]) -> dict[str, Any]:
    """A header of format version 2 as one of version 3.

    In version 2 a network had the arguments force_bound, field and internal in place of field_type, and an
    OrbitNetwork had those of HiddenChannels among its own.
    """
    lattice = build(header["lattice"], Lattice)
    hamiltonian = build(header["hamiltonian"], Hamiltonian, lattice)
    class_path, arguments = header["net"]["class_path"], dict(header["net"]["init_args"])
    for name in ("field", "internal"):
        arguments.pop(name, None)
    field_type = replace(hamiltonian.field_type, force_bound=arguments.pop("force_bound"))
    if class_path == "lattgnn.nn.OrbitNetwork":
        arguments["representation"] = arguments.pop("hidden")
        names = [field.name for field in fields(HiddenChannels)]
        arguments["hidden"] = describe(
            HiddenChannels(**{name: arguments.pop(name) for name in names})
        )
    arguments["field_type"] = describe(field_type)
    net = {"class_path": class_path, "init_args": arguments}
    return header | {"format_version": FORMAT_VERSION, "net": net}


def _text(spec: dict[str, Any]) -> str:
    arguments = ", ".join(f"{key}={value}" for key, value in spec["init_args"].items())
    return f"{spec['class_path'].rpartition('.')[2]}({arguments})"
