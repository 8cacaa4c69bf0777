"""Checkpoints: weights with a header of plain data, read without running any code in them."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.files import atomic_file
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork, HiddenChannels
from lattgnn.serialize import build, config_differences, describe, versions
from lattgnn.solvers import Solver
from lattgnn.symmetry import field_representation

FORMAT_VERSION = 3
"""Version of the checkpoint header; version 2 is upgraded when it is read."""

PRETRAINED = Path(__file__).parent / "pretrained"
"""Folder of the force fields that are part of the package."""


def checkpoint_header(
    net: ForceNetwork, hamiltonian: Hamiltonian, solver: Solver
) -> dict[str, Any]:
    """Plain data to rebuild a learned force field: network, Hamiltonian, solver and lattice."""
    return {
        "format_version": FORMAT_VERSION,
        "net": describe(net),
        "hamiltonian": describe(hamiltonian),
        "solver": describe(solver),
        "lattice": describe(hamiltonian.lattice),
        "versions": versions(),
    }


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint on the CPU, read without running any code in it.

    Raises:
        InputError: If the file is missing, is damaged, or holds more than tensors and plain data.
    """
    if not Path(path).is_file():
        raise InputError(
            f"checkpoint must be a file, got {str(path)!r}, which does not exist. "
            "Run `lattgnn fit` first."
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise InputError(
            f"checkpoint must be a file of `lattgnn fit`, got {str(path)!r}, which cannot be read "
            f"({type(error).__name__}). Use another checkpoint."
        ) from None
    # A file with a single tensor can be read too, but it has no header: `read_header` reports it.
    return checkpoint if isinstance(checkpoint, dict) else {}


def read_header(checkpoint: dict[str, Any], name: str | Path = "checkpoint") -> dict[str, Any]:
    """The header of a loaded checkpoint.

    Raises:
        InputError: If there is no header, or its format version is unknown.
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
            f"{name} must have format version {FORMAT_VERSION}, got {header['format_version']!r}, "
            f"written by lattgnn {header['versions']['lattgnn']}. Use that version of lattgnn, or "
            "train again."
        )
    return header


def load_model(
    path: str | Path, lattice: Lattice | None = None, device: str | torch.device = "cpu"
) -> tuple[ForceNetwork, Hamiltonian, Solver]:
    """The network of a checkpoint with its weights, the Hamiltonian on a lattice, and the solver.

    Args:
        path: The checkpoint file.
        lattice: The lattice to be simulated: that of the training with any extent. None uses the
            extent of the training.
        device: Device of the network.

    Raises:
        InputError: If the file is not a checkpoint or has an unknown format version, its weights
            do not fit the network, or the network was trained on another lattice.
    """
    checkpoint = load_checkpoint(path)
    header = read_header(checkpoint, path)
    trained_on = build(header["lattice"], Lattice)
    lattice = trained_on if lattice is None else lattice
    check_lattice(header, lattice, path)
    net = build(header["net"], ForceNetwork, lattice)
    _load_weights(net, checkpoint["state_dict"], path)
    solver = build(header["solver"], Solver)
    return net.to(device), build(header["hamiltonian"], Hamiltonian, lattice), solver


def save_model(
    path: str | Path, net: ForceNetwork, hamiltonian: Hamiltonian, solver: Solver
) -> None:
    """Write a checkpoint of weights and header, without the training state.

    Args:
        path: The file, which appears only when it is complete.
        net: The network.
        hamiltonian: The Hamiltonian on the lattice of the network.
        solver: The solver that computed the labels.
    """
    # `lattgnn fit` saves the network as the attribute `net` of a Lightning module.
    weights = {f"net.{key}": value for key, value in net.state_dict().items()}
    header = checkpoint_header(net, hamiltonian, solver)
    with atomic_file(path) as temporary:
        torch.save({"lattgnn": header, "state_dict": weights}, temporary)


def pretrained_path(name: str) -> Path:
    """The checkpoint of a force field that is part of the package.

    Raises:
        InputError: If no force field has this name.
    """
    known = pretrained_names()
    if name not in known:
        raise InputError(f"name must be one of {known}, got {name!r}.")
    return PRETRAINED / f"{name}.ckpt"


def pretrained_names() -> list[str]:
    """Names of the force fields that are part of the package."""
    return sorted(path.stem for path in PRETRAINED.glob("*.ckpt"))


def find_checkpoint(name: str | Path) -> Path:
    """The file of a checkpoint that is given by its path, or by the name of a shipped force field.

    A shipped name is never taken for a path. Write ./NAME for a file of the same name.
    """
    return pretrained_path(str(name)) if str(name) in pretrained_names() else Path(name)


def load_weights(name: str | Path, net: ForceNetwork, hamiltonian: Hamiltonian) -> None:
    """Load the weights of a checkpoint into a network, as the start of another fit.

    The Hamiltonian may have other parameters than that of the checkpoint. Of the network, only the
    numbers that follow from them may differ: the bound of the force and the coupling to the
    density.

    Args:
        name: The checkpoint file, or the name of a shipped force field.
        net: The network.
        hamiltonian: The Hamiltonian of the new fit, on its lattice.

    Raises:
        InputError: If the checkpoint holds another network, or was trained on another lattice or
            for another class of Hamiltonian.
    """
    path = find_checkpoint(name)
    checkpoint = load_checkpoint(path)
    header = read_header(checkpoint, path)
    check_lattice(header, hamiltonian.lattice, path)
    wanted, found = describe(hamiltonian)["class_path"], header["hamiltonian"]["class_path"]
    if wanted != found:
        raise InputError(f"{path} must be trained for {wanted}, got one for {found}.")
    check_network(header, net, path, free=("force_bound", "density_coupling"))
    _load_weights(net, checkpoint["state_dict"], path)


def check_hamiltonian(
    header: dict[str, Any], hamiltonian: Hamiltonian, name: str | Path = "checkpoint"
) -> None:
    """Refuse a checkpoint of another Hamiltonian.

    Raises:
        InputError: If the Hamiltonian of the header has another class or other parameters.
    """
    if header["hamiltonian"] != describe(hamiltonian):
        raise InputError(
            f"{name} must belong to the chosen Hamiltonian, {_text(describe(hamiltonian))}, got "
            f"one trained for {_text(header['hamiltonian'])}. Use its Hamiltonian, or train on "
            "this one."
        )


def check_lattice(
    header: dict[str, Any], lattice: Lattice, name: str | Path = "checkpoint"
) -> None:
    """Refuse a checkpoint of another lattice; the extent may differ.

    Raises:
        InputError: If the crystals differ.
    """
    trained_on = build(header["lattice"], Lattice)
    if lattice.cell != trained_on.cell:
        raise InputError(
            f"lattice must be the one that {name} was trained on, {trained_on.name}, got "
            f"{lattice.name}. Any extent of that lattice works, with its labels of sites and bonds."
        )


def check_network(
    header: dict[str, Any],
    net: ForceNetwork,
    name: str | Path = "checkpoint",
    free: Sequence[str] = (),
) -> None:
    """Refuse a checkpoint of another network.

    Args:
        header: The header of the checkpoint.
        net: The configured network.
        name: How a message calls the checkpoint.
        free: Arguments that may differ, by their last names.

    Raises:
        InputError: If the class or another argument differs.
    """
    differences = config_differences(header["net"], describe(net))
    texts = []
    for key, (old, new) in differences.items():
        short = key.removeprefix("init_args.").replace(".init_args", "")
        if short.rpartition(".")[2] not in free:
            texts.append(f"{short} {old!r}, not {new!r}")
    if texts:
        raise InputError(
            f"{name} must hold the configured network, but it has {'; '.join(texts)}. Use its "
            "configuration."
        )


def check_field_type(net: ForceNetwork, hamiltonian: Hamiltonian) -> None:
    """Refuse a network made for another kind of field than the Hamiltonian's.

    Raises:
        InputError: If the components of the field differ in number or in how they transform.
    """
    cell, wanted, found = hamiltonian.lattice.cell, hamiltonian.field_type, net.field_type
    # Two texts can name the same representation, as "E" and "vector" do on the square lattice, so
    # the representations are compared, not the texts.
    representations = [field_representation(cell, kind.representation) for kind in (wanted, found)]
    same = representations[0] == representations[1]
    if not same or (wanted.is_spin, wanted.n_components) != (found.is_spin, found.n_components):
        raise InputError(
            f"field_type of {type(net).__name__} must be that of {type(hamiltonian).__name__} on "
            f"{hamiltonian.lattice.name}, {wanted}, got {found}. Make the network with "
            "hamiltonian.field_type."
        )


def _upgraded(header: dict[str, Any]) -> dict[str, Any]:
    """A header of format version 2, converted to version 3.

    In version 2 a network had the arguments force_bound, field and internal in place of field_type,
    and an OrbitNetwork had those of HiddenChannels among its own.
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


def _load_weights(net: ForceNetwork, state_dict: Mapping[str, Tensor], path: str | Path) -> None:
    """Load the weights of a checkpoint, which must be exactly those of the network.

    Raises:
        InputError: If a weight is missing, unexpected or of another shape.
    """
    # A checkpoint of `lattgnn fit` holds the whole Lightning module: the network, and the metrics
    # of the fit, which are not needed here.
    found = {key: value for key, value in state_dict.items() if not key.startswith("errors.")}
    wanted = {f"net.{key}": value for key, value in net.state_dict().items()}
    shared = wanted.keys() & found.keys()
    problems = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "of another shape": sorted(k for k in shared if wanted[k].shape != found[k].shape),
    }
    if any(problems.values()):
        text = "; ".join(f"{kind}: {', '.join(keys)}" for kind, keys in problems.items() if keys)
        raise InputError(
            f"{path} must hold the weights of the {type(net).__name__} that its header describes, "
            f"but some are {text}. Use another checkpoint."
        )
    net.load_state_dict({key.removeprefix("net."): value for key, value in found.items()})


def _text(spec: dict[str, Any]) -> str:
    arguments = ", ".join(f"{key}={value}" for key, value in spec["init_args"].items())
    return f"{spec['class_path'].rpartition('.')[2]}({arguments})"
