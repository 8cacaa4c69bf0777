"""A network trained at fixed μ, used at fixed filling: a uniform shift of the field replaces μ."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.solvers import Solver
from lattgnn.solvers.filling import find_mu

Grand = Callable[[Tensor], tuple[Tensor | None, Tensor]]
"""Energy and forces of the electrons in fields [batch, n_sites], at the μ of the labels."""


class FixedFilling:
    """Electrons at fixed filling, from energy and forces at fixed μ.

    Args:
        hamiltonian: The model, in which μ shifts the field.
        n_electrons: Number of electrons.
        mu: Chemical potential of the labels.
        grand: Energy and forces there.
    """

    def __init__(
        self, hamiltonian: Hamiltonian, n_electrons: float, mu: float, grand: Grand
    ) -> None:
        self._model, self._count, self._mu, self._grand = hamiltonian, n_electrons, mu, grand

    @classmethod
    def of(
        cls, hamiltonian: Hamiltonian, solver: Solver, filling: float | None, grand: Grand
    ) -> "FixedFilling | None":
        """Electrons at a filling, None for none.

        Args:
            hamiltonian: The model.
            solver: Method of the labels.
            filling: Electrons per state.
            grand: Energy and forces at the μ of the labels.

        Raises:
            InputError: If the filling makes no sense, μ does not shift the field, or the labels
                have no fixed μ.
        """
        if filling is None:
            return None
        if not 0 < filling < 1:
            raise InputError(
                f"filling must be above 0 and below 1, got {filling!r}. Use electrons per state."
            )
        hamiltonian.field_type.field_shift(0.0)  # raises where the model has none
        if solver.mu is None:
            raise InputError(
                f"filling needs a network trained at fixed mu, got labels of {solver}. "
                "Train with mu=0.0."
            )
        return cls(hamiltonian, filling * hamiltonian.n_states, solver.mu, grand)

    def __call__(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        """Energy and forces: each field has its own chemical potential."""
        model, count = self._model, self._count
        shifts = self.shifts(field)
        mu = field.new_tensor(shifts)
        shifted = (
            field + field.new_tensor([model.field_type.field_shift(m) for m in shifts])[:, None]
        )
        energy, forces = self._grand(shifted)
        if energy is not None:
            # The free energy is Ω + μN. Its background belongs to the field itself, not to the
            # shifted one.
            background = model.background_energy(field) - model.background_energy(shifted)
            energy = energy + background + (self._mu + mu) * count
        return energy, forces

    def shifts(self, field: Tensor) -> list[float]:
        """Chemical potential of each field at this filling, measured from that of the labels."""
        # One root search per field, which does not start from an earlier solution: results do not
        # depend on the other fields of the batch, and a restarted run gives the same bits.
        return [
            find_mu(partial(self._electrons, one), self._count, precision=1e-7)
            for one in field.split(1)
        ]

    def _electrons(self, one: Tensor, mu: float) -> float:
        """Number of electrons, with μ measured from that of the labels."""
        field_type = self._model.field_type
        _, forces = self._grand(one + field_type.field_shift(mu))
        return float(field_type.density(forces.double()).sum())
