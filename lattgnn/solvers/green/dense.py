"""Green's functions of sites and bonds from dense blocks, on any graph, in PyTorch."""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Int, Shaped
from torch import Tensor

from lattgnn.solvers.green.blocks import BlockGroup
from lattgnn.solvers.green.messages import Messages, sandwich
from lattgnn.solvers.green.site_graph import SiteGraph

# Matrix elements of blocks that are solved together, complex128: 8 MiB on a CPU, near its caches;
# 1 GiB on a GPU.
_MAX_ELEMENTS_CPU, _MAX_ELEMENTS_GPU = 2**19, 2**26


@dataclass(frozen=True, eq=False)
class SiteGreens:
    """The parts of the Green's function G that the density matrix needs.

    Attributes:
        sites: G_ii of each site, from its own block.
        bonds: G_ij of each bond (i, j), from the block of i.
        back: G_ji of each bond (i, j), also from the block of i.
    """

    sites: Complex[Tensor, "n_poles n_sites o o"]
    bonds: Complex[Tensor, "n_poles n_bonds o o"]
    back: Complex[Tensor, "n_poles n_bonds o o"]


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of one shape around all sites.

    Attributes:
        groups: The blocks, by shape.
        outside: Numbers of the bonds that lead out of the block of their row site.
    """

    groups: tuple[BlockGroup, ...]
    outside: Int[Tensor, " n_outside"]


def solve_blocks(
    graph: SiteGraph, blocks: Blocks, messages: Messages, hopping: Shaped[Tensor, "n_bonds o o"]
) -> SiteGreens:
    """G around each site: its block is solved exactly inside the messages from outside.

    Args:
        graph: The graph of H.
        blocks: The block of each site.
        messages: Messages at some poles.
        hopping: H_ij of each bond.
    """
    inverses = messages.inverses
    sites = torch.empty_like(inverses)
    bonds, back = (torch.empty_like(messages.cavity) for _ in range(2))
    is_cpu = inverses.device.type == "cpu"
    for group in blocks.groups:
        n_states = group.sites.shape[1] * graph.n_orbitals
        n_elements = len(inverses) * n_states**2
        most = _MAX_ELEMENTS_CPU if is_cpu else _MAX_ELEMENTS_GPU
        for some in group.sites.split(max(most // n_elements, 1)):
            column, row = _central_column_and_row(graph, group, some, messages, hopping)
            centers, ends = some[:, :1], group.ends
            sites[:, some[:, 0]] = column[:, :, 0]
            numbers = graph.bonds_between(centers, some[:, ends])
            bonds[:, numbers] = row[:, :, ends]
            back[:, numbers] = column[:, :, ends]
    # A neighbor outside of the block is reached through its message: G_ij = G_ii H_ij g_ij.
    out = blocks.outside
    own, cavity = sites[:, graph.rows[out]], messages.cavity[:, out]
    bonds[:, out] = sandwich(own, hopping[out].to(own.dtype), cavity)
    back[:, out] = sandwich(cavity, hopping[graph.reverse[out]].to(own.dtype), own)
    return SiteGreens(sites, bonds, back)


def _central_column_and_row(
    graph: SiteGraph,
    group: BlockGroup,
    blocks: Shaped[Tensor, "n n_in_block"],
    messages: Messages,
    hopping: Shaped[Tensor, "n_bonds o o"],
) -> tuple[
    Complex[Tensor, "n_poles n n_in_block o o"], Complex[Tensor, "n_poles n n_in_block o o"]
]:
    """The column and the row of the center, [..., b, :, :] = G_bc and G_cb, of some blocks."""
    matrices = _block_matrices(graph, group, blocks, messages, hopping)
    n_poles, n, o = len(matrices), len(blocks), graph.n_orbitals
    center = torch.eye(matrices.shape[-1], o, dtype=matrices.dtype, device=matrices.device)
    if hopping.is_complex():
        factors, pivots = torch.linalg.lu_factor(matrices)
        column = torch.linalg.lu_solve(factors, pivots, center.expand(*matrices.shape[:-1], o))
        row = torch.linalg.lu_solve(
            factors, pivots, center.mT.expand(n_poles, n, o, -1), left=False
        )
        row = row.reshape(n_poles, n, o, -1, o).transpose(2, 3)
        return column.reshape(n_poles, n, -1, o, o), row
    # If H is real, G is symmetric.
    column = torch.linalg.solve(matrices, center.expand(*matrices.shape[:-1], o))
    column = column.reshape(n_poles, n, -1, o, o)
    return column, column.mT


def _block_matrices(
    graph: SiteGraph,
    group: BlockGroup,
    blocks: Shaped[Tensor, "n n_in_block"],
    messages: Messages,
    hopping: Shaped[Tensor, "n_bonds o o"],
) -> Complex[Tensor, "n_poles n n_states n_states"]:
    """Matrices i w + μ − H of some blocks, with the self-energies from outside of each block."""
    n_poles, o = len(messages.inverses), graph.n_orbitals
    n, n_sites = blocks.shape
    numbers = graph.bonds_between(blocks[:, group.rows], blocks[:, group.cols])
    matrices = messages.inverses.new_zeros(n_poles, n, n_sites, n_sites, o, o)
    flat = matrices.flatten(2, 3)
    flat[:, :, group.rows * n_sites + group.cols] = -hopping[numbers].to(matrices.dtype)
    # The messages from inside the block are taken back.
    inside = messages.self_energies[:, numbers]
    padded = torch.cat([inside, inside.new_zeros(n_poles, n, 1, o, o)], dim=2)
    own = messages.inverses[:, blocks]
    for slot in group.slots.unbind(1):
        own = own + padded[:, :, slot]
    diagonal = torch.arange(n_sites, device=blocks.device)
    flat[:, :, diagonal * (n_sites + 1)] = own
    return matrices.transpose(3, 4).reshape(n_poles, n, n_sites * o, n_sites * o)
