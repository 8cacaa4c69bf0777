import pytest

from lattgnn.lattice import cubic, square
from lattgnn.symmetry import (
    axial,
    parse_representation,
    pseudoscalar,
    regular,
    site_point_group,
    trivial,
    vector,
)

GROUP = site_point_group(square(4).cell)


@pytest.mark.parametrize(
    "text", ["A1 + 2 E", "A1+2E", " A1 + 2*E ", "A1 + 2x E", "A1 + 2xE", "A1 + E + E", "(A1 + 2 E)"]
)
def test_multiplicities_in_any_spelling(text):
    found = parse_representation(text, GROUP)
    assert [block.name for block in found.blocks] == ["A1", "E", "E"]
    assert found.name == "A1 + 2 E" and found == parse_representation("A1 + 2 E", GROUP)


def test_generic_names_and_products():
    for make in (trivial, vector, axial, pseudoscalar, regular):
        assert parse_representation(make.__name__, GROUP) == make(GROUP)
    e, b = parse_representation("E", GROUP), parse_representation("B1", GROUP)
    assert parse_representation("2 vector + trivial", GROUP) == 2 * vector(GROUP) + trivial(GROUP)
    assert parse_representation("E * B1", GROUP) == e * b
    assert parse_representation("2 E*B1 + B1", GROUP) == 2 * (e * b) + b
    assert parse_representation("2 (E + B1)", GROUP) == e + b + e + b
    assert parse_representation("(E + B1) * E", GROUP) == (e + b) * e


def test_names_with_primes(crystal):
    group = crystal("-6m2")
    assert [block.name for block in parse_representation("A1' + 2A2'' + E''", group).blocks] == [
        "A1'",
        "A2''",
        "A2''",
        "E''",
    ]


@pytest.mark.parametrize(
    ("wrong", "near"), [("E3", "E"), ("a1", "A1"), ("vectors", "vector"), ("Axial", "axial")]
)
def test_a_wrong_name_is_refused_with_the_right_ones(wrong, near):
    with pytest.raises(
        ValueError, match=rf"one of A1, A2, B1, B2, E, trivial, .* Did you mean '{near}'\?$"
    ):
        parse_representation(f"A1 + 2 {wrong}", GROUP)


def test_a_name_unlike_any():
    with pytest.raises(ValueError, match=r"got 'Wxyz'\. Use one of these\.$"):
        parse_representation("Wxyz", site_point_group(cubic(4).cell))


@pytest.mark.parametrize(
    "text",
    ["", "A1 +", "+ A1", "2", "A1 E", "A1 + + E", "(A1", "A1)", "2 2 E", "A1 * 2", "E*", "A1 - E"],
)
def test_text_that_is_no_sum_is_refused(text):
    with pytest.raises(ValueError, match="must be a sum of names with multiplicities"):
        parse_representation(text, GROUP)


def test_no_times_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        parse_representation("0 E", GROUP)
