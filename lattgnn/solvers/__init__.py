"""From a Hamiltonian matrix to a density matrix."""

from lattgnn.solvers.domain import DomainDiagonalization
from lattgnn.solvers.ed import ExactDiagonalization
from lattgnn.solvers.fermi import chemical_potential, fermi_function, grand_potential
from lattgnn.solvers.filling import find_mu
from lattgnn.solvers.green import GreenFunction
from lattgnn.solvers.solver import ElectronicState, Solver, TightBinding

__all__ = [
    "DomainDiagonalization",
    "ElectronicState",
    "ExactDiagonalization",
    "GreenFunction",
    "Solver",
    "TightBinding",
    "chemical_potential",
    "fermi_function",
    "find_mu",
    "grand_potential",
]
