"""Classical terms of spins: exchange, Dzyaloshinskii–Moriya, anisotropy, magnetic field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from lattgnn.device_copies import DeviceCopies
from lattgnn.errors import InputError, check_number
from lattgnn.hamiltonians.dm_vectors import dm_bonds
from lattgnn.hamiltonians.hopping import Hopping, hopping_bonds, normal_hopping
from lattgnn.lattice import Lattice


@dataclass(frozen=True)
class SpinTerms:
    r"""Classical energy of spins of unit length. It is exact and never learned.

        E   = −Σ_⟨ij⟩ [J_ij S_i·S_j + D_ij·(S_i × S_j)] − K Σ_i (n·S_i)² − h·Σ_i S_i
        B_i = Σ_j (J_ij S_j + S_j × D_ij) + 2 K (n·S_i) n + h

    Each bond counts once. A positive exchange J_ij is ferromagnetic, and a positive K makes n an
    easy axis. Exchange and Dzyaloshinskii–Moriya (DM) terms take the same forms as the hopping t of
    `Holstein`: one number for nearest neighbors, a list by shell, or a mapping by orbit or label.

    Args:
        exchange: Exchange J_ij.
        bulk_dm: Strength D of vectors along the bond, D_ij = D e_ij with the unit vector e_ij from
            i to j. It makes Bloch skyrmions.
        interfacial_dm: Strength D of vectors in the plane, D_ij = D z × e_ij. It makes Néel
            skyrmions.
        dm_vectors: DM vector D_ij = [x, y, z] of the bond that the symmetry table prints for an
            orbit, from i to j: {"orbit 0": [0, 0, 0.1]}. The other bonds follow by symmetry, and
            the reversed ones have −D_ij. D is an axial vector. A reflection of a
            planar lattice is a reflection in a plane that contains z.
        anisotropy: Single-ion anisotropy K.
        axis: Axis n of the anisotropy, of any length.
        magnetic_field: Zeeman field h.

    Raises:
        InputError: If a number is not finite or the axis is zero.

    Reference:
        I. Dzyaloshinsky, J. Phys. Chem. Solids 4, 241 (1958); T. Moriya, Phys. Rev. 120, 91 (1960).

    Examples:
        >>> import torch
        >>> from lattgnn.lattice import chain
        >>> from lattgnn.spin_orders import Spiral
        >>> spins = torch.from_numpy(Spiral(["1/4"]).spins(chain(8)))
        >>> energy = SpinTerms(exchange=1.0, dm_vectors={"orbit 0": [0, 0, 0.5]}).on(chain(8))
        >>> round(float(energy.energy(spins)) / 8, 6)  # −J cos Q − D sin Q
        -0.5
    """

    # Mappings cannot be hashed; they take part in comparisons.
    exchange: Hopping = field(default=0.0, hash=False)
    bulk_dm: Hopping = field(default=0.0, hash=False)
    interfacial_dm: Hopping = field(default=0.0, hash=False)
    dm_vectors: Mapping[str, Sequence[float]] | None = field(default=None, hash=False)
    anisotropy: float = 0.0
    axis: Sequence[float] = (0.0, 0.0, 1.0)
    magnetic_field: Sequence[float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("exchange", "bulk_dm", "interfacial_dm"):
            value = getattr(self, name)
            if isinstance(value, list | tuple):
                object.__setattr__(self, name, tuple(value))
            numbers = value.values() if isinstance(value, Mapping) else value
            for number in numbers if np.iterable(numbers) else [numbers]:
                check_number(name, number)
        check_number("anisotropy", self.anisotropy)
        for name in ("axis", "magnetic_field"):
            object.__setattr__(self, name, _vector(name, getattr(self, name)))
        if self.dm_vectors is not None:
            vectors = {key: _vector("dm_vectors", v) for key, v in self.dm_vectors.items()}
            object.__setattr__(self, "dm_vectors", vectors)
        if not any(self.axis):
            raise InputError("axis of the anisotropy must not be zero. Use [0, 0, 1].")

    def on(self, lattice: Lattice) -> SpinEnergy:
        """These terms on a lattice.

        Args:
            lattice: The lattice.

        Raises:
            InputError: If the lattice does not have the bonds, or its symmetry forbids a DM vector.
        """
        return SpinEnergy(self, lattice)


class SpinEnergy:
    """The classical energy of spins on one lattice, and its effective field.

    Args:
        terms: The terms.
        lattice: The lattice.

    Raises:
        InputError: If the lattice does not have the bonds, or its symmetry forbids a DM vector.
    """

    def __init__(self, terms: SpinTerms, lattice: Lattice) -> None:
        self.terms, self.lattice = terms, lattice
        bonds = _couplings(terms, lattice)
        self._neighbors, self._exchange, self._dm = (
            None if table is None else DeviceCopies(table)
            for table in _tables(*bonds, lattice.n_sites)
        )
        axis = torch.tensor(terms.axis, dtype=torch.float64)
        self._axis = DeviceCopies(axis / axis.norm())
        self._field = DeviceCopies(torch.tensor(terms.magnetic_field, dtype=torch.float64))

    def forces(self, spins: Float[Tensor, "*batch n_sites 3"]) -> Float[Tensor, "*batch n_sites 3"]:
        """The effective field B = −∂E/∂S."""
        total = self._from_neighbors(spins)
        if self.terms.anisotropy:
            axis = self._axis.like(spins)
            total = total + 2 * self.terms.anisotropy * (spins @ axis)[..., None] * axis
        return total + self._field.like(spins)

    def energy(self, spins: Float[Tensor, "*batch n_sites 3"]) -> Float[Tensor, "*batch"]:
        """The energy of all sites.

        All terms but that of the field h are quadratic, so that E = −½ Σ_i S_i·(B_i + h).
        """
        both = self.forces(spins) + self._field.like(spins)
        return -0.5 * (spins * both).sum((-1, -2))

    def _from_neighbors(self, spins: Tensor) -> Tensor:
        """Σ_j (J_ij S_j + S_j × D_ij)."""
        total = torch.zeros_like(spins)
        if self._neighbors is None:
            return total
        neighbors = self._neighbors.on(spins.device)
        exchange = None if self._exchange is None else self._exchange.like(spins)
        vectors = None if self._dm is None else self._dm.like(spins)
        # The spin that is appended is zero: the value of missing neighbors.
        padded = pad(spins, (0, 0, 0, 1))
        for slot, sites in enumerate(neighbors):
            neighbor = padded[..., sites, :]
            if exchange is not None:
                total = total + exchange[slot][:, None] * neighbor
            if vectors is not None:
                total = total + torch.linalg.cross(neighbor, vectors[slot].expand_as(neighbor))
        return total


def _couplings(
    terms: SpinTerms, lattice: Lattice
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Site i, site j, J_ij and D_ij of each directed bond; a bond may occur more than once."""
    first, second = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    exchange, vectors = [np.zeros(0)], [np.zeros((0, 3))]
    for name in ("exchange", "bulk_dm", "interfacial_dm"):
        strength = normal_hopping(lattice, getattr(terms, name), name)
        if strength == 0:
            continue
        bonds = hopping_bonds(lattice, strength, name)
        # From i to j is from row to column, against the displacement of the bond.
        step = -bonds.displacement / np.linalg.norm(bonds.displacement, axis=1)[:, None]
        values, n = bonds.values.numpy(), len(bonds.values)
        first.append(bonds.pairs[0].numpy())
        second.append(bonds.pairs[1].numpy())
        exchange.append(values if name == "exchange" else np.zeros(n))
        vectors.append(_dm_along(name, step) * values[:, None])
    if terms.dm_vectors:
        i, j, vector = dm_bonds(lattice, terms.dm_vectors)
        first.append(i)
        second.append(j)
        exchange.append(np.zeros(len(i)))
        vectors.append(vector)
    return (
        np.concatenate(first),
        np.concatenate(second),
        np.concatenate(exchange),
        np.concatenate(vectors),
    )


