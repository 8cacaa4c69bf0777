"""From classical spins to the channels of a network: functions of S_i·S_j on bonds."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.graph import LatticeGraph
from lattgnn.lattice import Lattice, bond_orbits
from lattgnn.nn.bond_operators import bond_ends, bond_sums
from lattgnn.nn.features import SPIN, Features, scalars
from lattgnn.nn.kernel_operators import class_sites, in_site_order
from lattgnn.symmetry import site_class_index, site_classes

N_FUNCTIONS = 5


class SpinComponents:
    """Converts a field of spins to spin-vector channels, and one such channel to a field."""

    def split(
        self, field: Float[Tensor, "batch n_sites components"], graph: LatticeGraph
    ) -> list[Float[Tensor, "_rows _batch 1"]]:
        """One block for each class of sites; components are stored along the batch axis."""
        n_classes = len(site_classes(graph.lattice.cell))
        sites = (
            [field]
            if n_classes == 1
            else [field[:, class_sites(graph, number)] for number in range(n_classes)]
        )
        # From [sample, site, component] to a block [site, component × sample, one channel].
        return [part.permute(1, 2, 0).flatten(1).unsqueeze(-1) for part in sites]

    def join(
        self, blocks: Sequence[Float[Tensor, "_rows _batch 1"]], graph: LatticeGraph
    ) -> Float[Tensor, "batch n_sites 3"]:
        """The field that consists of the given blocks."""
        # The inverse of `split`: [site, component × sample, 1] to [sample, site, component].
        parts = [block.view(len(block), 3, -1).permute(2, 0, 1) for block in blocks]
        return in_site_order(graph, parts, 1)


class SpinBasis(nn.Module):
    r"""Fixed functions of a spin and its neighbors, invariant or rotating with all spins.

    For every orbit of bonds, with x = S_i·S_j of unit vectors, the functions are

    .. math::
        \sum_j f_k(x), \; \sum_j f_k(x) \, S_j, \quad
        f_k = P_1 \dots P_4, \sqrt{(1 + \epsilon + x)/2}

    They consist of Legendre polynomials and the hopping amplitude of an electron whose spin follows
    S; ε makes the amplitude smooth for antiparallel spins. The spin S_i itself is an additional
    channel. The vectors rotate with all spins and change sign under time reversal, S → −S.

    Args:
        lattice: The lattice; its extent does not matter.
        cutoff: Longest bond, in the units of the lattice.

    Reference:
        Hopping among spins: P. W. Anderson and H. Hasegawa, Phys. Rev. 100, 675 (1955).
    """

    def __init__(self, lattice: Lattice, cutoff: float):
        super().__init__()
        self.cutoff = cutoff
        self.components = SpinComponents()
        self.arrivals = [
            site_class_index(lattice.cell, orbit.destination_sublattice)
            for orbit in bond_orbits(lattice, cutoff).orbits
        ]
        """The class of the destination sites of each orbit."""
        even, spin = (), ()
        for number in range(len(site_classes(lattice.cell))):
            n = N_FUNCTIONS * self.arrivals.count(number)
            even += scalars(lattice, n)[number : number + 1]
            spin += scalars(lattice, n + 1, SPIN)[number : number + 1]
        self.outputs: Features = even + spin

    def forward(
        self, field: Float[Tensor, "batch n_sites 3"], graph: LatticeGraph
    ) -> list[Float[Tensor, "_rows _batch _channels"]]:
        """Evaluate all functions at each site."""
        unit = nn.functional.normalize(field, dim=-1)
        # Spins at both ends of each bond, [bond, component, sample].
        start, end = (ends(unit.permute(1, 2, 0)) for ends in bond_ends(graph, self.cutoff))
        values = _functions((start * end).sum(1).unsqueeze(-1))
        # f_k(S_i·S_j) S_j for each bond, [bond, component × sample, function].
        turned = (values.unsqueeze(1) * start.unsqueeze(-1)).flatten(1, 2)
        own = self.components.split(unit, graph)
        # The rows of the sums are ordered by orbit; each orbit has one row per site of the class
        # on which it ends.
        sizes = [len(own[number]) for number in self.arrivals]
        sums = bond_sums(graph, self.cutoff)
        even, spin = (sums(x).split(sizes) for x in (values, turned))
        return [
            *(self._arriving(even, number) for number in range(len(own))),
            *(torch.cat([x, self._arriving(spin, number)], -1) for number, x in enumerate(own)),
        ]

    def _arriving(self, sums: Sequence[Tensor], number: int) -> Tensor:
        """The sums of all orbits that end on a class of sites, as channels."""
        return torch.cat(
            [x for x, arrival in zip(sums, self.arrivals, strict=True) if arrival == number], -1
        )


def tangent_part(
    vectors: Float[Tensor, "*batch n_sites 3"], spins: Float[Tensor, "*batch n_sites 3"]
) -> Float[Tensor, "*batch n_sites 3"]:
    """The part of vectors that is perpendicular to the spins."""
    unit = nn.functional.normalize(spins, dim=-1)
    return vectors - (vectors * unit).sum(-1, keepdim=True) * unit


def _functions(x: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch 5"]:
    """P_1 … P_4, scaled to a mean square near one for random spins, and the hopping amplitude."""
    square = x * x
    third, fourth = x * (2.5 * square - 1.5), (4.375 * square - 3.75) * square + 0.375
    # ε = 0.02 keeps the derivative finite at x = −1.
    hop = torch.sqrt(0.5 * (1.02 + x))
    return torch.cat([1.7 * x, 3.4 * square - 1.1, 2.6 * third, 3.0 * fourth, hop], -1)
