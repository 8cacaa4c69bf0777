"""The orbit message-passing network: a scalar field in, the electrons' force on it out."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.graph import OrbitMatrices, orbit_matrices
from lattgnn.lattice import Lattice, bond_orbits
from lattgnn.nn.force_network import ForceNetwork
from lattgnn.nn.orbit_conv import OrbitConv

# Widths in units of the field: from the thermal step kT/g of one site to the whole range of a quench.
STEPS = (0.15, 0.3, 0.5, 0.8, 1.3, 2.0, 3.5, 5.0)
BUMPS = (0.15, 0.3, 0.5, 0.8, 1.2, 2.0, 4.0)


class ScalarBasis(nn.Module):
    """Fixed functions of the local field: tanh(Q/s), exp(−Q²/2s²) and Q/s_max.

    A site switches from empty to filled within a narrow range of Q; a network that sees only Q has to build
    that step from its weights. Steps and bumps of several widths spare it that.

    Args:
        steps: Widths s of tanh(Q/s), in units of the field.
        bumps: Widths s of exp(−Q²/2s²).
    """

    steps: Tensor
    bumps: Tensor

    def __init__(self, steps: Sequence[float] = STEPS, bumps: Sequence[float] = BUMPS):
        super().__init__()
        # Persistent: a checkpoint keeps the widths that it was fitted with.
        self.register_buffer("steps", torch.tensor(steps))
        self.register_buffer("bumps", torch.tensor(bumps))
        self.n_channels = len(steps) + len(bumps) + 1

    def forward(self, field: Float[Tensor, "n_sites batch"]) -> Float[Tensor, "n_sites batch channels"]:
        """Evaluate all functions at each site."""
        q = field.unsqueeze(-1)
        scaled = q / self.bumps
        return torch.cat(
            [torch.tanh(q / self.steps), q / self.steps.max(), torch.exp(-0.5 * scaled * scaled)], dim=-1
        )


class ResidualBlock(nn.Module):
    """x + W SiLU(OrbitConv(x)): what the next shells say, mixed into each site."""

    def __init__(self, channels: int, multiplicities: tuple[int, ...]):
        super().__init__()
        self.conv = OrbitConv(channels, channels, multiplicities)
        self.mix = nn.Linear(channels, channels)

    def forward(self, x: Tensor, graph: OrbitMatrices) -> Tensor:
        """Apply the block to ``x`` [n_sites, batch, channels]."""
        return x + self.mix(nn.functional.silu(self.conv(x, graph)))


class OrbitNetwork(ForceNetwork):
    r"""Equivariant network for one scalar a site, built from sums over orbits of bonds.

    Direct head: F_i = b tanh(y_i), with b the Hamiltonian's bound on the electronic force (Holstein: g/2,
    since 0 ≤ n ≤ 1). Energy head: :math:`E = \sum_i y_i - b \sqrt{Q_i^2 + 1}` and F = −∂E/∂Q, conservative
    by construction; the second term is the energy of a site that is fully filled or empty, so the force
    tends to ±b for large fields, where the basis functions saturate.

    Only the electronic part is learned; the elastic part is exact and belongs to the Hamiltonian.

    Args:
        lattice: Fixes the orbits of bonds. Any extent: the parameters fit every extent of the same lattice.
        force_bound: Largest electronic force on a site, b; None leaves the output unbounded.
        cutoff: Longest bond, in units of the nearest-neighbour distance.
        channels: Width of the network.
        n_layers: Orbit convolutions; information travels n_layers × cutoff.
        conservative: Energy head instead of the direct head.
        odd: Make the force exactly odd under Q → −Q (particle–hole symmetry, μ = 0 on a bipartite lattice)
            by antisymmetrising; twice the cost.

    Reference:
        Graph version of Fan and Chern, arXiv 2603.02039 and 2601.04104; there with the nearest-neighbour
        shell alone and without input basis, bound or energy head.
    """

    def __init__(
        self,
        lattice: Lattice,
        force_bound: float | None = None,
        cutoff: float = 1.5,
        channels: int = 16,
        n_layers: int = 2,
        conservative: bool = False,
        odd: bool = False,
    ):
        super().__init__()
        if channels < 1 or n_layers < 1:
            raise ValueError(
                f"channels and n_layers must be at least 1, got {channels} and {n_layers}. Use 16 and 2."
            )
        if odd and not lattice.is_bipartite:
            raise ValueError(
                f"odd=True needs a bipartite lattice, got {lattice.name!r}, which is not. Use odd=False."
            )
        self.force_bound, self.cutoff, self.conservative, self.odd = force_bound, cutoff, conservative, odd
        self.hyperparameters = dict(
            force_bound=force_bound,
            cutoff=cutoff,
            channels=channels,
            n_layers=n_layers,
            conservative=conservative,
            odd=odd,
        )
        orbits = bond_orbits(lattice, cutoff).orbits
        multiplicities = tuple(orbit.multiplicity for orbit in orbits)
        self.basis = ScalarBasis()
        self.embed = nn.Sequential(
            nn.Linear(self.basis.n_channels, channels), nn.SiLU(), nn.Linear(channels, channels)
        )
        self.blocks = nn.ModuleList(ResidualBlock(channels, multiplicities) for _ in range(n_layers))
        self.readout = nn.Sequential(nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, 1))

    def graph(self, lattice: Lattice) -> OrbitMatrices:
        """The orbit matrices of ``lattice`` in this network's dtype and on its device."""
        parameter = next(self.parameters())
        return orbit_matrices(lattice, self.cutoff, parameter.dtype, parameter.device)

    def site_outputs(
        self, field: Float[Tensor, "n_sites batch"], graph: OrbitMatrices
    ) -> Float[Tensor, "n_sites batch"]:
        """The raw scalar y_i of each site."""
        x = self.embed(self.basis(field))
        for block in self.blocks:
            x = block(x, graph)
        return self.readout(x).squeeze(-1)

    def forward(
        self, field: Float[Tensor, "batch n_sites"], graph: OrbitMatrices
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch n_sites"]]:
        """Electronic energy (None for a direct head) and electronic force.

        Args:
            field: Displacements, in the network's dtype.
            graph: From :meth:`graph`, for the lattice of the field.

        Returns:
            Energy of each sample and forces −∂E/∂Q. With an energy head they carry a graph back to the
            parameters
            only where grad mode is on.
        """
        if self.conservative:
            return self._energy_and_force(field, graph)
        return None, self._direct_force(field, graph)

    def _direct_force(self, field: Tensor, graph: OrbitMatrices) -> Tensor:
        inputs = torch.cat([field, -field]) if self.odd else field
        y = self.site_outputs(inputs.T, graph).T
        if self.odd:
            plus, minus = y.chunk(2)
            y = 0.5 * (plus - minus)
        return y if self.force_bound is None else self.force_bound * torch.tanh(y)

    def _energy_and_force(self, field: Tensor, graph: OrbitMatrices) -> tuple[Tensor, Tensor]:
        training = torch.is_grad_enabled()
        with torch.enable_grad():
            q = field.detach().requires_grad_(True)
            inputs = torch.cat([q, -q]) if self.odd else q
            energies = self.site_outputs(inputs.T, graph).sum(0)
            if self.odd:
                energies = 0.5 * (energies[: len(q)] + energies[len(q) :])
            saturated = 0.0 if self.force_bound is None else self.force_bound * torch.sqrt(q * q + 1).sum(-1)
            energy = energies - saturated
            (gradient,) = torch.autograd.grad(energy.sum(), q, create_graph=training)
        return (energy, -gradient) if training else (energy.detach(), -gradient)
