"""Windows of time, and draws that are fair and do not depend on how many there are."""

import numpy as np
import pytest

from lattgnn.audit.patches import PatchShape
from lattgnn.audit.sampling import draw_patches, time_windows
from lattgnn.errors import InputError
from lattgnn.lattice import square

STEPS = np.array([0, 1, 2, 4, 8, 16, 32, 64, 100])


def test_windows_have_equal_length_in_the_logarithm_of_time():
    found = time_windows(STEPS, 2)
    assert [(w.first_step, w.last_step) for w in found] == [(0, 8), (16, 100)]
    assert sum((w.frames for w in found), ()) == tuple(range(len(STEPS)))


def test_windows_without_a_frame_are_left_out():
    found = time_windows(np.array([0, 100, 200, 300]), 20)
    assert [(w.first_step, w.last_step) for w in found] == [(0, 100), (200, 200), (300, 300)]


def test_windows_can_be_given_by_their_first_steps():
    found = time_windows(STEPS, (4, 50))
    assert [(w.first_step, w.last_step) for w in found] == [(0, 2), (4, 32), (64, 100)]


@pytest.mark.parametrize("steps", [np.array([0]), np.array([0, 5]), np.array([7, 8])])
def test_few_frames_are_one_window(steps):
    assert len(time_windows(steps, 6)) == 1


@pytest.mark.parametrize("windows", [0, -1, (), (0, 5), (5, 5), (9, 3)])
def test_wrong_windows_are_refused(windows):
    if windows == ():
        assert len(time_windows(STEPS, windows)) == 1
        return
    with pytest.raises(InputError, match="windows"):
        time_windows(STEPS, windows)


def test_frames_and_replicas_have_their_turn_before_one_comes_again():
    windows, shape = time_windows(STEPS, 2), PatchShape.of(square(20), 4, (3, 3))
    draws = draw_patches(windows, 3, shape, 30, seed=0)
    for number, window in enumerate(windows):
        units = [(d.frame, d.replica) for d in draws if d.window == number]
        n_units = 3 * len(window.frames)
        assert set(units[:n_units]) == {(f, r) for f in window.frames for r in range(3)}
    assert len({d.start for d in draws}) > 40


def test_a_draw_depends_on_the_seed_and_not_on_the_number_of_draws():
    windows, shape = time_windows(STEPS, 2), PatchShape.of(square(20), 4, (3, 3))
    few, many = (draw_patches(windows, 3, shape, n, seed=0) for n in (5, 50))
    assert set(few) <= set(many)
    assert set(few) != set(draw_patches(windows, 3, shape, 5, seed=1))


def test_whole_lattices_are_drawn_once_each():
    windows, shape = time_windows(STEPS, 2), PatchShape.of(square(6), 4, (3, 3))
    draws = draw_patches(windows, 2, shape, 100, seed=0)
    assert len(draws) == len(STEPS) * 2 == len({(d.frame, d.replica) for d in draws})
