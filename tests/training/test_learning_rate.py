"""The learning rate of fits with and without a known length."""

import math
from unittest.mock import Mock

import pytest
from lightning import Trainer
from lightning.pytorch.callbacks import Timer

from lattgnn.training.learning_rate import learning_rate_factor


def trainer(n_steps, *callbacks):
    known = {"estimated_stepping_batches": n_steps, "callbacks": list(callbacks)}
    return Mock(spec=Trainer, world_size=1, **known)


def test_a_known_number_of_steps_gives_a_rise_and_a_cosine():
    factors = [learning_rate_factor(trainer(100), step) for step in range(100)]
    assert factors[0] == pytest.approx(0.5 * 0.5 * (1 + math.cos(0.01 * math.pi)))
    assert factors[1] == max(factors)
    assert factors[49] == pytest.approx(0.5)
    assert factors[-1] == pytest.approx(0.0, abs=1e-12)


def test_max_time_alone_takes_the_place_of_the_steps(monkeypatch):
    timer = Timer(duration={"seconds": 100})
    for elapsed, expected in ((1.0, 0.5), (50.0, 0.5), (75.0, 0.1464), (130.0, 0.0)):
        monkeypatch.setattr(timer, "time_elapsed", lambda stage="train", t=elapsed: t)
        factor = learning_rate_factor(trainer(math.inf, timer), 7)
        assert factor == pytest.approx(expected, abs=1e-3)


def test_without_any_length_it_rises_and_stays():
    factors = [learning_rate_factor(trainer(math.inf), step) for step in (0, 49, 99, 10**6)]
    assert factors == [0.01, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("limit", ["-1", pytest.param("null", marks=pytest.mark.slow)])
def test_a_fit_limited_by_time_alone_trains(tiny_fit, limit):
    options = (f"--trainer.max_epochs={limit}", "--trainer.max_time=00:00:00:01")
    assert tiny_fit("fit", f"timed{limit}", *options) == 0
    before = tiny_fit.checkpoint("whole")["state_dict"]
    after = tiny_fit.checkpoint(f"timed{limit}")["state_dict"]
    assert any((before[key] - value).abs().max() > 0 for key, value in after.items())
    assert tiny_fit.record(f"timed{limit}")["figures"]["val/all/mse"] > 0
