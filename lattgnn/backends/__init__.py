"""Backends: trained networks in production, as compiled code, torch operations or tiles."""

from lattgnn.backends.grid_forces import GridForces
from lattgnn.backends.linear_classical import linear_classical
from lattgnn.backends.native_forces import NativeForces
from lattgnn.backends.selection import Backend
from lattgnn.backends.stencil import Kernel, StencilLayer, StencilNetwork
from lattgnn.backends.stencil_form import stencil_network
from lattgnn.backends.tiled_forces import TiledForces

__all__ = [
    "Backend",
    "GridForces",
    "Kernel",
    "NativeForces",
    "StencilLayer",
    "StencilNetwork",
    "TiledForces",
    "linear_classical",
    "stencil_network",
]
