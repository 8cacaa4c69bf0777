"""Fields that a dataset for tests shares with one that networks are fitted on."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lattgnn.data.dataset import LatticeDataset
from lattgnn.data.parts import MANIFEST

_SAME = ("lattice", "hamiltonian", "solver")
"""Entries of a configuration without which fields of equal seeds have other labels."""


_PART = ("split", "kind", "seed")
"""Entries of a record that say which fields a part holds."""

_FROM_FILES = "publishedsnapshots"
"""The kind of parts whose fields do not follow from a seed."""


def warn_of_shared_fields(dataset: LatticeDataset) -> None:
    """Warn in one line if test fields of one dataset are training fields of another one.

    The seed of a task depends on the seed of the dataset and on the place of its source. A second
    dataset with only test fields can therefore repeat the training fields of the first.

    Args:
        dataset: A complete dataset, which is compared with the others in its folder.
    """
    own = _seeds([{key: getattr(record, key) for key in _PART} for record in dataset.records])
    for path, other in _other_datasets(dataset):
        seeds = _seeds(other)
        for trained, tested, place in ((own, seeds, path), (seeds, own, dataset.path)):
            if trained["train"] & tested["test"]:
                fitted = path if trained is seeds else dataset.path
                warnings.warn(
                    f"test fields of {place.name} are training fields of {fitted.name}, because "
                    "their seeds are equal: their errors are not those of new fields. Use another "
                    "--seed",
                    stacklevel=2,
                )
                return


def _seeds(parts: Sequence[Mapping[str, Any]]) -> dict[str, set[tuple[str, int]]]:
    """Kinds and seeds of the parts of each split, apart from fields that come from files."""
    found: dict[str, set[tuple[str, int]]] = {"train": set(), "val": set(), "test": set()}
    for part in parts:
        if part["kind"] != _FROM_FILES:
            found[part["split"]].add((part["kind"], part["seed"]))
    return found


def _other_datasets(dataset: LatticeDataset) -> Iterator[tuple[Path, Sequence[Mapping[str, Any]]]]:
    """Directories and parts of complete datasets of the same model in the same folder."""
    for manifest in sorted(dataset.path.parent.glob(f"*/{MANIFEST}")):
        if manifest.parent == dataset.path:
            continue
        try:
            other = json.loads(manifest.read_text(encoding="utf-8"))
            is_same = all(other["config"][key] == dataset.config[key] for key in _SAME)
            parts = [{key: part[key] for key in _PART} for part in other["parts"]]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a damaged dataset of another name does not matter here
        if is_same:
            yield manifest.parent, parts
