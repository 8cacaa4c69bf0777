"""Divide and conquer in O(n_states): diagonalize overlapping subsystems and keep their cores."""

from dataclasses import dataclass, field, replace
from operator import index
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from lattgnn.errors import InputError, check_number
from lattgnn.memory import require_memory
from lattgnn.solvers.calibration import REFERENCE_STD, smallest_buffer
from lattgnn.solvers.ed import NEGLIGIBLE_OCCUPATION, eigh, elementwise_products
from lattgnn.solvers.fermi import chemical_potential, fermi_function, grand_potential
from lattgnn.solvers.model_cache import model_cache
from lattgnn.solvers.single_thread import single_thread
from lattgnn.solvers.solver import ElectronicState, Solver, TightBinding
from lattgnn.solvers.subsystems import (
    SubsystemBatch,
    batch_subsystems,
    cut_into_subsystems,
    transposed_elements,
)

# Matrix elements that are solved together, in float64: 4 MiB on a CPU, near its caches; 1 GiB on a
# GPU.
_MAX_ELEMENTS_CPU, _MAX_ELEMENTS_GPU = 2**19, 2**27

Batches = tuple[SubsystemBatch, ...]
Solution = tuple[Tensor, Tensor, Tensor]  # energy, μ and density elements of one field


@dataclass(frozen=True)
class DomainDiagonalization(Solver):
    r"""ρ and Ω from the eigenstates |k⟩ of subsystems: cores of cells with buffers.

        Ω    = Σ_subsystems Σ_k w_k Ω(e_k),   w_k = Σ_{a ∈ core} |⟨a|k⟩|²
        Ω(e) = −kT ln(1 + exp((μ − e)/kT))
        ρ_ab = ½ (ρ_ab in the subsystem whose core has a + ρ_ab in the subsystem whose core has b)

    At fixed `filling`, one μ for all subsystems solves Σ w_k f(e_k − μ) = filling · n_states over
    the levels of all of them, which are computed once. The energy is then Ω + μN.

    Each axis is cut into the fewest cores of at most `core` cells, as equal as possible. An axis is
    not cut if core + 2 buffer reaches its extent; if no axis is cut, the result is that of
    `ExactDiagonalization`. The buffer consists of all cells within `buffer` hops of H from the
    core: for hops along the axes these are `buffer` cells along each axis, without the corners that
    are farther. Bonds across the outer edge of the buffer are cut.

    The cost is linear in the number of sites. The error falls with the buffer as ρ falls with
    distance: fast in insulators and at high temperature, slowly in cold metals. Operations of the
    lattice are symmetries, and forces are derivatives of the energy, only within this error;
    translations by a core are symmetries to rounding. The result for a field does not depend on the
    rest of its batch.

    Args:
        kT: Temperature of the electrons; 0 is the exact limit.
        mu: Chemical potential, in units of t.
        core: Largest number of cells of a core along every axis, or one number per axis. In two
            dimensions one to two times the buffer is cheapest.
        buffer: Number of hops around a core, at least 1.
        filling: Electrons per state, instead of `mu`.
        tolerance: Rms error of an on-site density element, instead of `buffer`: the smallest buffer
            that reaches it on reference fields, see `resolved`.
        reference_std: Standard deviation of each component of these fields, in units of the field.
            The default is about that of the start of the quenches of the Holstein model. Errors are
            largest in weak fields, so a smaller number is safer.

    Raises:
        InputError: If kT is negative, core or buffer is not a whole number above 0, tolerance or
            filling is out of range, not exactly one of mu and filling is given, or not exactly one
            of buffer and tolerance.

    Reference:
        W. Yang, Phys. Rev. Lett. 66, 1438 (1991). Here cores replace its smooth partition of space.
    """

    kT: float
    mu: float | None = None
    core: int | tuple[int, ...] = 8
    buffer: int | None = None
    filling: float | None = field(default=None, metadata={"describe": "changed"})
    tolerance: float | None = field(default=None, metadata={"describe": "changed"})
    reference_std: float = field(default=REFERENCE_STD, metadata={"describe": "changed"})

    def __post_init__(self) -> None:
        self._check_ensemble()
        if (self.buffer is None) == (self.tolerance is None):
            raise InputError(
                f"exactly one of buffer and tolerance must be given, got buffer={self.buffer!r} "
                f"and tolerance={self.tolerance!r}. Use buffer=5, or tolerance=1e-4."
            )
        if isinstance(self.core, tuple | list):
            object.__setattr__(self, "core", tuple(_whole("core", n) for n in self.core))
        else:
            object.__setattr__(self, "core", _whole("core", self.core))
        if self.tolerance is not None:
            check_number("tolerance", self.tolerance, 1e-12, 0.1)
            check_number("reference_std", self.reference_std, 0)
        else:
            object.__setattr__(self, "buffer", _whole("buffer", self.buffer))

    def refined(self) -> "DomainDiagonalization":
        """The same cores with a buffer of two more hops, or a tenth of the tolerance."""
        if self.tolerance is not None:
            return replace(self, tolerance=max(self.tolerance / 10, 1e-12))
        assert self.buffer is not None  # checked in __post_init__
        return replace(self, buffer=self.buffer + 2)

    def resolved(
        self, hamiltonian: TightBinding, fields: Float[Tensor, "..."] | None = None
    ) -> "DomainDiagonalization":
        """The smallest buffer whose rms error of on-site density elements is within the tolerance.

        Without fields, each buffer is compared with exact diagonalization on a periodic lattice
        that it leaves two cells to cut, in 20 uncorrelated random fields with the standard
        deviation `reference_std` (spins: uniform on the sphere), which are always the same.

        Args:
            hamiltonian: The model, hashable.
            fields: Reference fields [..., *field_shape] instead, on the lattice of the model. Above
                1600 states the reference is the solver with a buffer of two more hops.

        Returns:
            The solver with this buffer; itself if it has a buffer.

        Raises:
            InputError: If no buffer reaches the tolerance on a lattice of at most 1600 states.
        """
        if self.tolerance is None:
            return self
        core = max(self.core) if isinstance(self.core, tuple) else self.core
        unresolved = replace(self, buffer=1, tolerance=None, reference_std=REFERENCE_STD)
        reference = self.reference_std if fields is None else fields
        buffer = smallest_buffer(unresolved, hamiltonian, self.tolerance, core, reference)
        return replace(unresolved, buffer=buffer)

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
            InputError: If the field is not finite or has the wrong shape, `core` does not have one
                number per axis of the lattice, or the tolerance cannot be reached.
        """
        if self.buffer is None:
            return self.resolved(hamiltonian).solve(hamiltonian, field)
        hamiltonian.check_field(field)
        shape, dim = hamiltonian.field_shape, hamiltonian.lattice.dim
        core = self.core if isinstance(self.core, tuple) else (self.core,) * dim
        if len(core) != dim:
            raise InputError(
                f"core must be one number, or {dim} for {dim} axes, got {core}. Use {core[0]}."
            )
        batches, transposed = _partition(hamiltonian, core, self.buffer, field.device)
        elements = hamiltonian.elements(field.to(torch.float64).reshape(-1, *shape))
        solve = self._at_mu if self.filling is None else self._at_filling
        # Field by field, so that no result depends on the rest of the batch.
        with single_thread(max(batch.n_states for batch in batches)):
            solved = [solve(batches, one) for one in elements]
        energy, mu, density = (torch.stack(part) for part in zip(*solved, strict=True))
        # Each element has been written once, by the subsystem whose core has its row. The mean with
        # the transposed element makes ρ Hermitian.
        density = (density + density[:, transposed].conj()) / 2
        batch_shape = field.shape[: field.ndim - len(shape)]
        return ElectronicState(
            energy.reshape(batch_shape), mu.reshape(batch_shape), density.reshape(*batch_shape, -1)
        )

    def _at_mu(self, batches: Batches, elements: Shaped[Tensor, " nnz"]) -> Solution:
        """Ω, μ and density elements of one field, one batch of subsystems after the other."""
        assert self.mu is not None  # checked in __post_init__, as the filling is
        energy, density = elements.real.new_zeros(()), torch.empty_like(elements)
        mu = energy + self.mu
        for batch in batches:
            levels = _levels(batch, elements)
            some = mu.expand(batch.n_subsystems)
            occupations = fermi_function(levels.energies, some, self.kT)
            omega = grand_potential(levels.energies, some, self.kT, levels.weights).sum()
            energy = energy + omega
            density[batch.owned] = _density(batch, levels, occupations)
        return energy, mu, density

    def _at_filling(self, batches: Batches, elements: Shaped[Tensor, " nnz"]) -> Solution:
        """Free energy, μ and density elements of one field, after all subsystems are solved."""
        assert self.filling is not None
        n_kept = sum(len(batch.states) * batch.n_states for batch in batches)
        purpose = "keeping the eigenstates of all subsystems until the filling is known"
        require_memory(n_kept * elements.element_size(), purpose, "Use a fixed mu.")
        solved = [_levels(batch, elements) for batch in batches]
        energies = torch.cat([levels.energies.flatten() for levels in solved])
        weights = torch.cat([levels.weights.flatten() for levels in solved])
        n_electrons = self.filling * sum(batch.n_subsystems * batch.n_core for batch in batches)
        order = energies.argsort(stable=True)
        mu = chemical_potential(energies[order], n_electrons, self.kT, weights[order])
        occupations = fermi_function(energies, mu, self.kT, n_electrons, weights)
        density, done = torch.empty_like(elements), 0
        for batch, levels in zip(batches, solved, strict=True):
            n = levels.energies.numel()
            some = occupations[done : done + n].view_as(levels.energies)
            density[batch.owned] = _density(batch, levels, some)
            done += n
        omega = grand_potential(energies, mu, self.kT, weights)
        return omega + mu * n_electrons, mu, density


class _Levels(NamedTuple):
    """Eigenstates of a batch of subsystems.

    The weight of a level is the part of its state that lies in the core. Of the states only the
    rows are kept that ρ needs.
    """

    energies: Float[Tensor, "b n"]
    weights: Float[Tensor, "b n"]
    states: Shaped[Tensor, "n_touched n"]


def _levels(batch: SubsystemBatch, elements: Shaped[Tensor, " nnz"]) -> _Levels:
    """Diagonalize the subsystems of a batch."""
    matrices = elements.new_zeros(batch.n_subsystems, batch.n_states, batch.n_states)
    matrices.view(-1)[batch.positions] = elements[batch.elements]
    energies, states = _eigenstates(matrices)
    # States of the core come first.
    weights = states[:, : batch.n_core].abs().square().sum(1)
    return _Levels(energies, weights, states.flatten(0, 1)[batch.states])


def _density(
    batch: SubsystemBatch, levels: _Levels, occupations: Float[Tensor, "b n"]
) -> Shaped[Tensor, " n_owned"]:
    """The density elements whose row lies in a core of the batch."""
    # Levels are sorted, so the occupied ones come first.
    n_occupied = int((occupations > NEGLIGIBLE_OCCUPATION).sum(-1).max())
    factors = occupations[:, :n_occupied].sqrt()[batch.states // batch.n_states]
    return _products(levels.states[:, :n_occupied] * factors, batch.rows, batch.cols)


def _eigenstates(
    matrices: Shaped[Tensor, "b n n"],
) -> tuple[Float[Tensor, "b n"], Shaped[Tensor, "b n n"]]:
    """All eigenvalues and eigenstates; the matrices may be overwritten."""
    if not _on_cpu(matrices):
        return torch.linalg.eigh(matrices)
    # On a CPU the matrices go through LAPACK one by one, as in `ExactDiagonalization`.
    solved = [eigh(matrix) for matrix in matrices.numpy()]
    energies, states = (torch.from_numpy(np.stack(part)) for part in zip(*solved, strict=True))
    return energies, states


def _products(
    vectors: Shaped[Tensor, "rows n"], rows: Int[Tensor, " n_owned"], cols: Int[Tensor, " n_owned"]
) -> Shaped[Tensor, " n_owned"]:
    """The elements (V V†)[cols, rows]."""
    if not _on_cpu(vectors):
        return torch.linalg.vecdot(vectors[rows], vectors[cols])
    # A third of the time of a matrix product with all rows of the cores.
    return torch.from_numpy(elementwise_products(vectors.numpy(), rows.numpy(), cols.numpy()))


def _on_cpu(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"


# The partition depends on the pattern of H alone, so every step of a trajectory uses the same one.
@model_cache(4)
def _partition(
    hamiltonian: TightBinding, core: tuple[int, ...], buffer: int, device: torch.device
) -> tuple[Batches, Int[Tensor, " nnz"]]:
    """All subsystems in batches, and the positions of the transposed elements, on a device."""
    max_elements = _MAX_ELEMENTS_CPU if device.type == "cpu" else _MAX_ELEMENTS_GPU
    subsystems = cut_into_subsystems(hamiltonian, core, buffer)
    batches = tuple(batch.to(device) for batch in batch_subsystems(subsystems, max_elements))
    return batches, transposed_elements(hamiltonian).to(device)


def _whole(name: str, value: Any) -> int:
    try:
        number = index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise InputError(f"{name} must be a whole number, at least 1, got {value!r}. Use 5.")
    return number
