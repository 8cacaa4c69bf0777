"""Time: states, integrators of fields and spins, the loop over steps, and saved trajectories."""

from lattgnn.dynamics.frames import Frames
from lattgnn.dynamics.langevin import BAOAB, OverdampedLangevin, VerletLangevin
from lattgnn.dynamics.llg import HeunLLG, LandauLifshitzGilbert, MidpointLLG
from lattgnn.dynamics.loop import simulate
from lattgnn.dynamics.philox import noise
from lattgnn.dynamics.restart import FromRun, state_from_run
from lattgnn.dynamics.runaway import RunawayFieldError
from lattgnn.dynamics.schedule import Extended, LogSpaced, Regular, SaveSchedule
from lattgnn.dynamics.spin_relaxation import OverdampedSpins, Relaxed, relax
from lattgnn.dynamics.spin_transfer import SpinTransferTorque
from lattgnn.dynamics.start import (
    initial_spins,
    initial_state,
    state_from_field,
    thermal_momentum_std,
)
from lattgnn.dynamics.state import ForceField, InPlaceForceField, Integrator, State
from lattgnn.dynamics.temperature import Cycle, LinearRamp, Steps, TemperatureProtocol
from lattgnn.dynamics.trajectory import Trajectory

__all__ = [
    "BAOAB",
    "Cycle",
    "Extended",
    "ForceField",
    "Frames",
    "FromRun",
    "HeunLLG",
    "InPlaceForceField",
    "Integrator",
    "LandauLifshitzGilbert",
    "LinearRamp",
    "LogSpaced",
    "MidpointLLG",
    "OverdampedLangevin",
    "OverdampedSpins",
    "Regular",
    "Relaxed",
    "RunawayFieldError",
    "SaveSchedule",
    "SpinTransferTorque",
    "State",
    "Steps",
    "TemperatureProtocol",
    "Trajectory",
    "VerletLangevin",
    "initial_spins",
    "initial_state",
    "noise",
    "relax",
    "simulate",
    "state_from_field",
    "state_from_run",
    "thermal_momentum_std",
]
