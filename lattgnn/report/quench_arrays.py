"""All arrays of a quench report as one xarray Dataset, each with its definition and unit.

The page prints the same definitions, so that a number and its meaning come from one place.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from lattgnn.analysis import QuenchAnalysis, wavevectors
from lattgnn.dynamics import Trajectory
from lattgnn.files import atomic_file
from lattgnn.report.ensemble import Ensemble, as_ensemble
from lattgnn.report.quench_figures import structure_cuts
from lattgnn.serialize import versions

# Name: symbol, definition, unit. In formulas φ_i is the field minus its mean over sites (spins: the
# spin itself), s_i the sign of the checkerboard (1 for other patterns), ⟨…⟩ the mean over sites,
# and Q the ordering wavevector. Products of vector fields are summed over components.
DEFINITIONS = {
    "order_parameter": ("m", "⟨s_i φ_i⟩; of a wave |⟨φ_i exp(−iQ·r_i)⟩|", "unit of the field"),
    "order_share": (
        "share",
        "(f − f₀)/(1 − f₀), with f the fraction of Σ_i |φ_i|² in the fifth of all wavevectors "
        "nearest to Q (and to those equivalent by symmetry), and f₀ ≈ 1/5 that of white noise; the "
        "pattern counts as present from 1/2 on",
        "1",
    ),
    "neighbor_correlation": ("C(1)/C(0)", "⟨φ_i φ_j⟩ of nearest neighbors over ⟨φ_i²⟩", "1"),
    "correlation": (
        "C(r)",
        "mean of s_i s_j φ_i φ_j over pairs of sites at distance r",
        "(unit of the field)²",
    ),
    "length_correlation": (
        "L from C(r)",
        "first distance at which C(r)/C(0) has fallen to one half (linear interpolation)",
        "a",
    ),
    "length_structure_factor": (
        "L from S(q)",
        "2π/⟨k⟩, with ⟨k⟩ the mean of k = |q − Q| weighted with S(q), over k ≤ π/2 in inverse bond "
        "lengths; about 4 times the length from C(r) for domains of random shape",
        "a",
    ),
    "structure_factor": (
        "S(q)",
        "|Σ_i φ_i exp(−iq·r_i)|²/N, with s_i φ_i for φ_i if the checkerboard is not a plane wave",
        "(unit of the field)²",
    ),
    "structure_factor_cut": (
        "S(q) on a path",
        "|Σ_i φ_i exp(−iq·r_i)|²/N at the wavevectors nearest to the path, mean over paths that "
        "are equivalent by symmetry",
        "(unit of the field)²",
    ),
    "kinetic_temperature": ("T_kin", "⟨p_i²⟩/m of each component (k_B = 1)", "t_hop"),
    "bath_temperature": ("k_B T", "temperature of the bath", "t_hop"),
    "potential_energy": ("E_pot/N", "energy of electrons and classical field per site", "t_hop"),
    "kinetic_energy": ("E_kin/N", "Σ_i p_i²/(2m) per site", "t_hop"),
    "local_slope_correlation": ("d ln L/d ln t", "slope of ln⟨L⟩ from C(r) in half a decade", "1"),
    "local_slope_structure_factor": (
        "d ln L/d ln t",
        "slope of ln⟨L⟩ from S(q) in half a decade",
        "1",
    ),
}
# Names of the two lengths in files.
LENGTHS = {"C(r)": "correlation", "S(q)": "structure_factor"}
ERROR = "standard error of the mean over replicas; NaN for one replica"


def quench_dataset(
    runs: Trajectory | Ensemble | Sequence[Trajectory], result: QuenchAnalysis
) -> xarray.Dataset:
    """Collect all arrays of a quench report.

    Args:
        runs: The run, or several runs of one system.
        result: What `analyze_trajectory` returned for it.

    Returns:
        Arrays with the attributes long_name, definition and units. Attributes of the whole are the
        order, the growth laws, the configuration of the (first) run and the versions.
    """
    ensemble = as_ensemble(runs)
    replicas = ("time", "replica")
    data: dict[str, Any] = {
        "order_parameter": (replicas, result.order_parameter),
        "order_share": (replicas, result.share),
        "neighbor_correlation": (replicas, result.neighbor_correlation),
        "correlation": (("time", "shell"), result.correlation),
        "correlation_error": (("time", "shell"), result.correlation_error),
    }
    attributes = {
        "title": "lattgnn: analysis of a quench",
        "order": str(result.order),
        "is_ordered": int(result.is_ordered),
        "ordering_wavevector": result.order.center,
        "config": json.dumps(ensemble.config),
        "versions": json.dumps(versions()),
        "runs": ", ".join(str(run.path) for run in ensemble.runs),
    }
    for name, values in result.lengths.items():
        data[f"length_{LENGTHS[name]}"] = (replicas, values)
        law, short = result.growth[name], LENGTHS[name]
        along = f"slope_time_{short}"
        data[f"local_slope_{short}"] = (along, law.slope.slope)
        data[f"local_slope_{short}_error"] = (along, law.slope.error)
        data[along] = (along, law.slope.times)
        attributes |= _growth_attributes(short, law)
    data |= _structure(ensemble, result) | _thermal(ensemble)
    dataset = xarray.Dataset(data, _coordinates(ensemble, result), attributes)
    for name, variable in dataset.variables.items():
        variable.attrs |= _describe(str(name))
    return dataset


def write_dataset(dataset: xarray.Dataset, path: str | Path) -> None:
    """Write a dataset as NetCDF (version 3), which needs no further package and is read anywhere.

    Args:
        dataset: The dataset.
        path: The file.
    """
    with atomic_file(path) as temporary:
        dataset.to_netcdf(temporary, engine="scipy", format="NETCDF3_64BIT")


def definition_rows(dataset: xarray.Dataset) -> list[tuple[str, str, str]]:
    """Symbol, definition and unit of each array that is there, for the page.

    Args:
        dataset: What `quench_dataset` returned.

    Returns:
        The rows of a table.
    """
    return [row for name, row in DEFINITIONS.items() if name in dataset.variables]


def _describe(name: str) -> dict[str, str]:
    base = name.removesuffix("_error")
    if base != name:
        meaning = (
            "half width of the 95 % confidence interval (jackknife over replicas)"
            if base.startswith("local_slope")
            else "sampling error of independent Gaussian momenta"
            if base == "kinetic_temperature"
            else ERROR
        )
        return {"long_name": f"error of {base}", "definition": meaning, "units": _unit(base)}
    if name in DEFINITIONS:
        symbol, definition, unit = DEFINITIONS[name]
        return {"long_name": symbol, "definition": definition, "units": unit}
    return {
        "time": {"long_name": "time t", "units": "hbar/t_hop"},
        "shown_time": {"long_name": "times at which S(q) is kept", "units": "hbar/t_hop"},
        "step": {"long_name": "step of each frame", "units": "1"},
        "distance": {"long_name": "distance r of each shell", "units": "a"},
        "wavevector": {"long_name": "Cartesian components of q", "units": "1/a"},
        "path_position": {"long_name": "distance along the path of S(q)", "units": "1/a"},
        "run": {"long_name": "number of the run that a replica belongs to", "units": "1"},
    }.get(name, {"long_name": name.replace("_", " "), "units": "hbar/t_hop"})


def _unit(name: str) -> str:
    return DEFINITIONS[name][2] if name in DEFINITIONS else "1"


def _coordinates(ensemble: Ensemble, result: QuenchAnalysis) -> dict[str, Any]:
    counts = [run.fields.shape[1] for run in ensemble.runs]
    return {
        "time": ("time", result.times),
        "step": ("time", ensemble.steps.astype(np.int32)),
        "run": ("replica", np.repeat(np.arange(len(counts)), counts).astype(np.int32)),
        "distance": ("shell", result.distances),
        "shown_time": ("shown_time", result.times[result.structure_frames]),
    }


def _structure(ensemble: Ensemble, result: QuenchAnalysis) -> dict[str, Any]:
    """S(q) on the zone around the ordering wavevector, and along a path."""
    lattice = ensemble.lattice
    axes = tuple(f"q{k + 1}" for k in range(lattice.dim))
    q = wavevectors(lattice, result.order.center)
    cuts, errors = structure_cuts(ensemble, result)
    path = {"path": " ".join(cuts[0].path.names), "path_corners": cuts[0].corners}
    on_path = ("shown_time", "path_position")
    return {
        "structure_factor": (("shown_time", *axes), result.structure),
        "wavevector": ((*axes, "direction"), q),
        "path_position": ("path_position", cuts[0].position),
        "structure_factor_cut": (on_path, np.stack([cut.structure for cut in cuts]), path),
        "structure_factor_cut_error": (on_path, np.stack(errors)),
    }


def _thermal(ensemble: Ensemble) -> dict[str, Any]:
    """Energies per site and kinetic temperature, where the runs have them."""
    found, n = {}, ensemble.lattice.n_sites
    if ensemble.energies is not None:
        found["potential_energy"] = (("time", "replica"), ensemble.energies / n)
    if ensemble.kinetic_energies is not None:
        found["kinetic_energy"] = (("time", "replica"), ensemble.kinetic_energies / n)
    thermal = ensemble.thermalization
    if thermal is not None:
        found["kinetic_temperature"] = (("time", "replica", "component"), thermal.temperature)
        found["kinetic_temperature_error"] = (("time", "component"), thermal.sampling_error)
        found["bath_temperature"] = (("time", "component"), thermal.bath)
    return found


def _growth_attributes(name: str, law: Any) -> dict[str, Any]:
    if law.fit is None:
        return {f"growth_{name}": law.reason}
    fit = law.fit
    found = {
        f"growth_{name}_exponent": fit.exponent,
        f"growth_{name}_interval": np.array(fit.interval),
        f"growth_{name}_window": np.array(fit.window),
    }
    return found | ({f"growth_{name}_doubt": law.reason} if law.reason else {})
