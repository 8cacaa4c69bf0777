"""The electronic forces of a run at its frames, and those of the reference on patches of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float

from lattgnn.audit.halo import on_lattice
from lattgnn.audit.patches import Patch, PatchShape
from lattgnn.disorder import without_disorder
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.run_records import AnyForceField, RunRecord
from lattgnn.solvers import ExactDiagonalization, Solver

Array = np.ndarray


@dataclass(frozen=True)
class FrameForces:
    """One replica of a frame.

    Attributes:
        field: The field that the electrons of the clean model see, float64 [n_sites(, component)].
            On-site disorder is part of it.
        electronic: Electronic forces of the run, float64, shaped like the field.
        classical: Classical forces, which are exact.
        mu: Chemical potential of the frame if the reference needs it, else None.
        tangent: Whether the electronic forces are effective fields without the part along the
            spins, as those of a network with `tangent: true`.
    """

    field: Float[np.ndarray, " n_sites *components"]
    electronic: Float[np.ndarray, " n_sites *components"]
    classical: Float[np.ndarray, " n_sites *components"]
    mu: float | None
    tangent: bool = False


class RunForces:
    """The forces that moved a run.

    Where the run has saved its forces, they are read. Otherwise the force field of the run computes
    them again, on the whole frame and in the precision of the run.

    Args:
        run: The run.
        record: What it says about its force field.
        checkpoint: Checkpoint of the network. None takes the one that the run has recorded.
        needs_mu: Whether the chemical potential of each frame is needed.
    """

    def __init__(
        self,
        run: Trajectory,
        record: RunRecord,
        checkpoint: str | Path | None = None,
        needs_mu: bool = False,
    ) -> None:
        self.run, self.record, self.needs_mu = run, record, needs_mu
        self._checkpoint = checkpoint

    def prepare(self) -> None:
        """Make the force field of the run now if it is needed.

        Raises:
            InputError: If the run does not say how its forces were made.
        """
        if self.needs_mu or not self.run.saves("forces"):
            _ = self.force_field

    @cached_property
    def force_field(self) -> AnyForceField:
        """The force field of the run, made when it is first needed."""
        found = self.record.force_field(self._checkpoint)
        if not isinstance(found, ExactForceField):
            found.prepare()
        return found

    @cached_property
    def _shift(self) -> Array | float:
        """What disorder adds to the field."""
        if self.record.disorder is None:
            return 0.0
        energies = self.record.disorder.energies(self.record.lattice)
        return self.record.hamiltonian.field_type.field_shift(-energies)

    def frame(self, frame: int, replica: int) -> FrameForces:
        """The forces in one replica of a frame.

        Args:
            frame: Index of the frame.
            replica: Index of the replica.
        """
        field = torch.from_numpy(self.run.fields[frame, replica][None].copy())
        if self.run.saves("forces"):
            forces = torch.from_numpy(self.run.forces[frame, replica][None].copy())
        else:
            _, forces = self.force_field(field)
        exact = field.double()
        classical = self.record.hamiltonian.classical_forces(exact)[0].numpy()
        seen = exact[0].numpy() + self._shift
        electronic = forces[0].double().numpy() - classical
        tangent = self._has_spins and _is_tangent(electronic, classical, seen)
        return FrameForces(seen, electronic, classical, self._mu(seen), tangent)

    @property
    def _has_spins(self) -> bool:
        return self.record.is_learned and self.record.hamiltonian.field_type.is_spin

    def _mu(self, seen: Array) -> float | None:
        """The chemical potential of a frame, by the force field of the run."""
        if not self.needs_mu:
            return None
        clean = without_disorder(self.force_field)
        field = torch.from_numpy(seen)[None]
        if isinstance(clean, LearnedForceField):
            return float(clean.chemical_potential(field))
        return float(clean.solver.solve(clean.hamiltonian, field).mu)


def _is_tangent(electronic: Array, classical: Array, spins: Array) -> bool:
    """Whether effective fields are perpendicular to the spins.

    A run records the hash of its network and not its arguments, so the forces tell. In a metal, the
    part along the spins is by far the largest one.
    """
    # A run in single precision has rounded the sum of both forces.
    rounding = 1e-5 * float(np.abs(electronic + classical).max())
    return bool(np.abs((electronic * spins).sum(-1)).max() <= rounding)


@dataclass(frozen=True)
class Labels:
    """Electronic labels of a patch.

    Attributes:
        field: The field of the patch, [n_sites(, component)]; shifted where the shift takes the
            place of a chemical potential.
        forces: Electronic forces, shaped like the field.
        energy: Electronic energy of the patch.
    """

    field: Float[np.ndarray, " n_sites *components"]
    forces: Float[np.ndarray, " n_sites *components"]
    energy: float


class Reference:
    """Solves patches by the solver of an audit.

    At fixed filling a patch has the chemical potential μ of its whole frame. Where the field
    couples to the density, it is shifted by (μ − μ₀)/g, and the patch is solved at the μ₀ of the
    labels, so that all patches are labels of one ensemble.

    Args:
        record: What the run says about its model.
        solver: The solver.
        shape: Shape of the patches.
        mu: The μ₀ of the labels.
    """

    def __init__(
        self, record: RunRecord, solver: Solver, shape: PatchShape, mu: float = 0.0
    ) -> None:
        self.shape, self.solver = shape, solver
        self._model = on_lattice(record.hamiltonian, shape.patch_lattice)
        self._mu = mu

    @property
    def follows_frames(self) -> bool:
        """Whether each patch is solved at the chemical potential of its frame."""
        return self.solver.filling is not None and not self.shape.is_whole

    @property
    def label_solver(self) -> Solver | None:
        """The solver whose ensemble all labels belong to, None if each has its own μ."""
        if not self.follows_frames:
            return self.solver
        if self._model.field_type.density_coupling:
            return _in_ensemble(self.solver, self._mu, None)
        return None

    def solve(self, frame: FrameForces, patch: Patch) -> Labels:
        """The labels of a patch.

        Args:
            frame: The frame that it is cut from.
            patch: Where it lies.
        """
        field, solver = frame.field[patch.sites], self.label_solver
        if self.follows_frames:
            assert frame.mu is not None
            if solver is None:
                solver = _in_ensemble(self.solver, frame.mu, None)
            else:
                field = field + self._model.field_type.field_shift(frame.mu - self._mu)
        assert solver is not None
        energy, forces = ExactForceField(self._model, solver).electronic(torch.from_numpy(field))
        return Labels(field, forces.numpy(), float(energy))


def default_solver(record: RunRecord) -> Solver:
    """The solver that made the labels of the run's network, or else exact diagonalization.

    A filling that was set for the network takes the place of the μ of its labels. For a run with an
    approximate solver it is exact diagonalization in the ensemble of that solver.

    Args:
        record: What the run says about its force field.
    """
    solver = record.solver
    if record.is_learned and record.filling is not None:
        return _in_ensemble(solver, None, record.filling)
    if record.is_learned or solver.is_exact:
        return solver
    return ExactDiagonalization(kT=solver.kT, mu=solver.mu, filling=solver.filling)


def check_ensemble(record: RunRecord, solver: Solver) -> None:
    """Refuse a reference in another ensemble than the electrons of the run.

    Args:
        record: What the run says about its force field.
        solver: The reference.

    Raises:
        InputError: If kT, mu or the filling differ.
    """
    wanted = default_solver(record)
    # A network whose labels have a fixed filling holds for a μ that only the user can know.
    knows_mu = not (record.is_learned and record.solver.mu is None)
    same = (solver.mu, solver.filling) == (wanted.mu, wanted.filling)
    if solver.kT != wanted.kT or (not same and (knows_mu or solver.mu is None)):
        ensemble = {"kT": wanted.kT, "mu": wanted.mu, "filling": wanted.filling}
        text = ", ".join(f"{key}={value}" for key, value in ensemble.items() if value is not None)
        raise InputError(
            f"solver must have the electrons of the run, {text}, got {solver}. Set these arguments "
            "of the solver."
        )


def _in_ensemble(solver: Solver, mu: float | None, filling: float | None) -> Solver:
    """The same solver with another chemical potential or filling."""
    return replace(cast(Any, solver), mu=mu, filling=filling)
