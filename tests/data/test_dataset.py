import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lattgnn.data import WINDOW_NAMES, LatticeDataset, dataset_config, window_index
from lattgnn.data.parts import write_part
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / made.name)


def config_of(recipe: dict, **changes) -> dict:
    names = ("lattice", "hamiltonian", "solver", "sources", "seed")
    return dataset_config(**{name: changes.get(name, recipe[name]) for name in names})


def test_opens_what_was_made(made, recipe):
    dataset = LatticeDataset.open(made, expect=config_of(recipe))
    assert dataset.lattice == square(6)
    assert dataset.hamiltonian == Holstein(square(6))
    assert made.name == f"tiny-{dataset.hash}"
    assert {"lattgnn", "numpy", "torch"} <= set(dataset.versions)


def test_splits_are_by_trajectory(made):
    dataset = LatticeDataset.open(made)
    assert [len(part) for part in dataset.trajectories("train")] == [6, 6, 3, 2]
    assert [len(part) for part in dataset.trajectories("train", kind="quench")] == [6, 6]
    assert len(dataset.frames("test")) == 4 + 3
    fields = np.concatenate(
        [part.field for split in ("train", "val", "test") for part in dataset.trajectories(split)]
    )
    assert len(np.unique(fields, axis=0)) == len(fields)


def test_arrays_have_their_shapes(made):
    frames = LatticeDataset.open(made).frames("train")
    assert frames.field.shape == frames.forces.shape == (17, 36)
    assert frames.energy.shape == frames.step.shape == (17,)
    assert frames.field.dtype == frames.forces.dtype == frames.energy.dtype == np.float64


def test_unknown_split_is_refused(made):
    with pytest.raises(ValueError, match="split must be one of"):
        LatticeDataset.open(made).trajectories("training")


def test_opens_the_current_folder(made, monkeypatch):
    monkeypatch.chdir(made)
    assert LatticeDataset.open(".").records == LatticeDataset.open(made).records


@pytest.mark.parametrize("quantity", ["field", "forces", "energy"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_labels_that_are_not_numbers_are_not_written(made, tmp_path, quantity, bad):
    frames = LatticeDataset.open(made).frames("val")
    values = getattr(frames, quantity).copy()
    values[2] = bad
    with pytest.raises(ValueError, match=f"part 00-val has others in {quantity} of sample 2"):
        write_part(
            tmp_path / "part", replace(frames, **{quantity: values}), name="00-val", split="val"
        )
    assert not list(tmp_path.iterdir())


def test_energies_may_be_unknown(made, tmp_path):
    frames = LatticeDataset.open(made).frames("val")
    unknown = replace(frames, energy=np.full_like(frames.energy, np.nan))
    write_part(tmp_path / "part", unknown, name="part", split="val", kind="quench", seed=0)


def refused(path: Path, match: str, **options) -> None:
    with pytest.raises(ValueError, match=match) as error:
        LatticeDataset.open(path, **options)
    assert "\n" not in str(error.value)


def test_other_config_is_refused(made, recipe):
    refused(made, "another seed", expect=config_of(recipe, seed=8))
    refused(made, "another lattice", expect=config_of(recipe, lattice=square(8)))
    refused(
        made,
        "another hamiltonian",
        expect=config_of(recipe, hamiltonian=lambda lat: Holstein(lat, g=3.0)),
    )


def test_missing_dataset_is_refused(tmp_path):
    refused(tmp_path / "nothing", "does not exist")


def test_unfinished_dataset_is_refused(copy):
    (copy / "manifest.json").unlink()
    refused(copy, "not complete")


@pytest.mark.parametrize("checksums", [True, False])
def test_truncated_file_is_refused(copy, checksums):
    chunk = next(file for file in sorted(copy.glob("00-*-0000/forces/c/**/*")) if file.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-10])
    refused(copy, "00-quench-train-0000 has .* bytes instead of", checksums=checksums)


def test_changed_byte_is_refused(copy):
    chunk = next(file for file in sorted(copy.glob("00-*-0000/forces/c/**/*")) if file.is_file())
    content = bytearray(chunk.read_bytes())
    content[-1] ^= 1
    chunk.write_bytes(content)
    refused(copy, "does not match its checksum")


def test_missing_part_is_refused(copy):
    shutil.rmtree(next(copy.glob("01-*")))
    refused(copy, "is missing")


def test_renamed_directory_is_refused(copy):
    refused(copy.rename(copy.parent / "tiny-000000000000"), "must end with the hash of its config")


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (
            lambda manifest: manifest["config"].update(seed=8),
            "must end with the hash of its config",
        ),
        (lambda manifest: manifest.update(hash="0" * 12), "must end with the hash of its config"),
        (lambda manifest: manifest.update(format_version=99), "format version 1, got 99"),
        (lambda manifest: manifest["parts"][0].update(n_frames=7), "must be"),
    ],
)
def test_edited_manifest_is_refused(copy, edit, match):
    manifest = json.loads((copy / "manifest.json").read_text())
    edit(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    refused(copy, match)


def test_broken_manifest_is_refused(copy):
    (copy / "manifest.json").write_text("{")
    refused(copy, "must be JSON")


def test_window_of_a_step():
    steps = [-1, 0, 40, 41, 200, 201, 600, 601, 1200, 1201, 2000, 5000]
    names = [
        "random",
        *["0-40"] * 2,
        *["41-200"] * 2,
        *["201-600"] * 2,
        *["601-1200"] * 2,
        *["1201-2000"] * 3,
    ]
    expected = [WINDOW_NAMES.index(name) for name in names]
    assert [window_index(step) for step in steps] == expected
    assert window_index(np.array(steps)).tolist() == expected
    assert window_index(torch.tensor(steps)).tolist() == expected
