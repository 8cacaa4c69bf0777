"""The verb campaign: read the stages and the scan, run the tasks, collect the results."""

import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

from lattgnn import cli
from lattgnn.cli.campaign.options import campaign_parser
from lattgnn.cli.campaign.plan import Plan, check_no_seeds, empty_plan, make_plan
from lattgnn.cli.campaign.schedule import (
    Schedule,
    check_kept,
    check_same_search,
    check_unchanged,
    run_schedule,
)
from lattgnn.cli.campaign.search import JOURNAL, Trials, open_study, read_search
from lattgnn.cli.campaign.stages import (
    STAGES,
    Config,
    check_stages,
    options_within,
    override_option,
    read_stage,
    split_overrides,
)
from lattgnn.cli.campaign.tasks import Task
from lattgnn.cli.physics_verbs import analyze_parser, generate_parser, parse
from lattgnn.cli.simulate_options import simulate_parser
from lattgnn.cli.simulate_verb import check_options
from lattgnn.errors import InputError, StoppedRunError, errors_about
from lattgnn.files import atomic_write_text, run_lock

#: The configuration of a campaign in its folder.
CONFIG = "campaign.yaml"
# The options that, beside those of the stages, say which tasks there are.
_PLANNED = ("parameters", "scan", "n_seeds", "seed_options")


def main(argv: Sequence[str]) -> None:
    """`lattgnn campaign`: run a grid of tasks, or what is left of one.

    Args:
        argv: The verb and its options.
    """
    arguments, overrides = split_overrides(argv[1:])
    parsed = campaign_parser().parse_args(arguments)
    folder = Path(parsed.config[-1].absolute).parent if parsed.config else Path.cwd()
    stages: dict[str, Config] = {}
    for verb in STAGES:
        if parsed[verb] is not None:
            stages[verb] = read_stage(verb, parsed[verb], folder)
    if "simulate" not in stages:
        stages.pop("analyze", None)
    check_stages(list(stages))
    for option, value in overrides:
        override_option(stages | {"search": parsed.search or {}}, option, value)
    given = [name for option, value in overrides for name in options_within(option, value)]
    check_no_seeds(given, stages, parsed.seed_options)
    out = Path(parsed.out).resolve()
    cli.import_own_modules([f"--import={module}" for module in parsed.modules])
    recorded = {verb: stages.get(verb) for verb in STAGES}
    for name in (*_PLANNED, "search", "modules", "title"):
        recorded[name] = parsed[name]
    if parsed.search is not None:
        _run_search(parsed, stages, recorded, out)
        return
    planned = {name: parsed[name] for name in _PLANNED}
    plan = make_plan(stages, **planned, out=out, modules=parsed.modules)
    _check_options(plan)
    check_unchanged(plan)
    earlier = _earlier(out)
    if earlier is not None:
        check_same_search(earlier, recorded)
        check_kept(plan, _recorded_plan(earlier, out))
    if parsed.dry_run:
        print(_listing(Schedule(plan)))
        return
    with run_lock(out):
        _write_config(recorded, out)
        _run(Schedule(plan), parsed.n_workers, parsed.progress, parsed.title)


def _run_search(parsed: Any, stages: dict[str, Config], recorded: Config, out: Path) -> None:
    """Search for the best point instead of running all points of a scan."""
    if parsed.scan:
        raise InputError("a campaign must have either scan or search, got both. Remove one.")
    search = read_search(parsed.search, parsed.parameters)
    plan, probe = (
        empty_plan(stages, search.options, parsed.n_seeds, parsed.seed_options, out, parsed.modules)
        for _ in range(2)
    )
    for point in search.extremes():
        probe.add(point)
    _check_options(probe)
    if parsed.dry_run:
        print(f"{search.n_trials} trials: {search.direction} {search.metric}")
        return
    with run_lock(out):
        earlier = _earlier(out)
        study = open_study(search, out / JOURNAL)
        if earlier is not None:
            # A metric of a wrong name may be corrected as long as no trial has a value.
            told = any(trial.value is not None for trial in study.trials)
            check_same_search(earlier, recorded, () if told else ("search.metric",))
        trials = Trials(search, study, plan)
        check_unchanged(plan)
        _write_config(recorded, out)
        try:
            _run(Schedule(plan, trials), parsed.n_workers, parsed.progress, parsed.title)
        finally:
            print(trials.summary())


