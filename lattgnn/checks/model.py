"""All checks of a model together."""

from __future__ import annotations

from collections.abc import Sequence

from lattgnn.checks import forces, matrix
from lattgnn.checks.particle_hole import check_particle_hole
from lattgnn.checks.result import CheckResult
from lattgnn.checks.samples import Sample, on_supercell
from lattgnn.checks.symmetry import check_symmetry
from lattgnn.errors import InputError
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.solvers import Solver

# Cells along each axis where the decay of the force shows, by dimension.
_LONG = {1: 16, 2: 8, 3: 6}

# Models that exist only on a larger lattice are not diagonalized: it takes a minute or more.
_MAX_STATES = 3000


def check_model(
    hamiltonian: Hamiltonian,
    solver: Solver,
    *,
    symmetry: bool = True,
    particle_hole: bool = False,
) -> list[CheckResult]:
    """Check a model for mistakes that give wrong forces without an error message.

    The checks use a small periodic lattice of the same crystal, a few random fields, and exact
    diagonalization in the ensemble of the solver, so they take about a second. A model whose
    parameters belong to the sites of its own lattice is checked on that lattice; if it has more
    than 3,000 states, the checks that need a diagonalization are left out.

    Args:
        hamiltonian: The model.
        solver: The electronic ensemble.
        symmetry: Check that the model has the symmetry of its lattice, which every network assumes.
        particle_hole: Check that F(−φ) = −F(φ), which training may assume.

    Returns:
        One result for each property. If the pattern or the shapes are wrong, the others are left
        out, because they cannot be computed.

    Examples:
        >>> from lattgnn.hamiltonians import Holstein
        >>> from lattgnn.lattice import square
        >>> from lattgnn.solvers import ExactDiagonalization
        >>> solver = ExactDiagonalization(kT=0.1, mu=0.0)
        >>> all(result.passed for result in check_model(Holstein(square(8)), solver))
        True
    """
    found = [matrix.check_pattern(on_supercell(hamiltonian))]
    if not found[0].passed:
        return found
    sample = Sample.draw(hamiltonian, solver)
    found.append(matrix.check_batches(sample))
    if not found[1].passed:
        return found
    optional = [
        matrix.check_reach(hamiltonian),
        forces.check_classical_forces(sample),
        forces.check_stiffness(sample),
    ]
    if sample.model.n_states <= _MAX_STATES:
        long = Sample.draw(hamiltonian, solver, _LONG[hamiltonian.lattice.dim])
        optional += [
            matrix.check_hermitian(sample),
            forces.check_free_energy_forces(sample),
            forces.check_force_bound(sample),
            forces.check_density_coupling(sample),
            forces.check_force_decay(long),
            check_particle_hole(hamiltonian, solver) if particle_hole else None,
        ]
    if symmetry:
        optional.append(check_symmetry(hamiltonian, solver))
    return found + [result for result in optional if result is not None]


def require_valid(results: Sequence[CheckResult]) -> None:
    """Refuse a model that failed a check.

    Args:
        results: The results of the checks.

    Raises:
        InputError: If any failed; the message names each of them.
    """
    failed = [result for result in results if not result.passed]
    if failed:
        texts = " ".join(f"{result.name}: {result.message}" for result in failed)
        raise InputError(f"{len(failed)} of {len(results)} checks of the model failed. {texts}")
