"""Arrays that are computed once and shared, which nobody may change."""

import numpy as np


def read_only(array: np.ndarray) -> np.ndarray:
    """The array itself, which can no longer be written to.

    Examples:
        >>> read_only(np.zeros(2)).flags.writeable
        False
    """
    array.setflags(write=False)
    return array
