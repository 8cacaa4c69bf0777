"""Solvers: from a Hamiltonian to the density matrix of its electrons, exactly or at linear cost."""

from lattgnn.solvers.chebyshev.solver import Chebyshev
from lattgnn.solvers.domain import DomainDiagonalization
from lattgnn.solvers.ed import ExactDiagonalization
from lattgnn.solvers.error_estimate import ErrorEstimate, estimate_error
from lattgnn.solvers.fermi import chemical_potential, fermi_function, grand_potential
from lattgnn.solvers.filling import find_mu
from lattgnn.solvers.green.green_function import GreenFunction
from lattgnn.solvers.no_electrons import NoElectrons
from lattgnn.solvers.repeated import RepeatedDiagonalization
from lattgnn.solvers.solver import ElectronicState, Solver, TightBinding

__all__ = [
    "Chebyshev",
    "DomainDiagonalization",
    "ElectronicState",
    "ErrorEstimate",
    "ExactDiagonalization",
    "GreenFunction",
    "NoElectrons",
    "RepeatedDiagonalization",
    "Solver",
    "TightBinding",
    "chemical_potential",
    "estimate_error",
    "fermi_function",
    "find_mu",
    "grand_potential",
]
