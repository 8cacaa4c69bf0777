"""What kind of classical field a model has: one object that networks, dynamics and data read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from lattgnn.errors import InputError

# A number, or an array or tensor of them: only arithmetic is done here, so that no torch is needed.
Values = TypeVar("Values")


@dataclass(frozen=True)
class FieldType:
    """How the classical field transforms under symmetry, is sampled, and couples to the electrons.

    Args:
        representation: How space-group operations act on the components of one site, as
            `field_representation` reads it. "trivial" leaves the component alone (it still moves
            with its site), "vector" is a Cartesian vector, and a sum such as "B1 + A1" names
            irreps of the site group. The spin of an electron in the plane is an axial vector,
            "pseudovector + pseudoscalar".
        n_components: Components of the field on one site. 0 stands for one scalar per site without
            an axis of its own.
        is_spin: Whether the field is a classical spin: a unit vector in spin space, which rotates
            under a symmetry apart from the space group unless `coupled_by` names a term. Spins are
            sampled uniformly on the sphere and move on it (`lattgnn.dynamics.HeunLLG`); every other
            field is sampled from a normal distribution.
        force_bound: Largest electronic force on one site, None if there is no bound. For
            components that symmetry mixes it bounds the length of the vector.
        density_coupling: g if the field enters the electrons as −g n_i φ_i, with n_i the density
            on the same site. A shift of the chemical potential is then a uniform shift of the
            field. None otherwise.
        coupled_by: For a spin, the term that couples spin and space, such as "rashba". Operations
            of the space group then act on sites and components together, as `representation` says,
            and there is no rotation of all spins apart from them. Empty if there is.
        reversed_by: For a spin, the term that changes under S → −S, such as "flux". Empty if there
            is none, so that this reversal of time leaves the energy unchanged.
    """

    representation: str = "trivial"
    n_components: int = 0
    is_spin: bool = False
    force_bound: float | None = None
    density_coupling: float | None = None
    # Older descriptions of networks do not have these two.
    coupled_by: str = field(default="", metadata={"describe": "changed"})
    reversed_by: str = field(default="", metadata={"describe": "changed"})

    def field_shift(self, mu: Values) -> Values:
        """The field μ/g that acts like a chemical potential μ, or like one for each site.

        It follows from −g n φ − μ n = −g n (φ + μ/g).

        Args:
            mu: Chemical potential μ, in units of the hopping.

        Raises:
            InputError: If the field does not couple to the density.
        """
        return mu / self._coupling()  # type: ignore[operator]

    def density(self, electronic_forces: Values) -> Values:
        """Electrons per site n_i = F_i/g + ½, from the electronic force F_i = g (n_i − ½).

        Args:
            electronic_forces: Forces F_i of the electrons alone.

        Returns:
            Densities n_i, in the shape of the forces.

        Raises:
            InputError: If the field does not couple to the density.
        """
        return electronic_forces / self._coupling() + 0.5  # type: ignore[operator]

    def _coupling(self) -> float:
        """The coupling g to the density."""
        if not self.density_coupling:
            raise InputError(
                "a filling or on-site disorder needs a field that couples to the density, which"
                " this one does not. Leave it out; the network keeps the chemical potential that it"
                " was trained at."
            )
        return self.density_coupling
