"""The particle–hole map, which training may assume: the field φ → −φ reverses the forces."""

from __future__ import annotations

from lattgnn.checks.matrix import relative
from lattgnn.checks.result import CheckResult
from lattgnn.checks.samples import Sample
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.solvers import Solver

# The exact forces of two fields agree to rounding, which kT may amplify.
_BOUND = 1e-8


def check_particle_hole(hamiltonian: Hamiltonian, solver: Solver) -> CheckResult:
    """Check that the electrons have a particle–hole symmetry: F(−φ) = −F(φ).

    It holds for hopping between the two parts of a bipartite lattice, at the μ in the middle of the
    spectrum. Hopping within one part breaks it, for example between next-nearest neighbors of the
    square lattice.

    Args:
        hamiltonian: The model.
        solver: The electronic ensemble.

    Returns:
        The result, with the violation relative to the largest force.
    """
    sample = Sample.draw(hamiltonian, solver)
    forces = sample.exact.electronic(sample.fields)[1]
    violation = float(relative(sample.exact.electronic(-sample.fields)[1], -forces))
    message = "The field with the opposite sign has the opposite forces."
    if not violation <= _BOUND:
        message = (
            "The field with the opposite sign does not have the opposite forces; "
            "do not use particle_hole or odd=true for this model and this mu."
        )
    return CheckResult("particle-hole", violation, _BOUND, message)
