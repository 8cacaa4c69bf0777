"""A run over many processes is the run of one process, and continues in any number of them."""

import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lattgnn.disorder import BoxDisorder, DisorderedForceField
from lattgnn.dynamics import (
    BAOAB,
    HeunLLG,
    Regular,
    SpinTransferTorque,
    Trajectory,
    VerletLangevin,
    domains,
    initial_spins,
    initial_state,
    simulate,
)
from lattgnn.dynamics.langevin_kernels import kernels
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein
from lattgnn.lattice import Lattice, kagome, square
from lattgnn.nn import OrbitNetwork
from lattgnn.patch_forces import domain_force_field
from lattgnn.solvers import DomainDiagonalization, ExactDiagonalization, GreenFunction
from tests.patience import PATIENCE

pytestmark = [
    pytest.mark.filterwarnings("ignore:the run leaves the fields"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
LABELS = ExactDiagonalization(kT=0.1, mu=0.0)
LANGEVIN = VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=2.0)
CONFIG = {"force_field": "of this test"}


@dataclass(frozen=True)
class Case:
    """A run whose pieces are compared with the whole."""

    force_field: Any
    integrator: Any = LANGEVIN
    dtype: torch.dtype = torch.float32
    n_steps: int = 500
    n_replicas: int = 1

    def start(self, force_field: Any) -> Any:
        if self.integrator.moves_spins:
            return initial_spins(force_field, 3, self.n_replicas, dtype=self.dtype)
        return initial_state(force_field, 3, self.n_replicas, 2.0, 1.0, dtype=self.dtype)

    def run(self, path, n_steps: int | None = None) -> Trajectory:
        state, n = self.start(self.force_field), n_steps or self.n_steps
        save = Regular(self.n_steps // 5)
        return simulate(self.force_field, self.integrator, state, n, save, path, config=CONFIG)

    def run_part(self, processes, path, cuts=None, n_steps: int | None = None) -> None:
        lattice, n = self.force_field.lattice, n_steps or self.n_steps
        part = domain_force_field(self.force_field, lattice, processes, cuts)
        save = Regular(self.n_steps // 5)
        domains.simulate(part, self.integrator, self.start(part), n, save, path, config=CONFIG)


def network(lattice: Lattice, conservative: bool, dtype=torch.float32) -> LearnedForceField:
    torch.manual_seed(0)
    model = Holstein(lattice)
    net = OrbitNetwork(lattice, model.field_type, conservative=conservative)
    return LearnedForceField(net.to(dtype), model, LABELS)


def largest_difference(found: Trajectory, right: Trajectory) -> float:
    assert found.config == right.config
    pairs = [(found.fields[:], right.fields[:])]
    pairs += [(found.momenta[-1], right.momenta[-1]), (found.forces[-1], right.forces[-1])]
    for one, other in ((found.energies, right.energies),):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            pairs.append((one[:] / np.abs(other[:]), np.sign(other[:])))
    if found.kinetic_energies is not None and right.kinetic_energies is not None:
        pairs.append((found.kinetic_energies / right.kinetic_energies, np.ones(1)))
    return max(float(np.abs(one - other).max()) for one, other in pairs)


def is_same(found: Trajectory, right: Trajectory) -> bool:
    """Whether all fields, momenta and forces have the same bits."""
    same = found.fields[:].tobytes() == right.fields[:].tobytes()
    same &= found.momenta[-1].tobytes() == right.momenta[-1].tobytes()
    return same and found.forces[-1].tobytes() == right.forces[-1].tobytes()


def test_two_processes_give_the_bits_of_one_and_three_continue(in_processes, tmp_path):
    case = Case(
        network(square(extent=(18, 16)), conservative=True), BAOAB(0.05, 0.1, 0.2, 2.0), n_steps=10
    )
    right = case.run(tmp_path / "one", 20)
    path = tmp_path / "many"
    assert in_processes(2, lambda p: case.run_part(p, path)) == [0, 0]
    assert Trajectory.open(path).arrays["field"].chunks[2] == 9 * 16
    assert in_processes(3, lambda p: case.run_part(p, path, n_steps=20)) == [0, 0, 0]
    found = Trajectory.open(path)
    assert largest_difference(found, right) < (1e-6 if kernels() is None else 1e-12)
    assert kernels() is None or is_same(found, right)


MANY = [(2, None), (4, [4]), (4, [2, 2])]


@pytest.mark.slow
@pytest.mark.skipif(kernels() is None, reason="no compiler here")
@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize("make", [square, kagome])
def test_500_steps_of_compiled_networks_have_the_same_bits(
    make, conservative, in_processes, tmp_path
):
    case = Case(network(make(extent=(32, 28)), conservative), n_replicas=2)
    right = case.run(tmp_path / "one")
    for n, cuts in MANY if make is square else MANY[-1:]:
        path = tmp_path / f"many-{n}-{cuts}"
        assert in_processes(n, lambda p: case.run_part(p, path, cuts)) == [0] * n  # noqa: B023
        assert is_same(Trajectory.open(path), right)
        assert largest_difference(Trajectory.open(path), right) < 1e-6


def exact(model, solver) -> ExactForceField:
    return ExactForceField(model, solver, energy=False)


# A network of spins with a small receptive field, so that 32 sites can be cut in four.
SPINS = Path(__file__).parents[2] / "golden/spins_version_2.ckpt"
CASES = {
    "float64 network": Case(
        network(square(extent=(32, 28)), True, torch.float64), dtype=torch.float64, n_steps=100
    ),
    "open axis": Case(
        network(Lattice([[1, 0], [0, 1]], [[0, 0]], [32, 28], [False, True]), True, torch.float64),
        dtype=torch.float64,
    ),
    "disorder": Case(
        DisorderedForceField(network(square(28), True, torch.float64), BoxDisorder(1.0)),
        dtype=torch.float64,
        n_steps=100,
    ),
    "Green's functions": Case(
        exact(Holstein(square(24)), GreenFunction(kT=0.1, mu=0.0, block=1)), dtype=torch.float64
    ),
    "domains": Case(
        exact(Holstein(square(24)), DomainDiagonalization(kT=0.2, mu=0.0, core=4, buffer=2)),
        dtype=torch.float64,
        n_steps=50,
    ),
    "spins": Case(
        LearnedForceField.load(SPINS, square(32)),
        HeunLLG(0.1, kT=0.02, alpha=0.1),
        torch.float64,
        n_steps=20,
    ),
    "exact spins": Case(
        exact(DoubleExchange(square(16)), DomainDiagonalization(0.2, 0.0, core=4, buffer=1)),
        HeunLLG(0.1, kT=0.02, alpha=0.1),
        torch.float64,
        n_steps=20,
    ),
}
CASES["spins"].force_field.net.double()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the lattice is open")
@pytest.mark.parametrize("name", CASES)
def test_other_forces_agree_to_rounding(name, in_processes, tmp_path):
    case = CASES[name]
    right = case.run(tmp_path / "one")
    for n, cuts in [(2, None), (4, [2, 2])]:
        path = tmp_path / f"many-{n}"
        assert in_processes(n, lambda p: case.run_part(p, path, cuts)) == [0] * n  # noqa: B023
        assert largest_difference(Trajectory.open(path), right) < 1e-12


@pytest.mark.slow
def test_a_killed_process_stops_the_others_and_the_run_continues(in_processes, tmp_path):
    case = Case(network(square(extent=(18, 16)), conservative=False), n_steps=3000)
    path, times = tmp_path / "many", tmp_path / "times"
    times.mkdir()

    def run(processes):
        if processes.rank == 1:
            signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, 1.0)
        try:
            case.run_part(processes, path)
        except domains.LostProcessError as error:
            (times / str(processes.rank)).write_text(str(error))
            raise SystemExit(1) from None

    begin = time.monotonic()
    codes = in_processes(3, run)
    assert time.monotonic() - begin < PATIENCE  # noticed, and not only after this timeout
    if codes == [0, 0, 0]:
        pytest.skip("the run was faster than the kill")
    assert codes == [1, -signal.SIGKILL, 1]
    for rank in ("0", "2"):
        assert (times / rank).read_text().startswith("another process of this run has stopped")
    right = case.run(tmp_path / "one")
    assert in_processes(2, lambda p: case.run_part(p, path)) == [0, 0]
    assert largest_difference(Trajectory.open(path), right) < 1e-5
    assert kernels() is None or is_same(Trajectory.open(path), right)


def test_a_current_is_refused_before_a_run_in_several_processes_starts(in_processes, tmp_path):
    torque = SpinTransferTorque((0.1, 0.0))
    case = replace(CASES["exact spins"], integrator=HeunLLG(0.1, 0.0, 0.1, torque))

    def run(processes):
        with pytest.raises(InputError, match="so torque must be left out with several processes"):
            case.run_part(processes, tmp_path / "many")

    assert in_processes(2, run) == [0, 0]
    assert not (tmp_path / "many").exists()
