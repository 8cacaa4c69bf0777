"""Orders of several plane waves: double-Q, triple-Q, tetrahedral, skyrmion crystals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lattgnn.errors import InputError, check_number
from lattgnn.lattice import Lattice
from lattgnn.spin_orders.order import SpinOrder, normalized, three_numbers
from lattgnn.spin_orders.wavevectors import (
    Wavevector,
    cartesian_wavevector,
    check_star,
    exact_wavevector,
    rotations_by_120,
    site_phases,
)


@dataclass(frozen=True)
class PlaneWaves(SpinOrder):
    r"""A sum of plane waves, normalized on each site: any multiple-Q state.

        S_i ∝ m + Σ_ν [A_ν cos(Q_ν·r_i) + B_ν sin(Q_ν·r_i)]

    Args:
        wavevectors: One wavevector per wave, as fractions of the reciprocal primitive vectors.
        cosines: Vector A_ν of each wave.
        sines: Vector B_ν of each wave; None for zero.
        uniform: The uniform part m.
        equal_lengths: Whether to refuse lattices on which the wavevectors differ in length, so that
            no symmetry joins them.

    Raises:
        InputError: If the numbers of wavevectors and vectors differ.

    Examples:
        Two waves with perpendicular amplitudes give the 90° order of the square lattice:

        >>> from lattgnn.lattice import square
        >>> order = PlaneWaves([["1/2", 0], [0, "1/2"]], [[1, 0, 0], [0, 1, 0]])
        >>> print(order.spins(square(2)).round(3))
        [[ 0.707  0.707  0.   ]
         [ 0.707 -0.707  0.   ]
         [-0.707  0.707  0.   ]
         [-0.707 -0.707  0.   ]]
    """

    wavevectors: Sequence
    cosines: Sequence
    sines: Sequence | None = None
    uniform: Sequence = (0.0, 0.0, 0.0)
    equal_lengths: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "wavevectors", tuple(exact_wavevector(q) for q in self.wavevectors)
        )
        object.__setattr__(
            self, "cosines", tuple(three_numbers("cosines", a) for a in self.cosines)
        )
        sines = [(0.0, 0.0, 0.0)] * len(self.cosines) if self.sines is None else self.sines
        object.__setattr__(self, "sines", tuple(three_numbers("sines", b) for b in sines))
        object.__setattr__(self, "uniform", three_numbers("uniform", self.uniform))
        if len({len(self.wavevectors), len(self.cosines), len(sines)}) > 1:
            raise InputError(
                "wavevectors, cosines and sines must be equally many, got"
                f" {len(self.wavevectors)}, {len(self.cosines)} and {len(sines)}."
            )

    def spins(self, lattice: Lattice) -> np.ndarray:
        """The spins of unit length, float64 [n_sites, 3]."""
        if self.equal_lengths:
            check_star(lattice, tuple(self.wavevectors))
        total = np.tile(np.array(self.uniform, dtype=np.float64), (lattice.n_sites, 1))
        for q, cosine, sine in zip(self.wavevectors, self.cosines, self.sines or (), strict=True):
            phase = site_phases(lattice, q)[:, None]
            total += np.cos(phase) * np.array(cosine) + np.sin(phase) * np.array(sine)
        return normalized(total)


@dataclass(frozen=True)
class SkyrmionCrystal(SpinOrder):
    r"""A triangular crystal of skyrmions: three spirals and a magnetization along z, normalized.

        S_i ∝ m z + Σ_ν [e_ν sin(Q_ν·r_i) − z cos(Q_ν·r_i)]

    Q_1, Q_2 and Q_3 differ by rotations by 120°. e_ν is the unit vector along Q_ν, rotated in the
    plane by the helicity. Each magnetic cell holds one skyrmion, whose core points along −z in a
    background along z if 0 < m < 3.

    Args:
        wavevector: Q_1 as fractions of the reciprocal primitive vectors of a lattice whose
            primitive vectors meet at 60°: triangular, honeycomb, kagome.
        magnetization: The uniform part m; a negative one reverses all spins.
        helicity: Angle between e_ν and Q_ν in degrees: 0 for Néel skyrmions, ±90 for Bloch
            skyrmions.

    Raises:
        InputError: If the wavevector is zero.

    Examples:
        >>> from lattgnn.lattice import triangular
        >>> spins = SkyrmionCrystal(["1/6", 0]).spins(triangular(6))
        >>> print(spins[0].round(3), spins[:, 2].max().round(3))
        [ 0.  0. -1.] 1.0
    """

    wavevector: Sequence
    magnetization: float = 0.5
    helicity: float = 90.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "wavevector", exact_wavevector(self.wavevector))
        check_number("magnetization", self.magnetization)
        check_number("helicity", self.helicity)
        if not any(self.wavevector):
            raise InputError("wavevector of a skyrmion crystal must not be zero. Use ['1/6', 0].")

    def spins(self, lattice: Lattice) -> np.ndarray:
        """The spins of unit length, float64 [n_sites, 3]."""
        star = rotations_by_120(tuple(self.wavevector))
        check_star(lattice, star)
        up = math.copysign(1.0, self.magnetization)
        angle = math.radians(self.helicity)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        along = [cartesian_wavevector(lattice, q) for q in star]
        inward = [up * turn @ vector / np.linalg.norm(vector) for vector in along]
        waves = PlaneWaves(
            star,
            cosines=[[0, 0, -up]] * 3,
            sines=[[*vector, 0.0] for vector in inward],
            uniform=[0, 0, self.magnetization],
        )
        return waves.spins(lattice)


def double_q(wavevector: Sequence, phases: Sequence[float] = (0.0, 0.0)) -> PlaneWaves:
    """Two waves at 90° to each other, along x and y of the spins, on a square lattice.

        S_i ∝ (cos(Q_1·r_i + φ_1), cos(Q_2·r_i + φ_2), 0)

    Args:
        wavevector: Q_1 as fractions of the reciprocal primitive vectors. ["1/2", 0] gives the 90°
            order.
        phases: φ_ν in degrees.

    Examples:
        >>> [[str(x) for x in q] for q in double_q(["1/2", 0]).wavevectors]
        [['1/2', '0'], ['0', '1/2']]
    """
    q = exact_wavevector(wavevector)
    return _cosines((q, (-q[-1], q[0])), phases)


def triple_q(wavevector: Sequence, phases: Sequence[float] = (0.0, 0.0, 0.0)) -> PlaneWaves:
    """Three waves at 120° to each other, along x, y and z of the spins.

        S_i ∝ (cos(Q_1·r_i + φ_1), cos(Q_2·r_i + φ_2), cos(Q_3·r_i + φ_3))

    Its magnetic cell has the topological charge ±2.

    Args:
        wavevector: Q_1 as fractions of the reciprocal primitive vectors of a lattice whose
            primitive vectors meet at 60°: triangular, honeycomb, kagome.
        phases: φ_ν in degrees.

    Reference:
        R. Ozawa, S. Hayami and Y. Motome, Phys. Rev. Lett. 118, 147205 (2017).

    Examples:
        >>> [[str(x) for x in q] for q in triple_q(["1/6", 0]).wavevectors]
        [['1/6', '0'], ['0', '1/6'], ['-1/6', '-1/6']]
    """
    return _cosines(rotations_by_120(exact_wavevector(wavevector)), phases)


def tetrahedral(chirality: int = 1) -> PlaneWaves:
    """The four-sublattice order whose spins point to the corners of a tetrahedron.

    It is `triple_q` with the three middles M of the edges of the Brillouin zone. On the triangular
    lattice all triangles have the chirality S_1·(S_2×S_3) = ±4/(3√3), counterclockwise.

    Args:
        chirality: Its sign, 1 or −1.

    Raises:
        InputError: If the chirality is neither 1 nor −1.

    Reference:
        I. Martin and C. D. Batista, Phys. Rev. Lett. 101, 156402 (2008).

    Examples:
        >>> from lattgnn.lattice import triangular
        >>> spins = tetrahedral().spins(triangular(2))
        >>> print((spins @ spins.T).round(3)[0])
        [ 1.    -0.333 -0.333 -0.333]
    """
    if chirality not in (1, -1):
        raise InputError(f"chirality must be 1 or -1, got {chirality!r}.")
    # A phase of 180° changes the sign of one component, and thereby that of the chirality, which is
    # negative without it.
    return triple_q(["1/2", 0], (0.0, 0.0, 90.0 + 90.0 * chirality))


def _cosines(wavevectors: Sequence[Wavevector], phases: Sequence[float]) -> PlaneWaves:
    """One wave along each component of the spins."""
    if len(phases) != len(wavevectors):
        raise InputError(
            f"phases must be {len(wavevectors)} angles in degrees, one per wave, got {phases!r}."
        )
    for phase in phases:
        check_number("phases", phase)
    angles = np.radians(phases)[:, None]
    axes = np.eye(3)[: len(wavevectors)]
    # cos(θ + φ) = cos φ cos θ − sin φ sin θ
    cosines, sines = np.cos(angles) * axes, -np.sin(angles) * axes
    return PlaneWaves(wavevectors, cosines.tolist(), sines.tolist(), equal_lengths=True)