def _earlier(out: Path) -> Config | None:
    """The configuration of the campaign that the folder holds, if there is one."""
    file = out / CONFIG
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None


def _recorded_plan(recorded: Config, out: Path) -> Plan:
    """The plan of a scan that the folder holds."""
    stages = {verb: recorded[verb] for verb in STAGES if recorded[verb] is not None}
    return make_plan(stages, **{name: recorded[name] for name in _PLANNED}, out=out)


def _write_config(recorded: Config, out: Path) -> None:
    text = yaml.safe_dump(recorded | {"out": str(out)}, sort_keys=False, allow_unicode=True)
    atomic_write_text(out / CONFIG, text)


def _run(schedule: Schedule, n_workers: int | None, progress: bool, title: str) -> None:
    """Run what is left, collect the results, and name what has failed."""
    from lattgnn.report import write_campaign_report  # matplotlib only where something is drawn

    plan = schedule.plan
    for task in plan.tasks.values():
        if task.verb != "analyze" and schedule.board.states[task.name] != "done":
            task.write()
    with schedule.board.shown(progress):
        run_schedule(schedule, n_workers)
    states = schedule.board.states
    page = plan.out / "report.html"
    if schedule.submitted or not page.exists():
        done = {key: plan.out / name for key, name in plan.runs.items() if states[name] == "done"}
        write_campaign_report(plan.out, title, plan.labels, plan.n_seeds, done, plan.parameters)
    if page.exists():
        print(page)
    if not schedule.errors:
        return
    for name, error in schedule.errors.items():
        reason = error.removeprefix(f"lattgnn {plan.tasks[name].verb}: error: ")
        print(f"failed: {name}: {reason} ({plan.tasks[name].log})", file=sys.stderr)
    again = "Rerun the command to try them again."
    if schedule.trials is not None:
        again = "A rerun does not repeat their trials."
    skipped = sum(state == "skipped" for state in states.values())
    raise StoppedRunError(
        f"{len(schedule.errors)} of {len(states)} tasks have failed, and {skipped} that need them "
        f"were skipped. The lines above name them. {again}"
    )


def _check_options(plan: Plan) -> None:
    """Let each verb check its options, once for each point, before anything is started.

    Raises:
        InputError: If a verb refuses them.
    """
    parsed: dict[str, Config] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(len(plan.points)):
            for verb in STAGES:
                name = plan.runs.get((verb, number, 0))
                if name is None or name in parsed:
                    continue
                parsed[name] = _parsed_options(replace(plan.tasks[name], campaign=Path(folder)))
                with errors_about(name):
                    if verb == "simulate":
                        check_options(parsed[name])
                    elif verb == "analyze":
                        run = plan.runs["simulate", number, 0]
                        _check_analysis(parsed[name], plan.tasks[run], parsed[run])


def _parsed_options(task: Task) -> Config:
    """The options of a task with the objects that they describe; for a fit, they are only read."""
    task.write()
    parsers = {"simulate": simulate_parser, "generate": generate_parser, "analyze": analyze_parser}
    printed = StringIO()
    try:
        with redirect_stdout(StringIO()), redirect_stderr(printed), errors_about(task.name):
            if task.verb in parsers:
                return parse(parsers[task.verb](), [task.verb, f"--config={task.file}"])
            cli.main([task.verb, f"--config={task.file}", "--print_config"])
    except SystemExit as stop:
        if stop.code:
            message = printed.getvalue().strip().split(": error: ", 1)[-1]
            raise InputError(f"{task.name}: {message}") from None
    return {}


def _check_analysis(analysis: Config, task: Task, run: Config) -> None:
    """Refuse windows of time that the frames of a run will not fill.

    A run that has begun is left to `analyze`: if it is extended, it keeps frames of its old plan.
    """
    from lattgnn.report.quench_report import check_windows  # it imports matplotlib

    if not task.output.exists():
        times = run["save"].steps(run["n_steps"]) * run["integrator"].dt
        check_windows(times, analysis["window"], analysis["average"])


def _listing(schedule: Schedule) -> str:
    """The tasks with their states, and what they need."""
    lines = []
    for name in schedule.plan.tasks:
        lines.append(f"{'done ' if schedule.board.states[name] == 'done' else 'to do'}  {name}")
    return "\n".join([*lines, schedule.board.line().split(";")[0]])
