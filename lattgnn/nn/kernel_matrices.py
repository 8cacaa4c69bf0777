"""Sparse matrices of equivariant kernels on a finite lattice: a layer's geometry without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import coo_array, csr_array, vstack
from torch import Tensor, nn

from lattgnn.graph import csr_tensor
from lattgnn.lattice import Lattice, bond_orbits
from lattgnn.symmetry import SiteType, orbit_kernels, site_class_index, site_classes


@dataclass(frozen=True, eq=False)
class SparseMap:
    """A sparse matrix that knows its transpose, for a product that can be differentiated twice.

    PyTorch's own backward transposes a CSR matrix anew in every call, at five times the cost of the product.
    """

    matrix: Tensor

    @classmethod
    def from_scipy(cls, matrix: csr_array, dtype: torch.dtype, device: torch.device) -> SparseMap:
        """The same matrix in torch."""
        ends, columns = (
            torch.from_numpy(part.astype(np.int64)) for part in (matrix.indptr, matrix.indices)
        )
        with torch.inference_mode(
            False
        ):  # a matrix first asked for in inference serves training as well
            values = torch.from_numpy(matrix.data).to(dtype)
            n_rows, n_columns = cast(tuple[int, int], matrix.shape)
            return cls(csr_tensor(ends, columns, values, (n_rows, n_columns), device))

    @cached_property
    def rooms(self) -> dict[Any, Tensor]:
        """Memory that a layer uses again in every call."""
        return {}

    @cached_property
    def transpose(self) -> SparseMap:
        """The transposed matrix, made when it is first asked for."""
        m = self.matrix
        parts = (m.values(), m.col_indices(), m.crow_indices())
        turned = csr_array(tuple(p.cpu().numpy() for p in parts), shape=tuple(m.shape)).T.tocsr()
        turned.sort_indices()
        result = SparseMap.from_scipy(turned, m.dtype, m.device)
        result.__dict__["transpose"] = self
        return result

    @cached_property
    def bags(self) -> tuple[Tensor, Tensor, Tensor]:
        """Columns and values of all rows one after another, and where rows begin; on the CPU."""
        m = self.matrix
        with torch.inference_mode(False):
            # By way of numpy: tensors that know they are part of a sparse one cannot be compiled.
            columns, values, begins = (
                torch.from_numpy(part.numpy())
                for part in (m.col_indices(), m.values(), m.crow_indices())
            )
        return columns, values, begins

    @cached_property
    def blocks_transposed(self) -> SparseMap:
        """Of square matrices on top of each other the transposes, on top of each other as well."""
        m = self.matrix
        n = m.shape[1]
        parts = (m.values(), m.col_indices(), m.crow_indices())
        blocks = csr_array(tuple(p.cpu().numpy() for p in parts), shape=tuple(m.shape))
        turned = cast(
            csr_array, vstack([blocks[k : k + n].T for k in range(0, m.shape[0], n)], format="csr")
        )
        turned.sort_indices()
        return SparseMap.from_scipy(turned, m.dtype, m.device)

    @cached_property
    def edges(self) -> tuple[Tensor, Tensor]:
        """The same matrix as PyG has it: edge_index [2, n] (column, row) and the weight of each edge [n]."""
        rows = torch.arange(len(self.matrix)).repeat_interleave(
            self.matrix.crow_indices().diff().cpu()
        )
        rows = rows.to(self.matrix.device)
        return torch.stack([self.matrix.col_indices(), rows]), self.matrix.values()

    def __call__(
        self, x: Float[Tensor, "columns batch channels"]
    ) -> Float[Tensor, "_rows _batch _channels"]:
        """The product with each channel of each sample."""
        return _SparseProduct.apply(x, self)


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, sparse: SparseMap) -> Tensor:
        flat = x.reshape(len(x), -1)
        if flat.dtype != torch.float32 or flat.is_cuda:
            return (sparse.matrix @ flat).view(-1, *x.shape[1:])
        # Sums of rows with weights are what embedding bags are: three times as fast as the CSR product.
        columns, values, begins = sparse.bags
        sums = nn.functional.embedding_bag(
            columns, flat, begins, mode="sum", per_sample_weights=values, include_last_offset=True
        )
        return sums.view(-1, *x.shape[1:])

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.sparse = inputs[1]

    @staticmethod
    def backward(ctx, *grads: Tensor):
        return _SparseProduct.apply(grads[0], ctx.sparse.transpose), None


@dataclass(frozen=True, eq=False)
class KernelGraph:
    """The finite lattice as networks see it: for every pair of site types the matrices of all kernels.

    Attributes:
        lattice: The finite lattice.
        cutoff: Longest bond that the extent is known to be large enough for.
        dtype: Precision of the matrices.
        device: Where they live.
    """

    lattice: Lattice
    cutoff: float
    dtype: torch.dtype
    device: torch.device
    _maps: dict = field(default_factory=dict, repr=False)

    def sums(
        self, source: SiteType, destinations: tuple[SiteType, ...], cutoff: float
    ) -> SparseMap:
        """Every kernel on bonds up to `cutoff` from `source` to each of `destinations`, as one matrix.

        Its rows come by destination type, then kernel, then site, then component, scaled so that independent
        components of variance one give components of variance one. Kernels of a site with itself are not
        among them: see `on_site`.
        """
        key = (source, destinations, cutoff)
        if key not in self._maps:
            parts = [
                self._bond_kernels(source, destination, cutoff) for destination in destinations
            ]
            self._maps[key] = self._stack(source, parts)
        return self._maps[key]

    def on_site(self, source: SiteType, destination: SiteType) -> SparseMap:
        """The kernels of a site with itself, rows by kernel, then site, then component."""
        key = (source, destination)
        if key not in self._maps:
            (kernels,) = orbit_kernels(self.lattice.cell, source, destination, None)
            maps = next(iter(kernels.kernels.values()))
            sites = np.arange(self._n_sites(source))
            parts = [_entries(maps, sites, sites, len(sites), destination.dim**0.5)]
            shape = (len(maps) * len(sites) * destination.dim, len(sites) * source.dim)
            self._maps[key] = self._sparse(parts, shape)
        return self._maps[key]

    def gather(self, source_class: int, sublattice: int, cutoff: float | None) -> SparseMap | None:
        """The neighbours of a sublattice's sites in a class: rows by bond of the cell, then cell.

        The bond of a site with itself comes first. None where no bond leads from the class.
        """
        key = (source_class, sublattice, cutoff)
        if key not in self._maps:
            lattice, members = (
                self.lattice,
                site_classes(self.lattice.cell)[source_class].sublattices,
            )
            ends = (
                [np.flatnonzero(lattice.sublattices == sublattice)] if sublattice in members else []
            )
            ends = [(own, own) for own in ends]
            if cutoff is not None:
                bonds = lattice.bonds(cutoff)
                for kind, (start, end, _) in enumerate(bonds.kinds):
                    if end == sublattice and start in members:
                        chosen = bonds.kind == kind
                        ends.append((bonds.source[chosen], bonds.destination[chosen]))
            one, n = np.ones((1, 1, 1)), lattice.n_cells
            entries = [
                _entries(
                    one, self._local(source_class, start), end // lattice.n_sublattices, n, 1.0, k
                )
                for k, (start, end) in enumerate(ends)
            ]
            shape = (len(ends) * n, n * len(members))
            self._maps[key] = self._sparse(entries, shape) if entries else None
        return self._maps[key]

    def offsets(self, cutoff: float) -> list[tuple[int, ...]]:
        """Of a lattice with one site a cell: offsets of a site from its neighbours, itself first."""
        key = ("offsets", cutoff)
        if key not in self._maps:
            kinds = [offset for _, _, offset in self.lattice.bonds(cutoff).kinds]
            self._maps[key] = [(0,) * self.lattice.dim, *kinds]
        return self._maps[key]

    def box(self, cutoff: float) -> tuple[int, ...]:
        """How many cells the neighbours of a site are away along each axis at most."""
        return tuple(max(map(abs, axis)) for axis in zip(*self.offsets(cutoff), strict=True))

    def padding(self, cutoff: float) -> SparseMap:
        """The cells of the lattice continued by `box` on all sides; zeros beyond an open boundary."""
        key = ("padding", cutoff)
        if key not in self._maps:
            cell, exists = np.zeros(1, dtype=np.int64), np.ones(1, dtype=bool)
            axes = zip(self.lattice.extent, self.lattice.periodic, self.box(cutoff), strict=True)
            for extent, periodic, r in axes:
                along = np.arange(-r, extent + r)
                cell = np.add.outer(cell * extent, along % extent).reshape(-1)
                exists = np.logical_and.outer(exists, periodic | (along == along % extent)).reshape(
                    -1
                )
            rows = np.flatnonzero(exists)
            entries, shape = (
                (rows, cell[exists], np.ones(len(rows))),
                (len(cell), self.lattice.n_cells),
            )
            self._maps[key] = self._sparse([entries], shape)
        return self._maps[key]

    def bond_ends(self, cutoff: float) -> tuple[SparseMap, SparseMap]:
        """The sites where the bonds of the lattice start and arrive: a row for each bond, columns by site."""
        key = ("ends", cutoff)
        if key not in self._maps:
            bonds = self.lattice.bonds(cutoff)
            rows, ones = np.arange(len(bonds)), np.ones(len(bonds))
            shape = (len(bonds), self.lattice.n_sites)
            self._maps[key] = tuple(
                self._sparse([(rows, ends, ones)], shape)
                for ends in (bonds.source, bonds.destination)
            )
        return self._maps[key]

    def bond_sums(self, cutoff: float) -> SparseMap:
        """Sums over the bonds that arrive at a site: rows by orbit, then site of the class where it arrives.

        Scaled so that independent bonds of variance one give sums of variance one.
        """
        key = ("sums", cutoff)
        if key not in self._maps:
            bonds, entries, first = self.lattice.bonds(cutoff), [], 0
            for orbit in bond_orbits(self.lattice, cutoff).orbits:
                number = site_class_index(self.lattice.cell, orbit.destination_sublattice)
                chosen = np.flatnonzero(bonds.orbit == orbit.index)
                rows = first + self._local(number, bonds.destination[chosen])
                entries.append((rows, chosen, np.full(len(rows), orbit.multiplicity**-0.5)))
                first += len(self.sites(number))
            self._maps[key] = self._sparse(entries, (first, len(bonds)))
        return self._maps[key]

    def basis(
        self, source: SiteType, destination: SiteType, sublattice: int, cutoff: float | None
    ) -> Float[Tensor, "kinds kernels dim_out dim_in"]:
        """The basis kernels of each bond of `gather`, scaled as in `sums`, zero for those of other orbits."""
        key = (source, destination, sublattice, cutoff)
        if key not in self._maps:
            members = site_classes(self.lattice.cell)[source.site_class].sublattices
            zero = (0,) * self.lattice.dim
            kinds = [(sublattice, sublattice, zero)] if sublattice in members else []
            if cutoff is not None:
                kinds += [
                    b
                    for b in self.lattice.bonds(cutoff).kinds
                    if b[1] == sublattice and b[0] in members
                ]
            orbits = orbit_kernels(self.lattice.cell, source, destination, cutoff)
            array = np.zeros((len(kinds), sum(map(len, orbits)), destination.dim, source.dim))
            first = 0
            for orbit in orbits:
                scale = (destination.dim / orbit.multiplicity) ** 0.5
                for k, kind in enumerate(kinds):
                    if kind in orbit.kernels:
                        array[k, first : first + len(orbit)] = scale * orbit.kernels[kind]
                first += len(orbit)
            self._maps[key] = torch.from_numpy(array).to(self.device, self.dtype)
        return self._maps[key]

    def n_rows(self, site_type: SiteType) -> int:
        """Rows of a block of this type."""
        return self._n_sites(site_type) * site_type.dim

    def sites(self, site_class: int) -> Tensor:
        """The sites of a class, in the order of its rows."""
        chosen = np.isin(
            self.lattice.sublattices, site_classes(self.lattice.cell)[site_class].sublattices
        )
        return torch.from_numpy(np.flatnonzero(chosen)).to(self.device)

    def in_order(self, parts: Sequence[Tensor], dim: int) -> Tensor:
        """Values of the sites of each class, along axis `dim`, as values of all sites in their order."""
        if len(parts) == 1:
            return parts[0]
        if "order" not in self._maps:
            with torch.inference_mode(False):  # as for a matrix: training may use it next
                classes = [self.sites(number) for number in range(len(parts))]
                self._maps["order"] = torch.cat(classes).argsort()
        return torch.cat(list(parts), dim).index_select(dim, self._maps["order"])

    def _n_sites(self, site_type: SiteType) -> int:
        return self.lattice.n_cells * len(
            site_classes(self.lattice.cell)[site_type.site_class].sublattices
        )

    def _bond_kernels(
        self, source: SiteType, destination: SiteType, cutoff: float
    ) -> tuple[int, int, list]:
        """Number of kernels, rows of one kernel, entries."""
        bonds = self.lattice.bonds(cutoff)
        number = {bond: kind for kind, bond in enumerate(bonds.kinds)}
        n_out = self._n_sites(destination)
        before, entries = 0, []
        for orbit in orbit_kernels(self.lattice.cell, source, destination, cutoff):
            if orbit.orbit < 0:
                continue
            scale = (destination.dim / orbit.multiplicity) ** 0.5
            for bond, maps in orbit.kernels.items():
                chosen = bonds.kind == number[bond]
                start = self._local(source.site_class, bonds.source[chosen])
                end = self._local(destination.site_class, bonds.destination[chosen])
                entries.append(_entries(maps, start, end, n_out, scale, before))
            before += len(orbit)
        return before, n_out * destination.dim, entries

    def _local(self, site_class: int, sites: np.ndarray) -> np.ndarray:
        """Position of sites among those of their class."""
        members = site_classes(self.lattice.cell)[site_class].sublattices
        cell, sublattice = np.divmod(sites, self.lattice.n_sublattices)
        return cell * len(members) + np.searchsorted(members, sublattice)

    def _stack(self, source: SiteType, parts: list[tuple[int, int, list]]) -> SparseMap:
        entries, first = [], 0
        for n_kernels, n_rows, found in parts:
            entries += [(rows + first, columns, values) for rows, columns, values in found]
            first += n_kernels * n_rows
        return self._sparse(entries, (first, self._n_sites(source) * source.dim))

    def _sparse(self, entries: list, shape: tuple[int, int]) -> SparseMap:
        rows, columns, values = (np.concatenate(arrays) for arrays in zip(*entries, strict=True))
        matrix = coo_array((values, (rows, columns)), shape).tocsr()
        matrix.sort_indices()
        return SparseMap.from_scipy(matrix, self.dtype, self.device)


@lru_cache(maxsize=8)
def kernel_graph(
    lattice: Lattice, cutoff: float, dtype: torch.dtype, device: torch.device
) -> KernelGraph:
    """The kernels of a finite lattice up to a cutoff; matrices are made when a layer first asks for them.

    Raises:
        ValueError: If the extent is too small for the cutoff.
    """
    bond_orbits(lattice, cutoff).check_extent()
    return KernelGraph(lattice, cutoff, dtype, device)


def _entries(
    maps: np.ndarray,
    source: np.ndarray,
    destination: np.ndarray,
    n_out: int,
    scale: float,
    first: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and values of kernels `maps` [n, dim_out, dim_in] on bonds source → destination."""
    kernel, out, into = maps.nonzero()
    dim_out, dim_in = maps.shape[1:]
    rows = ((first + kernel[:, None]) * n_out + destination) * dim_out + out[:, None]
    columns = source * dim_in + into[:, None]
    values = np.repeat(scale * maps[kernel, out, into], len(source))
    return rows.reshape(-1), columns.reshape(-1), values
