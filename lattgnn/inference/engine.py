"""Which code runs a trained network: the fastest that is there and gives what the network gives."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from lattgnn.hamiltonians import Hamiltonian
from lattgnn.inference.classical import linear_classical
from lattgnn.inference.layers import small_piece, stencil_network
from lattgnn.inference.native import NativeForces
from lattgnn.inference.tiles import TiledForces
from lattgnn.lattice import Lattice
from lattgnn.native import library
from lattgnn.nn import ForceNetwork

TOLERANCE = 1e-5
"""How far forces may be from the network's in float64, in units of the largest one (at least 1)."""


Forces = Callable[..., tuple[Tensor | None, Tensor]]
"""(field, out=None) → energy of each field, None where the network has none, and forces, those in `out`."""


class Engine:
    """Forces of a network on one lattice, by code that is chosen and checked at the first call.

    Networks of a scalar field in float32 on the CPU run by the compiled kernel, if there is a compiler; all
    others by their own code, block by block if they say how far they see. Weights that change, or move to
    another device, are noticed.

    Args:
        net: Trained network.
        hamiltonian: The model on the lattice of the fields.
        fast: False runs the network's own code.
    """

    def __init__(self, net: ForceNetwork, hamiltonian: Hamiltonian, fast: bool = True) -> None:
        self.net, self.hamiltonian, self.fast = net, hamiltonian, fast
        self._state: object = None
        self._electronic: Forces = net
        self._total: Forces | None = None

    @property
    def is_compiled(self) -> bool:
        """Whether the compiled kernel runs it: its bits do not depend on the number of threads."""
        self._refresh()
        return isinstance(self._electronic, NativeForces)

    def electronic(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        """Energy and forces of the electrons, as the network gives them for fields in its own dtype."""
        self._refresh()
        return self._electronic(field)

    def total(self, field: Tensor, out: Tensor | None = None) -> tuple[Tensor | None, Tensor] | None:
        """The same with the classical part, in one go; None where that cannot be had."""
        self._refresh()
        if self._total is None or field.dtype != torch.float32 or field.is_cuda:
            return None
        return self._total(field.contiguous(), out)

    def _refresh(self) -> None:
        """Make everything anew if the weights are not those of the last call."""
        parameters = list(self.net.parameters())
        state = [(p.data_ptr(), p._version, p.dtype) for p in parameters]
        if state == self._state:
            return
        self._state, self._total = state, None
        lattice, first = self.hamiltonian.lattice, parameters[0]
        self._electronic = TiledForces(self.net, lattice) if self.fast else _OwnCode(self.net, lattice)
        if self.fast and first.dtype == torch.float32 and not first.is_cuda:
            self._compile()

    def _compile(self) -> None:
        lattice = self.hamiltonian.lattice
        network = stencil_network(self.net, lattice)
        if network is None or library() is None:
            return
        piece = small_piece(lattice, self.net)
        _check(NativeForces(network, piece), self.net, piece)
        self._electronic = NativeForces(network, lattice)
        classical = linear_classical(self.hamiltonian)
        if classical is not None:
            self._total = NativeForces(network, lattice, classical)


class _OwnCode:
    """The network as it was trained, without a graph for autograd."""

    def __init__(self, net: ForceNetwork, lattice: Lattice) -> None:
        self.net, self.lattice = net, lattice

    def __call__(self, field: Tensor, out: Tensor | None = None) -> tuple[Tensor | None, Tensor]:
        with torch.no_grad():  # no inference mode: the gradient of an energy needs autograd
            energy, forces = self.net(field, self.net.graph(self.lattice))
        return energy, forces if out is None else out.copy_(forces)


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
