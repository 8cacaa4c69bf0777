"""Whether a run with a learned force field stays among fields like those of its training.

The saved frames are compared after the run, so no step takes longer.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lattgnn.dynamics.trajectory import Trajectory
from lattgnn.field_statistics import Departure, FieldStatistics
from lattgnn.files import atomic_write_text
from lattgnn.lattice import Lattice

TRAINING_RANGE = "training_range.json"
"""File in the folder of a run with the result of the comparison."""


def warn_of_open_boundary(statistics: FieldStatistics | None, lattice: Lattice) -> None:
    """Warn before a run with an open boundary, if the training lattice had none along this axis.

    Args:
        statistics: Statistics of the training fields, None if they are unknown.
        lattice: The lattice of the run.
    """
    trained = lattice.periodic if statistics is None else statistics.periodic
    axes = [
        axis
        for axis, (before, now) in enumerate(zip(trained, lattice.periodic, strict=True))
        if before and not now
    ]
    if axes:
        warnings.warn(
            f"the lattice is open along axis {', '.join(map(str, axes))}, but the network was "
            "fitted on a periodic lattice and has seen no boundary: its errors near the edge can "
            "be a hundred times larger. Fit on an open lattice.",
            stacklevel=3,
        )


def compare_with_training(
    statistics: FieldStatistics | None,
    trajectory: Trajectory,
    path: str | Path | None,
    shift: np.ndarray | float = 0.0,
) -> list[Departure]:
    """Compare the frames of a run with the training fields, and warn in one line if they differ.

    With a path, the result is written to `training_range.json`: the number of frames and steps that
    it holds for, the statistics of the training fields, and one entry for each quantity that leaves
    their range. It is computed again only if the run has become longer.

    Args:
        statistics: Statistics of the training fields, None if they are unknown.
        trajectory: The run.
        path: Its folder; None for a run in memory.
        shift: What is added to a field before the network sees it, such as on-site disorder.

    Returns:
        The quantities that leave the range.
    """
    if statistics is None or not len(trajectory.steps):
        return []
    departures = _recorded(statistics, trajectory, path)
    if departures is None:
        departures = statistics.departures(_frames(trajectory, shift), trajectory.lattice)
        if path is not None:
            record = {
                "n_frames": len(trajectory.steps),
                "last_step": int(trajectory.steps[-1]),
                "training": statistics.to_dict(),
                "departures": [asdict(departure) for departure in departures],
            }
            atomic_write_text(Path(path) / TRAINING_RANGE, json.dumps(record, indent=2) + "\n")
    if departures:
        others = f", and {len(departures) - 1} more" if len(departures) > 1 else ""
        place = "" if path is None else f"; see {Path(path) / TRAINING_RANGE}"
        warnings.warn(
            f"the run leaves the fields that the network was fitted on: {departures[0]}{others}"
            f"{place}. Compare with exact forces there.",
            stacklevel=3,
        )
    return departures


def _frames(trajectory: Trajectory, shift: np.ndarray | float) -> Iterator[np.ndarray]:
    """The fields that the network has seen, frame by frame."""
    for frame in range(len(trajectory.steps)):
        yield np.asarray(trajectory.fields[frame]) + shift


def _recorded(
    statistics: FieldStatistics, trajectory: Trajectory, path: str | Path | None
) -> list[Departure] | None:
    """The departures in the file of an earlier comparison of the same frames, else None."""
    file = None if path is None else Path(path) / TRAINING_RANGE
    if file is None or not file.exists():
        return None
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    wanted = [len(trajectory.steps), int(trajectory.steps[-1]), statistics.to_dict()]
    # Through JSON, because the file holds lists in place of tuples.
    if [record["n_frames"], record["last_step"], record["training"]] != _plain(wanted):
        return None
    return [Departure(**departure) for departure in record["departures"]]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
