import numpy as np
import pytest

from lattgnn.dynamics import LogSpaced, Regular


@pytest.mark.parametrize(
    ("n_frames", "n_steps"), [(2, 1), (2, 50), (3, 50), (20, 10), (11, 10), (135, 2000), (72, 450)]
)
def test_log_spaced_has_the_frames_asked_for(n_frames: int, n_steps: int) -> None:
    steps = LogSpaced(n_frames).steps(n_steps)
    assert len(steps) == min(n_frames, n_steps + 1)
    assert steps[0] == 0 and steps[-1] == n_steps
    assert (np.diff(steps) > 0).all()


def test_log_spaced_is_geometric_where_steps_allow() -> None:
    steps = LogSpaced(135).steps(2000)
    late = steps[steps > 100]
    ratios = late[1:] / late[:-1]
    assert np.allclose(ratios, ratios.mean(), rtol=0.01)


def test_regular_ends_with_the_last_step() -> None:
    assert Regular(3).steps(7).tolist() == [0, 3, 6, 7]
    assert Regular(5).steps(10).tolist() == [0, 5, 10]
    assert Regular(5).steps(0).tolist() == [0]
    assert LogSpaced(5).steps(0).tolist() == [0]


@pytest.mark.parametrize(
    "make", [lambda: Regular(0), lambda: LogSpaced(1), lambda: Regular(1).steps(-1)]
)
def test_nonsense_is_refused(make) -> None:
    with pytest.raises(ValueError, match=r"must .* got .*\. Use"):
        make()
