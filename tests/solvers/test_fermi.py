import math

import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor

from lattgnn.solvers import chemical_potential, fermi_function, grand_potential


def levels(*energies: float) -> Tensor:
    return torch.tensor(energies, dtype=torch.float64)


def random_levels(rng, *shape: int) -> Tensor:
    return (3 * torch.randn(*shape, dtype=torch.float64, generator=rng)).sort(-1).values


@pytest.mark.parametrize("n_electrons", [1.0, 0.01, 7.5, 20.0, 39.0, 39.99])
@pytest.mark.parametrize("kT", [1e-3, 0.1, 1.0, 50.0])
def test_chemical_potential_gives_the_number_of_electrons(n_electrons, kT, rng):
    energies = random_levels(rng, 5, 40)
    mu = chemical_potential(energies, n_electrons, kT)
    count = fermi_function(energies, mu, kT).sum(-1)
    torch.testing.assert_close(
        count, torch.full_like(count, n_electrons), rtol=0, atol=1e-12 + 1e-14 / kT
    )


def test_chemical_potential_against_a_textbook_root_finder(rng):
    energies = random_levels(rng, 3, 25)
    mu = chemical_potential(energies, 11.3, 0.2)
    for e, found in zip(energies, mu, strict=True):
        expected = brentq(
            lambda x, e=e: float(fermi_function(e, e.new_tensor(x), 0.2).sum()) - 11.3,
            -20,
            20,
            xtol=1e-14,
        )
        assert float(found) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("kT", [1e-6, 1e-3, 0.1, 3.0])
@pytest.mark.parametrize(("n_valence", "n_conduction"), [(1, 1), (3, 1), (2, 30), (500, 1)])
def test_insulator_of_two_flat_levels(n_valence, n_conduction, kT):
    """n_v f(−1) holes, n_c f(1) electrons; for kT → 0 μ = (kT/2) ln(n_v/n_c), also in a gap of 2e6
    kT.
    """
    energies = levels(*[-1.0] * n_valence, *[1.0] * n_conduction)
    mu = float(chemical_potential(energies, float(n_valence), kT))
    if kT <= 1e-3:
        assert mu == pytest.approx(kT / 2 * math.log(n_valence / n_conduction), abs=1e-15)
    else:
        assert float(fermi_function(energies, levels(mu)[0], kT).sum()) == pytest.approx(
            n_valence, abs=1e-11
        )


@pytest.mark.parametrize("filling", [1e-6, 0.2, 0.5, 0.9, 1 - 1e-6])
def test_one_level_has_a_closed_form(filling):
    mu = chemical_potential(levels(0.7, 0.7, 0.7), 3 * filling, 0.05)
    assert float(mu) == pytest.approx(0.7 + 0.05 * math.log(filling / (1 - filling)), abs=1e-11)


def test_ground_state_is_the_limit_of_low_temperature(rng):
    energies = random_levels(rng, 4, 20)
    for n_electrons in (7.0, 7.25):
        cold = chemical_potential(energies, n_electrons, 0.0)
        limit = chemical_potential(energies, n_electrons, 1e-7)
        torch.testing.assert_close(limit, cold, rtol=0, atol=1e-6)
        torch.testing.assert_close(
            fermi_function(energies, limit, 1e-7),
            fermi_function(energies, cold, 0.0, n_electrons),
            rtol=0,
            atol=1e-9,
        )
        torch.testing.assert_close(
            grand_potential(energies, limit, 1e-7),
            grand_potential(energies, cold, 0.0),
            rtol=0,
            atol=1e-4,
        )


def test_ground_state_lies_mid_gap_and_degenerate_levels_share():
    energies = levels(-2.0, 0.5, 0.5 + 1e-14, 0.5, 3.0)
    assert float(chemical_potential(energies, 4.0, 0.0)) == 1.75
    mu = chemical_potential(energies, 2.0, 0.0)
    third = pytest.approx(1 / 3)
    assert fermi_function(energies, mu, 0.0, 2.0).tolist() == [1.0, third, third, third, 0.0]
    mu = torch.tensor(0.5).double()
    assert fermi_function(energies, mu, 0.0).tolist() == [1.0, 0.5, 0.5, 0.5, 0.0]
    assert float(grand_potential(energies, mu, 0.0)) == pytest.approx(-2.5)


