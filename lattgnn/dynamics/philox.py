"""Noise from a counter-based generator: each number depends only on where and when it is used.

There is no state to save or to share between threads. The generator encrypts a counter, which holds
the place and time of a number, with the seed as the key:

    word 0          word 1     word 2         word 3
    index // 4      replica    step, low 32   purpose (8 bits), step, high (24 bits)

with index = site × n_components + component. Philox turns the four words into four random words,
and the Box–Muller transform turns those into four normal numbers, for indices 4k to 4k + 3. On a
CPU this is done by csrc/langevin.cpp; the PyTorch form below serves GPUs and machines without a
compiler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.devices import compiled
from lattgnn.dynamics.langevin_kernels import NoiseRequest, SiteRows, kernels
from lattgnn.errors import InputError

#: Name of the generator, saved with each run: a run resumes only with the same noise.
GENERATOR = "philox4x32-10"
#: Purposes, the independent streams of random numbers at one step.
STEP_NOISE, INITIAL_FIELD, INITIAL_MOMENTUM = 0, 1, 2

# PyTorch has no unsigned 32-bit arithmetic, so each word is the low half of an int64, and this mask
# cuts off what overflows.
_LOW = 0xFFFFFFFF
# Constants of the paper: multipliers of the rounds, and the amounts by which the key grows.
_MULTIPLIERS, _WEYL = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
# Numbers that PyTorch makes at a time. Intermediate results take about 50 bytes per number: on a
# CPU a chunk stays in the cache, on a GPU it is large enough to be fast and small next to the
# field.
_CHUNK = {"cpu": 1 << 14, "cuda": 1 << 22}


def noise(
    seed: int,
    step: int,
    shape: Sequence[int],
    purpose: int = STEP_NOISE,
    first_replica: int = 0,
    first_site: int | SiteRows = 0,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Standard normal numbers that depend only on their place, their time and the seed.

    Each is a pure function of (seed, step, purpose, replica, site, component): Philox4x32-10 and
    Box–Muller, in float64; the module's docstring gives the layout of the counter. The noise of a
    replica is therefore the same in any batch, that of a site in any part of the lattice and on any
    number of threads, and a run restarts from its step number alone. Runs in float32, in float64
    and on a GPU share their noise up to the rounding of logarithm and cosine (1e-14). The tails end
    at ±6.77, because words have 32 bits; of a normal distribution one number in 7e10 lies beyond.

    Args:
        seed: Seed, 0 <= seed < 2**64.
        step: Step number, 0 <= step < 2**56.
        shape: (n_replicas, n_sites) or (n_replicas, n_sites, n_components).
        purpose: Which of the independent streams at this step, 0 <= purpose < 2**8.
        first_replica: Index of the first replica. The last one must be below 2**32.
        first_site: Index of the first site, (first_site + n_sites) × n_components <= 2**34, or the
            rows of sites that make up a part of a lattice.
        device: Device that generates and holds the numbers.

    Returns:
        Numbers of the given shape, float64.

    Raises:
        InputError: If an argument does not fit into the counter.

    Reference:
        Philox: Salmon, Moraes, Dror and Shaw, SC'11 (2011).
        Box and Muller, Ann. Math. Stat. 29, 610 (1958).
    """
    request = noise_request(seed, step, shape, purpose, first_replica, first_site)
    return generate(request, torch.device(device)).view(tuple(shape))


def generate(request: NoiseRequest, device: torch.device) -> Tensor:
    """Generate requested numbers.

    Args:
        request: Which numbers.
        device: Device that generates and holds them.

    Returns:
        Numbers, float64 [n_replicas, n_numbers].
    """
    shape = (request.n_replicas, request.n_numbers)
    compiled = kernels()
    if device.type == "cpu" and compiled is not None:
        out = torch.empty(shape, dtype=torch.float64)
        compiled.langevin_noise(request, out.data_ptr())
        return out
    out = torch.zeros(shape, dtype=torch.float64, device=device)
    for columns, numbers in chunks(request, device):
        out[:, columns] = numbers
    return out


