"""From a Hamiltonian matrix to a density matrix."""

from lattgnn.solvers.ed import ElectronicState, ExactDiagonalization
from lattgnn.solvers.fermi import chemical_potential, fermi_function, grand_potential

__all__ = [
    "ElectronicState",
    "ExactDiagonalization",
    "chemical_potential",
    "fermi_function",
    "grand_potential",
]
