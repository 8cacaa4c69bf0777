"""Trained networks as they run in production: weights written out, blocked, compiled."""

from lattgnn.backends.grid_forces import GridForces
from lattgnn.backends.linear_classical import linear_classical
from lattgnn.backends.native_forces import NativeForces
from lattgnn.backends.selection import Engine
from lattgnn.backends.stencil import Kernel, StencilLayer, StencilNetwork, stencil_network
from lattgnn.backends.tiled_forces import TiledForces

__all__ = [
    "Engine",
    "GridForces",
    "Kernel",
    "NativeForces",
    "StencilLayer",
    "StencilNetwork",
    "TiledForces",
    "linear_classical",
    "stencil_network",
]
