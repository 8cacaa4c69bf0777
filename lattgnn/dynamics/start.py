"""Initial states: Gaussian fields and momenta, random spins, and perfect magnetic orders."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lattgnn.devices import usable_device
from lattgnn.dynamics.langevin_kernels import SiteRows
from lattgnn.dynamics.philox import INITIAL_FIELD, INITIAL_MOMENTUM, noise
from lattgnn.dynamics.state import ForceField, State, check_spins, evaluate
from lattgnn.errors import InputError, check_number
from lattgnn.memory import require_memory
from lattgnn.spin_orders import SpinOrder


def thermal_momentum_std(mass: float, kT: float) -> float:
    """Standard deviation of a momentum component in equilibrium, sqrt(m kT).

    Args:
        mass: Mass per site.
        kT: Temperature, in units of the hopping.

    Returns:
        The standard deviation.
    """
    return math.sqrt(mass * kT)


def initial_state(
    force_field: ForceField,
    seed: int,
    n_replicas: int = 1,
    field_std: float | Sequence[float] = 0.0,
    momentum_std: float | Sequence[float] = 0.0,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> State:
    """Make a state of independent Gaussian fields and momenta on every site.

    The field is N(0, field_std²) and the momentum N(0, momentum_std²). The quench of the Holstein
    papers has `field_std=(5 / 0.18) ** 0.5` and `momentum_std=(5 * mass) ** 0.5` (velocities of
    variance 5/m). Thermal momenta have `momentum_std=thermal_momentum_std(mass, kT)`.

    Args:
        force_field: Force field, evaluated once.
        seed: Seed of the initial state and of the noise of the run.
        n_replicas: Number of independent replicas.
        field_std: Standard deviation of the field, or that of each component.
        momentum_std: Standard deviation of the momentum p = m v, or that of each component.
        dtype: Precision of the state. The random numbers are the same in every precision.
        device: Device of the state.

    Returns:
        The state at step 0.

    Raises:
        InputError: If n_replicas is below 1, the forces are not shaped like the field, or the
            numbers of standard deviations and components differ.
    """
    shape, site = _batch_shape(force_field, n_replicas), _first_site(force_field)
    field_factor = std_factor("field_std", field_std, shape)
    momentum_factor = std_factor("momentum_std", momentum_std, shape)
    start = noise(seed, 0, shape, INITIAL_FIELD, first_site=site) * field_factor
    momentum = noise(seed, 0, shape, INITIAL_MOMENTUM, first_site=site) * momentum_factor
    start, momentum = (x.to(usable_device(device), dtype) for x in (start, momentum))
    return _evaluated(force_field, start, momentum, seed)


def initial_spins(
    force_field: ForceField,
    seed: int,
    n_replicas: int = 1,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
    order: SpinOrder | None = None,
) -> State:
    """Make a state of independent spins, uniform on the unit sphere, or of a perfect order.

    Args:
        force_field: Force field, evaluated once.
        seed: Seed of the initial state and of the noise of the run.
        n_replicas: Number of independent replicas.
        dtype: Precision of the state. The random numbers are the same in every precision.
        device: Device of the state.
        order: The spins of all replicas. Default: random ones (infinite temperature).

    Returns:
        The state at step 0.

    Raises:
        InputError: If n_replicas is below 1, the field is not [n_sites, 3], or the order does not
            fit on the lattice.
    """
    shape = _batch_shape(force_field, n_replicas)
    check_spins(shape)
    if order is not None:
        spins = torch.from_numpy(order.spins(force_field.lattice)).expand(n_replicas, -1, -1)
        domain = getattr(force_field, "domain", None)
        # In many processes, the field is that of one block.
        part = spins if domain is None else torch.from_numpy(domain.part_of(spins.numpy()))
        start = part.to(usable_device(device), dtype, copy=True)
        return _evaluated(force_field, start, torch.zeros_like(start), seed)
    vectors = noise(seed, 0, shape, INITIAL_FIELD, first_site=_first_site(force_field))
    # The direction of a Gaussian vector is uniform on the sphere.
    start = normalize(vectors, dim=-1).to(usable_device(device), dtype)
    return _evaluated(force_field, start, torch.zeros_like(start), seed)


def std_factor(name: str, std: float | Sequence[float], shape: Sequence[int]) -> float | Tensor:
    """Return a standard deviation, or those of the components, as a factor of random numbers.

    Args:
        name: Its name, for errors.
        std: One number, or one for each component.
        shape: Shape of the numbers, [n_replicas, n_sites] or [n_replicas, n_sites, n_components].

    Raises:
        InputError: If a standard deviation is negative or not finite, or the numbers of standard
            deviations and components differ.
    """
    for value in std if isinstance(std, Sequence) else [std]:
        check_number(name, value, 0)
    if not isinstance(std, Sequence):
        return std
    if len(shape) != 3 or len(std) != shape[2]:
        raise InputError(
            f"{name} has {len(std)} numbers, one for each component, but a field has the shape "
            f"{list(shape[1:])}. Use one number, or as many as there are components."
        )
    return torch.tensor(std, dtype=torch.float64)


def _batch_shape(force_field: ForceField, n_replicas: int) -> tuple[int, ...]:
    """Shape of the tensors of a state."""
    if n_replicas < 1:
        raise InputError(f"n_replicas must be at least 1, got {n_replicas!r}. Use 1.")
    shape = (n_replicas, *force_field.field_shape)
    # Field, momentum and forces of the state and of two workspaces, in float32 at least.
    n_bytes = 9 * 4 * math.prod(shape)
    numbers = f"a state of {math.prod(shape):,} numbers"
    require_memory(n_bytes, numbers, "Use a smaller extent or fewer replicas.")
    return shape


def _evaluated(force_field: ForceField, field: Tensor, momentum: Tensor, seed: int) -> State:
    """The state at step 0, with its forces."""
    energy, forces = evaluate(force_field, field)
    site = _first_site(force_field)
    return State(field, momentum, forces, energy, seed=seed, first_site=site)


def _first_site(force_field: ForceField) -> int | SiteRows:
    """The sites of the field in the generator, where it is a part of a lattice."""
    return getattr(force_field, "first_site", 0)
