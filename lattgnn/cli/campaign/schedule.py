"""The order of the tasks of a campaign: what can start, what is skipped, what is finished."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from lattgnn.cli.campaign.board import Board
from lattgnn.cli.campaign.plan import Plan
from lattgnn.cli.campaign.search import Trials
from lattgnn.cli.campaign.tasks import STARTED, Outcome, Task, is_finished, run_task
from lattgnn.data.cluster import WorkerDiedError
from lattgnn.data.workers import cluster, run_all
from lattgnn.errors import InputError, StoppedRunError
from lattgnn.files import atomic_write_text
from lattgnn.serialize import config_differences

# Options that change no result.
_FREE = {"threads", "progress", "report", "wandb", "data.n_workers", "data.progress", "n_workers"}


class Schedule:
    """The tasks that are left of a campaign, and how the others have ended.

    Attributes:
        board: The state of every task.
        errors: What went wrong, by the name of the task.
        submitted: Names of the tasks that this call has started.
        trials: The trials of a search, which add tasks while others run.
    """

    def __init__(self, plan: Plan, trials: Trials | None = None) -> None:
        self.plan, self.trials = plan, trials
        self.board = Board({}, [])
        self.errors: dict[str, str] = {}
        self.submitted: set[str] = set()
        self._note_tasks()

    def ready(self) -> list[Task]:
        """The tasks that can start now, each once; their configurations are written."""
        found = self._startable()
        while self.trials is not None and self.trials.advance(self.board):
            self._note_tasks()
            found += self._startable()
        return found

    def _note_tasks(self) -> None:
        """Put the new tasks of the plan on the board."""
        for name, task in self.plan.tasks.items():
            if name not in self.board.states:
                done = task.verb != "analyze" or self._has_all_runs(task)
                self.board.add(name, task.verb, done and is_finished(task))

    def _has_all_runs(self, task: Task) -> bool:
        """Whether all runs of an analysis are done; otherwise `_analysis` decides when they end."""
        return all(self.board.states[name] == "done" for name in task.needs)

    def _startable(self) -> list[Task]:
        """The tasks of the plan that can start now."""
        found = []
        for name, task in self.plan.tasks.items():
            if self.board.states[name] != "waiting" or name in self.submitted:
                continue
            states = [self.board.states[needed] for needed in task.needs]
            if any(state in ("waiting", "running") for state in states):
                continue
            if task.verb == "analyze":
                task = self._analysis(task)
                if task is None:
                    continue
            elif any(state != "done" for state in states):
                self.board.end(name, "skipped")
                continue
            task.write()
            self.submitted.add(name)
            found.append(task)
        return found

    def end(self, name: str, outcome: Outcome) -> None:
        """Note how a task has ended."""
        if outcome.error:
            self.errors[name] = outcome.error
        self.board.end(name, "failed" if outcome.error else "done", outcome.seconds)

    def _analysis(self, task: Task) -> Task | None:
        """The analysis of the runs that are finished; None if there is nothing to do."""
        finished = [name for name in task.needs if self.board.states[name] == "done"]
        if not finished:
            self.board.end(task.name, "skipped")
            return None
        runs = [str(self.plan.tasks[name].output) for name in finished]
        task = replace(task, config=task.config | {"runs": runs})
        if is_finished(task):
            self.board.end(task.name, "done")
            return None
        # An old report of other runs must not pass for the new one.
        (task.output / "metrics.json").unlink(missing_ok=True)
        return task


def check_unchanged(plan: Plan) -> None:
    """Refuse to mix the results of two configurations in one folder.

    Raises:
        InputError: If the folder of a run or a fit holds one with another configuration.
    """
    for name, task in plan.tasks.items():
        old = task.written() if task.verb in ("fit", "simulate") else None
        if old is None or not task.output.exists():
            continue
        for key, (before, now) in config_differences(old, task.config).items():
            # A run may be made longer.
            longer = key == "n_steps" and task.verb == "simulate" and now >= before
            if key not in _FREE and not longer:
                raise InputError(
                    f"{plan.out} holds {name} with {key}={before!r}, got {now!r}. Use another "
                    "--out, or remove this folder."
                )


def check_kept(plan: Plan, earlier: Plan) -> None:
    """Refuse a scan without points that are finished: the results would leave them out.

    Args:
        plan: The campaign.
        earlier: The campaign that its folder holds.

    Raises:
        InputError: If a finished run or fit of the earlier campaign is not part of this one.
    """
    left_out = []
    for name, task in earlier.tasks.items():
        if task.verb in ("fit", "simulate") and name not in plan.tasks and is_finished(task):
            left_out.append(name)
    if left_out:
        more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        raise InputError(
            f"{plan.out} holds results that this campaign leaves out: {left_out[0]}{more}. Keep "
            "these values and seeds and add others to them, or use another --out."
        )


def check_same_search(
    earlier: Mapping[str, Any], now: Mapping[str, Any], may_change: Sequence[str] = ()
) -> None:
    """Refuse to continue a search with another configuration; it may have more trials.

    A search compares its trials, so all of them must have the same options.

    Args:
        earlier: The configuration of the campaign that the folder holds.
        now: The new one. Nothing is refused if neither is a search.
        may_change: Keys that may differ, beside those that change no result.

    Raises:
        InputError: If they differ.
    """
    if earlier.get("search") is None and now.get("search") is None:
        return
    kept = {key: value for key, value in earlier.items() if key not in ("out", "title", "modules")}
    current = {key: now.get(key) for key in {*kept, "search"}}
    for key, (before, value) in config_differences(kept, current).items():
        if key not in (*may_change, "search.n_trials") and key.partition(".")[2] not in _FREE:
            raise InputError(
                f"the folder of this search holds one with {key}={before!r}, got {value!r}. Use "
                "another --out."
            )


def run_schedule(schedule: Schedule, n_workers: int | None) -> None:
    """Run all tasks that are left. A failed task stops nothing but what needs it.

    Args:
        schedule: The tasks.
        n_workers: Number of local processes, see `lattgnn.data.workers.cluster`.

    Raises:
        InputError: If workers have several threads.
        StoppedRunError: If the connection to the scheduler is lost.
    """
    todo, board = schedule.ready(), schedule.board
    if not todo:
        return
    n_tasks = board.left() + sum(board.coming.values())
    with cluster(n_workers, n_tasks) as client:
        if client is not None:
            _check_threads(client)
            board.n_workers = len(client.nthreads())
            todo += schedule.ready()  # a search asks for as many trials as there are workers
            client.subscribe_topic(STARTED, lambda event: board.start(event[1]))
        for task, result in run_all(client, run_task, todo, schedule.ready):
            board.start(task.name)
            schedule.end(task.name, _outcome(task, result))
            if client is not None:
                with suppress(OSError):  # a lost connection is reported with the next task
                    board.n_workers = len(client.nthreads())


def _outcome(task: Task, result: Callable[[], Outcome]) -> Outcome:
    """The outcome of a task, also if its workers have died.

    Raises:
        StoppedRunError: If the connection to the scheduler is lost.
    """
    try:
        return result()
    except StoppedRunError as error:
        if not isinstance(error, WorkerDiedError):
            raise
        atomic_write_text(task.log, f"{error}\n")
        return Outcome(str(error), 0.0)


def _check_threads(client: Any) -> None:
    """Refuse workers with several threads, of which each would run tasks of its own."""
    counts: Iterable[int] = client.nthreads().values()
    if any(n != 1 for n in counts):
        raise InputError(
            f"every dask worker must have one thread, got {max(counts)}. Start more workers with "
            "one thread each: dask worker --nworkers N --nthreads 1."
        )
