"""A search of hyperparameters: which trials optuna is asked for, told of, and given up."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from lattgnn.cli.campaign import schedule as schedule_module
from lattgnn.cli.campaign.plan import empty_plan
from lattgnn.cli.campaign.schedule import Schedule
from lattgnn.cli.campaign.search import JOURNAL, Trials, open_study, read_search
from lattgnn.cli.campaign.tasks import Outcome, Task

needs_optuna = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None, reason="optuna is not installed"
)
PARAMETERS = {"g": "simulate.force_field.hamiltonian.init_args.g", "every": "simulate.save.every"}
SPACE = {"g": {"low": 2.0, "high": 4.0}, "every": {"low": 1, "high": 64, "log": True}}
SEARCH = {"metric": "energy", "n_trials": 14, "space": SPACE}


def trials_of(out: Path, quench: dict, **changes) -> Trials:
    search = read_search(SEARCH | changes, PARAMETERS)
    stages = {"simulate": quench, "analyze": {}}
    out.mkdir(exist_ok=True)
    plan = empty_plan(stages, search.options, 1, None, out)
    return Trials(search, open_study(search, out / JOURNAL), plan)


def g_of(task: Task) -> float:
    name = task.name if task.verb == "simulate" else task.needs[0]
    found = re.search(r"g=([\d.]+)", name)
    assert found is not None
    return float(found[1])


def perform(trials: Trials, n_tasks: int = 1000) -> list[str]:
    """Pretend to run at most so many tasks, until none is ready; their names.

    The energy is (g - 3)². A run with g above 3.7 fails, and one below 2.3 has no energy.
    """
    schedule, names = Schedule(trials.plan, trials), []
    todo = schedule.ready()
    while todo and len(names) < n_tasks:
        task = todo.pop(0)
        names.append(task.name)
        bad = task.verb == "simulate" and g_of(task) > 3.7
        task.output.mkdir(parents=True, exist_ok=True)
        if not bad:
            (task.output / "done").touch()
        if task.verb == "analyze":
            numbers = {"energy": (g_of(task) - 3.0) ** 2 if g_of(task) > 2.3 else None}
            (task.output / "metrics.json").write_text(json.dumps(numbers))
        schedule.end(task.name, Outcome("diverged" if bad else "", 1.0))
        todo += schedule.ready()
    return names


@pytest.fixture
def marked(monkeypatch):
    """A task is finished if its folder has a mark."""
    monkeypatch.setattr(
        schedule_module, "is_finished", lambda task: (task.output / "done").exists()
    )


@needs_optuna
@pytest.mark.usefixtures("marked")
def test_an_interrupted_search_goes_on_as_it_would_have(tmp_path, quench):
    whole = perform(trials_of(tmp_path / "whole", quench))
    trials = trials_of(tmp_path / "parts", quench)
    parts = perform(trials, n_tasks=3)
    # The process died between the end of a task and the next line of the journal.
    with (tmp_path / "parts" / JOURNAL).open("ab") as journal:
        journal.write(b'{"op_code": 5, "wor')
    (tmp_path / "parts" / f"{JOURNAL}.lock").symlink_to("journal")
    parts += perform(trials_of(tmp_path / "parts", quench), n_tasks=4)
    trials = trials_of(tmp_path / "parts", quench)
    parts += perform(trials)
    assert parts == whole and len(set(whole)) == len(whole)
    assert perform(trials_of(tmp_path / "parts", quench)) == []
    states = [trial.state.name for trial in trials.study.trials]
    g = np.array([trial.params["g"] for trial in trials.study.trials])
    assert len(states) == 14 and (g > 3.7).any() and (g < 2.3).any()
    n_failed = int(((g > 3.7) | (g < 2.3)).sum())
    assert states.count("FAIL") == n_failed and states.count("COMPLETE") == 14 - n_failed
    assert trials.study.best_value == pytest.approx((trials.study.best_params["g"] - 3.0) ** 2)
    assert trials.summary().startswith(f"14 trials, {n_failed} without a result; the best has ")
    more = perform(trials_of(tmp_path / "parts", quench, n_trials=15))
    assert 1 <= len(more) <= 2 and not set(more) & set(whole)


@needs_optuna
@pytest.mark.usefixtures("marked")
def test_as_many_trials_run_at_once_as_there_are_workers(tmp_path, quench):
    trials = trials_of(tmp_path, quench)
    schedule = Schedule(trials.plan, trials)
    schedule.board.n_workers = 6
    first = schedule.ready()
    # Each trial has a run and an analysis that waits for it.
    assert len(first) == 3 and len(trials.plan.points) == 3
    assert schedule.board.coming == {"simulate": 11, "analyze": 11}
    schedule.end(first[0].name, Outcome("diverged", 1.0))
    (fourth,) = schedule.ready()
    assert fourth.name not in [task.name for task in first]


@needs_optuna
@pytest.mark.usefixtures("marked")
def test_two_trials_of_one_point_run_it_once(tmp_path, quench):
    space = {"g": [2.5, 3.0], "every": {"small": 1, "large": 8}}
    trials = trials_of(tmp_path, quench, space=space, n_trials=12)
    names = perform(trials)
    assert len(names) == len(set(names)) <= 8 and len(trials.study.trials) == 12
    assert trials.study.best_value == 0.0
    values = {tuple(point.values.values()) for point in trials.plan.points}
    assert values <= {(g, every) for g in (2.5, 3.0) for every in (1, 8)}


@needs_optuna
def test_the_points_that_are_checked_hold_all_choices_and_both_ends():
    space = SPACE | {"every": [1, 2, 5]}
    search = read_search(SEARCH | {"space": space}, PARAMETERS)
    points = search.extremes()
    assert [point.values["g"] for point in points] == [2.0, 4.0, 2.0]
    assert [point.values["every"] for point in points] == [1, 2, 5]
    assert all(isinstance(point.values["every"], int) for point in points)


@needs_optuna
@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"space": {}}, "search.space must map"),
        ({"trials": 3}, "search must have the keys metric and space"),
        ({"direction": "down"}, "'minimize' or 'maximize'"),
        ({"n_trials": 0}, "search.n_trials"),
        ({"space": {"g": {"low": 2.0}}}, "numbers low and high"),
        ({"space": {"g": {"low": 2.0, "high": 1.0}}}, "range of g is not valid"),
        ({"space": {"g": {"low": 0.0, "high": 1.0, "log": True}}}, "range of g is not valid"),
        ({"space": {"gg": [1.0]}}, "search.space: 'gg' must be a parameter"),
        ({"space": {"g, every": [[1.0, 2]]}}, "must be a key of its own"),
    ],
)
def test_a_wrong_search_is_refused_in_one_line(campaign, capsys, changes, part):
    search = SEARCH | changes
    code = campaign(scan={}, parameters=PARAMETERS, search=search, analyze={"movie": "none"})
    err = capsys.readouterr().err
    assert code == 2 and part in err and err.count("\n") == 1, err
    assert not Path("out").exists()


def test_without_optuna_the_error_names_the_extra(campaign, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert campaign(scan={}, parameters=PARAMETERS, search=SEARCH) == 2
    err = capsys.readouterr().err
    assert "pip install 'lattgnn[optuna]'" in err and err.count("\n") == 1
    assert not Path("out").exists()


@needs_optuna
@pytest.mark.slow
def test_a_search_of_quenches_from_the_first_trial_to_the_report(campaign, capsys):
    space = {"g": {"low": 2.0, "high": 4.0}, "dt": [0.05, 1e6]}
    search = {"metric": "final_potential_energy", "n_trials": 3, "space": space}
    changes = {"scan": {}, "search": search, "analyze": {"movie": "none"}}
    assert campaign("--dry_run", **changes) == 0
    assert capsys.readouterr().out == "3 trials: minimize final_potential_energy\n"
    wrong = search | {"metric": "final_potential"}
    assert campaign(**changes | {"search": wrong}) == 2
    assert "Did you mean 'final_potential_energy'?" in capsys.readouterr().err
    # The interrupted trial is taken up; a time step of a million is a failed trial.
    assert campaign(**changes) == 1
    first = capsys.readouterr()
    assert "A rerun does not repeat their trials." in first.err
    line = first.out.splitlines()[-1]
    assert line.startswith("3 trials, ") and "the best has final_potential_energy=" in line
    page = Path("out/report.html")
    before = page.stat().st_mtime_ns
    assert campaign(**changes) == 0  # nothing is repeated
    assert capsys.readouterr().out.splitlines()[-1] == line
    assert page.stat().st_mtime_ns == before
    assert campaign(**changes, n_seeds=2) == 2
    assert "n_seeds=1, got 2" in capsys.readouterr().err
    assert campaign("--search.n_trials=5", "--n_workers=2", **changes) in (0, 1)
    assert capsys.readouterr().out.splitlines()[-1].startswith("5 trials, ")
    best = float(line.partition("energy=")[2].partition(":")[0])
    found = []
    for path in Path("out/analyze").glob("*/metrics.json"):
        found.append(json.loads(path.read_text())["final_potential_energy"])
    assert best in [pytest.approx(energy, rel=1e-5) for energy in found]
