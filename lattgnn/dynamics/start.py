"""Initial states: Gaussian fields and momenta, random spins, perfect orders, fields of your own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
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


def state_from_field(
    force_field: ForceField,
    field: Tensor | np.ndarray,
    seed: int,
    device: str | torch.device = "cpu",
) -> State:
    """Make a state of a field of your own, with its energy and forces and without momenta.

    Args:
        force_field: Force field, evaluated once.
        field: One configuration like `force_field.field_shape`, or several with an axis of replicas
            in front. float32 and float64 keep their precision.
        seed: Seed of the noise of the run.
        device: Device of the state.

    Returns:
        The state at step 0.

    Raises:
        InputError: If the field has another shape or type, or numbers that are not finite, or the
            model has spins and their lengths are not 1.

    Example:
        >>> from lattgnn.forcefield import ExactForceField
        >>> from lattgnn.hamiltonians import ClassicalMagnet, SpinTerms
        >>> from lattgnn.lattice import chain
        >>> from lattgnn.solvers import NoElectrons
        >>> model = ClassicalMagnet(chain(4), SpinTerms(exchange=-1.0))
        >>> magnet = ExactForceField(model, NoElectrons())
        >>> state = state_from_field(magnet, np.tile([0.0, 0.0, 1.0], (4, 1)), seed=0)
        >>> print(state.energy)
        tensor([4.], dtype=torch.float64)
    """
    start, shape = torch.as_tensor(field), tuple(force_field.field_shape)
    if start.ndim == len(shape):
        start = start[None]
    if tuple(start.shape[1:]) != shape or not len(start):
        raise InputError(
            f"field must have the shape {list(shape)}, or an axis of replicas in front, got "
            f"{list(np.shape(field))}. Use one number per site and component."
        )
    if start.dtype not in (torch.float32, torch.float64):
        raise InputError(f"field must be in float32 or float64, got {start.dtype}. Convert it.")
    if not start.isfinite().all():
        raise InputError("field must be finite, got NaN or infinity. Correct these numbers.")
    _check_lengths(force_field, start)
    start = start.to(usable_device(device), copy=True).contiguous()
    return _evaluated(force_field, start, torch.zeros_like(start), seed)


def _check_lengths(force_field: ForceField, field: Tensor) -> None:
    """Refuse spins whose length is not 1."""
    hamiltonian = getattr(force_field, "hamiltonian", None)
    if hamiltonian is None or not hamiltonian.field_type.is_spin:
        return
    error = float((field.norm(dim=-1) - 1).abs().max())
    if error > 1e-5:  # the rounding of float32
        raise InputError(
            f"field must hold spins of length 1, got lengths that differ from 1 by {error:.2g}. "
            "Divide each spin by its length."
        )


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
    check_std(name, std)
    if not isinstance(std, Sequence):
        return std
    if len(shape) != 3 or len(std) != shape[2]:
        raise InputError(
            f"{name} has {len(std)} numbers, one for each component, but a field has the shape "
            f"{list(shape[1:])}. Use one number, or as many as there are components."
        )
    return torch.tensor(std, dtype=torch.float64)


def check_std(name: str, std: float | Sequence[float]) -> None:
    """Refuse standard deviations that no field has.

    Args:
        name: Name of the argument, for errors.
        std: One number, or one for each component.

    Raises:
        InputError: If one of them is negative or not finite.
    """
    for value in std if isinstance(std, Sequence) else [std]:
        check_number(name, value, 0)


def check_replicas(n_replicas: int) -> None:
    """Refuse a state without replicas.

    Args:
        n_replicas: Number of replicas.

    Raises:
        InputError: If it is below 1.
    """
    if n_replicas < 1:
        raise InputError(f"n_replicas must be at least 1, got {n_replicas!r}. Use 1.")


def _batch_shape(force_field: ForceField, n_replicas: int) -> tuple[int, ...]:
    """Shape of the tensors of a state."""
    check_replicas(n_replicas)
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
