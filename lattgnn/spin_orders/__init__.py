"""Perfect magnetic orders: spirals, stripes, tetrahedral and other multiple-Q states, skyrmions.

An order is a small object that gives the spins of any lattice on which it fits. Wavevectors are
fractions of the reciprocal primitive vectors b_k, with a_j·b_k = 2π δ_jk, so that [1/2, 0] is Q =
b_1/2 and the phase at r = Σ_k x_k a_k is Q·r = 2π Σ_k q_k x_k. A ferromagnet is a `Spiral` with
wavevector zero.
"""

from lattgnn.spin_orders.multiple_q import (
    PlaneWaves,
    SkyrmionCrystal,
    double_q,
    tetrahedral,
    triple_q,
)
from lattgnn.spin_orders.order import SpinOrder
from lattgnn.spin_orders.spiral import Spiral, stripes

__all__ = [
    "PlaneWaves",
    "SkyrmionCrystal",
    "SpinOrder",
    "Spiral",
    "double_q",
    "stripes",
    "tetrahedral",
    "triple_q",
]
