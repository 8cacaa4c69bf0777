"""Which pictures of a quench are drawn, and from what."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from lattgnn.analysis import Cut, QuenchAnalysis, domain_length, local_order, structure_factor_cut
from lattgnn.analysis.correlations import shortest_side
from lattgnn.analysis.order import Order
from lattgnn.analysis.quench import FINITE_SIZE, components
from lattgnn.dynamics import Trajectory
from lattgnn.report.ensemble import Ensemble, as_ensemble
from lattgnn.report.growth_plots import length_plot, slope_plot
from lattgnn.report.plots import time_series
from lattgnn.report.quench_plots import correlation_plot, snapshot_panel
from lattgnn.report.structure_plots import cut_plot, structure_factor_map
from lattgnn.report.thermal_plots import energy_plot, temperature_plot

Array = np.ndarray


def analysis_figures(
    runs: Trajectory | Ensemble | Sequence[Trajectory], result: QuenchAnalysis
) -> dict[str, Figure]:
    """Draw the results of `analyze_trajectory`; domains and maps of S(q) only in two dimensions.

    Args:
        runs: The run, or several runs of one system.
        result: What `analyze_trajectory` returned for it.

    Returns:
        Figures by file name. Those that have nothing to show are left out.
    """
    ensemble = as_ensemble(runs)
    lattice, times, shown = ensemble.lattice, result.times, result.structure_frames
    figures = {}
    if lattice.dim == 2:
        fields = np.stack([ensemble.fields[int(n)][0] for n in shown])
        order = shown_order(result)
        maps = order_maps(fields, order)
        figures["snapshots"] = snapshot_panel(maps, lattice, times[shown], map_label(order))
    figures |= _growth_figures(result)
    if result.correlation.any():
        figures["correlation"] = _correlation_figure(result)
    if result.structure.any():
        # Three panels from a third of the shown frames on: before, S(q) is that of a random field.
        last = np.unique(np.linspace(len(shown) // 3, len(shown) - 1, 3).round().astype(int))
        if lattice.dim == 2:
            figures["structure_factor"] = structure_factor_map(
                result.structure[last], lattice, times[shown[last]], result.order.center
            )
        cuts, errors = structure_cuts(ensemble, result)
        figures["structure_cut"] = cut_plot(
            [cuts[n] for n in last], [errors[n] for n in last], times[shown[last]]
        )
    figures["order"] = time_series(times, _order_curves(result), "order and its correlation")
    return figures | _thermal_figures(ensemble)


def structure_cuts(
    ensemble: Ensemble, result: QuenchAnalysis
) -> tuple[list[Cut], list[Float[Array, "n"]]]:
    """Cuts of S(q) in the frames in which it is kept, and their standard errors over replicas.

    Args:
        ensemble: The runs.
        result: Their analysis.

    Returns:
        Cuts of the mean over replicas of S(q), summed over components, and the errors, which are
        NaN for one replica.
    """
    cuts, errors = [], []
    for frame in result.structure_frames:
        field = result.order.centered(components(ensemble.fields[int(frame)]))
        cut = structure_factor_cut(field, ensemble.lattice)
        values = cut.structure.sum(axis=0)
        n = len(values)
        cuts.append(Cut(cut.path, cut.position, cut.corners, values.mean(axis=0)))
        error = values.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.nan * values[0]
        errors.append(error)
    return cuts, errors


def shown_order(result: QuenchAnalysis) -> Order:
    """The pattern that pictures show: the one with the largest share in the last frame.

    It is the pattern of the analysis wherever that is present.

    Args:
        result: The analysis.
    """
    return result.candidates[0][0]


def order_maps(fields: Array, order: Order) -> Float[Array, "n_frames n_sites"]:
    """Reduce fields to one scalar per site that shows the order, for pictures.

    It is the local order for a checkerboard. For another pattern it is the field, minus its mean if
    the order `subtracts_mean`. Of a vector field, the component along the axis that carries most of
    the order in the last frame is taken.

    Args:
        fields: Frames of one replica, [frame, site] or [frame, site, component].
        order: The pattern.

    Returns:
        The scalars, in units of the field.
    """
    field = components(fields)
    is_checkerboard = order.is_checkerboard
    values = local_order(field, order.lattice) if is_checkerboard else order.centered(field)
    # Principal axis of the last frame: the eigenvector of the largest eigenvalue. Its sign is
    # arbitrary; the largest component is made positive, so that pictures can be compared.
    axis = np.linalg.eigh(values[:, -1] @ values[:, -1].T)[1][:, -1]
    return np.tensordot(axis * np.sign(axis[np.abs(axis).argmax()]), values, axes=1)


def map_label(order: Order) -> str:
    """Label of the color bar of `order_maps`.

    Args:
        order: The pattern.
    """
    if not order.subtracts_mean:  # spins
        component = "spin component along the order"
        return rf"local order $\phi_i$ ({component})" if order.is_checkerboard else component
    if order.is_checkerboard:
        return r"local order $\phi_i$ (units of the field)"
    return r"field minus mean (units of the field)"


def picture_frames(times: Float[Array, "n_frames"], n: int = 8) -> Int[Array, "n_shown"]:
    """Choose frames spread evenly in log t over the last three decades, the last frame included.

    Args:
        times: Time of each frame.
        n: Largest number of frames.

    Returns:
        Indices of the frames, ascending.
    """
    last = times[-1]
    positive = times[times > 0]
    if len(positive) == 0:
        return np.array([len(times) - 1])
    wanted = np.geomspace(max(positive[0], last / 1000), last, n)
    return np.unique(np.abs(times[:, None] - wanted).argmin(axis=0))


def _growth_figures(result: QuenchAnalysis) -> dict[str, Figure]:
    """Length and local slope; a length of the lattice's size is a single domain and not drawn."""
    side = shortest_side(result.order.lattice)
    drawn = {name: np.where(v < side, v, np.nan) for name, v in result.lengths.items()}
    later = result.times > 0
    figures = {}
    if any(np.isfinite(v[later]).all(axis=1).any() for v in drawn.values()):
        lengths = {f"from ${name}$": values for name, values in drawn.items()}
        fits = {f"from ${name}$": fit for name, fit in result.fits.items()}
        figures["domain_length"] = length_plot(result.times, lengths, fits)
    if any(len(law.slope.times) for law in result.growth.values()):
        laws = {f"from ${name}$": law for name, law in result.growth.items()}
        figures["local_slope"] = slope_plot(laws)
    return figures


