"""Forces of any network on one finite lattice as a graph of tensor operations, for export."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from lattgnn.errors import InputError
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.nn import ForceNetwork


class LatticeForces(nn.Module):
    """Energies and forces on the lattice of a model, by the network's own code.

    Any network and any field will do, but tables of neighbors hold for this one extent only.

    Args:
        net: Trained network, which is copied.
        hamiltonian: The model on the lattice of the fields.
        dtype: Type of the fields and forces.
    """

    def __init__(self, net: ForceNetwork, hamiltonian: Hamiltonian, dtype: torch.dtype) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).cpu().to(dtype).frozen_copy()
        self.hamiltonian, self.dtype = hamiltonian, dtype
        self.graph = self.net.graph(hamiltonian.lattice)
        lattice, components = hamiltonian.lattice, hamiltonian.field_shape[1:]
        self.shape = (*lattice.extent, lattice.n_sublattices, *components)

    def forward(self, field: Tensor) -> tuple[Tensor, ...]:
        """Total forces of the field [batch, *extent, n_sublattices, *components].

        Energies [batch] in float64 follow if the network has an energy.
        """
        model = self.hamiltonian
        sites = field.reshape(field.shape[0], *model.field_shape)
        energy, forces = self.net(sites, self.graph)
        total = (forces + model.classical_forces(sites)).reshape(field.shape)
        if energy is None:
            return (total,)
        return total, energy.double() + model.classical_energy(sites).double()

    @torch.no_grad()
    def program(self) -> ExportedProgram:
        """The exported program, whose batch size is free.

        Raises:
            InputError: The code of the network or the model cannot be traced.
        """
        # Sizes that are equal in the example are taken to be equal in every call.
        batch = next(n for n in range(2, 100) if n not in self.shape)
        generator = torch.Generator().manual_seed(0)
        fields = torch.randn(batch + 1, *self.shape, dtype=self.dtype, generator=generator)
        # Matrices of the lattice are made in the first call. They must exist before tracing.
        expected = self(fields)
        try:
            program = _exported(self, fields[:batch])
        except Exception as error:  # code of the user, which may fail in any way
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"the code of {type(self.net).__name__} and {type(self.hamiltonian).__name__} must "
                f"consist of tensor operations for any batch size, got: {reason} "
                "Use lattgnn.forcefield.LearnedForceField in Python."
            ) from error
        # A value that the code computes outside of tensors would keep that of the example forever.
        for found, right in zip(program.module()(fields), expected, strict=True):
            if not (found - right).abs().max() <= 1e-4 * (1 + right.abs().max()):
                raise InputError(
                    f"the exported program must give the forces of {type(self.net).__name__} and "
                    f"{type(self.hamiltonian).__name__}, but their code depends on values that "
                    "are not tensors. Use lattgnn.forcefield.LearnedForceField in Python."
                )
        return program


def _exported(forces: LatticeForces, example: Tensor) -> ExportedProgram:
    """Trace forces with an example whose batch size remains free.

    `torch.export` cannot follow gradients that are taken inside of the code. `make_fx` writes them
    as plain operations first.
    """
    graph: GraphModule = make_fx(forces, tracing_mode="symbolic", _allow_non_fake_inputs=True)(
        example
    )
    return torch.export.export(graph, (example,), dynamic_shapes=({0: Dim("batch", min=1)},))
