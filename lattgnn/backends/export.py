"""Export of force fields with `torch.export` or AOTInductor, to run without lattgnn."""

import json
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from lattgnn.backends.grid_forces import GridForces
from lattgnn.backends.linear_classical import linear_classical, probed_classical
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
    """The exported program, whose outputs are (forces,) or (forces, energy).

    Args:
        grid_forces: Energies, which may be None, and forces. An exported program cannot return
            None.
    """

    def __init__(self, grid_forces: GridForces) -> None:
        super().__init__()
        self.grid_forces = grid_forces

    def forward(self, field: Tensor) -> tuple[Tensor, ...]:
        """Forces of the field [batch, *extent, n_sublattices], and energies [batch] if any."""
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
    """Write a force field as a program that works for any batch size and extent.

    The program maps fields [batch, *extent, n_sublattices] to the total forces of the same shape,
    including the classical part, and to energies [batch] if the network has an energy. The
    classical force may be any that is linear in the field and the same in all cells. The metadata
    state the smallest extent. An AOTInductor package does not check it, and gives wrong results
    below it.

    Args:
        net: Trained network of a scalar field.
        hamiltonian: The model. Its lattice determines which boundaries are open; its extent is not
            used.
        path: File to write, ending in `.pt2`; it appears only when it is complete.
        format: "aoti" for a library that is compiled for this kind of machine and runs from Python
            or from C++ without Python; "exported" for a `torch.export` program for any machine.
        dtype: Type of fields and forces.
        device: Device of the program. An AOTInductor package runs on no other device.
        solver: The solver that computed the labels, for the metadata.

    Returns:
        The metadata, which the file also holds as JSON under the name `METADATA`.

    Raises:
        InputError: The force field has no exportable form, the name of the file has another ending,
            or there is no such device.
        FileNotFoundError: There is no C++ compiler, which "aoti" needs.
    """
    path = Path(path)
    if path.suffix != ".pt2":
        raise InputError(
            f"path must end in .pt2, got {str(path)!r}. Use {str(path.with_suffix('.pt2'))!r}."
        )
    if format == "aoti" and compiler() is None:
        raise FileNotFoundError(
            "format 'aoti' needs a C++ compiler, and none was found. "
            "Install g++, set CXX, or use format 'exported'."
        )
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {device!r} needs a GPU that PyTorch can use. Use device 'cpu'.")
    forces = _grid_forces(net, hamiltonian).to(device=device, dtype=getattr(torch, dtype))
    metadata = _metadata(forces, hamiltonian, solver, dtype, device)
    program = _program(forces, hamiltonian.lattice.n_sublattices)
    with atomic_file(path) as temporary:
        _write(program, temporary, format, json.dumps(metadata))
    return metadata


def _grid_forces(net: ForceNetwork, hamiltonian: Hamiltonian) -> GridForces:
    """The torch form of a force field.

    Raises:
        InputError: The network or the classical force has no such form.
    """
    network = stencil_network(net, hamiltonian.lattice)
    if network is None:
        raise InputError(
            f"net must be an OrbitNetwork of a scalar field with SiLU between its layers, got "
            f"{type(net).__name__} of {net.field_type}. "
            "Use lattgnn.forcefield.LearnedForceField in Python."
        )
    classical = linear_classical(hamiltonian) or probed_classical(hamiltonian)
    if classical is None:
        raise InputError(
            "the classical force must be linear in the field, the same in all cells, and shorter "
            f"than half the extent of the lattice, got another force of "
            f"{type(hamiltonian).__name__}. Use lattgnn.forcefield.LearnedForceField in Python."
        )
    return GridForces(network, hamiltonian.lattice.periodic, classical)


def _program(forces: GridForces, n_sublattices: int) -> ExportedProgram:
    """Trace the forces with two fields; batch size and extents remain free."""
    first = next(forces.buffers())
    smallest = _smallest(forces)
    # All sizes differ: the tracer would assume that equal sizes are equal in every call.
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
    """Fewest cells along each axis; shorter axes would need other code, see `BondSums`."""
    return [1 + max(1, reach) for reach in forces.reach]


def _metadata(
    forces: GridForces, hamiltonian: Hamiltonian, solver: Any, dtype: str, device: str
) -> dict[str, Any]:
    """Plain data that describe the program, its inputs and its outputs."""
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
    """Write the program with its metadata in the chosen format."""
    if format == "exported":
        torch.export.save(program, path, extra_files={METADATA: metadata})
        return
    from torch._inductor import aoti_compile_and_package  # takes seconds to import

    command = compiler()
    assert command is not None
    settings: dict[str, Any] = {
        "aot_inductor.metadata": {METADATA: metadata},
        "cpp.cxx": command[:1],
        # The number of threads is chosen when the program runs, not when it is compiled.
        "cpp.dynamic_threads": True,
    }
    with warnings.catch_warnings():
        # torch 2.13 uses an interface that it has deprecated itself.
        warnings.filterwarnings(
            "ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning
        )
        aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)
