"""Green's functions by messages and blocks in plain numpy, the slow and obvious way."""

import numpy as np


class Reference:
    """ρ[cols, rows] for blocks that are given as lists of sites.

    Args:
        matrix: H, dense.
        n_orbitals: States per site.
    """

    def __init__(self, matrix, n_orbitals):
        self.H, self.n = np.asarray(matrix), n_orbitals
        n_sites = len(self.H) // n_orbitals

        self.neighbors = [
            [j for j in range(n_sites) if j != i and np.abs(self.part(i, j)).max() > 0]
            for i in range(n_sites)
        ]

    def part(self, i, j):
        o = self.n
        return self.H[i * o : i * o + o, j * o : j * o + o]

    def own(self, z, i):
        return z * np.eye(self.n) - self.part(i, i)

    def messages(self, z, rounds):
        """g[i, j]: G of site j without site i."""
        bonds = [(i, j) for i, near in enumerate(self.neighbors) for j in near]
        g = {(i, j): np.linalg.inv(self.own(z, j)) for i, j in bonds}
        for _ in range(rounds):
            g = {(i, j): np.linalg.inv(self.dressed(z, j, g, {i})) for i, j in bonds}
        return g

    def dressed(self, z, i, g, without):
        total = self.own(z, i)
        for k in self.neighbors[i]:
            if k not in without:
                total = total - self.part(i, k) @ g[i, k] @ self.part(k, i)
        return total

    def green(self, z, i, block, g):
        """G of the block with site i first, and the number of each site."""
        sites = [i, *sorted(set(block) - {i})]
        o = self.n
        A = np.zeros((o * len(sites),) * 2, dtype=complex)
        for a, s in enumerate(sites):
            for b, t in enumerate(sites):
                value = self.dressed(z, s, g, set(sites)) if s == t else -self.part(s, t)
                A[a * o : a * o + o, b * o : b * o + o] = value
        return np.linalg.inv(A), {s: k for k, s in enumerate(sites)}

    def density(self, mu, poles):
        """All elements between a site and itself or a neighbor.

        Args:
            mu: Chemical potential.
            poles: (frequency, weight, blocks or "mean", rounds).
        """
        o, total = self.n, 0.5 * np.eye(len(self.H), dtype=complex)
        for w, weight, blocks, rounds in poles:
            z = 1j * w + mu
            if isinstance(blocks, str):
                parts = self.mean(z, w)
            else:
                g = self.messages(z, rounds)
                parts = [self.of_site(z, i, blocks[i], g) for i in range(len(blocks))]
            X = np.zeros_like(total)
            for i, part in enumerate(parts):
                for j, (forth, back) in part.items():
                    X[i * o : i * o + o, j * o : j * o + o] = (forth + back.conj().T) / 2
            total = total + weight * (X + X.conj().T) / 2
        return total if np.iscomplexobj(self.H) else total.real

    def of_site(self, z, i, block, g):
        o = self.n
        G, number = self.green(z, i, block, g)
        found = {i: (G[:o, :o], G[:o, :o])}
        for j in self.neighbors[i]:
            if j in number:
                part = slice(number[j] * o, number[j] * o + o)
                found[j] = G[:o, part], G[part, :o]
            else:
                forth = G[:o, :o] @ self.part(i, j) @ g[i, j]
                found[j] = forth, g[i, j] @ self.part(j, i) @ G[:o, :o]
        return found

    def mean(self, z, w):
        n_sites = len(self.neighbors)
        G = []
        for i in range(n_sites):
            squares = sum(self.part(i, k) @ self.part(k, i) for k in self.neighbors[i])
            G.append(np.linalg.inv(self.own(z, i) - squares / (1j * w)))
        parts = []
        for i in range(n_sites):
            part = {i: (G[i], G[i])}
            for j in self.neighbors[i]:
                part[j] = G[i] @ self.part(i, j) @ G[j], G[j] @ self.part(j, i) @ G[i]
            parts.append(part)
        return parts
