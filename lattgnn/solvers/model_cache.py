"""A cache for what solvers compute from the pattern of a Hamiltonian."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def model_cache(maxsize: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Like `functools.lru_cache`, also for Hamiltonians that cannot be hashed.

    A Hamiltonian with an array, a list or a dictionary as a parameter has no hash. Such an argument
    is looked up by its identity: the same object gives the cached result. As with `lru_cache`, the
    cache keeps the arguments alive.

    Args:
        maxsize: Number of results that are kept.

    Returns:
        A decorator of functions with positional arguments.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        call: Callable[..., T] = function

        @lru_cache(maxsize)
        def cached(*keys: Any) -> T:
            return call(*(key.value if isinstance(key, _Same) else key for key in keys))

        @wraps(function)
        def look_up(*arguments: P.args, **options: P.kwargs) -> T:
            assert not options, "arguments of a cached function are positional"
            return cached(*map(_key, arguments))

        return look_up

    return decorate


class _Same:
    """A key that equals only keys of the same object."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _key(argument: object) -> object:
    try:
        hash(argument)
    except TypeError:
        return _Same(argument)
    return argument
