"""Published labels of other groups, read from npz files: a source like any other.

A file holds these arrays, with the sites in the order of lattgnn, along one axis or along axes of
cells:

    field     [n, *extent, components] or [n, n_sites, components]; also named displacement, spin
              (no axis of components for a scalar field; an axis of sublattices after the cells if
              there are several)
    forces    −∂E/∂field with the elastic part, shaped like field; also named force, effective_field
    energy    [n], with the elastic part; optional

Snapshots of one trajectory are similar, so testing on some after training on others would
underestimate errors. The files do not say which snapshots belong together. Therefore similar
snapshots are grouped, and each group belongs to one split as a whole.
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
    """Snapshots of an npz file with the labels in it; the exact solver is not used.

    The electronic part of the forces is their difference from the elastic part of the Hamiltonian.
    Two snapshots are similar if |φ_a·φ_b| > overlap × |φ_a| |φ_b|. A group is a connected set of
    similar snapshots, so a trajectory in which order grows is one group, together with any
    trajectory that ends in the same state or in its negative.

    Args:
        split: See `Source`.
        path: The npz file.
        share: Fraction of the frames to take, as an interval within [0, 1]. Groups are put in a
            random order, and a group is taken if its middle lies in the interval. Intervals that do
            not overlap have no group in common.
        overlap: Threshold of similarity, between 0 and 1.
        order: Seed of the order of the groups.
        sha256: Checksum that the file must have. It is part of the dataset's hash, the path is not.

    Raises:
        InputError: If the file is missing or wrong, or the share has no group.
    """

    path: str = field(metadata={"describe": False})
    share: tuple[float, float] = (0.0, 1.0)
    overlap: float = 0.8
    order: int = 0
    sha256: str | None = None

    makes_spins = None
    computes_labels = False

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
                f"{self.path} must have sha256 {self.sha256}, got {found}. It is another file, or "
                "it is damaged."
            )
        object.__setattr__(self, "sha256", found)

    def __getstate__(self) -> dict:
        # Without the cached arrays and groups: a worker reads the file instead.
        state = dict(self.__dict__)
        for name in ("groups", "_arrays"):
            state.pop(name, None)
        return state

    @property
    def n_tasks(self) -> int:
        """Number of groups."""
        return len(self.groups)

    def n_frames_of(self, task: int) -> int:
        """Number of snapshots in the group."""
        return len(self.groups[task])

    @cached_property
    def groups(self) -> tuple[Int[np.ndarray, " n"], ...]:
        """The frames of each group in the share of this source."""
        groups = similar_groups(self._arrays["field"], self.overlap)
        shuffled = [groups[k] for k in np.random.default_rng(self.order).permutation(len(groups))]
        sizes = np.array([len(group) for group in shuffled])
        # Middle of each group on the interval [0, 1] of all frames. It lies in exactly one of
        # several intervals that cover [0, 1].
        middle = (sizes.cumsum() - sizes / 2) / sizes.sum()
        taken = (middle >= self.share[0]) & (middle < self.share[1])
        if not taken.any():
            raise InputError(
                f"share must contain at least one of the {len(groups)} groups, got "
                f"{self.share!r}. Use a wider interval."
            )
        return tuple(group for group, here in zip(shuffled, taken, strict=True) if here)

    def label(self, exact: ExactForceField, task: int, seed: int) -> LabeledFields:
        """Read one group and subtract the elastic part of the Hamiltonian."""
        chosen, model = self.groups[task], exact.hamiltonian
        found, lattice = self._arrays["field"].shape[1:], exact.lattice
        cells = lattice.extent
        if lattice.n_sublattices > 1:
            cells = (*cells, lattice.n_sublattices)
        if found not in (exact.field_shape, (*cells, *exact.field_shape[1:])):
            raise InputError(
                f"{self.path} must have fields of shape {exact.field_shape} for "
                f"{type(model).__name__} on {lattice.name}, or with axes of cells {cells}, got "
                f"{found}. Use the extent of the file."
            )
        arrays = {name: array[chosen].astype(np.float64) for name, array in self._arrays.items()}
        fields = torch.from_numpy(arrays["field"].reshape(-1, *exact.field_shape))
        forces = torch.from_numpy(arrays["forces"].reshape(-1, *exact.field_shape))
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
        """The arrays of the file by the names of `NAMES`, checked."""
        arrays = {}
        try:
            if not zipfile.is_zipfile(self.path):
                # Checked here, because np.load would also take a single array or a pickle.
                raise InputError("another format")
            with np.load(self.path) as file:
                for key, names in NAMES.items():
                    for name in names:
                        if name in file:
                            arrays[key] = file[name]
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.path} must be an npz file of arrays, got {error}.") from None
        if not {"field", "forces"} <= arrays.keys():
            raise InputError(
                f"{self.path} must have arrays field and forces (or {NAMES['field'][1:]} and "
                f"{NAMES['forces'][1:]}), got {sorted(arrays)}. Rename them."
            )
        if arrays["field"].shape != arrays["forces"].shape:
            shapes = [arrays[name].shape for name in ("field", "forces")]
            raise InputError(f"{self.path} must have forces shaped like the field, got {shapes}.")
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise InputError(
                    f"{self.path} must have finite numbers only, but {name} has others. Remove "
                    "those snapshots from the file."
                )
        return arrays


def similar_groups(
    fields: Float[np.ndarray, "n ..."], overlap: float
) -> list[Int[np.ndarray, " m"]]:
    """Connected sets of similar fields, |φ_a·φ_b| > overlap × |φ_a| |φ_b|.

    Args:
        fields: The fields.
        overlap: Threshold of similarity, between 0 and 1.

    Returns:
        Indices of the fields of each set; the sets are ordered by their first index.
    """
    flat = fields.reshape(len(fields), -1).astype(np.float64)
    # Normalize; the smallest positive number in place of 0 leaves a field of zeros as it is.
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.finfo(float).tiny)
    count, labels = connected_components(np.abs(flat @ flat.T) > overlap, directed=False)
    return [np.flatnonzero(labels == label) for label in range(count)]
