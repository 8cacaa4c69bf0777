"""The tasks of a campaign: what is run for each point and seed, and what needs what."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lattgnn.cli.campaign.scan import Grid, Point, label, points, read_parameters
from lattgnn.cli.campaign.stages import (
    STAGES,
    Config,
    get_option,
    labels_of_fit,
    merged,
    set_option,
)
from lattgnn.cli.campaign.tasks import Task
from lattgnn.errors import InputError, check_number
from lattgnn.serialize import config_hash

#: The option that a seed sets unless the campaign says otherwise: that of the last stage with one.
_SEEDS = {
    "simulate": "simulate.initial.seed",
    "fit": "fit.seed_everything",
    "generate": "generate.seed",
}


@dataclass(frozen=True)
class Plan:
    """All tasks of a campaign.

    Attributes:
        out: Folder of the campaign.
        stages: Base configurations by stage.
        parameters: Options that each scanned parameter sets, by its name.
        n_seeds: Number of seeds of each point.
        seed_options: The options that a seed sets.
        modules: Modules that every task imports.
        points: The points of the scan.
        labels: Label of every parameter at each point; a parameter that a grid leaves out has the
            value of the base configuration, or the label "base".
        tasks: The tasks by name; a task comes after those that it needs.
        runs: Names of the tasks of a stage, by stage, number of the point, and seed.
    """

    out: Path
    stages: Mapping[str, Config]
    parameters: Mapping[str, Sequence[str]]
    n_seeds: int
    seed_options: Sequence[str]
    modules: tuple[str, ...] = ()
    points: list[Point] = field(default_factory=list)
    labels: list[Mapping[str, float | str]] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    runs: dict[tuple[str, int, int], str] = field(default_factory=dict)

    def add(self, point: Point) -> None:
        """Add a point with the tasks of all its seeds.

        Args:
            point: The point, which the plan must not have yet.

        Raises:
            InputError: If an option cannot be set.
        """
        number = len(self.points)
        labels = {}
        for name, options in self.parameters.items():
            base = _base_label(get_option(self.stages, options[0]))
            labels[name] = point.labels.get(name, base)
        self.points.append(point)
        self.labels.append(labels)
        for seed in range(self.n_seeds):
            _Chain(self, number, seed, _options_of(self, point, seed)).add()


def make_plan(
    stages: Mapping[str, Config],
    parameters: Mapping[str, Any] | None,
    scan: Grid | Sequence[Grid],
    n_seeds: int,
    seed_options: Sequence[str] | None,
    out: Path,
    modules: Sequence[str] = (),
) -> Plan:
    """List the tasks of a campaign.

    Args:
        stages: Base configurations by stage.
        parameters: Options by the name of a scanned parameter.
        scan: A grid, or several whose points are joined: values by parameter.
        n_seeds: Number of seeds of each point, from 0.
        seed_options: The options that a seed sets. Default: the seed of the last stage.
        out: Folder of the campaign.
        modules: Modules that every task imports.

    Raises:
        InputError: If the scan is not valid, or an option cannot be set.
    """
    grids = [scan] if isinstance(scan, Mapping) else list(scan)
    options = read_parameters(parameters, grids)
    plan = empty_plan(stages, options, n_seeds, seed_options, out, modules)
    for point in points(grids, list(options)):
        plan.add(point)
    return plan


def empty_plan(
    stages: Mapping[str, Config],
    options: Mapping[str, Sequence[str]],
    n_seeds: int,
    seed_options: Sequence[str] | None,
    out: Path,
    modules: Sequence[str] = (),
) -> Plan:
    """A plan without points.

    Args:
        stages: Base configurations by stage.
        options: Options that each parameter sets, by its name.
        n_seeds: Number of seeds of each point, from 0.
        seed_options: The options that a seed sets. Default: the seed of the last stage.
        out: Folder of the campaign.
        modules: Modules that every task imports.

    Raises:
        InputError: If the number of seeds is not valid.
    """
    check_number("n_seeds", n_seeds, 1)
    seeded = _seed_options(stages, seed_options)
    return Plan(out, stages, options, n_seeds, seeded, tuple(modules))


def check_no_seeds(
    given: Sequence[str], stages: Mapping[str, Config], seed_options: Sequence[str] | None
) -> None:
    """Refuse options of the command line that the seeds of the campaign would replace.

    Args:
        given: The dotted options.
        stages: Base configurations by stage.
        seed_options: The options that a seed sets. Default: the seed of the last stage.

    Raises:
        InputError: If one of them is an option that a seed sets.
    """
    for option in _seed_options(stages, seed_options):
        if option in given:
            raise InputError(
                f"{option} must not be given, because the seeds of the campaign set it. Use "
                "--n_seeds for their number."
            )


def _seed_options(stages: Mapping[str, Config], given: Sequence[str] | None) -> Sequence[str]:
    """The options that a seed sets."""
    if given is not None:
        return given
    return [next(option for stage, option in _SEEDS.items() if stage in stages)]


def _options_of(plan: Plan, point: Point, seed: int) -> dict[str, Config]:
    """The configurations of one point and seed."""
    chosen = copy.deepcopy(dict(plan.stages))
    for name, value in point.values.items():
        for option in plan.parameters[name]:
            set_option(chosen, option, value)
    for option in plan.seed_options:
        set_option(chosen, option, seed)
    return chosen


def _check_one_dataset(labels: Config, data: Config) -> None:
    """Refuse a fit that describes other labels than those of the stage `generate`."""
    for key, value in labels_of_fit({"fit": {"data": data}}).items():
        if value != labels.get(key):
            raise InputError(
                f"fit.data.{key} must not differ from generate.{key}, because a fit takes the "
                "labels of the stage generate. Use fit.data: null, or leave out one of the two."
            )


def _base_label(value: Any) -> float | str:
    try:
        return label("base" if value is None else value)
    except InputError:  # a mapping has no short text
        return "base"


@dataclass
class _Chain:
    """The tasks of one point and seed; tasks that are the same for several are added once."""

    plan: Plan
    number: int
    seed: int
    stages: dict[str, Config]

    def add(self) -> None:
        """Add the tasks to the plan."""
        labels = self._add_labels()
        fit = self._add_fit(labels) if "fit" in self.stages else None
        if "simulate" not in self.stages:
            return
        run = self._add_simulation(fit)
        if "analyze" in self.stages:
            self._add_analysis(run)

    def _add_labels(self) -> str | None:
        """The dataset of this point, also that of a fit without a stage `generate`."""
        root = str(self.plan.out / "datasets")
        config = self.stages.get("generate")
        if "fit" in self.stages:
            own = self.stages["fit"].get("data") or {}
            if config is not None:
                _check_one_dataset(config, own)
            data = merged(config or {}, own)
            self.stages["fit"]["data"] = {"root": root, "n_workers": 0, "progress": False} | data
            config = labels_of_fit(self.stages)
        if config is None:
            return None
        config = {"root": root, "n_workers": 0, "progress": False} | config
        for task in self.plan.tasks.values():  # other points may use the same labels
            if task.verb == "generate" and config_hash(task.config) == config_hash(config):
                return self._register("generate", task.name, config, ())
        return self._register("generate", self._name("generate", "all"), config, ())

    def _add_fit(self, labels: str | None) -> str:
        name = self._name("fit", "all")
        config = {"threads": 1} | self.stages["fit"]
        config |= {"run_dir": str(self.plan.out / name)}
        return self._register("fit", name, config, [labels] if labels else [])

    def _add_simulation(self, fit: str | None) -> str:
        name = self._name("simulate", "all")
        config = {"threads": 1} | self.stages["simulate"]
        if fit is not None:
            checkpoint = str(self.plan.out / fit / "best.ckpt")
            config = merged({"force_field": {"checkpoint": checkpoint}}, config)
        config["out"] = str(self.plan.out / name)
        return self._register("simulate", name, config, [fit] if fit else [])

    def _add_analysis(self, run: str) -> None:
        """One analysis for all seeds of a point."""
        name = self._name("analyze", "all", seeded=False)
        earlier = self.plan.tasks.get(name)
        runs = [*(earlier.needs if earlier else ()), run]
        runs = list(dict.fromkeys(runs))
        paths = [str(self.plan.out / needed) for needed in runs]
        config = self.stages["analyze"] | {"runs": paths, "out": str(self.plan.out / name)}
        self.plan.tasks.pop(name, None)
        self._register("analyze", name, config, runs)

    def _register(self, verb: str, name: str, config: Config, needs: Sequence[str]) -> str:
        old = self.plan.tasks.get(name)
        if old is not None and old.config != config:
            raise InputError(
                f"two tasks would have the name {name!r}. Give their values other names."
            )
        modules, directory = self.plan.modules, Path.cwd()
        task = Task(name, verb, config, self.plan.out, tuple(needs), modules, directory)
        self.plan.tasks[name] = task
        self.plan.runs[verb, self.number, self.seed] = name
        return name

    def _name(self, verb: str, without: str, seeded: bool = True) -> str:
        """Name of a task: its verb, the parameters that act on it, and its seed."""
        prefixes = _prefixes(verb, self.stages)
        acting = [
            name
            for name, options in self.plan.parameters.items()
            if any(option.startswith(prefixes) for option in options)
        ]
        parts = [verb, self.plan.points[self.number].name(acting)]
        if seeded and any(option.startswith(prefixes) for option in self.plan.seed_options):
            parts.append(f"seed-{self.seed}")
        parts = [part for part in parts if part]
        return "/".join(parts if len(parts) > 1 else [verb, without])


def _prefixes(verb: str, stages: Mapping[str, Config]) -> tuple[str, ...]:
    """Beginnings of the options that act on a stage, those of earlier stages included."""
    if verb == "generate":
        return ("generate.", "fit.data.")
    if verb == "simulate" and "fit" not in stages:
        return ("simulate.",)
    if verb == "analyze":
        return (*_prefixes("simulate", stages), "analyze.")
    return tuple(f"{stage}." for stage in STAGES[: STAGES.index(verb) + 1])
