"""Checkpoints: weights with a header of plain data, read without running any code in them."""

import reprlib
import textwrap
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lattgnn.checkpoint_checks import check_lattice, check_network
from lattgnn.devices import usable_device
from lattgnn.errors import InputError
from lattgnn.field_statistics import FieldStatistics
from lattgnn.files import atomic_file
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork, HiddenChannels
from lattgnn.pretrained import find_checkpoint, shipped_record
from lattgnn.serialize import build, describe, versions
from lattgnn.solvers import Solver
from lattgnn.trust import Trust, reading

FORMAT_VERSION = 3
"""Version of the checkpoint header; version 2 is upgraded when it is read."""


def checkpoint_header(
    net: ForceNetwork,
    hamiltonian: Hamiltonian,
    solver: Solver,
    statistics: FieldStatistics | None = None,
) -> dict[str, Any]:
    """Plain data to rebuild a learned force field: network, Hamiltonian, solver and lattice.

    The statistics of the training fields are added if they are known.
    """
    known = {} if statistics is None else {"field_statistics": statistics.to_dict()}
    return known | {
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
        what = "is a directory" if Path(path).is_dir() else "does not exist"
        raise InputError(
            f"checkpoint must be a file, got {str(path)!r}, which {what}. Run `lattgnn fit` first, "
            "or give the name of a shipped force field without a separator."
        )
    try:
        _check_checksums(path)
        with warnings.catch_warnings():  # about other pickle protocols, in files of other programs
            warnings.simplefilter("ignore")
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged file makes torch raise nearly every kind of exception, with long messages.
        raise InputError(
            f"checkpoint must be a file of `lattgnn fit`, got {str(path)!r}, which cannot be read "
            f"({type(error).__name__}: {_reason(error)}). Use another checkpoint."
        ) from error
    # A file with a single tensor can be read too, but it has no header: `read_header` reports it.
    return checkpoint if isinstance(checkpoint, dict) else {}


def _reason(error: Exception) -> str:
    """The part of a message of torch that says why a file cannot be read, in at most 120 letters.

    The refusal of a class is preceded by advice on how to load the file nevertheless.
    """
    text = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
    first = text.strip().splitlines()[0] if text.strip() else "no reason given"
    return textwrap.shorten(first, 120, placeholder=" ...").rstrip(".")


def read_header(checkpoint: dict[str, Any], name: str | Path = "checkpoint") -> dict[str, Any]:
    """The header of a loaded checkpoint.

    Raises:
        InputError: If there is no header, a part of it is missing, or its format version is
            unknown.
    """
    header = checkpoint.get("lattgnn")
    if not isinstance(header, dict):
        raise InputError(
            f"{name} must be a checkpoint of `lattgnn fit`, got a file without its header."
        )
    version = header.get("format_version")
    if not isinstance(version, int) or version not in (2, FORMAT_VERSION):
        writer = header.get("versions")
        writer = writer.get("lattgnn") if isinstance(writer, dict) else None
        raise InputError(
            f"{name} must have format version {FORMAT_VERSION}, got {reprlib.repr(version)}. "
            f"Use the lattgnn that wrote it ({reprlib.repr(writer)}), or train again."
        )
    for part in ("net", "hamiltonian", "solver", "lattice"):
        if not isinstance(header.get(part), dict):
            raise InputError(
                f"{name} must have a header with net, hamiltonian, solver and lattice, got one "
                f"without {part}. The file is damaged; use another checkpoint."
            )
    if version == FORMAT_VERSION:
        return header
    with reading(name):
        return _upgraded(header)


def field_statistics(
    header: Mapping[str, Any], path: str | Path = "checkpoint"
) -> FieldStatistics | None:
    """Statistics of the training fields; None for a file that was written before they were kept.

    Args:
        header: The header of the checkpoint.
        path: Its file. The statistics of a shipped one are in the record beside it.
    """
    record = header.get("field_statistics", shipped_record(path).get("field_statistics"))
    return None if record is None else FieldStatistics.from_dict(record)


def load_model(
    path: str | Path,
    lattice: Lattice | None = None,
    device: str | torch.device = "cpu",
    trust: Trust = (),
) -> tuple[ForceNetwork, Hamiltonian, Solver, FieldStatistics | None]:
    """The network of a checkpoint with its weights, the Hamiltonian on a lattice, and the solver.

    The last entry are the statistics of the training fields, None if the file has none.

    Args:
        path: The checkpoint file.
        lattice: The lattice to be simulated: that of the training with any extent. None uses the
            extent of the training.
        device: Device of the network.
        trust: Modules that the file may import besides those that every file may, see
            `lattgnn.trust`.

    Raises:
        InputError: If the file is not a checkpoint or has an unknown format version, its weights
            do not fit the network, the network was trained on another lattice, the file names a
            module that is not trusted, or the device cannot be used.
    """
    place = usable_device(device)
    checkpoint = load_checkpoint(path)
    with reading(path, trust):
        header = read_header(checkpoint, path)
        trained_on = build(header["lattice"], Lattice)
    lattice = trained_on if lattice is None else lattice
    check_lattice(header, lattice, path)
    with reading(path, trust):
        net = build(header["net"], ForceNetwork, lattice)
        restore_weights(net, checkpoint, path)
        solver = build(header["solver"], Solver)
        hamiltonian = build(header["hamiltonian"], Hamiltonian, lattice)
        return net.to(place), hamiltonian, solver, field_statistics(header, path)


def save_model(
    path: str | Path,
    net: ForceNetwork,
    hamiltonian: Hamiltonian,
    solver: Solver,
    statistics: FieldStatistics | None = None,
) -> None:
    """Write a checkpoint of weights and header, without the training state.

    Args:
        path: The file, which appears only when it is complete.
        net: The network.
        hamiltonian: The Hamiltonian on the lattice of the network.
        solver: The solver that computed the labels.
        statistics: Statistics of the training fields, if they are known.
    """
    # `lattgnn fit` saves the network as the attribute `net` of a Lightning module.
    weights = {f"net.{key}": value for key, value in net.state_dict().items()}
    header = checkpoint_header(net, hamiltonian, solver, statistics)
    with atomic_file(path) as temporary:
        torch.save({"lattgnn": header, "state_dict": weights}, temporary)


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
    restore_weights(net, checkpoint, path)


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


def restore_weights(
    net: ForceNetwork, checkpoint: Mapping[str, Any], name: str | Path = "checkpoint"
) -> None:
    """Load the weights of a checkpoint, which must be exactly those of the network.

    Args:
        net: The network.
        checkpoint: The contents of the file, from `load_checkpoint`.
        name: The file, which messages name.

    Raises:
        InputError: If a weight is missing, unexpected or of another shape.
    """
    found = {}
    stored = checkpoint.get("state_dict")
    for key, value in (stored if isinstance(stored, Mapping) else {}).items():
        # A checkpoint of `lattgnn fit` holds the whole Lightning module: the network, and the
        # metrics of the fit, which are not needed here.
        if isinstance(key, str) and isinstance(value, Tensor) and not key.startswith("errors."):
            found[key] = value
    wanted = {f"net.{key}": value for key, value in net.state_dict().items()}
    shared = wanted.keys() & found.keys()
    problems = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "of another shape": sorted(k for k in shared if wanted[k].shape != found[k].shape),
        "complex": sorted(
            k for k in shared if found[k].is_complex() and not wanted[k].is_complex()
        ),
    }
    if any(problems.values()):
        parts = [f"{kind}: {_first_few(keys)}" for kind, keys in problems.items() if keys]
        raise InputError(
            f"{name} must hold the weights of the {type(net).__name__} that its header describes, "
            f"but some are {'; '.join(parts)}. Use another checkpoint."
        )
    net.load_state_dict({key.removeprefix("net."): value for key, value in found.items()})


def _check_checksums(path: str | Path) -> None:
    """Compare the parts of a checkpoint with their checksums, which torch writes but ignores.

    Raises:
        zipfile.BadZipFile: If a part differs.
    """
    if zipfile.is_zipfile(path):  # files of torch before 1.6 are none
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")


def _first_few(names: list[str]) -> str:
    """The first three names, and the number of the others."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
