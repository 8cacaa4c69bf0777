"""How wrong the forces of a finished run are, from exact forces on patches of its frames."""

from lattgnn.audit.audit import audit_run
from lattgnn.audit.halo import patch_shape
from lattgnn.audit.intervals import Estimate, Stratum, ratio_estimate
from lattgnn.audit.patches import Patch, PatchShape
from lattgnn.audit.result import Audit, WindowErrors, WorstSite

__all__ = [
    "Audit",
    "Estimate",
    "Patch",
    "PatchShape",
    "Stratum",
    "WindowErrors",
    "WorstSite",
    "audit_run",
    "patch_shape",
    "ratio_estimate",
]
