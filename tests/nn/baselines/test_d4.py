"""The decomposition of a patch into irreps of D4: how often each occurs, orthonormal, and how it transforms."""

import pytest
import torch

from lattgnn.lattice import square
from lattgnn.nn.baselines.d4 import D4Decomposition, square_patch
from lattgnn.nn.baselines.irreps_fcnn import products

# What turning the plane by 90°, x → y and y → −x, and exchanging x and y do to A1, A2, B1, B2.
SIGNS = {"turn": (1, 1, -1, -1), "mirror": (1, -1, -1, 1)}
DOUBLETS = {"turn": ((0, -1), (1, 0)), "mirror": ((0, 1), (1, 0))}


def moved_patch(sites, kind):
    """The permutation of a patch by one operation, and the operation's matrix."""
    matrix = torch.tensor(DOUBLETS[kind], dtype=torch.float64)
    offsets = torch.tensor(sites.offsets)
    images = offsets @ matrix.long().T
    permutation = (images[:, None] == offsets).all(-1).long().argmax(1)
    return permutation, matrix


def assert_transforms(before, after, kind):
    for channels, moved, sign in zip(before[:4], after[:4], SIGNS[kind], strict=True):
        torch.testing.assert_close(moved, sign * channels, rtol=0, atol=1e-12)
    turned = torch.einsum("ij,jnbc->inbc", torch.tensor(DOUBLETS[kind]).double(), torch.stack(before[4:]))
    torch.testing.assert_close(torch.stack(after[4:]), turned, rtol=0, atol=1e-12)


def test_nine_shells_hold_the_published_irreps():
    decomposition = D4Decomposition(square_patch(square(8), 13**0.5)).double()
    assert decomposition.copies == (9, 3, 6, 5, 11)
    projection = decomposition.projection
    torch.testing.assert_close(projection @ projection.T, torch.eye(45).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", SIGNS)
def test_irreps_and_their_products_transform_as_they_say(kind, rng):
    sites = square_patch(square(8), 13**0.5)
    decomposition = D4Decomposition(sites).double()
    permutation, _ = moved_patch(sites, kind)
    values = torch.randn(1, 3, 45, dtype=torch.float64, generator=rng)
    moved = torch.empty_like(values).index_copy(-1, permutation, values)
    before, after = decomposition(values), decomposition(moved)
    assert_transforms(before, after, kind)
    assert_transforms(products(before), products(after), kind)
    with pytest.raises(AssertionError):  # the check can fail
        assert_transforms(before._replace(x=before.y, y=before.x), after, kind)
