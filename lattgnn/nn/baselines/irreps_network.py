"""A patch decomposed into irreps of the point group, and linear maps of their products."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.lattice import Lattice
from lattgnn.nn.baselines.site_patch import patch
from lattgnn.symmetry import Representation, clebsch_gordan, irreps, permutation, site_point_group


class Constant(nn.Module):
    """Fixed numbers in the network's precision.

    A plain buffer that was converted to single precision keeps the rounding error after conversion
    back to double, which breaks the symmetry. This one is rounded from the exact numbers each time.
    """

    value: Tensor

    def __init__(self, numbers: np.ndarray):
        super().__init__()
        self.exact = torch.tensor(numbers)
        self.register_buffer("value", self.exact.to(torch.get_default_dtype()), persistent=False)

    def _apply(self, fn, recurse: bool = True):
        super()._apply(fn, recurse)
        self.value = self.exact.to(self.value)
        return self

    def forward(self) -> Tensor:
        """The numbers."""
        return self.value


class PatchDecomposition(nn.Module):
    """The field on a patch as orthonormal combinations that transform as irreps, shell by shell.

    Args:
        lattice: A lattice with one site per cell.
        cutoff: Radius of the patch, in the units of the lattice.

    Attributes:
        irreps: The irreps of the point group, the trivial one first.
        shells: For each irrep, the shell of each of its copies.
        shell_sizes: Number of sites in each shell.
    """

    def __init__(self, lattice: Lattice, cutoff: float):
        super().__init__()
        sites, group = patch(lattice, cutoff), site_point_group(lattice.cell)
        points = lattice.cell.cartesian(sites.offsets)
        self.irreps = irreps(group)
        self.shells: list[list[int]] = [[] for _ in self.irreps]
        self.shell_sizes = [shell.stop - shell.start for shell in sites.shells]
        rows: list[list[np.ndarray]] = [[] for _ in self.irreps]
        for number, shell in enumerate(sites.shells):
            representation = permutation(group, points[shell])
            blocks = np.zeros((representation.dim, len(sites)))
            blocks[:, shell] = representation.to_irreps()
            for irrep, count in representation.irreps():
                kind = self.irreps.index(irrep)
                rows[kind].append(blocks[: count * irrep.dim])
                self.shells[kind] += [number] * count
                blocks = blocks[count * irrep.dim :]
        self.projection = Constant(np.concatenate([block for blocks in rows for block in blocks]))

    @property
    def copies(self) -> tuple[int, ...]:
        """Number of copies of each irrep."""
        return tuple(len(shells) for shells in self.shells)

    def forward(
        self, values: Float[Tensor, "n_sites batch n_patch"]
    ) -> list[Float[Tensor, "n_sites batch _ _"]]:
        """The copies and components of each irrep, from the values on the patch of each site."""
        shapes = [(n, irrep.dim) for n, irrep in zip(self.copies, self.irreps, strict=True)]
        parts = nn.functional.linear(values, self.projection()).split(
            [n * dim for n, dim in shapes], -1
        )
        return [part.unflatten(-1, shape) for part, shape in zip(parts, shapes, strict=True)]


class ProductLinear(nn.Module):
    """One linear map for each irrep, of its copies and of products of pairs of different copies.

    Args:
        irreps: The irreps of the point group.
        copies: Number of input copies of each irrep.
        channels: Number of output copies of each irrep.
        n_targets: Number of irreps, counted from the first, that are returned; None returns all.
    """

    def __init__(
        self,
        irreps: Sequence[Representation],
        copies: Sequence[int],
        channels: int,
        n_targets: int | None = None,
    ):
        super().__init__()
        self.dims = [irrep.dim for irrep in irreps][:n_targets]
        self.channels = channels
        self.triples: list[tuple[int, int, int]] = []  # irreps a and b couple to c
        self.couplings = nn.ModuleList()
        widths = list(copies[:n_targets])
        for a, b in combinations_with_replacement(range(len(irreps)), 2):
            n_pairs = copies[a] * copies[b] if a != b else copies[a] * (copies[a] - 1) // 2
            for c in range(len(self.dims)):
                tensors = _couplings(irreps[a], irreps[b], irreps[c])
                if n_pairs and len(tensors):
                    self.triples.append((a, b, c))
                    self.couplings.append(Constant(tensors))
                    widths[c] += n_pairs * len(tensors)
        self.widths = tuple(widths)
        self.weight = nn.ParameterList()
        for width in widths:
            bound = math.sqrt(6 / (width + channels))  # Xavier
            self.weight.append(nn.Parameter(torch.empty(channels, width).uniform_(-bound, bound)))

    def forward(
        self, f: list[Float[Tensor, "n_sites batch _ _"]]
    ) -> list[Float[Tensor, "n_sites batch channels _"]]:
        """Copies and components of each irrep that is returned."""
        used = [v.shape[-2] for v in f]
        result = [
            torch.einsum("nbpd,op->nbod", v, weight[:, :n])
            for v, weight, n in zip(f, self.weight, used, strict=False)
        ]
        pair, product = None, f[0]
        for (a, b, c), coupling in zip(self.triples, self.couplings, strict=True):
            # The triples are sorted, so each product of a pair (a, b) is computed only once. Its
            # axes are [.., copy p × component i, copy q × component j].
            if pair != (a, b):
                pair, product = (
                    (a, b),
                    f[a].flatten(-2).unsqueeze(-1) @ f[b].flatten(-2).unsqueeze(-2),
                )
            tensors = coupling()
            n, m = f[a].shape[-2], f[b].shape[-2]
            start = used[c]
            used[c] += len(tensors) * (n * m if a != b else n * (n - 1) // 2)
            weight = _pair_weights(self.weight[c][:, start : used[c]], n, m, len(tensors), a == b)
            # Multiply the weights by the Clebsch–Gordan coefficients first, so that one GEMM acts
            # on the plain products. o: channel; p, q: copies; k: coupling; c, i, j: components of
            # the result and of the two factors.
            matrix = torch.einsum("opqk,kcij->ocpiqj", weight, tensors).flatten(2).flatten(0, 1)
            sums = nn.functional.linear(product.flatten(-2), matrix)
            result[c] = result[c] + sums.unflatten(-1, (self.channels, self.dims[c]))
        return result


@lru_cache(maxsize=512)
def _couplings(a: Representation, b: Representation, c: Representation) -> np.ndarray:
    """Clebsch–Gordan coefficients, cached because every layer needs the same ones."""
    return clebsch_gordan(a, b, c)


def _pair_weights(
    weight: Float[Tensor, "channels _"], n: int, m: int, n_couplings: int, same: bool
) -> Float[Tensor, "channels n m n_couplings"]:
    """The weights of all pairs of copies (p, q).

    Within one irrep only the pairs p < q have a weight; the others get 0.
    """
    if not same:
        return weight.view(len(weight), n, m, n_couplings)
    full = weight.new_zeros(len(weight), n, m, n_couplings)
    p, q = torch.triu_indices(n, m, 1, device=weight.device)
    full[:, p, q] = weight.view(len(weight), -1, n_couplings)
    return full
