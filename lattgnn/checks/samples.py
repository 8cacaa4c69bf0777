"""Where a model is checked: a small periodic supercell, random fields, and an exact solver."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.solvers import ExactDiagonalization, Solver

# Fields from weak to strong, because a term may matter for one of them only.
SCALES = (0.3, 1.0, 3.0)

# States of a supercell, as far as its bonds have room: 30 ms for a diagonalization.
_MOST_STATES = 600


@dataclass(frozen=True, eq=False)
class Sample:
    """A model on the lattice where it is checked, and some random fields.

    Attributes:
        model: The model.
        exact: Its exact force field.
        fields: Random fields of growing strength, float64 [n_fields, *field_shape].
    """

    model: Hamiltonian
    exact: ExactForceField
    fields: Tensor

    @classmethod
    def draw(cls, model: Hamiltonian, solver: Solver, wanted: int | None = None) -> Sample:
        """The model on a small supercell, with one random field of each strength.

        Args:
            model: The model, on any lattice.
            solver: Electronic ensemble; the method is exact diagonalization in any case.
            wanted: Number of cells along each axis, see `on_supercell`.
        """
        small = on_supercell(model, wanted)
        fields = torch.stack([random_field(small, scale) for scale in SCALES])
        return cls(small, ExactForceField(small, exact_solver(solver)), fields)


def random_field(model: Hamiltonian, scale: float = 1.0, seed: int = 0) -> Tensor:
    """A random field: spins uniform on the sphere, anything else from a normal distribution.

    Args:
        model: The model.
        scale: Standard deviation of each component; spins have length 1 instead.
        seed: Seed of the generator.
    """
    generator = torch.Generator().manual_seed(seed)
    field = torch.randn(model.field_shape, generator=generator, dtype=torch.float64)
    return normalize(field, dim=-1) if model.field_type.is_spin else scale * field


def exact_solver(solver: Solver) -> ExactDiagonalization:
    """Exact diagonalization in the ensemble of a solver, whose own method may be approximate."""
    if isinstance(solver, ExactDiagonalization):
        return solver
    filling = None if solver.mu is not None else getattr(solver, "filling", 0.5)
    return ExactDiagonalization(solver.kT, solver.mu, filling)


def on_supercell(model: Hamiltonian, wanted: int | None = None) -> Hamiltonian:
    """The model on a small periodic lattice with all operations of its crystal.

    These are lattices with equally many cells along each axis. A model whose parameters belong to
    the sites of its own lattice, such as a list of on-site energies, stays on that lattice.

    Args:
        model: The model.
        wanted: Number of cells along each axis. There are fewer if the cell is large, and more if
            the bonds need room; None takes as few as possible.
    """
    dim = model.lattice.dim
    states_per_cell = model.n_states // model.lattice.n_cells
    most = int((_MOST_STATES / states_per_cell) ** (1 / dim) + 1e-9)
    first = max(min(wanted or {1: 8}.get(dim, 4), most), 2)
    # Even numbers of cells, so that a bipartite crystal gives a bipartite lattice.
    for n in range(first - first % 2, 17, 2):
        found = on_lattice(model, _supercell(model.lattice, n))
        if found is not None:
            return found
    return model


def symmetric_supercell(model: Hamiltonian, max_states: int) -> Hamiltonian:
    """The model on the lattice that shows its symmetry best.

    Its own lattice is best if it is periodic and has equally many cells along each axis, because
    such a lattice has all operations of the crystal. Otherwise it is a lattice of this kind, not
    longer than the own one. A model whose parameters do not fit there stays on its own lattice.

    Args:
        model: The model.
        max_states: Largest number of states of another lattice.
    """
    lattice = model.lattice
    has_all_operations = all(lattice.periodic) and len(set(lattice.extent)) == 1
    if has_all_operations and model.n_states <= max_states:
        return model
    states_per_cell = model.n_states // lattice.n_cells
    most = int((max_states / states_per_cell) ** (1 / lattice.dim) + 1e-9)
    # The longest axis is the likeliest to have room for the bonds.
    for n in (min(most, max(lattice.extent)), min(most, min(lattice.extent))):
        found = on_lattice(model, _supercell(lattice, n))
        if found is not None:
            return found
    return model


def on_lattice(model: Hamiltonian, lattice: Lattice) -> Hamiltonian | None:
    """The same model on another lattice, or None if its parameters do not fit there."""
    try:
        found = replace(model, lattice=lattice)
        field = torch.zeros(found.field_shape, dtype=torch.float64)
        fits = found.elements(field).shape[-1] == len(found.rows)
        fits = fits and torch.isfinite(found.classical_energy(field)).all()
    except Exception:  # whatever the user's class raises for a lattice of another size
        return None
    return found if fits else None


def _supercell(lattice: Lattice, n: int) -> Lattice:
    """A periodic lattice of n cells along each axis."""
    return replace(lattice, extent=(n,) * lattice.dim, periodic=True)
