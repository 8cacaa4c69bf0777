"""Checks of a model before its labels are made: what can be wrong without an error message."""

from lattgnn.checks.model import check_model, require_valid
from lattgnn.checks.particle_hole import check_particle_hole
from lattgnn.checks.result import CheckResult
from lattgnn.checks.symmetry import check_symmetry

__all__ = [
    "CheckResult",
    "check_model",
    "check_particle_hole",
    "check_symmetry",
    "require_valid",
]
