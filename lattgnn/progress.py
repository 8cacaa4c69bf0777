"""A progress bar for long loops, shown only when asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Seconds between two updates on a terminal, and between two lines in a log.
TERMINAL_PERIOD, LOG_PERIOD = 0.2, 10.0


@contextmanager
def progress_bar(
    total: int, done: int, n_sites: int, enabled: bool
) -> Iterator[Callable[[int], None]]:
    """Show steps done, rate in site-steps/s and time left on stderr: a bar on a terminal, else plain lines.

    Args:
        total: step at the end.
        done: step at the start, not counted in the rate.
        n_sites: sites times replicas, what a step advances.
        enabled: False shows nothing.

    Yields:
        A function to call with the step reached.
    """
    if not enabled:
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    start = last = time.perf_counter()

    def rate(step: int) -> float:
        return (step - done) * n_sites / max(time.perf_counter() - start, 1e-9)

    if not console.is_terminal:

        def line(step: int) -> None:
            nonlocal last
            now = time.perf_counter()
            if now - last >= LOG_PERIOD or step == total:
                last = now
                left = (total - step) * n_sites / max(rate(step), 1e-9)
                console.print(
                    f"step {step}/{total}, {rate(step):.2e} site-steps/s, {left:.0f} s left",
                    highlight=False,
                )

        yield line
        return
    columns = (TextColumn("step {task.completed:.0f}/{task.total:.0f}"), BarColumn())
    columns += (TextColumn("{task.fields[rate]:.2e} site-steps/s"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=total, completed=done, rate=0.0)

        def update(step: int) -> None:
            nonlocal last
            now = time.perf_counter()
            if now - last >= TERMINAL_PERIOD or step == total:
                last = now
                bar.update(task, completed=step, rate=rate(step))

        yield update
