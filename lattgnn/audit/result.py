"""What an audit finds: errors by window of time with their intervals, and the worst sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lattgnn.audit.intervals import Estimate, Stratum, ratio_estimate
from lattgnn.audit.sampling import Draw, Window
from lattgnn.audit.store import SolvedPatch

Array = np.ndarray
N_WORST = 10
#: The error of the reference is called negligible if its square is below this part of the mean
#: square error.
NEGLIGIBLE = 0.05


@dataclass(frozen=True)
class WindowErrors:
    """Errors of the force on one site, of frames in a window of time.

    Attributes:
        first_step: Step of the first frame.
        last_step: Step of the last frame.
        first_time: Time of the first frame.
        last_time: Time of the last frame.
        n_frames: Frames of the window, of which the patches were drawn.
        n_patches: Patches that were solved.
        n_sites: Sites in their cores.
        mse: Mean square error of a component of the force.
        mse_of_component: The same for each component of a field with several.
        relative: Root-mean-square error by the root mean square of the total force.
        unexplained: 1 − R² of the total force.
        reference_mse: Mean square error of the reference, estimated from its refinement on
            `n_checked` patches; 0 if it is exact, NaN if it was not estimated.
        n_checked: Patches that were solved again by a refined reference.
    """

    first_step: int
    last_step: int
    first_time: float
    last_time: float
    n_frames: int
    n_patches: int
    n_sites: int
    mse: Estimate
    mse_of_component: tuple[Estimate, ...]
    relative: Estimate
    unexplained: Estimate
    reference_mse: float
    n_checked: int

    @property
    def rms(self) -> Estimate:
        """Root-mean-square error of a component of the force."""
        return self.mse.root()

    @property
    def reference_is_good(self) -> bool:
        """Whether the error of the reference can be neglected."""
        return self.reference_mse <= NEGLIGIBLE * self.mse.value

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        found: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Estimate):
                value = value.to_dict()
            elif isinstance(value, tuple):
                value = [estimate.to_dict() for estimate in value]
            elif value != value:
                value = None
            found[name] = value
        return found | {"rms": self.rms.to_dict(), "reference_is_good": self.reference_is_good}


@dataclass(frozen=True)
class WorstSite:
    """A site with a large error.

    Attributes:
        step: Step of the frame.
        time: Time of the frame.
        replica: Replica of the run.
        site: Index of the site in the lattice of the run.
        position: Its Cartesian position.
        error: Length of the difference of the forces.
        run: Electronic force of the run.
        reference: Electronic force of the reference.
    """

    step: int
    time: float
    replica: int
    site: int
    position: tuple[float, ...]
    error: float
    run: tuple[float, ...]
    reference: tuple[float, ...]


@dataclass(frozen=True)
class Audit:
    """The errors of the forces of a run.

    Attributes:
        windows: Errors by window of time.
        total: Errors of all saved frames, each with the same weight.
        worst: The sites with the largest errors, largest first.
        config: What determines the audit: run, solver, core, extent, windows, seed.
        tangent: Whether all forces are the parts of effective fields perpendicular to the spins,
            because the network of the run gives no other part.
    """

    windows: tuple[WindowErrors, ...]
    total: WindowErrors
    worst: tuple[WorstSite, ...]
    config: dict[str, Any]
    tangent: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "total": self.total.to_dict(),
            "windows": [window.to_dict() for window in self.windows],
            "worst_sites": [asdict(site) for site in self.worst],
            "config": self.config,
            "tangent": self.tangent,
        }


@dataclass(frozen=True)
class Sample:
    """The patches of one window.

    Attributes:
        window: The window.
        patches: Its patches.
        weight: Share of its frames in all frames.
        sampled: Fraction of all patches of the window that were drawn; 0 if there is no end of
            them, because cores may begin anywhere.
    """

    window: Window
    patches: tuple[SolvedPatch, ...]
    weight: float
    sampled: float


def window_errors(samples: Sequence[Sample], dt: float, is_exact: bool) -> WindowErrors:
    """The errors of one window, or of several together.

    Args:
        samples: The patches of the windows.
        dt: Time of a step.
        is_exact: Whether the reference has no error, so that none is estimated.
    """
    mean = _mean_force(samples)
    sums_by_window = zip(*(_sums(sample, mean) for sample in samples), strict=True)
    squares, sizes, spread, counts = map(list, sums_by_window)
    n_components = squares[0].shape[1]

    def estimate(above: list[Array], below: list[Array]) -> Estimate:
        strata = []
        for sample, a, b in zip(samples, above, below, strict=True):
            strata.append(Stratum(a, b, sample.weight, sample.sampled))
        return ratio_estimate(strata)

    sums = [part.sum(1) for part in squares]
    numbers = [n_components * part for part in counts]
    each = []
    for component in range(n_components if n_components > 1 else 0):
        each.append(estimate([part[:, component] for part in squares], counts))
    reference_mse, n_checked = _reference_error(samples, is_exact)
    first, last = samples[0].window.first_step, samples[-1].window.last_step
    return WindowErrors(
        first_step=first,
        last_step=last,
        first_time=first * dt,
        last_time=last * dt,
        n_frames=sum(len(sample.window.frames) for sample in samples),
        n_patches=sum(len(sample.patches) for sample in samples),
        n_sites=int(sum(part.sum() for part in counts)),
        mse=estimate(sums, numbers),
        mse_of_component=tuple(each),
        relative=estimate(sums, sizes).root(),
        unexplained=estimate(sums, spread),
        reference_mse=reference_mse,
        n_checked=n_checked,
    )


def _sums(sample: Sample, mean: Array) -> tuple[Array, Array, Array, Array]:
    """Sums over the core of each patch: what the errors of a window are made of.

    Returns:
        Squared errors of each component [n_patches, n_components], squared forces [n_patches],
        squared deviations of the forces from their mean [n_patches], and sites [n_patches].
    """
    squares, sizes, spread, counts = [], [], [], []
    for patch in sample.patches:
        error = _components(patch.run - patch.reference)
        total = _components(patch.reference + patch.classical)
        squares.append(np.square(error).sum(0))
        sizes.append(np.square(total).sum())
        spread.append(np.square(total - mean).sum())
        counts.append(float(len(error)))
    return np.array(squares), np.array(sizes), np.array(spread), np.array(counts)


def worst_sites(
    samples: Sequence[Sample], steps: Array, dt: float, positions: Array
) -> tuple[WorstSite, ...]:
    """The sites with the largest errors; a site that two patches share counts once.

    Args:
        samples: The patches of all windows.
        steps: Step of each frame.
        dt: Time of a step.
        positions: Position of each site.
    """
    found: dict[tuple[int, int, int], WorstSite] = {}
    for patch in (patch for sample in samples for patch in sample.patches):
        run, reference = _components(patch.run), _components(patch.reference)
        sizes = np.linalg.norm(run - reference, axis=1)
        frame, replica = (int(number) for number in patch.place[:2])
        for k in np.argsort(-sizes)[:N_WORST]:
            site, step = int(patch.core[k]), int(steps[frame])
            where = tuple(float(x) for x in positions[site])
            forces = tuple(run[k].tolist()), tuple(reference[k].tolist())
            found[frame, replica, site] = WorstSite(
                step, step * dt, replica, site, where, float(sizes[k]), *forces
            )
    return tuple(sorted(found.values(), key=lambda worst: -worst.error)[:N_WORST])


def samples_of(
    windows: Sequence[Window],
    draws: Sequence[Draw],
    patches: Sequence[SolvedPatch],
    n_replicas: int,
    is_whole: bool,
) -> list[Sample]:
    """The patches by window.

    Args:
        windows: The windows.
        draws: The patches that were drawn.
        patches: Their forces.
        n_replicas: Number of replicas of the run.
        is_whole: Whether a patch is the whole lattice.
    """
    total = sum(len(window.frames) for window in windows)
    found = []
    for number, window in enumerate(windows):
        own = [p for d, p in zip(draws, patches, strict=True) if d.window == number]
        sampled = len(own) / (len(window.frames) * n_replicas) if is_whole else 0.0
        found.append(Sample(window, tuple(own), len(window.frames) / total, sampled))
    return found


def _components(forces: Array) -> Array:
    """Forces [n_sites, n_components], with one component for scalar fields."""
    return forces.reshape(len(forces), -1)


def _mean_force(samples: Sequence[Sample]) -> Array:
    """Mean total force of each component, relative to which R² is measured."""
    above: Array | float = 0.0
    below = 0.0
    for sample in samples:
        share = sample.weight / len(sample.patches)
        for patch in sample.patches:
            total = _components(patch.reference + patch.classical)
            above = above + share * total.sum(0)
            below += share * len(total)
    return np.asarray(above / below)


def _reference_error(samples: Sequence[Sample], is_exact: bool) -> tuple[float, int]:
    """Mean square difference of the reference from its refinement, and the number of patches."""
    if is_exact:
        return 0.0, 0
    above = below = 0.0
    n_checked = 0
    for sample in samples:
        checked = [patch for patch in sample.patches if len(patch.refined)]
        for patch in checked:
            share = sample.weight / len(checked)
            above += share * float(np.square(patch.refined - patch.reference).sum())
            below += share * patch.reference.size
        n_checked += len(checked)
    return (above / below if below else float("nan")), n_checked
