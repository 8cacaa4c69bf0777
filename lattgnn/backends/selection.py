"""Which code runs a trained network: the fastest that is there and gives what the network gives."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from lattgnn.backends.grid_forces import GridForces
from lattgnn.backends.linear_classical import linear_classical
from lattgnn.backends.native_forces import NativeForces
from lattgnn.backends.stencil import StencilNetwork, small_piece, stencil_network
from lattgnn.backends.tiled_forces import TiledForces
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.native import library
from lattgnn.nn import ForceNetwork

TOLERANCE = 1e-5
"""How far forces may be from the network's in float64, in units of the largest one (at least 1)."""

Forces = Callable[..., tuple[Tensor | None, Tensor]]
"""field → energy of each field, None where the network has none, and forces."""


class Engine:
    """Forces of a network on one lattice, by code that is chosen and checked at the first call.

    Networks of a scalar field run by the compiled kernel, in float32 on a CPU with a compiler, and by torch
    operations on the grid of cells elsewhere; all other networks by their own code, block by block if they
    say how far they see. Weights that change, or move to another device, are noticed.

    Args:
        net: Trained network.
        hamiltonian: The model on the lattice of the fields.
        fast: False runs the network's own code.
    """

    def __init__(self, net: ForceNetwork, hamiltonian: Hamiltonian, fast: bool = True) -> None:
        self.net, self.hamiltonian, self.fast = net, hamiltonian, fast
        self._weights = list(net.parameters())
        self._state: object = None
        self._electronic: Forces
        self._total: NativeForces | None = None

    @property
    def is_compiled(self) -> bool:
        """Whether the compiled kernel runs it: its bits do not depend on the number of threads."""
        self._refresh()
        return isinstance(self._electronic, NativeForces)

    def electronic(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        """Energy and forces of the electrons, as the network gives them for fields in its own dtype."""
        self._refresh()
        return self._electronic(field)

    def total(
        self, field: Tensor, out: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor] | None:
        """The same with the classical part, in one go; None where that cannot be had."""
        self._refresh()
        if self._total is None or field.dtype != torch.float32 or field.device.type != "cpu":
            return None
        return self._total(field.contiguous(), out)

    def _refresh(self) -> None:
        """Make everything anew if the weights are not those of the last call."""
        first = self._weights[0]
        state = (first.data_ptr(), first.dtype, [weight._version for weight in self._weights])
        if state == self._state:
            return
        self._state, self._total = state, None
        lattice = self.hamiltonian.lattice
        network = stencil_network(self.net, lattice) if self.fast else None
        if not self.fast:
            self._electronic = _OwnCode(self.net, lattice)
        elif network is None:
            self._electronic = TiledForces(self.net, lattice)
        elif first.dtype == torch.float32 and first.device.type == "cpu" and library() is not None:
            piece = small_piece(lattice, self.net)
            _check(NativeForces(network, piece), self.net, piece)
            self._electronic = NativeForces(network, lattice)
            classical = linear_classical(self.hamiltonian)
            self._total = None if classical is None else NativeForces(network, lattice, classical)
        else:
            self._electronic = _OnGrid(network, lattice, first)


class _OnGrid:
    """Torch operations on the grid of cells, with the dtype and on the device of a weight."""

    def __init__(self, network: StencilNetwork, lattice: Lattice, weight: Tensor) -> None:
        self.extent = lattice.extent
        self.forces = GridForces(network, lattice.periodic).to(weight.device, weight.dtype)

    @torch.no_grad()
    def __call__(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        return self.forces.on_sites(field, self.extent)


class _OwnCode:
    """The network as it was trained, without a graph for autograd."""

    def __init__(self, net: ForceNetwork, lattice: Lattice) -> None:
        self.net, self.lattice = net, lattice

    @torch.no_grad()  # no inference mode: the gradient of an energy needs autograd
    def __call__(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        return self.net(field, self.net.graph(self.lattice))


def _check(fast: Forces, net: ForceNetwork, lattice: Lattice) -> None:
    """Compare with the network in float64, on random fields, weak and strong, and with its own rounding."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([[0.3], [1.0], [5.0]])
    field = scale * torch.randn(3, lattice.n_sites, generator=generator)
    exact = _OwnCode(copy.deepcopy(net).double(), lattice)(field.double())
    error, rounding = (_difference(code(field), exact) for code in (fast, _OwnCode(net, lattice)))
    if not error <= TOLERANCE + 4 * rounding:
        raise RuntimeError(
            f"compiled forces must be within {TOLERANCE:g} of the network's, whose own rounding is "
            f"{rounding:.1e}, got {error:.1e}. Report it, and use fast=False."
        )


def _difference(found: tuple[Tensor | None, Tensor], exact: tuple[Tensor | None, Tensor]) -> float:
    """The largest error of a force, or of an energy a site, in units of the largest one (at least 1)."""
    error = 0.0
    for value, right in zip(found, exact, strict=True):
        if value is not None and right is not None:
            unit = max(1.0, float(right.abs().max()))
            error = max(error, float((value.double() - right).abs().max()) / unit)
    return error
