"""The kernel polynomial method: electrons from Chebyshev moments, at a cost linear in sites."""