def noise_request(
    seed: int,
    step: int,
    shape: Sequence[int],
    purpose: int = STEP_NOISE,
    first_replica: int = 0,
    first_site: int | SiteRows = 0,
    n_draws: int = 1,
) -> NoiseRequest:
    """Describe numbers of `noise` without generating them, so that `advance` can do it on the fly.

    Args:
        seed: Seed, as in `noise`.
        step: Step number.
        shape: (n_replicas, n_sites) or (n_replicas, n_sites, n_components).
        purpose: Which of the independent streams at this step.
        first_replica: Index of the first replica.
        first_site: Index of the first site, or the rows of sites of a part of a lattice.
        n_draws: Number of consecutive steps, from `step` on, whose numbers are added; 0 for zeros.

    Returns:
        The request.

    Raises:
        InputError: If an argument does not fit into the counter.
    """
    n_replicas, n_sites, *components = shape
    n_components = math.prod(components)
    rows = first_site
    if not isinstance(rows, SiteRows):
        rows = SiteRows(rows, max(n_sites, 1), 0)
    # From the first site to the end of the last row.
    span = (n_sites // rows.length - 1) * rows.stride + rows.length
    # Exclusive upper limits, so that the last replica and the last index fit into their words.
    limits = {
        "seed": (seed, 2**64),
        "step": (step, 2**56),
        "purpose": (purpose, 2**8),
        "first_replica": (first_replica, 2**32 - n_replicas + 1),
        "first_site": (rows.first, 2**34 // max(n_components, 1) - span + 1),
    }
    for name, (number, limit) in limits.items():
        if not 0 <= number < limit:
            power = f"2**{limit.bit_length() - 1}" if limit & (limit - 1) == 0 else limit
            raise InputError(f"{name} must be an integer in [0, {power}), got {number!r}. Use 0.")
    return NoiseRequest(
        seed,
        step | purpose << 56,
        first_replica,
        rows.first * n_components,
        n_replicas,
        n_sites * n_components,
        n_draws,
        torch.get_num_threads(),
        rows.length * n_components,
        rows.stride * n_components,
    )


def chunks(request: NoiseRequest, device: torch.device) -> Iterator[tuple[slice, Tensor]]:
    """Generate the requested numbers by PyTorch, a range of indices at a time.

    A chunk holds all replicas. Every number is a function of its own counter, so the size of the
    chunks does not change the numbers; it only bounds the memory of intermediate results.

    Args:
        request: The numbers to generate.
        device: Device of the numbers.

    Yields:
        The range of indices within a replica, and the numbers, float64 [n_replicas, n_indices].
    """
    if request.n_draws == 0:
        return
    if device.type == "mps":  # has no float64
        device = torch.device("cpu")
    size = max(_CHUNK.get(device.type, _CHUNK["cpu"]) // max(request.n_replicas, 1), 4)
    if request.row_numbers < request.n_numbers:
        yield from _chunks_of_rows(request, max(size // request.row_numbers, 1), device)
        return
    for begin in range(0, request.n_numbers, size):
        end = min(begin + size, request.n_numbers)
        numbers = _numbers(request, 0, begin, end, device)
        for step in range(1, request.n_draws):
            numbers += _numbers(request, step, begin, end, device)
        yield slice(begin, end), numbers


def _chunks_of_rows(
    request: NoiseRequest, n_together: int, device: torch.device
) -> Iterator[tuple[slice, Tensor]]:
    """The same as `chunks` for a part of a lattice, some rows at a time."""
    length, n_rows = request.row_numbers, request.n_numbers // request.row_numbers
    # Each counter makes four numbers, and the first number of a row can be any of them.
    row_counters = torch.arange((length + 6) // 4, device=device)
    for begin in range(0, n_rows, n_together):
        end = min(begin + n_together, n_rows)
        first = request.first_index + torch.arange(begin, end, device=device) * request.row_stride
        counters = ((first // 4)[:, None] + row_counters).flatten()
        numbers = _of_counters(request, 0, counters)
        for step in range(1, request.n_draws):
            numbers += _of_counters(request, step, counters)
        places = (first % 4)[:, None] + torch.arange(length, device=device)
        of_rows = numbers.unflatten(1, (end - begin, -1))
        chosen = of_rows.gather(2, places.expand(len(of_rows), -1, -1))
        yield slice(begin * length, end * length), chosen.flatten(1)


def _numbers(
    request: NoiseRequest, steps_later: int, begin: int, end: int, device: torch.device
) -> Tensor:
    """Numbers begin to end − 1 of the request in each replica, some steps later."""
    first, last = request.first_index + begin, request.first_index + end
    # Each counter makes four numbers: round outwards, and cut off the surplus at the end.
    counters = torch.arange(first // 4, (last + 3) // 4, device=device)
    return _of_counters(request, steps_later, counters)[:, first % 4 :][:, : end - begin]


def _of_counters(request: NoiseRequest, steps_later: int, counters: Tensor) -> Tensor:
    """The four numbers of each counter in each replica, [n_replicas, 4 n_counters]."""
    device = counters.device
    # The purpose lies above the step's 56 bits, so its high word already is word 3 of the counter.
    step = request.step_and_purpose + steps_later
    replicas = torch.arange(request.n_replicas, device=device) + request.first_replica
    x = torch.empty((4, request.n_replicas, len(counters)), dtype=torch.int64, device=device)
    x[0], x[1], x[2], x[3] = counters, replicas[:, None], step & _LOW, step >> 32
    return _normals_on(device)(x, *_constants(request.seed, device))


@cache
def _normals_on(device: torch.device) -> Callable[..., Tensor]:
    """The function `_normals` in the form that the device uses."""
    return compiled(_normals, device)


def _normals(
    counter: Tensor, multipliers: Tensor, keys: tuple[Tensor, ...]
) -> Float[Tensor, "n_replicas n_numbers"]:
    """Four normal numbers for each counter [4, n_replicas, n], those of a counter side by side."""
    words = _encrypted(counter, multipliers, keys)
    # Box–Muller: words 0 and 2 give radii sqrt(−2 log u), words 1 and 3 angles. Half a unit is
    # added so that u = (word + ½) / 2³² is never 0, where the logarithm diverges, nor 1.
    radii = words[0::2].double().add_(0.5).mul_(2.0**-32).log_().mul_(-2).sqrt_()
    # Words as signed integers: angles in (−π, π) have a smaller rounding error than in (0, 2π).
    signed = ((words[1::2] + 2**31) & _LOW) - 2**31
    angles = signed.double().add_(0.5).mul_(math.pi / 2**31)
    cosines, sines = angles.cos().mul_(radii), angles.sin().mul_(radii)
    return torch.stack((cosines[0], sines[0], cosines[1], sines[1]), -1).flatten(1)


def philox(counter: Tensor, seed: int) -> Tensor:
    """Encrypt counters by the ten rounds of Philox4x32-10.

    Args:
        counter: Four 32-bit words on the first axis, int64 [4, ...].
        seed: The key, 64 bits.

    Returns:
        Random 32-bit words, int64 [4, ...].
    """
    return _encrypted(counter, *_constants(seed, counter.device))


def _encrypted(counter: Tensor, multipliers: Tensor, keys: tuple[Tensor, ...]) -> Tensor:
    """The ten rounds, with the multipliers and the two words of the key of each round."""
    shape = (2, *[1] * (counter.ndim - 1))
    # Words 0 and 2 are multiplied, words 1 and 3 are mixed in by exclusive or; each pair is one
    # tensor, so that a round is a few operations on whole tensors.
    x, y = counter[0::2], counter[1::2]
    for key in keys:
        # A product of two words has up to 64 bits and wraps into the sign bit of an int64: the bits
        # are right, and the mask removes the copies of the sign bit that >> shifts in. The flip
        # exchanges the pairs, as the cipher does.
        product = (x * multipliers.view(shape)).flip(0)
        x = (product >> 32).bitwise_xor_(y).bitwise_xor_(key.view(shape)).bitwise_and_(_LOW)
        y = product  # all 64 bits: the mask of the next round, or the last one, drops the high half
    return torch.stack((x, y.bitwise_and_(_LOW)), 1).flatten(0, 1)


@lru_cache(maxsize=16)  # so that no step transfers them to the GPU again
def _constants(seed: int, device: torch.device) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The multipliers, and the two words of the key of each round."""
    low, high = seed & _LOW, seed >> 32
    keys = [((low + n * _WEYL[0]) & _LOW, (high + n * _WEYL[1]) & _LOW) for n in range(10)]
    return torch.tensor(_MULTIPLIERS, device=device), torch.tensor(keys, device=device).unbind()
