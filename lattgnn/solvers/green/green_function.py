"""The solver: the density matrix from Green's functions by message passing, at linear cost."""

from dataclasses import dataclass, field, is_dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn import native
from lattgnn.errors import InputError, check_number
from lattgnn.solvers.calibration import REFERENCE_STD, reference_fields, reference_model
from lattgnn.solvers.green.calibration import calibrate
from lattgnn.solvers.green.density import DenseGreens, dense_greens
from lattgnn.solvers.green.element_forces import ElementForces
from lattgnn.solvers.green.fast_forces import DensityModel, FastForces
from lattgnn.solvers.green.one_field import (
    CHEAP_ENTRIES,
    ENERGY_ENTRIES,
    SHARE_OF_POLES,
    OneField,
    poles_for,
    spectrum_bounds,
)
from lattgnn.solvers.green.schedule import Pole, make_schedule, parse_entry
from lattgnn.solvers.green.stencil_blocks import is_treelike_stencil
from lattgnn.solvers.green.stencil_greens import program_greens, usable_stencil
from lattgnn.solvers.model_cache import model_cache
from lattgnn.solvers.solver import ElectronicState, Solver, TightBinding

_SMALLEST_TOLERANCE = 1e-11
# Rounds on graphs with loops, and the most rounds on others, where they end by themselves.
_ROUNDS, _MOST_ROUNDS = 2, 1000
# States of the lattice of the reference fields.
_REFERENCE_STATES = 400


