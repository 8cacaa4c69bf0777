"""The part that one block has in the energy of a learned force field."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lattgnn.backends import NativeForces, TiledForces, linear_classical, stencil_network
from lattgnn.dynamics.domains import Domain
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import Hamiltonian

#: Points of the integral along the line from zero to a field. It is exact for energies that are
#: polynomials of a degree up to 16.
_QUADRATURE = 8


class LearnedEnergy:
    """Energy of a block, by the compiled code of the forces or by the network's own code.

    Args:
        clean: Force field with a network that has an energy.
        model: Its model on the patch.
        domain: The domain.
    """

    def __init__(self, clean: LearnedForceField, model: Hamiltonian, domain: Domain) -> None:
        self.model, self.domain = model, domain
        self.compiled = self.tiled = None
        lattice, net = domain.patch, clean.net
        self._mask = torch.zeros(*lattice.extent, lattice.n_sublattices, dtype=torch.bool)
        self._mask[domain.core] = True
        if clean.is_compiled:
            network, classical = stencil_network(net, lattice), linear_classical(model)
            assert network is not None
            self.has_classical = classical is not None
            self.compiled = NativeForces(network, lattice, classical or (), core=domain.core)
        else:
            self.has_classical = False
            self.tiled = TiledForces(net, lattice)

    def __call__(self, field: Tensor, seen: Tensor) -> Tensor:
        """Energy of the block, float64 [n_replicas].

        Args:
            field: The field on the patch.
            seen: The field as the electrons see it, which disorder shifts; else `field` itself.
        """
        shifted = seen is not field
        if self.compiled is not None and self.has_classical and not shifted:
            energy, _ = self.compiled(field.float().contiguous())
            assert energy is not None
            return energy
        energy = self._electronic(seen)
        if shifted:
            # The background contains no electrons, so it belongs to the field and is not shifted.
            background = self.model.background_energy
            energy = energy + self._part(background, field) - self._part(background, seen)
        return energy + self._part(self.model.classical_energy, field)

    def _electronic(self, seen: Tensor) -> Tensor:
        if self.compiled is not None:
            network = NativeForces(self.compiled.network, self.domain.patch, core=self.domain.core)
            energy, _ = network(seen.float().contiguous())
            assert energy is not None
            return energy
        assert self.tiled is not None
        weight = next(self.tiled.net.parameters())
        return self.tiled.energies(seen.to(weight), self._mask.flatten())

    def _part(self, energy_of: Callable[[Tensor], Tensor], field: Tensor) -> Tensor:
        """The part that the block has in a local energy.

        E(φ) − E(0) = −Σ_i ∫₀¹ F_i(s φ)·φ_i ds,    here with the sites of the block only
        """
        exact = field.double()
        mask = self._mask.flatten().to(field.device)
        nodes, weights = np.polynomial.legendre.leggauss(_QUADRATURE)
        total = exact.new_zeros(len(exact))
        for node, weight in zip(nodes, weights, strict=True):
            with torch.inference_mode(False), torch.enable_grad():
                leaf = ((0.5 + 0.5 * node) * exact).clone().requires_grad_()
                energy = energy_of(leaf).sum()
                gradient = torch.zeros_like(leaf)
                if energy.requires_grad:
                    (gradient,) = torch.autograd.grad(energy, leaf)
            products = (gradient * exact).reshape(len(exact), len(mask), -1).sum(-1)
            total += 0.5 * weight * (products * mask).sum(1)
        return total
