"""The orbit message-passing network, from a field to the electronic force on it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from lattgnn.errors import InputError
from lattgnn.graph import LatticeGraph
from lattgnn.lattice import Lattice
from lattgnn.nn.energy_head import energy_and_forces
from lattgnn.nn.features import EVEN, ODD, SPIN, Features, features, scalars
from lattgnn.nn.field_basis import FieldBasis, field_blocks
from lattgnn.nn.force_network import ForceNetwork, bond_length, cells_spanned
from lattgnn.nn.kernel_operators import in_site_order
from lattgnn.nn.nonlinear_layer import NonlinearLayer
from lattgnn.nn.nonlinearities import Kind
from lattgnn.nn.orbit_conv import OrbitConv
from lattgnn.nn.spin_basis import SpinBasis, tangent_part
from lattgnn.symmetry import FieldType, field_representation


@dataclass(frozen=True)
class HiddenChannels:
    """The channels between the layers of an `OrbitNetwork`.

    Args:
        channels: Number of copies of ``representation`` on each site.
        representation: Representation of one copy, such as "trivial", "regular" or "A1 + B1 + E";
            one text for all classes of equivalent sites, or one text per class.
        nonlinearity: "gate", "norm", "square" or "product"; see `lattgnn.nn.nonlinearities`.
        odd: Whether to make the force exactly odd under Q → −Q (particle–hole symmetry at μ = 0 on
            a bipartite lattice). Half of the channels are then odd and half even.
        spin_channels: Number of additional copies that rotate with all spins, or, if a term couples
            spin and space, change sign with them. Only networks of spins have them.
    """

    channels: int = 16
    representation: str | list[str] | tuple[str, ...] = "trivial"
    nonlinearity: Kind = "gate"
    odd: bool = False
    spin_channels: int = 8

    def check(self, lattice: Lattice, field_type: FieldType) -> None:
        """Refuse channels that do not fit the field or the lattice.

        Raises:
            InputError: If there are too few channels, or if they cannot be odd.
        """
        if self.channels < 1 + self.odd:
            raise InputError(
                f"channels must be at least {1 + self.odd}, got {self.channels}. Use channels=16."
            )
        if self.odd and not lattice.is_bipartite:
            raise InputError(
                f"odd=True needs a bipartite lattice, got {lattice.name!r}, which is not. Use "
                "odd=False."
            )
        if field_type.reversed_by:
            raise InputError(
                f"{field_type.reversed_by} must be 0 for a network of spins, whose energy does not"
                " change under S → −S. Use an exact force field."
            )
        if field_type.is_spin and self.odd:
            raise InputError(
                "odd must be false for spins: S → −S is a symmetry of their network already."
            )
        if field_type.is_spin and self.spin_channels < 1:
            raise InputError(
                f"spin_channels must be at least 1, got {self.spin_channels}. Use spin_channels=8."
            )

    def blocks(self, lattice: Lattice, field_type: FieldType) -> Features:
        """The blocks of these channels on each class of sites."""
        if field_type.is_spin:
            # Spins that turn with the lattice are odd under S → −S, and nothing else is left.
            others, internal = self.spin_channels, ODD if field_type.coupled_by else SPIN
        else:
            others, internal = (self.channels // 2 if self.odd else 0), ODD
        even = self.channels - (others if self.odd else 0)
        return features(lattice, self.representation, even, others, internal)


class OrbitNetwork(ForceNetwork):
    r"""Equivariant network on the orbits of bonds, for any lattice, point group and field.

    Each site carries copies of a representation (:class:`HiddenChannels`): "trivial" gives a
    network of orbit sums, "regular" the group convolution, and irreps such as "A1 + B1 + E" a
    steerable network. The layers x + W φ(OrbitConv(x)) lie between a first layer that reads the
    field (:class:`FieldBasis`) and a last layer that returns the force or energy.

    The direct head of a scalar field is F_i = b tanh(y_i), where b is the Hamiltonian's bound on
    the electronic force (Holstein: g/2, since 0 ≤ n ≤ 1). For components that mix under a symmetry
    it is F = y / √(1 + |y|²/b²). The energy head is :math:`E = \sum_i y_i - b \sqrt{|Q_i|^2 + 1}`
    and F = −∂E/∂Q, conservative by construction. The second term is the energy of a site that is
    completely filled or empty. With it, the force tends to ±b for large fields, where the basis
    functions saturate.

    Spins are read by :class:`SpinBasis`, and in addition to invariant channels there are channels
    that rotate with all spins. Rotations of spin space are independent of the space group. S → −S,
    time reversal, leaves the energy unchanged. The energy is :math:`E = \sum_i y_i + \tfrac12 (1 -
    |S_i|^2) z_i - b \sqrt{|S_i|^2 + 1}`, where y and z are functions of the directions of the
    spins. At unit length, y determines the part of −∂E/∂S that is tangent to the sphere, and z the
    part along S.

    If a term couples spin and space (`FieldType.coupled_by`), spins are axial vectors that turn
    with the lattice. They are then read by :class:`FieldBasis`, and the channels beside the
    invariant ones are odd under S → −S. The hidden representation must be able to hold directions:
    "regular" or a sum of irreps.

    Only the electronic part is learned. The elastic part is exact and belongs to the Hamiltonian.

    Args:
        lattice: Determines the orbits of bonds. The parameters fit every extent of the same
            lattice.
        field_type: Kind of the field, from the Hamiltonian: how it transforms, whether it is a
            spin, and the bound b of the electronic force (None leaves the output unbounded).
        cutoff: Longest bond, in units of the nearest-neighbor distance.
        n_layers: Number of orbit convolutions. Information travels n_layers × cutoff, plus one bond
            if the field can only be read, or the force only returned, along bonds.
        hidden: The channels between the layers.
        conservative: Whether to use the energy head instead of the direct head.
        tangent: Whether to return only the part of the effective field that is tangent to the
            sphere of each spin, which is the part that moves it.
        field_scale: Unit of the widths of the input functions: 1 for fields of order one to five.

    Raises:
        InputError: If an argument does not fit the lattice or the field.

    Reference:
        Graph version of Fan and Chern, arXiv 2603.02039 and 2601.04104, whose networks use only the
        nearest-neighbor shell and have no input basis, bound or energy head. Steerable kernels: M.
        Weiler and G. Cesa, NeurIPS 2019, arXiv 1911.08251.
    """

    def __init__(
        self,
        lattice: Lattice,
        field_type: FieldType,
        cutoff: float = 1.5,
        n_layers: int = 2,
        hidden: HiddenChannels = HiddenChannels(),
        conservative: bool = False,
        tangent: bool = False,
        field_scale: float = 1.0,
    ):
        super().__init__()
        hidden.check(lattice, field_type)
        _check(n_layers, field_scale, tangent and not field_type.is_spin)
        self.field_type, self.hidden = field_type, hidden
        self.cutoff = bond_length(lattice, cutoff)
        self.conservative, self.tangent = conservative, tangent
        self.hyperparameters = dict(
            field_type=field_type,
            cutoff=cutoff,
            n_layers=n_layers,
            hidden=hidden,
            conservative=conservative,
            tangent=tangent,
            field_scale=field_scale,
        )
        representation = field_representation(lattice.cell, field_type.representation)
        self.is_scalar = representation.is_scalar
        if field_type.is_spin and not field_type.coupled_by:
            self.basis = SpinBasis(lattice, self.cutoff)
            forces = scalars(lattice, 1, SPIN)
        else:
            odd = hidden.odd or field_type.is_spin
            self.basis = FieldBasis(lattice, representation, field_scale, odd)
            forces = field_blocks(representation, internal=ODD if odd else EVEN)
        energies = scalars(lattice, 2 if field_type.is_spin and not tangent else 1)
        outputs = energies if conservative else forces
        width, kind = hidden.blocks(lattice, field_type), hidden.nonlinearity
        self.embed = self._layer(lattice, self.basis.outputs, width, width, kind)
        self.blocks = nn.ModuleList(
            NonlinearLayer(lattice, width, width, width, self.cutoff, kind) for _ in range(n_layers)
        )
        self.readout = self._layer(lattice, width, width, outputs, kind)
        self._check_channels()
        convolutions = [module for module in self.modules() if isinstance(module, OrbitConv)]
        n_hops = sum(conv.cutoff is not None for conv in convolutions)
        n_hops += isinstance(self.basis, SpinBasis)
        self.receptive_field = cells_spanned(lattice, self.cutoff, n_hops)

    def site_outputs(
        self, field: Float[Tensor, "batch n_sites *components"], graph: LatticeGraph
    ) -> list[Float[Tensor, "_rows _batch _outputs"]]:
        """The raw outputs y of each site.

        They are the blocks of the force, or the energy (for spins, y and z).
        """
        first_order = not self.conservative
        if self.field_type.coupled_by:
            field = normalize(field, dim=-1)  # the outputs are functions of directions
        x = self.embed(self.basis(field, graph), graph, first_order=first_order)
        for block in self.blocks:
            x = block(x, graph, residual=True, first_order=first_order)
        return self.readout(x, graph, first_order=first_order)

    def forward(
        self, field: Float[Tensor, "batch n_sites *components"], graph: LatticeGraph
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch n_sites *components"]]:
        """Electronic energy (None for a direct head) and electronic force.

        Args:
            field: The field in the network's dtype; a scalar field has no axis of components.
            graph: The result of :meth:`graph` for the lattice of the field.

        Returns:
            Energy of each sample and forces −∂E/∂field. With an energy head they are attached to
            the autograd graph of the parameters only if grad mode is on.
        """
        if self.conservative:
            return energy_and_forces(lambda q: self.site_energies(q, graph).sum(1), field)
        return None, self._direct_force(field, graph)

    def site_energies(
        self, field: Float[Tensor, "batch n_sites *components"], graph: LatticeGraph
    ) -> Float[Tensor, "batch n_sites"]:
        """The energy of each site; the electronic energy is their sum."""
        if not self.conservative:
            return super().site_energies(field, graph)
        outputs = self.site_outputs(field, graph)
        energies = in_site_order(graph, [y[..., 0].T for y in outputs], 1)
        if self.tangent:
            return energies
        square = _square(field.reshape(*field.shape[:2], -1)).squeeze(-1)
        if self.field_type.is_spin:
            # This term vanishes at unit length and only adds the effective field along the spin.
            along = in_site_order(graph, [y[..., 1].T for y in outputs], 1)
            energies = energies + 0.5 * (1 - square) * along
        bound = self.field_type.force_bound
        return energies if bound is None else energies - bound * torch.sqrt(square + 1)

    def energy_constants(self) -> list[Tensor]:
        """One for each class of sites."""
        return [b[:1] for b in self.readout.mix.biases.values()] if self.conservative else []

    def _layer(
        self, lattice: Lattice, inputs: Features, hidden: Features, outputs: Features, kind: Kind
    ) -> NonlinearLayer:
        """A layer on each site, or over bonds if on-site kernels cannot connect all blocks.

        Only the convolution that needs bonds uses them.
        """
        layer = NonlinearLayer(lattice, inputs, hidden, outputs, None, kind)
        whole = [conv.uses_all() and conv.reaches_all() for conv in (layer.conv, layer.mix)]
        ends = [None if complete else self.cutoff for complete in whole]
        if ends == [None, None]:
            return layer
        return NonlinearLayer(lattice, inputs, hidden, outputs, ends[0], kind, ends[1])

    def _check_channels(self) -> None:
        """Refuse hidden channels that no information can pass through."""
        if not (self.embed.conv.uses_all() and self.readout.mix.reaches_all()):
            term = self.field_type.coupled_by
            if term:
                raise InputError(
                    f"the term {term} turns spins with the lattice, so the representation of the "
                    "hidden channels must be able to hold directions, got "
                    f"{self.hidden.representation!r}. Use 'regular'."
                )
            raise InputError(
                "representation of the hidden channels must be one that bonds up to "
                f"cutoff={self.hyperparameters['cutoff']:g} "
                f"join with the field, {self.field_type.representation!r}, got "
                f"{self.hidden.representation!r}. Add 'vector' to it, or use a longer cutoff."
            )
        kind = self.hidden.nonlinearity
        if self.conservative and self.field_type.is_spin and kind not in ("square", "product"):
            raise InputError(
                f"nonlinearity must make invariants of spins for an energy, got {kind!r}. Use "
                "'square'."
            )

    def _direct_force(self, field: Tensor, graph: LatticeGraph) -> Tensor:
        y = self.basis.components.join(self.site_outputs(field, graph), graph)
        b = self.field_type.force_bound
        if b is not None:
            y = b * torch.tanh(y) if self.is_scalar else y * torch.rsqrt(1 + _square(y) / b**2)
        y = y.reshape(field.shape)
        return tangent_part(y, field) if self.tangent else y


def _square(x: Float[Tensor, "batch n_sites components"]) -> Float[Tensor, "batch n_sites 1"]:
    return x.square().sum(-1, keepdim=True)


def _check(n_layers: int, field_scale: float, is_tangent_without_spins: bool) -> None:
    if not 1 <= n_layers <= 1000:
        raise InputError(
            f"n_layers must be at least 1 and at most 1000, got {n_layers}. Use n_layers=2."
        )
    if not 0 < field_scale < float("inf"):
        raise InputError(f"field_scale must be positive and finite, got {field_scale!r}. Use 1.0.")
    if is_tangent_without_spins:
        raise InputError("tangent must be false for a field that is not a spin, got true.")
