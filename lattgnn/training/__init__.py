"""Training: the fit of a network to exact labels, with Lightning."""

from lattgnn.training.lit_module import LitForceField
from lattgnn.training.loggers import OfflineWandbLogger
from lattgnn.training.metrics import ForceErrors
from lattgnn.training.soap import ReproducibleSOAP

__all__ = ["ForceErrors", "LitForceField", "OfflineWandbLogger", "ReproducibleSOAP"]
