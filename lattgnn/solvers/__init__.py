"""From a Hamiltonian matrix to a density matrix."""

from lattgnn.solvers.base import ElectronicState, Solver, TightBinding
from lattgnn.solvers.domain import DomainDiagonalization
from lattgnn.solvers.ed import ExactDiagonalization
from lattgnn.solvers.fermi import chemical_potential, fermi_function, grand_potential

__all__ = [
    "DomainDiagonalization",
    "ElectronicState",
    "ExactDiagonalization",
    "Solver",
    "TightBinding",
    "chemical_potential",
    "fermi_function",
    "grand_potential",
]
