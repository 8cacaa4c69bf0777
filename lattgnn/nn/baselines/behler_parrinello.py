"""A Behler–Parrinello network for lattices: invariants of the surroundings, site energies, their gradient."""

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.nn.baselines.dense_layers import checked_channels, checked_scale, mlp
from lattgnn.nn.baselines.irreps_network import Constant, PatchDecomposition
from lattgnn.nn.baselines.neighbourhood import patch_table, patch_values
from lattgnn.nn.energy_head import energy_and_forces
from lattgnn.nn.force_network import ForceNetwork, cells_reached
from lattgnn.symmetry import clebsch_gordan


class ReferenceInvariants(nn.Module):
    r"""Invariants of a patch: power spectrum, phases to a reference, bispectrum of the references.

    The reference r of each irrep is its first copy in the first shell with as many sites as the point group
    has operations (8 on the square lattice), where all irreps occur. With soft(v) = √(1 + |v|²) and
    r̂ = r/soft(r), the invariants are

    - each trivial irrep itself;
    - the amplitude soft(f) − 1 of each other irrep (power spectrum);
    - its phase f · r̂ to the reference of its kind: a sign for singlets, a cosine for doublets, times |f|;
    - the couplings of three references, C(r̂_a, r̂_b) · r_c, where they do not vanish (bispectrum).

    Published are signs and cosines, f · r/|r|: undefined where a reference vanishes, as it does at every site
    of a uniform field or of a perfect charge-density wave, and discontinuous around it. The products with r̂
    agree with them for |r| ≫ 1 and are smooth everywhere, so that the energy has a gradient.

    Args:
        decomposition: Of the patch whose irreps shall be described.
    """

    def __init__(self, decomposition: PatchDecomposition):
        super().__init__()
        order = decomposition.irreps[0].group.order
        if order not in decomposition.shell_sizes:
            raise InputError(
                f"cutoff must reach a shell of {order} sites, the reference of all irreps, got shells of"
                f" {decomposition.shell_sizes}. Use a larger cutoff."
            )
        n_trivial, *others = decomposition.copies
        self.n_invariants = n_trivial + sum(2 * n - 1 for n in others)
        shell = decomposition.shell_sizes.index(order)
        self.reference = [shells.index(shell) for shells in decomposition.shells]
        self.triples: list[tuple[int, ...]] = []
        self.couplings = nn.ModuleList()
        for triple in combinations_with_replacement(range(1, len(decomposition.irreps)), 3):
            a, b, c = (decomposition.irreps[kind] for kind in triple)
            # Antisymmetric ones vanish between copies of one reference: tried on generic components.
            u, v, w = (np.cos(np.arange(1.0, irrep.dim + 1)) for irrep in (a, b, c))
            tensors = [t for t in clebsch_gordan(a, b, c) if abs(w @ (t @ v) @ u) > 1e-9]
            if tensors:
                self.triples.append(triple)
                self.couplings.append(Constant(np.stack(tensors)))
                self.n_invariants += len(tensors)

    def forward(
        self, f: list[Float[Tensor, "n_sites batch _ _"]]
    ) -> Float[Tensor, "n_sites batch n_invariants"]:
        """All invariants of the copies and components of each irrep."""
        references = [v[..., k, :] for v, k in zip(f, self.reference, strict=True)]
        units = [r / _soft(r).unsqueeze(-1) for r in references]
        found = [f[0].squeeze(-1)]
        for v, unit, k in list(zip(f, units, self.reference, strict=True))[1:]:
            phases = (v * unit.unsqueeze(-2)).sum(-1)
            found += [_soft(v) - 1, phases[..., :k], phases[..., k + 1 :]]
        for (a, b, c), coupling in zip(self.triples, self.couplings, strict=True):
            both = units[a].unsqueeze(-1) * units[b].unsqueeze(-2)
            found.append(torch.einsum("kcij,nbij,nbc->nbk", coupling(), both, references[c]))
        return torch.cat(found, dim=-1)


class BehlerParrinello(ForceNetwork):
    r"""Site energies from invariants of the 45 sites around, E = Σ_i e(invariants of i) and F = −∂E/∂Q.

    The hidden layers are those of arXiv:2603.02039, where a network on such invariants is the comparison:
    eight linear maps, 10.8 million parameters. There it gives the force directly, with ReLU; here the energy,
    as Behler and Parrinello have it, with SiLU, since the force is its gradient. Any lattice with one site a
    cell will do. The published network has no bound on the force; ``force_bound`` is ignored.

    Args:
        lattice: The lattice, of any extent, periodic.
        force_bound: Not used.
        cutoff: Radius of the patch; √13 holds 45 sites of the square lattice.
        channels: Widths of the hidden layers.
        field_scale: Field that enters as 1; below it the references fade out.

    Reference:
        J. Behler and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007); P. Zhang, S. Zhang and G.-W. Chern,
        arXiv:2201.00798 (2022), for the invariants; arXiv:2303.03463 (2023) for the Holstein model.
    """

    conservative = True

    def __init__(
        self,
        lattice: Lattice,
        force_bound: float | None = None,
        cutoff: float = math.sqrt(13),
        channels: Sequence[int] = (4096, 2048, 750, 592, 256, 127, 69),
        field_scale: float = 1.0,
    ):
        super().__init__()
        self.cutoff, self.field_scale = cutoff, checked_scale(field_scale)
        channels = checked_channels(channels)
        self.hyperparameters = dict(
            force_bound=force_bound, cutoff=cutoff, channels=channels, field_scale=field_scale
        )
        self.decomposition = PatchDecomposition(lattice, cutoff)
        self.invariants = ReferenceInvariants(self.decomposition)
        self.site_energy = mlp((self.invariants.n_invariants, *channels, 1), nn.SiLU)
        self.reach = cells_reached(lattice, cutoff)

    def graph(self, lattice: Lattice) -> Int[Tensor, "n_sites n_patch"]:
        """The sites of the patch around each site of ``lattice``, on this network's device."""
        return patch_table(lattice, self.cutoff, next(self.parameters()).device)

    def forward(
        self, field: Float[Tensor, "batch n_sites"], graph: Int[Tensor, "n_sites n_patch"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch n_sites"]]:
        """Electronic energy and force."""
        return energy_and_forces(lambda q: self.site_energies(q, graph).sum(1), field)

    def site_energies(
        self, field: Float[Tensor, "batch n_sites"], graph: Int[Tensor, "n_sites n_patch"]
    ) -> Float[Tensor, "batch n_sites"]:
        """The energies of sites, whose sum is the electronic energy."""
        f = self.decomposition(patch_values(field, graph) / self.field_scale)
        return self.site_energy(self.invariants(f)).squeeze(-1).T


def _soft(v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    return torch.sqrt(1 + v.square().sum(-1))
