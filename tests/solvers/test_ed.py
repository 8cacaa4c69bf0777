import numpy as np
import pytest
import torch

from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import chain, cubic, honeycomb, kagome, lieb, square
from lattgnn.solvers import ExactDiagonalization
from lattgnn.solvers.ed import solve_with_lapack, solve_with_torch

ENSEMBLES = [
    ExactDiagonalization(0.1, mu=0.2),
    ExactDiagonalization(0.1, filling=0.4),
    ExactDiagonalization(0.0, mu=0.2),
    ExactDiagonalization(0.0, filling=0.4),
]


def density(model, state):
    return state.density_elements[..., model.rows == model.cols]


def momenta(*extent):
    return np.stack(np.meshgrid(*[2 * np.pi * np.arange(n) / n for n in extent], indexing="ij"), -1)


def bands(lattice):
    """Closed forms of the free bands for t = 1; k along the primitive vectors."""
    k = momenta(*lattice.extent)
    cosine = np.cos(k).sum(-1)
    if lattice.name in ("chain", "square", "cubic"):
        return -2 * cosine
    if lattice.name == "honeycomb":
        f = np.abs(1 + np.exp(1j * k[..., 0]) + np.exp(1j * k[..., 1]))
        return np.stack([-f, f])
    if lattice.name == "lieb":
        f = 2 * np.sqrt((np.cos(k / 2) ** 2).sum(-1))
        return np.stack([-f, 0 * f, f])
    f = np.sqrt(3 + 2 * (cosine + np.cos(k[..., 0] - k[..., 1])))  # kagome: −1 ∓ f, and a flat band
    return np.stack([-1 - f, -1 + f, 2 + 0 * f])


FREE = [chain(7), square(6), square(4, 5), cubic(4), honeycomb(4), lieb(3), kagome(3)]


@pytest.mark.parametrize("lattice", FREE, ids=[lattice.name for lattice in FREE])
def test_free_electrons(lattice):
    levels = np.sort(bands(lattice).ravel())
    zero = torch.zeros(lattice.n_sites).double()
    model = Holstein(lattice)
    state = ExactDiagonalization(0.3, mu=-0.4).solve(model, zero)
    assert float(state.energy) == pytest.approx(
        -0.3 * np.logaddexp(0, (-0.4 - levels) / 0.3).sum(), rel=1e-13
    )
    occupations = 1 / (np.exp((levels + 0.4) / 0.3) + 1)
    kinetic = (state.density_elements * model.elements(zero)).sum()  # Tr ρH
    assert float(kinetic) == pytest.approx((occupations * levels).sum(), rel=1e-12)
    assert float(density(model, state).sum()) == pytest.approx(occupations.sum(), rel=1e-12)


@pytest.mark.parametrize("kT", [0.0, 1e-4, 0.1])
def test_degenerate_levels_share_so_that_a_uniform_lattice_stays_uniform(kT):
    lattice = square(4)  # six of the sixteen levels are zero
    model = Holstein(lattice)
    zero = torch.zeros(lattice.n_sites).double()
    for solver, n in (
        (ExactDiagonalization(kT, mu=0.0), 0.5),
        (ExactDiagonalization(kT, filling=0.5), 0.5),
        (ExactDiagonalization(kT, filling=0.3), 0.3),
    ):
        state = solver.solve(model, zero)
        torch.testing.assert_close(
            density(model, state), torch.full_like(zero, n), rtol=0, atol=1e-10
        )


def test_flat_band_at_the_fermi_level_is_half_filled():
    model = Holstein(lieb(3))
    state = ExactDiagonalization(0.0, mu=0.0).solve(model, torch.zeros(27).double())
    torch.testing.assert_close(
        density(model, state), torch.full((27,), 0.5).double(), rtol=0, atol=1e-12
    )


