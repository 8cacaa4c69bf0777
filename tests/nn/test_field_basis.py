"""Conversion of fields to blocks and back, and the fixed functions of the local field."""

import pytest
import torch

from lattgnn.graph import lattice_graph
from lattgnn.lattice import cubic, honeycomb, kagome, lieb, square, triangular
from lattgnn.nn import EVEN, ODD, FieldBasis, FieldComponents
from lattgnn.symmetry import field_representation


def graph_of(lattice):
    return lattice_graph(lattice, 1.0, torch.float64)


@pytest.mark.parametrize("text", ["trivial", "vector", "axial", "2 trivial + vector"])
@pytest.mark.parametrize(
    "lattice",
    [square(4), honeycomb(3), kagome(3), lieb(3), cubic(3)],
    ids=lambda lattice: lattice.name,
)
def test_join_undoes_split(lattice, text, rng):
    representation = field_representation(lattice.cell, text)
    components = FieldComponents(representation)
    field = torch.randn(
        2, lattice.n_sites, representation.n_components, generator=rng, dtype=torch.float64
    )
    blocks = components.split(field, graph_of(lattice))
    torch.testing.assert_close(
        components.join(blocks, graph_of(lattice)), field, rtol=0, atol=1e-14
    )


def test_rows_are_sites_then_components():
    """B1 + A1 on the square lattice gives two blocks of one component, in the order of the text."""
    lattice = square(4)
    field = torch.arange(32.0, dtype=torch.float64).view(1, 16, 2)
    first, second = FieldComponents(field_representation(lattice.cell, "B1 + A1")).split(
        field, graph_of(lattice)
    )
    torch.testing.assert_close(first[:, 0, 0], field[0, :, 0])
    torch.testing.assert_close(second[:, 0, 0], field[0, :, 1])
    (vector,) = FieldComponents(field_representation(lattice.cell, "vector")).split(
        field, graph_of(lattice)
    )
    torch.testing.assert_close(vector[:, 0, 0], field.flatten())


@pytest.mark.parametrize("text", ["trivial", "vector", "B1 + A1"])
def test_odd_functions_are_odd_and_even_ones_even(text, rng):
    lattice = square(4)
    representation = field_representation(lattice.cell, text)
    basis = FieldBasis(lattice, representation, odd=True).double()
    field = torch.randn(1, 16, representation.n_components, generator=rng, dtype=torch.float64)
    plus, minus = basis(field, graph_of(lattice)), basis(-field, graph_of(lattice))
    assert {block.internal for block in basis.outputs} == {EVEN, ODD}
    for block, p, m in zip(basis.outputs, plus, minus, strict=True):
        torch.testing.assert_close(m, -p if block.internal == ODD else p, rtol=0, atol=1e-15)


def test_functions_of_a_vector_see_its_length_and_direction_only(rng):
    lattice = triangular(4)
    basis = FieldBasis(lattice, field_representation(lattice.cell, "vector")).double()
    field = torch.randn(1, 16, 2, generator=rng, dtype=torch.float64)
    angle = torch.tensor(0.7, dtype=torch.float64)
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    odd, even = basis(field, graph_of(lattice))
    turned_odd, turned_even = basis(field @ rotation.T, graph_of(lattice))
    torch.testing.assert_close(turned_even, even)
    expected = torch.einsum("cd,idk->ick", rotation, odd.view(16, 2, -1)).reshape(odd.shape)
    torch.testing.assert_close(turned_odd, expected)
