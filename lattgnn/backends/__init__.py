"""Backends: trained networks in production, as compiled code, torch operations or tiles.

`selection` chooses one and checks it. `stencil` and `stencil_form` write a network as matrices on
bonds, which `native_forces` (compiled) and `grid_forces` (torch) evaluate. `tiled_forces` runs any
other network, and `export` writes programs that run without lattgnn.
"""

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
