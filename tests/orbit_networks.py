"""Orbit networks of any field for tests, without a Hamiltonian that says what the field is."""

from dataclasses import fields

from lattgnn.nn import HiddenChannels, OrbitNetwork
from lattgnn.symmetry import FieldType, field_representation

HIDDEN = [field.name for field in fields(HiddenChannels)]


def field_type(lattice, text="trivial", bound=None, is_spin=False) -> FieldType:
    """A field that transforms as the text says; only the trivial one has no axis of components."""
    n = 0 if text in ("trivial", "B1") else field_representation(lattice.cell, text).n_components
    return FieldType(text, n, is_spin, bound)


def orbit_network(
    lattice, bound=None, *, field="trivial", is_spin=False, **options
) -> OrbitNetwork:
    """A network whose options are those of `OrbitNetwork` and `HiddenChannels` side by side."""
    hidden = HiddenChannels(**{name: options.pop(name) for name in HIDDEN if name in options})
    kind = field_type(lattice, field, bound, is_spin)
    return OrbitNetwork(lattice, kind, hidden=hidden, **options)
