"""Sizes that cannot fit into memory are refused before the work begins."""

from lattgnn.errors import InputError

# Smaller sizes are not looked up: that takes time, and they fit.
LARGE = 2**30


def require_memory(n_bytes: float, purpose: str, advice: str) -> None:
    """Check that there is enough free memory.

    Args:
        n_bytes: Bytes that are needed at least.
        purpose: What needs them, such as "diagonalizing 90,000 states".
        advice: What to do if they are not there, as a sentence.

    Raises:
        InputError: If less memory is free.

    Examples:
        >>> require_memory(3.2e15, "a table of all pairs", "Use a smaller extent.")
        Traceback (most recent call last):
            ...
        lattgnn.errors.InputError: a table of all pairs needs 3,200,000 GB of memory, ...
    """
    if n_bytes < LARGE:
        return
    import psutil

    free = psutil.virtual_memory().available
    if n_bytes > free:
        raise InputError(
            f"{purpose} needs {n_bytes / 1e9:,.0f} GB of memory, and {free / 1e9:.0f} GB are free."
            f" {advice}"
        )
