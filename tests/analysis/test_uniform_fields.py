"""Fields without fluctuations have no length and no correlation; nothing fails or warns."""

import warnings

import numpy as np
import pytest

from lattgnn import analysis
from lattgnn.lattice import chain, cubic, honeycomb, kagome, square, triangular

LATTICES = [chain(6), square(4), square(5, 7), triangular(6), honeycomb(3), kagome(3), cubic(3)]


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda x: x.name)
def test_zero_field_has_no_correlation_and_no_length(lattice):
    field = np.zeros((2, lattice.n_sites))
    distances, correlation = analysis.radial_correlation(field, lattice)
    assert (correlation == 0).all()
    assert np.isnan(analysis.domain_length(distances, correlation)).all()
    assert np.isnan(analysis.nearest_neighbor_correlation(field, lattice)).all()
    assert (analysis.nearest_neighbor_correlation(field, lattice, normalized=False) == 0).all()
    structure = analysis.structure_factor(field, lattice)
    assert (structure == 0).all()
    assert np.isnan(analysis.structure_factor_length(structure, lattice)).all()
    assert (analysis.radial_average(structure, lattice)[1] == 0).all()


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda x: x.name)
def test_uniform_field_is_one_domain(lattice):
    field = np.full((2, lattice.n_sites), 1.7)
    distances, correlation = analysis.radial_correlation(field, lattice)
    np.testing.assert_allclose(correlation, 1.7**2)
    assert np.isnan(analysis.domain_length(distances, correlation)).all()
    np.testing.assert_allclose(analysis.nearest_neighbor_correlation(field, lattice), 1.0)
    structure = analysis.structure_factor(field, lattice)
    length = analysis.structure_factor_length(structure, lattice)
    assert (length > 1e3 * analysis.shortest_side(lattice)).all()
