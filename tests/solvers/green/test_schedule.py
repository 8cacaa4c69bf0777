import pytest

from lattgnn.errors import InputError
from lattgnn.solvers.green.schedule import Block, Pole, make_schedule, parse_entry


@pytest.mark.parametrize("text", ["ring0", "ring3", "ball4", "mean"])
def test_the_text_of_a_block_names_the_same_block(text):
    assert str(Block.parse(text)) == text


def test_cavity_is_the_ring_of_size_0():
    assert Block.parse("cavity") == Block("ring", 0)


@pytest.mark.parametrize("text", ["", "ring", "ring-1", "mean2", "square3", "ring1.5"])
def test_a_text_that_names_no_block_is_refused(text):
    with pytest.raises(InputError, match="Use 'ring1'"):
        Block.parse(text)


@pytest.mark.parametrize("arguments", [("cube", 1), ("ring", -1), ("mean", 1)])
def test_a_block_of_unknown_kind_or_wrong_size_is_refused(arguments):
    with pytest.raises(InputError, match="Use 'ring1'"):
        Block(*arguments)


@pytest.mark.parametrize("text", ["ring1", "ring1:", "ring1:-1", "mean:1", "ring1:2:3"])
def test_an_entry_without_valid_rounds_is_refused(text):
    with pytest.raises(InputError):
        parse_entry(text)


def test_the_last_entry_holds_for_all_further_poles():
    poles = ((0.3, 0.2), (1.0, 0.3), (5.0, 2.0))
    schedule = make_schedule(poles, ("ring2:1", "cavity:0"))
    assert schedule == (
        Pole(0.3, 0.2, Block("ring", 2), 1),
        Pole(1.0, 0.3, Block("ring", 0), 0),
        Pole(5.0, 2.0, Block("ring", 0), 0),
    )
    assert [str(pole) for pole in schedule] == ["ring2:1", "ring0:0", "ring0:0"]


def test_a_schedule_without_entries_is_refused():
    with pytest.raises(InputError, match="at least one entry"):
        make_schedule(((0.3, 0.2),), ())
