"""Time: states, integrators, and the loop that saves trajectories."""

from lattgnn.dynamics.langevin import BAOAB, OverdampedLangevin, VerletLangevin
from lattgnn.dynamics.llg import HeunLLG, LandauLifshitzGilbert, MidpointLLG
from lattgnn.dynamics.loop import simulate
from lattgnn.dynamics.philox import noise
from lattgnn.dynamics.runaway import RunawayFieldError
from lattgnn.dynamics.schedule import LogSpaced, Regular, SaveSchedule
from lattgnn.dynamics.state import (
    ForceField,
    InPlaceForceField,
    Integrator,
    State,
    initial_spins,
    initial_state,
    thermal_momentum_std,
)
from lattgnn.dynamics.trajectory import Frames, Trajectory

__all__ = [
    "BAOAB",
    "ForceField",
    "Frames",
    "HeunLLG",
    "InPlaceForceField",
    "Integrator",
    "LandauLifshitzGilbert",
    "LogSpaced",
    "MidpointLLG",
    "OverdampedLangevin",
    "Regular",
    "RunawayFieldError",
    "SaveSchedule",
    "State",
    "Trajectory",
    "VerletLangevin",
    "initial_spins",
    "initial_state",
    "noise",
    "simulate",
    "thermal_momentum_std",
]
