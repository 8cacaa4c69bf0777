"""Probing vectors: each belongs to a color, and is a phase on its states and 0 elsewhere.

A product with probing vectors finds all states of a color at once. It confuses states of one color
as far as the density matrix connects them, so these are far apart.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Int

from lattgnn.solvers.chebyshev.site_coloring import site_coloring
from lattgnn.solvers.solver import TightBinding


class Probes(NamedTuple):
    """One probing vector for each color.

    Attributes:
        colors: Color of each state.
        phases: Value of the vector of this color at the state, of absolute value 1.
        n_colors: Number of vectors.
    """

    colors: Int[np.ndarray, " n_states"]
    phases: Complex[np.ndarray, " n_states"]
    n_colors: int

    def reordered(self, states: Int[np.ndarray, " n_states"]) -> "Probes":
        """The same vectors with the given states in this order."""
        return Probes(self.colors[states], self.phases[states], self.n_colors)


def unit_vectors(n_states: int) -> Probes:
    """The vectors of the standard basis: nothing is confused."""
    return Probes(np.arange(n_states), np.ones(n_states, dtype=np.complex128), n_states)


def probing_vectors(
    hamiltonian: TightBinding, distance: int, seed: int, is_complex: bool
) -> Probes:
    """Vectors whose states are on sites at least `distance` hops apart.

    The states of a site have colors of their own; see `site_coloring`. The phase of a state depends
    only on the seed and on the number of the state.

    Args:
        hamiltonian: H, of which only the sparsity pattern is used; states are numbered by site.
        distance: Number of hops of H.
        seed: Seed of the phases.
        is_complex: Whether phases lie on the unit circle; otherwise they are signs.

    Returns:
        The vectors.
    """
    n_states, n_sites = hamiltonian.n_states, hamiltonian.lattice.n_sites
    states_per_site = n_states // n_sites
    ends = hamiltonian.rows.cpu().numpy(), hamiltonian.cols.cpu().numpy()
    bonds = np.stack(ends) // states_per_site
    site_colors = site_coloring(hamiltonian.lattice, bonds, distance)
    state = np.arange(n_states)
    colors = states_per_site * site_colors[state // states_per_site] + state % states_per_site
    # The raw output of this generator is a fixed sequence: number i depends on the seed and i only.
    turns = np.random.Philox(key=seed).random_raw(n_states) / 2.0**64
    phases = np.exp(2j * np.pi * turns) if is_complex else np.where(turns < 0.5, 1.0, -1.0) + 0j
    return Probes(colors, phases, states_per_site * (int(site_colors.max()) + 1))
