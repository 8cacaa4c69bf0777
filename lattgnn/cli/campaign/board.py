"""What a campaign shows while it runs: done, running and failed tasks, and the time left."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from lattgnn.progress import LOG_PERIOD

#: The states of a task, in the order of the columns.
STATES = ("done", "running", "failed", "skipped", "waiting")


class Board:
    """The state of every task, as a table on a terminal and as lines in a log.

    Args:
        verbs: Verb of each task, by its name.
        done: Names of the tasks that were finished before.

    Attributes:
        coming: Number of tasks of each verb that are not known yet: those of later trials.
    """

    def __init__(self, verbs: Mapping[str, str], done: Iterable[str]) -> None:
        import sys

        from rich.console import Console

        self.verbs = verbs
        self.states = dict.fromkeys(verbs, "waiting") | dict.fromkeys(done, "done")
        self.n_workers = 1
        self.coming: Counter[str] = Counter()
        self._seconds: dict[str, list[float]] = {verb: [] for verb in verbs.values()}
        self._in_lines, self._last_line = False, time.monotonic()
        # The stream of now: tasks in this process redirect stderr into their logs.
        self.console = Console(file=sys.stderr)

    def add(self, name: str, verb: str, done: bool) -> None:
        """Add a task.

        Args:
            name: Its name.
            verb: Its verb.
            done: Whether it was finished before.
        """
        # New mappings, because another thread may be drawing the table of the old ones.
        self._seconds = {verb: [], **self._seconds}
        self.verbs = {**self.verbs, name: verb}
        self.states = self.states | {name: "done" if done else "waiting"}

    def start(self, name: str) -> None:
        """Note that a task has begun."""
        if self.states.get(name) == "waiting":
            self.states[name] = "running"

    def end(self, name: str, state: str, seconds: float | None = None) -> None:
        """Note that a task has ended.

        Args:
            name: The task.
            state: Its state, one of `STATES`.
            seconds: How long it took, if it was run.
        """
        self.states[name] = state
        if seconds is not None and state == "done":
            self._seconds[self.verbs[name]].append(seconds)
        over = not self.left()
        if self._in_lines and (
            over or state == "failed" or time.monotonic() - self._last_line >= LOG_PERIOD
        ):
            self._last_line = time.monotonic()
            self.console.print(self.line(), highlight=False, soft_wrap=True)

    def left(self) -> int:
        """Number of tasks that have not ended."""
        return sum(state in ("running", "waiting") for state in self.states.values())

    def seconds_left(self) -> float | None:
        """Time to the end: mean time of a task of each verb; None before any has finished.

        A verb of which no task has finished counts as zero.
        """
        mean = {verb: sum(times) / len(times) for verb, times in self._seconds.items() if times}
        total = sum(n * mean.get(verb, 0.0) for verb, n in self._verbs_left().items())
        return total / max(self.n_workers, 1) if mean or not self.left() else None

    def _verbs_left(self) -> Counter[str]:
        """Number of tasks of each verb that have not ended."""
        left = (name for name, state in self.states.items() if state in ("running", "waiting"))
        return Counter(self.verbs[name] for name in left) + self.coming

    def time_left(self) -> str:
        """Time to the end in words; "at least" while it is unknown for some verb."""
        seconds = self.seconds_left()
        if seconds is None:
            return "unknown time"
        known = all(self._seconds[verb] for verb in self._verbs_left())
        return f"{'' if known else 'at least '}{timedelta(seconds=round(seconds))}"

    def line(self) -> str:
        """All counts in one line."""
        counts = Counter(self.states.values())
        shown = ", ".join(f"{counts[state]} {state}" for state in STATES)
        return f"{len(self.states)} tasks: {shown}; {self.time_left()} left"

    def table(self) -> Any:
        """A table with one row for each verb."""
        from rich.table import Table

        table = Table(title=f"campaign, workers: {self.n_workers}", title_justify="left")
        for heading in ("stage", *STATES, "seconds each"):
            table.add_column(heading, justify="left" if heading == "stage" else "right")
        for verb in dict.fromkeys(self.verbs.values()):
            counts = Counter(s for name, s in self.states.items() if self.verbs[name] == verb)
            times = self._seconds[verb]
            mean = f"{sum(times) / len(times):.1f}" if times else "–"
            table.add_row(verb, *(str(counts[state]) for state in STATES), mean)
        table.caption = f"time left: {self.time_left()}"
        return table

    @contextmanager
    def shown(self, enabled: bool) -> Iterator[None]:
        """Show the table within the block on a terminal, and lines otherwise.

        Args:
            enabled: False shows nothing.
        """
        self._in_lines = enabled and not self.console.is_terminal
        if not (enabled and self.console.is_terminal):
            yield
            return
        from rich.live import Live

        with Live(get_renderable=self.table, console=self.console, refresh_per_second=2):
            yield
