"""The tasks of a campaign: their names, their options, and what they share."""

from pathlib import Path

import pytest

from lattgnn.cli.campaign.plan import make_plan
from lattgnn.errors import InputError

OUT = Path("/campaign")
G = {"g": "generate.hamiltonian.init_args.g", "kT": "simulate.integrator.init_args.kT"}


def plan(stages, parameters=None, scan=(), n_seeds=1, seed_options=None):
    return make_plan(stages, parameters, list(scan), n_seeds, seed_options, OUT)


def test_each_run_has_its_values_its_seed_and_its_folder(quench):
    kT = ["simulate.integrator.init_args.kT", "simulate.force_field.solver.init_args.kT"]
    tasks = plan({"simulate": quench}, {"kT": kT}, [{"kT": [0.1, 0.5]}], n_seeds=2).tasks
    assert list(tasks) == [f"simulate/kT={kT}/seed-{n}" for kT in (0.1, 0.5) for n in (0, 1)]
    last = tasks["simulate/kT=0.5/seed-1"].config
    assert last["integrator"]["init_args"]["kT"] == 0.5
    assert last["force_field"]["solver"]["init_args"]["kT"] == 0.5
    assert last["initial"]["seed"] == 1 and last["threads"] == 1
    assert last["out"] == "/campaign/simulate/kT=0.5/seed-1"
    assert "seed" not in quench["initial"]  # the base configuration is not changed


def test_one_analysis_reads_all_seeds_of_a_point(quench):
    tasks = plan({"simulate": quench, "analyze": {"movie": "none"}}, n_seeds=2).tasks
    assert list(tasks) == ["simulate/seed-0", "simulate/seed-1", "analyze/all"]
    assert tasks["analyze/all"].needs == ("simulate/seed-0", "simulate/seed-1")
    assert tasks["analyze/all"].config["runs"] == [
        "/campaign/simulate/seed-0",
        "/campaign/simulate/seed-1",
    ]


def test_a_chain_shares_what_does_not_depend_on_a_parameter(quench):
    stages = {
        "generate": {"name": "labels", "hamiltonian": {"class_path": "Holstein"}},
        "fit": {"data": {"batch_size": 4}},
        "simulate": quench,
    }
    tasks = plan(stages, G, [{"g": [2, 3], "kT": [0.1, 0.2]}], n_seeds=2).tasks
    assert [name for name in tasks if name.startswith("generate")] == [
        "generate/g=2",
        "generate/g=3",
    ]
    assert [name for name in tasks if name.startswith("fit")] == ["fit/g=2", "fit/g=3"]
    assert sum(name.startswith("simulate") for name in tasks) == 8
    fit, run = tasks["fit/g=3"], tasks["simulate/g=3,kT=0.2/seed-1"]
    assert fit.needs == ("generate/g=3",) and run.needs == ("fit/g=3",)
    assert fit.config["data"]["hamiltonian"]["init_args"] == {"g": 3}
    assert fit.config["data"]["root"] == tasks["generate/g=3"].config["root"]
    assert run.config["force_field"]["checkpoint"] == "/campaign/fit/g=3/best.ckpt"


def test_fits_of_one_dataset_need_one_task_of_labels():
    stages = {"fit": {"data": {"name": "labels"}, "model": {"lr": 1e-3}}}
    scan = [{"fit.model.lr": [1e-3, 1e-2], "fit.data.batch_size": [4, 8]}]
    tasks = plan(stages, None, scan, n_seeds=2).tasks
    (labels,) = [name for name in tasks if name.startswith("generate")]
    fits = [task for task in tasks.values() if task.verb == "fit"]
    assert len(fits) == 8 and all(task.needs == (labels,) for task in fits)
    assert {task.config["seed_everything"] for task in fits} == {0, 1}


def test_labels_that_a_fit_would_hide_are_refused():
    stages = {"generate": {"seed": 1}, "fit": {"data": {"seed": 2, "batch_size": 4}}}
    with pytest.raises(InputError, match="fit.data.seed must not differ from generate.seed"):
        plan(stages)


def test_a_parameter_that_a_grid_leaves_out_has_the_label_of_the_base(quench):
    parameters = {"kT": "simulate.integrator.init_args.kT", "forces": "simulate.force_field"}
    scan = [{"kT": [0.2]}, {"forces": {"learned": {"checkpoint": "holstein-square"}}}]
    found = plan({"simulate": quench}, parameters, scan)
    assert found.labels == [{"kT": 0.2, "forces": "base"}, {"kT": 0.1, "forces": "learned"}]
    assert list(found.tasks) == ["simulate/kT=0.2/seed-0", "simulate/forces=learned/seed-0"]
