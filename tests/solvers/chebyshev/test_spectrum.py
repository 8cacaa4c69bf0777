import pytest
import torch

from lattgnn.hamiltonians import DoubleExchange, Holstein, JahnTeller, Peierls
from lattgnn.lattice import chain, kagome, square, triangular
from lattgnn.solvers.chebyshev.spectrum import spectral_interval

MODELS = [
    Holstein(kagome(3)),
    Peierls(triangular(4)),
    DoubleExchange(square(4)),
    JahnTeller(square(4)),
    Holstein(chain(5), t=0.0),
]


def interval(model, field):
    n = model.lattice.n_sites
    arguments = (model.elements(field), model.rows, model.cols, n, model.n_states // n)
    return spectral_interval(*arguments)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{type(m).__name__}-{m.lattice.name}")
def test_all_levels_are_inside(model, rng):
    for scale in (0.0, 0.1, 1.0, 10.0):
        field = scale * torch.randn(*model.field_shape, dtype=torch.float64, generator=rng)
        center, half_width = interval(model, field)
        levels = torch.linalg.eigvalsh(model.matrix(field))
        assert half_width > 0
        assert (levels - center).abs().max() <= half_width + 1e-12


def test_a_ferromagnet_fills_the_interval():
    """Levels ±J − 2t (cos kx + cos ky): the bound is exact."""
    model = DoubleExchange(square(4))
    up = torch.tensor([0.0, 0.0, 1.0]).double().expand(16, 3)
    tilted = torch.tensor([0.48, 0.6, 0.64]).double().expand(16, 3)
    assert interval(model, up) == interval(model, tilted) == (0.0, 7.5)


def test_nearby_fields_have_the_same_interval(rng):
    model = Holstein(square(6))
    field = torch.randn(36, dtype=torch.float64, generator=rng)
    assert len({interval(model, field + 1e-3 * k) for k in range(5)}) == 1
