"""The learned force field: saving and loading, ensembles, and what is refused."""

import numpy as np
import pytest
import torch

from lattgnn.checkpoint import FORMAT_VERSION
from lattgnn.dynamics import LogSpaced, Regular, VerletLangevin, initial_state, simulate
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Holstein, Peierls
from lattgnn.lattice import square, triangular
from lattgnn.nn import tangent_part
from lattgnn.solvers import ExactDiagonalization, RepeatedDiagonalization
from lattgnn.spin_orders import PlaneWaves, Spiral, stripes, tetrahedral, triple_q
from tests.orbit_networks import orbit_network

SOLVER = ExactDiagonalization(kT=0.1, mu=0.0)


def make_force_field(lattice, conservative=False, filling=None, **options):
    torch.manual_seed(0)
    model = Holstein(lattice)
    net = orbit_network(
        lattice, model.field_type.force_bound, channels=4, conservative=conservative, **options
    ).double()
    return LearnedForceField(net, model, SOLVER, filling)


@pytest.fixture
def field(rng):
    return torch.randn(3, 36, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("conservative", [False, True])
def test_a_saved_force_field_comes_back_on_any_extent(conservative, field, tmp_path, float32_bound):
    force_field = make_force_field(square(6), conservative)
    force_field.save(tmp_path / "small.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["small.ckpt"]
    loaded = LearnedForceField.load(tmp_path / "small.ckpt")
    assert loaded.hamiltonian == force_field.hamiltonian and loaded.solver == SOLVER
    _, bound = float32_bound(force_field.net, force_field.lattice, field)  # stored in float32
    torch.testing.assert_close(loaded(field)[1], force_field(field)[1], rtol=0, atol=2 * bound)
    larger = LearnedForceField.load(tmp_path / "small.ckpt", lattice=square(8, 10))
    assert larger(torch.zeros(80, dtype=torch.float64))[1].shape == (80,)


def test_a_network_for_another_field_is_refused_and_both_are_named():
    lattice = square(6)
    with pytest.raises(ValueError, match="that of Peierls on square, .*'vector'.* got .*'B1 . A1'"):
        LearnedForceField(orbit_network(lattice, field="B1 + A1"), Peierls(lattice), SOLVER)
    # "E" is another name of the same representation.
    vectors = LearnedForceField(orbit_network(lattice, field="E"), Peierls(lattice), SOLVER)
    assert vectors(torch.zeros(36, 2))[1].shape == (36, 2)


def test_the_elastic_part_is_exact_and_never_learned(field):
    force_field = make_force_field(square(6), conservative=True)
    energy, forces = force_field(field)
    electronic_energy, electronic = force_field.electronic(field)
    model = force_field.hamiltonian
    torch.testing.assert_close(
        forces - electronic, model.classical_forces(field), rtol=0, atol=1e-12
    )
    assert energy is not None and electronic_energy is not None
    torch.testing.assert_close(
        energy - electronic_energy, model.classical_energy(field), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("filling", [0.5, 0.3])
def test_filling_fixes_the_number_of_electrons(filling, field, float32_bound):
    """And each field has its own chemical potential, whatever else is in the batch."""
    lattice = square(6)
    trained = LearnedForceField.pretrained("holstein-square", lattice, filling)
    _, electronic = trained.electronic(2 * field)
    field_type = trained.hamiltonian.field_type
    density = field_type.density(electronic)
    # The network runs in float32. The root is exact to 1e-7 in μ, and there a site's density rises
    # by less than one per unit of μ; rounding moves what is solved for and what is found then.
    _, bound = float32_bound(trained.net, lattice, 2 * field)
    off = 2 * bound / field_type.density_coupling + 1e-7
    torch.testing.assert_close(
        density.mean(-1), torch.full((3,), filling, dtype=torch.float64), rtol=0, atol=off
    )
    alone = trained.electronic(2 * field[1])[1]
    torch.testing.assert_close(alone, electronic[1], rtol=0, atol=2 * bound)


@pytest.mark.parametrize(
    ("name", "bound"),  # on the benchmark 3e-5, 1.1e-4 and 5e-5; few sites carry most
    [
        ("holstein-square", 1.5e-4),
        ("holstein-square-small", 4e-4),
        ("holstein-square-energy", 1.5e-4),
    ],
)
def test_pretrained_forces_are_close_to_exact_ones(name, bound):
    """Fields of a quench, on a lattice of another size than that of the training."""
    lattice = square(12)
    learned = LearnedForceField.pretrained(name, lattice)
    exact = ExactForceField(learned.hamiltonian, learned.solver)
    start = initial_state(learned, seed=3, n_replicas=8, field_std=5.27, momentum_std=5.0)
    integrator = VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=5.0)
    fields = torch.from_numpy(simulate(learned, integrator, start, 300, LogSpaced(12)).fields[:])
    energy, forces = learned.electronic(fields)
    exact_energy, exact_forces = exact.electronic(fields)
    assert (forces - exact_forces).square().mean() < bound
    assert (energy is None) == (name != "holstein-square-energy")
    if energy is not None:
        assert (energy - exact_energy).abs().max() / lattice.n_sites < 5e-3


def test_free_energy_at_fixed_filling_has_the_forces_as_its_gradient(field):
    """F = Ω + μN: the network's energy, background and shift put together right."""
    force_field = make_force_field(square(6), conservative=True, filling=0.45)
    one, h = field[0], 1e-4
    forces = force_field.electronic(one)[1]
    for site in (0, 17):
        step = torch.zeros_like(one)
        step[site] = h
        energies = [force_field.electronic(one + sign * step)[0] for sign in (1, -1)]
        slope = torch.stack([e for e in energies if e is not None]).diff()[0] / (-2 * h)
        torch.testing.assert_close(-slope, forces[site], rtol=1e-5, atol=1e-6)


def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        LearnedForceField.load(tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("weights")
    with pytest.raises(ValueError, match="cannot be read"):
        LearnedForceField.load(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="without its header"):
        LearnedForceField.load(tmp_path / "other.ckpt")
    torch.save(torch.zeros(3), tmp_path / "tensor.ckpt")
    with pytest.raises(ValueError, match="without its header"):
        LearnedForceField.load(tmp_path / "tensor.ckpt")
    header = {"format_version": FORMAT_VERSION + 1, "versions": {"lattgnn": "9"}}
    torch.save({"lattgnn": header}, tmp_path / "future.ckpt")
    with pytest.raises(
        ValueError, match=f"format version {FORMAT_VERSION}, got {FORMAT_VERSION + 1}"
    ):
        LearnedForceField.load(tmp_path / "future.ckpt")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda weights: weights.pop("net.basis.steps"), "missing: net.basis.steps"),
        (lambda weights: weights.update(other=torch.zeros(1)), "unexpected: other"),
        (
            lambda weights: weights.update({"net.basis.steps": torch.zeros(9)}),
            "of another shape: net.basis.steps",
        ),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_weights_of_another_network_are_refused(change, words, tmp_path):
    make_force_field(square(6)).save(tmp_path / "net.ckpt")
    checkpoint = torch.load(tmp_path / "net.ckpt", weights_only=True)
    checkpoint["state_dict"]["errors.val_all.total"] = torch.zeros(1)  # a metric: ignored
    torch.save(checkpoint, tmp_path / "net.ckpt")
    assert not LearnedForceField.load(tmp_path / "net.ckpt", fast=False).backend.is_compiled
    change(checkpoint["state_dict"])
    torch.save(checkpoint, tmp_path / "net.ckpt")
    with pytest.raises(InputError, match=words):
        LearnedForceField.load(tmp_path / "net.ckpt")


def test_simulate_prepares_the_force_field(monkeypatch):
    """On a GPU this is where changes are noticed that no version counter records."""
    force_field, calls = make_force_field(square(6)), []
    state = initial_state(force_field, seed=0, field_std=1.0)
    monkeypatch.setattr(force_field, "prepare", lambda: calls.append(1))
    simulate(force_field, VerletLangevin(0.05, 0.1, 0.2, 5.0), state, 4, Regular(2))
    assert calls == [1]


def test_another_lattice_is_refused(tmp_path):
    make_force_field(square(6)).save(tmp_path / "square.ckpt")
    with pytest.raises(ValueError, match="trained on, square, got triangular"):
        LearnedForceField.load(tmp_path / "square.ckpt", lattice=triangular(6))


def test_pretrained_effective_fields_are_close_to_exact_ones(rng):
    """Random spins from another source than the training, on a lattice of another size."""
    lattice = square(20)
    learned = LearnedForceField.pretrained("kondo-square", lattice)
    exact = ExactForceField(learned.hamiltonian, learned.solver)
    spins = torch.randn(2, lattice.n_sites, 3, generator=rng, dtype=torch.float64)
    spins = torch.nn.functional.normalize(spins, dim=-1)
    (energy, fields), (exact_energy, exact_fields) = learned(spins), exact(spins)
    error = fields - exact_fields
    assert error.square().mean() < 1.5e-3 and tangent_part(error, spins).square().mean() < 3e-4
    assert energy is not None and (energy - exact_energy).abs().max() / lattice.n_sites < 1e-3


def test_pretrained_energies_put_orders_of_the_triangular_lattice_in_the_exact_order():
    lattice = triangular(12)
    learned = LearnedForceField.pretrained("tetrahedral-triangular", lattice)
    exact = ExactForceField(learned.hamiltonian, learned.solver)
    orders = [tetrahedral(), stripes(["1/2", 0]), Spiral(["1/3", "-1/3"]), Spiral(["1/3", "1/6"])]
    orders.append(PlaneWaves([["1/2", 0], [0, "1/2"]], [[1, 0, 0], [0, 1, 0]]))
    orders += [Spiral([q, 0]) for q in ("0", "1/12", "1/6", "1/4", "1/3", "5/12")]
    orders += [triple_q([q, 0]) for q in ("1/6", "1/4")]
    spins = torch.from_numpy(np.stack([order.spins(lattice) for order in orders]))
    (energy, _), (exact_energy, _) = learned(spins), exact(spins)
    assert energy is not None
    distinct = exact_energy[:, None] - exact_energy > 1e-3 * lattice.n_sites
    assert distinct.sum() > 60
    assert (energy[:, None] - energy)[distinct].min() > 0


def test_pretrained_effective_fields_are_close_to_exact_ones_near_the_tetrahedral_order(rng):
    lattice = triangular(16)  # another size than that of the training
    learned = LearnedForceField.pretrained("tetrahedral-triangular", lattice)
    exact = ExactForceField(learned.hamiltonian, learned.solver)
    spins = torch.from_numpy(tetrahedral(-1).spins(lattice))
    spins = spins + 0.15 * torch.randn(spins.shape, generator=rng, dtype=torch.float64)
    spins = torch.nn.functional.normalize(spins, dim=-1)[None]
    exact_torque = tangent_part(exact(spins)[1], spins)
    error = tangent_part(learned(spins)[1], spins) - exact_torque
    assert error.square().mean() < 0.1 * exact_torque.square().mean()


def test_pretrained_forces_and_energies_are_close_to_exact_ones_around_the_120_degree_order(rng):
    lattice = triangular(15)  # another size than that of the training
    learned = LearnedForceField.pretrained("order-120-triangular", lattice)
    exact = ExactForceField(learned.hamiltonian, learned.solver)
    order = torch.from_numpy(Spiral(["1/3", "-1/3"]).spins(lattice))
    noise = torch.randn(2, *order.shape, generator=rng, dtype=torch.float64)
    # Near the order, and random spins.
    spins = torch.stack([order + 0.15 * noise[0], noise[1]])
    spins = torch.nn.functional.normalize(spins, dim=-1)
    (energy, fields), (exact_energy, exact_fields) = learned(spins), exact(spins)
    torques = tangent_part(exact_fields, spins).square().mean(dim=(1, 2))
    errors = tangent_part(fields - exact_fields, spins).square().mean(dim=(1, 2))
    assert (errors < 0.01 * torques).all()
    assert energy is not None and (energy - exact_energy).abs().max() < 2e-3 * lattice.n_sites


def test_the_pretrained_skyrmion_crystal_is_lower_than_its_competitors_as_in_exact_energies():
    lattice = triangular(12)
    learned = LearnedForceField.pretrained("skyrmion-triangular", lattice)
    exact = ExactForceField(learned.hamiltonian, RepeatedDiagonalization(0.05, mu=-3.5, repeats=2))
    crystal, ferromagnet = triple_q(["1/6", "1/12"]), Spiral([0, 0])
    orders = [crystal, Spiral(["1/6", "1/12"]), Spiral(["1/12", 0]), ferromagnet]
    spins = torch.from_numpy(np.stack([order.spins(lattice) for order in orders]))
    (energy, _), (exact_energy, _) = learned(spins), exact(spins)
    assert energy is not None
    assert (exact_energy.diff() > 0).all() and (energy.diff() > 0).all()
    assert (energy - exact_energy).abs().max() < 2e-3 * lattice.n_sites


def test_pretrained_names_are_listed_when_wrong():
    with pytest.raises(ValueError, match="holstein-square"):
        LearnedForceField.pretrained("holstein-cube")


def test_filling_needs_labels_at_fixed_mu():
    lattice = square(6)
    model = Holstein(lattice)
    solver = ExactDiagonalization(kT=0.1, filling=0.5)
    with pytest.raises(ValueError, match="trained at fixed mu"):
        LearnedForceField(
            orbit_network(lattice, model.field_type.force_bound), model, solver, filling=0.5
        )


def test_the_precision_of_the_network_may_change(field, float32_bound):
    force_field = LearnedForceField.pretrained("holstein-square", square(6))
    single = force_field(field)[1]
    force_field.net.double()
    _, bound = float32_bound(force_field.net, force_field.lattice, field)
    torch.testing.assert_close(force_field(field)[1], single, rtol=0, atol=bound)


def test_fields_are_checked_as_the_exact_force_field_does(field):
    force_field = make_force_field(square(6))
    for wrong, words in [
        (field[:, :-1], r"must have shape \[..., 36\]"),
        (field * float("nan"), "must be finite"),
        (torch.ones(36, dtype=torch.int64), "field"),
    ]:
        with pytest.raises((ValueError, TypeError), match=words):
            force_field(wrong)
    _, forces = force_field(field.requires_grad_())
    assert not forces.requires_grad


def test_another_ensemble_than_that_of_the_labels_is_refused():
    from lattgnn.cli.physics_verbs import choose_force_field

    with pytest.raises(ValueError, match="has labels of ExactDiagonalization"):
        choose_force_field(
            square(6), solver=ExactDiagonalization(kT=0.3, mu=0.0), checkpoint="holstein-square"
        )
