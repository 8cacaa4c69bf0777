"""Which frames, replicas and places an audit looks at: drawn at random within windows of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lattgnn.audit.patches import PatchShape
from lattgnn.errors import InputError, check_number


@dataclass(frozen=True)
class Window:
    """Consecutive frames of a run.

    Attributes:
        frames: Their indices.
        first_step: Step of the first frame.
        last_step: Step of the last frame.
    """

    frames: tuple[int, ...]
    first_step: int
    last_step: int


@dataclass(frozen=True)
class Draw:
    """One patch to look at.

    Attributes:
        window: Index of its window.
        number: Its number within the window.
        frame: Frame of the run.
        replica: Replica of the run.
        start: First cell of its core.
    """

    window: int
    number: int
    frame: int
    replica: int
    start: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.window:02d}-{self.number:04d}"


def time_windows(
    steps: Int[np.ndarray, " n_frames"], windows: int | Sequence[int]
) -> tuple[Window, ...]:
    """Cut the frames of a run into windows; windows without a frame are left out.

    Args:
        steps: Step of each frame.
        windows: Number of windows of equal length on a logarithmic axis of time, of which the first
            one begins with the first frame. Or the first step of every window but the first.

    Raises:
        InputError: If there is no window, or the steps do not increase.
    """
    passed = steps - steps[0]
    if isinstance(windows, int):
        check_number("windows", windows, 1, 1000)
        numbers = _logarithmic(passed, windows)
    else:
        edges = np.asarray(windows)
        are_steps = edges.ndim == 1 and edges.dtype.kind in "iuf"
        if not are_steps or (np.diff(edges) <= 0).any() or (edges <= 0).any():
            shown = windows if isinstance(windows, str) else list(windows)
            raise InputError(
                f"windows must be a number, or steps > 0 that increase, got {shown!r}. Use "
                "[41,201,601]."
            )
        numbers = np.searchsorted(edges, steps, side="right")
    found = []
    for number in np.unique(numbers):
        frames = np.flatnonzero(numbers == number)
        first, last = int(steps[frames[0]]), int(steps[frames[-1]])
        found.append(Window(tuple(frames.tolist()), first, last))
    return tuple(found)


def _logarithmic(passed: Int[np.ndarray, " n"], n_windows: int) -> Int[np.ndarray, " n"]:
    """Number of the window of each frame, from the steps since the first frame."""
    later = passed[passed > 0]
    if len(later) == 0 or later[-1] == later[0]:
        return np.zeros(len(passed), dtype=np.int64)
    position = np.log(np.maximum(passed, later[0]) / later[0]) / np.log(later[-1] / later[0])
    return np.minimum((n_windows * position).astype(np.int64), n_windows - 1)


def draw_patches(
    windows: Sequence[Window], n_replicas: int, shape: PatchShape, n_patches: int, seed: int
) -> list[Draw]:
    """Draw patches in each window.

    Frames and replicas come in a random order, and come again only when all have had their turn. A
    draw does not depend on the number of draws after it.

    Args:
        windows: The windows.
        n_replicas: Number of replicas of the run.
        shape: Shape of the patches.
        n_patches: Number of patches of a window. There are fewer if a patch is the whole lattice
            and a window has fewer frames and replicas.
        seed: Seed of the draws.
    """
    found = []
    for number, window in enumerate(windows):
        units = [(frame, replica) for frame in window.frames for replica in range(n_replicas)]
        count = min(n_patches, len(units)) if shape.is_whole else n_patches
        order: list[int] = []
        for turn in range(-(-count // len(units))):
            order += _generator(seed, number, 0, turn).permutation(len(units)).tolist()
        for k in range(count):
            start = shape.random_start(_generator(seed, number, 1, k))
            found.append(Draw(number, k, *units[order[k]], start))
    return found


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
