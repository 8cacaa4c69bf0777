"""A dataset on disk: one zarr group per part and a manifest, all checked when it is opened.

A part is a trajectory or a batch of random fields, the result of one task.

    holstein-square-3f9c.../            name and hash of the resolved config
        manifest.json                   config, hash, versions, one record per part; written last
        00-quench-train-0000/           zarr v3 group: field, forces, energy, step (float64, int64)
            record.json                 frames, seed, bytes and sha256 of this part

The manifest exists if and only if the dataset is complete.
"""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import zarr

from lattgnn.data.parts import MANIFEST, RECORD, Record, fault, read_frames
from lattgnn.data.sources import SPLITS, LabeledFields
from lattgnn.errors import InputError
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.serialize import build, config_hash
from lattgnn.trust import Trust, reading

FORMAT_VERSION = 1

# Windows of steps of a quench for which errors are reported, both ends included. Later steps count
# as part of the last one.
WINDOWS = ((0, 40), (41, 200), (201, 600), (601, 1200), (1201, 2000))
WINDOW_NAMES = (*(f"{first}-{last}" for first, last in WINDOWS), "random")

# A dataset of at most this many bytes is read and hashed when it is opened, which takes under a
# second.
_ALWAYS_HASHED = 300_000_000


def window_index(step: Any) -> Any:
    """Window of a time step, as an index into `WINDOW_NAMES`.

    Args:
        step: Time steps, −1 for a random field: an int, a numpy array or a tensor.

    Returns:
        The same kind of object with values from 0 to 5; 5 is "random".
    """
    # The number of windows that the step is beyond. Times 1 turns booleans into integers, for all
    # of the kinds above. A step of −1 is beyond none, and gets the index after the last window.
    late = sum((step > last) * 1 for _, last in WINDOWS[:-1])
    return late + (step < 0) * len(WINDOWS)


