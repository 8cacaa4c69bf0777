"""Tensor code that PyTorch compiles for a GPU, here compiled for the CPU."""

import subprocess
import sys

import pytest
import torch

from lattgnn.devices import compiled
from lattgnn.native import compiler

CPU, GPU = torch.device("cpu"), torch.device("meta")

NOISE = """
import torch
from lattgnn.devices import torch_compiled
from lattgnn.dynamics import philox

counter = torch.randint(2**32, (4, 2, 100), generator=torch.Generator().manual_seed(0))
arguments = (counter, *philox._constants(2**63 + 5, torch.device("cpu")))
found = torch_compiled(philox._normals)(*arguments)
torch.testing.assert_close(found, philox._normals(*arguments), rtol=1e-12, atol=1e-13)
"""
FORCES = """
import torch
from lattgnn.backends import stencil_network
from lattgnn.backends.grid_forces import GridForces
from lattgnn.devices import torch_compiled
from lattgnn.forcefield import LearnedForceField
from lattgnn.lattice import square

net = LearnedForceField.pretrained("holstein-square-energy", square(12)).net
forces = GridForces(stencil_network(net, square(12)), (True, True))
field = torch.randn(2, 144, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
with torch.no_grad():
    expected = forces.on_sites(field, (12, 12))
    found = torch_compiled(forces.on_sites)(field, (12, 12))
torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
"""


@pytest.mark.parametrize("wanted", [True, False])
def test_only_functions_of_a_gpu_are_compiled_and_only_on_request(monkeypatch, wanted):
    monkeypatch.setenv("LATTGNN_COMPILE", "1" if wanted else "0")
    assert compiled(torch.sin, CPU) is torch.sin
    assert (compiled(torch.sin, GPU) is torch.sin) != wanted


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("script", [NOISE, FORCES], ids=["noise", "forces"])
def test_compiled_code_is_one_piece_and_gives_the_same_numbers(script):
    """In a process without the checks of types, which cannot be compiled."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
