"""Every YAML in configs/ is understood by its verb (that of sweeps is fit), and runs a step."""

import os
import subprocess
import sys
from argparse import ArgumentError
from pathlib import Path

import pytest
import xarray
import yaml
from jsonargparse import ArgumentParser

from lattgnn import cli
from lattgnn.data import LatticeDataset
from lattgnn.dynamics import Trajectory
from lattgnn.training import LitForceField

CONFIGS = Path(__file__).parents[1] / "configs"

# The first calibrates its solver. The others differ in numbers alone from one that is fast.
SLOW = {
    *("simulate/quench_green", "fit/holstein_square", "fit/holstein_weak", "fit/tetrahedral"),
    *("fit/order_120", "fit/skyrmion", "fit/kondo_square", "fit/phase_separation"),
    *("benchmark/irreps_product", "benchmark/regular", "benchmark/gcn_eighth"),
    *("benchmark/orbit_sums", "benchmark/orbit_sums_energy", "benchmark/orbit_sums_energy_large"),
    *("benchmark/orbit_sums_odd", "benchmark/orbit_sums_small"),
    *("benchmark/gatv2_kagome", "benchmark/rgcn_kagome"),
}
TINY = (
    "{class_path: lattgnn.data.%s, "
    "init_args: {split: %s, n_trajectories: 1, n_steps: 3, n_frames: 3}}"
)


def tiny_sources(path: Path) -> str:
    """Sources that take no time, of the kind that the model of a config needs; no published file
    is there.
    """
    # Of a fit: the configuration of the dataset, or its path.
    data = yaml.safe_load(path.read_text()).get("data")
    text = (path.parent / data).read_text() if isinstance(data, str) else path.read_text()
    kind = "SpinQuench" if "DoubleExchange" in text else "Quench"
    return f"[{', '.join(TINY % (kind, split) for split in ('train', 'val', 'test'))}]"


def files(verb: str) -> list:
    params = []
    for path in sorted((CONFIGS / verb).rglob("*.yaml")):
        marks = [pytest.mark.slow] if f"{verb}/{path.stem}" in SLOW else []
        params.append(pytest.param(path, id=path.stem, marks=marks))
    return params


def _init_args(path: Path) -> dict:
    return yaml.safe_load(path.read_text())["model"]["net"]["init_args"]


def test_no_config_is_left_out():
    folders = {"generate", "fit", "benchmark", "simulate", "science", "campaign", "sweeps"}
    # tests/scripts/test_order_energies.py covers the lists of orders.
    assert {path.name for path in CONFIGS.iterdir()} == folders | {"orders"}
    assert all(files(folder) for folder in folders)


@pytest.mark.parametrize("path", files("generate"))
def test_generate(path, tmp_path):
    arguments = [
        f"--root={tmp_path}",
        f"--sources={tiny_sources(path)}",
        "--lattice.init_args.extent=[6,6]",
    ]
    assert (
        cli.main(["generate", f"--config={path}", *arguments, "--n_workers=0", "--progress=false"])
        == 0
    )
    (dataset,) = tmp_path.iterdir()
    LatticeDataset.open(dataset)


@pytest.mark.parametrize("path", [*files("simulate"), *files("science")])
def test_simulate(path, tmp_path):
    arguments = [f"--out={tmp_path / 'run'}", "--n_steps=1", "--lattice.init_args.extent=[6,6]"]
    assert cli.main(["simulate", f"--config={path}", *arguments, "--progress=false"]) == 0
    assert list(Trajectory.open(tmp_path / "run").steps) == [0, 1]


@pytest.mark.parametrize("path", [*files("fit"), *files("benchmark")])
@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # the configuration is written before
def test_fit(path, tmp_path):
    arguments = [
        f"--data.root={tmp_path}",
        f"--data.sources={tiny_sources(path)}",
        f"--run_dir={tmp_path / 'run'}",
        "--report=false",
    ]
    small = ["--data.lattice.init_args.extent=[6,6]", "--data.n_workers=0", "--data.batch_size=1"]
    arguments += ["--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1"]
    # Published networks have up to ten million parameters: narrower ones here.
    options = _init_args(path)
    if "channels" in options:
        small.append("--model.net.init_args.channels=[8,6]")
    elif "layers" in options:
        small.append("--model.net.init_args.layers.channels=[8,6]")
    assert cli.main(["fit", f"--config={path}", *arguments, *small]) == 0
    assert (tmp_path / "run/config.yaml").exists()