@dataclass(frozen=True)
class LatticeDataset:
    """A complete, validated dataset.

    Attributes:
        path: Its directory.
        config: Resolved config: lattice, hamiltonian, solver, sources, noise, seed, format_version.
        hash: Hash of `config`, also the end of the directory's name.
        versions: Versions of the software that made it; not part of the hash.
        records: One record per part, in the order of the sources.
    """

    path: Path
    config: dict[str, Any]
    hash: str
    versions: dict[str, str]
    records: tuple[Record, ...]

    @classmethod
    def open(
        cls,
        path: str | Path,
        expect: Mapping[str, Any] | None = None,
        checksums: bool | None = None,
        trust: Trust = (),
    ) -> "LatticeDataset":
        """Open and validate a dataset.

        Args:
            path: Directory that `generate` returned.
            expect: Config that the dataset must have been made from (`dataset_config`).
            checksums: Read and hash every file; None does so up to 300 MB. Sizes are always
                compared.
            trust: Modules that the manifest may import besides those that every file may, see
                `lattgnn.trust`.

        Raises:
            InputError: If the dataset is missing, unfinished or damaged, has another format or
                config, or names a module that is not trusted.
        """
        path = Path(path)
        manifest = _read_manifest(path)
        config, stored = manifest["config"], manifest["hash"]
        with reading(path / MANIFEST):  # NaN, which JSON does not have, has no hash
            computed = config_hash(config)
        # The hash of the config, the stored hash and the name must agree.
        # Resolved, because "." has no name.
        if not stored == computed == path.resolve().name.rsplit("-", 1)[-1]:
            raise InputError(
                f"the name of dataset {path} must end with the hash of its config, {computed}; "
                f"{MANIFEST} has {stored}. The config was edited or the directory renamed. "
                "Undo that, or generate the dataset again."
            )
        if expect is not None and config_hash(dict(expect)) != stored:
            raise InputError(
                f"dataset {path} was made from another config, with another "
                f"{_difference(config, expect)}. Generate a dataset with your config, or use the "
                "stored config."
            )
        records = _records(path, manifest["parts"])
        if checksums is None:
            checksums = sum(record.n_bytes for record in records) <= _ALWAYS_HASHED
        for record in records:
            if (what := fault(path, record, hashed=checksums)) is not None:
                raise InputError(
                    f"dataset {path} is damaged: part {record.name} {what}. Remove "
                    f"{path / MANIFEST} and run the same generate command again; it replaces only "
                    "the damaged parts."
                )
        dataset = cls(path, config, stored, manifest["versions"], records)
        with reading(path / MANIFEST, trust):
            shape = dataset.hamiltonian.field_shape
        dataset._check_shapes(shape)
        return dataset

    @property
    def lattice(self) -> Lattice:
        """Lattice of every frame."""
        return Lattice.from_dict(self.config["lattice"])

    @property
    def hamiltonian(self) -> Hamiltonian:
        """Hamiltonian that made the labels."""
        return build(self.config["hamiltonian"], Hamiltonian, self.lattice)

    def trajectories(self, split: str, kind: str | None = None) -> list[LabeledFields]:
        """The parts of a split: trajectories, and batches of random fields.

        Args:
            split: "train", "val" or "test".
            kind: Only parts of this kind, such as "quench" or "randomfields".

        Returns:
            The labeled fields of each part.

        Raises:
            InputError: If the split has another name.
        """
        if split not in SPLITS:
            raise InputError(f"split must be one of {SPLITS}, got {split!r}.")
        return [
            read_frames(self.path / record.name)
            for record in self.records
            if record.split == split and kind in (None, record.kind)
        ]

    def frames(self, split: str) -> LabeledFields:
        """All frames of a split.

        Args:
            split: "train", "val" or "test".

        Raises:
            InputError: If no source has this split.
        """
        parts = self.trajectories(split)
        if not parts:
            raise InputError(
                f"split must be one of {self.splits} in {self.path}, got {split!r}. Add a source "
                "for it."
            )
        return LabeledFields.join(parts)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have frames."""
        found = {record.split for record in self.records}
        return tuple(split for split in SPLITS if split in found)

    def _check_shapes(self, shape: tuple[int, ...]) -> None:
        """Refuse arrays whose shape or type is not that of the model's labels."""
        for record in self.records:
            with reading(self.path / record.name):
                group = zarr.open_group(self.path / record.name, mode="r", zarr_format=3)
            for name, tail in {"field": shape, "forces": shape, "energy": (), "step": ()}.items():
                array, wanted = group.get(name), (record.n_frames, *tail)
                dtype = "int64" if name == "step" else "float64"
                found = (
                    (array.shape, str(array.dtype)) if isinstance(array, zarr.Array) else "no array"
                )
                if found != (wanted, dtype):
                    raise InputError(
                        f"dataset {self.path}: {record.name}/{name} must be {(wanted, dtype)}, "
                        f"got {found}. Generate the dataset again."
                    )


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise InputError(f"dataset {path} does not exist. Make it with `lattgnn generate`.")
    if not (path / MANIFEST).is_file():
        done = len(list(path.glob(f"*/{RECORD}")))
        raise InputError(
            f"dataset {path} is not complete: it has {done} finished parts and no {MANIFEST}. "
            "Run the same generate command again to resume."
        )
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path / MANIFEST} must be JSON, got {error}. Generate the dataset again."
        ) from None
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        version = manifest.get("format_version") if isinstance(manifest, dict) else None
        raise InputError(
            f"dataset {path} must have format version {FORMAT_VERSION}, got "
            f"{reprlib.repr(version)}. Generate it again."
        )
    for key, kind in {"config": dict, "hash": str, "versions": dict, "parts": list}.items():
        if not isinstance(manifest.get(key), kind):
            raise InputError(
                f"{path / MANIFEST} must have the entry {key!r}, {kind.__name__}, got "
                f"{reprlib.repr(manifest.get(key))}. Generate the dataset again."
            )
    return manifest


def _records(path: Path, parts: list[Any]) -> tuple[Record, ...]:
    """The records of a manifest, each with its entries and with a plain folder name."""
    kinds = {field.name: int if field.name[:2] == "n_" else str for field in fields(Record)}
    kinds["seed"] = int
    for entry in parts:
        right = isinstance(entry, dict) and entry.keys() == kinds.keys()
        right = right and all(isinstance(entry[name], kind) for name, kind in kinds.items())
        # A name with a separator could lead out of the dataset.
        if not right or Path(entry["name"]).name != entry["name"] or entry["n_frames"] < 0:
            raise InputError(
                f"{path / MANIFEST} must have parts with {', '.join(kinds)}, got "
                f"{reprlib.repr(entry)}. Generate the dataset again."
            )
    return tuple(Record(**entry) for entry in parts)


def _difference(config: Mapping[str, Any], expect: Mapping[str, Any]) -> str:
    """Keys whose values differ."""
    return ", ".join(key for key in {**config, **expect} if config.get(key) != expect.get(key))
