"""Exact diagonalization: the whole density matrix, O(n_states³)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.solvers.fermi import chemical_potential, fermi_function, grand_potential
from lattgnn.solvers.solver import ElectronicState, Solver, TightBinding

Occupy = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class ExactDiagonalization(Solver):
    r"""ρ = Σ_k f_k |k⟩⟨k| from all eigenstates of H(field), in float64.

    Exactly one of `mu` and `filling` is given: it is the electronic ensemble, and it decides whether forces
    are local (fixed μ) or not (fixed filling, through the one global number μ).

    On a CPU the fields of a batch go one by one through LAPACK's divide and conquer (`evd`), which wants one
    thread and several processes; on a GPU they go through torch together. What else is in its batch changes
    nothing for a field, on the CPU to the last bit.

    Args:
        kT: temperature of the electrons; 0 is the exact limit.
        mu: chemical potential, in units of t.
        filling: electrons per state, strictly between 0 and 1 (n_states states, spin and orbitals included).

    Raises:
        ValueError: kT is negative, or not exactly one of mu and filling is given, or filling is out of range.
    """

    kT: float
    mu: float | None = None
    filling: float | None = None

    def __post_init__(self) -> None:
        self._check_ensemble()
        if (self.mu is None) == (self.filling is None):
            raise InputError(
                f"exactly one of mu and filling must be given, got mu={self.mu!r}, filling={self.filling!r}. "
                "Use mu=0.0 or filling=0.5."
            )
        if self.filling is not None and not 0 < self.filling < 1:
            raise InputError(
                f"filling must be above 0 and below 1, got {self.filling!r}. Use electrons per state."
            )

    @torch.no_grad()
    def solve(self, hamiltonian: TightBinding, field: Float[Tensor, "..."]) -> ElectronicState:
        """The electrons in a field.

        Args:
            hamiltonian: H(field).
            field: [..., n_sites] or [..., n_sites, n_components], on the device that shall do the work.

        Returns:
            Energy and μ [...], density elements [..., nnz], float64 (or complex128) on that device.

        Raises:
            ValueError: the field is not finite, or not one of this Hamiltonian.
        """
        hamiltonian.check_field(field)
        shape = hamiltonian.field_shape
        batch_shape = field.shape[: field.ndim - len(shape)]
        fields = field.to(torch.float64).reshape(-1, *shape)
        on_cpu = fields.device.type == "cpu"
        # Together, but no more than 1 GiB of matrices at a time.
        together = max(2**27 // hamiltonian.n_states**2, 1)
        engine, size = (solve_with_lapack, 1) if on_cpu else (solve_with_torch, together)
        parts = [engine(hamiltonian, chunk, self._occupy) for chunk in fields.split(size)]
        energy, mu, elements = (torch.cat(part) for part in zip(*parts, strict=True))
        return ElectronicState(
            energy.reshape(batch_shape), mu.reshape(batch_shape), elements.reshape(*batch_shape, -1)
        )

    def _occupy(self, energies: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy, μ and occupations of sorted levels [batch, n_states] in this ensemble."""
        if self.mu is not None:
            mu = energies.new_full(energies.shape[:-1], self.mu)
            return grand_potential(energies, mu, self.kT), mu, fermi_function(energies, mu, self.kT)
        assert self.filling is not None  # __post_init__ saw to it
        n_electrons = self.filling * energies.shape[-1]
        mu = chemical_potential(energies, n_electrons, self.kT)
        energy = grand_potential(energies, mu, self.kT) + mu * n_electrons
        return energy, mu, fermi_function(energies, mu, self.kT, n_electrons)


def solve_with_lapack(
    hamiltonian: TightBinding, fields: Tensor, occupy: Occupy
) -> tuple[Tensor, Tensor, Tensor]:
    """Energy [1], μ [1] and density elements [1, nnz] of one field [1, ...] on the CPU."""
    energies, states = eigh(hamiltonian.matrix(fields)[0].numpy())
    energy, mu, occupations = occupy(torch.from_numpy(energies)[None])
    weights = occupations[0].numpy()
    n_occupied = int(
        (weights > 1e-18).sum()
    )  # levels are sorted; those above add less than the last bit
    vectors = np.multiply(states[:, :n_occupied], np.sqrt(weights[:n_occupied]), order="C")
    density = elementwise_products(vectors, hamiltonian.rows.numpy(), hamiltonian.cols.numpy())
    return energy, mu, torch.from_numpy(density)[None]


def eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All eigenvalues and eigenvectors of a Hermitian matrix by LAPACK's `evd`, which may overwrite it."""
    # LAPACK wants columns: the transpose of a Hermitian matrix is its conjugate, which costs no copy if real.
    return scipy.linalg.eigh(matrix.conj().T, driver="evd", overwrite_a=True, check_finite=False)


def elementwise_products(
    vectors: np.ndarray, rows: np.ndarray, cols: np.ndarray, block: int = 256
) -> np.ndarray:
    """(V V†)[cols, rows] for V [n_states, n_occupied], without the O(n³) product; blocks fit the cache."""
    result = np.empty(len(rows), dtype=vectors.dtype)
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        result[part] = np.vecdot(vectors[rows[part]], vectors[cols[part]])
    return result


def solve_with_torch(
    hamiltonian: TightBinding, fields: Tensor, occupy: Occupy
) -> tuple[Tensor, Tensor, Tensor]:
    """Energy [b], μ [b] and density elements [b, nnz] of fields [b, ...] together, on their device."""
    energies, states = torch.linalg.eigh(hamiltonian.matrix(fields))
    energy, mu, occupations = occupy(energies)
    density = (states * occupations[:, None, :]) @ states.mH
    device = fields.device
    return energy, mu, density[:, hamiltonian.cols.to(device), hamiltonian.rows.to(device)]
