"""Sources of thermal spins and of perturbed magnetic orders."""

import numpy as np
import pytest
import torch

from lattgnn.cli.physics_verbs import generate_parser, parse
from lattgnn.data import LatticeDataset, PerturbedOrders, ThermalSpins, generate
from lattgnn.data.quenches import source_identity
from lattgnn.dynamics import HeunLLG, OverdampedSpins, SpinTransferTorque
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein
from lattgnn.lattice import square, triangular
from lattgnn.serialize import build, describe
from lattgnn.solvers import ExactDiagonalization
from lattgnn.spin_orders import Spiral, double_q, tetrahedral

SOLVER = ExactDiagonalization(kT=0.1, mu=-3.5)


@pytest.fixture
def exact() -> ExactForceField:
    return ExactForceField(DoubleExchange(triangular(4), t=1.0, J=3.0), SOLVER)


def test_orders_and_strengths_take_turns(exact):
    orders = (tetrahedral(), Spiral([0, 0]))
    source = PerturbedOrders("train", 8, orders=orders, strengths=(0.0, 0.1), rotates=False)
    frames = source.label(exact, 0, seed=3)
    perfect = [order.spins(exact.lattice) for order in orders]
    np.testing.assert_allclose(frames.field[0], perfect[0], atol=1e-12)
    np.testing.assert_allclose(frames.field[5], perfect[1], atol=1e-12)
    for sample, order in ((2, 0), (3, 1), (6, 0)):
        distance = np.square(frames.field[sample] - perfect[order]).sum(axis=-1).mean()
        assert 0.005 < distance < 0.05  # two of three components, each of variance 0.01
    np.testing.assert_allclose(np.linalg.norm(frames.field, axis=-1), 1, atol=1e-14)
    energy, forces = exact.electronic(torch.from_numpy(frames.field))
    np.testing.assert_allclose(frames.forces, forces.numpy(), atol=1e-12)
    np.testing.assert_allclose(frames.energy, energy.numpy(), rtol=1e-12)


def test_random_rotations_keep_the_order_and_its_energy(exact):
    source = PerturbedOrders("train", 4, orders=(tetrahedral(),), strengths=(0.0,))
    frames = source.label(exact, 0, seed=3)
    perfect = tetrahedral().spins(exact.lattice)
    for spins in frames.field:
        np.testing.assert_allclose(spins @ spins.T, perfect @ perfect.T, atol=1e-12)
    assert np.abs(frames.field[0] - frames.field[1]).max() > 0.1
    np.testing.assert_allclose(frames.energy, frames.energy[0], rtol=1e-12)


def test_thermal_frames_come_after_equilibration(exact):
    sampler = OverdampedSpins(dt=0.1, kT=0.02)
    source = ThermalSpins("val", 1, 30, 3, sampler, n_equilibration=20)
    frames = source.label(exact, 0, seed=1)
    assert frames.step.tolist() == [20, 25, 30] and source.n_frames_of(0) == 3
    assert source.n_solves(0) == 61
    np.testing.assert_allclose(np.linalg.norm(frames.field, axis=-1), 1, atol=1e-12)
    energy, _ = exact.electronic(torch.from_numpy(frames.field))
    np.testing.assert_allclose(frames.energy, energy.numpy(), rtol=1e-12)


def test_sources_are_described_and_built():
    orders = (double_q(["1/2", 0]), Spiral(["1/4", 0]))
    for source in (
        PerturbedOrders("train", orders=orders),
        ThermalSpins("train", integrator=HeunLLG(0.1, 0.02, 0.5)),
    ):
        assert build(describe(source), type(source)) == source
    assert source_identity(ThermalSpins("train"))["init_args"]["kT"] == 0.05


def test_wrong_sources_are_refused():
    with pytest.raises(InputError, match="at least one"):
        PerturbedOrders("train")
    with pytest.raises(InputError, match="n_equilibration"):
        ThermalSpins("train", 1, 30, 3, n_equilibration=29)
    with pytest.raises(InputError, match="fit"):
        PerturbedOrders("train", orders=(Spiral(["1/3", 0]),)).check(DoubleExchange(square(4)))
    with pytest.raises(InputError, match="Holstein"):
        PerturbedOrders("train", orders=(Spiral([0, 0]),)).check(Holstein(square(4)))


def test_orders_are_generated_into_a_dataset(tmp_path):
    sources = [PerturbedOrders("train", 4, orders=(Spiral(["1/2", 0]),))]
    path = generate(
        lattice=square(4),
        hamiltonian=DoubleExchange,
        solver=SOLVER,
        sources=sources,
        name="orders",
        root=tmp_path,
        n_workers=0,
    )
    frames = LatticeDataset.open(path).frames("train")
    np.testing.assert_allclose(np.linalg.norm(frames.field, axis=-1), 1, atol=1e-12)
    assert len(frames) == 4


YAML = """
lattice: {class_path: lattgnn.lattice.triangular, init_args: {extent: [6, 6]}}
hamiltonian: {class_path: lattgnn.hamiltonians.DoubleExchange, init_args: {J: 2.0}}
solver: {class_path: lattgnn.solvers.ExactDiagonalization, init_args: {kT: 0.1, mu: 0.0}}
sources:
  - class_path: lattgnn.data.PerturbedOrders
    init_args:
      split: train
      orders:
        - class_path: lattgnn.spin_orders.tetrahedral
        - {class_path: lattgnn.spin_orders.Spiral, init_args: {wavevector: ["1/3", "-1/3"]}}
  - class_path: lattgnn.data.ThermalSpins
    init_args:
      split: train
      integrator: {class_path: lattgnn.dynamics.OverdampedSpins, init_args: {dt: 0.1, kT: 0.02}}
  - class_path: lattgnn.data.SpinQuench
    init_args:
      split: val
      integrator:
        class_path: lattgnn.dynamics.MidpointLLG
        init_args:
          dt: 0.1
          kT: 0.02
          alpha: 0.2
          torque:
            class_path: lattgnn.dynamics.SpinTransferTorque
            init_args: {velocity: [0.3, 0.0], beta: 0.1}
"""


def test_sources_of_a_yaml_file(tmp_path):
    path = tmp_path / "spins.yaml"
    path.write_text(YAML)
    options = parse(generate_parser(), ["generate", "--config", str(path)])
    orders, thermal, quench = options["sources"]
    assert orders.orders == (tetrahedral(), Spiral(["1/3", "-1/3"]))
    assert thermal.stepper == OverdampedSpins(dt=0.1, kT=0.02)
    assert quench.stepper.torque == SpinTransferTorque((0.3, 0.0), 0.1)
