"""The verb simulate: build the objects, make the start, run, and record how the run was made."""

import hashlib
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from dask.system import CPU_COUNT

from lattgnn import dynamics
from lattgnn.cli.parser import instantiate
from lattgnn.cli.physics_verbs import as_options, choose_force_field
from lattgnn.cli.simulate_options import check_initial, simulate_parser, start
from lattgnn.cli.simulate_records import Records, code_of
from lattgnn.data.code_identity import warn_of_changed_code
from lattgnn.data.workers import threads
from lattgnn.devices import usable_device
from lattgnn.disorder import without_disorder
from lattgnn.dynamics import domains
from lattgnn.dynamics.domains import Processes, n_processes, session
from lattgnn.dynamics.domains.processes import local_rank, n_local_processes
from lattgnn.dynamics.loop import check_integrator, check_limits
from lattgnn.dynamics.restart import FromRun
from lattgnn.errors import InputError
from lattgnn.forcefield import LearnedForceField
from lattgnn.lattice import Lattice
from lattgnn.patch_forces import domain_force_field
from lattgnn.pretrained import find_checkpoint
from lattgnn.run_records import AnyForceField, describe_force_field


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


def check_options(options: dict[str, Any], processes: Processes | None = None) -> None:
    """Refuse options that are wrong for every model, before anything is built.

    Args:
        options: The parsed options.
        processes: The processes of torchrun, if there are several.

    Raises:
        InputError: If one of them is wrong.
    """
    check_initial(options["initial"])
    check_limits(options["n_steps"], options["field_limit"])
    _check_cuts(options["cuts"], processes)
    if processes is not None:
        domains.check_local(options["integrator"])


def _simulate(argv: Sequence[str], processes: Processes | None) -> None:
    """Run dynamics in this process, or in one of several ones."""
    parser = simulate_parser()
    parsed = parser.parse_args(list(argv[1:]))
    options = as_options(instantiate(parser, parsed))
    check_options(options, processes)
    out, old_code = options.pop("out"), options.pop("code")
    initial = _initial(options, processes)
    n_threads, dtype = options.pop("threads"), options.pop("dtype")
    chosen = options.pop("force_field")
    checkpoint = _checkpoint(chosen["checkpoint"], chosen.pop("sha256"))
    lattice, cuts = options.pop("lattice"), options.pop("cuts")
    with threads(1 if n_threads is None else n_threads):
        # Of a lattice in parts, no process needs the tables of the whole.
        example = lattice if processes is None else _small(lattice)
        force_field = choose_force_field(example, device=initial["device"], **chosen)
        # `simulate` checks it too, but this should come before errors of the initial state.
        check_integrator(options["integrator"], force_field)
        fast = _is_fast(force_field)
        if n_threads is None and fast:
            torch.set_num_threads(max(1, CPU_COUNT // n_local_processes()))
        kind = torch.device(initial["device"]).type
        single = fast or (kind != "cpu" and isinstance(force_field, LearnedForceField))
        dtype = dtype or ("float32" if single else "float64")
        code = code_of(force_field, options["integrator"], options["save"])
        warn_of_changed_code(old_code, code)
        options["config"] = describe_force_field(force_field)
        options["records"] = Records(
            command=argv,
            resolved_options=partial(parser.dump, parsed, skip_unset=False),
            dtype=dtype,
            seed=initial["seed"],
            origin=initial["origin"],
            checkpoint=checkpoint,
            force_field=force_field,
            code=code,
            old_code=old_code,
        )
        of_dtype = getattr(torch, dtype)
        if processes is None:
            state = start(force_field, dtype=of_dtype, **initial)
            dynamics.simulate(force_field, state=state, path=out, **options)
        else:
            part = domain_force_field(force_field, lattice, processes, cuts, kind)
            state = start(part, dtype=of_dtype, **initial)
            domains.simulate(part, state=state, path=out, **options)
    print(out)


def _initial(options: dict[str, Any], processes: Processes | None) -> dict[str, Any]:
    """Take the arguments of `start` from the options: the device, and one origin."""
    initial = options.pop("initial")
    initial["device"] = options.pop("device") or initial["device"]
    if processes is not None:
        initial["device"] = _own_device(initial["device"])
    usable_device(initial["device"])
    origin, order = initial.pop("from"), initial.pop("order")
    initial["origin"] = order if origin is None else FromRun.parse(origin).resolved()
    return initial


def _check_cuts(cuts: list[int] | None, processes: Processes | None) -> None:
    """Refuse numbers of processes along the axes for one process alone."""
    if processes is None and cuts is not None and math.prod(cuts) != 1:
        raise InputError(
            f"cuts must be left out for one process, got {cuts}. Leave it out, or start "
            f"{math.prod(cuts)} processes with torchrun."
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
            f"{expected}: the file is not that of the recorded run. Use the old file, "
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


def _is_fast(force_field: AnyForceField) -> bool:
    """Whether the run uses float32 and all cores: with compiled forces, but not with spins.

    Spins stay in float64, where their length is kept to 1e-12, and on one thread: the operations of
    torch that rotate them may round in another way on more.
    """
    is_compiled = without_disorder(force_field).is_compiled
    return is_compiled and not force_field.hamiltonian.field_type.is_spin
