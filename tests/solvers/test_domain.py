from dataclasses import replace

import pytest
import torch

from lattgnn.dynamics import Regular, VerletLangevin, initial_state, simulate
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein, JahnTeller, Peierls
from lattgnn.lattice import (
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    square,
    translation_permutation,
    triangular,
)
from lattgnn.solvers import DomainDiagonalization, ExactDiagonalization, domain

SOLVER = DomainDiagonalization(kT=0.1, mu=0.0, core=4, buffer=2)

WHOLE = [
    Holstein(chain(12)),
    Holstein(square(4, 7, periodic=(False, True))),
    Holstein(kagome(3)),
    Holstein(lieb(3, 4, periodic=False)),
    Holstein(cubic(3)),
    Peierls(triangular(5, 4)),
    Peierls(cubic(4, 3, 3, periodic=(True, False, True))),
    DoubleExchange(honeycomb(3)),
    DoubleExchange(chain(9, periodic=False)),
    JahnTeller(square(4, 5)),
]
CUT = [  # model, core and buffers
    (Holstein(chain(40)), 5, (2, 9)),
    (Holstein(square(13, 12, periodic=(False, True))), 3, (1, 4)),
    (Holstein(kagome(8)), 2, (1, 2)),
    (Holstein(cubic(7)), 2, (1, 2)),
    (Peierls(triangular(10)), 2, (1, 3)),
    (DoubleExchange(honeycomb(8, periodic=(True, False))), 2, (1, 2)),
    (JahnTeller(square(10)), (2, 5), (1, 3)),
]


def name(model) -> str:
    return f"{type(model).__name__}-{model.lattice.name}{model.lattice.extent}"


def random_field(model, rng, *batch: int):
    field = torch.randn(*batch, *model.field_shape, dtype=torch.float64, generator=rng)
    if model.field_type.is_spin:
        return field / field.norm(dim=-1, keepdim=True)
    return 0.2 * field if isinstance(model, Peierls) else field


@pytest.fixture(scope="module")
def quench() -> torch.Tensor:
    """Steps 0, 40, 80, 120 of a quench at 24 × 24, driven by a learned force, which is fast."""
    force_field = LearnedForceField.pretrained("holstein-square", square(24))
    start = initial_state(force_field, 3, 1, field_std=(5 / 0.18) ** 0.5, momentum_std=5.0)
    run = simulate(force_field, VerletLangevin(0.05, 0.1, 0.2, 5.0), start, 120, Regular(40))
    return torch.from_numpy(run.fields[:, 0])


@pytest.mark.parametrize("kT", [0.1, 0.0])
@pytest.mark.parametrize("model", WHOLE, ids=name)
def test_buffers_that_cover_the_lattice_leave_nothing_to_approximate(model, kT, rng):
    field = random_field(model, rng, 2)
    exact = ExactDiagonalization(kT, mu=-0.3).solve(model, field)
    state = DomainDiagonalization(kT, -0.3, core=4, buffer=4).solve(model, field)
    for part in ("energy", "mu", "density_elements"):
        torch.testing.assert_close(getattr(state, part), getattr(exact, part), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("model", "core", "buffers"), CUT, ids=[name(model) for model, *_ in CUT])
def test_subsystems_converge_to_the_whole(model, core, buffers, rng):
    """Hot electrons, whose ρ decays within a bond: at kT = 2 the error falls at least tenfold per
    hop.
    """
    field = random_field(model, rng)
    exact = ExactDiagonalization(2.0, mu=0.3).solve(model, field)
    errors = []
    for buffer in buffers:
        state = DomainDiagonalization(2.0, 0.3, core, buffer).solve(model, field)
        density = (state.density_elements - exact.density_elements).abs().max()
        errors.append(max(float(density), float((state.energy - exact.energy).abs())))
    hops = buffers[1] - buffers[0]
    assert 1e-12 < errors[1] < errors[0] * 10**-hops or errors[1] < 1e-12 < errors[0]


def test_forces_of_a_quench(quench):
    """With a buffer of 5 the MSE of forces stays below 1e-8, the energy error below 5e-7 per
    site.
    """
    model = Holstein(square(24))
    energy, forces = ExactForceField(model, ExactDiagonalization(0.1, mu=0.0)).electronic(quench)
    found = ExactForceField(model, DomainDiagonalization(0.1, 0.0, core=10, buffer=5)).electronic(
        quench
    )
    assert (found[1] - forces).square().mean(-1).max() < 1e-8
    assert (found[0] - energy).abs().max() / 576 < 5e-7


