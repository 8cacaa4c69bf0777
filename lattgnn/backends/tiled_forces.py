"""Any network that knows how far it sees, evaluated block by block in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.backends.recorded import compiled
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork
from lattgnn.nn.energy_head import energy_and_forces

BLOCK_SITES = 2**15
"""Sites of a block, halo included, that keep the halo small: 181 × 181 cells and a few hundred megabytes."""


@dataclass(frozen=True)
class Window:
    """A block along one axis, in cells.

    Attributes:
        first: The first cell of the block, halo included; negative beyond a periodic boundary.
        core: The part that belongs to the block alone, counted from `first`.
    """

    first: int
    core: slice


class TiledForces:
    """Energy and forces of a local network on one lattice, computed in blocks of cells.

    A block is its core and a halo as wide as the network's reach around it. It is taken for a small lattice
    with the boundaries of the large one: what is wrong at its ends spoils the halo alone. Direct forces are
    kept in the core. Energies are summed over the core, and their gradients added up in core and halo, so
    that no halo has to be twice as wide. All blocks have one shape and share one graph.

    Args:
        net: Trained network, of which a copy is made. Without a `reach` it is evaluated on the whole lattice
            at once.
        lattice: Where.
        tile: Most cells of a core along each axis, one number for all; by default as many as give blocks of
            `BLOCK_SITES` sites.
        batch: Blocks that go through the network together; by default as many as have `BLOCK_SITES` sites.
        compile: Record the work on one block, gradients included, and compile it with `torch.compile` in the
            first call. That takes a minute, and pays where many calls follow; float32 on the CPU, batch=1.

    Raises:
        ValueError: If tile or batch is below 1, the extent too small for the network, or compiling asked for
            what it is not made for.
    """

    def __init__(
        self,
        net: ForceNetwork,
        lattice: Lattice,
        tile: int | Sequence[int] | None = None,
        batch: int | None = None,
        compile: bool = False,
    ) -> None:
        net.graph(lattice)  # raises where the extent is too small
        if tile is None:
            tile = _tile(lattice, net.receptive_field)
        cells = (tile,) * lattice.dim if isinstance(tile, int) else tuple(tile)
        if len(cells) != lattice.dim or min(cells) < 1 or (batch is not None and batch < 1):
            raise InputError(
                f"tile must be cells along each of {lattice.dim} axes, and batch a number of blocks, at "
                f"least 1, got {tile!r} and {batch!r}. Use tile=64."
            )
        weight = next(net.parameters())
        if compile and (weight.dtype != torch.float32 or weight.is_cuda or batch not in (None, 1)):
            raise InputError(
                f"compile needs float32 on the CPU and batch=1, got {weight.dtype} on {weight.device.type} "
                f"and {batch}. Use compile=False."
            )
        reach = lattice.extent if net.receptive_field is None else net.receptive_field
        axes = zip(lattice.extent, lattice.periodic, cells, reach, strict=True)
        cut = [_windows(*axis) for axis in axes]
        # A private copy whose weights never change, so that its layers can cache their kernels.
        self.net = net.frozen_copy()
        self.lattice = lattice
        self.block = lattice.with_extent(*(width for width, _ in cut))
        self.windows = list(product(*(windows for _, windows in cut)))
        self.batch = (
            (1 if compile else max(1, BLOCK_SITES // self.block.n_sites))
            if batch is None
            else batch
        )
        self._compile, self._compiled = compile, None
        self._cores = torch.stack([self._core(window) for window in self.windows])

    @torch.no_grad()
    def __call__(
        self, field: Float[Tensor, "batch n_sites *components"]
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch n_sites *components"]]:
        """Electronic energy (None where the network has none) and forces −∂E/∂field.

        Args:
            field: In the dtype and on the device of the network.
        """
        samples, forces = field.flatten(0, 1), torch.zeros_like(field).flatten(0, 1)
        energies, has_energy = field.new_zeros(len(field), dtype=torch.float64), False
        for sample, number, sites in self._batches(field):
            blocks, core = samples[sites], self._cores[number].to(field.device)
            if self._compile and self._compiled is None:
                self._compiled = compiled(lambda b, c: self._of_blocks(b, c), blocks, core)
            evaluate = self._of_blocks if self._compiled is None else self._compiled
            energy, found = evaluate(blocks, core)
            if energy is not None:
                has_energy = True
                energies.index_add_(0, sample, energy.double())
                forces.index_add_(0, sites.flatten(), found.flatten(0, 1))
            else:
                forces[sites[core]] = found[core]
        return (energies.to(field) if has_energy else None), forces.view(field.shape)

    def _of_blocks(self, blocks: Tensor, core: Tensor) -> tuple[Tensor | None, Tensor]:
        """Direct forces; or the energy of the cores, and its negative gradient in core and halo."""
        net, graph = self.net, self.net.graph(self.block)
        if not net.conservative:
            return net(blocks, graph)
        return energy_and_forces(lambda q: (net.site_energies(q, graph) * core).sum(1), blocks)

    def _batches(
        self, field: Tensor
    ) -> Iterator[tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, "n block_sites"]]]:
        """Numbers of samples and windows, and the sites of blocks among those of all samples."""
        pairs = list(product(range(len(field)), range(len(self.windows))))
        for start in range(0, len(pairs), self.batch):
            chosen = pairs[start : start + self.batch]
            sites = torch.stack(
                [s * self.lattice.n_sites + self._sites(self.windows[w]) for s, w in chosen]
            )
            sample, number = torch.tensor(chosen).T
            yield sample.to(field.device), number, sites.to(field.device)

    def _sites(self, window: Sequence[Window]) -> Int[Tensor, " block_sites"]:
        """Sites of the lattice in the order of the block's."""
        cells = torch.zeros(1, dtype=torch.int64)
        for axis, extent, width in zip(window, self.lattice.extent, self.block.extent, strict=True):
            along = (torch.arange(width) + axis.first) % extent
            cells = (extent * cells[:, None] + along).flatten()
        n = self.lattice.n_sublattices
        return (n * cells[:, None] + torch.arange(n)).flatten()

    def _core(self, window: Sequence[Window]) -> Tensor:
        """Which sites of a block belong to its core."""
        inside = torch.zeros(*self.block.extent, self.block.n_sublattices, dtype=torch.bool)
        inside[tuple(axis.core for axis in window)] = True
        return inside.flatten()


def _tile(lattice: Lattice, reach: Sequence[int] | None) -> tuple[int, ...]:
    """Cells of a core along each axis: a block of `BLOCK_SITES` sites, but not less core than halo."""
    width = round((BLOCK_SITES / lattice.n_sublattices) ** (1 / lattice.dim))
    return tuple(max(width - 2 * r, 2 * r, 1) for r in reach or lattice.extent)


def _windows(extent: int, periodic: bool, tile: int, reach: int) -> tuple[int, list[Window]]:
    """Width of the blocks along an axis, and where they are; the whole axis where a block would fill it."""
    n = -(-extent // tile)
    width = -(-extent // n) + 2 * reach
    if width >= extent:
        return extent, [Window(0, slice(0, extent))]
    windows = []
    for k in range(n):
        start, stop = extent * k // n, extent * (k + 1) // n
        first = start - reach if periodic else min(max(start - reach, 0), extent - width)
        windows.append(Window(first, slice(start - first, stop - first)))
    return width, windows
