"""Forces on a patch of a lattice: what a run over many processes needs of a force field.

A force field can be cut into patches if the force on a site depends on the field in its
neighborhood only. Networks state their receptive field, `GreenFunction` and `DomainDiagonalization`
their reach, and the reach of the classical forces is found by trial. Whatever depends on the
field of the whole lattice is refused: exact diagonalization, and a chemical potential that keeps
the filling.
"""

from lattgnn.patch_forces.local_forces import LocalForces, domain_force_field
from lattgnn.patch_forces.reach import classical_reach, reach

__all__ = ["LocalForces", "classical_reach", "domain_force_field", "reach"]
