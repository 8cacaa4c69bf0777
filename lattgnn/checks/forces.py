"""Checks of forces: derivatives, bounds, the coupling to the density, and locality."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lattgnn.checks.matrix import ROUNDING, cells_apart, relative
from lattgnn.checks.result import CheckResult
from lattgnn.checks.samples import Sample, random_field
from lattgnn.device_copies import DeviceCopies
from lattgnn.hamiltonians.neighbors import harmonic_forces, neighbor_table

# Step of central differences, and the relative error that it allows. The error of the method grows
# with the square of the step, that of rounding with its inverse.
_STEP, _DIFFERENCE_ERROR = 1e-4, 1e-5

# Occupations agree to rounding with those from forces.
_DENSITY_ERROR = 1e-9

# A force that still changes by this fraction at half of a small lattice is not local. Cold metals
# reach 0.2, couplings between all sites 1.
_FAR_RESPONSE = 0.5


def check_free_energy_forces(sample: Sample) -> CheckResult:
    """The electronic force is −∂/∂field of the electronic free energy."""
    violation = _against_differences(sample.exact.electronic, sample.fields)
    message = "The electronic force is minus the derivative of the free energy."
    if not violation <= _DIFFERENCE_ERROR:
        message = (
            "The electronic force differs from central differences of the free energy; use "
            "differentiable torch operations in `elements` and `background_energy`, and correct "
            "other checks that fail."
        )
    return CheckResult("electronic forces", violation, _DIFFERENCE_ERROR, message)


def check_classical_forces(sample: Sample) -> CheckResult:
    """`classical_forces` is −∂/∂field of `classical_energy`."""
    model = sample.model

    def classical(fields: Tensor) -> tuple[Tensor, Tensor]:
        return model.classical_energy(fields), model.classical_forces(fields)

    violation = _against_differences(classical, sample.fields)
    message = "The classical force is minus the derivative of the classical energy."
    if not violation <= _DIFFERENCE_ERROR:
        message = (
            "`classical_forces` must be minus the derivative of `classical_energy`; correct one."
        )
    return CheckResult("classical forces", violation, _DIFFERENCE_ERROR, message)


def check_stiffness(sample: Sample) -> CheckResult | None:
    """`stiffness` gives the classical forces, if the model has it."""
    model, fields = sample.model, sample.fields
    if model.stiffness is None:
        return None
    table = DeviceCopies(neighbor_table(model.lattice))
    # The components of a vector are batch dimensions of `harmonic_forces`.
    by_component = fields if fields.ndim == 2 else fields.mT
    forces = harmonic_forces(by_component, table, *model.stiffness)
    forces = forces if fields.ndim == 2 else forces.mT
    violation = float(relative(model.classical_forces(fields), forces))
    message = "Compiled code computes the same classical forces from `stiffness`."
    if not violation <= ROUNDING:
        message = (
            "`stiffness` must give the classical forces; return None if they have other terms."
        )
    return CheckResult("stiffness", violation, ROUNDING, message)


def check_force_bound(sample: Sample) -> CheckResult | None:
    """No electronic force exceeds `force_bound`, if the field type has it."""
    bound = sample.model.field_type.force_bound
    if bound is None:
        return None
    strong = [random_field(sample.model, scale, seed=1) for scale in (10.0, 100.0)]
    forces = sample.exact.electronic(torch.cat([sample.fields, torch.stack(strong)]))[1]
    lengths = forces.abs() if forces.ndim == 2 else forces.norm(dim=-1)
    largest = float(lengths.max())
    message = f"The largest electronic force found is {largest:.3g}, the bound {bound:.3g}."
    if not largest <= bound * (1 + ROUNDING):
        message = (
            f"An electronic force of {largest:.3g} exceeds force_bound={bound:.3g}, which networks "
            "never exceed; declare a larger bound, or None."
        )
    # What matters is the excess over the bound; NaN stays NaN.
    excess = largest - bound if not largest <= bound else 0.0
    return CheckResult("force bound", excess, bound * ROUNDING, message)


def check_density_coupling(sample: Sample) -> CheckResult | None:
    """A shift of the field acts as μ, and forces give the density, if the field type says so."""
    model, fields = sample.model, sample.fields
    kind = model.field_type
    if kind.density_coupling is None:
        return None
    mu = 0.7
    on_diagonal = (model.rows == model.cols).to(fields)
    shifted = model.elements(fields + kind.field_shift(mu))
    shift_error = float(relative(shifted, model.elements(fields) - mu * on_diagonal))
    state = sample.exact.solver.solve(model, fields)
    occupations = state.density_elements[..., model.rows == model.cols].real
    sites = model.rows[model.rows == model.cols] // model.n_orbitals
    density = torch.zeros_like(fields).index_add_(-1, sites, occupations)
    density_error = float(relative(kind.density(sample.exact.electronic(fields)[1]), density))
    message = "A uniform shift of the field acts as a chemical potential; forces give the density."
    if not shift_error <= _DENSITY_ERROR:
        message = (
            "A uniform shift of the field by mu/g does not lower all levels by mu; correct "
            "`density_coupling`, or leave it out."
        )
    elif not density_error <= _DENSITY_ERROR:
        message = (
            "The electronic force is not g (n − ½); correct `density_coupling`, or add ½ g Σ φ_i "
            "to `background_energy`."
        )
    return CheckResult("density coupling", max(shift_error, density_error), _DENSITY_ERROR, message)


def check_force_decay(sample: Sample) -> CheckResult:
    """The response of the force to a change of the field on one site decays with distance."""
    model = sample.model
    field = random_field(model)
    changed = field.clone()
    changed[0] = random_field(model, seed=2)[0]
    forces = sample.exact.electronic(torch.stack([field, changed]))[1]
    response = (forces[1] - forces[0]).square().reshape(model.lattice.n_sites, -1).sum(-1)
    distance = cells_apart(model.lattice, 0, torch.arange(model.lattice.n_sites))
    far = int(distance.max())
    # Means over sites, because the response to one change fluctuates from site to site.
    near_mean, far_mean = (response[chosen].mean() for chosen in (distance <= 1, distance == far))
    violation = float((far_mean / near_mean.clamp(min=1e-300)).sqrt())
    message = f"{far} cells away, a change of the field has {violation:.1g} of its effect nearby."
    if not violation <= _FAR_RESPONSE:
        message = (
            f"{far} cells away, a change of the field still has {violation:.2g} of its effect "
            "nearby; a force field of finite range cannot learn such a model."
        )
    return CheckResult("force decay", violation, _FAR_RESPONSE, message)


def _against_differences(
    function: Callable[[Tensor], tuple[Tensor, Tensor]], fields: Tensor
) -> float:
    """Relative difference between forces and central differences of the energy.

    The derivative is taken along one random direction in each field.
    """
    generator = torch.Generator().manual_seed(3)
    direction = torch.randn(fields.shape, generator=generator, dtype=fields.dtype)
    energies = [function(fields + sign * _STEP * direction)[0] for sign in (1, -1)]
    slopes = (energies[1] - energies[0]) / (2 * _STEP)
    products = (function(fields)[1] * direction).reshape(len(fields), -1)
    # Relative to the typical size of a sum of random terms, because the sum itself may be small.
    size = products.norm(dim=1).clamp(min=1.0)
    return float(((products.sum(1) - slopes).abs() / size).max())