def test_atomic_limit(rng):
    model = Holstein(square(3), t=0.0)
    field = torch.randn(4, 9, dtype=torch.float64, generator=rng)
    state = ExactDiagonalization(0.2, mu=0.3).solve(model, field)
    torch.testing.assert_close(
        density(model, state), torch.sigmoid((0.3 + 3.5 * field) / 0.2), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("solver", ENSEMBLES)
def test_a_dimer_and_energies_of_the_ensembles(solver):
    """Two sites: e = ∓sqrt(1 + (g d/2)²) around −g m, with mean m and difference d of the field."""
    model = Holstein(chain(2, periodic=False), g=2.0)
    mean, difference = 0.1, 0.8
    field = torch.tensor([mean + difference / 2, mean - difference / 2], dtype=torch.float64)
    e = -2.0 * mean + np.hypot(1, difference) * np.array([-1, 1])
    state = solver.solve(model, field)
    mu = float(state.mu)
    if solver.kT:
        occupations = 1 / (np.exp((e - mu) / solver.kT) + 1)
        energy = -solver.kT * np.logaddexp(0, (mu - e) / solver.kT).sum()
    else:
        occupations = np.array([1.0, 0.0]) if solver.filling is None else np.array([0.8, 0.0])
        energy = np.minimum(e - mu, 0).sum()
    if solver.filling is not None:
        assert occupations.sum() == pytest.approx(0.8, abs=1e-12)
        energy += mu * 0.8
    assert float(state.energy) == pytest.approx(energy, abs=1e-13)
    assert float(density(model, state).sum()) == pytest.approx(occupations.sum(), abs=1e-12)
    polarization = (occupations[0] - occupations[1]) * difference / np.hypot(1, difference)
    assert float(density(model, state) @ torch.tensor([1.0, -1.0]).double()) == pytest.approx(
        polarization, abs=1e-12
    )


@pytest.mark.parametrize("solver", ENSEMBLES)
def test_density_elements_are_the_density_matrix_at_the_pattern(solver, rng):
    model = Holstein(honeycomb(3))
    field = torch.randn(18, dtype=torch.float64, generator=rng)
    state = solver.solve(model, field)
    e, v = np.linalg.eigh(model.matrix(field).numpy())
    if solver.kT:
        occupations = 1 / (np.exp((e - float(state.mu)) / solver.kT) + 1)
    else:
        n = 7.2 if solver.filling else (e < 0.2).sum()
        occupations = np.clip(n - np.arange(18), 0, 1)
    rho = (v * occupations) @ v.T
    np.testing.assert_allclose(
        state.density_elements.numpy(), rho[model.cols, model.rows], atol=1e-12
    )


@pytest.mark.parametrize("solver", ENSEMBLES)
def test_lapack_and_torch_agree_and_a_batch_changes_nothing(solver, rng):
    model = Holstein(square(4))
    fields = 2 * torch.randn(2, 3, 16, dtype=torch.float64, generator=rng)
    state = solver.solve(model, fields)
    assert state.energy.shape == state.mu.shape == (2, 3) and state.density_elements.shape == (
        2,
        3,
        80,
    )
    alone = solver.solve(model, fields[1, 2])
    assert torch.equal(state.energy[1, 2], alone.energy) and torch.equal(state.mu[1, 2], alone.mu)
    assert torch.equal(state.density_elements[1, 2], alone.density_elements)
    batch = solve_with_torch(model, fields.reshape(6, 16), solver._occupy)
    for one, many in zip(
        solve_with_lapack(model, fields[1, 2][None], solver._occupy), batch, strict=True
    ):
        torch.testing.assert_close(one[0], many[5], rtol=0, atol=1e-11)


def test_single_precision_fields_are_solved_in_double(rng):
    model = Holstein(square(3))
    field = torch.randn(9, generator=rng)
    state = ExactDiagonalization(0.1, mu=0.0).solve(model, field)
    assert state.energy.dtype == torch.float64
    torch.testing.assert_close(
        state.energy, ExactDiagonalization(0.1, mu=0.0).solve(model, field.double()).energy
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kT": -0.1, "mu": 0.0}, "kT must be finite and at least 0, got -0.1"),
        ({"kT": float("nan"), "mu": 0.0}, "kT must be finite"),
        ({"kT": 0.1}, "one of mu and filling must be given"),
        ({"kT": 0.1, "mu": 0.0, "filling": 0.5}, "only one of mu and filling .* `mu: null`"),
        ({"kT": 0.1, "mu": float("inf")}, "mu must be finite"),
        ({"kT": 0.1, "filling": 1.0}, "filling must be above 0 and below 1, got 1.0"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ExactDiagonalization(**arguments)