def test_forces_are_derivatives_of_the_energy_within_the_error(quench):
    """Hellmann–Feynman holds for ρ of the whole lattice; the rest here is not 0 but falls with the
    buffer.
    """
    model, field = Holstein(square(24)), quench[2]
    sites = torch.arange(0, 576, 150)
    step = 1e-4 * torch.eye(576, dtype=torch.float64)[sites]
    missing = []
    for buffer in (1, 3, 5):
        force_field = ExactForceField(model, DomainDiagonalization(0.1, 0.0, core=5, buffer=buffer))
        up, down = force_field.electronic(torch.stack([field + step, field - step]))[0]
        difference = force_field.electronic(field)[1][sites] + (up - down) / 2e-4
        missing.append(float(difference.square().mean().sqrt()))
    assert 1e-4 < missing[0] < 3e-2 and missing[1] < 1e-3 and missing[2] < 1e-4


def test_energy_of_a_tiling_is_four_times_that_of_the_tile(rng):
    small, large = Holstein(square(12)), Holstein(square(24))
    field = 2 * torch.randn(12, 12, dtype=torch.float64, generator=rng)
    tile = SOLVER.solve(small, field.flatten())
    tiling = SOLVER.solve(large, field.repeat(2, 2).flatten())
    assert float(tiling.energy) == pytest.approx(4 * float(tile.energy), rel=1e-13)
    diagonal = [
        state.density_elements[model.rows == model.cols]
        for state, model in ((tile, small), (tiling, large))
    ]
    torch.testing.assert_close(
        diagonal[1].view(24, 24), diagonal[0].view(12, 12).repeat(2, 2), rtol=0, atol=1e-12
    )


def test_translations(rng):
    """Translations by a core are exact; shorter ones move the subsystems and change their error."""
    force_field = ExactForceField(Holstein(square(12)), SOLVER)
    field = 2 * torch.randn(144, dtype=torch.float64, generator=rng)
    energy, forces = force_field(field)

    def change(shift):
        sites = torch.tensor(translation_permutation(force_field.lattice, shift))
        moved = torch.empty_like(field)
        moved[sites] = field
        moved_energy, moved_forces = force_field(moved)
        return max(
            float((moved_forces[sites] - forces).abs().max()), float((moved_energy - energy).abs())
        )

    assert change((4, 0)) < 1e-10 and change((8, 4)) < 1e-10
    assert 1e-6 < change((1, 0)) < 0.3 and 1e-6 < change((2, 3)) < 0.3


@pytest.mark.parametrize("model", [Holstein(square(12)), DoubleExchange(square(12))], ids=name)
def test_a_batch_changes_nothing_and_the_density_is_hermitian(model, rng):
    fields = random_field(model, rng, 2, 3)
    state, alone = SOLVER.solve(model, fields), SOLVER.solve(model, fields[1, 2])
    assert state.energy.shape == state.mu.shape == (2, 3)
    assert torch.equal(state.energy[1, 2], alone.energy) and torch.equal(state.mu[1, 2], alone.mu)
    assert torch.equal(state.density_elements[1, 2], alone.density_elements)
    density = torch.zeros(model.n_states, model.n_states, dtype=alone.density_elements.dtype)
    density[model.cols, model.rows] = alone.density_elements
    assert torch.equal(density, density.mH)
    single = SOLVER.solve(model, fields[1, 2].float())
    assert single.energy.dtype == torch.float64


@pytest.mark.parametrize("model", [Holstein(square(12)), DoubleExchange(square(12))], ids=name)
def test_lapack_and_torch_agree(model, rng, monkeypatch):
    field = random_field(model, rng)
    state = SOLVER.solve(model, field)
    monkeypatch.setattr(domain, "_on_cpu", lambda tensor: False)
    torch_state = SOLVER.solve(model, field)
    torch.testing.assert_close(torch_state.energy, state.energy, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        torch_state.density_elements, state.density_elements, rtol=0, atol=1e-11
    )


@pytest.mark.parametrize(("mu", "filling"), [(-100.0, 0.0), (100.0, 1.0)])
@pytest.mark.parametrize("kT", [0.1, 0.0])
def test_empty_and_full_bands(mu, filling, kT, rng):
    model = Holstein(square(12))
    field = random_field(model, rng)
    state = replace(SOLVER, kT=kT, mu=mu).solve(model, field)
    expected = torch.where(model.rows == model.cols, filling, 0.0).double()
    torch.testing.assert_close(state.density_elements, expected, rtol=0, atol=1e-12)
    assert float(state.energy) == pytest.approx(
        filling * float(-3.5 * field.sum() - 144 * mu), abs=1e-9
    )


