"""A fit of a fraction of a second: random fields on 4×4 sites and a network of one layer."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from lattgnn.cli import main


def source(kind: str, **arguments) -> dict:
    return {"class_path": f"lattgnn.data.{kind}", "init_args": arguments}


class TinyFit:
    """Runs trainer verbs on the tiny dataset."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "fit.yaml"
        sources = [
            source("RandomFields", split=split, n_samples=n_samples)
            for split, n_samples in (("train", 17), ("val", 4), ("test", 4))
        ]
        solver = {"kT": 0.1, "mu": 0.0}
        net = {"hidden": {"channels": 3}, "n_layers": 1}
        config = {
            "data": {
                "lattice": {
                    "class_path": "lattgnn.lattice.square",
                    "init_args": {"extent": [4, 4]},
                },
                "hamiltonian": {"class_path": "lattgnn.hamiltonians.Holstein"},
                "solver": {
                    "class_path": "lattgnn.solvers.ExactDiagonalization",
                    "init_args": solver,
                },
                "sources": sources,
                "root": str(folder / "datasets"),
                "n_workers": 0,
                "progress": False,
            },
            "model": {"net": {"class_path": "lattgnn.nn.OrbitNetwork", "init_args": net}},
            "trainer": {"max_epochs": 2, "accelerator": "cpu"},
            "report": False,
        }
        self.config.write_text(yaml.safe_dump(config))

    def arguments(self, verb: str, run: str, *options: str) -> list[str]:
        return [verb, f"--config={self.config}", f"--run_dir={self.folder / run}", *options]

    def __call__(self, verb: str, run: str, *options: str) -> int:
        """The exit code of a verb on a run."""
        try:
            return main(self.arguments(verb, run, *options))
        except SystemExit as stop:  # argparse's way
            return int(stop.code or 0)

    def checkpoint(self, run: str, name: str = "last.ckpt") -> dict:
        return torch.load(self.folder / run / name, weights_only=True)

    def record(self, run: str) -> dict:
        return json.loads((self.folder / run / "fit.json").read_text())


@pytest.fixture(scope="session")
def tiny_fit(tmp_path_factory) -> TinyFit:
    """The verbs on one dataset; its folder also holds the finished run `whole`."""
    fit = TinyFit(tmp_path_factory.mktemp("tiny"))
    assert fit("fit", "whole") == 0
    return fit
