"""The density matrix as a sum over the poles of the Fermi function."""

from collections.abc import Iterator
from itertools import groupby

import torch
from jaxtyping import Complex, Float, Int, Shaped
from torch import Tensor

from lattgnn.solvers.green.blocks import block_groups, bonds_outside, is_treelike
from lattgnn.solvers.green.dense import Blocks, SiteGreens, solve_blocks
from lattgnn.solvers.green.messages import bare_inverses, mean_messages, pass_messages
from lattgnn.solvers.green.schedule import Block, Pole
from lattgnn.solvers.green.site_graph import SiteGraph
from lattgnn.solvers.model_cache import model_cache
from lattgnn.solvers.solver import TightBinding
from lattgnn.solvers.subsystems import transposed_elements

# Numbers in the messages of poles that are computed together: 64 MiB of complex128.
_MAX_MESSAGES = 2**22


class DenseGreens:
    """The density matrix of a Hamiltonian, from blocks that are solved as dense matrices.

    It works for any graph, any number of states per site and complex elements, on the device.

    Args:
        hamiltonian: The model.
        device: The device that does the work.
        centers: Sites whose blocks are solved; None takes all. Only `diagonal` may be used if some
            are left out.
    """

    def __init__(
        self,
        hamiltonian: TightBinding,
        device: torch.device,
        centers: Int[Tensor, " n"] | None = None,
    ) -> None:
        self._centers = centers
        self._lattice = hamiltonian.lattice
        self._on_cpu = SiteGraph.of(hamiltonian)
        self._device = device
        self.graph = self._on_cpu.to(device)
        self.n_states = hamiltonian.n_states
        self._diagonal = torch.nonzero(hamiltonian.rows == hamiltonian.cols)[:, 0].to(device)
        self._transposed = transposed_elements(hamiltonian).to(device)
        self.is_treelike = is_treelike(self._lattice, self._on_cpu)
        self._blocks: dict[Block, Blocks] = {}

    def density(
        self, elements: Shaped[Tensor, " nnz"], mu: float, schedule: tuple[Pole, ...]
    ) -> Shaped[Tensor, " nnz"]:
        """The elements ρ[cols, rows] at the pattern of H.

        Args:
            elements: The elements of H in one field.
            mu: Chemical potential.
            schedule: The poles, their blocks and rounds.
        """
        graph = self.graph
        own, hopping = graph.matrices(elements)
        sites = 0.5 * torch.eye(graph.n_orbitals, dtype=own.dtype, device=own.device)
        sites, bonds = sites.expand_as(own), torch.zeros_like(hopping)
        for poles in self._together(schedule):
            weights = own.new_tensor([pole.weight for pole in poles])
            greens = self._greens(own, hopping, mu, poles)
            sites = sites + _weighted(weights, greens.sites, greens.sites)
            bonds = bonds + _weighted(weights, greens.bonds, greens.back)
        # Each bond is known from the blocks of both of its ends.
        bonds = (bonds + bonds[graph.reverse].mH) / 2
        return graph.density_elements(sites, bonds)

    def energy(
        self, elements: Shaped[Tensor, " nnz"], mu: float, schedule: tuple[Pole, ...]
    ) -> Float[Tensor, ""]:
        """Im Σ_p weight_p Tr G(i frequency_p + μ), the part of Ω that depends on G.

        Args:
            elements: The elements of H in one field.
            mu: Chemical potential.
            schedule: The poles of the energy, their blocks and rounds.
        """
        own, hopping = self.graph.matrices(elements)
        total = own.real.new_zeros(())
        for poles in self._together(schedule):
            greens = self._greens(own, hopping, mu, poles)
            traces = greens.sites.diagonal(dim1=-2, dim2=-1).sum((-2, -1)).imag
            for pole, trace in zip(poles, traces, strict=True):
                total = total + pole.weight * trace
        return total

    def energy_derivative(
        self, elements: Shaped[Tensor, " nnz"], mu: float, schedule: tuple[Pole, ...]
    ) -> Shaped[Tensor, " nnz"]:
        """∂Ω/∂H[rows, cols], which has the place of ρ[cols, rows] in the force; by autograd.

        Args:
            elements: The elements of H in one field.
            mu: Chemical potential.
            schedule: The poles of the energy, their blocks and rounds.
        """
        with torch.enable_grad():
            leaf = elements.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self.energy(leaf, mu, schedule), leaf)
        # Ω = ½ Tr H − energy + const. For a complex element the gradient of torch is the conjugate
        # of the derivative.
        derivative = -gradient.conj().resolve_conj()
        derivative[self._diagonal] += 0.5
        # H is Hermitian, so only the Hermitian part matters.
        return (derivative + derivative[self._transposed].conj()) / 2

    def diagonal(
        self, elements: Shaped[Tensor, " nnz"], mu: float, pole: Pole
    ) -> Complex[Tensor, "n_sites o"]:
        """The diagonal elements of G at a pole, those of the centers."""
        own, hopping = self.graph.matrices(elements)
        return self._greens(own, hopping, mu, (pole,)).sites[0].diagonal(dim1=-2, dim2=-1)

    def block_sizes(self, block: Block) -> tuple[int, ...]:
        """The numbers of sites of the blocks, one for each shape that occurs."""
        return tuple(group.sites.shape[1] for group in self._blocks_of(block).groups)

    def electrons(self, density: Shaped[Tensor, " nnz"]) -> Float[Tensor, ""]:
        """The trace of a matrix with the pattern of H, such as the number of electrons of ρ."""
        return density[self._diagonal].real.sum()

    def _greens(
        self,
        own: Shaped[Tensor, "n_sites o o"],
        hopping: Shaped[Tensor, "n_bonds o o"],
        mu: float,
        poles: tuple[Pole, ...],
    ) -> SiteGreens:
        """G at poles that share block and rounds."""
        frequencies = torch.tensor(
            [pole.frequency for pole in poles], dtype=torch.float64, device=self._device
        )
        bare, block = bare_inverses(own, frequencies, mu), poles[0].block
        if block.kind == "mean":
            messages = mean_messages(self.graph, bare, hopping, frequencies)
        else:
            messages = pass_messages(self.graph, bare, hopping, poles[0].rounds)
        return solve_blocks(self.graph, self._blocks_of(block), messages, hopping)

    def _together(self, schedule: tuple[Pole, ...]) -> Iterator[tuple[Pole, ...]]:
        """The poles in groups that share block and rounds, and whose messages fit into memory."""
        n_messages = self.graph.n_orbitals**2 * max(self.graph.n_bonds, 1)
        most = max(_MAX_MESSAGES // n_messages, 1)
        for _, group in groupby(schedule, lambda pole: (pole.block, pole.rounds)):
            poles = tuple(group)
            for start in range(0, len(poles), most):
                yield poles[start : start + most]

    def _blocks_of(self, block: Block) -> Blocks:
        if block not in self._blocks:
            # The site alone is the block that goes with the constant self-energy "mean".
            shape = Block("ring", 0) if block.kind == "mean" else block
            groups = block_groups(self._lattice, self._on_cpu, shape)
            if self._centers is not None:
                groups = tuple(group.around(self._centers) for group in groups)
            outside = torch.nonzero(bonds_outside(self._on_cpu, groups))[:, 0]
            moved = tuple(group.to(self._device) for group in groups)
            self._blocks[block] = Blocks(moved, outside.to(self._device))
        return self._blocks[block]


def _weighted(
    weights: Shaped[Tensor, " n_poles"], forth: Tensor, back: Tensor
) -> Shaped[Tensor, "n o o"]:
    """Σ_p weight_p · ½ (G_ij + G_ji†), the Hermitian part; real if H is real."""
    hermitian = (forth + back.mH) / 2
    if not weights.is_complex():
        hermitian = hermitian.real
    total = torch.zeros_like(hermitian[0])
    for weight, part in zip(weights, hermitian, strict=True):
        total = total + weight * part
    return total


# The graph and the blocks depend on the pattern of H alone, so every step of a trajectory uses the
# same ones.
@model_cache(4)
def dense_greens(hamiltonian: TightBinding, device: torch.device) -> DenseGreens:
    """The same `DenseGreens` for the same arguments."""
    return DenseGreens(hamiltonian, device)
