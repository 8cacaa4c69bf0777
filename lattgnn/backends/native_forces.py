"""Forces of a network of scalars or spins by the compiled code of `csrc/stencil.cpp`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.backends.native_plan import SweepPlan
from lattgnn.backends.stencil import Kernel, StencilNetwork
from lattgnn.backends.sweep_grid import TILE_BYTES, Grid, bytes_per_cell
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice

FLAT_BYTES = 2 * 2**20
"""A lattice whose channels take at most this much memory stays in the cache and is one row."""


class NativeForces:
    """Energies and forces of a network on one lattice, in float32 on the CPU.

    Args:
        network: The network as matrices on bonds.
        lattice: The lattice of the fields.
        classical: 1×1 kernels of a linear classical force, for each destination sublattice.
        tile_bytes: Memory for the rows that a sweep keeps; longer rows are cut into tiles. A
            lattice that takes at most `FLAT_BYTES` is a single row if the number of samples is a
            multiple of the number of threads.
        core: Cells along each axis whose energies count. Forces are then written there only.

    Raises:
        RuntimeError: There is no compiled code on this machine; see `lattgnn.native.library`.
    """

    def __init__(
        self,
        network: StencilNetwork,
        lattice: Lattice,
        classical: tuple[tuple[Kernel, ...], ...] = (),
        tile_bytes: int = TILE_BYTES,
        core: Sequence[slice] | None = None,
    ) -> None:
        self.network, self.conservative = network, network.conservative
        grid = Grid(lattice, network, classical, tile_bytes, core=core)
        self.n_tiles = len(grid.tiles)
        self._rows, self._flat = SweepPlan(network, classical, grid), None
        self._counted = grid.counted_rows
        if core is not None:
            return
        if lattice.n_cells * bytes_per_cell(network, [0] * len(network.layers)) <= FLAT_BYTES:
            self._flat = SweepPlan(network, classical, Grid(lattice, network, classical, flat=True))

    def __call__(
        self,
        field: Float[Tensor, "batch n_sites *components"],
        out: Float[Tensor, "batch n_sites *components"] | None = None,
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch n_sites *components"]]:
        """Total energies and forces.

        Args:
            field: Contiguous float32 tensor on the CPU; [batch, n_sites], or [batch, n_sites, 3]
                for spins.
            out: Tensor like `field` that receives the forces.

        Returns:
            Energies [batch] in float64, or None without an energy head, and forces like the field.

        Raises:
            InputError: A field is not finite.
        """
        # A single row cannot be divided: with one, each thread must get the same number of samples.
        out, n_threads = torch.empty_like(field) if out is None else out, torch.get_num_threads()
        whole = self._flat if field.shape[0] % n_threads == 0 else None
        finite, parts = (whole or self._rows)(field, out, n_threads)
        if not finite:
            bad = (~field.isfinite()).nonzero()[0].tolist()
            raise InputError(
                f"field must be finite, got {field[tuple(bad)].item()!r} at index {bad}. "
                "Use a finite field; in a run, a smaller time step."
            )
        energy = parts[:, :, self._counted].sum((1, 2))
        return (energy if self.conservative else None), out
