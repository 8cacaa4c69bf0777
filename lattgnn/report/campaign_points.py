"""What the report of a campaign shows of each point: its name and its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray
from scipy import stats

from lattgnn.report.campaign_arrays import Folders, Labels, point_metrics

Array = np.ndarray


@dataclass(frozen=True)
class ScanPoint:
    """What the report shows of one point.

    Attributes:
        labels: The scanned parameters.
        metrics: The numbers of its analysis, if there is one.
        data: Its part of the results.
        unnamed: Parameters that its name leaves out.
    """

    labels: Labels
    metrics: dict[str, Any] | None
    data: xarray.Dataset
    unnamed: frozenset[str] = frozenset()

    def name(self, without: str | None = None, only: str | None = None) -> str:
        """Text such as "g=3.5, kT=0.1".

        Args:
            without: A parameter that is left out.
            only: The one parameter that is named. Default: all.
        """
        shown = []
        for key, value in self.labels.items():
            if key not in (without, *self.unnamed) and only in (None, key):
                shown.append(f"{key}={_as_text(value)}")
        return ", ".join(shown)

    def number(self, key: str) -> tuple[float, float, float] | None:
        """A number with the ends of its 95 % interval, or None if it does not exist.

        Args:
            key: Its name in metrics.json; "last_slope_" and a length for the local slope at the
                last time; or the name of a number of fits.
        """
        if key.startswith("fit_"):
            return _mean_of_fits(self.data[key].values) if key in self.data else None
        metrics = self.metrics or {}
        if key.startswith("growth_exponent"):
            ends = metrics.get(key.replace("exponent", "interval"), [None, None])
            value = metrics.get(key)
            low, high = (np.nan if end is None else end for end in ends)
            return None if value is None else (value, low, high)
        if key.startswith("last_slope"):
            return self._last_slope(key.removeprefix("last_slope_"))
        value, error = metrics.get(key), metrics.get(f"{key}_error")
        if value is None:
            return None
        n = metrics.get("n_replicas", 1)
        half = np.nan if error is None or n < 2 else float(stats.t.ppf(0.975, n - 1)) * error
        return value, value - half, value + half

    def _last_slope(self, name: str) -> tuple[float, float, float] | None:
        if f"local_slope_{name}" not in self.data:
            return None
        slope = self.data[f"local_slope_{name}"].values
        kept = np.flatnonzero(np.isfinite(slope))
        if not len(kept):
            return None
        value = float(slope[kept[-1]])
        half = float(self.data[f"local_slope_{name}_error"].values[kept[-1]])
        return value, value - half, value + half


def scan_points(
    data: xarray.Dataset, points: Sequence[Labels], folders: Folders
) -> list[ScanPoint]:
    """The points in the order of the scan, each with its part of the results.

    Args:
        data: The results of the campaign.
        points: The scanned parameters of each point.
        folders: Output folders of the tasks that are finished.
    """
    # What no grid scans has the label of the base configuration everywhere, which says nothing.
    unnamed = frozenset(
        name for name in points[0] if all(labels[name] == "base" for labels in points)
    )
    rows = []
    for number, labels in enumerate(points):
        part = data
        if "point" in data.dims:
            part = data.isel(point=number)
        elif labels:
            texts = {name: data[name].dtype.kind in "UO" for name in labels}
            part = data.sel({n: _as_text(v) if texts[n] else v for n, v in labels.items()})
        rows.append(ScanPoint(labels, point_metrics(number, folders), part, unnamed))
    return rows


def _mean_of_fits(values: Array) -> tuple[float, float, float] | None:
    """Mean over seeds with its 95 % interval (Student)."""
    found = values[np.isfinite(values)]
    if not len(found):
        return None
    mean, n = float(found.mean()), len(found)
    half = np.nan
    if n > 1:
        half = float(stats.t.ppf(0.975, n - 1)) * found.std(ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half


def _as_text(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
