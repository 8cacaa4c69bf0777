"""One thread for matrices of a few thousand states, whatever the program around them uses.

OpenBLAS, the BLAS of numpy and scipy, starts one thread per core, and so does torch, even for the
logarithms of a hundred numbers. Such threads wait for each other by spinning: on small matrices,
and on cores that have other work, two threads can take fifty times as long as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

# One thread was faster at every size that was measured, up to 3600 states, on two cores that had
# other work too. Diagonalizing a larger matrix takes more than ten seconds, and then the threads
# that the user has chosen are kept.
MOST_STATES = 4000


class _Blas:
    """Limits all BLAS libraries to one thread while any thread of the program is inside.

    The number of BLAS threads belongs to the process. Therefore the first one that enters notes the
    numbers, and the last one that leaves restores them.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._n_inside = 0
        self._before: list[tuple[Any, int]] = []

    def enter(self) -> None:
        with self._lock:
            if self._n_inside == 0:
                self._before = _limit("blas")
            self._n_inside += 1

    def leave(self) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                _set(self._before)


_BLAS = _Blas()


@contextmanager
def single_thread(n_states: int) -> Iterator[None]:
    """Use one thread of BLAS and of torch within a `with` statement, unless the matrices are large.

    It costs ten microseconds, and may be entered by several threads at once.

    Args:
        n_states: Order of the matrices. Above 4000 nothing is changed.
    """
    if n_states > MOST_STATES:
        yield
        return
    _BLAS.enter()
    # The number of OpenMP threads, which torch uses, belongs to the calling thread alone.
    before = _limit("openmp")
    try:
        yield
    finally:
        _set(before)
        _BLAS.leave()


def _limit(kind: str) -> list[tuple[Any, int]]:
    """Set libraries to one thread and return those that had another number, with that number."""
    numbers = [(library, library.get_num_threads()) for library in _libraries(kind)]
    several = [(library, number) for library, number in numbers if number != 1]
    _set([(library, 1) for library, _ in several])
    return several


def _set(numbers: list[tuple[Any, int]]) -> None:
    """Set the number of threads of each library."""
    for library, number in numbers:
        # Newer versions of threadpoolctl let only one thread of the program set the number of
        # OpenBLAS, and ignore the others without a word. Here a lock keeps threads apart.
        clear = getattr(library, "clear_controlling_thread", None)
        if clear is not None:
            clear(force=True)
        library.set_num_threads(number)
        if clear is not None:
            clear()


@cache
def _libraries(kind: str) -> list[Any]:
    """The libraries of the process. Finding them takes a millisecond, so it is done once."""
    import scipy.linalg  # noqa: F401  loads scipy's own BLAS

    return ThreadpoolController().select(user_api=kind).lib_controllers
