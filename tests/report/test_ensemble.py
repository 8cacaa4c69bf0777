"""Several runs: of one system, with their replicas side by side, and of several systems."""

import json
from typing import Any

import numpy as np
import pytest
import xarray
import yaml

from lattgnn.cli import main
from lattgnn.dynamics import (
    LinearRamp,
    LogSpaced,
    State,
    Trajectory,
    VerletLangevin,
    simulate,
)
from lattgnn.lattice import square
from lattgnn.report import Ensemble, group_runs, write_comparison
from lattgnn.report.provenance import run_warnings


class Harmonic:
    """Independent oscillators, E = ½ Σ Q²."""

    lattice = square(4)
    field_shape = (16,)

    def __call__(self, field):
        return 0.5 * field.square().sum(1), -field


def run(seed, kT: Any = 0.1, path=None, n_steps=40) -> Any:
    import torch

    field = torch.randn(2, 16, generator=torch.Generator().manual_seed(seed)).double()
    energy, forces = Harmonic()(field)
    state = State(field, 0 * field, forces, energy, seed=seed)
    integrator = VerletLangevin(dt=0.1, kT=kT, gamma=1.0, mass=1.0)
    return simulate(Harmonic(), integrator, state, n_steps, LogSpaced(8), path, config={"k": 1})


def test_replicas_of_several_runs_are_side_by_side():
    runs = (run(0), run(1))
    joined: Any = Ensemble(runs)
    assert joined.n_replicas == 4
    np.testing.assert_array_equal(joined.fields[3][2:], runs[1].fields[3])
    np.testing.assert_array_equal(joined.energies[:, :2], runs[0].energies[:])
    thermal = joined.thermalization
    np.testing.assert_allclose(
        thermal.temperature[:, 2:, 0], 2 * runs[1].kinetic_energies / 16, rtol=1e-12
    )
    np.testing.assert_allclose(thermal.bath, 0.1)


def test_frames_are_those_that_all_runs_have():
    long, short = run(0, n_steps=80), run(1, n_steps=40)
    joined = Ensemble((long, short))
    assert set(joined.steps) == set(long.steps) & set(short.steps)
    frame = len(joined.steps) - 1
    index = list(long.steps).index(joined.steps[frame])
    np.testing.assert_array_equal(joined.fields[frame][:2], long.fields[index])


def test_runs_with_the_same_noise_are_refused():
    with pytest.raises(ValueError, match="seed 0, replica 0"):
        Ensemble((run(0), run(0)))
    with pytest.raises(ValueError, match="differ in integrator"):
        Ensemble((run(0), run(1, kT=0.2)))


def test_a_protocol_gives_the_bath_of_each_frame():
    joined: Any = Ensemble((run(0, kT=LinearRamp(0.1, 0.3, 20)),))
    expected = [min(0.1 + 0.01 * step, 0.3) for step in joined.steps]
    np.testing.assert_allclose(joined.thermalization.bath[:, 0], expected)


def test_systems_are_named_by_what_differs():
    groups = group_runs([run(0, kT=0.2), run(1), run(2)])
    assert [parameters for parameters, _ in groups] == [{"kT": 0.1}, {"kT": 0.2}]
    assert [len(ensemble.runs) for _, ensemble in groups] == [2, 1]


@pytest.mark.slow
def test_a_comparison_has_a_page_for_all_and_one_for_each(tmp_path, capsys):
    paths = [str(tmp_path / name) for name in "abc"]
    for k, path in enumerate(paths):
        run(k, kT=0.1 if k < 2 else 0.2, path=path)
    assert main(["analyze", *paths, f"--out={tmp_path / 'out'}", "--movie=none"]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(metrics) == ["kT=0.1", "kT=0.2"] and metrics["kT=0.1"]["n_replicas"] == 4
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "kT=0.2" in page and (tmp_path / "out" / "temperature_overlay.pdf").exists()
    with xarray.open_dataset(tmp_path / "out" / "kT=0.1" / "arrays.nc") as saved:
        assert saved.run.values.tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="two systems"):
        write_comparison([Trajectory.open(paths[0])], tmp_path / "other")


def test_warnings_of_a_run_are_on_the_page(tmp_path):
    trajectory = run(0, path=tmp_path / "run")
    departure = {
        "quantity": "component 0", "n_frames": 3, "first_frame": 5, "worst_frame": 7,
        "value": 9.0, "fraction": 0.25, "low": -4.0, "high": 4.0,
    }  # fmt: skip
    record = json.dumps({"departures": [departure]})
    (tmp_path / "run" / "training_range.json").write_text(record)
    (warning,) = run_warnings((trajectory,))
    assert "frame 7" in warning and "25 % of the values" in warning


def test_runs_from_different_orders_are_different_systems(tmp_path):
    """Also with the same seed, as without noise; replicas of one order stay together."""
    runs = []
    for number, order in enumerate(["tetrahedral", "tetrahedral", "Spiral", None]):
        path = tmp_path / str(number)
        runs.append(run(number % 2, path=path, n_steps=1))
        start = None if order is None else {"class_path": f"lattgnn.spin_orders.{order}"}
        (path / "config.yaml").write_text(yaml.safe_dump({"initial": {"order": start}}))
    groups = group_runs(runs)
    assert [list(parameters.values()) for parameters, _ in groups] == [
        ["Spiral"], ["none"], ["tetrahedral"]
    ]  # fmt: skip
    assert [len(ensemble.runs) for _, ensemble in groups] == [1, 1, 2]
    with pytest.raises(ValueError, match="differ in order"):
        Ensemble((runs[0], runs[2]))
