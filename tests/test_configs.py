"""Every YAML in configs/ is understood by the verb of its folder (fit for benchmark), and runs a
step.
"""

from pathlib import Path

import pytest
import yaml

from lattgnn import cli
from lattgnn.data import LatticeDataset
from lattgnn.dynamics import Trajectory

CONFIGS = Path(__file__).parents[1] / "configs"

SLOW = {"quench_green"}  # calibrates its solver
TINY = (
    "{class_path: lattgnn.data.%s, "
    "init_args: {split: %s, n_trajectories: 1, n_steps: 3, n_frames: 3}}"
)


def tiny_sources(path: Path) -> str:
    """Sources that take no time, of the kind that the model of a config needs; no published file
    is there.
    """
    data = yaml.safe_load(path.read_text()).get(
        "data"
    )  # of a fit: the config of the dataset, or its path
    text = (path.parent / data).read_text() if isinstance(data, str) else path.read_text()
    kind = "SpinQuench" if "DoubleExchange" in text else "Quench"
    return f"[{', '.join(TINY % (kind, split) for split in ('train', 'val', 'test'))}]"


def files(verb: str) -> list:
    params = []
    for path in sorted((CONFIGS / verb).rglob("*.yaml")):
        marks = [pytest.mark.slow] if path.stem in SLOW else []
        params.append(pytest.param(path, id=path.stem, marks=marks))
    return params


def _init_args(path: Path) -> dict:
    return yaml.safe_load(path.read_text())["model"]["net"]["init_args"]


def test_no_config_is_left_out():
    folders = {"generate", "fit", "benchmark", "simulate"}
    assert {path.name for path in CONFIGS.iterdir()} == folders
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


@pytest.mark.parametrize("path", files("simulate"))
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
