"""The verb simulate: build the objects, make the start, run, and record how the run was made."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from dask.system import CPU_COUNT

from lattgnn import dynamics
from lattgnn.cli.parser import Parser, instantiate
from lattgnn.cli.physics_verbs import as_options, choose_force_field, model_parser
from lattgnn.cli.simulate_records import (
    earlier_provenance,
    provenance,
    resolved,
    resolved_solver,
)
from lattgnn.data.code_identity import changed_classes, code_identity, warn_of_changed_code
from lattgnn.data.workers import threads
from lattgnn.devices import usable_device
from lattgnn.disorder import DisorderedForceField
from lattgnn.dynamics import domains
from lattgnn.dynamics.components import PerComponent
from lattgnn.dynamics.domains import Processes, n_processes, session
from lattgnn.dynamics.domains.processes import local_rank, n_local_processes
from lattgnn.dynamics.loop import check_integrator
from lattgnn.dynamics.restart import FromRun
from lattgnn.errors import InputError
from lattgnn.forcefield import LearnedForceField
from lattgnn.lattice import Lattice
from lattgnn.patch_forces import domain_force_field
from lattgnn.pretrained import find_checkpoint
from lattgnn.run_records import CONFIG, PROVENANCE, AnyForceField, describe_force_field
from lattgnn.spin_orders import SpinOrder


def main(argv: Sequence[str]) -> None:
    """`lattgnn simulate`: run dynamics, or resume a run.

    Args:
        argv: The verb and its options.
    """
    if n_processes() == 1:
        _simulate(argv, None)
        return
    # Started by torchrun: this is one of several processes with a part of the lattice each.
    with session() as processes:
        _simulate(argv, processes)


def _simulate(argv: Sequence[str], processes: Processes | None) -> None:
    """Run dynamics in this process, or in one of several ones."""
    parser = simulate_parser()
    parsed = parser.parse_args(list(argv[1:]))
    options = as_options(instantiate(parser, parsed))
    initial, out = options.pop("initial"), options.pop("out")
    old_code = options.pop("code")
    initial["device"] = options.pop("device") or initial["device"]
    if processes is not None:
        initial["device"] = _own_device(initial["device"])
    usable_device(initial["device"])
    origin = initial.pop("from")
    order = initial.pop("order")
    if origin is not None and order is not None:
        raise InputError(
            f"initial must have only one of from and order, got both, from={origin!r}. Leave one"
            " out."
        )
    initial["origin"] = order if origin is None else FromRun.parse(origin).resolved()
    n_threads, dtype = options.pop("threads"), options.pop("dtype")
    chosen = options.pop("force_field")
    checkpoint = _checkpoint(chosen["checkpoint"], chosen.pop("sha256"))
    lattice, cuts = options.pop("lattice"), options.pop("cuts")
    if processes is None and cuts is not None and math.prod(cuts) != 1:
        raise InputError(
            f"cuts must be left out for one process, got {cuts}. Leave it out, or start "
            f"{math.prod(cuts)} processes with torchrun."
        )
    with threads(1 if n_threads is None else n_threads):
        # Of a lattice in parts, no process needs the tables of the whole.
        example = lattice if processes is None else _small(lattice)
        force_field = choose_force_field(example, device=initial["device"], **chosen)
        # `simulate` checks it too, but this should come before errors of the initial state.
        check_integrator(options["integrator"], force_field)
        compiled = _is_compiled(force_field)
        # Spins stay in float64, where their length is kept to 1e-12, and on one thread: the
        # operations of torch that rotate them may round in another way on more.
        fast = compiled and not force_field.hamiltonian.field_type.is_spin
        if n_threads is None and fast:
            torch.set_num_threads(max(1, CPU_COUNT // n_local_processes()))
        on_gpu = torch.device(initial["device"]).type != "cpu"
        single = fast or (on_gpu and isinstance(force_field, LearnedForceField))
        dtype = dtype or ("float32" if single else "float64")

        code = _code(force_field, options["integrator"], options["save"])
        warn_of_changed_code(old_code, code)

        def records(config: Mapping[str, Any]) -> dict[str, str]:
            raw = parser.dump(parsed, skip_unset=False)
            options_of_run = resolved(
                yaml.safe_load(raw), config, dtype, initial["origin"], checkpoint
            )
            options_of_run["force_field"] |= resolved_solver(force_field)
            found = provenance(argv, initial["seed"], compiled, checkpoint)
            found["earlier"] = earlier_provenance(Path(out))
            options_of_run["code"] = code or None
            changed = changed_classes(old_code, code)
            found["changed_code"] = {name: [old_code[name], code[name]] for name in changed}
            text = yaml.safe_dump(options_of_run, sort_keys=False, allow_unicode=True)
            return {CONFIG: text, PROVENANCE: json.dumps(found, indent=2) + "\n"}

        options |= {"path": out, "records": records, "config": describe_force_field(force_field)}
        of_dtype = getattr(torch, dtype)
        if processes is None:
            state = start(force_field, dtype=of_dtype, **initial)
            dynamics.simulate(force_field, state=state, **options)
        else:
            kind = torch.device(initial["device"]).type
            part = domain_force_field(force_field, lattice, processes, cuts, kind)
            state = start(part, dtype=of_dtype, **initial)
            domains.simulate(part, state=state, **options)
    print(out)


def simulate_parser() -> Parser:
    """Make the parser of `lattgnn simulate`.

    Returns:
        The parser.
    """
    parser = model_parser(
        "simulate",
        "Run dynamics of fields or spins. Rerun the command to resume after an interruption.",
    )
    parser.add_argument("--lattice", type=Lattice, required=True, help="lattice of the field")
    parser.add_function_arguments(choose_force_field, "force_field", skip={"lattice", "device"})
    parser.add_argument(
        "--force_field.sha256",
        type=str | None,
        help="SHA-256 that the file of the checkpoint must have; a recorded run sets it",
    )
    parser.add_argument(
        "--integrator", type=dynamics.Integrator, required=True, help="time-stepping scheme"
    )
    parser.add_argument(
        "--save", type=dynamics.SaveSchedule, required=True, help="which steps are saved"
    )
    parser.add_function_arguments(start, "initial", skip={"force_field", "dtype", "origin"})
    # An option of its own, because `from` cannot be the name of a Python argument.
    parser.add_argument(
        "--initial.from",
        type=str | None,
        help="start from a frame of another run, RUN or RUN:FRAME, the last one by default",
    )
    parser.add_argument(
        "--initial.order",
        type=SpinOrder | None,
        help="start from a perfect magnetic order, such as lattgnn.spin_orders.tetrahedral",
    )
    parser.add_argument(
        "--device",
        type=str | None,
        help="device of the forces and the state, such as cuda; default: initial.device",
    )
    parser.add_argument(
        "--dtype",
        type=Literal["float32", "float64"] | None,
        help="precision of the state; default: float32 for compiled forces, except those of spins, "
        "and learned forces on a GPU, else float64",
    )
    parser.add_argument(
        "--code",
        type=dict[str, str] | None,
        help="hashes of the source of your own classes; a recorded run sets them, and a run with "
        "other code says so",
    )
    built: set[str | int] = {"force_field", "integrator", "state", "save", "path"}
    parser.add_function_arguments(dynamics.simulate, skip=built | {"config", "records"})
    parser.add_argument("--out", type=str, required=True, help="directory of the trajectory")
    parser.add_argument(
        "--threads",
        type=int | None,
        help="default: all cores for compiled forces, whose results do not depend on it, else 1",
    )
    parser.add_argument(
        "--cuts",
        type=list[int] | None,
        help="under torchrun: number of processes along the first axes of the lattice, such as "
        "[2, 2]; default: the mesh with the smallest halos",
    )
    parser.set_defaults({"progress": True})
    return parser


def start(
    force_field: AnyForceField | domains.DomainForceField,
    seed: int,
    n_replicas: int | None = None,
    field_std: PerComponent | None = None,
    momentum_std: PerComponent | None = None,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    origin: FromRun | SpinOrder | None = None,
) -> dynamics.State:
    """Make the initial state: random fields or spins, a perfect order, or a frame of a run.

    Args:
        force_field: The force field, whose model decides.
        seed: Seed of the initial state and of the noise of the run.
        n_replicas: Number of independent replicas; default: 1, or those of the run to start from.
        field_std: Standard deviation of the field, or a list with that of each component.
        momentum_std: Standard deviation of the momentum p = m v, or a list with that of each
            component. Default: 0, or the momenta of the run to start from.
        dtype: Precision of the state.
        device: Device of the state.
        origin: A frame of another run, or a perfect magnetic order, to start from.

    Returns:
        The state.

    Raises:
        InputError: If field_std or momentum_std is given for spins, field_std with a frame, or an
            order for another field than spins.
    """
    is_spin = force_field.hamiltonian.field_type.is_spin
    if is_spin and (field_std or momentum_std):
        raise InputError(
            f"initial must have neither field_std nor momentum_std for spins, got {field_std!r} "
            f"and {momentum_std!r}. Leave them out."
        )
    order = origin if isinstance(origin, SpinOrder) else None
    if order is not None and not is_spin:
        raise InputError(
            "initial.order needs a field of spins, but the model has another field. Leave it out."
        )
    if isinstance(origin, FromRun):
        if field_std:
            raise InputError(
                f"initial.field_std must not be given with initial.from, got {field_std!r}: the "
                "field is that of the run. Leave it out."
            )
        return dynamics.state_from_run(
            force_field, origin, seed, n_replicas, momentum_std, dtype, device
        )
    n_replicas = 1 if n_replicas is None else n_replicas
    if is_spin:
        return dynamics.initial_spins(force_field, seed, n_replicas, dtype, device, order)
    return dynamics.initial_state(
        force_field, seed, n_replicas, field_std or 0.0, momentum_std or 0.0, dtype, device
    )


def _checkpoint(name: str | None, expected: str | None) -> dict[str, str] | None:
    """Name, absolute path and SHA-256 of a checkpoint, compared with the expected one."""
    if name is None:
        return None
    path = find_checkpoint(name)
    if not path.is_file():
        return None  # the force field reports it
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if expected is not None and sha256 != expected:
        raise InputError(
            f"force_field.checkpoint {name!r} has the SHA-256 {sha256}, but force_field.sha256 is "
            f"{expected}: the file is another one than that of the recorded run. Use the old file, "
            "or --force_field.sha256=null."
        )
    return {"name": name, "path": str(path.resolve()), "sha256": sha256}


def _own_device(device: str) -> str:
    """The GPU of this process, if a GPU is asked for without saying which."""
    if device != "cuda" or not torch.cuda.is_available():
        return device
    torch.cuda.set_device(local_rank())
    return f"cuda:{local_rank()}"


def _small(lattice: Lattice) -> Lattice:
    """A lattice of the same crystal on which a force field is made quickly."""
    most = 24 if lattice.dim < 3 else 10
    return lattice.with_extent(*(min(length, most) for length in lattice.extent))


def _is_compiled(force_field: AnyForceField) -> bool:
    """Whether compiled code computes the electronic forces."""
    clean = force_field.clean if isinstance(force_field, DisorderedForceField) else force_field
    return clean.is_compiled


def _code(force_field: AnyForceField, *others: Any) -> dict[str, str]:
    """Hashes of the source of all classes of a run that do not belong to lattgnn."""
    clean = force_field.clean if isinstance(force_field, DisorderedForceField) else force_field
    return code_identity(clean.hamiltonian, clean.solver, *others)
