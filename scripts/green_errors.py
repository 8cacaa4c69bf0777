"""Measure the errors of Green's functions by block, against exact diagonalization.

    python scripts/green_errors.py --cases='[square, kagome]'
    python scripts/green_errors.py --cases='[square]' --only='[block 3]'

The fields are uncorrelated random fields of several strengths (spins: uniform on the sphere), and
for the Holstein model on the square lattice also those of a quench. Errors are heavy-tailed, so
each number comes with its standard error over the fields. The cost is the CPU time of the dense
form on one thread; compiled programs are much faster. The largest blocks of the square lattice are
measured with them, in float64. The results are written to a JSON file, in which repeated cases
and solvers replace their earlier results, and to a table beside it.
"""

import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jsonargparse import auto_cli
from torch import Tensor
from torch.nn.functional import normalize

from lattgnn.data import Quench
from lattgnn.data.workers import threads
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Hamiltonian, Holstein, JahnTeller, Peierls
from lattgnn.lattice import cubic, honeycomb, kagome, square, triangular
from lattgnn.serialize import versions
from lattgnn.solvers import ExactDiagonalization, GreenFunction, Solver

# Solvers by their names in the tables.
BLOCKS = {f"block {b}": b for b in range(4)}
# The tolerance determines the number of poles: 7 for A and B, 8 for C and D, in strong fields.
SCHEDULES = {
    "A": (2e-3, ("ring1:1", "ring1:1", "ring0:1", "ring0:0", "ring0:0", "mean")),
    "B": (2e-3, ("ball3:1", "ring1:1", "ring1:1", "ring0:1", "ring0:0", "mean")),
    "C": (
        3e-4,
        ("ball4:1", "ball3:1", "ring1:1", "ring1:1", "ring0:1", "ring0:0", "ring0:0", "mean"),
    ),
    "D": (
        3e-4,
        ("ball5:2", "ball3:1", "ring1:1", "ring1:1", "ring0:1", "ring0:0", "ring0:0", "mean"),
    ),
}


@dataclass(frozen=True)
class Case:
    """A model, the standard deviations of its fields, and the solvers to measure.

    Attributes:
        model: The model on its lattice.
        stds: Standard deviations of the random fields.
        n_fields: Number of fields of each kind.
        blocks: Largest block.
        mu: Chemical potential.
        kT: Temperature.
        compiled: Blocks to measure with compiled programs, which give no energy.
        tolerance: What the poles are fitted to a tenth of.
        graded: Whether to measure schedules beside the blocks.
        quench: Whether to measure the fields of a quench too.
    """

    model: Hamiltonian
    stds: tuple[float, ...]
    n_fields: int = 60
    blocks: int = 3
    mu: float = 0.0
    kT: float = 0.1
    compiled: tuple[int, ...] = ()
    tolerance: float = 1e-4
    graded: bool = False
    quench: bool = False


STDS = (5.27, 2.0, 1.0, 0.5)
CASES = {
    "square": Case(Holstein(square(20)), STDS, graded=True, compiled=(4,), quench=True),
    # 14 poles in the strongest fields.
    "square, kT = 0.02": Case(
        Holstein(square(20)), STDS, kT=0.02, blocks=1, compiled=(2, 3, 4), tolerance=1e-6
    ),
    "triangular": Case(Holstein(triangular(10)), STDS),
    "honeycomb": Case(Holstein(honeycomb(7)), STDS, blocks=2),
    "kagome": Case(Holstein(kagome(6)), STDS),
    "cubic": Case(Holstein(cubic(6)), STDS, blocks=1),
    "Peierls": Case(Peierls(square(10)), (0.5, 0.2, 0.1)),
    "Jahn-Teller": Case(JahnTeller(square(10)), (3.0, 1.0, 0.5), blocks=2),
    "double exchange": Case(DoubleExchange(square(10)), (1.0,), blocks=2, mu=-3.5),
    "double exchange, kT = 0.05": Case(
        DoubleExchange(square(10)), (1.0,), blocks=2, mu=-3.5, kT=0.05
    ),
}


def random_fields(case: Case, std: float) -> Tensor:
    """Uncorrelated random fields, always the same."""
    generator = torch.Generator().manual_seed(7)
    shape = (case.n_fields, *case.model.field_shape)
    fields = torch.randn(shape, dtype=torch.float64, generator=generator)
    return normalize(fields, dim=-1) if case.model.field_type.is_spin else std * fields


def quench_fields(case: Case) -> Tensor:
    """Frames of quenches with exact forces."""
    source = Quench("test", n_trajectories=4, n_steps=400, n_frames=15)
    exact = ExactForceField(case.model, ExactDiagonalization(case.kT, case.mu))
    frames = [source.label(exact, task, 1).field for task in range(source.n_tasks)]
    return torch.cat([torch.from_numpy(part) for part in frames])[: case.n_fields]


def solvers(case: Case) -> dict[str, GreenFunction]:
    """The solvers of a case, by the names of the table."""
    plain = GreenFunction(case.kT, case.mu, block=0, tolerance=case.tolerance)
    found = {name: replace(plain, block=b) for name, b in BLOCKS.items() if b <= case.blocks}
    for name, (tolerance, schedule) in SCHEDULES.items() if case.graded else ():
        found[f"schedule {name}"] = replace(
            plain, block=None, schedule=schedule, tolerance=tolerance
        )
    return found | {f"block {b}, compiled": replace(plain, block=b) for b in case.compiled}


