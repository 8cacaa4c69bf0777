"""Fits on lattices with labels against the plain square lattice, at equal labels and CPU time.

    python scripts/labeled_lattices.py                # 3 fits of 2 CPU-minutes
    python scripts/labeled_lattices.py --seeds [0,1]  # means over two seeds

The Holstein model on 144 sites, at kT = 0.1 and mu = 0: on the square lattice, with a staggered
potential (site labels), and with the hoppings of the Shastry-Sutherland lattice (bond labels). Data
and network follow one recipe, that of `lattgnn quickstart` without particle-hole augmentation,
which only the first model allows. Records and a table are written to docs/benchmarks.
"""

import json
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from benchmark_models import worker
from jsonargparse import auto_cli

from lattgnn.cli.quickstart import settings
from lattgnn.files import atomic_write_text

# Lattice function, extent, and the parameters of the Holstein model that the labels allow.
MODELS: dict[str, tuple[str, list[int], dict[str, Any]]] = {
    "square": ("square", [12, 12], {"t": 1.0}),
    "staggered": ("staggered_square", [9, 8], {"on_site_energy": {"A": 1.0, "B": -1.0}}),
    "shastry_sutherland": ("shastry_sutherland", [6, 6], {"t": {"square": 1.0, "dimer": 1.25}}),
}
TEST_FRAMES = {"all": "test/all/mse", "quench": "test/quench/mse", "random": "test/random/mse"}


def recipe(name: str) -> dict[str, Any]:
    """The configuration of `lattgnn fit` for one of the models."""
    function, extent, parameters = MODELS[name]
    sections = settings()
    data = sections["generate"] | {"name": f"labeled-{name}"}
    data["lattice"] = {
        "class_path": f"lattgnn.lattice.{function}",
        "init_args": {"extent": extent},
    }
    data["hamiltonian"]["init_args"] |= parameters
    fit = sections["fit"] | {"data": data}
    fit["model"]["particle_hole"] = False
    return fit


def table(records: list[dict[str, Any]]) -> str:
    """Markdown with a row for each model: means over seeds, and ratios to the square lattice."""
    head = ["Model", "Parameters", "Steps", "CPU-min", *(f"MSE {name}" for name in TEST_FRAMES)]
    lines = ["| " + " | ".join([*head, "Ratios"]) + " |", "|---" * (len(head) + 1) + "|"]
    plain: list[float] = []
    for name in MODELS:
        group = [r for r in records if r["network"] == name]
        errors = [mean(r["test"][key] for r in group) for key in TEST_FRAMES.values()]
        plain = plain or errors
        cells = [name.replace("_", " "), f"{group[0]['parameters']:,}"]
        cells.append(f"{mean(r['steps'] for r in group):,.0f}")
        cells.append(f"{mean(r['cpu_minutes'] for r in group):.1f}")
        cells += [f"{error:.2e}" for error in errors]
        ratios = [error / of_square for error, of_square in zip(errors, plain, strict=True)]
        cells.append(", ".join(f"{ratio:.2f}" for ratio in ratios))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(
    minutes: float = 2.0,
    seeds: list[int] | None = None,
    out: str = "docs/benchmarks/labeled_lattices",
) -> None:
    """Fit and test each model, then write the table.

    Args:
        minutes: CPU-minutes of each fit.
        seeds: Seeds of weights and of the order of the data; [0] by default.
        out: Folder of the records; the table is written next to it.
    """
    folder, recipes = Path(out), Path("runs/labeled_lattices")
    recipes.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        path = recipes / f"{name}.yaml"
        path.write_text(yaml.safe_dump(recipe(name)))
        for seed in seeds or [0]:
            if not (folder / f"{name}-{minutes:g}min-seed{seed}.json").exists():
                worker(path, minutes, seed, folder)
    records = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    atomic_write_text(folder.with_suffix(".md"), table(records))


if __name__ == "__main__":
    auto_cli(main)
