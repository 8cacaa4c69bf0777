"""One lattice over many processes: blocks of cells, halos, and one trajectory of all."""

from lattgnn.dynamics.domains.domain import Domain, Piece, cut
from lattgnn.dynamics.domains.force_field import DomainForceField, PatchForces, domain_of
from lattgnn.dynamics.domains.halo import HaloExchange
from lattgnn.dynamics.domains.processes import LostProcessError, Processes, join, n_processes
from lattgnn.dynamics.domains.run import check_local, simulate
from lattgnn.dynamics.domains.session import session

__all__ = [
    "Domain",
    "DomainForceField",
    "HaloExchange",
    "LostProcessError",
    "PatchForces",
    "Piece",
    "Processes",
    "check_local",
    "cut",
    "domain_of",
    "join",
    "n_processes",
    "session",
    "simulate",
]
