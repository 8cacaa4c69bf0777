"""Export of force fields as programs that run without lattgnn: `torch.export` and AOTInductor."""

import json
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from lattgnn.backends.grid_forces import GridForces
from lattgnn.backends.linear_classical import linear_classical
from lattgnn.backends.stencil import stencil_network
from lattgnn.errors import InputError
from lattgnn.files import atomic_file
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.native import compiler
from lattgnn.nn import ForceNetwork
from lattgnn.serialize import describe, versions

METADATA = "lattgnn.json"
"""Name of the metadata in a `torch.export` file, and its key in an AOTInductor package."""


class ForceProgram(nn.Module):
    """The exported program: field → (forces,) or (forces, energy), classical part included.

    Args:
        grid_forces: The same as a module whose first output may be None.
    """

    def __init__(self, grid_forces: GridForces) -> None:
        super().__init__()
        self.grid_forces = grid_forces

    def forward(self, field: Tensor) -> tuple[Tensor, ...]:
        """Forces like the field [batch, *extent, n_sublattices], and energies [batch] if any."""
        energy, forces = self.grid_forces(field)
        return (forces,) if energy is None else (forces, energy)


def export_forces(
    net: ForceNetwork,
    hamiltonian: Hamiltonian,
    path: str | Path,
    format: Literal["aoti", "exported"] = "aoti",
    dtype: Literal["float32", "float64"] = "float32",
    device: str = "cpu",
    solver: Any = None,
) -> dict[str, Any]:
    """Write a force field, classical part included, as a program of any batch and extent.

    Fields are [batch, *extent, n_sublattices]; an AOTInductor package does not check extents
    against `smallest_extent` in the metadata, and gives wrong results below it.

    Args:
        net: Trained network of a scalar field.
        hamiltonian: The model; its lattice defines which boundaries are open, its extent is not
            used.
        path: File to write, `.pt2`; it appears only when it is complete.
        format: "aoti" for a library compiled for this machine, for Python and C++ without Python;
            "exported" for a `torch.export` program, for any machine.
        dtype: Of fields and forces.
        device: Where it will run; an AOTInductor package runs nowhere else.
        solver: How the labels were computed, for the metadata.

    Returns:
        The metadata that the file holds, as JSON under `METADATA`.

    Raises:
        InputError: The network or the classical force is not of a scalar field's simple kind, or
            the name of the file has another ending, or there is no such device.
        FileNotFoundError: There is no C++ compiler.
    """
    path = Path(path)
    if path.suffix != ".pt2":
        raise InputError(
            f"path must end in .pt2, got {str(path)!r}. Use {str(path.with_suffix('.pt2'))!r}."
        )
    if format == "aoti" and compiler() is None:
        raise FileNotFoundError(
            "a C++ compiler must be there for format 'aoti', got none. "
            "Install g++, set CXX, or use 'exported'."
        )
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device must be there, got {device!r} without a GPU. Use 'cpu'.")
    forces = _grid_forces(net, hamiltonian).to(device=device, dtype=getattr(torch, dtype))
    metadata = _metadata(forces, hamiltonian, solver, dtype, device)
    program = _program(forces, hamiltonian.lattice.n_sublattices)
    with atomic_file(path) as temporary:
        _write(program, temporary, format, json.dumps(metadata))
    return metadata


def _grid_forces(net: ForceNetwork, hamiltonian: Hamiltonian) -> GridForces:
    network = stencil_network(net, hamiltonian.lattice)
    if network is None:
        raise InputError(
            f"net must be an OrbitNetwork of a scalar field with SiLU between its layers, got "
            f"{type(net).__name__} of {net.field_type}. "
            "Use lattgnn.forcefield.LearnedForceField in Python."
        )
    classical = linear_classical(hamiltonian)
    if classical is None:
        raise InputError(
            f"the classical force must be linear in the field, got {type(hamiltonian).__name__}. "
            "Use lattgnn.forcefield.LearnedForceField in Python."
        )
    return GridForces(network, hamiltonian.lattice.periodic, classical)


def _program(forces: GridForces, n_sublattices: int) -> ExportedProgram:
    """Traced for two fields; batch and extents stay free."""
    first = next(forces.buffers())
    smallest = _smallest(forces)
    # Extents of all axes differ, and none is the batch: equal ones would be taken for one number.
    example = [2, *(4 + n + axis for axis, n in enumerate(smallest)), n_sublattices]
    field = torch.zeros(example, dtype=first.dtype, device=first.device)
    extents = {axis: Dim(f"extent_{axis - 1}", min=n) for axis, n in enumerate(smallest, start=1)}
    with torch.no_grad():
        return torch.export.export(
            ForceProgram(forces).eval(),
            (field,),
            dynamic_shapes={"field": {0: Dim("batch", min=1), **extents}},
        )


def _smallest(forces: GridForces) -> list[int]:
    """Fewest cells along each axis: fewer would be traced as special cases."""
    return [1 + max(1, reach) for reach in forces.reach]


def _metadata(
    forces: GridForces, hamiltonian: Hamiltonian, solver: Any, dtype: str, device: str
) -> dict[str, Any]:
    lattice = hamiltonian.lattice
    layout = ["batch", *(f"extent_{axis}" for axis in range(lattice.dim)), "n_sublattices"]
    return {
        "lattice": describe(lattice),
        "n_sublattices": lattice.n_sublattices,
        "periodic": list(lattice.periodic),
        "smallest_extent": _smallest(forces),
        "hamiltonian": describe(hamiltonian),
        "solver": describe(solver),
        "dtype": dtype,
        "device": device,
        "field": layout,
        "outputs": ["forces", "energy"] if forces.conservative else ["forces"],
        "versions": versions(),
    }


def _write(program: ExportedProgram, path: Path, format: str, metadata: str) -> None:
    if format == "exported":
        torch.export.save(program, path, extra_files={METADATA: metadata})
        return
    from torch._inductor import aoti_compile_and_package  # seconds to import

    command = compiler()
    assert command is not None
    settings: dict[str, Any] = {
        "aot_inductor.metadata": {METADATA: metadata},
        "cpp.cxx": command[:1],
        "cpp.dynamic_threads": True,  # as many as there are when it runs, not when it is compiled
    }
    with warnings.catch_warnings():
        # torch 2.13 uses an API that it deprecates itself
        warnings.filterwarnings(
            "ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning
        )
        aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)