def _correlation_figure(result: QuenchAnalysis) -> Figure:
    """C(r) in the last shown frames; those with a length are drawn against r/L as well."""
    frames = result.structure_frames[-6:]
    frames = frames[result.correlation[frames, 0] > 0]
    correlation = result.correlation[frames]
    with np.errstate(invalid="ignore"):
        length = domain_length(result.distances, correlation, result.fraction)
    largest = FINITE_SIZE["C(r)"] * shortest_side(result.order.lattice)
    can_be_scaled = (length < largest) & result.order.has_domains
    can_be_scaled &= np.isfinite(next(iter(result.lengths.values()))[frames]).all(axis=1)
    return correlation_plot(
        result.distances,
        correlation,
        result.times[frames],
        np.where(can_be_scaled, length, np.nan),
        result.fraction,
        result.correlation_error[frames],
    )


def _order_curves(result: QuenchAnalysis) -> dict[str, Array]:
    curves = {
        r"$|m|$ (unit of the field)": np.abs(result.order_parameter),
        "share of the pattern": result.share,
    }
    sign = -1 if result.order.is_checkerboard else 1
    if np.isfinite(result.neighbor_correlation).all():
        name = r"$-C(1)/C(0)$" if sign < 0 else r"$C(1)/C(0)$"
        curves[name] = sign * result.neighbor_correlation
    return curves


def _thermal_figures(ensemble: Ensemble) -> dict[str, Figure]:
    """Energy per site and kinetic temperature, where the runs have them."""
    figures, n = {}, ensemble.lattice.n_sites
    potential, kinetic = ensemble.energies, ensemble.kinetic_energies
    energies = {"potential energy": potential, "kinetic energy": kinetic}
    if potential is not None and kinetic is not None:
        energies["total energy"] = potential + kinetic
    curves = {name: values / n for name, values in energies.items() if values is not None}
    if curves:
        figures["energy"] = energy_plot(ensemble.times, curves)
    thermal = ensemble.thermalization
    if thermal is not None:
        figures["temperature"] = temperature_plot(
            ensemble.times, thermal.temperature.mean(axis=1), thermal.sampling_error, thermal.bath
        )
    return figures
