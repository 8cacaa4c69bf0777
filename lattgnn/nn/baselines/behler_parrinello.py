"""A Behler–Parrinello network for lattices: invariants of the surroundings, site energies, their gradient."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lattgnn.lattice import Lattice
from lattgnn.nn.baselines.d4 import D4Channels, D4Decomposition, square_patch
from lattgnn.nn.baselines.layers import checked_channels, mlp
from lattgnn.nn.baselines.neighbourhood import patch_table, patch_values
from lattgnn.nn.energy_head import energy_and_forces
from lattgnn.nn.force_network import ForceNetwork


class ReferenceInvariants(nn.Module):
    r"""Invariants of D4: power spectrum, phases relative to a reference irrep, bispectrum of the references.

    The reference of each irrep is its copy in the first shell of 8 sites, where all irreps occur. With
    soft(v) = √(1 + v²) and r̂ = r/soft(r),

    - each A1 itself;
    - each other irrep's amplitude, soft(f) − 1 (power spectrum);
    - each other irrep's phase, f · r̂ with r the reference of its kind (signed for singlets, a cosine times
      the length for doublets);
    - the references among themselves, r̂_A2 r̂_B1 r̂_B2 and each singlet with the doublet (bispectrum), and the
      doublet with itself in fourth order.

    Published are signs and cosines, r/|r|: undefined where a reference vanishes, as it does at every site of a
    uniform field or of a perfect charge-density wave, and discontinuous around it. Products with r̂ agree with
    them for |r| ≫ 1 and are smooth everywhere, so that the energy has a gradient.

    Args:
        decomposition: Of the patch whose irreps shall be described.
    """

    def __init__(self, decomposition: D4Decomposition):
        super().__init__()
        if not decomposition.shells[1]:
            raise ValueError(
                "cutoff must reach a shell of 8 sites, the reference of all irreps, got a smaller one."
                " Use 2.3 or more."
            )
        shell = decomposition.shells[1][0]
        self.reference = [shells.index(shell) for shells in decomposition.shells]
        a1, *others = decomposition.copies
        self.n_invariants = a1 + sum(others) + sum(n - 1 for n in others) + 5

    def forward(self, f: D4Channels) -> Float[Tensor, "n_sites batch n_invariants"]:
        """All invariants."""
        a2, b1, b2, x, y = (v[..., k : k + 1] for v, k in zip(f[1:], self.reference[1:], strict=True))
        length = _soft(x * x + y * y)
        unit = [v / _soft(v * v) for v in (a2, b1, b2)]
        ex, ey = x / length, y / length
        amplitudes = [_soft(v * v) - 1 for v in f[1:4]] + [_soft(f.x * f.x + f.y * f.y) - 1]
        phases = [v * r for v, r in zip(f[1:4], unit, strict=True)] + [f.x * ex + f.y * ey]
        phases = [_without(v, k) for v, k in zip(phases, self.reference[1:], strict=False)]
        e_b1, e_b2 = ex * ex - ey * ey, 2 * ex * ey
        bispectrum = [a2 * unit[1] * unit[2], a2 * e_b1 * e_b2, b1 * e_b1, b2 * e_b2, length * e_b1 * e_b1]
        return torch.cat([f.a1, *amplitudes, *phases, *bispectrum], dim=-1)


class BehlerParrinello(ForceNetwork):
    r"""Site energies from invariants of the 45 sites around, E = Σ_i e(invariants of i) and F = −∂E/∂Q.

    The hidden layers are the published ones of 2603.02039, where a network of this kind serves as comparison: eight
    linear maps, 10.8 million parameters. There it gives the force directly, with ReLU; here the energy, as
    Behler and Parrinello have it, with SiLU, since the force is its gradient. The published network has no bound on
    the force; ``force_bound`` is ignored.

    Args:
        lattice: A square lattice, of any extent, periodic.
        force_bound: Not used.
        cutoff: Radius of the patch; √13 holds 45 sites.
        channels: Widths of the hidden layers.
        field_scale: Field that enters as 1; below it the references fade out.

    Reference:
        J. Behler and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007); P. Zhang, S. Zhang and G.-W. Chern,
        arXiv:2201.00798 (2022); C. Cheng, S. Zhang and G.-W. Chern, arXiv:2303.03463 (2023), for the Holstein
        model.
    """

    def __init__(
        self,
        lattice: Lattice,
        force_bound: float | None = None,
        cutoff: float = math.sqrt(13),
        channels: Sequence[int] = (4096, 2048, 750, 592, 256, 127, 69),
        field_scale: float = 1.0,
    ):
        super().__init__()
        channels = checked_channels(channels)
        if not field_scale > 0:
            raise ValueError(f"field_scale must be positive, got {field_scale!r}. Use 1.0.")
        self.hyperparameters = dict(
            force_bound=force_bound, cutoff=cutoff, channels=channels, field_scale=field_scale
        )
        self.cutoff, self.field_scale = cutoff, field_scale
        self.decomposition = D4Decomposition(square_patch(lattice, cutoff))
        self.invariants = ReferenceInvariants(self.decomposition)
        self.site_energy = mlp((self.invariants.n_invariants, *channels, 1), nn.SiLU)

    def graph(self, lattice: Lattice) -> Int[Tensor, "n_sites n_patch"]:
        """The sites of the patch around each site of ``lattice``, on this network's device."""
        return patch_table(lattice, self.cutoff, next(self.parameters()).device)

    def forward(
        self, field: Float[Tensor, "batch n_sites"], graph: Int[Tensor, "n_sites n_patch"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch n_sites"]]:
        """Electronic energy and force."""

        def energy_of(field: Tensor) -> Tensor:
            channels = self.decomposition(patch_values(field, graph) / self.field_scale)
            return self.site_energy(self.invariants(channels)).squeeze(-1).sum(0)

        return energy_and_forces(energy_of, field)


def _soft(square: Tensor) -> Tensor:
    return torch.sqrt(1 + square)


def _without(v: Tensor, k: int) -> Tensor:
    """All channels but the k-th."""
    return torch.cat([v[..., :k], v[..., k + 1 :]], dim=-1)
