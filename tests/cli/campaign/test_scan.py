"""The points of a scan, and the names of the parameters."""

import pytest

from lattgnn.cli.campaign.scan import points, read_parameters
from lattgnn.errors import InputError

KT, G = "simulate.integrator.init_args.kT", "simulate.force_field.hamiltonian.init_args.g"


def names(grids, order=("g", "kT")) -> list[str]:
    return [point.name(order) for point in points(grids, order)]


def test_the_points_of_a_grid_are_the_product_of_its_values():
    assert names([{"g": [2, 3.5], "kT": [0.1, 1]}]) == [
        "g=2,kT=0.1",
        "g=2,kT=1",
        "g=3.5,kT=0.1",
        "g=3.5,kT=1",
    ]


def test_the_points_of_several_grids_are_joined_and_each_is_kept_once():
    assert names([{"g": [2], "kT": [0.1, 0.2]}, {"kT": [0.2], "g": [2.0, 3.5]}]) == [
        "g=2,kT=0.1",
        "g=2,kT=0.2",
        "g=3.5,kT=0.2",
    ]


def test_values_of_a_joined_key_go_together():
    assert names([{"g, kT": [[2, 0.1], [3.5, 0.5]]}]) == ["g=2,kT=0.1", "g=3.5,kT=0.5"]


def test_a_campaign_without_a_scan_has_one_point():
    (point,) = points([], [])
    assert point.values == {} and point.name([]) == ""


def test_a_mapping_gives_its_values_names():
    (point,) = points([{"forces": {"learned": {"checkpoint": "holstein-square"}}}], ["forces"])
    assert point.labels == {"forces": "learned"}
    assert point.values == {"forces": {"checkpoint": "holstein-square"}}


def test_a_list_of_numbers_is_one_value():
    found = points([{"extent": [[4, 4], [8, 4]]}], ["extent"])
    assert [point.name(["extent"]) for point in found] == ["extent=4x4", "extent=8x4"]


def test_a_dotted_option_is_called_by_its_last_part():
    assert read_parameters(None, [{KT: [0.1]}]) == {"kT": [KT]}
    found = read_parameters({"kT": [KT, "other.kT"]}, [{"kT": [0.1], G: [2]}])
    assert found == {"kT": [KT, "other.kT"], "g": [G]}


@pytest.mark.parametrize(
    ("parameters", "grid", "message"),
    [
        (None, {"kT": [0.1]}, "'kT' must be a parameter or a dotted option"),
        ({"kT": KT}, {"kt": [0.1]}, "Did you mean 'kT'"),
        (None, {KT: [0.1], "simulate.force_field.solver.init_args.kT": [1]}, "both be called 'kT'"),
        ({"a b": KT}, {"a b": [1]}, "letters, digits and underscores"),
        ({"time": KT}, {"time": [1]}, "none of seed, time and replica"),
    ],
)
def test_wrong_names_are_refused(parameters, grid, message):
    with pytest.raises(InputError, match=message):
        read_parameters(parameters, [grid])


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"kT": 0.1}, "must have a list of values"),
        ({"kT": []}, r"must have at least one value, got \[\]\. Add a value, or leave out kT\."),
        ({"kT": [0.1, 0.1]}, "has a value twice"),
        ({"g, kT": [[1, 2], [1]]}, "must have lists of 2 values"),
        ({"g": [{"class_path": "x"}]}, "must have a name"),
    ],
)
def test_wrong_values_are_refused(grid, message):
    with pytest.raises(InputError, match=message):
        points([grid], ["g", "kT"])
