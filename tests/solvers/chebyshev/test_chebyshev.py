import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from lattgnn import native
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein, JahnTeller, Peierls
from lattgnn.lattice import chain, cubic, honeycomb, kagome, lieb, square, triangular
from lattgnn.solvers import Chebyshev, ElectronicState, ExactDiagonalization
from tests.pretended_gpu import GPU, PretendedGPU

MODELS = [
    Holstein(chain(12)),
    Holstein(square(3, 5, periodic=(False, True))),
    Holstein(kagome(3)),
    Holstein(lieb(3, 2, periodic=False)),
    Holstein(cubic(3)),
    Peierls(triangular(5, 4)),
    DoubleExchange(honeycomb(3)),
    DoubleExchange(chain(9, periodic=False)),
    JahnTeller(square(4, 5)),
]
# Levels closer to μ than the series resolves.
UNRESOLVED = "ignore:a series of order=.* levels lie closer to mu"
PROBED = [Holstein(triangular(7)), DoubleExchange(square(6, 7)), JahnTeller(square(5, 6))]


class Flux(Holstein):
    """Holstein electrons in a magnetic field: complex hopping."""

    def elements(self, field):
        elements = super().elements(field).to(torch.complex128)
        # A phase for each bond, opposite for the two directions.
        phase = torch.sin(0.7 * (self.rows + self.cols)).double()
        return elements * torch.exp(1j * torch.sign(self.rows - self.cols) * phase)


def name(model) -> str:
    return f"{type(model).__name__}-{model.lattice.name}{model.lattice.extent}"


def random_field(model, rng, *batch: int):
    field = torch.randn(*batch, *model.field_shape, dtype=torch.float64, generator=rng)
    if model.field_type.is_spin:
        return field / field.norm(dim=-1, keepdim=True)
    return 0.2 * field if isinstance(model, Peierls) else field


def error(found, exact) -> float:
    """Largest difference of μ and density elements, and of energies per state."""
    density = (found.density_elements - exact.density_elements).abs().max()
    energy = (found.energy - exact.energy).abs().max() / exact.density_elements.shape[-1]
    return max(float(density), float(energy), float((found.mu - exact.mu).abs().max()))


@pytest.mark.parametrize("ensemble", [{"mu": -0.3}, {"filling": 0.4}], ids=str)
@pytest.mark.parametrize("model", [*MODELS, Flux(square(4))], ids=name)
def test_all_unit_vectors_are_exact_to_the_tolerance(model, ensemble, rng):
    field = random_field(model, rng)
    exact = ExactDiagonalization(0.2, **ensemble).solve(model, field)
    coarse, fine = (
        Chebyshev(0.2, **ensemble, tolerance=tolerance).solve(model, field)
        for tolerance in (1e-2, 1e-11)
    )
    assert (coarse.density_elements - exact.density_elements).abs().max() < 1e-2
    assert error(fine, exact) < 1e-10


@pytest.mark.parametrize("ensemble", [{"mu": 0.0}, {"filling": 0.5}], ids=str)
def test_an_insulator_is_exact_at_zero_temperature_as_its_gap_is_resolved(ensemble):
    model = Holstein(square(6))
    field = torch.from_numpy((-1.0) ** model.lattice.cells.sum(1))  # a gap of 7
    exact = ExactDiagonalization(0.0, **ensemble).solve(model, field)
    errors = [
        float((found.density_elements - exact.density_elements).abs().max())
        for found in (Chebyshev(0.0, **ensemble, order=n).solve(model, field) for n in (50, 400))
    ]
    # Jackson's kernel changes the slope of the grand potential by π²/2 order².
    assert errors[1] < 1.05 * np.pi**2 / 2 / 400**2 < errors[0] < 1e-2


@pytest.mark.filterwarnings(UNRESOLVED)
def test_a_cold_metal_is_smoothed_over_the_resolution(rng):
    """Levels farther from μ than a few π a/order are occupied as they should be."""
    model = DoubleExchange(square(5))
    field = random_field(model, rng)
    levels = np.linalg.eigvalsh(model.matrix(field).numpy())
    mu = float(levels[15:17].mean())
    exact = ExactDiagonalization(0.0, mu=mu).solve(model, field)
    resolution = np.pi * 7.5 / (levels[16] - levels[15])
    coarse, fine = (
        error(Chebyshev(0.0, mu=mu, order=2 * int(n)).solve(model, field), exact)
        for n in (resolution / 20, 5 * resolution)
    )
    assert fine < 1e-3 < 0.01 < coarse