def forces_of(
    model: Hamiltonian, solver: Solver, fields: Tensor, energy: bool = True
) -> tuple[Tensor | None, Tensor, float]:
    """Energies, None without `energy`, forces, and the CPU time of a field."""
    force_field = ExactForceField(model, solver, energy)
    force_field(fields[0])  # not timed: poles, index tables and programs are made here
    start = time.process_time()
    results = [force_field(one) for one in fields]
    seconds = (time.process_time() - start) / len(fields)
    energies, forces = zip(*results, strict=True)
    return torch.stack(energies) if energy else None, torch.stack(forces), seconds


def measure(case: Case, only: list[str] | None) -> dict:
    """Errors of each solver, or of some of them, in each kind of field."""
    kinds = {f"std {std:g}": random_fields(case, std) for std in case.stds}
    if case.model.field_type.is_spin:
        kinds = {"random spins": random_fields(case, 1.0)}
    if case.quench:
        kinds["quench"] = quench_fields(case)
    exact, n_sites = ExactDiagonalization(case.kT, case.mu), case.model.lattice.n_sites
    rows = []
    for kind, fields in kinds.items():
        energy, forces, _ = forces_of(case.model, exact, fields)
        for name, solver in solvers(case).items():
            if only is not None and name not in only:
                continue
            is_compiled = name.endswith("compiled")
            found_energy, found, seconds = forces_of(case.model, solver, fields, not is_compiled)
            squares = (found - forces).square().flatten(1).mean(1)
            row = {
                "fields": kind,
                "solver": name,
                "force_mse": float(squares.mean()),
                "standard_error": float(squares.std() / len(squares) ** 0.5),
                "cpu_us_per_site": round(1e6 * seconds / n_sites, 1),
            }
            if energy is not None and found_energy is not None:
                rms = float((found_energy - energy).square().mean().sqrt())
                row["energy_rms_per_site"] = rms / n_sites
            rows.append(row)
    return {
        "lattice": [case.model.lattice.name, *case.model.lattice.extent],
        "model": type(case.model).__name__,
        "kT": case.kT,
        "mu": case.mu,
        "n_fields": case.n_fields,
        "rows": rows,
    }


def table(name: str, result: dict) -> str:
    """A table of force errors, a row for each solver and a column for each kind of field."""
    rows = result["rows"]
    kinds = list(dict.fromkeys(row["fields"] for row in rows))
    names = list(dict.fromkeys(row["solver"] for row in rows))
    cells = {(row["solver"], row["fields"]): row for row in rows}
    shape = "×".join(map(str, result["lattice"][1:]))
    lines = [
        f"**{name[0].upper()}{name[1:]}.** "
        f"{result['model']} on the {result['lattice'][0]} lattice, {shape} cells, "
        f"kT = {result['kT']:g}, mu = {result['mu']:g}, {result['n_fields']} fields.",
        "",
        f"| | {' | '.join(kinds)} | CPU µs per site |",
        "|---|" + "---|" * (len(kinds) + 1),
    ]
    for solver in names:
        found = [cells[solver, kind] for kind in kinds]
        errors = [f"{row['force_mse']:.1e} ± {row['standard_error']:.0e}" for row in found]
        cost = min(row["cpu_us_per_site"] for row in found)
        shown = f"{cost:.0f}" if cost >= 10 else f"{cost:.1f}"
        lines.append(f"| {solver} | {' | '.join(errors)} | {shown} |")
    return "\n".join([*lines, ""])


HEADING = """Mean square error of the electronic force against exact diagonalization, with its
standard error over the fields. "block b" is the block "ring b" at every pole with two rounds of
messages; the schedules A to D have larger blocks at the lowest poles. The cost is the CPU time of
energy and forces in the dense form in float64 on one thread, which works for every model; for
"compiled" it is that of the forces alone by compiled programs, in float64 too. Written by
`scripts/green_errors.py`; the load of the machine was {loads}.
"""


def report(results: dict) -> str:
    """The tables of all cases under a heading."""
    loads = [result["load"] for result in results.values()]
    heading = HEADING.format(loads=f"{min(loads):.1f} to {max(loads):.1f}")
    tables = [table(case, results[case]) for case in CASES if case in results]
    return "\n".join([heading, *tables])


def main(
    cases: list[str] | None = None,
    only: list[str] | None = None,
    out: str = "docs/benchmarks/green.json",
) -> None:
    """Run the measurements and write the results.

    Args:
        cases: Names in CASES. Default: all of them.
        only: Names of solvers. The earlier results of others are kept. Default: all of them.
        out: JSON file; the table is written beside it.
    """
    path = Path(out)
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in CASES if cases is None else cases:
        with threads(1):
            found = measure(CASES[name], only)
        if only is not None and name in results:
            kept = [row for row in results[name]["rows"] if row["solver"] not in only]
            found["rows"] = kept + found["rows"]
        results[name] = found
        results[name] |= {"load": os.getloadavg()[0], "versions": versions()}
        atomic_write_text(out, json.dumps(results, indent=1) + "\n")
        atomic_write_text(path.with_suffix(".md"), report(results))
        sys.stdout.write(table(name, results[name]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    auto_cli(main)
