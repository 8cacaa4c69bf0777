"""Count how often the intervals of an audit contain the true error of a run.

    python scripts/validate_audit.py --extent=32 --n_audits=100

The run is a quench by a shipped network or by domains that are too small, on a lattice where exact
diagonalization gives the force on every site of every frame. It is audited again and again, each
time with patches of another seed. The result is the part of the audits whose 95 % interval contains
the true mean square error, in each window of time and of all frames.
"""

import json
from typing import Literal

import numpy as np
import torch
from jsonargparse import auto_cli

from lattgnn.audit import Audit, audit_run
from lattgnn.data.workers import threads
from lattgnn.dynamics import LogSpaced, Trajectory, VerletLangevin, initial_state, simulate
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.run_records import describe_force_field
from lattgnn.solvers import DomainDiagonalization, ExactDiagonalization

EXACT = ExactDiagonalization(kT=0.1, mu=0.0)


def simulated(kind: str, extent: int, n_steps: int, n_frames: int) -> Trajectory:
    """A quench whose forces are saved, in memory.

    Args:
        kind: Name of a shipped network, or "domains".
        extent: Linear size of the square lattice.
        n_steps: Steps of the run.
        n_frames: Frames to save.
    """
    force_field: ExactForceField | LearnedForceField
    if kind == "domains":
        solver = DomainDiagonalization(kT=0.1, mu=0.0, core=2, buffer=2)
        force_field = ExactForceField(Holstein(square(extent)), solver)
    else:
        force_field = LearnedForceField.pretrained(kind, square(extent))
    state = initial_state(force_field, 0, 1, (5 / 0.18) ** 0.5, 5.0, torch.float32)
    return simulate(
        force_field,
        VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=5.0),
        state,
        n_steps,
        LogSpaced(n_frames, forces=True),
        config=describe_force_field(force_field),
    )


def true_errors(run: Trajectory) -> np.ndarray:
    """Mean square error of the forces of each frame.

    Args:
        run: The run.
    """
    exact = ExactForceField(Holstein(run.lattice), EXACT)
    errors = []
    for frame in range(len(run.steps)):
        _, forces = exact(torch.from_numpy(run.fields[frame]).double())
        errors.append(np.square(run.forces[frame] - forces.numpy()).mean())
    return np.array(errors)


def covered(audit: Audit, run: Trajectory, errors: np.ndarray) -> list[bool]:
    """Whether each interval of an audit contains the truth: those of the windows, and the total.

    Args:
        audit: The audit.
        run: The run.
        errors: The errors of its frames.
    """
    found = []
    for window in (*audit.windows, audit.total):
        inside = (run.steps >= window.first_step) & (run.steps <= window.last_step)
        found.append(window.mse.low <= errors[inside].mean() <= window.mse.high)
    return found


def main(
    kind: Literal["holstein-square-small", "holstein-square", "domains"] = "holstein-square-small",
    extent: int = 32,
    n_steps: int = 400,
    n_frames: int = 60,
    n_audits: int = 100,
    n_patches: int = 100,
    windows: int = 3,
    core: int = 4,
    halo: int = 4,
) -> None:
    """Print how often the intervals contain the truth, as JSON.

    Args:
        kind: A shipped network, or domains that are too small.
        extent: Linear size of the square lattice.
        n_steps: Steps of the run.
        n_frames: Frames to save.
        n_audits: Number of audits.
        n_patches: Patches in each window of an audit.
        windows: Windows of time.
        core: Cells of a core.
        halo: Cells of a halo.
    """
    with threads(1):
        run = simulated(kind, extent, n_steps, n_frames)
        errors, counts, widths, audit = true_errors(run), [], [], None
        for seed in range(n_audits):
            audit = audit_run(
                run,
                solver=EXACT,
                n_patches=n_patches,
                windows=windows,
                core=core,
                halo=halo,
                n_checks=3 if seed == 0 else 0,
                seed=seed,
            )
            counts.append(covered(audit, run, errors))
            parts = (*audit.windows, audit.total)
            widths.append([part.mse.high / part.mse.low for part in parts])
            if seed == 0:
                print(f"reference MSE {audit.total.reference_mse:.1e}", flush=True)
    assert audit is not None
    for number, part in enumerate((*audit.windows, audit.total)):
        inside = (run.steps >= part.first_step) & (run.steps <= part.last_step)
        result = {
            "steps": [part.first_step, part.last_step],
            "true_mse": float(errors[inside].mean()),
            "covered": int(np.sum(counts, axis=0)[number]),
            "audits": n_audits,
            "median_high_by_low": float(np.median(widths, axis=0)[number]),
        }
        print(json.dumps(result))


if __name__ == "__main__":
    auto_cli(main)
