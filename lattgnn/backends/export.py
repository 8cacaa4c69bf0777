"""Export of force fields with `torch.export` or AOTInductor, to run without lattgnn."""

import json
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from lattgnn.backends.grid_forces import GridForces
from lattgnn.backends.lattice_forces import LatticeForces
from lattgnn.backends.linear_classical import linear_classical, probed_classical
from lattgnn.backends.stencil_form import stencil_network
from lattgnn.devices import usable_device
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
    """Write a force field as a program that works for any batch size.

    The program maps fields [batch, *extent, n_sublattices], with another axis for components if
    there are any, to the total forces of the same shape, including the classical part, and to
    energies [batch] if the network has an energy.

    The extent stays free for an `OrbitNetwork` of a scalar field with SiLU between its layers, if
    the classical force is linear in the field and the same in all cells. The metadata state the
    smallest extent. An AOTInductor package does not check it, and gives wrong results below it. In
    all other cases, such as vectors, spins and mixed fields, the program is for the extent of the
    model's lattice only.

    Args:
        net: Trained network.
        hamiltonian: The model. Its lattice determines which boundaries are open, and the extent
            where that is not free.
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
    usable_device(device)
    forces, of_dtype = _grid_forces(net, hamiltonian), getattr(torch, dtype)
    metadata = _metadata(net, forces, hamiltonian, solver) | {"dtype": dtype, "device": device}
    if forces is not None:
        moved = forces.to(device=device, dtype=of_dtype)
        program = _program(moved, hamiltonian.lattice.n_sublattices)
    elif torch.device(device).type == "cpu":
        program = LatticeForces(net, hamiltonian, of_dtype).program()
    else:
        raise InputError(
            f"device must be 'cpu' for a {type(net).__name__} of {net.field_type}, got {device!r}. "
            "Use device 'cpu', or lattgnn.forcefield.LearnedForceField in Python."
        )
    with atomic_file(path) as temporary:
        _write(program, temporary, format, json.dumps(metadata))
    return metadata


def _grid_forces(net: ForceNetwork, hamiltonian: Hamiltonian) -> GridForces | None:
    """The form for any extent; None where the network or the classical force has no such form."""
    network = stencil_network(net, hamiltonian.lattice)
    classical = linear_classical(hamiltonian) or probed_classical(hamiltonian)
    if network is None or not network.has_grid_form or classical is None:
        return None
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
    net: ForceNetwork, forces: GridForces | None, hamiltonian: Hamiltonian, solver: Any
) -> dict[str, Any]:
    """Plain data that describe the program, its inputs and its outputs."""
    lattice = hamiltonian.lattice
    layout = ["batch", *(f"extent_{axis}" for axis in range(lattice.dim)), "n_sublattices"]
    components = hamiltonian.field_shape[1:]
    return {
        "lattice": describe(lattice),
        "n_sublattices": lattice.n_sublattices,
        "n_components": components[0] if components else 0,
        "periodic": list(lattice.periodic),
        "extent": list(lattice.extent) if forces is None else None,  # None if it is free
        "smallest_extent": list(lattice.extent) if forces is None else _smallest(forces),
        "hamiltonian": describe(hamiltonian),
        "solver": describe(solver),
        "field": [*layout, "n_components"] if components else layout,
        "outputs": ["forces", "energy"] if net.conservative else ["forces"],
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