@dataclass(frozen=True, repr=False)
class GreenFunction(Solver):
    r"""ρ and Ω from Green's functions G(z) = (z − H)⁻¹ at few poles on the imaginary axis.

        ρ = ½ + Re Σ_p r_p G(i w_p + μ)
        Ω = ½ Tr(H − μ) − n_states c − Im Σ_p s_p Tr G(i v_p + μ)

    (Re is the Hermitian part.) Both sums are fits of the Fermi function and of its integral to a
    tenth of the tolerance, over a range that contains the spectrum of H in the field at hand
    (Gershgorin), rounded up to a power of 2 times kT.

    G is found site by site. Messages pass between neighbors, as if the lattice were a tree. Around
    each site, a block of sites is solved exactly inside the messages from outside. The larger the
    block, the more of the loops of the lattice are taken into account. On a tree, or a long chain,
    the messages alone are exact. The error is small where ρ falls off fast: in strong fields and
    at high temperature. The cost is linear in the number of sites. It works for every Hamiltonian
    with equally many states on each site, in float64, on the device of the field.

    The result for a field does not depend on the rest of its batch. The symmetries of H are those
    of the result, to rounding. Forces from ρ are derivatives of Ω only within the error of the
    blocks.

    Args:
        kT: Temperature of the electrons, above 0.
        mu: Chemical potential, in units of t.
        filling: Electrons per state, strictly between 0 and 1, instead of `mu`.
        block: The block "ring b" at every pole, with two rounds of messages; see `Block`. On the
            square lattice it has (2b + 1)² sites. 0 is the cavity method.
        tolerance: If neither `block` nor `schedule` is given, the rms error of an on-site density
            matrix element: the cheapest schedule that reaches it on reference fields is found by
            `resolved`. In any case the fits err by at most a tenth of it. With `block` or
            `schedule` that is its only meaning: it does not bound the error of the blocks, and
            `repr` shows "poles within" this error instead.
        schedule: Block and rounds of messages at each pole, lowest frequency first, such as
            ("ring3:2", "ring1:1", "ring0:1"); the last entry holds for all further poles.
        reference_std: Standard deviation of the random reference fields, see `resolved`. The
            default is about that of the start of the quenches of the Holstein model. Errors are
            largest in weak fields, so a smaller number is safer.
        conservative: Whether ρ is replaced by the derivative of Ω with respect to H, so that forces
            are exact derivatives of the energy. It needs several times the time and memory.

    Raises:
        InputError: If kT is not above 0, not exactly one of mu and filling is given, or block,
            tolerance or schedule is not valid.

    Reference:
        G. T. Cantwell and M. E. J. Newman, PNAS 116, 23398 (2019); A. Kirkley, G. T. Cantwell and
        M. E. J. Newman, Sci. Adv. 7, eabf1211 (2021). There the messages pass between the blocks,
        here between sites.
    """

    kT: float
    mu: float | None = None
    filling: float | None = None
    block: int | None = None
    tolerance: float = 1e-4
    schedule: tuple[str, ...] | None = None
    reference_std: float = field(default=REFERENCE_STD, metadata={"describe": "changed"})
    conservative: bool = field(default=False, metadata={"describe": "changed"})

    def __post_init__(self) -> None:
        self._check_ensemble()
        if not self.kT > 0:
            raise InputError(
                f"kT must be above 0 for GreenFunction, got {self.kT!r}. Use ExactDiagonalization "
                "or DomainDiagonalization for the ground state."
            )
        check_number("tolerance", self.tolerance, minimum=_SMALLEST_TOLERANCE, maximum=0.1)
        check_number("reference_std", self.reference_std, minimum=0)
        if self.block is not None and self.schedule is not None:
            raise InputError(
                f"only one of block and schedule can be given, got block={self.block!r} and "
                f"schedule={self.schedule!r}. Set the other one to None (in YAML `block: null`)."
            )
        if self.block is not None and not (type(self.block) is int and self.block >= 0):
            raise InputError(
                f"block must be a whole number, at least 0, got {self.block!r}. Use block=1."
            )
        if isinstance(self.schedule, str):
            raise InputError(
                f"schedule must be a list of entries, got {self.schedule!r}. Use ['ring1:2']."
            )
        if self.schedule is not None:
            object.__setattr__(self, "schedule", tuple(self.schedule))
            make_schedule(((1.0, 1.0),), self.schedule)

    def __repr__(self) -> str:
        if self.block is None and self.schedule is None:
            return self._text(())
        text = self._text(("tolerance", "reference_std"))
        return f"{text[:-1]}; poles within {SHARE_OF_POLES * self.tolerance:g})"

    def refined(self) -> "GreenFunction":
        """Blocks larger by one ring, or a tolerance smaller by a factor of 10.

        A schedule gets larger blocks and one more round at every pole. In any case the poles are
        fitted to a tenth of the tolerance.
        """
        tolerance = max(self.tolerance / 10, _SMALLEST_TOLERANCE)
        if self.block is not None:
            return replace(self, block=self.block + 1, tolerance=tolerance)
        if self.schedule is None:
            return replace(self, tolerance=tolerance)
        return replace(self, schedule=tuple(map(_refined, self.schedule)), tolerance=tolerance)

    @torch.no_grad()
    def resolved(
        self, hamiltonian: TightBinding, fields: Float[Tensor, "..."] | None = None
    ) -> "GreenFunction":
        """The solver with the cheapest schedule that reaches the tolerance on reference fields.

        The lowest poles get large blocks and the highest a constant self-energy. Without fields,
        the error is measured against exact diagonalization on a periodic lattice of about 400
        states, in 20 uncorrelated random fields with the standard deviation `reference_std`
        (spins: uniform on the sphere), which are always the same. Errors in weaker fields are
        larger: see `estimate_error`. On a tree or a long chain no calibration is needed.

        Args:
            hamiltonian: The model, hashable.
            fields: Reference fields [..., *field_shape] instead, on the lattice of the model, which
                must have at most 1600 states.

        Returns:
            The solver with its schedule; itself if it has a block or a schedule.

        Raises:
            InputError: If no block of at most 130 states reaches the tolerance.
        """
        if self.block is not None or self.schedule is not None:
            return self
        if fields is not None:
            entries = self._calibrated(hamiltonian, fields)
        else:
            entries = _reference_entries(self, hamiltonian)
        return replace(self, schedule=entries, reference_std=REFERENCE_STD)

    def _calibrated(self, hamiltonian: TightBinding, fields: Tensor) -> tuple[str, ...]:
        share = SHARE_OF_POLES * self.tolerance
        return calibrate(self, hamiltonian, fields, self.tolerance, share)

    @torch.no_grad()
    def solve(self, hamiltonian: TightBinding, field: Float[Tensor, "..."]) -> ElectronicState:
        """The electrons in a field.

        Args:
            hamiltonian: H(field), hashable.
            field: Field [..., n_sites] or [..., n_sites, n_components], on the device that does the
                work.

        Returns:
            Energy and μ [...], density elements [..., nnz], float64 (or complex128) on that device.

        Raises:
            InputError: If the field is not finite or has the wrong shape, or its levels extend
                farther than 2^20 kT from μ.
        """
        return self.solve_from(hamiltonian, field, None)

    @torch.no_grad()
    def solve_from(
        self,
        hamiltonian: TightBinding,
        field: Float[Tensor, "..."],
        mu: Float[Tensor, "..."] | None,
    ) -> ElectronicState:
        """The electrons in a field, at fixed filling with a search for μ that begins at a guess.

        Args:
            hamiltonian: As for `solve`.
            field: As for `solve`.
            mu: The guess [...]; None for none.
        """
        if self.block is None and self.schedule is None:
            return self.resolved(hamiltonian).solve_from(hamiltonian, field, mu)
        hamiltonian.check_field(field)
        shape = hamiltonian.field_shape
        greens = dense_greens(hamiltonian, field.device)
        elements = hamiltonian.elements(field.to(torch.float64).reshape(-1, *shape))
        entries = self._entries(greens)
        all_entries = entries if "mean" not in entries else (*ENERGY_ENTRIES, *entries)
        all_entries = all_entries if self.filling is None else (*CHEAP_ENTRIES, *all_entries)
        if not self.conservative:
            greens = program_greens(hamiltonian, field.device, all_entries) or greens
        guesses = [None] * len(elements) if mu is None else mu.reshape(-1).tolist()
        all_bounds = spectrum_bounds(hamiltonian, elements)
        states = []
        # Field by field, so that no result depends on the rest of the batch.
        for one, bounds, guess in zip(elements, all_bounds, guesses, strict=True):
            one_field = OneField(
                self, greens, one, bounds, entries, self.tolerance, self.conservative
            )
            states.append(one_field.solve(guess))
        batch_shape = field.shape[: field.ndim - len(shape)]
        numbers = elements.real.new_tensor([state[:2] for state in states]).view(-1, 2)
        density = torch.empty_like(elements)
        for number, state in enumerate(states):
            density[number] = state[2]
        return ElectronicState(
            numbers[:, 0].reshape(batch_shape),
            numbers[:, 1].reshape(batch_shape),
            density.reshape(*batch_shape, elements.shape[-1]),
        )

    def fast_forces(self, hamiltonian: TightBinding) -> FastForces | ElementForces | None:
        """Forces in the dtype of the field; None on trees and at an open boundary."""
        if self.conservative or not hasattr(hamiltonian, "classical_forces"):
            return None
        if self.block is None and self.schedule is None:
            return self.resolved(hamiltonian).fast_forces(hamiltonian)
        entries = self.schedule or (f"ring{self.block}:{_ROUNDS}",)
        kinds = tuple(dict.fromkeys(map(parse_entry, entries)))
        stencil = usable_stencil(hamiltonian, kinds)
        if stencil is None or is_treelike_stencil(stencil):
            return None
        if stencil.coupling is not None and getattr(hamiltonian, "stiffness", None):
            model = DensityModel(hamiltonian, stencil, kinds, self, partial(self.poles, entries))
            return FastForces(model, native.is_available())
        if not ElementForces.is_possible(hamiltonian, entries):
            return None
        return ElementForces(hamiltonian, self, entries, self.tolerance)

    def poles(self, entries: tuple[str, ...], half_width: float) -> tuple[Pole, ...]:
        """The poles for levels up to this distance from μ."""
        return poles_for(self.kT, half_width, self.tolerance, entries)

    def _entries(self, greens: DenseGreens) -> tuple[str, ...]:
        """The entries of the schedule, lowest pole first."""
        if self.schedule is not None:
            return self.schedule
        assert self.block is not None  # otherwise `resolved` has made a schedule
        return _tree_entries(greens) or (f"ring{self.block}:{_ROUNDS}",)


