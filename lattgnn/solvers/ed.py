"""Exact diagonalization: the whole density matrix, O(n_states³)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.memory import LARGE, require_memory
from lattgnn.solvers.fermi import chemical_potential, fermi_function, grand_potential
from lattgnn.solvers.single_thread import single_thread
from lattgnn.solvers.solver import ElectronicState, Solver, TightBinding

# Energy, μ and occupations from sorted levels.
Occupy = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]

# Levels with a smaller occupation are left out of ρ: they add less than its last bit.
NEGLIGIBLE_OCCUPATION = 1e-18

# Matrix elements that torch diagonalizes together, 1 GiB in float64.
_MAX_ELEMENTS = 2**27


@dataclass(frozen=True)
class ExactDiagonalization(Solver):
    r"""ρ = Σ_k f_k |k⟩⟨k| from all eigenstates of H(field), in float64.

    Exactly one of `mu` and `filling` is given. It defines the electronic ensemble and decides
    whether forces are local (fixed μ) or not (fixed filling, through the one global number μ).

    On a CPU, fields are solved one by one with LAPACK's divide and conquer (`evd`), up to 4000
    states on one thread, which is faster than several; use several processes for several cores. On
    a GPU, torch solves them together. The result for a field does not depend on the rest of its
    batch, on a CPU to the last bit.

    Args:
        kT: Temperature of the electrons; 0 is the exact limit.
        mu: Chemical potential, in units of t.
        filling: Electrons per state, strictly between 0 and 1 (n_states states, spin and orbitals
            included).

    Raises:
        InputError: If kT is negative, filling is out of range, or not exactly one of mu and filling
            is given.
    """

    kT: float
    mu: float | None = None
    filling: float | None = None

    def __post_init__(self) -> None:
        self._check_ensemble()

    @property
    def is_exact(self) -> bool:
        """True."""
        return True

    @torch.no_grad()
    def solve(self, hamiltonian: TightBinding, field: Float[Tensor, "..."]) -> ElectronicState:
        """The electrons in a field.

        Args:
            hamiltonian: H(field).
            field: Field [..., n_sites] or [..., n_sites, n_components], on the device that does the
                work.

        Returns:
            Energy and μ [...], density elements [..., nnz], float64 (or complex128) on that device.

        Raises:
            InputError: If the field is not finite or has the wrong shape.
        """
        hamiltonian.check_field(field)
        shape = hamiltonian.field_shape
        batch_shape = field.shape[: field.ndim - len(shape)]
        fields = field.to(torch.float64).reshape(-1, *shape)
        _check_memory(hamiltonian, fields)
        if fields.device.type == "cpu":
            solve, n_together = solve_with_lapack, 1
        else:
            solve, n_together = solve_with_torch, max(_MAX_ELEMENTS // hamiltonian.n_states**2, 1)
        with single_thread(hamiltonian.n_states):
            parts = [solve(hamiltonian, some, self._occupy) for some in fields.split(n_together)]
        energy, mu, elements = (torch.cat(part) for part in zip(*parts, strict=True))
        return ElectronicState(
            energy.reshape(batch_shape), mu.reshape(batch_shape), elements.reshape(*batch_shape, -1)
        )

    def _occupy(self, energies: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy, μ and occupations of sorted levels [batch, n_states] in this ensemble."""
        if self.mu is not None:
            mu = energies.new_full(energies.shape[:-1], self.mu)
            return grand_potential(energies, mu, self.kT), mu, fermi_function(energies, mu, self.kT)
        assert self.filling is not None  # checked in __post_init__
        n_electrons = self.filling * energies.shape[-1]
        mu = chemical_potential(energies, n_electrons, self.kT)
        energy = grand_potential(energies, mu, self.kT) + mu * n_electrons
        return energy, mu, fermi_function(energies, mu, self.kT, n_electrons)


def _check_memory(hamiltonian: TightBinding, fields: Tensor) -> None:
    """Refuse matrices that do not fit: H and the workspace of LAPACK, of twice its size."""
    n = hamiltonian.n_states
    if fields.device.type == "cpu" and 3 * 8 * n**2 >= LARGE and len(fields):
        n_bytes = 3 * n**2 * hamiltonian.elements(fields[:1]).element_size()
        purpose = f"diagonalizing a matrix of {n:,} states"
        require_memory(n_bytes, purpose, "Use a smaller extent, or DomainDiagonalization.")


def solve_with_lapack(
    hamiltonian: TightBinding, fields: Tensor, occupy: Occupy
) -> tuple[Tensor, Tensor, Tensor]:
    """Energy [1], μ [1] and density elements [1, nnz] of one field [1, ...] on the CPU."""
    energies, states = eigh(hamiltonian.matrix(fields)[0].numpy())
    energy, mu, occupations = occupy(torch.from_numpy(energies)[None])
    weights = occupations[0].numpy()
    # Levels are sorted, so the occupied ones come first.
    n_occupied = int((weights > NEGLIGIBLE_OCCUPATION).sum())
    # V = sqrt(f_k) |k⟩, so that ρ = V V†. In C order a row, a state of the lattice, is contiguous.
    vectors = np.multiply(states[:, :n_occupied], np.sqrt(weights[:n_occupied]), order="C")
    density = elementwise_products(vectors, hamiltonian.rows.numpy(), hamiltonian.cols.numpy())
    return energy, mu, torch.from_numpy(density)[None]


def eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All eigenvalues and eigenvectors of a Hermitian matrix, which may be overwritten.

    The LAPACK driver is `evd`, divide and conquer: the fastest one if all eigenvectors are needed.
    """
    # LAPACK expects Fortran order. The transpose of a C-ordered matrix has it without a copy, and
    # the conjugate, which costs nothing for a real matrix, makes the transpose of a Hermitian
    # matrix equal H.
    return scipy.linalg.eigh(matrix.conj().T, driver="evd", overwrite_a=True, check_finite=False)


def elementwise_products(
    vectors: np.ndarray, rows: np.ndarray, cols: np.ndarray, n_together: int = 256
) -> np.ndarray:
    """The elements (V V†)[cols, rows] without the O(n³) matrix product.

    Args:
        vectors: Matrix V, [n_states, n_occupied].
        rows: Row of each element.
        cols: Column of each element.
        n_together: Number of elements computed at once; the default keeps their vectors in the
            cache.

    Returns:
        One number per element.
    """
    result = np.empty(len(rows), dtype=vectors.dtype)
    for start in range(0, len(rows), n_together):
        part = slice(start, start + n_together)
        result[part] = np.vecdot(vectors[rows[part]], vectors[cols[part]])
    return result


def solve_with_torch(
    hamiltonian: TightBinding, fields: Tensor, occupy: Occupy
) -> tuple[Tensor, Tensor, Tensor]:
    """Energy [b], μ [b] and density elements [b, nnz] of fields [b, ...], on their device."""
    energies, states = torch.linalg.eigh(hamiltonian.matrix(fields))
    energy, mu, occupations = occupy(energies)
    density = (states * occupations[:, None, :]) @ states.mH
    device = fields.device
    return energy, mu, density[:, hamiltonian.cols.to(device), hamiltonian.rows.to(device)]
