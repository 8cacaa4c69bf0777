"""Order, correlations and coarsening of classical fields: arrays in, small results out."""

from lattgnn.analysis.coarsening import (
    GrowthFit,
    domain_length,
    growth_exponent,
    structure_factor_length,
)
from lattgnn.analysis.correlations import (
    nearest_neighbor_correlation,
    pair_correlation,
    radial_correlation,
    relative_deviation,
    shortest_side,
)
from lattgnn.analysis.order_parameters import (
    checkerboard_order,
    dimerization,
    local_order,
    order_parameter,
    staggered_field,
)
from lattgnn.analysis.quench import Order, QuenchAnalysis, analyze_quench
from lattgnn.analysis.structure_factor import (
    checkerboard_wavevector,
    radial_average,
    structure_factor,
    wavevectors,
)

__all__ = [
    "GrowthFit",
    "Order",
    "QuenchAnalysis",
    "analyze_quench",
    "checkerboard_order",
    "checkerboard_wavevector",
    "dimerization",
    "domain_length",
    "growth_exponent",
    "local_order",
    "nearest_neighbor_correlation",
    "order_parameter",
    "pair_correlation",
    "radial_average",
    "radial_correlation",
    "relative_deviation",
    "shortest_side",
    "staggered_field",
    "structure_factor",
    "structure_factor_length",
    "wavevectors",
]
