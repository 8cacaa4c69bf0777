"""A Behler–Parrinello network for lattices: site energies from invariants of a patch."""

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.errors import InputError
from lattgnn.graph import LatticeGraph
from lattgnn.lattice import Lattice
from lattgnn.nn.baselines.dense_layers import (
    SCALAR_FIELD,
    checked_channels,
    checked_scalar,
    checked_scale,
    mlp,
)
from lattgnn.nn.baselines.irreps_network import Constant, PatchDecomposition
from lattgnn.nn.baselines.site_patch import check_periodic, patch_table, patch_values
from lattgnn.nn.energy_head import energy_and_forces
from lattgnn.nn.force_network import ForceNetwork, bond_length, cells_spanned
from lattgnn.symmetry import FieldType, clebsch_gordan


class ReferenceInvariants(nn.Module):
    """Invariants of a patch: power spectrum, phases to a reference, bispectrum of the references.

    The reference r of each irrep is its first copy in the first shell with as many sites as the
    point group has operations (8 on the square lattice), where all irreps occur. With soft(v) = √(1
    + |v|²) and r̂ = r/soft(r), the invariants are

    - each trivial irrep itself;
    - the amplitude soft(f) − 1 of each other irrep (power spectrum);
    - its phase f · r̂ relative to the reference of the same irrep: a sign for singlets, a cosine
      for doublets, times |f|;
    - the couplings of three references, C(r̂_a, r̂_b) · r_c, unless they vanish identically
      (bispectrum).

    The published invariants are signs and cosines, f · r/|r|. These are undefined where a reference
    vanishes, as it does at every site of a uniform field or of a perfect charge-density wave, and
    discontinuous nearby. The products with r̂ agree with them for |r| ≫ 1 and are smooth
    everywhere, so that the energy has a gradient.

    Args:
        decomposition: Decomposition of the patch into irreps.
    """

    def __init__(self, decomposition: PatchDecomposition):
        super().__init__()
        order = decomposition.irreps[0].group.order
        if order not in decomposition.shell_sizes:
            raise InputError(
                f"cutoff must include a shell of {order} sites, the reference of all irreps, got "
                f"shells of {decomposition.shell_sizes}. Use a larger cutoff."
            )
        n_trivial, *others = decomposition.copies
        self.n_invariants = n_trivial + sum(2 * n - 1 for n in others)
        shell = decomposition.shell_sizes.index(order)
        self.reference = [shells.index(shell) for shells in decomposition.shells]
        self.triples: list[tuple[int, ...]] = []
        self.couplings = nn.ModuleList()
        for triple in combinations_with_replacement(range(1, len(decomposition.irreps)), 3):
            a, b, c = (decomposition.irreps[kind] for kind in triple)
            # Antisymmetric couplings vanish if a reference occurs twice in the triple. Generic
            # components show which ones do.
            u, v, w = (np.cos(np.arange(1.0, irrep.dim + 1)) for irrep in (a, b, c))
            tensors = [t for t in clebsch_gordan(a, b, c) if abs(w @ (t @ v) @ u) > 1e-9]
            if tensors:
                self.triples.append(triple)
                self.couplings.append(Constant(np.stack(tensors)))
                self.n_invariants += len(tensors)

    def forward(
        self, f: list[Float[Tensor, "n_sites batch _ _"]]
    ) -> Float[Tensor, "n_sites batch n_invariants"]:
        """All invariants, computed from the copies and components of each irrep."""
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
    """Site energies from invariants of the patch around a site, E = Σ_i e_i and F = −∂E/∂Q.

    The hidden layers are those of the comparison network in arXiv:2603.02039: eight linear maps
    with 10.8 million parameters. That network gives the force directly and uses ReLU. This one
    gives the energy, as in Behler and Parrinello's method, and uses SiLU, since the force is its
    gradient. Any lattice with one site per cell can be used. The published network has no bound on
    the force; the bound of ``field_type`` is ignored.

    Args:
        lattice: The periodic lattice, of any extent.
        field_type: Must be one scalar per site; its bound is not used.
        cutoff: Radius of the patch, in units of the nearest-neighbor distance; with √13 it holds 45
            sites of the square lattice.
        channels: Widths of the hidden layers.
        field_scale: Value of the field that enters as 1; the references fade out below it.

    Reference:
        J. Behler and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007); P. Zhang, S. Zhang and
        G.-W. Chern, arXiv:2201.00798 (2022), for the invariants; arXiv:2303.03463 (2023) for the
        Holstein model.
    """

    conservative = True

    def __init__(
        self,
        lattice: Lattice,
        field_type: FieldType = SCALAR_FIELD,
        cutoff: float = math.sqrt(13),
        channels: Sequence[int] = (4096, 2048, 750, 592, 256, 127, 69),
        field_scale: float = 1.0,
    ):
        super().__init__()
        self.field_scale = checked_scale(field_scale)
        self.patch_radius = bond_length(lattice, cutoff)
        # The patch may be wider than the lattice, so the graph only needs nearest-neighbor bonds.
        self.cutoff = lattice.neighbor_distance
        channels = checked_channels(channels)
        self.field_type = checked_scalar(field_type)
        self.hyperparameters = dict(
            field_type=field_type, cutoff=cutoff, channels=channels, field_scale=field_scale
        )
        self.decomposition = PatchDecomposition(lattice, self.patch_radius)
        self.invariants = ReferenceInvariants(self.decomposition)
        self.site_energy = mlp((self.invariants.n_invariants, *channels, 1), nn.SiLU)
        self.receptive_field = cells_spanned(lattice, self.patch_radius)

    def graph(self, lattice: Lattice) -> LatticeGraph:
        """The graph of a lattice, in this network's dtype and on its device."""
        check_periodic(lattice)
        return super().graph(lattice)

    def forward(
        self, field: Float[Tensor, "batch n_sites"], graph: LatticeGraph
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch n_sites"]]:
        """Electronic energy and force."""
        return energy_and_forces(lambda q: self.site_energies(q, graph).sum(1), field)

    def site_energies(
        self, field: Float[Tensor, "batch n_sites"], graph: LatticeGraph
    ) -> Float[Tensor, "batch n_sites"]:
        """The energy of each site; the electronic energy is their sum."""
        f = self.decomposition(
            patch_values(field, patch_table(graph, self.patch_radius)) / self.field_scale
        )
        return self.site_energy(self.invariants(f)).squeeze(-1).T

    def energy_constants(self) -> list[Tensor]:
        """The bias of the last layer."""
        bias = self.site_energy[-1].bias
        assert isinstance(bias, nn.Parameter)
        return [bias]


def _soft(v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    return torch.sqrt(1 + v.square().sum(-1))
