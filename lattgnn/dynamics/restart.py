"""A new run that starts from a frame of another run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lattgnn.devices import usable_device
from lattgnn.dynamics.philox import INITIAL_MOMENTUM, noise
from lattgnn.dynamics.start import std_factor
from lattgnn.dynamics.state import ForceField, State, evaluate
from lattgnn.dynamics.trajectory import Trajectory
from lattgnn.errors import InputError


@dataclass(frozen=True)
class FromRun:
    """A frame of a run, `RUN` or `RUN:FRAME` on the command line.

    Args:
        path: Directory written by `simulate`.
        frame: Index of the frame, negative from the end.
    """

    path: Path
    frame: int = -1

    @classmethod
    def parse(cls, text: str) -> FromRun:
        """Read "runs/quench" or "runs/quench:12".

        Args:
            text: Path of a run, and the index of a frame after a colon. Without it, the last frame.
        """
        path, colon, frame = text.rpartition(":")
        if colon and frame.lstrip("-").isdigit() and not Path(text).exists():
            return cls(Path(path), int(frame))
        return cls(Path(text))

    def resolved(self) -> FromRun:
        """The same frame by its absolute path and its index from the beginning.

        Raises:
            InputError: If there is no such run or frame.
        """
        n_frames = len(Trajectory.open(self.path).steps)
        if not -n_frames <= self.frame < n_frames:
            raise InputError(
                f"{str(self.path)!r} has {n_frames} frames, got frame {self.frame}. Use "
                f"{self.path}:-1 for the last one."
            )
        return FromRun(self.path.resolve(), self.frame % n_frames)

    def __str__(self) -> str:
        return f"{self.path}:{self.frame}"


def state_from_run(
    force_field: ForceField,
    origin: FromRun,
    seed: int,
    n_replicas: int | None = None,
    momentum_std: float | Sequence[float] | None = None,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> State:
    """Make the initial state of a new run from a frame of another run.

    The new run begins at step 0 with noise of its own, so its temperature, integrator and time step
    can be others. To continue the old run with its own noise, use `Trajectory.state`.

    Args:
        force_field: Force field of the new run, on the lattice of the old one.
        origin: The frame.
        seed: Seed of the new run, different from that of the old one.
        n_replicas: Number of replicas: a multiple of those of the old run, which are then repeated
            in turns and part through their noise. None for those of the old run.
        momentum_std: Standard deviation of new Gaussian momenta, or that of each component. None
            keeps the momenta of the frame.
        dtype: Precision of the state.
        device: Device of the state.

    Returns:
        The state at step 0.

    Raises:
        InputError: If the frame is missing, it was on another lattice or has another kind of field,
            its momenta were not saved, or the seed is that of the old run.
    """
    origin = origin.resolved()
    run = Trajectory.open(origin.path)
    start, frame = run.config["start"], origin.frame
    if seed == start["seed"] and frame > 0:
        raise InputError(
            f"seed must differ from that of {str(origin.path)!r}, {seed}: the new run would repeat "
            f"the noise that led to its start. Use {seed + 1}."
        )
    # In many processes, the field is that of one block.
    domain = getattr(force_field, "domain", None)
    old, new = run.config["shape"], [run.lattice.n_sites, *force_field.field_shape[1:]]
    if domain is None:
        new = list(force_field.field_shape)
    if run.lattice != force_field.lattice or old[1:] != new:
        raise InputError(
            f"lattice and field must be those of {str(origin.path)!r}, {run.lattice.name} with "
            f"extent {list(run.lattice.extent)} and fields {old[1:]}, got "
            f"{force_field.lattice.name} with extent {list(force_field.lattice.extent)} and fields "
            f"{new}."
        )
    n_new = old[0] if n_replicas is None else n_replicas
    if n_new < 1 or n_new % old[0]:
        raise InputError(
            f"n_replicas must be a multiple of the {old[0]} replicas of {str(origin.path)!r}, got "
            f"{n_replicas!r}. Use {old[0]}."
        )
    rows = [row % old[0] for row in range(n_new)]
    site = getattr(force_field, "first_site", 0)
    part = (lambda values: values) if domain is None else domain.part_of
    field = torch.from_numpy(part(run.fields[frame][rows]))
    if momentum_std is None:
        momentum = torch.from_numpy(part(run.momenta[frame][rows]))
    else:
        factor = std_factor("momentum_std", momentum_std, field.shape)
        momentum = noise(seed, 0, field.shape, INITIAL_MOMENTUM, first_site=site) * factor
    field, momentum = (x.to(usable_device(device), dtype) for x in (field, momentum))
    energy, forces = evaluate(force_field, field)
    return State(field, momentum, forces, energy, seed=seed, first_site=site)
