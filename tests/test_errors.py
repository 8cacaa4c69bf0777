from fractions import Fraction

import numpy as np
import pytest

from lattgnn.errors import InputError, check_number, suggestion


def test_the_nearest_name_is_suggested_whatever_its_case():
    assert suggestion("holstien", ["Holstein", "Peierls"]) == "Did you mean 'Holstein'?"
    assert suggestion("MU", ["mu", "kT"]) == "Did you mean 'mu'?"


def test_all_names_are_listed_if_none_is_near():
    assert suggestion("quark", ["Holstein", "Peierls"]) == "Use one of Holstein, Peierls."
    assert suggestion("quark", []) == ""


@pytest.mark.parametrize("value", [0, 1.5, np.float32(2), np.int64(3), Fraction(1, 2)])
def test_numbers_are_accepted(value):
    check_number("g", value)
    check_number("g", value, 0, 3)


@pytest.mark.parametrize(
    "value", [None, "1", True, float("nan"), float("inf"), -1, 4, 10**400, 1j, [1], {}]
)
def test_what_is_no_number_within_the_limits_is_refused(value):
    with pytest.raises(InputError, match="^g must be a finite number >= 0 and <= 3, got"):
        check_number("g", value, 0, 3)
