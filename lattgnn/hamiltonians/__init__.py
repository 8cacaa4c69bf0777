"""Models: how a classical field enters the Hamiltonian of the electrons, one model per file."""

from lattgnn.hamiltonians.classical_magnet import ClassicalMagnet
from lattgnn.hamiltonians.double_exchange import DoubleExchange
from lattgnn.hamiltonians.hamiltonian import Hamiltonian
from lattgnn.hamiltonians.holstein import Holstein
from lattgnn.hamiltonians.jahn_teller import JahnTeller
from lattgnn.hamiltonians.peierls import Peierls
from lattgnn.hamiltonians.spin_terms import SpinTerms

__all__ = [
    "ClassicalMagnet",
    "DoubleExchange",
    "Hamiltonian",
    "Holstein",
    "JahnTeller",
    "Peierls",
    "SpinTerms",
]
