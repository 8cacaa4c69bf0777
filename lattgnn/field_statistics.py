"""What the fields of a training set looked like, and whether another field leaves their range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from lattgnn.errors import InputError
from lattgnn.lattice import Bonds, Lattice

PERCENTAGES = (0, 1, 50, 99, 100)
"""Percentages at which the values of a component are recorded; the first and last are the range."""

SCALES = (0, 1, 2, 4, 8, 16)
"""Edges of the blocks in cells over which a field is averaged; 0 means single sites."""

VALUE_MARGIN, SQUARE_FACTOR, CORRELATION_MARGIN = 0.1, 1.5, 0.1
"""How far a field may leave the range: in widths of the range, as a factor, and absolutely."""

_PART = 2**22  # numbers of the fields that are processed at once

N_ERRORS = 3
"""Standard errors of an uncorrelated field of the same size that are allowed in addition."""


@dataclass(frozen=True)
class Departure:
    """One way in which the frames of a run leave the range of the training fields.

    Attributes:
        quantity: What was compared.
        n_frames: Number of frames outside the range.
        first_frame: The first of them.
        worst_frame: The one that is farthest outside.
        value: The farthest value, in the worst frame.
        fraction: Largest fraction of the sites of a frame that are outside; 1 for a quantity of the
            whole frame.
        low: Smallest value in the training.
        high: Largest value in the training.
    """

    quantity: str
    n_frames: int
    first_frame: int
    worst_frame: int
    value: float
    fraction: float
    low: float
    high: float

    @property
    def excess(self) -> float:
        """How far the farthest value is outside the range of the training."""
        return max(self.low - self.value, self.value - self.high)

    def __str__(self) -> str:
        return (
            f"{self.quantity} is {self.value:.3g} in frame {self.worst_frame} "
            f"({self.low:.3g} to {self.high:.3g} in the training; {self.n_frames} frames outside, "
            f"the first is frame {self.first_frame}, up to {100 * self.fraction:.3g} % of the "
            "values)"
        )


@dataclass(frozen=True)
class FieldStatistics:
    """Range, scales and neighbor correlation of the training fields, kept in every checkpoint.

    A network is only as good as its training where a field resembles the fields of the training.
    Three things are compared: the values of the components; the mean square of the field averaged
    over blocks, which tells a smooth or uniform field from a rough one; and the correlation of
    nearest neighbors, which tells an ordered field from a disordered one.

    Args:
        n_frames: Number of training fields.
        n_components: Components per site, 0 for a scalar field.
        periodic: Along which axes the training lattice was periodic.
        percentiles: Values of each component at `PERCENTAGES`.
        mean_squares: Lowest and highest mean square of a training field averaged over blocks, for
            each of `SCALES` that fits twice on the training lattice along every axis.
        neighbor_correlation: Lowest and highest ⟨φ_i·φ_j⟩/⟨φ²⟩ of a training field, over nearest
            neighbors.

    Example:
        >>> from lattgnn.lattice import square
        >>> fields = np.random.default_rng(0).standard_normal((20, 64))
        >>> statistics = FieldStatistics.of(fields, square(8), n_components=0)
        >>> statistics.departures([np.zeros(64) + 0.01], square(8))[0].quantity
        'the mean square of the field'
    """

    n_frames: int
    n_components: int
    periodic: tuple[bool, ...]
    percentiles: tuple[tuple[float, ...], ...]
    mean_squares: tuple[tuple[float, float], ...]
    neighbor_correlation: tuple[float, float]

    @classmethod
    def of(
        cls,
        fields: Float[np.ndarray, ...],
        lattice: Lattice,
        n_components: int,
        both_signs: bool = False,
    ) -> FieldStatistics:
        """Compute the statistics of a set of fields.

        Args:
            fields: [n_frames, n_sites], or [n_frames, n_sites, n_components].
            lattice: The lattice of the fields.
            n_components: Components per site; 0 for a scalar field.
            both_signs: Whether −φ is in the set with every φ.
        """
        fields = _canonical(fields, lattice, n_components)
        flat = fields.reshape(-1, fields.shape[-1])
        flat = np.concatenate([flat, -flat]) if both_signs else flat
        scales, bonds = _scales(lattice), lattice.bonds(lattice.neighbor_distance)
        squares: list[list[np.ndarray]] = [[] for _ in scales]
        correlations = []
        # Part by part, because the products over bonds need several times the memory of the fields.
        for part in np.array_split(fields, -(-fields.size // _PART)):
            for found, edge in zip(squares, scales, strict=True):
                found.append(_mean_squares(part, lattice, edge))
            correlations.append(_neighbor_correlation(part, bonds))
        return cls(
            n_frames=len(fields),
            n_components=n_components,
            periodic=tuple(map(bool, lattice.periodic)),
            percentiles=tuple(map(tuple, np.percentile(flat, PERCENTAGES, axis=0).T.tolist())),
            mean_squares=tuple(map(_range, squares)),
            neighbor_correlation=_range(correlations),
        )

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> FieldStatistics:
        """The statistics from what `to_dict` gives.

        Raises:
            InputError: If the record is not one of these.
        """
        try:
            return cls(
                n_frames=int(record["n_frames"]),
                n_components=int(record["n_components"]),
                periodic=tuple(map(bool, record["periodic"])),
                percentiles=tuple(tuple(map(float, row)) for row in record["percentiles"]),
                mean_squares=tuple((float(a), float(b)) for a, b in record["mean_squares"]),
                neighbor_correlation=tuple(map(float, record["neighbor_correlation"])),  # type: ignore[arg-type]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"field_statistics must be those of a checkpoint, got a record with {error!r}. "
                "Use another checkpoint."
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """The statistics as plain data."""
        return asdict(self)

    def departures(
        self, frames: Iterable[Float[np.ndarray, ...]], lattice: Lattice
    ) -> list[Departure]:
        """Compare the frames of a run with the training fields.

        A value may leave the range of the training by 10 % of its width, a mean square by a factor
        of 1.5, a correlation by 0.1. For the last two, three standard errors of an uncorrelated
        field of the same size are added. A block average may be small without limit: it vanishes
        in perfect staggered order.

        Args:
            frames: Fields of one time each, [n_sites(, n_components)] or with a first axis of
                replicas. They are read one after the other.
            lattice: The lattice of the frames, of any extent.

        Returns:
            One entry for each quantity that leaves its range in at least one frame.
        """
        found: dict[str, Departure] = {}
        bonds = lattice.bonds(lattice.neighbor_distance)
        for number, frame in enumerate(frames):
            fields = _canonical(frame, lattice, self.n_components)
            every = self._values_outside(fields, number)
            every += self._averages_outside(fields, lattice, bonds, number)
            for new in every:
                old = found.get(new.quantity)
                found[new.quantity] = new if old is None else _merged(old, new)
        return list(found.values())

    def _values_outside(
        self, fields: Float[np.ndarray, "replicas n_sites components"], frame: int
    ) -> list[Departure]:
        """The components of one frame that have values outside their range."""
        found = []
        for component, row in enumerate(self.percentiles):
            low, high = row[0], row[-1]
            margin = VALUE_MARGIN * (high - low)
            values = fields[..., component]
            outside = (values < low - margin) | (values > high + margin)
            if outside.any():
                name = f"component {component} of the field" if self.n_components else "the field"
                value, fraction = _farthest(values, low, high), float(outside.mean())
                found.append(Departure(name, 1, frame, frame, value, fraction, low, high))
        return found

    def _averages_outside(
        self,
        fields: Float[np.ndarray, "replicas n_sites components"],
        lattice: Lattice,
        bonds: Bonds,
        frame: int,
    ) -> list[Departure]:
        """The mean squares and the correlation of one frame that are outside their range."""
        rows = []
        for edge, (low, high) in zip(_scales(lattice), self.mean_squares, strict=False):
            factor = SQUARE_FACTOR + N_ERRORS * math.sqrt(2 / _n_blocks(lattice, edge))
            name = "the mean square of the field"
            name += f" averaged over {'×'.join([str(edge)] * lattice.dim)} cells" if edge else ""
            values = _mean_squares(fields, lattice, edge)
            least = low / factor if edge == 0 else 0.0
            rows.append((name, values, (low, high), (least, high * factor)))
        low, high = self.neighbor_correlation
        margin = CORRELATION_MARGIN + N_ERRORS / math.sqrt(lattice.n_sites)
        values = _neighbor_correlation(fields, bonds)
        name = "the correlation of nearest neighbors"
        rows.append((name, values, (low, high), (low - margin, high + margin)))
        return [
            Departure(name, 1, frame, frame, _farthest(values, low, high), 1.0, low, high)
            for name, values, (low, high), (least, most) in rows
            if np.any((values < least) | (values > most))
        ]


def _canonical(
    fields: Float[np.ndarray, ...], lattice: Lattice, n_components: int
) -> Float[np.ndarray, "n n_sites components"]:
    """Fields in double precision with one leading axis and an axis of components."""
    return np.asarray(fields, dtype=np.float64).reshape(-1, lattice.n_sites, max(1, n_components))


def _scales(lattice: Lattice) -> list[int]:
    """The scales whose blocks fit at least twice on the lattice along every axis."""
    return [edge for edge in SCALES if 2 * edge <= min(lattice.extent)]


def _n_blocks(lattice: Lattice, edge: int) -> int:
    return math.prod(n // edge for n in lattice.extent) if edge else lattice.n_sites


def _mean_squares(
    fields: Float[np.ndarray, "n n_sites components"], lattice: Lattice, edge: int
) -> Float[np.ndarray, " n"]:
    """Mean of |average over a block|² over the blocks; cells beyond the last block are left out."""
    if edge == 0:
        return np.square(fields).sum(-1).mean(-1)
    n, components = len(fields), fields.shape[-1]
    grid = fields.reshape(n, *lattice.extent, lattice.n_sublattices, components).mean(-2)
    for axis, extent in enumerate(lattice.extent, start=1):
        n_blocks = extent // edge
        # One axis of cells becomes an axis of blocks; the cells of a block are averaged.
        whole = np.take(grid, range(n_blocks * edge), axis=axis)
        shape = (*whole.shape[:axis], n_blocks, edge, *whole.shape[axis + 1 :])
        grid = whole.reshape(shape).mean(axis + 1)
    return np.square(grid).sum(-1).reshape(n, -1).mean(-1)


def _neighbor_correlation(
    fields: Float[np.ndarray, "n n_sites components"], bonds: Bonds
) -> Float[np.ndarray, " n"]:
    """⟨φ_i·φ_j⟩/⟨φ²⟩ over nearest neighbors; 0 for a field that vanishes."""
    products = (fields[:, bonds.source] * fields[:, bonds.destination]).sum(-1).mean(-1)
    squares = np.square(fields).sum(-1).mean(-1)
    return np.divide(products, squares, out=np.zeros_like(products), where=squares > 0)


def _range(parts: Sequence[Float[np.ndarray, " n"]]) -> tuple[float, float]:
    values = np.concatenate(parts)
    return float(values.min()), float(values.max())


def _farthest(values: Float[np.ndarray, ...], low: float, high: float) -> float:
    """The value that is farthest outside an interval."""
    return float(values.flat[np.argmax(np.maximum(low - values, values - high))])


def _merged(old: Departure, new: Departure) -> Departure:
    """The departure of all frames so far, and of one more."""
    worst = new if new.excess > old.excess else old
    return replace(
        old,
        n_frames=old.n_frames + 1,
        worst_frame=worst.worst_frame,
        value=worst.value,
        fraction=max(old.fraction, new.fraction),
    )
