"""All parts of the benchmark at tiny sizes; the PyG network in training is the same as ours."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lattgnn.lattice import square, triangular

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("benchmark_speed")


@pytest.mark.parametrize("lattice", [square(6), triangular(6)], ids=lambda lattice: lattice.name)
def test_the_pyg_network_in_training_is_the_same_network(lattice, script):
    training = importlib.import_module("speed_training")
    # In float64: what rounding does is then far below, and what 1 % of a weight does far above.
    net = script.random_network(lattice, "2,993", "direct").double()
    field, target = torch.randn(2, 3, lattice.n_sites, dtype=torch.float64).mul(5)
    for error in (1.0, 1.01):
        net.zero_grad()
        rival = training.RelationalNetwork(net, lattice, batch=3)
        rival.convs[1].weight.data *= error
        forces, gradients = training.compare(net, rival, field, target)
        assert (forces < 1e-10 and gradients < 1e-10) == (error == 1.0)


def test_the_lower_bound_has_the_products_of_the_network(script):
    direct, energy = (script.random_network(square(6), "2,993", head) for head in script.HEADS)
    products = [
        sum(out * into for out, into in script.product_shapes(net)) for net in (direct, energy)
    ]
    assert products == [2849, 2 * 2849]  # 16·11 + 11², five times 33·11 + 11², 11² + 11
    run = script.chain(((3, 5), (5, 3)), n_rows=4, kind=2)
    run(1)


def test_times_are_per_site_and_repetition(script, monkeypatch):
    now = 0.0

    def run(n: int) -> None:
        nonlocal now
        now += 1e-4 * n

    clock = SimpleNamespace(perf_counter=lambda: now)
    monkeypatch.setattr(importlib.import_module("speed_timing"), "time", clock)
    contestant = script.lasting(run, n_sites=100, plan=script.QUICK)
    times = script.race({"run": contestant}, repeats=3)["run"]
    assert times == pytest.approx({"min": 1.0, "median": 1.0})
    assert now > 4 * script.QUICK.seconds  # the first measurement and three more


@pytest.mark.slow
def test_one_part_is_measured_again_and_the_others_stay(script, tmp_path, capsys):
    out = tmp_path / "speed"
    script.main(only="training", quick=True, out=str(out))
    first = json.loads(out.with_suffix(".json").read_text())
    script.main(only="rivals", quick=True, out=str(out))
    both = json.loads(out.with_suffix(".json").read_text())
    assert both["training"] == first["training"] and "rivals" not in first
    mse = both["rivals"]["found"]["mse"]
    assert mse["domain 10+5"] < 1e-8 < mse["holstein-square"] < mse["holstein-square-small"] < 1e-3
    text = out.with_suffix(".md").read_text()
    assert text in capsys.readouterr().out and "## Training" in text and "## Steps" not in text
    with pytest.raises(SystemExit, match="only must be one of steps, rivals"):
        script.main(only="speed", quick=True, out=str(out))


@pytest.mark.slow
def test_all_parts_run(script, tmp_path):
    script.main(
        quick=True, long=True, production="holstein-square-small", out=str(tmp_path / "speed")
    )
    text = (tmp_path / "speed.md").read_text()
    for part in ("Summary", "Steps", "Rivals", "Memory", "Training", "Production"):
        assert f"## {part}" in text
    assert text.count("| kagome 6 | 108 | 2,993 |") == 2  # heads
    assert (tmp_path / "speed.png").stat().st_size > 10_000
    assert (tmp_path / "speed_production/snapshots.png").stat().st_size > 10_000