def _tree_entries(greens: DenseGreens) -> tuple[str, ...] | None:
    """What is exact on a tree or a long chain; None on other graphs."""
    if not greens.is_treelike:
        return None
    return (f"ring0:{min(greens.graph.n_sites, _MOST_ROUNDS)}",)


# A program may ask for the same model many times.
@model_cache(16)
def _reference_entries(solver: GreenFunction, hamiltonian: TightBinding) -> tuple[str, ...]:
    """The entries that reach the tolerance in random fields on a small copy of the lattice."""
    entries = _tree_entries(dense_greens(hamiltonian, torch.device("cpu")))
    if entries is not None:
        return entries
    if is_dataclass(hamiltonian):
        lattice = hamiltonian.lattice
        states_per_cell = hamiltonian.n_states / lattice.n_cells
        cells = int((_REFERENCE_STATES / states_per_cell) ** (1 / lattice.dim) + 1e-9)
        hamiltonian = reference_model(hamiltonian, max(cells, 4))
    fields = reference_fields(hamiltonian, solver.reference_std)
    return solver._calibrated(hamiltonian, fields)


def _refined(entry: str) -> str:
    """An entry with a larger block and one more round."""
    block, rounds = parse_entry(entry)
    if block.kind == "mean":
        return "ring0:0"
    return f"{replace(block, size=block.size + 1)}:{rounds + 1}"
