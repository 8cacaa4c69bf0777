"""Short runs that know what their force field is."""

import torch

from lattgnn.dynamics import Regular, VerletLangevin, initial_state, simulate
from lattgnn.run_records import describe_force_field

INTEGRATOR = VerletLangevin(dt=0.1, kT=0.1, gamma=0.2, mass=5.0)


def simulated(force_field, path=None, n_replicas=2, n_steps=8, forces=False, std=3.0):
    """A short run of a force field, which knows what its force field is."""
    state = initial_state(force_field, 1, n_replicas, std, 3.0, torch.float64)
    save = Regular(1, forces=forces)
    config = describe_force_field(force_field)
    return simulate(force_field, INTEGRATOR, state, n_steps, save, path, config=config)
