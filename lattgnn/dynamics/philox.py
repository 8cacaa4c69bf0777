"""Noise by a counter-based generator: a number depends on where and when it is used, on nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from lattgnn.dynamics.langevin_kernels import NoiseRequest, kernels
from lattgnn.errors import InputError

#: Name of the generator in the description of a run.
GENERATOR = "philox4x32-10"
#: Independent streams of random numbers at one step.
STEP_NOISE, INITIAL_FIELD, INITIAL_MOMENTUM = 0, 1, 2

_LOW = 0xFFFFFFFF
_MULTIPLIERS, _WEYL = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
#: Numbers that PyTorch makes at a time; intermediate results take some 50 bytes each.
_CHUNK = {"cpu": 1 << 14, "cuda": 1 << 22}


def noise(
    seed: int,
    step: int,
    shape: Sequence[int],
    purpose: int = STEP_NOISE,
    first_replica: int = 0,
    first_site: int = 0,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Standard normal numbers as a pure function of (seed, step, purpose, replica, site, component).

    With index = site × components + component, Philox4x32-10 makes four words of the key, which is the seed,
    and the counter (index // 4, replica, step % 2**32, step // 2**32 + 2**24 purpose). Box and Muller turn
    them into four numbers in float64, of which the one at index % 4 is used. So a replica has the same noise
    in any batch, a site in any part of the lattice, on any number of threads, and a run restarts from its
    step alone. Runs in float32 or on a GPU, exact or learned, share their noise to the rounding of logarithm
    and cosine (1e-14). Words have 32 bits: no number is beyond ±6.77, where one in 7e10 should be.

    Args:
        seed: 0 <= seed < 2**64.
        step: 0 <= step < 2**56.
        shape: (replicas, n_sites) or (replicas, n_sites, n_components).
        purpose: which of the independent streams at this step, 0 <= purpose < 2**8.
        first_replica: replica index of row 0; the last replica is below 2**32.
        first_site: index of the first site; (first_site + n_sites) × components <= 2**34.
        device: where the numbers are made and stay.

    Returns:
        float64 tensor of that shape.

    Raises:
        ValueError: if an argument does not fit the counter.

    Reference:
        Salmon, Moraes, Dror and Shaw, SC'11 (2011): Philox. Box and Muller, Ann. Math. Stat. 29, 610 (1958).
    """
    which = noise_request(seed, step, shape, purpose, first_replica, first_site)
    out = torch.empty(tuple(shape), dtype=torch.float64, device=device)
    compiled = kernels()
    if out.device.type == "cpu" and compiled is not None:
        compiled.langevin_noise(which, out.data_ptr())
        return out
    rows = out.view(which.n_replicas, which.n_numbers)
    for columns, numbers in chunks(which, out.device):
        rows[:, columns] = numbers
    return out


def noise_request(
    seed: int,
    step: int,
    shape: Sequence[int],
    purpose: int = STEP_NOISE,
    first_replica: int = 0,
    first_site: int = 0,
    n_draws: int = 1,
) -> NoiseRequest:
    """Which numbers of `noise` are needed; none are made yet.

    The numbers of `n_draws` consecutive steps are added up; n_draws = 0 stands for zeros.

    Raises:
        ValueError: if an argument does not fit the counter.
    """
    n_replicas, n_sites, *components = shape
    n_components = math.prod(components)
    limits = {
        "seed": (seed, 2**64),
        "step": (step, 2**56),
        "purpose": (purpose, 2**8),
        "first_replica": (first_replica, 2**32 - n_replicas + 1),
        "first_site": (first_site, 2**34 // max(n_components, 1) - n_sites + 1),
    }
    for name, (number, limit) in limits.items():
        if not 0 <= number < limit:
            power = f"2**{limit.bit_length() - 1}" if limit & (limit - 1) == 0 else limit
            raise InputError(f"{name} must be an integer in [0, {power}), got {number!r}. Use 0.")
    return NoiseRequest(
        seed,
        step | purpose << 56,
        first_replica,
        first_site * n_components,
        n_replicas,
        n_sites * n_components,
        n_draws,
        torch.get_num_threads(),
    )


def chunks(which: NoiseRequest, device: torch.device) -> Iterator[tuple[slice, Tensor]]:
    """The numbers by PyTorch: columns of a replica, and float64 [replicas, columns] for the device."""
    if which.n_draws == 0:
        return
    if device.type == "mps":  # has no float64
        device = torch.device("cpu")
    size = max(_CHUNK.get(device.type, _CHUNK["cpu"]) // max(which.n_replicas, 1), 4)
    for begin in range(0, which.n_numbers, size):
        end = min(begin + size, which.n_numbers)
        numbers = _numbers(which, 0, begin, end, device)
        for step in range(1, which.n_draws):
            numbers += _numbers(which, step, begin, end, device)
        yield slice(begin, end), numbers


def _numbers(
    which: NoiseRequest, steps_later: int, begin: int, end: int, device: torch.device
) -> Tensor:
    first, last = which.first_index + begin, which.first_index + end
    counters = torch.arange(first // 4, (last + 3) // 4, device=device)
    step = which.step_and_purpose + steps_later
    x = torch.empty((4, which.n_replicas, len(counters)), dtype=torch.int64, device=device)
    x[0], x[2], x[3] = counters, step & _LOW, step >> 32
    x[1] = torch.arange(which.first_replica, which.first_replica + which.n_replicas, device=device)[
        :, None
    ]
    words = philox(x, which.seed)
    radii = words[0::2].double().add_(0.5).mul_(2.0**-32).log_().mul_(-2).sqrt_()
    signed = ((words[1::2] + 2**31) & _LOW) - 2**31  # an angle within half a turn is rounded less
    angles = signed.double().add_(0.5).mul_(math.pi / 2**31)
    cosines, sines = angles.cos().mul_(radii), angles.sin().mul_(radii)
    numbers = torch.stack((cosines[0], sines[0], cosines[1], sines[1]), -1).flatten(1)
    return numbers[:, first % 4 :][:, : end - begin]


def philox(counter: Tensor, seed: int) -> Tensor:
    """Philox4x32-10: words of 32 bits, int64 [4, …], of such counters."""
    multipliers, keys = _constants(seed, counter.device)
    shape = (2, *[1] * (counter.ndim - 1))
    x, y = counter[0::2], counter[1::2]
    for key in keys:
        product = (x * multipliers.view(shape)).flip(0)  # modulo 2**64: bits, whatever the sign
        x = (product >> 32).bitwise_xor_(y).bitwise_xor_(key.view(shape)).bitwise_and_(_LOW)
        y = product
    return torch.stack((x, y.bitwise_and_(_LOW)), 1).flatten(0, 1)


@lru_cache(maxsize=16)  # no transfer to a GPU in a step
def _constants(seed: int, device: torch.device) -> tuple[Tensor, tuple[Tensor, ...]]:
    key = (seed & _LOW, seed >> 32)
    keys = [[(k + n * w) & _LOW for k, w in zip(key, _WEYL, strict=True)] for n in range(10)]
    return torch.tensor(_MULTIPLIERS, device=device), torch.tensor(keys, device=device).unbind()
