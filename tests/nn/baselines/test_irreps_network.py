"""A patch in irreps: how often each occurs, and how irreps and their products transform."""

import pytest
import torch

from lattgnn.lattice import square, triangular
from lattgnn.nn.baselines.irreps_network import PatchDecomposition, ProductLinear
from lattgnn.nn.baselines.site_patch import patch

CASES = [(square(8), 13**0.5), (triangular(8), 7**0.5)]


@pytest.fixture(params=CASES, ids=lambda case: case[0].name)
def case(request):
    return request.param


def symmetry_error(apply, irreps, case, rng):
    """Largest violation of f(gv) = ρ(g) f(v), over all operations and irreps."""
    sites = patch(*case)
    values = torch.randn(1, 2, len(sites), generator=rng, dtype=torch.float64)
    before, error = apply(values), 0.0
    for g, permutation in enumerate(torch.from_numpy(sites.permutations)):
        after = apply(torch.empty_like(values).index_copy(-1, permutation, values))
        for irrep, channels, moved in zip(irreps, before, after, strict=True):
            expected = channels @ torch.tensor(irrep.matrices[g]).T
            error = max(error, float((moved - expected).detach().abs().max()))
    return error


def test_nine_shells_of_the_square_lattice_hold_the_published_irreps():
    decomposition = PatchDecomposition(square(8), 13**0.5)
    names = [irrep.name for irrep in decomposition.irreps]
    assert dict(zip(names, decomposition.copies, strict=True)) == {
        "A1": 9,
        "A2": 3,
        "B1": 6,
        "B2": 5,
        "E": 11,
    }


def test_the_combinations_are_orthonormal_in_the_precision_that_the_network_has(case):
    projection = PatchDecomposition(*case).float().double().projection()
    one = torch.eye(len(projection), dtype=torch.float64)
    torch.testing.assert_close(projection @ projection.T, one, rtol=0, atol=1e-13)


def test_irreps_and_maps_of_their_products_transform_as_they_say(case, rng):
    decomposition = PatchDecomposition(*case).double()
    assert symmetry_error(decomposition, decomposition.irreps, case, rng) < 1e-12
    linear = ProductLinear(decomposition.irreps, decomposition.copies, 2).double()

    def mapped(values):
        return linear(decomposition(values))

    assert symmetry_error(mapped, decomposition.irreps, case, rng) < 1e-12

    def with_a_bias(values):
        return [channels + 0.1 for channels in mapped(values)]

    assert symmetry_error(with_a_bias, decomposition.irreps, case, rng) > 1e-2


def test_products_of_nearest_neighbors_match_explicit_formulas(rng):
    """A site and its neighbors contain 2 A1, B1 and E, but no A2 or B2, and few pairs."""
    decomposition = PatchDecomposition(square(8), 1.0).double()
    a1, _, b1, _, _ = f = decomposition(torch.randn(1, 1, 5, generator=rng, dtype=torch.float64))
    linear = ProductLinear(decomposition.irreps, decomposition.copies, 1).double()
    assert linear.widths == (3, 0, 3, 0, 4)
    out = linear(f)
    terms = torch.stack([*a1.flatten(), a1[0, 0, 0, 0] * a1[0, 0, 1, 0]])
    torch.testing.assert_close(out[0].flatten(), linear.weight[0] @ terms, rtol=1e-12, atol=1e-12)
    terms = torch.cat([b1.flatten(), a1.flatten() * b1.flatten()])
    torch.testing.assert_close(out[2].flatten(), linear.weight[2] @ terms, rtol=1e-12, atol=1e-12)
    assert out[1].abs().max() == 0 and out[3].abs().max() == 0
