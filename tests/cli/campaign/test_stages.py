"""Base configurations of the stages, and dotted options in them."""

import pytest

from lattgnn.cli.campaign.stages import (
    get_option,
    labels_of_fit,
    merged,
    options_within,
    override_option,
    read_stage,
    set_option,
    split_overrides,
)
from lattgnn.errors import InputError


def test_options_override_those_of_the_file(tmp_path):
    (tmp_path / "quench.yaml").write_text("n_steps: 10\nintegrator: {dt: 0.1, kT: 0.2}\n")
    given = {"config": "quench.yaml", "integrator": {"kT": 0.5}}
    found = read_stage("simulate", given, tmp_path)
    assert found == {"n_steps": 10, "integrator": {"dt": 0.1, "kT": 0.5}}
    assert read_stage("simulate", "quench.yaml", tmp_path)["n_steps"] == 10


def test_the_data_of_a_fit_are_read_from_their_file(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/set.yaml").write_text("seed: 3\n")
    (tmp_path / "fit.yaml").write_text("data: data/set.yaml\n")
    assert read_stage("fit", "fit.yaml", tmp_path) == {"data": {"seed": 3}}


def test_another_class_takes_no_arguments_of_the_old_one():
    old = {"class_path": "a.B", "init_args": {"x": 1}}
    assert merged({"n": old}, {"n": {"class_path": "a.C"}}) == {"n": {"class_path": "a.C"}}
    assert merged({"n": old}, {"n": {"init_args": {"y": 2}}})["n"]["init_args"] == {"x": 1, "y": 2}


def test_a_dotted_option_is_set_and_read():
    stages: dict = {"simulate": {"a": None, "sources": [{"n": 1}, {"n": 2}]}}
    set_option(stages, "simulate.a.b.c", 3)
    set_option(stages, "simulate.sources.1.n", 5)
    assert stages["simulate"] == {"a": {"b": {"c": 3}}, "sources": [{"n": 1}, {"n": 5}]}
    assert get_option(stages, "simulate.sources.1.n") == 5
    assert get_option(stages, "simulate.a.x.y") is None


def test_the_labels_of_a_fit_are_those_of_its_data():
    fit = {"data": {"seed": 1, "batch_size": 4, "name": "x", "dtype": "float64"}}
    assert labels_of_fit({"fit": fit}) == {"seed": 1, "name": "x"}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("simulat.n_steps", "Did you mean 'simulate'"),
        ("simulate", "must begin with a stage"),
        ("simulate.name.x", "because simulate.name is 'square'"),
    ],
)
def test_an_option_that_cannot_be_set_is_refused(option, message):
    with pytest.raises(InputError, match=message):
        set_option({"simulate": {"name": "square"}}, option, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [("- 1\n", "must hold lines KEY: VALUE"), ("a: [\n", "must be a YAML file")],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text, message):
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_stage("simulate", "wrong.yaml", tmp_path)
    with pytest.raises(InputError, match="there is no file 'missing.yaml'"):
        read_stage("simulate", "missing.yaml", tmp_path)


def test_a_mapping_on_the_command_line_changes_only_its_own_options():
    run: dict = {"initial": {"n_replicas": 4, "field_std": 5.0}, "save": {"class_path": "a.B"}}
    stages: dict = {"simulate": run}
    kept, overrides = split_overrides(
        ["--n_seeds=2", "--simulate.initial={field_std: 1.0}", "--simulate.save", "{every: 2}"]
    )
    assert kept == ["--n_seeds=2"]
    for option, value in overrides:
        override_option(stages, option, value)
    assert run["initial"] == {"n_replicas": 4, "field_std": 1.0}
    assert run["save"] == {"class_path": "a.B", "every": 2}
    override_option(stages, "simulate.save", {"class_path": "a.C"})  # another class has others
    assert run["save"] == {"class_path": "a.C"}
    set_option(stages, "simulate.initial", {"seed": 1})  # a value of a scan is the whole value
    assert run["initial"] == {"seed": 1}


def test_options_within_a_mapping():
    assert options_within("simulate.initial", {"seed": 1, "a": {"b": 2}}) == [
        "simulate.initial.seed",
        "simulate.initial.a.b",
    ]