@pytest.mark.parametrize("ensemble", [{"mu": -3.5}, {"filling": 0.3}], ids=str)
def test_levels_that_the_series_does_not_resolve_are_announced(ensemble, rng):
    """A metal at kT = 0; not an insulator, and not a warm metal with a converged series."""
    model = DoubleExchange(square(5))
    field = random_field(model, rng)
    with pytest.warns(UserWarning, match="order=100 resolves energies to 0.24, and levels lie"):
        Chebyshev(0.0, **ensemble, order=100).solve(model, field)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Chebyshev(0.0, filling=0.5, order=100).solve(model, field)
        Chebyshev(0.1, **ensemble).solve(model, field)


@pytest.mark.filterwarnings(UNRESOLVED)
@pytest.mark.parametrize("kT", [0.1, 0.0])
@pytest.mark.parametrize("distance", [None, 3])
@pytest.mark.parametrize("model", PROBED, ids=name)
def test_forces_are_derivatives_of_the_stated_energy(model, distance, kT, rng):
    """Also where the order is much too low and the vectors are few: forces conserve energy."""
    field, direction = random_field(model, rng), random_field(model, rng)
    h, steps = 1e-4, torch.tensor([-2.0, -1.0, 1.0, 2.0]).double()
    fields = field + h * steps.view(-1, *[1] * field.ndim) * direction
    if model.field_type.is_spin:  # spins stay on the sphere
        fields = fields / fields.norm(dim=-1, keepdim=True)
        direction = direction - (direction * field).sum(-1, keepdim=True) * field
    for mu, filling in ((-0.6, None), (None, 0.3)):
        solver = Chebyshev(kT, mu, filling, order=30, distance=distance)
        force_field = ExactForceField(model, solver)
        energies = force_field.electronic(fields)[0]
        # Of fourth order: the error is h⁴ times the fifth derivative.
        slope = energies @ torch.tensor([1.0, -8.0, 8.0, -1.0]).double() / (12 * h)
        expected = -float((force_field.electronic(field)[1] * direction).sum())
        assert float(slope) == pytest.approx(expected, abs=1e-8 * max(1, abs(expected)))


def test_errors_of_probing_fall_with_the_distance(rng):
    """As 1/S or faster, with S the number of vectors (8, 32 and 72 here)."""
    model = DoubleExchange(square(12))
    fields = random_field(model, rng, 2)
    exact = ExactDiagonalization(0.1, mu=-3.5).solve(model, fields)
    errors = []
    for distance in (3, 4, 8, 12):
        found = Chebyshev(0.1, mu=-3.5, distance=distance).solve(model, fields)
        difference = found.density_elements - exact.density_elements
        errors.append(float(difference.abs().square().mean().sqrt()))
    assert errors[0] < 0.04 and errors[1] < errors[0] and errors[2] < 4e-3
    assert errors[3] < errors[2] / 2


def test_a_distance_beyond_the_lattice_is_exact(rng):
    model = DoubleExchange(square(4))
    field = random_field(model, rng)
    exact = ExactDiagonalization(0.2, mu=-1.0).solve(model, field)
    found = Chebyshev(0.2, mu=-1.0, tolerance=1e-11, distance=9).solve(model, field)
    assert error(found, exact) < 1e-10


@pytest.mark.parametrize("model", PROBED, ids=name)
def test_a_batch_changes_nothing_and_the_density_is_hermitian(model, rng):
    fields = random_field(model, rng, 2, 3)
    for mu, filling in ((0.3, None), (None, 0.6)):
        solver = Chebyshev(0.3, mu, filling, distance=4)
        state, alone = solver.solve(model, fields), solver.solve(model, fields[1, 2])
        assert state.energy.shape == state.mu.shape == (2, 3)
        for part in ("energy", "mu", "density_elements"):
            assert torch.equal(getattr(state, part)[1, 2], getattr(alone, part))
        density = torch.zeros(model.n_states, model.n_states, dtype=alone.density_elements.dtype)
        density[model.cols, model.rows] = alone.density_elements
        assert torch.equal(density, density.mH)


@pytest.mark.filterwarnings(UNRESOLVED)
@pytest.mark.parametrize("model", PROBED, ids=name)
def test_compiled_code_and_torch_agree(model, rng, monkeypatch):
    if native.library() is None:
        pytest.skip("there is no compiler")
    field = random_field(model, rng)
    for solver in (Chebyshev(0.1, mu=-0.2), Chebyshev(0.0, filling=0.3, order=40, distance=3)):
        compiled = solver.solve(model, field)
        monkeypatch.setattr(native, "library", lambda: None)
        reference = solver.solve(model, field)
        monkeypatch.undo()
        assert error(compiled, reference) < 1e-11


