"""Symmetry-exact graph networks as force fields for lattice electron dynamics."""

__version__ = "0.1.0"
