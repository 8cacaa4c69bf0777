"""Published labels of other groups, read from npz files: a source like any other.

A file holds these arrays, with the sites in the order of lattgnn, along one axis or along axes of
cells:

    field     [n, *extent, components] or [n, n_sites, components]; also named displacement, spin
              (no axis of components for a scalar field; an axis of sublattices after the cells if
              there are several)
    forces    −∂E/∂field with the elastic part, shaped like field; also named force, effective_field
    energy    [n], with the elastic part; optional

Numbers must be real and finite. Other arrays are not used, and a warning names them.

Snapshots of one trajectory are similar, so testing on some after training on others would
underestimate errors. The files do not say which snapshots belong together. Therefore similar
snapshots are grouped, and each group belongs to one split as a whole.
"""

import hashlib
import warnings
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components

from lattgnn.data.sources import LabeledFields, Source
from lattgnn.errors import InputError, suggestion
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Hamiltonian

NAMES = {
    "field": ("field", "displacement", "spin"),
    "forces": ("forces", "force", "effective_field"),
    "energy": ("energy",),
}
# What numpy raises for files that are truncated, encrypted, changed, or too large for the memory.
_READ_ERRORS = (
    *(OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)


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
        for name in _unused_names(self.path):
            advice = suggestion(name, sum(NAMES.values(), ()))
            advice = advice if advice.startswith("Did you mean") else ""
            warnings.warn(f"{self.path}: the array {name!r} is not used. {advice}", stacklevel=2)

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
        groups = similar_groups(self._arrays["field"].astype(np.float64), self.overlap)
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

    def check(self, model: Hamiltonian) -> None:
        """Refuse a model that the fields of the file do not fit, before any label is made."""
        super().check(model)
        self._check_shape(model)
        fields = self._arrays["field"].reshape(-1, *model.field_shape)
        model.check_field(torch.from_numpy(fields.astype(np.float64)))

    def _check_shape(self, model: Hamiltonian) -> None:
        """Refuse a model whose field has another shape than those of the file."""
        found, lattice = self._arrays["field"].shape[1:], model.lattice
        cells = lattice.extent
        if lattice.n_sublattices > 1:
            cells = (*cells, lattice.n_sublattices)
        if found not in (model.field_shape, (*cells, *model.field_shape[1:])):
            raise InputError(
                f"{self.path} must have fields of shape {model.field_shape} for "
                f"{type(model).__name__} on {lattice.name}, or with axes of cells {cells}, got "
                f"{found}. Use the extent of the file."
            )

    def label(self, exact: ExactForceField, task: int, seed: int) -> LabeledFields:
        """Read one group and subtract the elastic part of the Hamiltonian."""
        self._check_shape(exact.hamiltonian)
        chosen, model = self.groups[task], exact.hamiltonian
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
        for role, name in _names_by_role(self.path).items():
            arrays[role] = _real_numbers(self.path, name)
        field = arrays["field"]
        if field.ndim < 2 or len(field) == 0:
            raise InputError(
                f"{self.path} must have snapshots [n, n_sites] in its array of the field, got the "
                f"shape {field.shape}."
            )
        if arrays["forces"].shape != field.shape:
            raise InputError(
                f"{self.path} must have forces shaped like the field, {field.shape}, got "
                f"{arrays['forces'].shape}."
            )
        if "energy" in arrays and arrays["energy"].shape != field.shape[:1]:
            raise InputError(
                f"{self.path} must have one energy per snapshot, an array energy of shape "
                f"{field.shape[:1]}, got {arrays['energy'].shape}. Reshape it, or leave it out."
            )
        return arrays


def _array_names(path: str) -> list[str]:
    """The names of the arrays in an npz file."""
    # Checked here, because np.load would also take a single array or a pickle.
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} must be an npz file of arrays, got another format. Use np.savez.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return list(file.files)
    except _READ_ERRORS as error:
        raise InputError(f"{path} must be an npz file of arrays, got {error}.") from None


def _names_by_role(path: str) -> dict[str, str]:
    """Which array of the file is the field, which holds the forces, and which the energy."""
    there, found = _array_names(path), {}
    for role, names in NAMES.items():
        match [name for name in names if name in there]:
            case [name]:
                found[role] = name
            case [first, second, *_]:
                raise InputError(
                    f"{path} must have one array for the {role}, got {first!r} and {second!r}. "
                    "Remove one of them from the file."
                )
    if not {"field", "forces"} <= found.keys():
        raise InputError(
            f"{path} must have arrays field and forces (or {NAMES['field'][1:]} and "
            f"{NAMES['forces'][1:]}), got {sorted(there)}. Rename them."
        )
    return found


def _unused_names(path: str) -> list[str]:
    """The arrays of a file that have no role; the names of the others are checked."""
    used = _names_by_role(path).values()
    return sorted(set(_array_names(path)) - set(used))


def _real_numbers(path: str, name: str) -> np.ndarray:
    """An array of an npz file, which must hold finite real numbers.

    Integers and numbers of any precision are accepted. Truth values, complex numbers, dates, texts
    and Python objects are refused; numpy would turn most of them into numbers in silence.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            array = file[name]
    except _READ_ERRORS as error:
        raise InputError(
            f"{path} must have an array of numbers in {name}, which cannot be read ({error})."
        ) from None
    if array.dtype.kind not in "fiu":
        raise InputError(
            f"{path} must have real numbers in {name}, got {array.dtype}. Convert them, for "
            "example with .real or .astype(float)."
        )
    if not np.isfinite(array).all():
        raise InputError(
            f"{path} must have finite numbers only, but {name} has others. Remove those snapshots "
            "from the file."
        )
    return array


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
