"""Any network with a known receptive field, evaluated tile by tile in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lattgnn.device_copies import DeviceCopies
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork
from lattgnn.nn.energy_head import energy_and_forces

TILE_SITES = 2**15
"""Sites of a tile with its halo: 181 × 181 cells keep the halo small and take some 100 MB."""


@dataclass(frozen=True)
class Window:
    """A tile along one axis, in cells.

    Attributes:
        first: First cell of the tile, halo included; negative beyond a periodic boundary.
        core: The cells that belong to no other tile, counted from `first`.
    """

    first: int
    core: slice


class TiledForces:
    """Energy and forces of a local network on one lattice, computed in tiles of cells.

    A tile is a core and around it a halo as wide as the receptive field of the network. The network
    treats it as a small lattice with the boundaries of the large one. Boundary errors stay inside
    the halo:

    - Direct forces are kept in the core only.
    - Energies are summed over the core. The gradient of that sum is added up over core and halo, so
      the halo need not be twice as wide.

    All tiles have the same shape and share one graph.

    Args:
        net: Trained network, which is copied. One without a receptive field is evaluated on the
            whole lattice at once.
        lattice: The lattice of the fields.
        core: Most cells of a core along each axis, or one number for all axes. By default tiles
            have about `TILE_SITES` sites.
        batch: Number of tiles that go through the network together, by default as many as have
            `TILE_SITES` sites.

    Raises:
        InputError: `core` or `batch` is below 1, or the extent is too small for the network.
    """

    def __init__(
        self,
        net: ForceNetwork,
        lattice: Lattice,
        core: int | Sequence[int] | None = None,
        batch: int | None = None,
    ) -> None:
        net.graph(lattice)  # raises where the extent is too small for the cutoff
        if core is None:
            core = _default_core(lattice, net.receptive_field)
        cells = (core,) * lattice.dim if isinstance(core, int) else tuple(core)
        if len(cells) != lattice.dim or min(cells) < 1 or (batch is not None and batch < 1):
            raise InputError(
                f"core must be cells along each of {lattice.dim} axes, and batch a number of "
                f"tiles, both at least 1, got {core!r} and {batch!r}. Use core=64."
            )
        halo = lattice.extent if net.receptive_field is None else net.receptive_field
        axes = zip(lattice.extent, lattice.periodic, cells, halo, strict=True)
        cut = [_windows(*axis) for axis in axes]
        # A private copy whose weights never change, so that its layers can cache their kernels.
        self.net = net.frozen_copy()
        self.lattice = lattice
        self.tile = lattice.with_extent(*(width for width, _ in cut))
        self.windows = list(product(*(windows for _, windows in cut)))
        self.batch = max(1, TILE_SITES // self.tile.n_sites) if batch is None else batch
        self._cores = DeviceCopies(torch.stack([self._core(window) for window in self.windows]))
        self._tiles = DeviceCopies(torch.stack([self._sites(window) for window in self.windows]))

    @torch.no_grad()
    def __call__(
        self, field: Float[Tensor, "batch n_sites *components"]
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch n_sites *components"]]:
        """Electronic energy (None where the network has none) and forces −∂E/∂field.

        Args:
            field: In the dtype and on the device of the network.

        Returns:
            Energies and forces, like the field.
        """
        # One list of sites for all samples: a tile is then one index, whichever sample it is from.
        samples, n_all = field.flatten(0, 1), field.shape[0] * field.shape[1]
        # The last row takes the direct forces of halos, which are not used. Choosing the sites of a
        # core by a mask would make the host wait for their number.
        forces = field.new_zeros(n_all + 1, *field.shape[2:])
        energies, has_energy = field.new_zeros(len(field), dtype=torch.float64), False
        for sample, core, sites in self._batches(field):
            energy, found = self._of_tiles(samples[sites], core)
            if energy is None:
                forces[torch.where(core, sites, n_all)] = found
            else:
                has_energy = True
                energies.index_add_(0, sample, energy.double())
                # Halos overlap other tiles, so forces are added rather than assigned.
                forces.index_add_(0, sites.flatten(), found.flatten(0, 1))
        return (energies.to(field) if has_energy else None), forces[:n_all].view(field.shape)

    @torch.no_grad()
    def energies(
        self, field: Float[Tensor, "batch n_sites *components"], counted: Bool[Tensor, " n_sites"]
    ) -> Float[Tensor, " batch"]:
        """Electronic energy of some of the sites, in float64.

        Args:
            field: As for a call.
            counted: Whether the energy of each site counts.
        """
        samples, counted = field.flatten(0, 1), counted.to(field.device).repeat(len(field))
        energies, graph = (
            field.new_zeros(len(field), dtype=torch.float64),
            self.net.graph(self.tile),
        )
        for sample, core, sites in self._batches(field):
            found = self.net.site_energies(samples[sites], graph).double()
            energies.index_add_(0, sample, (found * (core & counted[sites])).sum(1))
        return energies

    def _of_tiles(self, tiles: Tensor, core: Tensor) -> tuple[Tensor | None, Tensor]:
        """Direct forces of tiles, or the energy of their cores and its negative gradient."""
        net, graph = self.net, self.net.graph(self.tile)
        if not net.conservative:
            return net(tiles, graph)
        return energy_and_forces(lambda q: (net.site_energies(q, graph) * core).sum(1), tiles)

    def _batches(
        self, field: Tensor
    ) -> Iterator[
        tuple[Int[Tensor, " n"], Bool[Tensor, "n tile_sites"], Int[Tensor, "n tile_sites"]]
    ]:
        """Sample, core and sites (among those of all samples) of tiles evaluated together."""
        n_windows = len(self.windows)
        cores, tiles = self._cores.on(field.device), self._tiles.on(field.device)
        # All tiles of the first sample, then those of the second, and so on. The numbers are
        # made on the device: sending them would make the host wait.
        for numbers in torch.arange(len(field) * n_windows, device=field.device).split(self.batch):
            sample, window = numbers // n_windows, numbers % n_windows
            sites = tiles[window] + self.lattice.n_sites * sample[:, None]
            yield sample, cores[window], sites

    def _sites(self, window: Sequence[Window]) -> Int[Tensor, " tile_sites"]:
        """Sites of the lattice in the order of the sites of the tile."""
        cells = torch.zeros(1, dtype=torch.int64)
        for axis, extent, width in zip(window, self.lattice.extent, self.tile.extent, strict=True):
            along = (torch.arange(width) + axis.first) % extent  # wraps around periodic axes
            cells = (extent * cells[:, None] + along).flatten()  # cells are numbered row-major
        n = self.lattice.n_sublattices
        return (n * cells[:, None] + torch.arange(n)).flatten()

    def _core(self, window: Sequence[Window]) -> Tensor:
        """Which sites of a tile belong to its core."""
        inside = torch.zeros(*self.tile.extent, self.tile.n_sublattices, dtype=torch.bool)
        inside[tuple(axis.core for axis in window)] = True
        return inside.flatten()


def _default_core(lattice: Lattice, halo: Sequence[int] | None) -> tuple[int, ...]:
    """Cells of a core along each axis: tiles of `TILE_SITES` sites, but not less core than halo."""
    width = round((TILE_SITES / lattice.n_sublattices) ** (1 / lattice.dim))
    return tuple(max(width - 2 * h, 2 * h, 1) for h in halo or lattice.extent)


def _windows(extent: int, periodic: bool, core: int, halo: int) -> tuple[int, list[Window]]:
    """Width of the tiles along an axis, and the tiles: one if it would fill the axis."""
    n = -(-extent // core)
    width = -(-extent // n) + 2 * halo
    if width >= extent:
        return extent, [Window(0, slice(0, extent))]
    windows = []
    for k in range(n):
        start, stop = extent * k // n, extent * (k + 1) // n
        # At an open end there is nothing to copy: the tile is moved inward, and keeps its width.
        first = start - halo if periodic else min(max(start - halo, 0), extent - width)
        windows.append(Window(first, slice(start - first, stop - first)))
    return width, windows
