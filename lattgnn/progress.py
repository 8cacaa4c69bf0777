"""A progress bar for long loops: the steps of a run, and the labels of a dataset."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Seconds between two updates on a terminal, and between two lines in a log.
TERMINAL_PERIOD, LOG_PERIOD = 0.2, 10.0


@contextmanager
def progress_bar(
    total: int,
    done: int,
    enabled: bool,
    *,
    name: str = "step",
    unit: str = "site-steps",
    weight: int = 1,
) -> Iterator[Callable[[int], None]]:
    """Show the count, the rate and the time left on stderr: a bar on a terminal, otherwise lines.

    Args:
        total: Count at the end.
        done: Count at the start, which does not enter the rate.
        enabled: False shows nothing.
        name: What is counted.
        unit: Unit of the rate, per second.
        weight: Units per count, such as sites × replicas per step.

    Yields:
        A function to call with the count reached.
    """
    if not enabled:
        yield lambda count: None
        return
    # Imported late: most programs show no bar.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        clock = _Clock(total, done, LOG_PERIOD)

        def show_line(count: int) -> None:
            if clock.is_due(count):
                rate = clock.rate(count)
                console.print(
                    f"{name} {count}/{total}, {rate * weight:.3g} {unit}/s, "
                    f"{(total - count) / rate:.0f} s left",
                    highlight=False,
                )

        yield show_line
        return
    columns = (TextColumn(f"{name} {{task.completed:.0f}}/{{task.total:.0f}}"), BarColumn())
    columns += (TextColumn(f"{{task.fields[rate]:.3g}} {unit}/s"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=total, completed=done, rate=0.0)
        clock = _Clock(total, done, TERMINAL_PERIOD)

        def move_bar(count: int) -> None:
            if clock.is_due(count):
                bar.update(task, completed=count, rate=clock.rate(count) * weight)

        yield move_bar


class _Clock:
    """Decides when to show a count, since a step may take far less time than printing it."""

    def __init__(self, total: int, done: int, period: float) -> None:
        self.total, self.done, self.period = total, done, period
        self.start = self.last = time.perf_counter()

    def is_due(self, count: int) -> bool:
        """Whether the period is over, or the end is reached."""
        now = time.perf_counter()
        due = now - self.last >= self.period or count == self.total
        if due:
            self.last = now
        return due

    def rate(self, count: int) -> float:
        """Counts per second since the start; positive, so that it may divide."""
        return max(count - self.done, 1e-9) / max(time.perf_counter() - self.start, 1e-9)
