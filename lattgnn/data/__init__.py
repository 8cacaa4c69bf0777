"""Labels: exact random configurations and quenches on disk, and the batches that training sees."""

from typing import TYPE_CHECKING, Any

from lattgnn.data.dataset import WINDOW_NAMES, WINDOWS, LatticeDataset, window_index
from lattgnn.data.external import PublishedSnapshots
from lattgnn.data.generation import dataset_config, generate
from lattgnn.data.quenches import Quench, SpinQuench
from lattgnn.data.random_fields import RandomFields, RandomSpins
from lattgnn.data.sources import LabeledFields, Source
from lattgnn.data.spin_sources import PerturbedOrders, ThermalSpins

if TYPE_CHECKING:
    from lattgnn.data.datamodule import LatticeDataModule

__all__ = [
    "WINDOWS",
    "WINDOW_NAMES",
    "LabeledFields",
    "LatticeDataModule",
    "LatticeDataset",
    "PerturbedOrders",
    "PublishedSnapshots",
    "Quench",
    "RandomFields",
    "RandomSpins",
    "Source",
    "SpinQuench",
    "ThermalSpins",
    "dataset_config",
    "generate",
    "window_index",
]


def __getattr__(name: str) -> Any:
    # Lazy: the processes that generate labels import this package and need no Lightning.
    if name == "LatticeDataModule":
        from lattgnn.data.datamodule import LatticeDataModule

        return LatticeDataModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
