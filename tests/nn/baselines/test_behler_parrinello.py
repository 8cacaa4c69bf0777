"""The invariants: symmetric, able to distinguish patches, smooth where a reference vanishes."""

import pytest
import torch

from lattgnn.lattice import square
from lattgnn.nn.baselines import BehlerParrinello
from lattgnn.nn.baselines.behler_parrinello import ReferenceInvariants
from lattgnn.nn.baselines.irreps_network import PatchDecomposition
from lattgnn.nn.baselines.site_patch import patch


def make_invariants(cutoff=13**0.5):
    sites = patch(square(8), cutoff)
    decomposition = PatchDecomposition(square(8), cutoff).double()
    invariants = ReferenceInvariants(decomposition).double()
    return sites, lambda values: invariants(decomposition(values))


def test_every_operation_leaves_the_invariants_as_they_are(rng):
    sites, invariants = make_invariants()
    values = torch.randn(1, 4, len(sites), dtype=torch.float64, generator=rng)
    before = invariants(values)
    assert before.shape[-1] == 58
    for permutation in torch.from_numpy(sites.permutations):
        torch.testing.assert_close(invariants(values[..., permutation]), before, rtol=0, atol=1e-12)
    exchanged = torch.arange(len(sites))
    exchanged[1:3] = torch.tensor([2, 1])  # two of four neighbors: not a symmetry
    assert (invariants(values[..., exchanged]) - before).abs().max() > 1e-2


@pytest.mark.parametrize("uniform", [0.0, 0.7])
def test_invariants_are_smooth_where_all_references_vanish(uniform):
    sites, invariants = make_invariants()
    values = torch.full((1, 1, len(sites)), uniform, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(invariants, values)
    assert jacobian.isfinite().all()
    signs = torch.randn(
        values.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    change = invariants(values + 1e-6 * signs) - invariants(values - 1e-6 * signs)
    assert change.abs().max() < 2e-5


def test_references_need_a_shell_of_eight_sites():
    with pytest.raises(ValueError, match="cutoff must include a shell of 8 sites"):
        BehlerParrinello(square(8), cutoff=2.0)
