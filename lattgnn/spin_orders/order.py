"""What every magnetic order is, and the checks of its input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from lattgnn.errors import InputError, check_number
from lattgnn.lattice import Lattice

_SHORTEST = 1e-6  # a sum of waves that is shorter than this has no direction


class SpinOrder(ABC):
    """A perfect magnetic order, which gives the spins of every lattice on which it fits."""

    @abstractmethod
    def spins(self, lattice: Lattice) -> np.ndarray:
        """The spins of unit length, float64 [n_sites, 3].

        Args:
            lattice: The lattice.

        Raises:
            InputError: If the order does not fit on the lattice.
        """


def three_numbers(name: str, given: Sequence) -> tuple[float, float, float]:
    """Three finite numbers."""
    numbers = tuple(given) if np.iterable(given) else (given,)
    if len(numbers) != 3:
        raise InputError(f"{name} must hold three numbers, got {given!r}. Use [0, 0, 1].")
    for number in numbers:
        check_number(name, number)
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def normalized(spins: np.ndarray) -> np.ndarray:
    """Vectors of unit length; errors if one has no direction."""
    lengths = np.linalg.norm(spins, axis=1, keepdims=True)
    if lengths.min() < _SHORTEST:
        raise InputError(
            f"the waves of an order must not cancel, but do on site {int(lengths.argmin())}."
            " Use other phases."
        )
    return spins / lengths
