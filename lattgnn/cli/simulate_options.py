"""The options of the verb simulate, and the initial state that they describe."""

from typing import Any, Literal

import torch

from lattgnn import dynamics
from lattgnn.cli.parser import Parser
from lattgnn.cli.physics_verbs import choose_force_field, model_parser
from lattgnn.dynamics import domains
from lattgnn.dynamics.components import PerComponent
from lattgnn.dynamics.restart import FromRun
from lattgnn.dynamics.start import check_replicas, check_std
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.run_records import AnyForceField
from lattgnn.spin_orders import SpinOrder


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
    _add_start(parser)
    _add_precision(parser)
    built: set[str | int] = {"force_field", "integrator", "state", "save", "path"}
    parser.add_function_arguments(dynamics.simulate, skip=built | {"config", "records"})
    parser.add_argument("--out", type=str, required=True, help="directory of the trajectory")
    _add_machine(parser)
    parser.set_defaults({"progress": True})
    return parser


def _add_start(parser: Parser) -> None:
    """Add the options of the initial state."""
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


def _add_precision(parser: Parser) -> None:
    """Add what a recorded run sets, so that it can be repeated: device, precision and code."""
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


def _add_machine(parser: Parser) -> None:
    """Add how much of the machine the run may use."""
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


def check_initial(initial: dict[str, Any]) -> None:
    """Refuse an initial state that is wrong for every model.

    Args:
        initial: The parsed options `initial`.

    Raises:
        InputError: If it has two origins, no replicas, or a standard deviation below zero.
    """
    origin, n_replicas = initial["from"], initial["n_replicas"]
    if origin is not None and initial["order"] is not None:
        raise InputError(
            f"initial must have only one of from and order, got both, from={origin!r}. Leave one"
            " out."
        )
    if n_replicas is not None:
        check_replicas(n_replicas)
    for name in ("field_std", "momentum_std"):
        if initial[name] is not None:
            check_std(name, initial[name])


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
