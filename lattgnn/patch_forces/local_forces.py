"""A force field on the patch of a domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from lattgnn.disorder import DisorderedForceField, without_disorder
from lattgnn.dynamics.domains import Domain, DomainForceField, Processes, domain_of
from lattgnn.dynamics.state import evaluate
from lattgnn.errors import InputError
from lattgnn.field_statistics import FieldStatistics
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.patch_forces.energy import LearnedEnergy
from lattgnn.patch_forces.reach import halo_of_cores, reach, solver_cores
from lattgnn.solvers import DomainDiagonalization, Solver

Clean = ExactForceField | LearnedForceField


class LocalForces:
    """A force field on the patch of a domain; a `lattgnn.dynamics.domains.PatchForces`.

    Args:
        force_field: The force field on any lattice of the crystal.
        domain: The domain.
        widen: Combines bounds of the spectrum of this patch with those of the others.
    """

    def __init__(
        self,
        force_field: Clean | DisorderedForceField,
        domain: Domain,
        widen: Callable[[Sequence[float], Sequence[float]], tuple[list[float], list[float]]],
    ) -> None:
        self.domain, self.whole_field_shift = domain, cast(Any, 0.0)
        clean = without_disorder(force_field)
        model = replace(clean.hamiltonian, lattice=domain.patch)
        object.__setattr__(model, "combine_bounds", widen)
        found: Clean | DisorderedForceField = _clean_on_patch(clean, model, domain)
        if isinstance(force_field, DisorderedForceField):
            found, self.whole_field_shift = _disordered(force_field, found, domain)
        self.patch_force_field = found
        self._core_energy = None
        if isinstance(clean, LearnedForceField) and clean.net.conservative:
            self._core_energy = LearnedEnergy(clean, model, domain)

    @property
    def hamiltonian(self) -> Hamiltonian:
        """The model on the patch."""
        return self.patch_force_field.hamiltonian

    @property
    def field_statistics(self) -> FieldStatistics | None:
        """Statistics of the training fields, None if there are none."""
        return getattr(self.patch_force_field, "field_statistics", None)

    def prepare(self) -> None:
        """Build what the first call would build."""
        if not isinstance(self.patch_force_field, ExactForceField):
            self.patch_force_field.prepare()

    def forces(self, field: Tensor, out: Tensor) -> Tensor:
        """Forces of fields on the patch, right in the block, written to `out` if possible."""
        return evaluate(self.patch_force_field, field, out)[1]

    def energy(self, field: Tensor) -> Tensor | None:
        """Energy of the block, float64 [n_replicas], or None if the forces have no energy."""
        if self._core_energy is None:
            return None
        found = self.patch_force_field
        if not isinstance(found, DisorderedForceField):
            return self._core_energy(field, field)
        return self._core_energy(field, field + torch.as_tensor(found.field_shift).to(field))


def domain_force_field(
    force_field: Clean | DisorderedForceField,
    lattice: Lattice,
    processes: Processes,
    cuts: Sequence[int] | None = None,
    device: str = "cpu",
) -> DomainForceField:
    """The force field of one process of a run over many; all of them call this together.

    Args:
        force_field: The force field on any lattice of the crystal, best a small one.
        lattice: The whole lattice.
        processes: All processes.
        cuts: Number of processes along the first axes, such as (2, 2). None chooses the mesh with
            the smallest halos.
        device: Type of the device of the fields, "cpu" or "cuda".

    Returns:
        The force field on the block of this process.

    Raises:
        InputError: If a force depends on the whole lattice, or the lattice is too small for all
            processes.
    """
    clean = without_disorder(force_field)
    halo, unit = reach(clean), None
    if isinstance(clean, ExactForceField) and isinstance(clean.solver, DomainDiagonalization):
        unit = solver_cores(clean.solver, lattice)
        halo = halo_of_cores(clean.hamiltonian, halo, unit)
    domain = domain_of(processes, lattice, halo, unit, cuts)

    def widen(low: Sequence[float], high: Sequence[float]) -> tuple[list[float], list[float]]:
        ends = torch.tensor([*high, *(-value for value in low)], dtype=torch.float64)
        found = processes.largest(ends).tolist()
        return [-value for value in found[len(high) :]], found[: len(high)]

    return DomainForceField(domain, LocalForces(force_field, domain, widen), processes, device)


def _clean_on_patch(clean: Clean, model: Hamiltonian, domain: Domain) -> Clean:
    """The same force field on the patch."""
    if isinstance(clean, LearnedForceField):
        fast, statistics = clean.backend.fast, clean.field_statistics
        return LearnedForceField(clean.net, model, clean.solver, None, fast, statistics)
    solver: Solver = clean.solver
    if isinstance(solver, DomainDiagonalization):
        most = (
            solver.core if isinstance(solver.core, tuple) else (solver.core,) * domain.lattice.dim
        )
        axes = zip(domain.mesh, domain.unit, most, strict=True)
        solver = replace(solver, core=tuple(unit if n > 1 else core for n, unit, core in axes))
    return ExactForceField(model, solver, energy=False)


def _disordered(
    whole: DisorderedForceField, clean: Clean, domain: Domain
) -> tuple[DisorderedForceField, np.ndarray]:
    """The force field with the disorder of the patch, and the shift of the whole field."""
    energies = whole.on_site_energy.numpy()
    if whole.disorder is not None:
        energies = whole.disorder.energies(domain.lattice)
    if len(energies) != domain.lattice.n_sites:
        raise InputError(
            f"on_site_energy must hold one number for each of the {domain.lattice.n_sites} sites "
            f"of the whole lattice, got {len(energies)}. Use BoxDisorder, or more numbers."
        )
    shift = clean.hamiltonian.field_type.field_shift(-torch.from_numpy(energies))
    return DisorderedForceField(clean, energies[domain.patch_sites()]), shift.numpy()
