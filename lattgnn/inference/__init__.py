"""Trained networks as they run in production: weights written out, blocked, compiled."""

from lattgnn.inference.classical import linear_classical
from lattgnn.inference.engine import Engine
from lattgnn.inference.grid_forces import GridForces
from lattgnn.inference.layers import Kernel, StencilLayer, StencilNetwork, stencil_network
from lattgnn.inference.native import NativeForces
from lattgnn.inference.tiles import TiledForces

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