def _dm_along(name: str, step: np.ndarray) -> np.ndarray:
    """The unit DM vector of bonds along unit vectors, zero for exchange; [n_bonds, 3]."""
    dim = step.shape[1]
    along = np.pad(step, ((0, 0), (0, 3 - dim)))
    if name == "bulk_dm":
        return along
    if name == "exchange":
        return np.zeros_like(along)
    if dim == 3:
        raise InputError(
            "interfacial_dm needs a lattice in the plane or on a line, got one in three dimensions."
            " Use bulk_dm or dm_vectors."
        )
    return np.cross([0.0, 0.0, 1.0], along)


def _tables(
    first: np.ndarray,
    second: np.ndarray,
    exchange: np.ndarray,
    vectors: np.ndarray,
    n_sites: int,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Neighbors of each site in slots, with J and D; n_sites stands for one that is missing.

    Returns:
        Neighbors [n_slots, n_sites], exchange [n_slots, n_sites] and DM vectors [n_slots, n_sites,
        3]; None for what is absent. A slot with one value for all sites holds it once.
    """
    if not len(first):
        return None, None, None
    # One entry for each pair of sites: the sum of its terms.
    keys, place = np.unique(first * n_sites + second, return_inverse=True)
    place = place.ravel()
    strength, vector = np.zeros(len(keys)), np.zeros((len(keys), 3))
    np.add.at(strength, place, exchange)
    np.add.at(vector, place, vectors)
    first, second = keys // n_sites, keys % n_sites
    # Bonds of equal exchange share a slot, which then holds one number.
    order = np.lexsort((second, strength, first))
    first, second, strength, vector = (x[order] for x in (first, second, strength, vector))
    counts = np.bincount(first, minlength=n_sites)
    slot = np.arange(len(first)) - (np.cumsum(counts) - counts)[first]
    neighbors = np.full((counts.max(), n_sites), n_sites)
    neighbors[slot, first] = second
    table, table_dm = np.zeros(neighbors.shape), np.zeros((*neighbors.shape, 3))
    table[slot, first], table_dm[slot, first] = strength, vector
    if (counts == counts.max()).all() and (table == table[:, :1]).all():
        table = table[:, :1]
    return (
        torch.from_numpy(neighbors),
        torch.from_numpy(table) if strength.any() else None,
        torch.from_numpy(table_dm) if vector.any() else None,
    )


def _vector(name: str, given: Sequence[float]) -> tuple[float, float, float]:
    """Three finite numbers."""
    numbers = tuple(given) if np.iterable(given) else (given,)
    if len(numbers) != 3:
        raise InputError(f"{name} must hold three numbers, got {given!r}. Use [0, 0, 1].")
    for number in numbers:
        check_number(name, number)
    return float(numbers[0]), float(numbers[1]), float(numbers[2])
