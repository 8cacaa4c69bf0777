"""Force fields from the electronic structure."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.forcefield.field_checks import check_out, check_tensor
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.solvers import ElectronicState, Solver
from lattgnn.solvers.solver import ForcesInPlace


class ExactForceField:
    r"""Energy and forces from the electronic structure, by one formula for every model and solver.

    With the density matrix ρ held fixed (Hellmann–Feynman),

        F = −Re Tr[ρ ∂H/∂φ] − ∂(E_background + E_classical)/∂φ,

    where autograd differentiates the matrix elements only, never the diagonalization.

    Args:
        hamiltonian: The model on its lattice.
        solver: Method for the electrons, and their ensemble. What a tolerance leaves open is found
            at once (`Solver.resolved`); the attribute `solver` has it.
        energy: Whether a call gives the energy too. Without it, a solver with forces in one pass
            (`Solver.fast_forces`) is much faster. They are computed in the dtype of the field. None
            leaves the energy out only where there are such forces, μ is fixed and the field couples
            to the density.

    Reference:
        Y. Fan and G.-W. Chern, arXiv:2601.04104, eqs. (4)–(6), for the Holstein model.
    """

    def __init__(
        self, hamiltonian: Hamiltonian, solver: Solver, energy: bool | None = True
    ) -> None:
        self.hamiltonian = hamiltonian
        self.solver = solver.resolved(hamiltonian)
        couples_to_density = hamiltonian.field_type.density_coupling is not None
        is_cheap = self.solver.mu is not None and couples_to_density
        wants_energy = not is_cheap if energy is None else energy
        self._fast = None if wants_energy else self.solver.fast_forces(hamiltonian)
        self.energy = self._fast is None if energy is None else energy
        self._is_warm = False
        self._last_mu: Tensor | None = None

    @property
    def writes_in_place(self) -> bool:
        """Whether a call takes `out`; see `lattgnn.dynamics.state.InPlaceForceField`."""
        return self._fast is not None

    @property
    def is_compiled(self) -> bool:
        """Whether calls run compiled code, which gives no energy."""
        return self._fast is not None and self._fast.is_compiled

    @property
    def lattice(self) -> Lattice:
        """The lattice of the field."""
        return self.hamiltonian.lattice

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one field, without batch dimensions."""
        return self.hamiltonian.field_shape

    def __call__(
        self, field: Float[Tensor, "..."], out: Float[Tensor, "..."] | None = None
    ) -> tuple[Float[Tensor, "*batch"] | Any, Float[Tensor, "..."]]:  # None without `energy`
        """Total energy (None if it is not wanted) and forces −∂E/∂field.

        Args:
            field: [..., *field_shape]. The computation runs on its device.
            out: Tensor that receives the forces: contiguous, with the shape, dtype and device of
                `field`.

        Returns:
            Energy [...] and forces shaped like the field, in its dtype; the computation itself is
            in float64, except for forces in one pass. The energy is the grand potential where the
            solver fixes μ, and the free energy where it fixes the filling.

        Raises:
            InputError: The field is not finite or does not have the shape of this lattice, or `out`
                is not like it.
        """
        check_tensor(field)
        if out is not None:
            check_out(field, out)
        if self._fast is not None and field.dtype in (torch.float32, torch.float64):
            return None, self._forces_in_one_pass(self._fast, field, out)
        energy, forces = self._total(field)
        if out is not None:
            forces = out.copy_(forces)
        return energy if self.energy else None, forces

    def _forces_in_one_pass(self, fast: ForcesInPlace, field: Tensor, out: Tensor | None) -> Tensor:
        """Forces without an energy."""
        self.hamiltonian.check_shape(field)
        forces = torch.empty_like(field, memory_format=torch.contiguous_format)
        forces = forces if out is None else out
        flat = (-1, *self.field_shape)
        guess = self._guess(field)
        mu = fast(field.detach().reshape(flat).contiguous(), forces.view(flat), guess)
        if self._is_warm:
            self._last_mu = mu
        return forces

    def _total(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Energy and forces in the dtype of the field."""
        with torch.inference_mode(False):  # see `_electronic`
            energy, forces = self._electronic(field)
            exact = field.detach().to(torch.float64, copy=field.is_inference())
            energy = energy + self.hamiltonian.classical_energy(exact)
            forces = forces + self.hamiltonian.classical_forces(exact)
            return energy.to(field.dtype), forces.to(field.dtype)

    def electronic(
        self, field: Float[Tensor, "..."]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "..."]]:
        """Energy and forces without the classical part, which are what a network learns.

        Args:
            field: As for a call.

        Returns:
            As for a call.
        """
        energy, forces = self._electronic(field)
        return energy.to(field.dtype), forces.to(field.dtype)

    @contextmanager
    def warm_start(self) -> Iterator[None]:
        """Start each search for μ from the result of the call before, within a `with` statement.

        It saves solutions where the solver finds μ at fixed filling by trial. The first call inside
        begins without a guess, and nothing is remembered afterwards. The last bits of a result
        depend on the calls before it within the statement, but on nothing else. `simulate` has one
        such statement from each saved frame to the next, so that a run that is continued from any
        frame gives the same bits.
        """
        self._is_warm, self._last_mu = True, None
        try:
            yield
        finally:
            self._is_warm, self._last_mu = False, None

    def _solve(self, field: Tensor) -> ElectronicState:
        """The electrons, with the guess of μ that a warm start provides."""
        if not self._is_warm:
            return self.solver.solve(self.hamiltonian, field)
        state = self.solver.solve_from(self.hamiltonian, field, self._guess(field))
        self._last_mu = state.mu
        return state

    def _guess(self, field: Tensor) -> Tensor | None:
        """μ of the call before, inside a warm start."""
        batch_shape = field.shape[: field.ndim - len(self.field_shape)]
        guess = self._last_mu
        # Another shape means another number of replicas.
        return guess if guess is not None and guess.shape == batch_shape else None

    def _electronic(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Energy and forces of the electrons in float64.

        Inference mode is off inside: it has no autograd, which the forces need, and whatever is
        cached in it could never be used for training.
        """
        with torch.inference_mode(False):
            state = self._solve(field.detach())
        with torch.inference_mode(False), torch.enable_grad():
            leaf = field.detach().to(torch.float64, copy=True).requires_grad_()
            background = self.hamiltonian.background_energy(leaf)
            trace = (state.density_elements * self.hamiltonian.elements(leaf)).real.sum(-1)
            (gradient,) = torch.autograd.grad((trace + background).sum(), leaf)
        return state.energy + background.detach(), -gradient