def test_grand_potential_is_stable_and_its_slope_is_the_number_of_electrons(rng):
    energies = random_levels(rng, 30)
    for kT in (1e-8, 0.1, 5.0):
        mu = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
        omega = grand_potential(energies, mu, kT)
        assert torch.isfinite(omega)
        (slope,) = torch.autograd.grad(omega, mu)
        torch.testing.assert_close(
            -slope, fermi_function(energies, mu.detach(), kT).sum(), rtol=1e-13, atol=0
        )
    # A level 30 kT away still adds its exponentially small share: −kT ln(1 + e^−30).
    assert float(grand_potential(levels(3.0), torch.tensor(0.0).double(), 0.1)) == pytest.approx(
        -0.1 * math.exp(-30), rel=1e-12
    )


def test_a_number_written_in_decimals_is_whole():
    energies = levels(*range(100))
    assert 0.07 * 100 > 7
    assert float(chemical_potential(energies, 0.07 * 100, 0.0)) == 6.5


def test_batch_independence(rng):
    energies = random_levels(rng, 2, 3, 15)
    together = chemical_potential(energies, 6.4, 0.3)
    assert together.shape == (2, 3)
    for index in ((0, 0), (1, 2)):
        assert together[index] == chemical_potential(energies[index], 6.4, 0.3)


@pytest.mark.parametrize("n_electrons", [0.0, 3.0, -1.0, 3.5, float("nan")])
def test_impossible_numbers_are_refused(n_electrons):
    with pytest.raises(ValueError, match="n_electrons must be above 0 and below n_states = 3"):
        chemical_potential(levels(0, 1, 2), n_electrons, 0.1)


@pytest.mark.parametrize("kT", [0.0, 0.3])
def test_weights_count_levels_in_part(kT, rng):
    energies, mu = random_levels(rng, 3, 8), levels(0.1, -0.4, 2.0)
    weights = torch.rand(3, 8, dtype=torch.float64, generator=rng)
    alone = torch.stack([grand_potential(energies[:, k : k + 1], mu, kT) for k in range(8)], dim=-1)
    found = grand_potential(energies, mu, kT, weights)
    torch.testing.assert_close(found, (weights * alone).sum(-1), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kT", [0.0, 1e-3, 0.2])
@pytest.mark.parametrize("n_electrons", [0.5, 3.0, 7.25, 14.0])
def test_a_level_of_weight_two_is_two_levels(kT, n_electrons, rng):
    energies = random_levels(rng, 2, 8)
    weights = torch.tensor([[1.0, 2, 1, 3, 2, 1, 4, 2], [2.0, 2, 2, 2, 2, 2, 2, 2]]).double()
    mu = chemical_potential(energies, n_electrons, kT, weights)
    occupations = fermi_function(energies, mu, kT, n_electrons, weights)
    assert (weights * occupations).sum(-1).tolist() == pytest.approx([n_electrons] * 2, abs=1e-11)
    for e, w, found, f in zip(energies, weights, mu, occupations, strict=True):
        repeated = e.repeat_interleave(w.long())
        expected = chemical_potential(repeated, n_electrons, kT)
        assert float(found) == pytest.approx(float(expected), abs=1e-13)
        one_by_one = fermi_function(repeated, expected, kT, n_electrons)
        torch.testing.assert_close(f.repeat_interleave(w.long()), one_by_one, rtol=0, atol=1e-12)


def test_levels_of_no_weight_do_not_count():
    energies, weights = levels(-9.0, -1.0, 0.0, 1.0, 7.0), levels(0, 1, 0, 1, 0)
    assert float(chemical_potential(energies, 1.0, 0.1, weights)) == pytest.approx(0, abs=1e-14)
    assert float(chemical_potential(energies, 0.5, 0.01, weights)) == pytest.approx(-1, abs=1e-14)
