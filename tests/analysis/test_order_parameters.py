import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattgnn.analysis import (
    checkerboard_order,
    dimerization,
    local_order,
    order_parameter,
    staggered_field,
)
from lattgnn.lattice import chain, cubic, honeycomb, lieb, square, triangular


@pytest.mark.parametrize(
    "lattice", [chain(8), square(6, 8), cubic(4), honeycomb(4), lieb(4)], ids=lambda x: x.name
)
def test_perfect_checkerboard(lattice):
    field = 1.7 * lattice.bipartite_signs
    assert checkerboard_order(field, lattice) == pytest.approx(
        1.7 * np.abs(lattice.bipartite_signs).mean()
    )
    np.testing.assert_allclose(staggered_field(field, lattice), 1.7)
    np.testing.assert_allclose(local_order(field, lattice), 1.7)
    np.testing.assert_allclose(
        local_order(field + 5.0, lattice), 1.7, err_msg="a uniform field is no order"
    )


def test_signs_are_minus_one_to_the_x_plus_y():
    lattice = square(6, 8)
    np.testing.assert_array_equal(lattice.bipartite_signs, (-1) ** lattice.cells.sum(axis=1))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), half=st.tuples(st.integers(2, 4), st.integers(2, 4)))
def test_checkerboard_is_the_wave_at_pi_pi(seed, half):
    lattice = square(2 * half[0], 2 * half[1])
    field = np.random.default_rng(seed).normal(size=(3, 2, lattice.n_sites))
    wave = order_parameter(field, lattice, (np.pi, np.pi))
    np.testing.assert_allclose(wave, checkerboard_order(field, lattice), atol=1e-13)


def test_wave_of_three_sublattices():
    lattice = triangular(6)
    q = (4 * np.pi / 3, 0.0)
    field = np.cos(lattice.positions @ np.array(q))
    assert abs(order_parameter(field, lattice, q)) == pytest.approx(0.5)
    assert abs(order_parameter(field, lattice, (0.0, 0.0))) < 1e-13


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="bipartite"):
        staggered_field(np.ones(30), square(5, 6))
    with pytest.raises(ValueError, match="bipartite"):
        checkerboard_order(np.ones(36), triangular(6))
    with pytest.raises(ValueError, match="whole number of times"):
        order_parameter(np.ones(36), square(6), (1.0, 0.0))
    checkerboard_order(np.ones(30), square(extent=[5, 6], periodic=[False, True]))


def test_dimerization_is_a_vector_and_alternates_the_stretch_of_the_bonds():
    lattice, amplitude = square(4, 6), np.array([0.2, 0.0])
    displacement = lattice.bipartite_signs[:, None] * amplitude + np.array([1.0, -3.0])
    batch = np.stack([displacement, -2 * displacement])[:, None]
    sign = lattice.bipartite_signs[0]
    np.testing.assert_allclose(
        dimerization(batch, lattice), [[amplitude], [-2 * amplitude]], atol=1e-15
    )
    right = lattice.site_index((1, 0))
    stretch = displacement[right, 0] - displacement[lattice.site_index((0, 0)), 0]
    assert stretch == pytest.approx(-2 * 0.2 * sign)
    with pytest.raises(ValueError, match="bipartite"):
        dimerization(np.zeros((9, 2)), square(3))
