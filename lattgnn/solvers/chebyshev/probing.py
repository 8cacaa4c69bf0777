"""Probing vectors: each belongs to a color, and is a phase on its states and 0 elsewhere.

A product with probing vectors finds all states of a color at once. It confuses states of one color
as far as the density matrix connects them, so these are far apart.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Complex, Int
from scipy.sparse import csr_array, eye_array

from lattgnn.solvers.solver import TightBinding

# Sites whose neighborhoods are found together, which bounds the memory.
_SITES_TOGETHER = 4096


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

    The states of a site have colors of their own. The phase of a state depends only on the seed and
    on the number of the state.

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
    rows, cols = hamiltonian.rows.cpu().numpy(), hamiltonian.cols.cpu().numpy()
    site_colors = _greedy_colors(
        n_sites, rows // states_per_site, cols // states_per_site, distance
    )
    state = np.arange(n_states)
    colors = states_per_site * site_colors[state // states_per_site] + state % states_per_site
    # The raw output of this generator is a fixed sequence: number i depends on the seed and i only.
    turns = np.random.Philox(key=seed).random_raw(n_states) / 2.0**64
    phases = np.exp(2j * np.pi * turns) if is_complex else np.where(turns < 0.5, 1.0, -1.0) + 0j
    return Probes(colors, phases, states_per_site * (int(site_colors.max()) + 1))


def _greedy_colors(
    n_sites: int, rows: np.ndarray, cols: np.ndarray, distance: int
) -> Int[np.ndarray, " n_sites"]:
    """Site after site, the first color that no site closer than `distance` hops has yet."""
    colors = np.full(n_sites, -1)
    for site, near in _neighborhoods(n_sites, rows, cols, distance - 1):
        used = np.zeros(len(near) + 1, dtype=bool)
        taken = colors[near]
        # Of len(near) + 1 colors, one at least is free: higher ones need not be marked.
        used[taken[(taken >= 0) & (taken <= len(near))]] = True
        colors[site] = int(np.argmin(used))
    return colors


def _neighborhoods(
    n_sites: int, rows: np.ndarray, cols: np.ndarray, n_hops: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Each site with all sites within `n_hops` hops of it, itself included."""
    hops: Any = csr_array((np.ones(len(rows)), (rows, cols)), shape=(n_sites, n_sites))
    hops = hops + eye_array(n_sites, format="csr")  # staying counts as a hop: within, not exactly
    hops.data[:] = 1
    start: Any = eye_array(n_sites, format="csr")
    for first in range(0, n_sites, _SITES_TOGETHER):
        reached = start[first : first + _SITES_TOGETHER]
        for _ in range(n_hops):
            reached = reached @ hops
            reached.data[:] = 1  # numbers of paths grow exponentially
        for k in range(reached.shape[0]):
            yield first + k, reached.indices[reached.indptr[k] : reached.indptr[k + 1]]
