"""`torchrun -m lattgnn simulate`: one run, one line for an error, and one end for all processes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lattgnn.cli import main
from lattgnn.dynamics import Trajectory
from lattgnn.dynamics.domains.processes import TIMEOUT
from lattgnn.dynamics.langevin_kernels import kernels
from lattgnn.spin_orders import Spiral
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow
CONFIG = """
lattice: {class_path: lattgnn.lattice.square, init_args: {extent: [24, 20]}}
force_field: {checkpoint: holstein-square-small}
integrator:
  class_path: lattgnn.dynamics.VerletLangevin
  init_args: {dt: 0.05, kT: 0.1, gamma: 0.2, mass: 5.0}
initial: {seed: 0, field_std: 5.27, momentum_std: 5.0}
save: {class_path: lattgnn.dynamics.Regular, init_args: {every: 10}}
"""


@pytest.fixture
def command(tmp_path):
    """The arguments of a short run."""
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG)
    return ["simulate", "--config", str(config), "--progress=false"]


@pytest.fixture
def torchrun(monkeypatch):
    """Starts a command in several processes; none of them outlives the test."""
    # On a loaded machine, a process may have to wait for the others for minutes.
    monkeypatch.setenv(TIMEOUT, str(PATIENCE))
    launched = []

    def start(n: int, arguments: list[str]) -> subprocess.Popen[str]:
        # --standalone takes a free port.
        launcher = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"]
        process = subprocess.Popen(
            [*launcher, "--nproc-per-node", str(n), "-m", "lattgnn", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        launched.append(process)
        return process

    yield start
    for process in launched:
        if process.poll() is None:
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                child.kill()
            process.wait()


def own_lines(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("lattgnn simulate:")]


@pytest.mark.skipif(kernels() is None, reason="no compiler here")
def test_two_processes_write_the_run_of_one(command, torchrun, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    steps = ["--n_steps=40"]
    assert main([*command, *steps, f"--out={one}"]) == 0
    started = torchrun(2, [*command, *steps, f"--out={two}"])
    stdout, stderr = started.communicate(timeout=PATIENCE)
    assert started.returncode == 0 and own_lines(stderr) == []
    assert stdout.split() == [str(two)]
    runs = [Trajectory.open(path) for path in (one, two)]
    assert runs[0].config == runs[1].config
    assert runs[0].fields[:].tobytes() == runs[1].fields[:].tobytes()
    assert main([*command, *steps, f"--out={two}"]) == 0


MAGNET = """
lattice: {class_path: lattgnn.lattice.triangular, init_args: {extent: [24, 12]}}
force_field:
  hamiltonian:
    class_path: lattgnn.hamiltonians.ClassicalMagnet
    init_args: {terms: {exchange: 1.0, interfacial_dm: 0.5, magnetic_field: [0.0, 0.0, 0.3]}}
  solver: {class_path: lattgnn.solvers.NoElectrons}
  energy: false
integrator:
  class_path: lattgnn.dynamics.HeunLLG
  init_args: {dt: 0.05, kT: 0.1, alpha: 0.1}
initial:
  seed: 3
  n_replicas: 2
  order: {class_path: lattgnn.spin_orders.Spiral, init_args: {wavevector: ["1/3", "-1/3"]}}
save: {class_path: lattgnn.dynamics.Regular, init_args: {every: 4}}
n_steps: 8
progress: false
"""


def test_a_perfect_order_starts_in_the_same_way_in_two_processes(torchrun, tmp_path):
    config, one, two = tmp_path / "magnet.yaml", tmp_path / "one", tmp_path / "two"
    config.write_text(MAGNET)
    command = ["simulate", "--config", str(config)]
    assert main([*command, f"--out={one}"]) == 0
    started = torchrun(2, [*command, f"--out={two}"])
    _, stderr = started.communicate(timeout=PATIENCE)
    assert started.returncode == 0, stderr
    runs = [Trajectory.open(path) for path in (one, two)]
    spins = runs[0].fields[0]
    order = Spiral(["1/3", "-1/3"]).spins(runs[0].lattice)
    assert spins.shape == (2, 288, 3) and abs(spins - order).max() < 1e-12
    assert spins.tobytes() == runs[1].fields[0].tobytes()
    # The sums of a patch run over the bonds in another order, so later frames agree to rounding.
    assert abs(runs[0].fields[:] - runs[1].fields[:]).max() < 1e-12
    assert abs(runs[0].fields[-1] - spins).max() > 0.01


def test_the_first_process_alone_says_what_is_wrong(command, torchrun, tmp_path):
    extent = "--lattice.init_args.extent=[8,8]"
    started = torchrun(2, [*command, extent, "--n_steps=4", f"--out={tmp_path / 'run'}"])
    _, stderr = started.communicate(timeout=PATIENCE)
    assert started.returncode == 1 and not (tmp_path / "run").exists()
    assert own_lines(stderr) == [
        "lattgnn simulate: error: the lattice of 8 × 8 cells cannot be cut into 2 blocks that are "
        "at least as wide as the halo of 5 × 5 cells. Use fewer processes or a larger lattice."
    ]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_processes_stop_together_and_the_run_continues(command, torchrun, tmp_path, number):
    path = tmp_path / "run"
    started = torchrun(2, [*command, "--n_steps=100000", f"--out={path}"])
    _wait_for_frames(path, started)
    workers = psutil.Process(started.pid).children()
    assert len(workers) == 2
    for worker in workers[: 1 if number == signal.SIGKILL else 2]:
        worker.send_signal(number)
    assert psutil.wait_procs(workers, timeout=PATIENCE)[1] == []
    # The launcher itself takes its time to end.
    _, stderr = started.communicate(timeout=PATIENCE)
    assert started.returncode != 0
    assert len(own_lines(stderr)) == 1
    if number == signal.SIGTERM:
        assert "exitcode  : 143" in stderr
        assert "stopped by SIGTERM" in own_lines(stderr)[0]
    n_frames = len(Trajectory.open(path).steps)
    # A shorter run is another one, so the frames are only looked at.
    assert n_frames > 2 and Trajectory.open(path).fields[:].shape[0] == n_frames


def _wait_for_frames(path: Path, started: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and started.poll() is None:
        if path.exists() and len(list((path / "field" / "c").glob("*"))) > 5:
            return
        time.sleep(0.05)
    raise AssertionError("no frames were written")
