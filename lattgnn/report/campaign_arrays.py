"""The results of a campaign as one xarray Dataset over the scanned parameters and the seeds.

Nothing is computed here: the numbers are those that `analyze` and `fit` have written.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from lattgnn.report.fit_report import FitRun, read_fit
from lattgnn.report.quench_arrays import LENGTHS
from lattgnn.report.spin_numbers import SERIES
from lattgnn.serialize import versions

Labels = Mapping[str, float | str]
#: Output folders by stage, number of the point, and seed.
Folders = Mapping[tuple[str, int, int], Path]
# Observables of every run that are kept at all times.
CURVES = (
    *("order_parameter", "order_share", "neighbor_correlation"),
    *(f"length_{name}" for name in LENGTHS.values()),
    *("potential_energy", "kinetic_energy", "kinetic_temperature"),
    *SERIES,  # of spins
)
_LAST_DIMENSIONS = ("seed", "replica", "component", "time")
# Of a scan that fills a smaller part of the grid of its values, the points form one dimension.
_LEAST_FILLED = 0.1


def campaign_dataset(
    points: Sequence[Labels],
    n_seeds: int,
    folders: Folders,
    options: Mapping[str, Sequence[str]] | None = None,
) -> xarray.Dataset:
    """Collect the results of a campaign.

    Args:
        points: The scanned parameters of each point, numbers or short texts.
        n_seeds: Number of seeds of each point.
        folders: Output folders of the tasks that are finished.
        options: Options that each parameter sets, which become an attribute of its coordinate.

    Returns:
        Observables over the parameters, seed, replica and time; numbers of the analysis, which
        joins the seeds, over the parameters; and numbers of fits over the parameters and the seed.
        NaN stands where there is no result. If the points fill less than a tenth of the grid of
        their values, they are one dimension `point`, and the parameters are coordinates of it.
    """
    parts = []
    for number in range(len(points)):
        part = _simulated(number, n_seeds, folders) | _fitted(number, n_seeds, folders)
        parts.append(xarray.Dataset(part).reset_coords(drop=True))
    joined = xarray.concat(
        parts,
        "point",
        data_vars="all",
        coords="minimal",  # a point without results has none
        compat="override",
        join="outer",
        combine_attrs="override",
    )
    names = list(points[0])
    joined = joined.assign_coords(
        {name: ("point", _column([point[name] for point in points])) for name in names}
    )
    if "seed" in joined.dims:
        joined = joined.assign_coords(seed=joined.seed.astype(np.int32))
    joined = _over_parameters(joined, names)
    order = [name for name in (*names, "point", *_LAST_DIMENSIONS) if name in joined.dims]
    joined = joined.transpose(*order, ...)
    for name in names:
        joined[name].attrs["options"] = ", ".join((options or {}).get(name, ()))
    joined.attrs = {"title": "lattgnn: results of a campaign", "versions": json.dumps(versions())}
    return joined


def point_metrics(number: int, folders: Folders) -> dict[str, Any] | None:
    """The metrics.json of a point, or None if its runs are not analyzed.

    Args:
        number: Number of the point.
        folders: Output folders.
    """
    for (stage, point, _), folder in folders.items():
        if stage == "analyze" and point == number:
            return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return None


def fit_numbers(run: FitRun) -> dict[str, float]:
    """Cost and errors of a fit, by name.

    Args:
        run: The fit.
    """
    errors = run.column("val/all/mse")
    tests = [test["test/all/mse"] for test in run.tests.values() if "test/all/mse" in test]
    return {
        "fit_parameters": float(run.record.get("parameters", np.nan)),
        "fit_cpu_minutes": float(run.record.get("cpu_minutes", np.nan)),
        "fit_validation_mse": float(np.nanmin(errors)) if np.isfinite(errors).any() else np.nan,
        "fit_test_mse": tests[0] if tests else np.nan,
    }


def _simulated(number: int, n_seeds: int, folders: Folders) -> dict[str, Any]:
    """Observables and metrics of one point."""
    metrics = point_metrics(number, folders)
    if metrics is None:
        return {}
    folder = next(f for (stage, p, _), f in folders.items() if (stage, p) == ("analyze", number))
    seeds = {str(folders["simulate", number, seed]): seed for seed in _seeds(number, folders)}
    with xarray.open_dataset(folder / "arrays.nc", engine="scipy") as arrays:
        arrays.load()
    runs = str(arrays.attrs["runs"]).split(", ")
    rows = []
    for index, run in enumerate(runs):
        if run in seeds:
            chosen = arrays[[name for name in CURVES if name in arrays]]
            chosen = chosen.isel(replica=arrays.run.values == index).drop_vars(("run", "step"))
            chosen = chosen.assign_coords(replica=np.arange(chosen.sizes["replica"]))
            rows.append(chosen.expand_dims(seed=[seeds[run]]))
    found: dict[str, Any] = {}
    if rows:
        curves = xarray.concat(rows, "seed", join="outer").reindex(seed=range(n_seeds))
        found |= dict(curves.data_vars)
    for name in LENGTHS.values():
        for array in (f"local_slope_{name}", f"local_slope_{name}_error", f"slope_time_{name}"):
            if array in arrays.variables and arrays[array].size:
                values = arrays[array].values
                found[array] = xarray.DataArray(
                    values, {f"slope_{name}": np.arange(len(values))}, attrs=arrays[array].attrs
                )
    return found | _scalars(metrics)


def _scalars(metrics: Mapping[str, Any]) -> dict[str, xarray.DataArray]:
    """The numbers of metrics.json; the ends of an interval are two."""
    found = {}
    for key, value in metrics.items():
        if key.startswith("growth_interval") or key.startswith("growth_window"):
            found |= {f"{key}_low": value[0], f"{key}_high": value[1]}
        elif value is None or isinstance(value, int | float):
            # The mean of the last half of the time beside the curve of the same name.
            found[f"mean_{key}" if key in CURVES else key] = value
    return {
        key: xarray.DataArray(np.nan if value is None else float(value))
        for key, value in found.items()
    }


def _fitted(number: int, n_seeds: int, folders: Folders) -> dict[str, Any]:
    """Numbers of the fits of one point, by seed."""
    rows = {
        seed: fit_numbers(read_fit(folder))
        for (stage, point, seed), folder in folders.items()
        if stage == "fit" and point == number
    }
    if not rows:
        return {}
    seeds, found = range(n_seeds), {}
    for name in next(iter(rows.values())):
        values = [rows[seed][name] if seed in rows else np.nan for seed in seeds]
        found[name] = xarray.DataArray(values, {"seed": seeds})
    return found


def _over_parameters(joined: xarray.Dataset, names: Sequence[str]) -> xarray.Dataset:
    """The points as one dimension for each parameter, if they fill enough of that grid."""
    if not names:
        return joined.isel(point=0)
    if len(names) == 1:
        return joined.swap_dims(point=names[0])
    cells = math.prod(len(np.unique(joined[name])) for name in names)
    if joined.sizes["point"] < _LEAST_FILLED * cells:
        return joined
    return joined.set_index(point=list(names)).unstack("point")


def _column(labels: Sequence[float | str]) -> np.ndarray:
    """Labels of one parameter as numbers, or as texts if one of them is a text."""
    if all(isinstance(label, float) for label in labels):
        return np.array(labels)
    return np.array([f"{x:g}" if isinstance(x, float) else x for x in labels])


def _seeds(number: int, folders: Folders) -> list[int]:
    return [seed for stage, point, seed in folders if stage == "simulate" and point == number]