def test_tensors_on_a_gpu_stay_there(rng):
    """They take the torch form, which no compiled code replaces there."""
    model = DoubleExchange(square(4))
    field = random_field(model, rng, 2)
    solver = Chebyshev(0.2, filling=0.4, distance=3)
    expected = solver.solve(model, field)
    with PretendedGPU():
        found = solver.solve(model, field.to(GPU))
        assert found.density_elements.device == found.energy.device == found.mu.device == GPU
        copied = ElectronicState(found.energy.cpu(), found.mu.cpu(), found.density_elements.cpu())
    assert error(copied, expected) < 1e-11


@pytest.mark.parametrize("model", PROBED, ids=name)
def test_threads_change_no_bit(model, rng):
    field = random_field(model, rng)
    states = []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        states.append(Chebyshev(0.3, filling=0.4).solve(model, field))
    torch.set_num_threads(1)
    for part in ("energy", "mu", "density_elements"):
        assert torch.equal(getattr(states[0], part), getattr(states[1], part))


def test_electrons_add_up_to_the_filling(rng):
    model = Holstein(square(8))
    state = Chebyshev(0.1, filling=0.4, tolerance=1e-8, distance=6).solve(
        model, random_field(model, rng)
    )
    electrons = state.density_elements[model.rows == model.cols].sum()
    assert float(electrons) == pytest.approx(0.4 * 64, abs=1e-6)


@pytest.mark.parametrize(("mu", "filling"), [(-100.0, 0.0), (100.0, 1.0)])
@pytest.mark.parametrize("kT", [0.1, 0.0])
def test_empty_and_full_bands(mu, filling, kT, rng):
    model = Holstein(square(5))
    field = random_field(model, rng)
    state = Chebyshev(kT, mu=mu, order=1000).solve(model, field)
    expected = torch.where(model.rows == model.cols, filling, 0.0).double()
    torch.testing.assert_close(state.density_elements, expected, rtol=0, atol=1e-5)
    assert float(state.energy) == pytest.approx(
        filling * float(-3.5 * field.sum() - 25 * mu), rel=1e-5
    )


def test_uncoupled_equal_levels_have_no_width():
    model = Holstein(square(3), t=0.0)
    state = Chebyshev(0.5, mu=0.4).solve(model, torch.zeros(9))
    occupations = state.density_elements[model.rows == model.cols]
    torch.testing.assert_close(
        occupations, torch.full((9,), 1 / (1 + np.exp(-0.8))).double(), rtol=0, atol=1e-4
    )


def test_refinements_estimate_the_error(rng):
    model = DoubleExchange(square(8))
    field = random_field(model, rng)
    exact = ExactDiagonalization(0.1, mu=-3.5).solve(model, field).density_elements
    for solver in (
        Chebyshev(0.1, mu=-3.5, distance=4),
        Chebyshev(0.1, mu=-3.5, tolerance=1e-2),
        Chebyshev(0.1, mu=-3.5, order=100),
    ):
        refined = solver.refined()
        assert not solver.is_exact and refined != solver
        found = solver.solve(model, field).density_elements
        estimate = float((refined.solve(model, field).density_elements - found).norm())
        true = float((found - exact).norm())
        assert true / 1.5 < estimate < 1.5 * true


def test_refinement_ends_where_rounding_begins():
    assert Chebyshev(0.1, mu=0.0, tolerance=1e-13, distance=3).refined().distance == 6
    with pytest.raises(ValueError, match="has no refinement, because it is exact to rounding"):
        Chebyshev(0.1, mu=0.0, tolerance=1e-13).refined()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kT": -0.1}, "kT must be finite and at least 0, got -0.1"),
        ({"filling": 0.5}, "only one of mu and filling can be given"),
        ({"kT": 0.0}, "order must be given at kT = 0.* Use order=2000"),
        ({"order": 7}, "order must be an even number above 0, got 7. Use 1000"),
        ({"order": 0}, "order must be an even number above 0, got 0"),
        ({"distance": 0}, "distance must be a whole number, at least 1, got 0. Use 8"),
        ({"tolerance": 0.0}, "tolerance must be a finite number >= 1e-14 and <= 0.1, got 0.0"),
        ({"seed": -1}, "seed must be a whole number, at least 0, got -1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        replace(Chebyshev(0.1, mu=0.0), **arguments)


def test_what_would_take_forever_is_refused():
    with pytest.raises(ValueError, match=r"kT = 1e-06 needs a Chebyshev series of .* order=4000"):
        Chebyshev(1e-6, mu=0.0).solve(Holstein(chain(8)), torch.zeros(8))
    with pytest.raises(ValueError, match=r"distance must be given for more than 10,000 states"):
        Chebyshev(0.1, mu=0.0).solve(Holstein(square(101)), torch.zeros(101**2))
    with pytest.raises(ValueError, match="field must have shape"):
        Chebyshev(0.1, mu=0.0).solve(Holstein(square(4)), torch.zeros(15))
