"""The orbit message-passing network: any field in, the electrons' force on it out, on any lattice."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.nn.energy_head import energy_and_forces
from lattgnn.nn.features import EVEN, ODD, SPIN, Features, features, scalars
from lattgnn.nn.field_basis import FieldBasis, field_blocks
from lattgnn.nn.force_network import ForceNetwork, cells_reached
from lattgnn.nn.kernel_matrices import KernelGraph, kernel_graph
from lattgnn.nn.nonlinearities import Gate, Kind, nonlinearity
from lattgnn.nn.orbit_conv import OrbitConv
from lattgnn.nn.scalar_layer import plain_layer
from lattgnn.nn.spin_basis import SpinBasis, tangent_part
from lattgnn.symmetry import field_representation


class NonlinearLayer(nn.Module):
    """OrbitConv(nonlinearity(OrbitConv(x))): the first over bonds where asked, the second on each site.

    Args:
        lattice: Fixes the kernels; its extent plays no part.
        inputs: Blocks that come in.
        hidden: Blocks on which the nonlinearity acts.
        outputs: Blocks that go out.
        cutoff: Longest bond of the first convolution; None leaves it on each site.
        kind: The nonlinearity.
        last_cutoff: Longest bond of the second convolution.
    """

    def __init__(
        self,
        lattice: Lattice,
        inputs: Features,
        hidden: Features,
        outputs: Features,
        cutoff: float | None,
        kind: Kind,
        last_cutoff: float | None = None,
    ):
        super().__init__()
        self.nonlinearity = nonlinearity(kind, hidden)
        self.conv = OrbitConv(lattice, inputs, self.nonlinearity.inputs, cutoff)
        self.mix = OrbitConv(lattice, self.nonlinearity.outputs, outputs, last_cutoff)
        self.is_plain = (
            last_cutoff is None
            and isinstance(self.nonlinearity, Gate)
            and all(
                len(blocks) == 1 and blocks[0].is_invariant
                for blocks in (inputs, self.conv.outputs, outputs)
            )
        )
        """Whether it is SiLU of scalars on equivalent sites: then it can be one operation."""

    def forward(
        self, x: Sequence[Tensor], graph: KernelGraph, residual: bool = False, once: bool = False
    ) -> list[Tensor]:
        """Apply to the blocks ``inputs``, and add these if asked; `once`: no second derivative is needed."""
        if self.is_plain and once:
            conv, mix = self.conv, self.mix
            block = conv.inputs[0]
            sums = (
                None if conv.cutoff is None else graph.sums(block.type, (block.type,), conv.cutoff)
            )
            weights = (conv.weights["0"], conv.biases["0"], mix.weights["0"], mix.biases["0"])
            return [plain_layer(x[0], sums, weights, residual)]
        y = self.mix(self.nonlinearity(self.conv(x, graph)), graph)
        return [own + new for own, new in zip(x, y, strict=True)] if residual else y


class OrbitNetwork(ForceNetwork):
    r"""Equivariant network on the orbits of bonds, for any lattice, point group and field.

    Each site carries ``channels`` copies of the representation ``hidden``: "trivial" gives the network of
    orbit sums, "regular" the group convolution, irreps such as "A1 + B1 + E" the steerable network. Layers
    x + W φ(OrbitConv(x)) act between a layer that reads the field (:class:`FieldBasis`) and one that gives
    the force.

    Direct head, a scalar field: F_i = b tanh(y_i), with b the Hamiltonian's bound on the electronic force
    (Holstein: g/2, since 0 ≤ n ≤ 1); components that symmetry turns: F = y / √(1 + |y|²/b²). Energy head:
    :math:`E = \sum_i y_i - b \sqrt{|Q_i|^2 + 1}` and F = −∂E/∂Q, conservative by construction; the second
    term is the energy of a site that is fully filled or empty, so the force tends to ±b for large fields,
    where the basis functions saturate.

    Spins, ``internal="spin"``: :class:`SpinBasis` reads the field, and beside invariant channels there are
    ``spin_channels`` copies of ``hidden`` that turn with all spins. Rotations of spin space are a symmetry
    apart from the space group; S → −S, time reversal, leaves the energy alone. The energy is
    :math:`E = \sum_i y_i + \tfrac12 (1 - |S_i|^2) z_i - b \sqrt{|S_i|^2 + 1}`, with y and z functions of the
    directions of spins: of −∂E/∂S at unit length, y gives the part tangent to the sphere, z that along S.

    Only the electronic part is learned; the elastic part is exact and belongs to the Hamiltonian.

    Args:
        lattice: Fixes the orbits of bonds. Any extent: the parameters fit every extent of the same lattice.
        force_bound: Largest electronic force on a site, b; None leaves the output unbounded.
        cutoff: Longest bond, in units of the nearest-neighbour distance.
        channels: Width of the network, in copies of ``hidden``.
        n_layers: Orbit convolutions; information travels n_layers × cutoff (one further where the field or
            the hidden channels can only be read, or the force only be given, along bonds).
        conservative: Energy head instead of the direct head.
        odd: Make the force exactly odd under Q → −Q (particle–hole symmetry, μ = 0 on a bipartite lattice):
            half of the channels are odd under it, half even.
        field: How the field transforms, such as "trivial", "vector" or "B1 + A1"; must be what the
            Hamiltonian says.
        hidden: What a channel holds; one text for all classes of equivalent sites, or one for each.
        nonlinearity: "gate", "norm", "square" or "product", see `lattgnn.nn.nonlinearities`.
        field_scale: Unit of the widths of the input functions: 1 for fields of order one to five.
        internal: "spin" for a field of classical spins, "" for any other; must be what the Hamiltonian says.
        spin_channels: Copies of ``hidden`` that turn with all spins.
        tangent: Give the part of the effective field alone that is tangent to the sphere of each spin, the
            part that moves it.

    Reference:
        Graph version of Fan and Chern, arXiv 2603.02039 and 2601.04104; there with the nearest-neighbour
        shell alone and without input basis, bound or energy head. Steerable kernels: M. Weiler and G. Cesa,
        NeurIPS 2019, arXiv 1911.08251.
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
        field: str = "trivial",
        hidden: str | list[str] | tuple[str, ...] = "trivial",
        nonlinearity: Kind = "gate",
        field_scale: float = 1.0,
        internal: str = "",
        spin_channels: int = 8,
        tangent: bool = False,
    ):
        super().__init__()
        _check(lattice, channels, n_layers, odd, field_scale)
        if internal or tangent:
            _check_spins(field, internal, spin_channels, odd, tangent)
        self.force_bound, self.cutoff, self.conservative, self.odd = (
            force_bound,
            cutoff,
            conservative,
            odd,
        )
        self.field, self.internal, self.tangent = field, internal, tangent
        self.hyperparameters: dict[str, Any] = dict(
            force_bound=force_bound,
            cutoff=cutoff,
            channels=channels,
            n_layers=n_layers,
            conservative=conservative,
            odd=odd,
            field=field,
            hidden=hidden,
            nonlinearity=nonlinearity,
            field_scale=field_scale,
            internal=internal,
            spin_channels=spin_channels,
            tangent=tangent,
        )
        field_type = field_representation(lattice.cell, field)
        self.is_scalar = field_type.is_scalar
        if internal == "spin":
            self.basis = SpinBasis(lattice, cutoff)
            width = features(lattice, hidden, channels, spin_channels, SPIN)
            forces = scalars(lattice, 1, SPIN)
        else:
            self.basis = FieldBasis(lattice, field_type, field_scale, odd)
            width = features(lattice, hidden, channels - channels // 2 * odd, channels // 2 * odd)
            forces = field_blocks(field_type, internal=ODD if odd else EVEN)
        energies = scalars(lattice, 2 if internal == "spin" and not tangent else 1)
        outputs = energies if conservative else forces
        self.embed = self._layer(lattice, self.basis.outputs, width, width, nonlinearity)
        self.blocks = nn.ModuleList(
            NonlinearLayer(lattice, width, width, width, cutoff, nonlinearity)
            for _ in range(n_layers)
        )
        self.readout = self._layer(lattice, width, width, outputs, nonlinearity)
        if not (self.embed.conv.uses_all() and self.readout.mix.reaches_all()):
            raise InputError(
                f"hidden must have channels that bonds up to cutoff={cutoff:g} join with field={field!r}, "
                f"got {hidden!r}. Add 'vector' to hidden, or use a longer cutoff."
            )
        if conservative and internal and nonlinearity not in ("square", "product"):
            raise InputError(
                f"nonlinearity must make invariants of spins for an energy, got {nonlinearity!r}. "
                "Use 'square'."
            )
        convolutions = [module for module in self.modules() if isinstance(module, OrbitConv)]
        n_hops = sum(conv.cutoff is not None for conv in convolutions) + isinstance(
            self.basis, SpinBasis
        )
        self.reach = cells_reached(lattice, cutoff, n_hops)

    def graph(self, lattice: Lattice) -> KernelGraph:
        """The kernels on ``lattice`` in this network's dtype and on its device."""
        parameter = next(self.parameters())
        return kernel_graph(lattice, self.cutoff, parameter.dtype, parameter.device)

    def site_outputs(
        self, field: Float[Tensor, "batch n_sites *components"], graph: KernelGraph
    ) -> list[Float[Tensor, "_rows _batch _outputs"]]:
        """The raw outputs y of each site: blocks of the force, or the energy (of spins y and z)."""
        once = not self.conservative
        x = self.embed(self.basis(field, graph), graph, once=once)
        for block in self.blocks:
            x = block(x, graph, residual=True, once=once)
        return self.readout(x, graph, once=once)

    def forward(
        self, field: Float[Tensor, "batch n_sites *components"], graph: KernelGraph
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch n_sites *components"]]:
        """Electronic energy (None for a direct head) and electronic force.

        Args:
            field: In the network's dtype; a scalar one without an axis of components.
            graph: From :meth:`graph`, for the lattice of the field.

        Returns:
            Energy of each sample and forces −∂E/∂field. With an energy head they carry a graph back to the
            parameters only where grad mode is on.
        """
        if self.conservative:
            return energy_and_forces(lambda q: self.site_energies(q, graph).sum(1), field)
        return None, self._direct_force(field, graph)

    def site_energies(
        self, field: Float[Tensor, "batch n_sites *components"], graph: KernelGraph
    ) -> Float[Tensor, "batch n_sites"]:
        """The energies of sites, whose sum is the electronic energy."""
        if not self.conservative:
            return super().site_energies(field, graph)
        outputs = self.site_outputs(field, graph)
        energies = graph.in_order([y[..., 0].T for y in outputs], 1)
        if self.tangent:
            return energies
        square = _square(field.reshape(*field.shape[:2], -1)).squeeze(-1)
        if (
            self.internal == "spin"
        ):  # what only the length of a spin changes: no energy, but a field along it
            energies = energies + 0.5 * (1 - square) * graph.in_order(
                [y[..., 1].T for y in outputs], 1
            )
        if self.force_bound is None:
            return energies
        return energies - self.force_bound * torch.sqrt(square + 1)

    def _layer(
        self, lattice: Lattice, inputs: Features, hidden: Features, outputs: Features, kind: Kind
    ) -> NonlinearLayer:
        """A layer on each site, its ends over bonds where a site alone cannot join all blocks."""
        layer = NonlinearLayer(lattice, inputs, hidden, outputs, None, kind)
        whole = [conv.uses_all() and conv.reaches_all() for conv in (layer.conv, layer.mix)]
        ends = [None if complete else self.cutoff for complete in whole]
        return (
            layer
            if ends == [None, None]
            else NonlinearLayer(lattice, inputs, hidden, outputs, ends[0], kind, ends[1])
        )

    def _direct_force(self, field: Tensor, graph: KernelGraph) -> Tensor:
        y = self.basis.components.join(self.site_outputs(field, graph), graph)
        if self.force_bound is not None:
            b = self.force_bound
            y = b * torch.tanh(y) if self.is_scalar else y * torch.rsqrt(1 + _square(y) / b**2)
        y = y.reshape(field.shape)
        return tangent_part(y, field) if self.tangent else y


def _square(x: Float[Tensor, "batch n_sites components"]) -> Float[Tensor, "batch n_sites 1"]:
    return x.square().sum(-1, keepdim=True)


def _check(lattice: Lattice, channels: int, n_layers: int, odd: bool, field_scale: float) -> None:
    if channels < 1 + odd or n_layers < 1:
        raise InputError(
            f"channels and n_layers must be at least {1 + odd} and 1, got {channels} and {n_layers}. "
            "Use 16 and 2."
        )
    if odd and not lattice.is_bipartite:
        raise InputError(
            f"odd=True needs a bipartite lattice, got {lattice.name!r}, which is not. Use odd=False."
        )
    if not 0 < field_scale < float("inf"):
        raise InputError(f"field_scale must be positive and finite, got {field_scale!r}. Use 1.0.")


def _check_spins(field: str, internal: str, spin_channels: int, odd: bool, tangent: bool) -> None:
    if internal not in ("", "spin"):
        raise InputError(
            f"internal must be '' or 'spin', got {internal!r}. Use what the Hamiltonian says."
        )
    if tangent and not internal:
        raise InputError(
            "tangent must be false without spins, got true. Use internal='spin' with it."
        )
    if field != "3 trivial" or odd:
        raise InputError(
            f"spins must have field='3 trivial' and odd=False, got {field!r} and {odd}. Operations of the "
            "lattice leave spin space alone, and S → −S is among its symmetries already."
        )
    if spin_channels < 1:
        raise InputError(f"spin_channels must be at least 1, got {spin_channels}. Use 8.")
