"""What Lightning says in a fit that a user cannot act on."""

import warnings
from typing import Any

import torch
from lightning.pytorch.trainer.connectors.logger_connector import result

from lattgnn.cli.fit_checks import silence_lightning


def log(name: str) -> None:
    """Log a value of one process as Lightning does at the end of an epoch."""
    results: Any = result._ResultCollection(training=False)
    value = torch.tensor(1.0)
    results.log("validation_step", name, value, on_step=False, on_epoch=True, batch_size=1)
    results.metrics(on_step=False)


def test_a_mean_over_processes_is_not_asked_for_because_our_metrics_form_it(monkeypatch):
    monkeypatch.setattr(result, "_distributed_is_initialized", lambda: True)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        log("shown/mse")
        silence_lightning()
        log("hidden/mse")
    assert ["shown/mse" in str(warning.message) for warning in shown] == [True]
