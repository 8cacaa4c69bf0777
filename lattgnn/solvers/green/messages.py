r"""Messages between the sites of a Hamiltonian, at each pole of the Fermi function.

With a_i = i w + μ − H_ii, the message on the bond (i, j) is the Green's function of site j if site
i is removed, and the self-energy that it causes on site i:

    g_ij = (a_j − Σ_{k≠i} Σ_jk)⁻¹,    Σ_ij = H_ij g_ij H_ji.

The sum is over the neighbors k of j. Round 0 begins with g_ij = a_j⁻¹, and each further round
takes Σ from the round before. On a tree the messages become exact after as many rounds as the tree
is deep.

Reference:
    R. Abou-Chacra, D. J. Thouless and P. W. Anderson, J. Phys. C 6, 1734 (1973);
    G. T. Cantwell and M. E. J. Newman, PNAS 116, 23398 (2019).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Shaped
from torch import Tensor

from lattgnn.solvers.green.site_graph import SiteGraph

# A look at whether messages still change makes the CPU wait for a GPU.
_ROUNDS_BETWEEN_LOOKS = 16


@dataclass(frozen=True, eq=False)
class Messages:
    """Messages at several poles.

    Attributes:
        inverses: a_i − Σ_k Σ_ik: for each site the inverse of its Green's function as far as the
            messages know it.
        cavity: g_ij for each bond (i, j).
        self_energies: Σ_ij for each bond (i, j).
    """

    inverses: Complex[Tensor, "n_poles n_sites o o"]
    cavity: Complex[Tensor, "n_poles n_bonds o o"]
    self_energies: Complex[Tensor, "n_poles n_bonds o o"]


def bare_inverses(
    sites: Shaped[Tensor, "n_sites o o"],
    frequencies: Float[Tensor, " n_poles"],
    mu: float,
) -> Complex[Tensor, "n_poles n_sites o o"]:
    """a_i = i w + μ − H_ii at each pole."""
    identity = torch.eye(sites.shape[-1], dtype=sites.dtype, device=sites.device)
    shifted = mu * identity - sites
    return shifted + 1j * frequencies[:, None, None, None] * identity


def pass_messages(
    graph: SiteGraph,
    bare: Complex[Tensor, "n_poles n_sites o o"],
    hopping: Shaped[Tensor, "n_bonds o o"],
    rounds: int,
) -> Messages:
    """The messages after some rounds.

    Args:
        graph: The graph of H.
        bare: a_i at each pole.
        hopping: H_ij of each bond.
        rounds: Number of rounds. Further rounds are left out once the messages no longer change,
            which is looked up every 16 rounds.
    """
    hopping = hopping.to(bare.dtype)
    back = hopping[graph.reverse]
    cavity = inverse(bare)[:, graph.cols]
    self_energies = sandwich(hopping, cavity, back)
    inverses = bare - graph.sum_over_bonds(self_energies)
    for number in range(1, rounds + 1):
        cavity = inverse(inverses[:, graph.cols] + self_energies[:, graph.reverse])
        previous = self_energies
        self_energies = sandwich(hopping, cavity, back)
        inverses = bare - graph.sum_over_bonds(self_energies)
        if number % _ROUNDS_BETWEEN_LOOKS == 0 and _agree(previous, self_energies):
            break
    return Messages(inverses, cavity, self_energies)


def mean_messages(
    graph: SiteGraph,
    bare: Complex[Tensor, "n_poles n_sites o o"],
    hopping: Shaped[Tensor, "n_bonds o o"],
    frequencies: Float[Tensor, " n_poles"],
) -> Messages:
    """What the block "mean" uses: Σ_ij = H_ij H_ji / (i w), and the same g_ij = G_jj for all i."""
    identity = torch.eye(hopping.shape[-1], dtype=hopping.dtype, device=hopping.device)
    squares = sandwich(hopping, identity, hopping[graph.reverse])
    self_energies = squares / (1j * frequencies[:, None, None, None])
    inverses = bare - graph.sum_over_bonds(self_energies)
    return Messages(inverses, inverse(inverses)[:, graph.cols], self_energies)


def _agree(first: Tensor, second: Tensor) -> bool:
    """Whether two sets of messages are equal to rounding."""
    scale = second.abs().amax((-3, -2, -1), keepdim=True)
    return bool(((first - second).abs() <= 1e-14 * scale).all())


def sandwich(left: Tensor, middle: Tensor, right: Tensor) -> Tensor:
    """Products of three small square matrices, [..., o, o]."""
    if middle.shape[-1] == 1:  # products of numbers are faster than of matrices
        return left * middle * right
    return left @ middle @ right


def inverse(matrices: Complex[Tensor, "*batch o o"]) -> Complex[Tensor, "*batch o o"]:
    """Inverses of small matrices; those of 1 and 2 states in closed form."""
    n_orbitals = matrices.shape[-1]
    if n_orbitals == 1:
        return matrices.reciprocal()
    if n_orbitals > 2:
        return torch.linalg.inv(matrices)
    (a, b), (c, d) = ((row.unbind(-1)) for row in matrices.unbind(-2))
    rows = torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)
    return torch.stack(rows, dim=-2) / (a * d - b * c)[..., None, None]
