"""Labels that others have published, read from npz files as a source like any other.

A file of snapshots holds arrays by these names, sites in our order, as axes of cells or in one axis:

    field     [n, *extent, components] or [n, n_sites, components]; also named displacement, spin
              (no axis of components for a scalar; sublattices between, where there are several)
    forces    −∂E/∂field with the elastic part, like field; also named force, effective_field
    energy    [n], with the elastic part; may be missing

Snapshots of one trajectory are alike, and a test on some after training on others would flatter. Such files
do not say which belong together, so snapshots are sorted into groups of like ones, and a group belongs to one
split as a whole.
"""

import hashlib
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components

from lattgnn.data.sources import LabeledFields, Source
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField

NAMES = {
    "field": ("field", "displacement", "spin"),
    "forces": ("forces", "force", "effective_field"),
    "energy": ("energy",),
}


@dataclass(frozen=True)
class PublishedSnapshots(Source):
    """Snapshots of an npz file with the labels that it brings; the exact solver is not asked.

    The electronic part of the forces is what is left without the elastic part of the Hamiltonian. Two
    snapshots are alike if |φ_a·φ_b| > overlap × |φ_a| |φ_b|, and a group is a chain of like ones: the order
    that grows in a trajectory is one group, with that of another one that ends in the same state or in −φ.

    Args:
        split: see `Source`.
        path: the npz file.
        share: the part of the frames that is taken, as an interval of [0, 1]: groups are put in a random
            order, and each is taken by the share that holds its middle. Shares that touch share no group.
        overlap: above it, between 0 and 1, two snapshots are alike.
        order: seed of the order of the groups.
        sha256: checksum that the file must have; it is part of the dataset's hash, the path is not.

    Raises:
        ValueError: the file is missing, is not such a file, or has another checksum; no frame in the share.
    """

    path: str = field(metadata={"describe": False})
    share: tuple[float, float] = (0.0, 1.0)
    overlap: float = 0.8
    order: int = 0
    sha256: str | None = None

    makes_spins = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "share", tuple(map(float, self.share)))
        if len(self.share) != 2 or not 0 <= self.share[0] < self.share[1] <= 1:
            raise InputError(
                f"share must be an interval within [0, 1], got {self.share!r}. Use [0.0, 0.8]."
            )
        if not 0 < self.overlap < 1:
            raise InputError(f"overlap must be above 0 and below 1, got {self.overlap!r}. Use 0.8.")
        if not Path(self.path).is_file():
            raise InputError(f"path must be an npz file, got {self.path!r}, which does not exist.")
        found = hashlib.sha256(Path(self.path).read_bytes()).hexdigest()
        if self.sha256 not in (None, found):
            raise InputError(
                f"{self.path} must have sha256 {self.sha256}, got {found}. Use the file meant."
            )
        object.__setattr__(self, "sha256", found)

    def __getstate__(self) -> dict:
        # Other processes read the file themselves.
        return {
            key: value for key, value in self.__dict__.items() if key not in ("groups", "_arrays")
        }

    @property
    def n_tasks(self) -> int:
        """Number of groups."""
        return len(self.groups)

    def n_frames_of(self, task: int) -> int:
        """Snapshots of the group."""
        return len(self.groups[task])

    @cached_property
    def groups(self) -> tuple[Int[np.ndarray, " n"], ...]:
        """The frames of each group in this source's share."""
        groups = like_groups(self._arrays["field"], self.overlap)
        shuffled = [groups[k] for k in np.random.default_rng(self.order).permutation(len(groups))]
        sizes = np.array([len(group) for group in shuffled])
        middle = (sizes.cumsum() - sizes / 2) / sizes.sum()
        taken = (middle >= self.share[0]) & (middle < self.share[1])
        if not taken.any():
            raise InputError(
                f"share must hold at least one of the {len(groups)} groups, got {self.share!r}. Widen it."
            )
        return tuple(group for group, here in zip(shuffled, taken, strict=True) if here)

    def label(self, exact: ExactForceField, task: int, seed: int) -> LabeledFields:
        """Read one group; the Hamiltonian gives the elastic part that is taken off."""
        chosen, model = self.groups[task], exact.hamiltonian
        found, lattice = self._arrays["field"].shape[1:], exact.lattice
        cells = (
            lattice.extent
            if lattice.n_sublattices == 1
            else (*lattice.extent, lattice.n_sublattices)
        )
        if found not in (exact.field_shape, (*cells, *exact.field_shape[1:])):
            raise InputError(
                f"{self.path} must hold fields of shape {exact.field_shape} for {type(model).__name__} on "
                f"{lattice.name}, or with cells {cells}, got {found}. Use the extent of the file."
            )
        arrays = {name: array[chosen].astype(np.float64) for name, array in self._arrays.items()}
        fields, forces = (
            torch.from_numpy(arrays[name].reshape(-1, *exact.field_shape))
            for name in ("field", "forces")
        )
        model.check_field(fields)
        forces = forces - model.classical_forces(fields)
        energy = torch.full((len(chosen),), torch.nan, dtype=torch.float64)
        if "energy" in arrays:
            energy = torch.from_numpy(arrays["energy"]) - model.classical_energy(fields)
        return LabeledFields(
            fields.numpy(), forces.numpy(), energy.numpy(), np.full(len(chosen), -1)
        )

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        try:
            if not zipfile.is_zipfile(self.path):
                raise InputError("another format")
            with np.load(self.path) as file:
                known = [
                    (key, name) for key, names in NAMES.items() for name in names if name in file
                ]
                arrays = {key: file[name] for key, name in known}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.path} must be an npz file of arrays, got {error}.") from None
        if not {"field", "forces"} <= arrays.keys():
            raise InputError(
                f"{self.path} must hold arrays field and forces (or {NAMES['field'][1:]} and "
                f"{NAMES['forces'][1:]}), got {sorted(arrays)}. Rename them."
            )
        if arrays["field"].shape != arrays["forces"].shape:
            shapes = [arrays[name].shape for name in ("field", "forces")]
            raise InputError(f"{self.path} must have forces shaped like the field, got {shapes}.")
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise InputError(
                    f"{self.path} must hold finite numbers, got others in {name}. Mend the file."
                )
        return arrays


def like_groups(fields: Float[np.ndarray, "n ..."], overlap: float) -> list[Int[np.ndarray, " m"]]:
    """Indices of the fields in each chain of like ones, |φ_a·φ_b| > overlap × |φ_a| |φ_b|, by first index."""
    flat = fields.reshape(len(fields), -1).astype(np.float64)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.finfo(float).tiny)
    count, labels = connected_components(np.abs(flat @ flat.T) > overlap, directed=False)
    return [np.flatnonzero(labels == label) for label in range(count)]
