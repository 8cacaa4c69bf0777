"""Steps without allocation: the same bits with and without `out`, in any batch, on any number of
threads.
"""

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from lattgnn.dynamics import (
    BAOAB,
    HeunLLG,
    Integrator,
    MidpointLLG,
    OverdampedLangevin,
    Regular,
    State,
    VerletLangevin,
    initial_spins,
    initial_state,
    simulate,
    update,
)
from lattgnn.lattice import Lattice, chain

LANGEVIN = (
    VerletLangevin(dt=0.1, kT=0.5, gamma=0.3, mass=2.0),
    VerletLangevin(dt=0.1, kT=0.0, gamma=0.3, mass=2.0),
    VerletLangevin(dt=0.1, kT=0.0, gamma=0.0, mass=2.0),
    BAOAB(dt=0.1, kT=0.5, gamma=0.3, mass=2.0),
    BAOAB(dt=0.1, kT=0.5, gamma=3e-5, mass=2.0),  # friction that rounding would lose
    VerletLangevin(dt=0.1, kT=0.0, gamma=3e-6, mass=2.0),
    OverdampedLangevin(dt=0.1, kT=0.5, gamma=0.8),
)
SPINS = (HeunLLG(dt=0.1, kT=0.5, alpha=0.3), MidpointLLG(dt=0.1, kT=0.5, alpha=0.3))


@dataclasses.dataclass
class Writer:
    """E = Σ φ²/2 + Σ φ⁴/12 a component, whose forces go where they are told to."""

    lattice: Lattice
    n_components: int = 3
    writes_in_place: bool = True
    seen: set[int] = dataclasses.field(default_factory=set)

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (self.lattice.n_sites, self.n_components)

    def __call__(self, field: Tensor, *, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert out is None or self.writes_in_place
        self.seen.add(field.data_ptr())
        energy = (field.square() / 2 + field.pow(4) / 12).flatten(1).sum(-1)
        forces = -field - field.pow(3) / 3
        return energy, forces if out is None else out.copy_(forces)


def start(
    integrator: Integrator, force_field: Writer, dtype: torch.dtype, n_replicas: int = 3
) -> State:
    if integrator.moves_spins:
        return initial_spins(force_field, 4, n_replicas, dtype)
    return initial_state(force_field, 4, n_replicas, 1.0, 1.0, dtype)


def same(one: State, other: State) -> bool:
    names = [field.name for field in dataclasses.fields(State)]
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("integrator", [*LANGEVIN, *SPINS], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("in_place", [True, False])
def test_bits_are_the_same_with_out(implementation, integrator, dtype, in_place) -> None:
    force_field = Writer(chain(7), writes_in_place=in_place)
    pure = state = start(integrator, force_field, dtype)
    first, workspaces = state, [state.workspace(), state.workspace()]
    before = [tensor.clone() for tensor in (first.field, first.momentum, first.forces)]
    for n in range(5):
        pure = integrator.step(force_field, pure)
        out = workspaces[n % 2]
        state = integrator.step(force_field, state, out=out)
        assert same(state, pure)
        assert (
            state.field is out.field
            and (state.forces.data_ptr() == out.forces.data_ptr()) == in_place
        )
    for tensor, copy in zip((first.field, first.momentum, first.forces), before, strict=True):
        assert torch.equal(tensor, copy)


@pytest.mark.parametrize("integrator", LANGEVIN, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_replica_of_odd_size_lives_alone(implementation, integrator, dtype) -> None:
    """Numbers before and after whole vectors are rounded alike."""
    force_field = Writer(chain(7), 1)
    batch = start(integrator, force_field, dtype, 5)
    for row in range(5):
        alone, together = batch.replica(row), batch
        for _ in range(5):
            alone = integrator.step(force_field, alone)
            together = integrator.step(force_field, together)
        assert same(alone, together.replica(row))


@pytest.mark.parametrize("integrator", [LANGEVIN[0], *LANGEVIN[3:]], ids=repr)
def test_bits_do_not_depend_on_threads(implementation, integrator) -> None:
    force_field = Writer(chain(70_001), 1)
    state = start(integrator, force_field, torch.float32)
    ends = []
    for n in (1, 2, 3):
        with threads(n):
            ends.append(integrator.step(force_field, state))
    assert same(ends[0], ends[1]) and same(ends[0], ends[2])


@pytest.mark.parametrize("integrator", LANGEVIN, ids=repr)
def test_a_run_uses_two_fields(integrator) -> None:
    force_field = Writer(chain(64))
    state = start(integrator, force_field, torch.float32)
    force_field.seen.clear()
    before = [tensor.clone() for tensor in (state.field, state.momentum, state.forces)]
    simulate(force_field, integrator, state, 50, Regular(7))
    assert len(force_field.seen) == 2
    for tensor, copy in zip((state.field, state.momentum, state.forces), before, strict=True):
        assert torch.equal(tensor, copy)


def test_workspace_refuses_what_cannot_be_overwritten() -> None:
    state = start(LANGEVIN[0], Writer(chain(5)), torch.float64)
    with pytest.raises(
        ValueError, match=r"out must be another state .* got this one\. Use state\.workspace"
    ):
        state.workspace(state)
    with pytest.raises(
        ValueError, match=r"out must be another state like \[3, 5, 3\] .* got \[1, 5, 3\]"
    ):
        state.workspace(state.replica(1))
    with pytest.raises(ValueError, match="torch.float32"):
        state.workspace(start(LANGEVIN[0], Writer(chain(5)), torch.float32))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_all_within(implementation, dtype) -> None:
    values = torch.linspace(-2, 2, 1001, dtype=dtype).view(7, 143)
    assert update.all_within([values], [2.0]) and update.all_within(
        [values, values[:, ::3]], [2.0, math.inf]
    )
    assert not update.all_within([values], [1.999]) and not update.all_within(
        [values, values], [2.0, 1.0]
    )
    for bad in (math.nan, math.inf, -math.inf):
        for place in (0, 500, 1000):
            broken = values.clone()
            broken.view(-1)[place] = bad
            assert not update.all_within([broken], [math.inf])
            assert not update.all_within([values, broken], [2.0, math.inf])
