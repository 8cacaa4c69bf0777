"""The verbs that run physics: parse, build the objects, call the library.

The keys of a verb are the arguments of the library's functions, so each is described in one place.
Every verb takes its own name and its arguments, as sys.argv would hold them, and prints where the
result is.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from dask.system import CPU_COUNT
from jsonargparse import Namespace, set_parsing_settings

from lattgnn import dynamics
from lattgnn.backends.export import export_forces
from lattgnn.cli.parser import Parser, instantiate
from lattgnn.data import Source, generate
from lattgnn.data.workers import threads
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.serialize import describe
from lattgnn.solvers import Solver

# What a class_path may stand for; jsonargparse would otherwise spell dataclasses out field by
# field.
BASES = [Lattice, Hamiltonian, Solver, Source, dynamics.Integrator, dynamics.SaveSchedule]


def generate_verb(argv: Sequence[str]) -> None:
    """`lattgnn generate`: make a dataset, or finish one."""
    print(generate(**_parse(generate_parser(), argv)))


def generate_parser() -> Parser:
    """The keys of `lattgnn generate`, which are the arguments of `lattgnn.data.generate`."""
    parser = _parser(
        "generate", "Make a dataset of exact forces; the same command finishes a killed one."
    )
    parser.add_function_arguments(generate)
    return parser


def simulate_verb(argv: Sequence[str]) -> None:
    """`lattgnn simulate`: run dynamics, or go on with a run."""
    parser = _parser(
        "simulate", "Dynamics of fields or spins; the same command goes on with a killed run."
    )
    parser.add_argument("--lattice", type=Lattice, required=True, help="where the field lives")
    parser.add_function_arguments(choose_force_field, "force_field", skip={"lattice", "device"})
    parser.add_argument(
        "--integrator", type=dynamics.Integrator, required=True, help="what a step is"
    )
    parser.add_argument(
        "--save", type=dynamics.SaveSchedule, required=True, help="which steps are kept"
    )
    parser.add_function_arguments(dynamics.initial_state, "initial", skip={"force_field", "dtype"})
    parser.add_argument(
        "--dtype",
        type=Literal["float32", "float64"] | None,
        help="of the state; by default float32 for compiled forces, else float64",
    )
    built: set[str | int] = {"force_field", "integrator", "state", "save", "path", "config"}
    parser.add_function_arguments(dynamics.simulate, skip=built)
    parser.add_argument("--out", type=str, required=True, help="directory of the trajectory")
    parser.add_argument(
        "--threads",
        type=int | None,
        help="all cores for compiled forces, whose bits do not depend on it; else 1, kept in a restart",
    )
    parser.set_defaults({"progress": True})

    asked = _parse(parser, argv)
    initial, out = asked.pop("initial"), asked.pop("out")
    n_threads, dtype = asked.pop("threads"), asked.pop("dtype")
    with threads(1 if n_threads is None else n_threads):
        force_field = choose_force_field(
            asked.pop("lattice"), device=initial["device"], **asked.pop("force_field")
        )
        check_integrator(asked["integrator"], force_field.hamiltonian)
        compiled = isinstance(force_field, LearnedForceField) and force_field.backend.is_compiled
        if n_threads is None and compiled:
            torch.set_num_threads(CPU_COUNT)
        dtype = dtype or ("float32" if compiled else "float64")
        state = start(force_field, dtype=getattr(torch, dtype), **initial)
        dynamics.simulate(
            force_field, state=state, path=out, config=_description(force_field), **asked
        )
    print(out)


def analyze_verb(argv: Sequence[str]) -> None:
    """`lattgnn analyze`: report.html, metrics.json and pictures of a run."""
    from lattgnn.report import (
        write_quench_report,  # matplotlib only where there is something to draw
    )

    parser = _parser(
        "analyze", "Order, structure factor and growth of domains of a run, as a report."
    )
    parser.add_argument("trajectory", type=str, help="directory that `lattgnn simulate` wrote")
    parser.add_argument(
        "--out", type=str | None, help="directory of the report; beside the run by default"
    )
    parser.add_function_arguments(write_quench_report, skip={"trajectory", "out"})

    asked = _parse(parser, argv)
    run, out = Path(asked.pop("trajectory")), asked.pop("out")
    out = run.with_name(f"{run.name}-report") if out is None else Path(out)
    print(json.dumps(write_quench_report(Trajectory.open(run), out, **asked), indent=2))
    print(out / "report.html")


def export_verb(argv: Sequence[str]) -> None:
    """`lattgnn export`: a checkpoint as a program that runs without lattgnn."""
    parser = _parser(
        "export", "Write a force field, classical part included, for use without lattgnn."
    )
    parser.add_argument(
        "checkpoint", type=str, help="file of `lattgnn fit`, or a name of the package's own"
    )
    parser.add_argument(
        "--lattice",
        type=Lattice | None,
        help="that of the checkpoint with other boundaries; extents stay free",
    )
    parser.add_argument("--out", type=str, required=True, help="file to write, .pt2")
    parser.add_function_arguments(export_forces, skip={"net", "hamiltonian", "path", "solver"})

    asked = _parse(parser, argv)
    lattice, out = asked.pop("lattice"), asked.pop("out")
    learned = _learned(asked.pop("checkpoint"), lattice)
    export_forces(learned.net, learned.hamiltonian, out, solver=learned.solver, **asked)
    print(out)


def choose_force_field(
    lattice: Lattice,
    hamiltonian: Callable[[Lattice], Hamiltonian] | None = None,
    solver: Solver | None = None,
    checkpoint: str | None = None,
    filling: float | None = None,
    device: str = "cpu",
) -> ExactForceField | LearnedForceField:
    """The learned force field of a checkpoint, or without one the exact one.

    Args:
        lattice: Where it is used.
        hamiltonian: The model; with a checkpoint, the model that it has to be of.
        solver: How the electrons are found; a checkpoint brings its own.
        checkpoint: A file of `lattgnn fit`, or the name of a force field that comes with the
            package.
        filling: Electrons per state for a checkpoint; None keeps the chemical potential of its
            labels.
        device: Where the network runs.

    Raises:
        ValueError: If neither a checkpoint nor both of hamiltonian and solver are given, or they
            disagree.
    """
    model = None if hamiltonian is None else hamiltonian(lattice)
    if checkpoint is None:
        if model is None or solver is None or filling is not None:
            raise InputError(
                "force_field must have a checkpoint (and a filling if wanted), or a hamiltonian "
                "and a solver"
                " (which has the filling). Use --force_field.checkpoint=FILE."
            )
        return ExactForceField(model, solver)
    learned = _learned(checkpoint, lattice, filling, device)
    if model is not None and model != learned.hamiltonian:
        raise InputError(
            f"force_field.checkpoint must be of the hamiltonian asked for, got {checkpoint!r} of"
            f" {_in_words(learned.hamiltonian)} where {_in_words(model)} is asked for. Use another "
            f"one, or"
            " --force_field.hamiltonian=null to take its own."
        )
    if solver is not None and solver != learned.solver:
        raise InputError(
            f"force_field.solver must be the one behind the labels of {checkpoint!r}, "
            f"{learned.solver}, got"
            f" {solver}. Use --force_field.solver=null to take its own; --force_field.filling sets "
            f"a filling."
        )
    return learned


def _learned(
    checkpoint: str, lattice: Lattice | None, filling: float | None = None, device: str = "cpu"
) -> LearnedForceField:
    """Of a file, or of the name of a force field that comes with the package."""
    is_file = Path(checkpoint).suffix or Path(checkpoint).exists()
    load = LearnedForceField.load if is_file else LearnedForceField.pretrained
    return load(checkpoint, lattice, filling, device)


def check_integrator(integrator: dynamics.Integrator, model: Hamiltonian) -> None:
    """Refuse an integrator that moves another kind of field.

    Raises:
        ValueError: If one of them is for spins and the other is not.
    """
    if integrator.moves_spins != model.field_type.is_spin:
        use = "HeunLLG" if model.field_type.is_spin else "VerletLangevin"
        raise InputError(
            f"integrator must move the field of {type(model).__name__}, got "
            f"{type(integrator).__name__}. "
            f"Use lattgnn.dynamics.{use}."
        )


def start(
    force_field: ExactForceField | LearnedForceField,
    field_std: float = 0.0,
    momentum_std: float = 0.0,
    **options: Any,
) -> dynamics.State:
    """The start that `initial` asks for: Gaussian fields, or spins uniform on the sphere.

    Raises:
        ValueError: If spins are given a field_std or momentum_std.
    """
    if not force_field.hamiltonian.field_type.is_spin:
        return dynamics.initial_state(
            force_field, field_std=field_std, momentum_std=momentum_std, **options
        )
    if field_std or momentum_std:
        raise InputError(
            f"initial must have neither field_std nor momentum_std for spins, got {field_std!r} "
            f"and "
            f"{momentum_std!r}. Leave them out."
        )
    return dynamics.initial_spins(force_field, **options)


def _in_words(model: Hamiltonian) -> str:
    spec = describe(model)
    arguments = ", ".join(f"{key}={value}" for key, value in spec["init_args"].items())
    return f"{spec['class_path'].rpartition('.')[2]}({arguments})"


def _description(force_field: ExactForceField | LearnedForceField) -> dict[str, Any]:
    """Plain data that tell two force fields apart: a run must not go on with another one."""
    found = {
        "hamiltonian": describe(force_field.hamiltonian),
        "solver": describe(force_field.solver),
    }
    if isinstance(force_field, ExactForceField):
        return {"class_path": "lattgnn.forcefield.ExactForceField", "init_args": found}
    digest = hashlib.sha256()
    for name, weights in sorted(force_field.net.state_dict().items()):
        digest.update(name.encode() + weights.cpu().numpy().tobytes())
    found |= {"weights_sha256": digest.hexdigest(), "filling": force_field.filling}
    return {"class_path": "lattgnn.forcefield.LearnedForceField", "init_args": found}


def _parser(verb: str, description: str) -> Parser:
    set_parsing_settings(subclasses_enabled=BASES)
    parser = Parser(prog=f"lattgnn {verb}", description=description)
    parser.add_argument(
        "--config", action="config", help="YAML file; later ones win, the command line over all"
    )
    return parser


def _parse(parser: Parser, argv: Sequence[str]) -> dict[str, Any]:
    """Arguments with the objects built, groups as dictionaries."""
    built = instantiate(parser, parser.parse_args(list(argv[1:])))
    built.pop("config")
    return {
        key: vars(value) if isinstance(value, Namespace) else value
        for key, value in vars(built).items()
    }
