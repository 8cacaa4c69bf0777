"""The graph of a Hamiltonian: sites, directed bonds between them, and their matrices."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, translation_permutation
from lattgnn.solvers.solver import TightBinding


@dataclass(frozen=True, eq=False)
class SiteGraph:
    """Sites joined by the bonds of H; all states of a site belong together.

    Bond e is the block of H whose rows belong to site `rows[e]` and whose columns belong to site
    `cols[e]`. Bonds are sorted by row, then by column, and every bond has its reverse.

    Attributes:
        n_sites: Number of sites.
        n_orbitals: States per site, o.
        rows: Row site of each bond.
        cols: Column site of each bond.
        reverse: Number of the bond in the opposite direction.
        bonds_of_site: The bonds in each row, filled up with n_bonds, [n_sites, max_degree].
        elements: Where each element of the pattern goes in the flat list of all matrices, first
            those of the sites, [n_sites, o, o], then those of the bonds, [n_bonds, o, o].
    """

    n_sites: int
    n_orbitals: int
    rows: Int[Tensor, " n_bonds"]
    cols: Int[Tensor, " n_bonds"]
    reverse: Int[Tensor, " n_bonds"]
    bonds_of_site: Int[Tensor, "n_sites max_degree"]
    elements: Int[Tensor, " nnz"]

    @classmethod
    def of(cls, hamiltonian: TightBinding) -> "SiteGraph":
        """The graph of H, on the CPU.

        Raises:
            InputError: If not all sites have equally many states.
        """
        n_sites, n_states = hamiltonian.lattice.n_sites, hamiltonian.n_states
        n_orbitals = n_states // n_sites
        if n_orbitals * n_sites != n_states:
            raise InputError(
                f"GreenFunction needs equally many states on each site, got {n_states} states on "
                f"{n_sites} sites. Use ExactDiagonalization."
            )
        row, col = hamiltonian.rows.cpu(), hamiltonian.cols.cpu()
        row_site, col_site = row // n_orbitals, col // n_orbitals
        keys = row_site * n_sites + col_site
        between = row_site != col_site
        bond_keys = torch.unique(keys[between])  # sorted
        rows, cols = bond_keys // n_sites, bond_keys % n_sites
        # Position of each element among the matrices: those of sites, then those of bonds.
        matrix = torch.where(between, n_sites + torch.searchsorted(bond_keys, keys), row_site)
        elements = (matrix * n_orbitals + row % n_orbitals) * n_orbitals + col % n_orbitals
        reverse = torch.searchsorted(bond_keys, cols * n_sites + rows)
        table = slots_by_row(rows, n_sites)
        return cls(n_sites, n_orbitals, rows, cols, reverse, table, elements)

    def to(self, device: torch.device) -> "SiteGraph":
        """The same graph on a device."""
        names = ("rows", "cols", "reverse", "bonds_of_site", "elements")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    @property
    def n_bonds(self) -> int:
        """Number of directed bonds."""
        return len(self.rows)

    @cached_property
    def keys(self) -> Int[Tensor, " n_bonds"]:
        """A number for each bond, row · n_sites + column, ascending."""
        return self.rows * self.n_sites + self.cols

    def bonds_between(
        self, rows: Int[Tensor, "..."], cols: Int[Tensor, "..."]
    ) -> Int[Tensor, "..."]:
        """Numbers of the bonds from these rows to these columns, which must exist; broadcast."""
        return torch.searchsorted(self.keys, rows * self.n_sites + cols)

    def matrices(
        self, elements: Shaped[Tensor, " nnz"]
    ) -> tuple[Shaped[Tensor, "n_sites o o"], Shaped[Tensor, "n_bonds o o"]]:
        """The matrices of the sites and of the bonds from the elements of H."""
        o = self.n_orbitals
        flat = elements.new_zeros((self.n_sites + self.n_bonds) * o * o)
        flat[self.elements] = elements
        matrices = flat.view(-1, o, o)
        return matrices[: self.n_sites], matrices[self.n_sites :]

    def density_elements(
        self, sites: Shaped[Tensor, "n_sites o o"], bonds: Shaped[Tensor, "n_bonds o o"]
    ) -> Shaped[Tensor, " nnz"]:
        """ρ[cols, rows] at the pattern of H, from ρ on the sites and bonds."""
        flat = torch.cat([sites.reshape(-1), bonds.reshape(-1)])
        # ρ is Hermitian, so the element [col, row] is the conjugate of [row, col].
        return flat[self.elements].conj().resolve_conj()

    def sum_over_bonds(
        self, values: Shaped[Tensor, "n_poles n_bonds o o"]
    ) -> Shaped[Tensor, "n_poles n_sites o o"]:
        """For each site the sum over the bonds in its row."""
        padded = torch.cat([values, torch.zeros_like(values[:, :1])], dim=1)
        # One slot after the other, so that the order of the sum is the same on every device.
        total = padded.new_zeros(len(values), self.n_sites, *values.shape[2:])
        for slot in self.bonds_of_site.unbind(1):
            total = total + padded[:, slot]
        return total

    @cached_property
    def n_components(self) -> int:
        """Number of parts that no bond joins."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import connected_components

        ends = self.rows.cpu().numpy(), self.cols.cpu().numpy()
        shape = (self.n_sites, self.n_sites)
        adjacency = csr_array((np.ones(self.n_bonds, dtype=np.int8), ends), shape=shape)
        return connected_components(adjacency, directed=False, return_labels=False)

    @property
    def is_forest(self) -> bool:
        """Whether the graph has no loops, so that messages are exact."""
        return self.n_bonds // 2 == self.n_sites - self.n_components


def slots_by_row(rows: Int[Tensor, " n_bonds"], n_sites: int) -> Int[Tensor, "n_sites max_degree"]:
    """Numbers of the bonds in each row, filled up with n_bonds; bonds are sorted by row."""
    counts = torch.bincount(rows, minlength=n_sites)
    # The number of a bond minus that of the first bond of its row is its slot.
    slots = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
    width = int(counts.max()) if len(rows) else 0
    table = torch.full((n_sites, width), len(rows))
    table[rows, slots] = torch.arange(len(rows))
    return table


def repeated_axes(lattice: Lattice, graph: SiteGraph) -> tuple[int, ...]:
    """Axes along which a translation by one cell maps the bonds of H onto themselves."""
    found = []
    for axis in range(lattice.dim):
        if lattice.periodic[axis]:
            shift = tuple(int(other == axis) for other in range(lattice.dim))
            moved = torch.from_numpy(translation_permutation(lattice, shift))
            keys = moved[graph.rows.cpu()] * graph.n_sites + moved[graph.cols.cpu()]
            if torch.equal(keys.sort().values, graph.keys.cpu()):
                found.append(axis)
    return tuple(found)
