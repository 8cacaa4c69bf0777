"""The header of a checkpoint: plain data that say which network it holds, and for which model."""

import reprlib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from lattgnn.errors import InputError
from lattgnn.field_statistics import FieldStatistics
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork, HiddenChannels
from lattgnn.pretrained import shipped_record
from lattgnn.serialize import build, describe, versions
from lattgnn.solvers import Solver
from lattgnn.trust import reading

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
