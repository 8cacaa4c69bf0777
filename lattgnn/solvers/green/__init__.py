"""Green's functions by message passing, at a cost linear in the number of sites."""

from lattgnn.solvers.green.schedule import Block, Pole

__all__ = ["Block", "Pole"]
