"""Force fields: from a field to its energy and forces, exactly or by a trained network."""

from lattgnn.forcefield.exact import ExactForceField
from lattgnn.forcefield.learned import LearnedForceField

__all__ = ["ExactForceField", "LearnedForceField"]
