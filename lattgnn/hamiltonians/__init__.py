"""How a classical field enters the electrons: one model, one file."""

from lattgnn.hamiltonians.base import Hamiltonian
from lattgnn.hamiltonians.holstein import Holstein

__all__ = ["Hamiltonian", "Holstein"]