@pytest.mark.parametrize("kT", [0.1, 0.0])
@pytest.mark.parametrize("model", WHOLE[:4] + WHOLE[-2:], ids=name)
def test_fixed_filling_is_exact_where_buffers_cover_the_lattice(model, kT, rng):
    field = random_field(model, rng, 2)
    exact = ExactDiagonalization(kT, filling=0.37).solve(model, field)
    state = DomainDiagonalization(kT, core=4, buffer=4, filling=0.37).solve(model, field)
    for part in ("energy", "mu", "density_elements"):
        torch.testing.assert_close(getattr(state, part), getattr(exact, part), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kT", [0.1, 0.0])
@pytest.mark.parametrize("model", [Holstein(square(12)), DoubleExchange(square(12))], ids=name)
def test_at_fixed_filling_the_density_sums_to_the_electrons(model, kT, rng):
    fields = random_field(model, rng, 3)
    solver = replace(SOLVER, kT=kT, mu=None, filling=0.43)
    state = solver.solve(model, fields)
    count = state.density_elements[:, model.rows == model.cols].real.sum(-1)
    torch.testing.assert_close(count, torch.full_like(count, 0.43 * model.n_states))
    alone = solver.solve(model, fields[1])
    assert torch.equal(state.mu[1], alone.mu)
    assert torch.equal(state.density_elements[1], alone.density_elements)
    if kT:  # at its own chemical potential the electrons are those of a fixed mu
        at_mu = replace(SOLVER, mu=float(alone.mu)).solve(model, fields[1])
        torch.testing.assert_close(at_mu.density_elements, alone.density_elements)
        energy = float(at_mu.energy + alone.mu * 0.43 * model.n_states)
        assert float(alone.energy) == pytest.approx(energy, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("filling", [0.4, 0.5])
@pytest.mark.parametrize("std", [5.27, 2.0])
def test_filling_of_a_large_lattice(filling, std, rng):
    """The force error at fixed filling is that of the solver at fixed μ: the common μ adds none."""
    model = Holstein(square(40))
    field = std * torch.randn(1600, dtype=torch.float64, generator=rng)
    exact = ExactForceField(model, ExactDiagonalization(0.1, filling=filling))
    solver = DomainDiagonalization(0.1, core=8, buffer=5, filling=filling)
    state = solver.solve(model, field)
    count = float(state.density_elements[model.rows == model.cols].sum())
    assert count == pytest.approx(filling * 1600, abs=1e-6)
    mu = float(exact.solver.solve(model, field).mu)
    assert float(state.mu) == pytest.approx(mu, abs=1e-3)

    def error(*solvers):
        forces = [ExactForceField(model, each).electronic(field)[1] for each in solvers]
        return float((forces[0] - forces[1]).square().mean())

    at_mu = error(replace(solver, mu=mu, filling=None), ExactDiagonalization(0.1, mu=mu))
    assert error(solver, exact.solver) < 1.5 * at_mu < {5.27: 1e-7, 2.0: 1e-4}[std]


def test_a_far_change_of_the_field_changes_nothing(rng):
    """Locality is exact: a force does not depend on the field beyond core and buffer."""
    force_field = ExactForceField(Holstein(square(16)), SOLVER)
    field = torch.randn(16, 16, dtype=torch.float64, generator=rng)
    changed = field.clone()
    changed[10, 10] += 1
    forces, moved = (
        force_field.electronic(each.flatten())[1].view(16, 16) for each in (field, changed)
    )
    assert torch.equal(forces[:4, :4], moved[:4, :4]) and not torch.equal(forces[8:12], moved[8:12])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kT": -0.1}, "kT must be finite and at least 0, got -0.1"),
        ({"mu": float("inf")}, "mu must be finite"),
        ({"mu": None}, "one of mu and filling must be given"),
        ({"filling": 0.5}, "only one of mu and filling"),
        ({"core": 0}, "core must be a whole number, at least 1, got 0. Use 5"),
        ({"core": (4, -1)}, "core must be a whole number, at least 1, got -1"),
        ({"buffer": 0}, "buffer must be a whole number, at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        replace(SOLVER, **arguments)


def test_wrong_axes_and_fields_are_refused():
    model, field = Holstein(square(8)), torch.zeros(64)
    with pytest.raises(
        ValueError, match="core must be one number, or 2 for 2 axes, got .4,.. Use 4"
    ):
        replace(SOLVER, core=(4,)).solve(model, field)
    with pytest.raises(ValueError, match="field must have shape"):
        SOLVER.solve(model, field[1:])
