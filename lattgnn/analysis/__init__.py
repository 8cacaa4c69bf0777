"""Order, correlations and domain growth of classical fields, and magnetic order of spins.

Arrays in, arrays and small results out.
"""

from lattgnn.analysis.alignment import AlignmentShares, alignment_shares, spin_alignment
from lattgnn.analysis.coarsening import (
    domain_length,
    structure_factor_length,
)
from lattgnn.analysis.correlations import (
    nearest_neighbor_correlation,
    pair_correlation,
    radial_correlation,
    relative_deviation,
    shortest_side,
)
from lattgnn.analysis.cuts import Cut, ZonePath, structure_factor_cut, zone_path
from lattgnn.analysis.growth import GrowthFit, LocalSlope, growth_exponent, local_slope
from lattgnn.analysis.growth_law import GrowthLaw, find_growth_law
from lattgnn.analysis.multi_q import MultiQ, multi_q
from lattgnn.analysis.order import Order
from lattgnn.analysis.order_parameters import (
    checkerboard_order,
    dimerization,
    local_order,
    order_parameter,
    staggered_field,
)
from lattgnn.analysis.order_search import candidate_orders, find_order
from lattgnn.analysis.quench import QuenchAnalysis, analyze_quench
from lattgnn.analysis.skyrmions import Skyrmions, find_skyrmions
from lattgnn.analysis.spin_analysis import SpinAnalysis, analyze_spins
from lattgnn.analysis.spins import (
    charge_density,
    chirality_length,
    scalar_chirality,
    spin_structure_factor,
    topological_charge,
    vector_chirality,
    vorticity,
)
from lattgnn.analysis.structure_factor import (
    checkerboard_wavevector,
    radial_average,
    structure_factor,
    wavevectors,
)
from lattgnn.analysis.thermal import Thermalization, kinetic_temperature, thermalization
from lattgnn.analysis.triangles import Triangles, triangles

__all__ = [
    "Cut",
    "GrowthFit",
    "GrowthLaw",
    "LocalSlope",
    "Order",
    "QuenchAnalysis",
    "Thermalization",
    "ZonePath",
    "analyze_quench",
    "candidate_orders",
    "checkerboard_order",
    "checkerboard_wavevector",
    "dimerization",
    "domain_length",
    "find_growth_law",
    "find_order",
    "growth_exponent",
    "kinetic_temperature",
    "local_order",
    "local_slope",
    "nearest_neighbor_correlation",
    "order_parameter",
    "pair_correlation",
    "radial_average",
    "radial_correlation",
    "relative_deviation",
    "shortest_side",
    "staggered_field",
    "structure_factor",
    "structure_factor_cut",
    "structure_factor_length",
    "thermalization",
    "wavevectors",
    "zone_path",
    "MultiQ",
    "multi_q",
    "Skyrmions",
    "find_skyrmions",
    "AlignmentShares",
    "alignment_shares",
    "spin_alignment",
    "SpinAnalysis",
    "analyze_spins",
    "charge_density",
    "chirality_length",
    "scalar_chirality",
    "spin_structure_factor",
    "topological_charge",
    "vector_chirality",
    "vorticity",
    "Triangles",
    "triangles",
]
