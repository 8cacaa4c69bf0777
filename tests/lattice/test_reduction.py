from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattgnn.lattice.reduction import (
    equal_lengths,
    nearest_image,
    obtuse_superbase,
    shortest_vector,
)


@st.composite
def periods(draw):
    """Vectors [dim, dim] of any scale, and integer periods [k, dim], often very skew."""
    dim = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    vectors = rng.normal(size=(dim, dim)) + 2 * np.eye(dim)
    vectors *= 10.0 ** rng.integers(-20, 20)
    shear = np.eye(dim, dtype=int)
    for _ in range(draw(st.integers(0, 4))):
        i, j = rng.permutation(dim)[:2] if dim > 1 else (0, 0)
        shear[i] += (i != j) * rng.integers(-9, 10) * shear[j]
    n_periods = draw(st.integers(1, dim))
    return vectors, (rng.integers(1, 5, size=(dim, 1)) * shear)[:n_periods]


@given(periods())
@settings(deadline=None, max_examples=60, derandomize=True)
def test_superbase_is_obtuse_and_spans_the_same_lattice(case):
    vectors, rows = case
    superbase = obtuse_superbase(rows @ vectors)
    assert (superbase.sum(0) == 0).all()
    assert abs(np.linalg.det(superbase[:-1])) == pytest.approx(1)
    found = superbase @ rows @ vectors
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    assert (found @ found.T - np.eye(len(found))).max() <= 1e-8


@given(periods(), st.integers(0, 10**6))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_no_other_image_is_nearer(case, seed):
    vectors, rows = case
    points = np.random.default_rng(seed).uniform(-3, 3, size=(4, len(vectors)))
    nearest = nearest_image(points, rows, vectors)
    # The image differs from the point by whole periods.
    numbers = (nearest - points) @ np.linalg.pinv(rows.astype(float))
    np.testing.assert_allclose(numbers, numbers.round(), atol=1e-9)
    np.testing.assert_allclose(numbers @ rows, nearest - points, atol=1e-9)
    # Images within ±4 short periods are not nearer; the brute force starts from the found image.
    short = obtuse_superbase(rows @ vectors)[:-1] @ rows
    for step in product(range(-4, 5), repeat=len(rows)):
        image = np.linalg.norm((nearest + np.array(step) @ short) @ vectors, axis=-1)
        assert (image >= np.linalg.norm(nearest @ vectors, axis=-1) * (1 - 1e-8)).all()


def test_shortest_vector_of_a_skew_cell():
    assert shortest_vector(np.array([[5.0, 1.0], [4.0, 1.0]])) == pytest.approx(1.0)
    assert shortest_vector(np.array([[1.0, 0, 0], [9, 2, 0], [7, 5, 3]])) == pytest.approx(1.0)
    assert shortest_vector(np.array([[3e-10]])) == pytest.approx(3e-10, rel=1e-12)


def test_a_point_without_periods_is_its_own_image():
    points = np.array([[7.0, 9.0]])
    assert nearest_image(points, np.zeros((0, 2), dtype=int), np.eye(2)) is points


def test_equal_lengths():
    squared = np.array([0.0, 1.0, 1.0 + 1e-12, 2.0, 2.0 + 1e-7])
    assert equal_lengths(squared).tolist() == [0, 1, 3, 4]
    assert equal_lengths(np.array([])).tolist() == []
