"""The errors that `validate` and `test` report, by window of the quench."""

from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn

from lattgnn.data.dataset import WINDOW_NAMES
from lattgnn.nn import tangent_part
from lattgnn.training.metrics import ForceErrors, SampleSums

WINDOWS = ("all", "quench", *WINDOW_NAMES)
"""Groups of samples for which errors are reported.

These are all samples, all quench steps, each window of quench steps, and random fields.
"""
TANGENT = "tangent"
"""Errors of the part tangent to the spheres of the spins, over all samples; spin models only."""


class WindowErrors(nn.ModuleDict):
    """Errors of the stages `val` and `test`, by window.

    Args:
        has_spins: Whether the field is a spin. Then the errors of the tangent part are reported
            too.
        is_tangent: Whether the network gives the tangent part alone. Then every error is that of
            the tangent part.
    """

    def __init__(self, has_spins: bool, is_tangent: bool) -> None:
        super().__init__()
        self.has_spins, self.is_tangent = has_spins, is_tangent
        self.windows = (*WINDOWS, TANGENT) if has_spins else WINDOWS
        for stage in ("val", "test"):
            for window in self.windows:
                self[f"{stage}_{window}"] = ForceErrors()

    def of(self, stage: str, window: str) -> ForceErrors:
        """The errors of a window.

        Args:
            stage: `val` or `test`.
            window: One of `windows`.
        """
        return cast(ForceErrors, self[f"{stage}_{window}"])

    def collect(
        self, stage: str, batch: dict[str, Tensor], forces: Tensor, elastic: Tensor
    ) -> None:
        """Add the errors of one batch.

        Args:
            stage: `val` or `test`.
            batch: Fields, exact electronic forces, and the window of each sample.
            forces: Predicted electronic forces, [batch, ...].
            elastic: Elastic forces, with the same shape.
        """
        vectors = (forces, batch["forces"], elastic)
        if self.has_spins:
            across = [tangent_part(vector, batch["field"]) for vector in vectors]
            sums_across = SampleSums.of(*across)
            self.of(stage, TANGENT).update(sums_across)
            sums = sums_across if self.is_tangent else SampleSums.of(*vectors)
        else:
            sums = SampleSums.of(*vectors)
        self.of(stage, "all").update(sums)
        for index, name in enumerate(WINDOW_NAMES):
            # Even if no sample is chosen: all processes must update the same metrics.
            chosen = batch["window"] == index
            self.of(stage, name).update(sums, chosen)
            if name != "random":
                self.of(stage, "quench").update(sums, chosen)

    def take(self, stage: str) -> Iterator[tuple[str, Tensor]]:
        """The name and value of each figure of a stage, whose errors start again from zero.

        Args:
            stage: `val` or `test`.
        """
        for window in self.windows:
            metric = self.of(stage, window)
            for figure, value in metric.compute().items():
                yield f"{stage}/{window}/{figure}", value
            metric.reset()
