"""The stages of a campaign: the base configuration of each verb, and the options of one task."""

import copy
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lattgnn.cli.yaml_files import checked_load
from lattgnn.data import generate
from lattgnn.errors import InputError, suggestion

#: The verbs of a campaign in the order in which they run.
STAGES = ("generate", "fit", "simulate", "analyze")
Config = dict[str, Any]


def read_stage(verb: str, given: Any, folder: Path) -> Config:
    """The base configuration of a stage.

    Args:
        verb: The stage.
        given: A file; or a mapping of options, which override those of the file, or files, under
            its key `config`.
        folder: Folder to which relative paths belong, that of the file of the campaign.

    Returns:
        The options. The `data` of a fit are a mapping too, and never the path of a file.

    Raises:
        InputError: If a file is missing or is not a mapping.
    """
    if isinstance(given, str):
        given = {"config": given}
    if not isinstance(given, dict):
        raise InputError(f"{verb} must be a file or a mapping of options, got {given!r}.")
    config: Config = {}
    files = given.get("config", [])
    for name in [files] if isinstance(files, str) else files:
        path = _find(verb, name, folder)
        config = merged(config, _with_data(verb, _load(verb, path), path.parent))
    own = {key: value for key, value in given.items() if key != "config"}
    return merged(config, _with_data(verb, own, folder))


def merged(base: Config, changes: Config) -> Config:
    """A configuration with changes; nested options are changed one by one.

    A class with another `class_path` replaces the old one with all its arguments.

    Args:
        base: The configuration.
        changes: Options that override it.
    """
    if changes.get("class_path", base.get("class_path")) != base.get("class_path"):
        return copy.deepcopy(changes)
    result = copy.deepcopy(base)
    for key, value in changes.items():
        old = result.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            result[key] = merged(old, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def set_option(stages: Mapping[str, Config], option: str, value: Any) -> None:
    """Set a dotted option of a stage, such as simulate.integrator.init_args.kT.

    Args:
        stages: The configurations by stage, changed in place.
        option: The option. A number picks an entry of a list.
        value: Its value.

    Raises:
        InputError: If there is no such stage, or the option is inside a value that has no options.
    """
    stage, *keys = option.split(".")
    if stage not in stages or not keys:
        raise InputError(
            f"{option!r} must begin with a stage of this campaign and a dot. "
            f"{suggestion(stage, stages)}"
        )
    node: Any = stages[stage]
    for number, key in enumerate(keys):
        place: Any = key
        if isinstance(node, list) and key.isdigit() and int(key) < len(node):
            place = int(key)
        elif not isinstance(node, dict):
            inside = ".".join([stage, *keys[:number]])
            raise InputError(f"{option!r} cannot be set, because {inside} is {node!r}.")
        if number == len(keys) - 1:
            node[place] = copy.deepcopy(value)
        elif isinstance(node, dict) and node.get(place) is None:
            node[place] = {}
        node = node[place]


def override_option(stages: Mapping[str, Config], option: str, value: Any) -> None:
    """Set a dotted option as a later configuration would: of a mapping, only the options in it.

    Args:
        stages: The configurations by stage, changed in place.
        option: The option.
        value: Its value.

    Raises:
        InputError: As `set_option`.
    """
    old = get_option(stages, option)
    if isinstance(old, dict) and isinstance(value, dict):
        value = merged(old, value)
    set_option(stages, option, value)


def options_within(option: str, value: Any) -> list[str]:
    """The dotted options that a value sets: the option itself, or those inside a mapping.

    Args:
        option: The option.
        value: Its value.
    """
    if not isinstance(value, dict):
        return [option]
    names = []
    for key, inner in value.items():
        names += options_within(f"{option}.{key}", inner)
    return names


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, Any]]]:
    """Take options such as --simulate.n_steps=100 out of the arguments.

    jsonargparse would replace all options beside a nested one.

    Args:
        argv: Arguments of the command line.

    Returns:
        The other arguments, and the options with their values.

    Raises:
        InputError: If a value is not YAML.
    """
    kept, overrides, remaining = [], [], iter(argv)
    for argument in remaining:
        option, has_value, value = argument.partition("=")
        if re.match(rf"--({'|'.join(STAGES)}|search)\.", option):
            text = value if has_value else next(remaining, "")
            try:
                overrides.append((option[2:], checked_load(text)))
            except yaml.YAMLError as error:
                raise InputError(f"{option} must have a value in YAML, got {text!r}.") from error
        else:
            kept.append(argument)
    return kept, overrides


def get_option(stages: Mapping[str, Config], option: str) -> Any:
    """The value of a dotted option, or None if it is not set.

    Args:
        stages: The configurations by stage.
        option: The option.
    """
    node: Any = stages
    for key in option.split("."):
        if isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, Mapping):
            node = node.get(key)
        else:
            return None
    return node


def labels_of_fit(stages: Mapping[str, Config]) -> Config:
    """The configuration of `generate` that makes the labels of a fit.

    Args:
        stages: Configurations with a fit.
    """
    known = inspect.signature(generate).parameters
    data = stages["fit"]["data"]
    return {key: copy.deepcopy(value) for key, value in data.items() if key in known}


def check_stages(given: Sequence[str]) -> None:
    """Refuse stages that belong to nothing.

    Args:
        given: The stages.

    Raises:
        InputError: If there is none, or an analysis without a simulation.
    """
    if not set(given) - {"analyze"}:
        raise InputError(
            "a campaign must have at least one of the stages generate, fit and simulate. Use "
            "--config FILE with such a key."
        )


def _with_data(verb: str, config: Mapping[str, Any], folder: Path) -> Config:
    """The configuration with the `data` of a fit read from their file."""
    config = dict(config)
    if verb == "fit" and isinstance(config.get("data"), str):
        config["data"] = _load("fit.data", _find("fit.data", config["data"], folder))
    return config


def _find(name: str, file: Any, folder: Path) -> Path:
    for path in (folder / str(file), Path(str(file))):
        if path.is_file():
            return path
    raise InputError(f"{name}: there is no file {str(file)!r}, neither in {folder} nor here.")


def _load(name: str, path: Path) -> Config:
    try:
        found = checked_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: {path} must be a YAML file ({error}).") from error
    if not isinstance(found, dict):
        raise InputError(f"{name}: {path} must hold lines KEY: VALUE.")
    return found
