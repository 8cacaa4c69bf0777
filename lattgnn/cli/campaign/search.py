"""A search of hyperparameters: optuna chooses the points of a campaign, one trial after another."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from lattgnn.cli.campaign.board import Board
from lattgnn.cli.campaign.plan import Plan
from lattgnn.cli.campaign.scan import Point, axis, label, read_parameters, short_name
from lattgnn.errors import InputError, MissingExtraError, check_number, suggestion

#: The trials of a search in the folder of its campaign, in the journal format of optuna.
JOURNAL = "search.journal"
#: The name of the study in the journal.
STUDY = "lattgnn"
_KEYS = ("metric", "space", "n_trials", "direction", "seed")
_RANGE_KEYS = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Search:
    """What is searched for.

    Attributes:
        metric: Name of the number that is made small or large.
        n_trials: Number of trials, failed ones included.
        direction: "minimize" or "maximize".
        seed: Seed of the choices.
        options: Options that each parameter sets, by its name.
        distributions: The distribution of each parameter, an object of optuna.
        choices: Values by their labels, of each parameter that has a list of values.
    """

    metric: str
    n_trials: int
    direction: str
    seed: int
    options: Mapping[str, Sequence[str]]
    distributions: Mapping[str, Any]
    choices: Mapping[str, Mapping[float | str, Any]]

    def point(self, chosen: Mapping[str, Any]) -> Point:
        """The point of a trial.

        Args:
            chosen: A number, or the label of a value, for each parameter.
        """
        values, labels = {}, {}
        for name in self.distributions:
            labels[name] = label(chosen[name])
            known = self.choices.get(name)
            values[name] = chosen[name] if known is None else known[labels[name]]
        return Point(values, labels)

    def extremes(self) -> list[Point]:
        """Points that contain the ends of all ranges and every value of the lists."""
        sides = {}
        for name, distribution in self.distributions.items():
            sides[name] = list(self.choices.get(name, ())) or [distribution.low, distribution.high]
        n = max(2, *map(len, sides.values()))
        return [self.point({k: side[i % len(side)] for k, side in sides.items()}) for i in range(n)]


def read_search(given: Any, parameters: Mapping[str, Any] | None) -> Search:
    """Read the key `search` of a campaign.

    Args:
        given: Its contents.
        parameters: Options by the name of a parameter.

    Raises:
        InputError: If it is not valid.
        MissingExtraError: If optuna is not installed.
    """
    optuna = _optuna()
    if not isinstance(given, Mapping) or not {"metric", "space"} <= given.keys() <= set(_KEYS):
        raise InputError(
            f"search must have the keys metric and space, and may have {', '.join(_KEYS[2:])}, "
            f"got {given!r}."
        )
    space, direction = given["space"], given.get("direction", "minimize")
    if not isinstance(space, Mapping) or not space:
        raise InputError(f"search.space must map parameters to values or ranges, got {space!r}.")
    if direction not in ("minimize", "maximize"):
        raise InputError(f"search.direction must be 'minimize' or 'maximize', got {direction!r}.")
    n_trials, seed = given.get("n_trials", 20), given.get("seed", 0)
    check_number("search.n_trials", n_trials, 1)
    check_number("search.seed", seed, 0)
    options = read_parameters(parameters, [space], "search.space")
    entries = {short_name(key): (key, values) for key, values in space.items()}
    distributions, choices = {}, {}
    for name in options:
        if name not in entries:
            raise InputError(f"search.space: {name} must be a key of its own.")
        key, values = entries[name]
        if isinstance(values, Mapping) and values.keys() & {"low", "high"}:
            distributions[name] = _range(optuna, key, values)
            continue
        pairs = [entry[name] for entry in axis(key, values, "search.space")]
        choices[name] = {text: value for value, text in pairs}
        distributions[name] = optuna.distributions.CategoricalDistribution(list(choices[name]))
    return Search(str(given["metric"]), n_trials, direction, seed, options, distributions, choices)


def open_study(search: Search, file: Path) -> Any:
    """Open the study of a search, or begin it.

    The caller holds the lock of the campaign, so no other process uses the file.

    Args:
        search: The search.
        file: The journal.

    Returns:
        The study of optuna.
    """
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():  # a process that was killed may have left half a line, and its lock
        whole = file.read_bytes().rfind(b"\n") + 1
        with file.open("r+b") as journal:
            journal.truncate(whole)
    Path(f"{file}.lock").unlink(missing_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(file))
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name=STUDY,
        direction=search.direction,
        load_if_exists=True,
    )


class Trials:
    """The trials of a search as points of a plan.

    Trials that have a value, and those that were interrupted, are points from the beginning.
    Failed ones are not repeated.

    Args:
        search: The search.
        study: Its study, see `open_study`.
        plan: The plan, to which points are added.
    """

    def __init__(self, search: Search, study: Any, plan: Plan) -> None:
        self.search, self.study, self.plan = search, study, plan
        self._running: dict[int, int] = {}  # number of the point by number of the trial
        for trial in self._asked():
            if trial.state.name != "FAIL":
                number = self._point(trial)
                if not trial.state.is_finished():
                    self._running[trial.number] = number

    def advance(self, board: Board) -> bool:
        """Tell optuna the results of finished trials, and ask for another trial if workers wait.

        Args:
            board: The states of the tasks.

        Returns:
            Whether the plan has another trial.

        Raises:
            InputError: If no result has the name of the metric.
        """
        for trial, number in list(self._running.items()):
            states = {board.states[name] for name in self._tasks(number)}
            if not states & {"waiting", "running"}:
                value = self._value(number) if states == {"done"} else np.nan
                if np.isfinite(value):
                    self.study.tell(trial, value)
                else:
                    self.study.tell(trial, state=_optuna().trial.TrialState.FAIL)
                del self._running[trial]
        n_asked = len(self._asked())
        n_left = max(0, self.search.n_trials - n_asked)
        if not n_left or board.left() >= max(1, board.n_workers):
            return False
        # A seed of its own for each trial: a search that was interrupted goes on as it would have.
        seed = int(np.random.SeedSequence([self.search.seed, n_asked]).generate_state(1)[0])
        # constant_liar: points whose results are not known yet are not chosen again.
        self.study.sampler = _optuna().samplers.TPESampler(seed=seed, constant_liar=True)
        trial = self.study.ask(dict(self.search.distributions))
        known = set(self.plan.tasks)
        self._running[trial.number] = self._point(trial)
        added = Counter(task.verb for name, task in self.plan.tasks.items() if name not in known)
        board.coming = Counter({verb: n * (n_left - 1) for verb, n in added.items()})
        return True

    def summary(self) -> str:
        """A line that says how many trials there are, and which is the best."""
        trials = self._asked()
        n_values = sum(trial.value is not None for trial in trials)
        text = f"{len(trials)} trials, {len(trials) - n_values} without a result"
        if not n_values:
            return text
        best = self.study.best_trial
        name = self.search.point(best.params).name(list(self.plan.parameters))
        return f"{text}; the best has {self.search.metric}={best.value:.6g}: {name}"

    def _asked(self) -> list[Any]:
        """All trials, without those of which a killed process has not written all parameters."""
        names = self.search.distributions.keys()
        return [trial for trial in self.study.trials if names <= trial.params.keys()]

    def _point(self, trial: Any) -> int:
        """The number of the point of a trial; two trials may have the same one."""
        point = self.search.point(trial.params)
        names = [known.name(list(self.plan.parameters)) for known in self.plan.points]
        name = point.name(list(self.plan.parameters))
        if name in names:
            return names.index(name)
        self.plan.add(point)
        return len(names)

    def _tasks(self, number: int) -> set[str]:
        return {name for (_, point, _), name in self.plan.runs.items() if point == number}

    def _value(self, number: int) -> float:
        """The metric of a point: of a fit its best value over the epochs; the mean over seeds."""
        metric, values, known = self.search.metric, [], set()
        for name in sorted(self._tasks(number)):
            task = self.plan.tasks[name]
            numbers: Mapping[str, Any] = {}
            if task.verb == "fit":
                numbers = self._fit_numbers(task.output)
            elif task.verb == "analyze":
                numbers = json.loads((task.output / "metrics.json").read_text(encoding="utf-8"))
            known |= numbers.keys()
            if metric in numbers:
                values.append(numbers[metric])
        if not values:
            raise InputError(
                "search.metric must be a number of the fit or of the analysis, got "
                f"{metric!r}. {suggestion(metric, sorted(known))}"
            )
        numeric = all(isinstance(value, int | float) for value in values)  # null: does not exist
        return float(np.mean(values)) if numeric else np.nan

    def _fit_numbers(self, folder: Path) -> dict[str, float]:
        from lattgnn.report.fit_report import read_fit  # matplotlib only where something is drawn

        best = np.min if self.search.direction == "minimize" else np.max
        found = {}
        for name, column in read_fit(folder).columns.items():
            logged = column[np.isfinite(column)]
            found[name] = float(best(logged)) if len(logged) else np.nan
        return found


def _range(optuna: Any, key: str, given: Mapping[str, Any]) -> Any:
    """The distribution of a range; it is one of integers if both ends are integers."""
    numbers = [given.get(name) for name in ("low", "high")]
    if not all(type(x) in (int, float) for x in numbers) or given.keys() - set(_RANGE_KEYS):
        raise InputError(
            f"search.space: the range of {key} must have numbers low and high, and may have log "
            f"and step, got {dict(given)!r}."
        )
    integers = all(isinstance(x, int) for x in numbers)
    kind = "IntDistribution" if integers else "FloatDistribution"
    options = ({"step": 1} if integers else {}) | dict(given)
    try:
        return getattr(optuna.distributions, kind)(**options)
    except (TypeError, ValueError) as error:
        raise InputError(f"search.space: the range of {key} is not valid: {error}") from error


def _optuna() -> Any:
    """The package optuna, which is optional."""
    try:
        return import_module("optuna")
    except ImportError as error:
        raise MissingExtraError(
            "a search needs optuna. Install it with: pip install 'lattgnn[optuna]', or use scan "
            "instead."
        ) from error
