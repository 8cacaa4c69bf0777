"""Lightning data module: makes the dataset that a config describes and serves it in batches."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lattgnn.data.dataset import LatticeDataset, window_index
from lattgnn.data.generation import dataset_config, dataset_path, generate
from lattgnn.data.sources import LabeledFields, Source
from lattgnn.errors import InputError
from lattgnn.field_statistics import FieldStatistics
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.solvers import Solver

_LOGGER = logging.getLogger("lattgnn")


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the field, the forces and the energy per site in training."""

    n_frames: int
    field_mean: float
    field_std: float
    forces_mean: float
    forces_std: float
    energy_mean: float
    energy_std: float


class Batches:
    """Batches cut from tensors in memory, with one index operation per batch.

    The frames of an epoch are put in an order, and each process (rank) takes every `world_size`-th
    of them. In training the order is a new permutation in each epoch, and incomplete batches are
    dropped, so that all ranks have the same number. The position in the epoch is part of
    `state_dict`, so that a run resumed within an epoch continues with the next batch.

    Args:
        tensors: Tensors whose first dimension is the frame.
        batch_size: Number of frames per batch and rank.
        shuffle: Permute the frames in each epoch and drop incomplete batches.
        seed: Seed of the permutations, the same on all ranks.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        InputError: If a rank has too few frames for one batch.
    """

    def __init__(
        self,
        tensors: dict[str, Tensor],
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.tensors, self.batch_size, self.shuffle, self.seed = tensors, batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.n_frames = len(next(iter(tensors.values())))
        self.epoch = 0
        self.position = 0  # batches of this epoch that were served already
        self._first = 0  # first batch of the next iteration, above 0 only after a resumption
        if len(self) == 0:
            raise InputError(
                f"batch_size must be at most n_frames / processes = {self.n_frames // world_size}, "
                f"got {batch_size!r}. Use smaller batches or more frames."
            )

    def __len__(self) -> int:
        if self.shuffle:
            return self.n_frames // (self.world_size * self.batch_size)
        own = len(range(self.rank, self.n_frames, self.world_size))
        return -(-own // self.batch_size)  # rounded up: the last batch may be smaller

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        order = self._order()[self.rank :: self.world_size]
        first, self._first = self._first, 0
        for number in range(first, len(self)):
            # Set before the batch is handed out, so that a checkpoint written while it is used
            # counts it.
            self.position = number + 1
            chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
            batch = {name: tensor[chosen] for name, tensor in self.tensors.items()}
            # A GPU copies from page-locked memory while the host goes on; Lightning asks for that.
            if torch.cuda.is_available():
                batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
            yield batch
        self.set_epoch(self.epoch + 1)

    def _order(self) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.n_frames)
        # With seed + epoch, epoch 1 of seed 0 would equal epoch 0 of seed 1. Multiplying the seed
        # by the inverse golden ratio times 2⁶⁴ spreads neighboring seeds over the whole range.
        generator = torch.Generator().manual_seed(
            (self.seed * 0x9E3779B97F4A7C15 + self.epoch) % 2**63
        )
        return torch.randperm(self.n_frames, generator=generator)

    @property
    def sampler(self) -> "Batches":
        """This object, because Lightning calls `set_epoch` of the sampler."""
        return self

    @property
    def batch_sampler(self) -> "Batches":
        """This object, because Lightning expects it together with a sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation; a new epoch starts with its first batch."""
        # Lightning also announces the current epoch after a resumption; this must keep the
        # position.
        if epoch != self.epoch:
            self.epoch, self.position, self._first = epoch, 0, 0

    def state_dict(self) -> dict[str, int]:
        """The epoch and the number of batches served in it."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after the batches that had been served when the state was taken."""
        self.epoch = state["epoch"]
        self.position = self._first = state["position"]


class LatticeDataModule(L.LightningDataModule):
    """Exact labels on one lattice, generated by `prepare_data` if they are missing.

    A batch is a dict of tensors on one shared lattice: `field` and `forces` (electronic)
    [batch, n_sites, ...], `energy` (electronic) [batch], `step` [batch] (−1 for a random field) and
    `window` [batch] (an index into `WINDOW_NAMES`). A trajectory belongs to one split as a whole.

    Args:
        lattice: Lattice of every frame.
        hamiltonian: Makes the Hamiltonian of a lattice.
        solver: The exact solver, with the electronic ensemble.
        sources: What is labeled, and for which split.
        seed: Seed of the labels, part of the dataset's hash.
        root: Folder of datasets.
        name: First part of the dataset's directory name.
        batch_size: Number of frames per batch and process. None takes 8 for lattices of up to 400
            sites; for larger ones as many as have 3,200 sites together, at least one.
        eval_batch_size: The same for validation, test and prediction; None takes 64 in place of 8.
        shuffle_seed: Seed of the order of the training batches.
        dtype: Type of the tensors; the files are float64.
        n_workers: Number of processes that make labels, see `generate`.
        progress: Show the progress of labeling.
        model_check: Check the model before its first label, see `generate`.
        symmetry_check: Check that the model has the symmetry of the lattice, which networks assume.
        fixed_filling: Whether to fit labels at fixed filling although the field couples to the
            density, so that labels at fixed μ would serve every filling.

    Raises:
        InputError: If a batch size is below 1; see also `generate`.
    """

    def __init__(
        self,
        lattice: Lattice,
        hamiltonian: Callable[[Lattice], Hamiltonian],
        solver: Solver,
        sources: list[Source],
        seed: int = 0,
        root: str | Path = "datasets",
        name: str = "holstein-square",
        batch_size: int | None = None,
        eval_batch_size: int | None = None,
        shuffle_seed: int = 0,
        dtype: Literal["float32", "float64"] = "float32",
        n_workers: int | None = None,
        progress: bool = True,
        model_check: bool = True,
        symmetry_check: bool = True,
        fixed_filling: bool = False,
    ) -> None:
        super().__init__()
        for key, size in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if size is not None and size < 1:
                raise InputError(f"{key} must be at least 1, got {size!r}.")
        self.lattice, self.hamiltonian = lattice, hamiltonian(lattice)
        self.solver = solver.resolved(self.hamiltonian)
        self.config = dataset_config(lattice, hamiltonian, solver, sources, seed)
        self.path = dataset_path(self.config, root, name)
        self.batch_size = _lattices(8, lattice) if batch_size is None else batch_size
        self.eval_batch_size = (
            _lattices(64, lattice) if eval_batch_size is None else eval_batch_size
        )
        self.shuffle_seed = shuffle_seed
        self.dtype = {"float32": torch.float32, "float64": torch.float64}[dtype]
        settings = (seed, root, name, n_workers, progress, model_check, symmetry_check)
        self._generate = partial(generate, lattice, hamiltonian, solver, sources, *settings)
        self.fixed_filling = fixed_filling
        # One process makes the labels for all nodes, which read them from a shared file system.
        self.prepare_data_per_node = False
        self.tensors: dict[str, dict[str, Tensor]] = {}
        """The splits in memory, after `setup`."""

    def prepare_data(self) -> None:
        """Generate what is missing of the dataset; Lightning calls this once per machine.

        Raises:
            InputError: If a fit would use labels at fixed filling; see also `generate`.
        """
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._check_ensemble()
        self._generate()

    @cached_property
    def dataset(self) -> LatticeDataset:
        """The validated dataset, which exists after `prepare_data`."""
        return LatticeDataset.open(self.path, expect=self.config)

    @cached_property
    def train_statistics(self) -> Statistics:
        """Means and standard deviations of the training frames."""
        return _statistics(self.dataset.frames("train"))

    def field_statistics(self, split: str, both_signs: bool = False) -> FieldStatistics:
        """Range, scales and neighbor correlation of the fields of a split in memory.

        Args:
            split: One of the splits that `setup` has loaded.
            both_signs: Whether −φ is used with every φ.
        """
        fields, n_components = (
            self.tensors[split]["field"],
            self.hamiltonian.field_type.n_components,
        )
        return FieldStatistics.of(fields.numpy(), self.lattice, n_components or 0, both_signs)

    def setup(self, stage: str | None = None) -> None:
        """Load the splits of a stage into memory.

        Args:
            stage: "fit", "validate", "test" or "predict"; None loads all splits.
        """
        wanted = {
            "fit": ("train", "val"),
            "validate": ("val",),
            "test": ("test",),
            "predict": ("test",),
        }
        for split in self.dataset.splits:
            if split not in self.tensors and (stage is None or split in wanted[stage]):
                self.tensors[split] = self._load(self.dataset.frames(split))

    def train_dataloader(self) -> Batches:
        """Shuffled batches of the training frames."""
        return self._batches("train", self.batch_size, shuffle=True)

    def val_dataloader(self) -> Batches:
        """Validation frames in order."""
        return self._batches("val", self.eval_batch_size)

    def test_dataloader(self) -> Batches:
        """Test frames in order."""
        return self._batches("test", self.eval_batch_size)

    def predict_dataloader(self) -> Batches:
        """The test frames."""
        return self.test_dataloader()

    def _check_ensemble(self) -> None:
        """Refuse labels at fixed filling if labels at fixed μ can take their place.

        At fixed filling, μ depends on the field of the whole lattice, which no network of finite
        range can see.
        """
        if self.solver.mu is not None or self.fixed_filling:
            return
        if self.hamiltonian.field_type.density_coupling:
            raise InputError(
                "labels must be at fixed mu, because a network cannot see the whole field, which "
                f"determines mu at fixed filling; got {self.solver}. Make labels at fixed mu (mu: "
                "0.0, filling: null) and set the filling where the network is used "
                "(force_field.filling), or use --data.fixed_filling=true."
            )
        _LOGGER.warning(
            "Labels at fixed filling: mu depends on the whole field, which a network cannot see. "
            "If errors stay large, use labels at fixed mu."
        )

    def _load(self, frames: LabeledFields) -> dict[str, Tensor]:
        floats = {
            name: torch.from_numpy(getattr(frames, name)).to(self.dtype)
            for name in ("field", "forces", "energy")
        }
        step = torch.from_numpy(frames.step)
        return floats | {"step": step, "window": window_index(step)}

    def _batches(self, split: str, batch_size: int, shuffle: bool = False) -> Batches:
        if split not in self.tensors:
            raise InputError(
                f"no source has split {split!r}. Add one, or set "
                f"trainer.limit_{split}_batches to 0."
            )
        trainer = self.trainer
        rank, world_size = (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)
        return Batches(
            self.tensors[split], batch_size, shuffle, self.shuffle_seed, rank, world_size
        )


def _lattices(most: int, lattice: Lattice) -> int:
    """Number of lattices with as many sites as `most` lattices of 400 sites, from 1 to `most`."""
    return min(most, max(1, most * 400 // lattice.n_sites))


def _statistics(frames: LabeledFields) -> Statistics:
    energy = frames.energy / frames.field.shape[1]
    moments = []
    for array in (frames.field, frames.forces, energy):
        moments += [float(array.mean()), float(array.std())]
    return Statistics(len(frames), *moments)
