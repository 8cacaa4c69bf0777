"""Labels of a user's class: new code is another dataset, and old labels are compared first."""

import importlib
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lattgnn.data import LatticeDataset, RandomFields, dataset_config, generate
from lattgnn.data.code_identity import code_identity
from lattgnn.data.parts import read_frames, read_record, write_part
from lattgnn.dynamics import VerletLangevin
from lattgnn.errors import InputError
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.solvers import ExactDiagonalization

SOLVER = ExactDiagonalization(kT=0.1, mu=0.0)
SOURCES = [RandomFields("train", n_samples=2), RandomFields("val", n_samples=1)]

MODULE = '''
from dataclasses import dataclass

import torch

from lattgnn.hamiltonians import Holstein

FACTOR = 1.0


@dataclass(frozen=True)
class Own(Holstein):
    """A model of the user."""

    def elements(self, field):
        hopping, on_site = super().elements(field).tensor_split([-self.lattice.n_sites], dim=-1)
        return torch.cat([FACTOR * hopping, on_site], dim=-1)
'''


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A function that imports the user's class after an edit of its file."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "own_model_of_a_user.py"

    def edited(old: str = "", new: str = ""):
        text = MODULE.replace(old, new) if old else MODULE
        assert not old or text != MODULE
        file.write_text(text)
        os.utime(file, (0, len(text)))  # another time of change, even within one second
        sys.modules.pop(file.stem, None)
        importlib.invalidate_caches()
        return importlib.import_module(file.stem).Own

    return edited


def make(model, root: Path, **options) -> Path:
    settings = {"n_workers": 0, "progress": False} | options
    return generate(square(4), model, SOLVER, SOURCES, root=root, name="own", **settings)


def test_classes_of_the_package_do_not_enter_the_identity():
    assert code_identity(Holstein(square(4)), SOLVER, *SOURCES, VerletLangevin(0.1, 0, 0, 1)) == {}
    assert "code" not in dataset_config(square(4), Holstein, SOLVER, SOURCES)


def test_the_source_of_an_own_class_is_part_of_the_identity(model):
    def identity(*edit):
        found = code_identity(model(*edit)(square(4)))
        assert list(found) == ["own_model_of_a_user.Own"]
        return found

    first = identity()
    assert identity("A model of the user.", "Another text.") == first
    assert identity("    def elements", "    # why\n    def elements") == first
    assert identity("FACTOR * hopping", "(FACTOR) * hopping") == first
    assert identity("[FACTOR *", "[2 *") != first


def test_other_code_with_other_labels_makes_another_dataset(model, tmp_path, caplog):
    first = make(model(), tmp_path)
    with caplog.at_level(logging.INFO, "lattgnn"):
        second = make(model("[FACTOR *", "[0.9 *"), tmp_path)
    assert second != first and "new ones are made" in caplog.text
    assert LatticeDataset.open(first) and LatticeDataset.open(second)


def test_other_code_with_equal_labels_asks_what_to_do(model, tmp_path):
    first = make(model(), tmp_path)
    rewritten = model("[FACTOR *", "[1.0 *")
    with pytest.raises(InputError, match="--reuse_labels=true .* --reuse_labels=false"):
        make(rewritten, tmp_path)
    assert list(tmp_path.glob("own-*")) == [first]
    copied = make(rewritten, tmp_path, reuse_labels=True)
    old, new = (LatticeDataset.open(path) for path in (first, copied))
    assert old.records == new.records and old.hash != new.hash
    assert make(rewritten, tmp_path) == copied  # the choice is made once


def test_labels_made_anew_although_they_agree(model, tmp_path):
    first = make(model(), tmp_path)
    again = make(model("[FACTOR *", "[1.0 *"), tmp_path, reuse_labels=False)
    assert again != first
    assert LatticeDataset.open(again).records == LatticeDataset.open(first).records


def test_old_labels_under_new_code_that_the_hash_does_not_see(model, tmp_path):
    first = make(model(), tmp_path)
    changed = model("FACTOR = 1.0", "FACTOR = 0.9")  # outside of the class
    with pytest.raises(InputError, match="does not hold the labels of the present code: .*train"):
        make(changed, tmp_path)
    assert make(changed, tmp_path, model_check=False) == first
    (first / "manifest.json").unlink()  # parts of an unfinished dataset are compared as well
    with pytest.raises(InputError, match="does not hold the labels of the present code"):
        make(changed, tmp_path)


def test_a_single_wrong_task_is_found(tmp_path):
    path = make(Holstein, tmp_path)
    (path / "manifest.json").unlink()
    part = path / "01-randomfields-val-0000"
    record = read_record(part)
    assert record is not None
    frames = read_frames(part)
    frames = replace(frames, forces=1.001 * frames.forces)
    write_part(part, frames, name=part.name, split="val", kind="randomfields", seed=record.seed)
    with pytest.raises(InputError, match="part 01-randomfields-val-0000 differs by a relative"):
        make(Holstein, tmp_path)


def test_large_lattices_are_left_out_with_a_line(tmp_path, monkeypatch, caplog):
    path = make(Holstein, tmp_path)
    monkeypatch.setattr(sys.modules["lattgnn.data.label_check"], "_MOST_STATES", 15)
    with caplog.at_level(logging.INFO, "lattgnn"):
        assert make(Holstein, tmp_path) == path
    assert "not compared" in caplog.text
