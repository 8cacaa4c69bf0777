"""Exported programs, and their results in a process that cannot import lattgnn."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from lattgnn.backends.export import export_forces
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.solvers import ExactDiagonalization
from tests.orbit_networks import orbit_network
from tests.patience import PATIENCE

HAS_COMPILER = shutil.which("g++") is not None
needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason="needs g++")

# Uses torch and numpy only. Arguments: the program, its format, and the files of fields and
# results.
ELSEWHERE = """
import sys
sys.modules["lattgnn"] = None  # importing it would raise
import numpy as np, torch
path, kind, fields, results = sys.argv[1:]
if kind == "exported":
    stored = {"lattgnn.json": ""}
    program = torch.export.load(path, extra_files=stored).module()
    metadata = stored["lattgnn.json"]
else:
    program = torch._inductor.aoti_load_package(path)
    metadata = program.get_metadata()["lattgnn.json"]
print(metadata if isinstance(metadata, str) else metadata.decode())
found = {}
with np.load(fields) as archive:
    for name in archive.files:
        for number, output in enumerate(program(torch.from_numpy(archive[name]))):
            found[f"{name}-{number}"] = output.numpy()
np.savez(results, **found)
"""


def force_field(lattice, **options) -> LearnedForceField:
    torch.manual_seed(0)
    net = orbit_network(lattice, 1.75, **{"channels": 3, "n_layers": 1, **options})
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return LearnedForceField(net, Holstein(lattice), ExactDiagonalization(kT=0.1, mu=0.0))


def export(learned, path, kind, **options):
    return export_forces(
        learned.net, learned.hamiltonian, path, kind, solver=learned.solver, **options
    )


def compile_package(checkpoint, path):
    """Run the command in a subprocess, because importing the compiler of torch raises warnings."""
    command = [sys.executable, "-m", "lattgnn", "export", str(checkpoint), f"--out={path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}\n", "")


def run_elsewhere(path, kind, fields, tmp_path):
    """Metadata and outputs of a program, in a process that cannot import lattgnn."""
    np.savez(tmp_path / "fields.npz", **fields)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        ELSEWHERE,
        path,
        kind,
        "fields.npz",
        "results.npz",
    ]
    done = subprocess.run(
        list(map(str, command)),
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    with np.load(tmp_path / "results.npz") as archive:
        return json.loads(done.stdout.splitlines()[-1]), dict(archive)
