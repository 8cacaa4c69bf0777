"""Divide and conquer: diagonalize overlapping blocks, keep what belongs to their cores, O(n_states)."""

from dataclasses import dataclass
from functools import lru_cache
from operator import index
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.solvers.ed import eigh, elementwise_products
from lattgnn.solvers.fermi import fermi_function, grand_potential
from lattgnn.solvers.solver import ElectronicState, Solver, TightBinding
from lattgnn.solvers.subsystems import Chunk, blocks, chunks, transposed

_CPU_SIZE, _GPU_SIZE = 2**19, 2**27
"""Matrix elements solved together: 4 MiB, near the caches, and 1 GiB."""


@dataclass(frozen=True)
class DomainDiagonalization(Solver):
    r"""ρ and Ω at fixed μ from the eigenstates |k⟩ of blocks, each a core of cells with a buffer around it.

        Ω    = Σ_blocks Σ_k Ω(e_k) Σ_{a ∈ core} |⟨a|k⟩|²,    Ω(e) = −kT ln(1 + exp((μ − e)/kT))
        ρ_ab = ½ (ρ_ab in the block whose core has a + ρ_ab in the block whose core has b)

    An axis is cut into the fewest cores of at most `core` cells, as equal as can be, and left whole where
    core + 2 buffer reaches its extent: with all axes whole the result is that of `ExactDiagonalization`. The
    buffer is every cell that H reaches from the core in `buffer` hops: `buffer` cells along each axis, less
    the corners that are more hops away. Where it ends, bonds are cut.

    The cost is linear in the number of sites. The error falls with the buffer as ρ does with distance: fast
    in insulators and at high temperature, slowly in cold metals. Within the error alone, operations of the
    lattice are symmetries (translations by a core are to rounding) and forces are derivatives of Ω. What
    else is in its batch changes nothing for a field.

    Args:
        kT: temperature of the electrons; 0 is the exact limit.
        mu: chemical potential, in units of t.
        core: cells of a core along every axis, or one number for each axis. In the plane one to two buffers
            are cheapest, all alike.
        buffer: hops around a core, at least 1.

    Raises:
        ValueError: kT is negative, or core or buffer is no whole number above 0.

    Reference:
        W. Yang, Phys. Rev. Lett. 66, 1438 (1991), with cores in place of its smooth partition of space; at
        fixed μ no common chemical potential has to be found.
    """

    kT: float
    mu: float
    core: int | tuple[int, ...]
    buffer: int

    def __post_init__(self) -> None:
        self._check_ensemble()
        if isinstance(self.core, tuple | list):
            object.__setattr__(self, "core", tuple(_whole("core", n) for n in self.core))
        else:
            object.__setattr__(self, "core", _whole("core", self.core))
        object.__setattr__(self, "buffer", _whole("buffer", self.buffer))

    @torch.no_grad()
    def solve(self, hamiltonian: TightBinding, field: Float[Tensor, "..."]) -> ElectronicState:
        """The electrons in a field.

        Args:
            hamiltonian: H(field), hashable.
            field: [..., n_sites] or [..., n_sites, n_components], on the device that shall do the work.

        Returns:
            Energy Ω and μ [...], density elements [..., nnz], float64 (or complex128) on that device.

        Raises:
            ValueError: the field is not finite, or not one of this Hamiltonian; or `core` has another number
                of axes than its lattice.
        """
        hamiltonian.check_field(field)
        shape, dim = hamiltonian.field_shape, hamiltonian.lattice.dim
        core = self.core if isinstance(self.core, tuple) else (self.core,) * dim
        if len(core) != dim:
            raise InputError(
                f"core must be one number, or {dim} for {dim} axes, got {core}. Use {core[0]}."
            )
        parts, partner = _partition(hamiltonian, core, self.buffer, field.device)
        elements = hamiltonian.elements(field.to(torch.float64).reshape(-1, *shape))
        solved = [self._solve(parts, partner, each) for each in elements]
        energy, density = (torch.stack(part) for part in zip(*solved, strict=True))
        batch_shape = field.shape[: field.ndim - len(shape)]
        energy = energy.reshape(batch_shape)
        return ElectronicState(
            energy, torch.full_like(energy, self.mu), density.reshape(*batch_shape, -1)
        )

    def _solve(
        self,
        parts: tuple[Chunk, ...],
        partner: Int[Tensor, " nnz"],
        elements: Shaped[Tensor, " nnz"],
    ) -> tuple[Float[Tensor, ""], Shaped[Tensor, " nnz"]]:
        """Ω and density elements of one field."""
        energy, density = elements.real.new_zeros(()), torch.empty_like(elements)
        for chunk in parts:
            omega, density[chunk.owned] = self._solve_chunk(chunk, elements)
            energy = energy + omega
        return energy, (density + density[partner].conj()) / 2

    def _solve_chunk(
        self, chunk: Chunk, elements: Shaped[Tensor, " nnz"]
    ) -> tuple[Float[Tensor, ""], Shaped[Tensor, " n_owned"]]:
        """Ω of the cores of a chunk, and the density elements with their row in these."""
        matrices = elements.new_zeros(chunk.n_blocks, chunk.n_states, chunk.n_states)
        matrices.view(-1)[chunk.positions] = elements[chunk.elements]
        energies, states = _eigenstates(matrices)
        mu = energies.new_full((chunk.n_blocks,), self.mu)
        in_core = states[:, : chunk.n_core].abs().square().sum(1)
        omega = grand_potential(energies, mu, self.kT, in_core).sum()
        occupations = fermi_function(energies, mu, self.kT)
        # Levels are sorted; those above add less than the last bit.
        n_occupied = int((occupations > 1e-18).sum(-1).max())
        vectors = states[..., :n_occupied] * occupations[:, None, :n_occupied].sqrt()
        return omega, _products(vectors.flatten(0, 1), chunk.rows, chunk.cols)


def _eigenstates(
    matrices: Shaped[Tensor, "b n n"],
) -> tuple[Float[Tensor, "b n"], Shaped[Tensor, "b n n"]]:
    """All eigenstates: on a CPU of one matrix after the other, which may be overwritten."""
    if not _on_cpu(matrices):
        return torch.linalg.eigh(matrices)
    solved = [eigh(matrix) for matrix in matrices.numpy()]
    energies, states = (torch.from_numpy(np.stack(part)) for part in zip(*solved, strict=True))
    return energies, states


def _products(
    vectors: Shaped[Tensor, "rows n"], rows: Int[Tensor, " n_owned"], cols: Int[Tensor, " n_owned"]
) -> Shaped[Tensor, " n_owned"]:
    """(V V†)[cols, rows]; on a CPU a third of the time of a matrix product with the rows of the cores."""
    if not _on_cpu(vectors):
        return torch.linalg.vecdot(vectors[rows], vectors[cols])
    return torch.from_numpy(elementwise_products(vectors.numpy(), rows.numpy(), cols.numpy()))


def _on_cpu(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"


@lru_cache(maxsize=4)
def _partition(
    hamiltonian: TightBinding, core: tuple[int, ...], buffer: int, device: torch.device
) -> tuple[tuple[Chunk, ...], Tensor]:
    """The chunks of all blocks, and the number of the transposed of each element, on a device."""
    size = _CPU_SIZE if device.type == "cpu" else _GPU_SIZE
    found = chunks(blocks(hamiltonian, core, buffer), size)
    return tuple(chunk.to(device) for chunk in found), transposed(hamiltonian).to(device)


def _whole(name: str, value: Any) -> int:
    try:
        number = index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise InputError(f"{name} must be a whole number, at least 1, got {value!r}. Use 5.")
    return number
