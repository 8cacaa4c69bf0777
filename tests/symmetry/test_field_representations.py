"""Fields with components: operations compose, and equal representations compare equal."""

import numpy as np
import pytest

from lattgnn.lattice import cubic, honeycomb, kagome, lieb, space_group, square, triangular
from lattgnn.symmetry import field_representation

LATTICES = [square(4), triangular(4), honeycomb(3), kagome(3), lieb(3), cubic(3)]


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)
def test_vectors_turn_with_the_operation_on_every_site(lattice):
    """Cartesian components: one frame for all sites, whatever the local frames are."""
    representation = field_representation(lattice.cell, "vector")
    for g in space_group(lattice.cell).operations:
        for matrix in representation.site_matrices(g):
            np.testing.assert_allclose(matrix, g.cartesian, rtol=0, atol=1e-12)


@pytest.mark.parametrize("text", ["axial", "pseudoscalar", "vector + trivial", "regular"])
@pytest.mark.parametrize(
    "lattice", [square(4), honeycomb(3), kagome(3)], ids=lambda lattice: lattice.name
)
def test_the_action_of_operations_composes(lattice, text):
    """ρ(g h; s) = ρ(g; h s) ρ(h; s), the operations matched by their integer rotations."""
    representation = field_representation(lattice.cell, text)
    operations = space_group(lattice.cell).operations
    by_rotation = {(g.rotation, g.translation): g for g in operations}
    for g in operations:
        for h in operations:
            rotation = np.array(g.rotation) @ np.array(h.rotation)
            matches = [k for (r, _), k in by_rotation.items() if (np.array(r) == rotation).all()]
            (gh,) = matches
            after, before = representation.site_matrices(g), representation.site_matrices(h)
            expected = np.stack(
                [after[h.sublattices[s]] @ before[s] for s in range(lattice.n_sublattices)]
            )
            np.testing.assert_allclose(
                representation.site_matrices(gh), expected, rtol=0, atol=1e-12
            )


def test_equal_in_other_words():
    assert field_representation(square(4).cell, "vector") == field_representation(
        square(8).cell, "E"
    )
    assert field_representation(square(4).cell, "B1 + A1") != field_representation(
        square(4).cell, "A1 + B1"
    )
    # On kagome every site has its own local frame: B1 + B2 there is not a Cartesian vector.
    local, global_ = (field_representation(kagome(4).cell, text) for text in ("B1 + B2", "vector"))
    assert local.n_components == global_.n_components == 2 and local != global_


def test_one_text_per_class_of_sites():
    representation = field_representation(lieb(3).cell, ["E", "vector"])
    assert representation.n_components == 2 and representation.name == "E; vector"
    with pytest.raises(ValueError, match="one for each of the 2 classes of equivalent sites, got"):
        field_representation(lieb(3).cell, ["vector"] * 3)
    with pytest.raises(
        ValueError, match=r"equally many components on all sites, got E \(2\), A1 \(1\)"
    ):
        field_representation(lieb(3).cell, ["E", "A1"]).to_local()


def test_scalars():
    assert field_representation(kagome(3).cell, "trivial").is_scalar
    assert not field_representation(square(4).cell, "B1").is_scalar
