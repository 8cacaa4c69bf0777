"""The kernel polynomial method: electrons from Chebyshev moments, at a cost linear in sites."""

from lattgnn.solvers.chebyshev.solver import Chebyshev

__all__ = ["Chebyshev"]
