"""The C++ example runs the dynamics of Python."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from lattgnn.dynamics import State, VerletLangevin
from lattgnn.forcefield import LearnedForceField
from lattgnn.lattice import square
from tests.exported_programs import HAS_COMPILER, compile_package
from tests.patience import PATIENCE

EXAMPLE = Path(__file__).parents[2] / "scripts" / "export_example"


@pytest.fixture(scope="module")
def quench(tmp_path_factory) -> Path:
    """Path of the compiled C++ example."""
    build = tmp_path_factory.mktemp("build")
    prefix = f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"
    for command in (["cmake", "-S", EXAMPLE, "-B", build, prefix], ["cmake", "--build", build]):
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "quench"


@pytest.mark.slow
@pytest.mark.skipif(not HAS_COMPILER or shutil.which("cmake") is None, reason="needs cmake and g++")
@pytest.mark.parametrize("name", ["holstein-square", "holstein-square-energy"])
def test_dynamics_in_cpp(name, quench, tmp_path, float32_bound):
    """The same start, noise and steps as in Python, because both use the generator of torch."""
    compile_package(name, tmp_path / "package.pt2")
    learned = LearnedForceField.pretrained(name, square(24))
    n_steps = 20
    done = subprocess.run(
        [str(quench), "package.pt2", "24", str(n_steps), "last.bin"],
        cwd=tmp_path, check=True, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 11 and ("potential" in done.stdout) == name.endswith(
        "energy"
    )
    torch.manual_seed(0)
    field = 5.27 * torch.randn(1, 576)
    momentum = 5.0 * torch.randn(1, 576)
    _, force_bound = float32_bound(learned.net, learned.lattice, field)
    force_bound += 8 * 1.2e-7 * float(learned.hamiltonian.classical_forces(field.abs()).abs().max())
    newton = VerletLangevin(dt=0.05, kT=0.1, gamma=0.0, mass=5.0)
    energy, forces = learned(field)
    state = State(field, momentum, forces, energy, 0, 0)
    keep = np.exp(-0.2 * 0.05)
    for _ in range(n_steps):
        state = newton.step(learned, state)
        state.momentum.mul_(keep).add_(
            torch.randn(1, 576), alpha=np.sqrt((1 - keep**2) * 5.0 * 0.1)
        )
    last = np.fromfile(tmp_path / "last.bin", dtype=np.float32)
    # Two runs that round on their own, u = 2⁻²⁴ at a time, until t = 1 with m = 5: a field once a
    # step, a momentum four times (two kicks, friction, noise), which moves the field for t/2 on
    # average, and forces, which move it by t²/2m. Nothing grows by more than e in this time.
    unit, t, mass = 2.0**-24, n_steps * 0.05, 5.0
    of_field = n_steps * unit * float(field.abs().max())
    of_momentum = 4 * n_steps * unit * float(momentum.abs().max()) * t / (2 * mass)
    bound = 2 * np.e * (of_field + of_momentum + force_bound * t**2 / (2 * mass))
    np.testing.assert_allclose(last, state.field[0].numpy(), rtol=0, atol=bound)
