"""Symmetry-exact graph networks as force fields for lattice electron dynamics.

The packages in the order of the work: `lattice`, `symmetry` and `graph` describe the crystal,
`hamiltonians` and `solvers` the electrons, `nn` and `backends` the networks. `forcefield` gives
forces, exact or learned. `dynamics` integrates them, `data` and `training` make learned ones, and
`analysis`, `audit` and `report` look at the result. `cli` is the command line.
"""

__version__ = "0.1.0"
