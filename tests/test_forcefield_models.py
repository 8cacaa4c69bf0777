"""Models beyond one displacement a site: numbers of an independent program, forces against
differences.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lattgnn import lattice as lattices
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, JahnTeller, Peierls
from lattgnn.solvers import ExactDiagonalization

FOLDER = Path(__file__).parent / "golden"
# model -> (how a case becomes a model, its field, its forces)
MODELS = {
    "peierls": (
        lambda at, c: Peierls(at, c["t0"], c["t2"], c["g"], c["k0"], c["kappa"]),
        "u",
        "forces",
    ),
    "jahn_teller": (lambda at, c: JahnTeller(at, lam=c["lam"], K=c["K"]), "Q", "forces"),
    "double_exchange": (lambda at, c: DoubleExchange(at, J=c["J"]), "S", "effective_field"),
}
CASES = [
    case for model in MODELS for case in json.loads((FOLDER / f"{model}.json").read_text())["cases"]
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['model']}-{case['geometry']}")
def test_golden_numbers(case):
    lattice = getattr(lattices, case["geometry"])(*case["extent"])
    distance = np.linalg.norm(
        lattice.positions[:, None] - np.array(case["positions"])[None], axis=-1
    )
    theirs = distance.argmin(1)  # sites are matched by position, never by their number
    assert distance.min(1).max() < 1e-9 and sorted(theirs) == list(range(lattice.n_sites))
    make, field_name, forces_name = MODELS[case["model"]]
    model = make(lattice, case)
    field, forces = (
        torch.tensor(case[name], dtype=torch.float64)[theirs] for name in (field_name, forces_name)
    )
    filling = case["n_electrons"] / model.n_states if "n_electrons" in case else case["filling"]
    solver = ExactDiagonalization(case["kT"], filling=filling)
    energy, found = ExactForceField(model, solver)(field)
    torch.testing.assert_close(found, forces, rtol=0, atol=1e-9)

    state = solver.solve(model, field)
    if "density" in case:
        diagonal = state.density_elements.real[model.rows == model.cols]
        order = model.rows[model.rows == model.cols].argsort()
        density = diagonal[order].reshape(lattice.n_sites, -1).sum(-1)
        expected = torch.tensor(case["density"], dtype=torch.float64)[theirs]
        torch.testing.assert_close(density, expected, rtol=0, atol=1e-9)
        assert float(state.mu) == pytest.approx(case["mu"], abs=1e-9)
    if "energy_total" in case:
        assert float(energy) == pytest.approx(case["energy_total"], abs=1e-9)
        levels = torch.linalg.eigvalsh(model.matrix(field))
        above = levels[lattice.n_sites // 2] - state.mu
        assert float(above) == pytest.approx(case["gap"] / 2, abs=1e-9), (
            "μ is in the middle of the gap"
        )
    if "grand_potential" in case:
        electrons = case["mu"] * case["n_electrons"]
        assert float(energy) == pytest.approx(case["grand_potential"] + electrons, abs=1e-9)


SIZES = {"square": 5, "triangular": 5, "honeycomb": 4, "kagome": 3}
SOLVERS = [
    ExactDiagonalization(0.1, filling=0.4),
    ExactDiagonalization(0.1, mu=-0.5),
    ExactDiagonalization(0.0, filling=0.4),
    ExactDiagonalization(0.0, mu=-0.5),
]


def models() -> list:
    """Every model on every lattice that it knows."""
    on = [getattr(lattices, name)(size) for name, size in SIZES.items()]
    made = [model(lattice) for model in (Peierls, DoubleExchange) for lattice in on]
    return [*made, JahnTeller(lattices.square(4))]


@pytest.mark.parametrize(
    "solver", SOLVERS, ids=lambda s: f"kT={s.kT:g}-{'mu' if s.filling is None else 'filling'}"
)
@pytest.mark.parametrize("model", models(), ids=lambda m: f"{type(m).__name__}-{m.lattice.name}")
def test_forces_are_minus_the_gradient_of_the_energy(model, solver, rng):
    """Central differences along a random direction and two coordinates; at kT = 0 away from
    crossings.
    """
    force_field, h = ExactForceField(model, solver), 1e-5
    scale = 0.1 if isinstance(model, Peierls) else 1.0
    field, along = scale * torch.randn(2, *model.field_shape, dtype=torch.float64, generator=rng)
    if solver.kT == 0:
        levels = torch.linalg.eigvalsh(model.matrix(field))
        mu = float(solver.solve(model, field).mu) if solver.filling is None else None
        filled = round(0.4 * model.n_states) if mu is None else int((levels < mu).sum())
        assert levels[filled] - levels[filled - 1] > 1e-3
        # A whole number of electrons: the Fermi level lies in the gap.
        filling = filled / model.n_states
        solver = ExactDiagonalization(0.0, filling=filling) if mu is None else solver
        force_field = ExactForceField(model, solver)
    _, forces = force_field(field)
    directions = [along, *torch.eye(field.numel()).double()[[0, -1]].reshape(2, *field.shape)]
    for direction in directions:
        slope = (force_field(field + h * direction)[0] - force_field(field - h * direction)[0]) / (
            2 * h
        )
        torch.testing.assert_close(
            -(forces * direction).sum(), slope, rtol=1e-7, atol=1e-7 * float(forces.abs().max())
        )
