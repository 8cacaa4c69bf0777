"""The saved frames of one array of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lattgnn.errors import InputError

#: Arrays that are needed to continue a run. The option of `SaveSchedule` that saves each of them in
#: every frame.
RESTART = {"momentum": "momenta", "forces": "forces"}
#: What zarr and its codecs raise for a chunk that cannot be decoded.
DAMAGE = (OSError, RuntimeError, ValueError, TypeError, KeyError)


@dataclass(frozen=True, eq=False)
class Frames:
    """The written frames of one array: `frames[-1]`, `frames[::2, 0]` and `frames[:]` read them.

    Attributes:
        array: The zarr or numpy array.
        n_frames: Number of written frames.
        name: Name of the array.
        path: Directory of the run, None in memory.
        always_saved: Whether the array is saved in every frame.
    """

    array: Any
    n_frames: int
    name: str = "the array"
    path: Path | None = None
    always_saved: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, replicas, …)."""
        return (self.n_frames, *self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the run."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.n_frames

    def __getitem__(self, key: Any) -> np.ndarray:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis:
            first, rest = slice(None), [Ellipsis, *rest]
        frames = np.arange(self.n_frames)[
            first
        ]  # negative, out of range, lists and masks as numpy has them
        if frames.ndim == 0:
            return self._read((int(frames), *rest))
        if isinstance(first, slice) and first.step in (None, 1):
            start, stop, _ = first.indices(self.n_frames)
            return self._read((slice(start, stop), *rest))
        rows = [self._read((int(frame), *rest)) for frame in frames]
        return np.stack(rows) if rows else self._read((slice(0, 0), *rest))

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        values = self._whole(key)
        if values is None:
            # Find the frame, no matter how long it takes.
            frames = np.arange(self.n_frames)[key[0]].reshape(-1).tolist()
            bad = next(frame for frame in frames if self._whole((frame, *key[1:])) is None)
            raise InputError(self._lost(bad))
        return values

    def _whole(self, key: tuple[Any, ...]) -> np.ndarray | None:
        """The values, or None if a chunk is missing or its checksum is wrong."""
        try:
            values = np.asarray(self.array[key])
        except DAMAGE:
            return None
        # The loop saves finite numbers only. NaN is what a missing chunk reads as.
        return None if np.isnan(values).any() else values

    def _lost(self, frame: int) -> str:
        """What is wrong with a frame that cannot be read, and what to do."""
        kept = self.always_saved or frame == 0 or frame >= self.n_frames - 2
        if kept:
            return (
                f"{self.name} of frame {frame} is damaged or truncated in {str(self.path)!r}. Run "
                "the simulation again with the same command, which computes damaged frames anew."
            )
        option = RESTART.get(self.name, self.name)
        return (
            f"{option} of frame {frame} were not saved. Run the simulation with {option}=True in "
            f"its schedule, `--save.init_args.{option}=true`."
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(self.dtype if dtype is None else dtype, copy=bool(copy))
