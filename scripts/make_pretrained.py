r"""Fit a force field that is shipped with the package.

    python scripts/make_pretrained.py
    python scripts/make_pretrained.py --recipe configs/fit/holstein_square_small.yaml \
        --name holstein-square-small
    python scripts/make_pretrained.py --recipe configs/fit/holstein_square_energy.yaml \
        --name holstein-square-energy
    python scripts/make_pretrained.py --recipe configs/fit/peierls_published.yaml --name
    peierls-square
    python scripts/make_pretrained.py --run runs/kondo_square_published --name kondo-square

The first command fits configs/fit/holstein_square.yaml (12 CPU minutes; an existing run is used)
and writes to lattgnn/pretrained/: holstein-square.ckpt (network and header, no training state),
.yaml (the resolved configuration) and .json (cost and test errors). The last one copies
a run that was fitted and tested by hand, in the two steps of docs/models.md.
"""

import json
from pathlib import Path

import yaml
from jsonargparse import auto_cli

from lattgnn.cli import main as lattgnn
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import LearnedForceField


def main(
    recipe: str = "configs/fit/holstein_square.yaml",
    name: str = "holstein-square",
    run: str | None = None,
) -> None:
    """Fit and test a force field, and copy it into the package.

    Args:
        recipe: Configuration for `lattgnn fit`.
        name: Name of the force field, for `LearnedForceField.pretrained(name)`.
        run: Directory of a finished and tested run to copy; None fits the recipe.
    """
    if run is None:
        if lattgnn(["fit", "--config", recipe]) != 0:
            raise SystemExit("the fit failed")
        run = str(yaml.safe_load(Path(recipe).read_text())["run_dir"])
    copy(Path(run), name)


def copy(run: Path, name: str) -> None:
    """Copy the force field of a run into the package, with its configuration and test errors."""
    folder = Path("lattgnn/pretrained")
    folder.mkdir(exist_ok=True)
    LearnedForceField.load(run / "best.ckpt").save(folder / f"{name}.ckpt")
    atomic_write_text(folder / f"{name}.yaml", (run / "config.yaml").read_text())
    cost = json.loads((run / "fit.json").read_text())
    figures = json.loads(next(run.glob("test-*.json")).read_text())
    record = {key: cost[key] for key in ("parameters", "epochs", "steps", "cpu_minutes")} | {
        "test": figures
    }
    atomic_write_text(folder / f"{name}.json", json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    auto_cli(main)
