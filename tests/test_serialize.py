from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lattgnn
from lattgnn.lattice import Lattice, kagome, square
from lattgnn.serialize import build, config_differences, config_hash, describe, versions


@dataclass(frozen=True)
class Well:
    depth: float
    width: float = 1.0


@dataclass(frozen=True)
class Model:
    lattice: Any = field(metadata={"describe": False})
    wells: tuple[Well, ...] = ()
    ratio: Fraction = Fraction(1, 2)
    double: float = field(init=False, default=2.0)


class Net(torch.nn.Module):
    def __init__(self, well: Well, width: int = 4) -> None:
        super().__init__()
        self.hyperparameters: Mapping[str, Any] = {"well": well, "width": width}


def shallow(width: float = 2.0) -> Well:
    return Well(0.1, width)


HERE = Well.__module__
WELL = {"class_path": f"{HERE}.Well", "init_args": {"depth": 3.5, "width": 1.0}}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Test modules are loaded by path; a description needs them by name."""
    import sys

    monkeypatch.setitem(sys.modules, HERE, sys.modules.get(HERE) or sys.modules[__name__])


def test_a_dataclass_is_described_by_its_fields():
    assert describe(Well(3.5)) == WELL
    assert describe(Model("left out", (Well(3.5),))) == {
        "class_path": f"{HERE}.Model",
        "init_args": {"wells": [WELL], "ratio": "1/2"},
    }


def test_a_module_is_described_by_its_hyperparameters():
    described = describe(Net(Well(3.5), width=8))
    assert described == {"class_path": f"{HERE}.Net", "init_args": {"well": WELL, "width": 8}}
    again = build(described, torch.nn.Module)
    assert isinstance(again, Net) and again.hyperparameters == {"well": Well(3.5), "width": 8}


def test_numbers_and_arrays_become_plain():
    plain = describe(
        {"a": np.float32(0.5), "b": torch.tensor([1, 2]), "c": np.arange(2), "d": Path("x")}
    )
    assert plain == {"a": 0.5, "b": [1, 2], "c": [0, 1], "d": "x"}


@pytest.mark.parametrize("thing", [object(), Well, {1, 2}, len])
def test_what_cannot_be_described_is_refused(thing):
    with pytest.raises(TypeError, match="cannot be described"):
        describe({"thing": thing})


def test_classes_are_named_by_their_public_path():
    assert describe(square(4))["class_path"] == "lattgnn.lattice.Lattice"
    assert build(describe(square(4)), Lattice) == square(4)


def test_build_passes_what_the_description_leaves_out():
    spec = describe(Model(1, (Well(3.5),)))
    assert build(spec, Model, "lattice") == Model("lattice", (Well(3.5),), "1/2")  # type: ignore[arg-type]
    assert build(WELL, Well, width=7.0) == Well(3.5, 7.0)


def test_build_takes_a_function_that_returns_the_class():
    assert build({"class_path": f"{HERE}.shallow"}, Well) == Well(0.1, 2.0)
    assert build(
        {"class_path": "lattgnn.lattice.kagome", "init_args": {"extent": [3, 3]}}, Lattice
    ) == kagome(3)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (3, "must be a mapping with class_path"),
        ({"init_args": {}}, "must be a mapping with class_path"),
        ({"class_path": f"{HERE}.Well", "extra": 1}, "must be a mapping with class_path"),
        ({"class_path": "nowhere.Well"}, "'nowhere.Well' cannot be imported"),
        ({"class_path": "lattgnn.lattice.Latice"}, "cannot be imported"),
        ({"class_path": "Well"}, "cannot be imported"),
        ({"class_path": "os.sep"}, "must name a class"),
        ({"class_path": "os.system", "init_args": {"command": "true"}}, "must name a Well"),
        ({"class_path": "lattgnn.lattice.Lattice"}, "must name a Well"),
        ({"class_path": f"{HERE}.Well", "init_args": {"dept": 1.0}}, "Did you mean 'depth'"),
        ({"class_path": f"{HERE}.Well"}, "missing a required argument: 'depth'"),
        (
            {"class_path": f"{HERE}.Well", "init_args": {"depth": {"class_path": "os.getcwd"}}},
            "nested class",
        ),
    ],
)
def test_bad_descriptions_are_refused_in_one_line(spec, message):
    with pytest.raises(ValueError, match=message) as error:
        build(spec, Well)
    assert "\n" not in str(error.value)


def test_hash_goes_by_value():
    first = config_hash({"kT": 0.1, "extent": [8, 8], "mu": 0.0})
    assert first == config_hash({"mu": 0, "extent": (8, 8), "kT": 0.1})
    assert first != config_hash({"kT": 0.1, "extent": [8, 9], "mu": 0.0})
    assert len(first) == 12 and len(config_hash({}, length=64)) == 64
    assert config_hash({"well": Well(3.5)}) == config_hash({"well": WELL})
    with pytest.raises(ValueError, match="not JSON compliant"):
        config_hash({"kT": float("nan")})


def test_hash_is_the_same_everywhere():
    # A regression value: datasets on disk carry it.
    assert config_hash({"lattice": square(4), "kT": 0.1}) == config_hash(
        {"kT": 0.1, "lattice": {**describe(square(4))}}
    )


def test_differences_name_the_entries():
    old = {"a": {"b": 1, "c": None}, "d": [1, 2], "e": {"f": 0}}
    new = {"a": {"b": 2}, "d": [1, 2], "e": 3}
    assert config_differences(old, new) == {"a.b": (1, 2), "e": ({"f": 0}, 3)}
    assert config_differences(old, old) == {}


def test_versions_need_no_import():
    found = versions()
    assert found["lattgnn"] == lattgnn.__version__
    assert {"python", "torch", "numpy", "scipy", "spglib"} <= set(found)


def test_a_description_runs_no_function(tmp_path):
    """A checkpoint from a stranger is data: nested descriptions make objects, and nothing else."""
    target = tmp_path / "written"
    call = {
        "class_path": "lattgnn.files.atomic_write_text",
        "init_args": {"path": str(target), "text": "x"},
    }
    spec = {"class_path": "lattgnn.lattice.Lattice", "init_args": {"primitive_vectors": call}}
    with pytest.raises(ValueError, match="a nested class must be a dataclass"):
        build(spec, Lattice)
    assert not target.exists()