def test_every_model_is_understood():
    """The fits of some configurations are slow tests; here, all of their options are parsed."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(LitForceField, "model", skip={"hamiltonian", "solver"})
    for path in [*CONFIGS.glob("fit/*.yaml"), *CONFIGS.glob("benchmark/*.yaml")]:
        parser.parse_object({"model": yaml.safe_load(path.read_text())["model"]})
    with pytest.raises(ArgumentError, match="no_such_option"):
        parser.parse_object({"model": {"no_such_option": 1}})


@pytest.mark.parametrize(
    ("name", "n_tasks"),
    [
        ("couplings_chain", 21),
        ("holstein_growth", 108),
        ("holstein_growth_small", 12),
        pytest.param("learning_rates", 13, marks=pytest.mark.slow),
        ("quench_temperatures", 12),
        ("tetrahedral_growth", 9),
    ],
)
def test_campaign(name, n_tasks, capsys):
    path = CONFIGS / f"campaign/{name}.yaml"
    assert len(files("campaign")) == 7
    assert cli.main(["campaign", f"--config={path}", "--dry_run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{n_tasks} tasks: ")


@pytest.mark.slow
def test_a_search_of_tiny_fits(tmp_path, capsys):
    pytest.importorskip("optuna")
    config = f"--config={CONFIGS / 'campaign/search.yaml'}"
    assert cli.main(["campaign", config, "--dry_run"]) == 0
    assert capsys.readouterr().out == "20 trials: minimize val/all/mse\n"
    small = ["--fit.data.lattice.init_args.extent=[6,6]", "--fit.data.batch_size=1"]
    small += [f"--fit.data.sources={tiny_sources_of_a_fit()}", "--fit.test=false"]
    small += ["--fit.trainer.max_epochs=2", "--fit.trainer.check_val_every_n_epoch=1"]
    arguments = [f"--out={tmp_path}", "--n_workers=0", "--progress=false", "--search.n_trials=2"]
    assert cli.main(["campaign", config, *arguments, *small]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("2 trials, 0 without a result; the best has val/all/mse=")
    data = xarray.open_dataset(tmp_path / "results.nc")
    best = float(line.partition("mse=")[2].partition(":")[0])
    assert float(data.fit_validation_mse.min()) == pytest.approx(best, rel=1e-5)
    assert data.n_layers.attrs["options"] == "fit.model.net.init_args.n_layers"


@pytest.mark.slow
def test_the_growth_law_of_a_tiny_lattice(tmp_path, capsys):
    arguments = [f"--out={tmp_path}", "--n_workers=0", "--n_seeds=2", "--progress=false"]
    learned = yaml.safe_load((CONFIGS / "campaign/holstein_growth.yaml").read_text())["scan"][-1]
    scan = [{"g": [1.5], "kT": [0.3]}, learned]
    small = ["--simulate.lattice.init_args.extent=[12,12]", "--simulate.n_steps=20"]
    small += ["--simulate.save.init_args.n_frames=6", f"--scan={yaml.safe_dump(scan)}"]
    config = f"--config={CONFIGS / 'campaign/holstein_growth.yaml'}"
    assert cli.main(["campaign", config, *arguments, *small]) == 0
    runs = tmp_path / "simulate"
    exact = Trajectory.open(runs / "g=1.5,kT=0.3/seed-1").config
    assert exact["integrator"]["init_args"]["kT"] == 0.3
    solver = exact["force_field"]["init_args"]["solver"]
    assert solver["class_path"].endswith("GreenFunction") and solver["init_args"]["kT"] == 0.3
    learned_run = Trajectory.open(runs / "forces=learned,g=3.5,kT=0.1/seed-0").config
    assert learned_run["force_field"]["class_path"].endswith("LearnedForceField")
    assert (tmp_path / "results.nc").exists()


@pytest.mark.slow
@pytest.mark.parametrize("path", files("sweeps"))
def test_a_run_of_a_sweep(path, tmp_path):
    """What `wandb agent` runs for one choice of the parameters, without an account."""
    sweep = yaml.safe_load(path.read_text())
    chosen = []
    for name, values in sweep["parameters"].items():
        chosen.append(f"--{name}={values['values'][0] if 'values' in values else values['min']}")
    chosen += [f"--data.root={tmp_path}", f"--data.sources={tiny_sources_of_a_fit()}"]
    chosen += ["--data.lattice.init_args.extent=[6,6]", "--data.batch_size=1"]
    chosen += ["--trainer.max_epochs=1", "--data.n_workers=0"]
    command: list[str] = []
    for word in sweep["command"]:
        command += chosen if word == "${args}" else [word]
    program = tmp_path / "bin/lattgnn"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m lattgnn "$@"\n')
    program.chmod(0o755)
    (tmp_path / "configs").symlink_to(CONFIGS)
    environment = os.environ | {"WANDB_RUN_ID": "a1b2", "WANDB_MODE": "offline"}
    environment |= {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(CONFIGS.parent)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load((tmp_path / "runs/sweep/a1b2/config.yaml").read_text())
    assert config["model"]["lr"] == sweep["parameters"]["model.lr"]["min"]
    assert list((tmp_path / "runs").glob("wandb-*/**/*.wandb"))


def tiny_sources_of_a_fit() -> str:
    return tiny_sources(CONFIGS / "generate/holstein_square.yaml")
