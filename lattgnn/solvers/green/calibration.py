r"""How a tolerance becomes a schedule: the cheapest block at each pole that reaches it together.

The error of ρ_ii is a sum over poles, Σ_p r_p Re (G_ii − exact G_ii), and the lowest pole has most
of it. The calibration knows the exact G at each pole of a small lattice. It begins with the
cheapest block everywhere and then improves the block of one pole after the other, each time that
which reduces the squared error most for its cost, until the tolerance is reached.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.solvers.calibration import MOST_EXACT_STATES
from lattgnn.solvers.fermi import chemical_potential
from lattgnn.solvers.green.density import DenseGreens
from lattgnn.solvers.green.poles import fermi_poles
from lattgnn.solvers.green.schedule import Pole, make_schedule, parse_entry
from lattgnn.solvers.solver import Solver, TightBinding

# Blocks and rounds in the order in which they are tried at a pole.
LADDER = (
    "mean",
    *("ring0:0", "ring0:1", "ring1:1", "ball3:1", "ring2:1", "ball4:1", "ball4:2", "ball5:2"),
    *("ring3:2", "ball6:2", "ring4:2"),
)
# Blocks with more states take too long to calibrate and to use.
_MOST_BLOCK_STATES = 130
# The error is measured at this many sites of each field.
_N_SITES = 200
# The measured error must be smaller than the tolerance by this factor, because errors are
# heavy-tailed: rare sites that the sample misses make them larger.
_SAFETY = 0.7


def calibrate(
    solver: Solver,
    hamiltonian: TightBinding,
    fields: Float[Tensor, "n_fields ..."],
    tolerance: float,
    fit_tolerance: float,
) -> tuple[str, ...]:
    """The entries of the cheapest schedule whose error on the fields is within a tolerance.

    Args:
        solver: Temperature and ensemble.
        hamiltonian: The model, on the lattice of the fields, of at most 1600 states.
        fields: Reference fields.
        tolerance: Largest rms error of on-site density elements.
        fit_tolerance: Tolerance of the poles.

    Raises:
        InputError: If the largest blocks do not reach the tolerance, or the lattice is too large.
    """
    if hamiltonian.n_states > MOST_EXACT_STATES:
        raise InputError(
            f"reference fields must have at most {MOST_EXACT_STATES} states, because their errors "
            f"are exact, got {hamiltonian.n_states}. Use fields on a smaller lattice."
        )
    reference = _Reference(solver, hamiltonian, fields, fit_tolerance)
    return _cheapest(reference, _ladder(reference), tolerance)


def _cheapest(
    reference: "_Reference", ladder: tuple["_Step", ...], tolerance: float
) -> tuple[str, ...]:
    """Improve the block of one pole at a time until the error is small enough."""
    n_poles = len(reference.poles)
    steps = [0] * n_poles
    total = torch.stack([reference.error(p, ladder[0].entry) for p in range(n_poles)]).sum(0)
    while total.square().mean().sqrt() > _SAFETY * tolerance:
        # The next step may be no better than the one before. Four are looked at only if the next
        # two do not help, because the largest blocks take long.
        best = _best_step(reference, ladder, steps, total, 2)
        best = best or _best_step(reference, ladder, steps, total, 4)
        if best is None:
            reached = float(total.square().mean().sqrt()) / _SAFETY
            raise InputError(
                f"tolerance {tolerance:g} is not reached by the largest blocks, whose error on "
                f"the reference fields is {reached:.3g}. Use a larger tolerance, or "
                "ExactDiagonalization or DomainDiagonalization."
            )
        p, step = best
        change = reference.error(p, ladder[step].entry) - reference.error(p, ladder[steps[p]].entry)
        total, steps[p] = total + change, step
    entries = [ladder[step].entry for step in steps]
    # The last entry holds for all further poles.
    while len(entries) > 1 and entries[-1] == entries[-2]:
        entries.pop()
    return tuple(entries)


def _best_step(
    reference: "_Reference",
    ladder: tuple["_Step", ...],
    steps: list[int],
    total: Float[Tensor, " n_samples"],
    ahead: int,
) -> tuple[int, int] | None:
    """The pole and its new step that reduce the squared error most for their cost, if any do."""
    best, most = None, 0.0
    for p, now in enumerate(steps):
        without = total - reference.error(p, ladder[now].entry)
        for step in range(now + 1, min(now + 1 + ahead, len(ladder))):
            changed = without + reference.error(p, ladder[step].entry)
            gain = float(total.square().mean() - changed.square().mean())
            gain /= ladder[step].cost - ladder[now].cost
            if gain > most:
                best, most = (p, step), gain
    return best


@dataclass(frozen=True)
class _Step:
    """An entry of a schedule, and about how many operations it costs per site."""

    entry: str
    cost: float


def _ladder(reference: "_Reference") -> tuple[_Step, ...]:
    """The entries that make a difference on this lattice, by cost."""
    found: dict[tuple, _Step] = {}
    for entry in LADDER:
        block, rounds = parse_entry(entry)
        sizes = reference.greens.block_sizes(block)
        n_orbitals, degree = reference.greens.graph.n_orbitals, reference.degree
        if max(sizes) * n_orbitals > _MOST_BLOCK_STATES:
            continue
        # Elimination of a planar block with little fill-in costs about n^(5/3).
        elimination = sum(size ** (5 / 3) for size in sizes) / len(sizes)
        messages = 0 if block.kind == "mean" else degree * (1 + 3 * rounds)
        cost = n_orbitals**3 * (4 * elimination + messages)
        # Different names may mean the same block, such as a ball and a ring on some lattices.
        key = (block.kind == "mean", sizes, rounds)
        found.setdefault(key, _Step(entry, cost))
    return tuple(sorted(found.values(), key=lambda step: step.cost))


class _Reference:
    """Errors of G at each pole on the reference fields.

    Args:
        solver: Temperature and ensemble.
        hamiltonian: The model.
        fields: Reference fields.
        fit_tolerance: Tolerance of the poles.
    """

    def __init__(
        self, solver: Solver, hamiltonian: TightBinding, fields: Tensor, fit_tolerance: float
    ) -> None:
        order = torch.randperm(
            hamiltonian.lattice.n_sites, generator=torch.Generator().manual_seed(0)
        )
        self._sites = order[:_N_SITES]
        self.greens = DenseGreens(hamiltonian, torch.device("cpu"), self._sites)
        self.degree = self.greens.graph.n_bonds / hamiltonian.lattice.n_sites
        fields = fields.detach().to("cpu", torch.float64).reshape(-1, *hamiltonian.field_shape)
        self._elements = hamiltonian.elements(fields)
        levels = [torch.linalg.eigh(matrix) for matrix in hamiltonian.matrix(fields)]
        self._energies = [energies for energies, _ in levels]
        states = self._sites[:, None] * self.greens.graph.n_orbitals
        states = (states + torch.arange(self.greens.graph.n_orbitals)).flatten()
        # |⟨a|k⟩|² of the states a on these sites.
        self._weights = [vectors[states].abs().square() for _, vectors in levels]
        self._mu = self._chemical_potentials(solver)
        half_width = max(
            float((energies - mu).abs().max())
            for energies, mu in zip(self._energies, self._mu, strict=True)
        )
        # Gershgorin's bound, by which poles are chosen later, is somewhat wider.
        self.poles = fermi_poles(solver.kT, 1.2 * half_width, fit_tolerance)
        self._errors: dict[tuple[int, str], Tensor] = {}

    def error(self, number: int, entry: str) -> Float[Tensor, " n_samples"]:
        """Errors of on-site density elements due to one pole, in all fields."""
        if (number, entry) not in self._errors:
            (pole,) = make_schedule(self.poles[number : number + 1], (entry,))
            parts = [self._error(pole, field) for field in range(len(self._elements))]
            self._errors[number, entry] = torch.cat(parts)
        return self._errors[number, entry]

    def _error(self, pole: Pole, field: int) -> Float[Tensor, " n_samples"]:
        mu = self._mu[field]
        found = self.greens.diagonal(self._elements[field], mu, pole)[self._sites].flatten()
        shifted = mu - self._energies[field]
        # Re 1/(i w + x) = x/(x² + w²).
        exact = self._weights[field] @ (shifted / (shifted.square() + pole.frequency**2))
        return pole.weight * (found.real - exact)

    def _chemical_potentials(self, solver: Solver) -> list[float]:
        if solver.mu is not None:
            return [solver.mu] * len(self._elements)
        assert solver.filling is not None  # one of the two is given
        return [
            float(chemical_potential(energies, solver.filling * len(energies), solver.kT))
            for energies in self._energies
        ]
