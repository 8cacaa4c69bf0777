"""The verbs generate, analyze and export: parse, build the objects, call the library.

The options of a verb are the arguments of the library's functions, so each is documented in one
place. Every verb takes its own name and its arguments, as sys.argv would hold them, and prints
the path of its result.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace, set_parsing_settings

from lattgnn import dynamics
from lattgnn.backends.export import export_forces
from lattgnn.cli.parser import Parser, instantiate
from lattgnn.data import Source, generate
from lattgnn.disorder import BoxDisorder, DisorderedForceField
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from lattgnn.files import run_lock
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.pretrained import find_checkpoint
from lattgnn.run_records import AnyForceField
from lattgnn.serialize import describe, in_words
from lattgnn.solvers import Solver
from lattgnn.spin_orders import SpinOrder

# Dataclasses that class_path may name. Without this, jsonargparse would make every field an option.
BASES = [
    *(Lattice, Hamiltonian, Solver, Source),
    *(dynamics.Integrator, dynamics.SaveSchedule, dynamics.TemperatureProtocol),
    *(dynamics.SpinTransferTorque, SpinOrder),
]


def generate_verb(argv: Sequence[str]) -> None:
    """`lattgnn generate`: make a dataset, or complete one.

    Args:
        argv: The verb and its options.
    """
    print(generate(**parse(generate_parser(), argv)))


def generate_parser() -> Parser:
    """Make the parser of `lattgnn generate`, with the arguments of `lattgnn.data.generate`.

    Returns:
        The parser.
    """
    parser = model_parser(
        "generate",
        "Make a dataset of fields and exact forces. Rerun the command to resume after "
        "an interruption.",
    )
    parser.add_function_arguments(generate)
    return parser


def analyze_verb(argv: Sequence[str]) -> None:
    """`lattgnn analyze`: write report.html, metrics.json, arrays.nc and pictures of runs.

    Args:
        argv: The verb and its options.
    """
    # matplotlib only where there is something to draw
    from lattgnn.report import group_runs, write_comparison, write_quench_report

    options = parse(analyze_parser(), argv)
    paths, out = [Path(run) for run in options.pop("runs")], options.pop("out")
    runs = [Trajectory.open(path) for path in paths]
    if out is None:
        others = f"and-{len(runs) - 1}-more-" if len(runs) > 1 else ""
        out = beside(paths[0], f"{others}report")
    write = write_quench_report if len(group_runs(runs)) == 1 else write_comparison
    with run_lock(out):
        metrics = write(runs, Path(out), **options)
    print(json.dumps(metrics, indent=2))
    print(Path(out) / "report.html")


def analyze_parser() -> Parser:
    """Make the parser of `lattgnn analyze`, with arguments of `write_quench_report`.

    Returns:
        The parser.
    """
    from lattgnn.report import write_quench_report

    parser = model_parser(
        "analyze",
        "Report order, structure factor, growth of domains and temperature of one or several runs.",
    )
    parser.add_argument(
        "runs",
        type=str,
        nargs="+",
        help="directories written by `lattgnn simulate`; runs that differ only in their noise are "
        "analyzed together, others are compared",
    )
    parser.add_argument(
        "--out", type=str | None, help="directory of the report; default: RUN-report"
    )
    parser.add_function_arguments(write_quench_report, skip={"runs", "out"})
    return parser


def export_verb(argv: Sequence[str]) -> None:
    """`lattgnn export`: write a checkpoint as a program that runs without lattgnn.

    Args:
        argv: The verb and its options.
    """
    parser = model_parser(
        "export",
        "Write a force field, including its classical part, for use without lattgnn. The program "
        "takes fields [batch, *extent, n_sublattices] of any batch size, with one more axis if the "
        "field has components, and returns forces of the same shape, and energies [batch] if the "
        "network has an energy. Any extent will do for scalar fields with a linear classical force;"
        " other programs are for the extent of --lattice only.",
    )
    parser.add_argument(
        "checkpoint",
        type=str,
        help="file written by `lattgnn fit`, or name of a shipped force field",
    )
    parser.add_argument(
        "--lattice",
        type=Lattice | None,
        help="lattice of the checkpoint with other boundary conditions or another extent",
    )
    parser.add_argument("--out", type=str, required=True, help="file to write, .pt2")
    parser.add_function_arguments(export_forces, skip={"net", "hamiltonian", "path", "solver"})

    options = parse(parser, argv)
    lattice, out = options.pop("lattice"), options.pop("out")
    learned = LearnedForceField.load(find_checkpoint(options.pop("checkpoint")), lattice)
    export_forces(learned.net, learned.hamiltonian, out, solver=learned.solver, **options)
    print(out)


def choose_force_field(
    lattice: Lattice,
    hamiltonian: Callable[[Lattice], Hamiltonian] | None = None,
    solver: Solver | None = None,
    checkpoint: str | None = None,
    filling: float | None = None,
    device: str = "cpu",
    disorder: BoxDisorder | None = None,
    energy: bool | None = None,
) -> AnyForceField:
    """Make the learned force field of a checkpoint, or an exact one if there is no checkpoint.

    Args:
        lattice: Lattice of the field.
        hamiltonian: The model. With a checkpoint: optional, compared with the model of the
            checkpoint. Only parameters of the classical energy, such as k0 and k1, may differ.
        solver: The method for the electrons. With a checkpoint: optional, compared with that of its
            labels.
        checkpoint: A file written by `lattgnn fit`, or the name of a shipped force field, see
            `lattgnn.pretrained.find_checkpoint`.
        filling: Electrons per state, for a checkpoint. None keeps the chemical potential of its
            labels.
        device: Device of the network.
        disorder: Random on-site energies, which are added to the model exactly.
        energy: Whether a solver gives the energy of each frame. Without it, `GreenFunction` is much
            faster for the Holstein model, whose forces are then computed in the dtype of the field.
            None leaves the energy out only there, at fixed mu.

    Returns:
        The force field.

    Raises:
        InputError: If neither a checkpoint nor both hamiltonian and solver are given, or if they
            disagree.
    """
    clean = _clean_force_field(lattice, hamiltonian, solver, checkpoint, filling, device, energy)
    return clean if disorder is None else DisorderedForceField(clean, disorder)


def _clean_force_field(
    lattice: Lattice,
    hamiltonian: Callable[[Lattice], Hamiltonian] | None,
    solver: Solver | None,
    checkpoint: str | None,
    filling: float | None,
    device: str,
    energy: bool | None,
) -> ExactForceField | LearnedForceField:
    """The force field without disorder, see `choose_force_field`."""
    model = None if hamiltonian is None else hamiltonian(lattice)
    if checkpoint is None:
        if model is None or solver is None or filling is not None:
            raise InputError(
                "force_field must have either a checkpoint (and optionally a filling), or a"
                " hamiltonian and a solver (which contains the filling)."
                " Use --force_field.checkpoint=FILE."
            )
        return ExactForceField(model, solver, energy)
    learned = LearnedForceField.load(find_checkpoint(checkpoint), lattice, filling, device)
    if model is not None and not model.has_same_electrons(learned.hamiltonian):
        trained, given = in_words(describe(learned.hamiltonian)), in_words(describe(model))
        raise InputError(
            f"force_field.checkpoint {checkpoint!r} is for {trained}, but"
            f" force_field.hamiltonian is {given}. Use another checkpoint, or"
            " --force_field.hamiltonian=null for the model of the checkpoint."
        )
    if solver is not None and solver.resolved(learned.hamiltonian) != learned.solver:
        raise InputError(
            f"force_field.checkpoint {checkpoint!r} has labels of {learned.solver}, but"
            f" force_field.solver is {solver}. Use --force_field.solver=null for the solver of the"
            " checkpoint; --force_field.filling sets a filling."
        )
    # The classical part was never learned, so other constants of it may be given.
    return learned if model is None else learned.with_hamiltonian(model)


def model_parser(verb: str, description: str) -> Parser:
    """A parser with `--config`, whose options may name classes by `class_path`.

    Args:
        verb: Name of the verb.
        description: What the verb does, for `--help`.
    """
    set_parsing_settings(subclasses_enabled=BASES)
    parser = Parser(prog=f"lattgnn {verb}", description=description)
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file; later ones override earlier ones, the command line overrides all",
    )
    return parser


def parse(parser: Parser, argv: Sequence[str]) -> dict[str, Any]:
    """Parse the options, build the objects, and return groups as dictionaries.

    Args:
        parser: A parser of `model_parser`.
        argv: The verb and its options.
    """
    return as_options(instantiate(parser, parser.parse_args(list(argv[1:]))))


def beside(run: Path, what: str) -> Path:
    """The folder for results of a run, RUN-WHAT.

    Args:
        run: Directory of the run.
        what: What the folder holds.
    """
    # "." has no name of its own.
    place = run.resolve() if run.name in ("", "..") else run
    return place.with_name(f"{place.name}-{what}")


def as_options(built: Namespace) -> dict[str, Any]:
    """The options of a verb, with groups as dictionaries.

    Args:
        built: The result of `instantiate`.
    """
    built.pop("config")
    return {
        key: vars(value) if isinstance(value, Namespace) else value
        for key, value in vars(built).items()
    }
