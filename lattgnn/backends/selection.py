"""Choice of the backend: the fastest code that is available and agrees with the network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

from lattgnn.backends.grid_forces import GridForces
from lattgnn.backends.linear_classical import linear_classical
from lattgnn.backends.native_forces import NativeForces
from lattgnn.backends.snapshot import WeightSnapshot
from lattgnn.backends.stencil import StencilNetwork
from lattgnn.backends.stencil_form import minimal_supercell, stencil_network
from lattgnn.backends.tiled_forces import TiledForces
from lattgnn.devices import compiled
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.native import library
from lattgnn.nn import ForceNetwork

TOLERANCE = 1e-5
"""Largest error of compiled forces, in units of the largest force (at least 1)."""

Forces = Callable[..., tuple[Tensor | None, Tensor]]
"""field → energy of each field (None where the network has none) and forces."""


@dataclass(frozen=True)
class _Prepared:
    """What was built from one state of the weights. It is replaced as a whole and never changed.

    Attributes:
        snapshot: The weights that it was built from.
        electronic: Forces of the electrons.
        total: Forces with the classical part included, where one compiled function gives both.
    """

    snapshot: WeightSnapshot
    electronic: Forces
    total: NativeForces | None


class Backend:
    """Forces of a trained network on one lattice, by the fastest code that is available.

    The code is chosen and checked at the first call.

    Networks of scalar fields and of spins run as compiled code in float32 on a CPU that has a
    compiler. Elsewhere networks of scalar fields run as torch operations on the grid of cells.
    Every other network runs its own code, tile by tile if it declares its receptive field.

    Every change of the weights is noticed, see :class:`WeightSnapshot`, and everything is then
    rebuilt. On the CPU this holds for each call. On a GPU a call sees changes that a version
    counter records; :meth:`prepare` sees all of them. Several threads may call at the same time.

    Args:
        net: Trained network.
        hamiltonian: The model on the lattice of the fields.
        fast: False runs the network's own code on the whole lattice.
    """

    def __init__(self, net: ForceNetwork, hamiltonian: Hamiltonian, fast: bool = True) -> None:
        self.net, self.hamiltonian, self.fast = net, hamiltonian, fast
        self._prepared: _Prepared | None = None
        self._lock = Lock()

    def __getstate__(self) -> tuple[ForceNetwork, Hamiltonian, bool]:
        """For pickling and copying: compiled tables are built again where they are used."""
        return self.net, self.hamiltonian, self.fast

    def __setstate__(self, state: tuple[ForceNetwork, Hamiltonian, bool]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    @property
    def is_compiled(self) -> bool:
        """Whether compiled code is used; its bits do not depend on the number of threads."""
        return isinstance(self._current().electronic, NativeForces)

    def prepare(self) -> None:
        """Build everything now, unless it is there and all weights still have the same values."""
        self._current(by_value=True)

    def electronic(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        """Energy and forces of the electrons, as the network gives them.

        Args:
            field: [batch, n_sites] or [batch, n_sites, n_components], in the dtype of the network.
        """
        return self._current().electronic(field)

    def total(
        self, field: Tensor, out: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor] | None:
        """Energy and forces with the classical part, computed together.

        Args:
            field: As for :meth:`electronic`.
            out: Tensor like `field` that receives the forces.

        Returns:
            Energy and forces, or None where no code computes both together.
        """
        total = self._current().total
        if total is None or field.dtype != torch.float32 or field.device.type != "cpu":
            return None
        return total(field.contiguous(), out)

    def _current(self, by_value: bool = False) -> _Prepared:
        """What was built from the present weights."""
        prepared = self._prepared
        if prepared is not None and prepared.snapshot.is_current(by_value):
            return prepared
        with self._lock:
            # Another thread may have built it while this one waited for the lock.
            prepared = self._prepared
            if prepared is None or not prepared.snapshot.is_current(by_value):
                prepared = self._prepared = self._build()
            return prepared

    def _build(self) -> _Prepared:
        """Choose the code and build its tables.

        An exception on the way leaves `_prepared` as it was, so that the next call tries again.
        """
        # The snapshot comes first: a change of the weights during the build is noticed at the next
        # call.
        snapshot = WeightSnapshot(self.net)
        lattice, weight = self.hamiltonian.lattice, next(self.net.parameters())
        if not self.fast:
            return _Prepared(snapshot, _OwnCode(self.net, lattice), None)
        network = stencil_network(self.net, lattice)
        if network is None:
            return _Prepared(snapshot, TiledForces(self.net, lattice), None)
        is_native = weight.dtype == torch.float32 and weight.device.type == "cpu"
        if not is_native or library() is None:
            if not network.has_grid_form:
                return _Prepared(snapshot, TiledForces(self.net, lattice), None)
            return _Prepared(snapshot, _OnGrid(network, lattice, weight), None)
        # The check needs few sites, because a supercell of any size has the same bonds.
        supercell = minimal_supercell(lattice, self.net)
        _check(NativeForces(network, supercell), self.net, supercell)
        classical = linear_classical(self.hamiltonian)
        total = None if classical is None else NativeForces(network, lattice, classical)
        return _Prepared(snapshot, NativeForces(network, lattice), total)


class _OnGrid:
    """Torch operations on the grid of cells, with the dtype and on the device of a weight."""

    def __init__(self, network: StencilNetwork, lattice: Lattice, weight: Tensor) -> None:
        self.extent = lattice.extent
        self.forces = GridForces(network, lattice.periodic).to(weight.device, weight.dtype)
        self.on_sites = compiled(self.forces.on_sites, weight.device)

    @torch.no_grad()
    def __call__(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        return self.on_sites(field, self.extent)


class _OwnCode:
    """The network's own code on the whole lattice.

    The copy has frozen weights, so that what its layers derive from them is computed once.
    """

    def __init__(self, net: ForceNetwork, lattice: Lattice) -> None:
        self.net, self.lattice = copy.deepcopy(net).requires_grad_(False).eval(), lattice

    @torch.no_grad()  # inference mode would not do: the gradient of an energy needs autograd
    def __call__(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        return self.net(field, self.net.graph(self.lattice))


def _check(fast: Forces, net: ForceNetwork, lattice: Lattice) -> None:
    """Compare fast forces with those of the network in float64.

    The fields are random, weak and strong ones. The network's own float32 forces differ from the
    float64 ones as well. Fast forces may have four times that error, besides the tolerance.

    Raises:
        RuntimeError: They differ by more, or a value is NaN.
    """
    generator = torch.Generator().manual_seed(0)
    components = (3,) if net.field_type.is_spin else ()
    scale = torch.tensor([0.3, 1.0, 5.0]).view(3, 1, *(1 for _ in components))
    field = torch.randn(3, lattice.n_sites, *components, generator=generator)
    # Networks of spins are functions of directions, and forces grow like 1/|S|.
    field = torch.nn.functional.normalize(field, dim=-1) if components else scale * field
    exact = _OwnCode(copy.deepcopy(net).double(), lattice)(field.double())
    error, rounding = (_error(code(field), exact) for code in (fast, _OwnCode(net, lattice)))
    # NaN compares as false: written with `not`, a NaN on either side fails the check.
    if not error <= TOLERANCE + 4 * rounding:
        raise RuntimeError(
            f"compiled forces must be within {TOLERANCE:g} of the network's, whose own rounding is "
            f"{rounding:.1e}, got {error:.1e}. Report it, and use fast=False."
        )


def _error(found: tuple[Tensor | None, Tensor], exact: tuple[Tensor | None, Tensor]) -> float:
    """Largest error of a force or an energy, in units of the largest exact one (at least 1)."""
    errors = []
    for value, right in zip(found, exact, strict=True):
        if value is not None and right is not None:
            unit = right.abs().max().clamp(min=1.0)
            errors.append((value.double() - right).abs().max() / unit)
    # `Tensor.max` passes NaN on; Python's `max(0.0, nan)` is 0.
    return float(torch.stack(errors).max())
