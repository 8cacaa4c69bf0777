"""A trained network as plain matrices on the bonds of one unit cell.

The compiled code and the torch form are built from this. A layer applies the same matrices in every
unit cell, so neither the symmetry nor the extent of the lattice is needed any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from lattgnn.lattice.labels import Bond


@dataclass(frozen=True, eq=False)
class Kernel:
    """One matrix of an equivariant kernel and all bonds that share it.

    The sources of the bonds are summed before the matrix is applied, which saves products.

    Attributes:
        bonds: Bonds with the same destination; their ends are numbered like the parts of a
            `StencilNetwork`.
        matrix: Map from the channels of a source to those of a destination; [n_out, n_in].
    """

    bonds: tuple[Bond, ...]
    matrix: np.ndarray


@dataclass(frozen=True)
class StencilGate:
    """Channels that are multiplied by one gate.

    h = x[channel] + square · Σ x[members]²; x[members] are multiplied by sigmoid(h), and SiLU(h)
    takes the place of x[channel].

    Attributes:
        channel: The channel of the gate, counted over all parts of a sublattice.
        members: The channels that it scales, counted in the same way.
        square: Weight of the squares.
    """

    channel: int
    members: tuple[int, ...]
    square: float


@dataclass(frozen=True, eq=False)
class StencilLayer:
    """A layer x → (x +) mixing · f(bias + Σ kernels · x) + out_bias on each cell, in float64.

    All tuples have one entry for each part of the network, except `gates`.

    Attributes:
        kernels: Kernels of each destination.
        bias: Biases; [n_hidden].
        mixing: Matrices; [n_out, n_hidden].
        out_bias: Second biases; [n_out].
        residual: Whether the input is added to the output.
        silu: Whether f is SiLU; otherwise it is the identity.
        gates: Gates of each sublattice, whose channels f treats in another way; none if empty.
    """

    kernels: tuple[tuple[Kernel, ...], ...]
    bias: tuple[np.ndarray, ...]
    mixing: tuple[np.ndarray, ...]
    out_bias: tuple[np.ndarray, ...]
    residual: bool
    silu: bool = True
    gates: tuple[tuple[StencilGate, ...], ...] = ()

    def transposed(self) -> tuple[tuple[Kernel, ...], ...]:
        """The transposed kernels for each source, which propagate the gradient."""
        # Equal matrices share one kernel again. Their bytes, with the shape, are the key.
        found: list[dict[tuple, list[Bond]]] = [{} for _ in self.kernels]
        matrices: dict[tuple, np.ndarray] = {}
        for kernels in self.kernels:
            for kernel in kernels:
                key = (kernel.matrix.shape, kernel.matrix.tobytes())
                matrices[key] = kernel.matrix.T
                for source, destination, offset in kernel.bonds:
                    back = (destination, source, tuple(-n for n in offset))
                    found[source].setdefault(key, []).append(back)
        return tuple(kernels_from_bonds(bonds, matrices) for bonds in found)

    @property
    def reach(self) -> tuple[int, ...]:
        """The largest number of cells that a bond spans along each axis."""
        bonds = chain.from_iterable(k.bonds for k in chain.from_iterable(self.kernels))
        return reach_of(bonds)


@dataclass(frozen=True)
class SpinStencil:
    """The bonds on which a network reads spins, see `lattgnn.nn.SpinBasis`.

    The scale of the sums over an orbit is part of the matrices of the first layer.

    Attributes:
        orbits: For each sublattice, the orbits of bonds that end there, in the order of the
            functions; bonds lead from sublattice to sublattice.
        tangent: Whether the network gives the part of the force that is tangent to the sphere of
            each spin only.
    """

    orbits: tuple[tuple[tuple[Bond, ...], ...], ...]
    tangent: bool

    @property
    def reach(self) -> tuple[int, ...]:
        """The largest number of cells that a bond spans along each axis."""
        return reach_of(chain.from_iterable(chain.from_iterable(self.orbits)))


@dataclass(frozen=True, eq=False)
class StencilNetwork:
    """A network: functions of the field, layers, and the outputs of each site.

    The channels of a sublattice form parts, which linear maps do not mix. A network of a scalar
    field has one part per sublattice. A network of spins has four, the invariants and the x, y and
    z components of vectors, so that part k of sublattice s has number 4 s + k.

    The input of the first layer consists of tanh(Q/s) for all `steps`, Q/s for `linear`, and
    exp(−Q²/2s²) for all `bumps`, in this order; or of the functions of `spins`.

    Attributes:
        steps: Widths s of the steps.
        linear: Width s of the linear function.
        bumps: Widths s of the bumps.
        layers: All layers; the last one gives y.
        conservative: Whether y is an energy, E = Σ (y − b √(Q² + 1)), or a force, F = b tanh y; for
            spins see `OrbitNetwork`.
        force_bound: The bound b; None for E = Σ y or F = y.
        spins: The bonds on which spins are read; None for a scalar field.
    """

    steps: np.ndarray
    linear: float
    bumps: np.ndarray
    layers: tuple[StencilLayer, ...]
    conservative: bool
    force_bound: float | None
    spins: SpinStencil | None = field(default=None)

    @property
    def has_grid_form(self) -> bool:
        """Whether `GridForces` can compute it: a network of a scalar field without gates."""
        return self.spins is None and not any(layer.gates for layer in self.layers)

    @property
    def n_parts(self) -> int:
        """Parts of each sublattice."""
        return 1 if self.spins is None else 4

    @property
    def field_reach(self) -> tuple[int, ...]:
        """The largest number of cells along each axis that the functions of the field span."""
        return (0,) * len(self.layers[0].reach) if self.spins is None else self.spins.reach


def reach_of(bonds: Any) -> tuple[int, ...]:
    """The largest number of cells that bonds span along each axis."""
    return tuple(int(n) for n in np.abs([bond[2] for bond in bonds]).max(0))


def kernels_from_bonds(
    bonds: Mapping[Any, list[Bond]], matrices: Mapping[Any, np.ndarray]
) -> tuple[Kernel, ...]:
    """One kernel for each key."""
    return tuple(Kernel(tuple(shared), matrices[key]) for key, shared in bonds.items())
