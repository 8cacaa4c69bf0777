from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattgnn.lattice.unit_cell import UnitCell, rational


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 / 3, Fraction(1, 3)),
        ("2/7", Fraction(2, 7)),
        (0, Fraction(0)),
        (np.float64(0.125), Fraction(1, 8)),
    ],
)
def test_short_fractions_are_recognized(value, expected):
    assert rational(value) == expected


def test_other_floats_are_taken_exactly():
    assert rational(3**0.5) == Fraction(3**0.5)
    assert rational(1 / 3 + 1e-9) == Fraction(1 / 3 + 1e-9)


@given(st.integers(-50, 50), st.integers(1, 10_000))
def test_every_short_fraction_comes_back(p, q):
    assert rational(p / q) == Fraction(p, q)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "one third", None])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="finite number or a fraction"):
        rational(value)


def test_gram_matrix_of_the_triangular_lattice_is_exact():
    cell = UnitCell.create([[1.0, 0.0], [0.5, 3**0.5 / 2]], [[0, 0]])
    assert cell.gram == ((1, Fraction(1, 2)), (Fraction(1, 2), 1))
    assert cell.squared_length((Fraction(1), Fraction(1))) == 3


@pytest.mark.parametrize(
    ("vectors", "basis", "message"),
    [
        ([[1.0, 0.0], [2.0, 0.0]], [[0, 0]], "linearly independent"),
        ([[1.0, 0.0], [0.0, float("inf")]], [[0, 0]], "linearly independent"),
        ([[1.0, 0.0]], [[0, 0]], "primitive_vectors must be"),
        ([1.0, 2.0], [[0, 0]], "primitive_vectors must be"),
        ([[1.0, 0.0], [0.0, 1.0]], [], "basis must hold"),
        ([[1.0, 0.0], [0.0, 1.0]], [[0]], "basis must hold"),
        (
            [[1.0, 0.0], [0.0, 1.0]],
            [["1/3", 0], ["4/3", 1]],
            "differ by more than a lattice vector",
        ),
    ],
)
def test_bad_cells_are_refused_in_one_line(vectors, basis, message):
    with pytest.raises(ValueError, match=message) as error:
        UnitCell.create(vectors, basis)
    assert "\n" not in str(error.value)


def test_offsets_within_a_cutoff_miss_no_site():
    cell = UnitCell.create([[1.0, 0.1], [3.3, 0.9]], [[0, 0], ["2/5", "9/10"]])  # very skew
    wide = np.stack(np.meshgrid(*[np.arange(-40, 41)] * 2, indexing="ij"), -1).reshape(-1, 2)
    for source in range(2):
        for destination in range(2):
            step = np.array(cell.basis[destination], float) - np.array(cell.basis[source], float)
            near = wide[np.linalg.norm(cell.cartesian(wide + step), axis=1) <= 3.0]
            found = cell.offsets_within(source, destination, 3.0)
            assert {tuple(n) for n in found.tolist()} == {tuple(n) for n in near.tolist()}
