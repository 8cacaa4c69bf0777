"""The Lightning module: fits any force network, with the same step for training and evaluation."""

import logging
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from pytorch_optimizer import SOAP
from torch import Tensor, nn
from torch.optim import Optimizer

from lattgnn.checkpoint import (
    check_field_type,
    check_hamiltonian,
    check_network,
    checkpoint_header,
    field_statistics,
    load_weights,
    read_header,
)
from lattgnn.checks import check_particle_hole
from lattgnn.data import LatticeDataModule
from lattgnn.errors import InputError, StoppedRunError, check_number
from lattgnn.field_statistics import FieldStatistics
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork, tangent_part
from lattgnn.solvers import Solver
from lattgnn.symmetry import FieldType
from lattgnn.training.energy_constant import set_energy_constant
from lattgnn.training.learning_rate import learning_rate_factor
from lattgnn.training.optimizer_settings import optimizer_name, restore_settings
from lattgnn.training.shares import n_frames_of_step, random_signs
from lattgnn.training.window_errors import WindowErrors

logger = logging.getLogger(__name__)

LOSS_INTERVAL_ON_GPU = 100
"""Steps between two checks of the loss on a GPU, because each check waits for the GPU."""


class LitForceField(LightningModule):
    """Fits a network's electronic forces (and energies) to exact labels.

    The loss is the mean square error of the forces, plus ``energy_weight`` times that of the energy
    per site if the network has an energy. The learning rate rises linearly over the first 2 % of
    the steps and then falls to zero like a cosine; :func:`learning_rate_factor` says what happens
    without a number of steps. It depends only on the step and on ``lr``, so a resumed run follows
    the same curve. A checkpoint overrides neither ``lr`` nor a setting of the optimizer.

    The default optimizer is SOAP (Adam in the eigenbasis of Shampoo's preconditioner): for the same
    CPU time, these small networks reach errors a quarter smaller than with AdamW.

    Args:
        net: ``net(lattice, field_type)`` makes the network, e.g. ``partial(OrbitNetwork,
            n_layers=4)``.
        hamiltonian: The Hamiltonian of the labels, on the lattice of the training data; stored in
            the checkpoint.
        solver: The solver that computed the labels; stored in the checkpoint.
        lr: Peak learning rate.
        energy_weight: Weight of the squared error of the energy per site. Above 0 it needs a
            network with an energy, and an energy in every training frame. At 0, only the constant
            of the energy is set, to the mean of the labels, before each validation.
        particle_hole: Whether to train on Q or −Q at random, with F or −F. This provides additional
            data at no cost if the symmetry is exact: at μ = 0 on a bipartite lattice.
        tangent_weight: Additional weight of the squared error of the effective fields tangent to
            the spheres of the spins, the part that moves them.
        optimizer: ``optimizer(parameters)`` makes the optimizer; its own learning rate is not used.
        init_from: Checkpoint file, or name of a shipped force field, whose weights the fit starts
            from, with a new optimizer and a new schedule. Its network must be the configured one;
            the parameters of the Hamiltonian and the solver may differ.

    Raises:
        InputError: If an argument does not fit the Hamiltonian or the solver.

    Reference:
        SOAP: Vyas et al., arXiv 2409.11321.
    """

    def __init__(
        self,
        net: Callable[[Lattice, FieldType], ForceNetwork],
        hamiltonian: Hamiltonian,
        solver: Solver,
        lr: float = 6e-3,
        energy_weight: float = 0.0,
        particle_hole: bool = False,
        tangent_weight: float = 0.0,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] = SOAP,
        init_from: str | None = None,
    ):
        super().__init__()
        check_number("lr", lr, minimum=0)
        check_number("energy_weight", energy_weight, minimum=0)
        check_number("tangent_weight", tangent_weight, minimum=0)
        if particle_hole and not (hamiltonian.lattice.is_bipartite and solver.mu == 0):
            raise InputError(
                "particle_hole needs a bipartite lattice and mu=0.0, got "
                f"{hamiltonian.lattice.name} and {solver}. Use particle_hole=false."
            )
        if particle_hole:
            _check_particle_hole(hamiltonian, solver)
        self.has_spins = hamiltonian.field_type.is_spin
        if tangent_weight and not self.has_spins:
            raise InputError(
                f"tangent_weight must be 0.0 for {type(hamiltonian).__name__}, which has no "
                f"spins, got {tangent_weight!r}."
            )
        self.hamiltonian, self.solver = hamiltonian, solver
        self.lr, self.energy_weight, self.particle_hole = lr, energy_weight, particle_hole
        self.tangent_weight, self.optimizer = tangent_weight, optimizer
        self.net = net(hamiltonian.lattice, hamiltonian.field_type)
        check_field_type(self.net, hamiltonian)
        if energy_weight and not self.net.conservative:
            raise InputError(
                f"energy_weight must be 0.0 for {type(self.net).__name__} without an energy, got "
                f"{energy_weight!r}. Use conservative=true in the network."
            )
        if init_from is not None:
            load_weights(init_from, self.net, hamiltonian)
        self.field_statistics: FieldStatistics | None = None
        self.is_tangent: bool = getattr(self.net, "tangent", False)
        self.errors = WindowErrors(self.has_spins, self.is_tangent)

    def configure_optimizers(self) -> Optimizer:
        """The optimizer of the network's parameters."""
        return self.optimizer(self.net.parameters())

    def model_step(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Loss and predicted electronic forces [batch, n_sites] of one batch."""
        energy, forces = self.net(batch["field"], self.net.graph(self.hamiltonian.lattice))
        loss = nn.functional.mse_loss(forces, batch["forces"])
        if self.tangent_weight > 0:
            error = tangent_part(forces - batch["forces"], batch["field"])
            loss = loss + self.tangent_weight * error.square().mean()
        if energy is not None and self.energy_weight > 0:
            n_sites = batch["field"].shape[1]
            loss = loss + self.energy_weight * nn.functional.mse_loss(
                energy / n_sites, batch["energy"] / n_sites
            )
        elif energy is not None and self.training and torch.distributed.is_initialized():
            # Forces do not depend on the constant of the energy. DistributedDataParallel wants a
            # gradient of every parameter, so that of the constant is made: it is zero.
            loss = loss + 0.0 * energy.sum()
        return loss, forces

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """Loss of one batch; also sets the learning rate of this step."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.lr * learning_rate_factor(self.trainer, self.global_step)
        loss, _ = self.model_step(self._augmented(batch))
        self._check_loss(loss.detach())
        n_own = len(batch["field"])
        n_frames = n_frames_of_step(self.trainer, n_own)
        # DistributedDataParallel averages over the processes, whatever their shares of the batch.
        share = n_own * self.trainer.world_size / n_frames
        loss, shown = loss * share, (loss.detach() - self._unlearned(batch)) * share
        # The size of the whole batch: Lightning would round the mean of different shares.
        options: Any = {"on_step": False, "on_epoch": True, "prog_bar": True, "sync_dist": True}
        self.log("train_loss", shown, batch_size=n_frames, **options)
        return loss

    def on_validation_start(self) -> None:
        """Without a weight of the energy, set its constant, which forces leave open."""
        if self.net.conservative and self.energy_weight == 0:
            set_energy_constant(self.net, self.hamiltonian.lattice, self.trainer)

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        """Collect the errors of one batch, by window of the quench."""
        self._evaluate("val", batch)

    def test_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        """Collect the errors of one batch, by window of the quench."""
        self._evaluate("test", batch)

    def predict_step(self, batch: dict[str, Tensor], batch_index: int) -> dict[str, Tensor]:
        """Predicted and exact electronic forces, with the step of each sample."""
        _, forces = self.model_step(batch)
        return {"forces": forces, "exact_forces": batch["forces"], "step": batch["step"]}

    def on_validation_epoch_end(self) -> None:
        """Log the errors of the validation set."""
        self._log_errors("val")

    def on_test_epoch_end(self) -> None:
        """Log the errors of the test set."""
        self._log_errors("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the header that rebuilds the force field without this module or its configuration.

        Raises:
            StoppedRunError: If a weight is not finite, so that no such file is written.
        """
        for name, weights in self.net.state_dict().items():
            if weights.is_floating_point() and not weights.isfinite().all():
                raise StoppedRunError(f"the weights {name} are not finite. {self._advice()}")
        checkpoint["lattgnn"] = checkpoint_header(
            self.net, self.hamiltonian, self.solver, self.field_statistics
        )
        checkpoint["optimizer"] = optimizer_name(self.configure_optimizers())

    def check_header(self, checkpoint: dict[str, Any], path: str | Path = "checkpoint") -> None:
        """Refuse the checkpoint of another Hamiltonian, network or format version.

        Raises:
            InputError: If the header is not that of this module.
        """
        header = read_header(checkpoint, path)
        check_hamiltonian(header, self.hamiltonian, path)
        check_network(header, self.net, path)
        self.field_statistics = field_statistics(header, path)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check the header, and put the configured settings into the state of the optimizer."""
        self.check_header(checkpoint)
        if checkpoint.get("optimizer_states"):
            changes = restore_settings(checkpoint, self.configure_optimizers())
            if changes and self._trainer is not None and self.trainer.is_global_zero:
                logger.info("settings of the optimizer that differ: %s", ", ".join(changes))

    def on_fit_start(self) -> None:
        """Keep the statistics of the training fields; refuse wrong claims and missing energies."""
        if getattr(getattr(self.net, "hidden", None), "odd", False):
            _check_particle_hole(self.hamiltonian, self.solver)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, LatticeDataModule):
            return
        self.field_statistics = data.field_statistics("train", both_signs=self.particle_hole)
        energies = data.tensors["train"]["energy"]
        n_missing = int(energies.isnan().sum())
        if self.energy_weight > 0 and n_missing:
            raise InputError(
                "energy_weight must be 0.0 if training frames have no energy, got "
                f"{self.energy_weight!r} and {n_missing} of {len(energies)} frames without. Use "
                "energy_weight=0.0, or labels with energies."
            )

    def _unlearned(self, batch: dict[str, Tensor]) -> Tensor | float:
        """The constant part of the loss of a network that gives the tangent part alone.

        It is the mean square of what the exact forces have along the spins.
        """
        if not self.is_tangent:
            return 0.0
        exact = batch["forces"]
        return (exact - tangent_part(exact, batch["field"])).square().mean()

    def _check_loss(self, loss: Tensor) -> None:
        """Stop a fit whose loss is not finite, before the next checkpoint."""
        if loss.is_cuda and self.global_step % LOSS_INTERVAL_ON_GPU:
            return
        if not math.isfinite(loss):
            raise StoppedRunError(
                f"the loss became {loss.item():g} at step {self.global_step}. {self._advice()}"
            )

    def _advice(self) -> str:
        return f"Lower model.lr, now {self.lr:g}, or set trainer.gradient_clip_val."

    def _augmented(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if not self.particle_hole:
            return batch
        sign = random_signs(self.trainer, self.global_step, batch["field"])
        return batch | {"field": sign * batch["field"], "forces": sign * batch["forces"]}

    def _evaluate(self, stage: str, batch: dict[str, Tensor]) -> None:
        if len(batch["field"]) == 0:
            return  # there are fewer frames than processes
        _, forces = self.model_step(batch)
        elastic = self.hamiltonian.classical_forces(batch["field"])
        self.errors.collect(stage, batch, forces, elastic)

    def _log_errors(self, stage: str) -> None:
        for name, value in self.errors.take(stage):
            self.log(name, value, rank_zero_only=True)


def _check_particle_hole(hamiltonian: Hamiltonian, solver: Solver) -> None:
    """Refuse to assume F(−φ) = −F(φ) for a model that does not have it."""
    found = check_particle_hole(hamiltonian, solver)
    if not found.passed:
        raise InputError(
            f"{type(hamiltonian).__name__} has no particle-hole symmetry. {found.message}"
        )
