"""Checkpoints: weights with a header of plain data, read without running any code in them."""

from lattgnn.checkpoint.checks import (
    check_field_type,
    check_hamiltonian,
    check_lattice,
    check_network,
)
from lattgnn.checkpoint.contents import load_checkpoint, restore_weights
from lattgnn.checkpoint.header import (
    FORMAT_VERSION,
    checkpoint_header,
    field_statistics,
    read_header,
)
from lattgnn.checkpoint.model import load_model, load_weights, save_model

__all__ = [
    "FORMAT_VERSION",
    "check_field_type",
    "check_hamiltonian",
    "check_lattice",
    "check_network",
    "checkpoint_header",
    "field_statistics",
    "load_checkpoint",
    "load_model",
    "load_weights",
    "read_header",
    "restore_weights",
    "save_model",
]
