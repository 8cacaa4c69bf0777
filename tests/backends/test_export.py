"""Exported force fields run without lattgnn, for any batch and extent, and in C++."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from lattgnn import cli
from lattgnn.backends.export import export_forces
from lattgnn.dynamics import State, VerletLangevin
from lattgnn.errors import InputError
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import DoubleExchange, Hamiltonian, Holstein, Peierls
from lattgnn.lattice import chain, honeycomb, square
from lattgnn.nn import OrbitNetwork
from lattgnn.solvers import ExactDiagonalization
from lattgnn.symmetry import FieldType
from tests.orbit_networks import orbit_network

EXAMPLE = Path(__file__).parents[2] / "scripts" / "export_example"
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
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
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
        timeout=300,
    )
    with np.load(tmp_path / "results.npz") as archive:
        return json.loads(done.stdout.splitlines()[-1]), dict(archive)


def rounding_bounds(learned, model, field, dtype, float32_bound):
    """Energies of all fields and forces: the network's bound, and the classical part's.

    The classical energy and forces are sums whose coefficients k0 and k1 are positive, so that of
    |field| is the sum of the absolute values of all terms. A sum of n terms is exact to n eps of it
    in any order. Bounds of float64 are those of float32 times the ratio of the two eps.
    """
    energy_bound, force_bound = float32_bound(learned.net, model.lattice, field)
    eps = torch.finfo(torch.float32).eps
    # At most four neighbors, the site, the network's force; products round once or twice more.
    force_bound += 8 * eps * float(model.classical_forces(field.abs()).abs().max())
    if energy_bound is not None:
        terms = model.lattice.n_sites + 8
        energy_bound = energy_bound + terms * eps * model.classical_energy(field.abs()).double()
    scale = torch.finfo(dtype).eps / eps
    return None if energy_bound is None else scale * energy_bound, scale * force_bound


def check_elsewhere(learned, path, kind, tmp_path, rng, float32_bound, dtype=torch.float32):
    lattice = learned.lattice
    shapes = [(1, 9, 6), (3, 4, 17)] if lattice.dim == 2 else [(1, 9), (3, 17)]
    fields, expected, bounds = {}, {}, {}
    for name, (batch, *extent) in zip("ab", shapes, strict=True):
        there = type(lattice)(
            lattice.primitive_vectors, lattice.basis, tuple(extent), lattice.periodic, lattice.name
        )
        field = 3 * torch.randn(batch, there.n_sites, generator=rng, dtype=torch.float64)
        fields[name] = field.to(dtype).view(batch, *extent, -1).numpy()
        model = Holstein(there)
        expected[name] = LearnedForceField(learned.net.double(), model, learned.solver)(
            field.to(dtype).double()
        )
        bounds[name] = rounding_bounds(
            learned, model, field.to(dtype).double(), dtype, float32_bound
        )
    metadata, found = run_elsewhere(path, kind, fields, tmp_path)
    for name, (energy, forces) in expected.items():
        energy_bound, force_bound = bounds[name]
        assert found[f"{name}-0"].dtype == fields[name].dtype
        right = forces.detach().view(fields[name].shape).numpy()
        np.testing.assert_allclose(found[f"{name}-0"], right, rtol=0, atol=force_bound)
        assert (energy is None) == (f"{name}-1" not in found)
        if energy is not None:
            assert (torch.from_numpy(found[f"{name}-1"]) - energy).abs().le(energy_bound).all()
    return metadata


@pytest.mark.slow
@pytest.mark.parametrize("conservative", [False, True], ids=["direct", "energy"])
@pytest.mark.parametrize(
    "lattice", [square(4, periodic=(True, False)), honeycomb(4)], ids=lambda a: a.name
)
def test_an_exported_program_runs_without_lattgnn(
    lattice, conservative, tmp_path, rng, float32_bound
):
    learned = force_field(lattice, conservative=conservative)
    export(learned, tmp_path / "program.pt2", "exported")
    metadata = check_elsewhere(
        learned, tmp_path / "program.pt2", "exported", tmp_path, rng, float32_bound
    )
    assert metadata["outputs"] == ["forces", "energy"][: 1 + conservative]
    assert metadata["field"] == ["batch", "extent_0", "extent_1", "n_sublattices"]
    assert metadata["periodic"] == list(lattice.periodic)
    assert metadata["hamiltonian"]["init_args"] == {"t": 1.0, "g": 3.5, "k0": 1.0, "k1": 0.18}
    assert metadata["solver"]["init_args"]["kT"] == 0.1
    assert [file.name for file in tmp_path.glob("*.pt2")] == ["program.pt2"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_in_double_precision(tmp_path, rng, float32_bound):
    learned = force_field(chain(8), conservative=True, cutoff=2.5)
    metadata = export(learned, tmp_path / "program.pt2", "exported", dtype="float64")
    check_elsewhere(
        learned,
        tmp_path / "program.pt2",
        "exported",
        tmp_path,
        rng,
        float32_bound,
        dtype=torch.float64,
    )
    assert metadata["dtype"] == "float64" and metadata["smallest_extent"] == [3]


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("conservative", [False, True], ids=["direct", "energy"])
def test_a_compiled_package_runs_without_lattgnn(conservative, tmp_path, rng, float32_bound):
    learned = force_field(honeycomb(4), conservative=conservative)
    learned.save(tmp_path / "net.ckpt")
    compile_package(tmp_path / "net.ckpt", tmp_path / "package.pt2")
    metadata = check_elsewhere(
        learned, tmp_path / "package.pt2", "aoti", tmp_path, rng, float32_bound
    )
    assert metadata["lattice"]["init_args"]["name"] == "honeycomb"
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "fields.npz",
        "net.ckpt",
        "package.pt2",
        "results.npz",
    ]


def refused(capsys, *arguments) -> str:
    assert cli.main(["export", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


def test_the_verb_writes_the_program(tmp_path, capsys, rng):
    learned, path = force_field(chain(8)), tmp_path / "new folder" / "program.pt2"
    learned.save(tmp_path / "net.ckpt")
    assert cli.main(["export", f"{tmp_path}/net.ckpt", f"--out={path}", "--format=exported"]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    field = torch.randn(2, 8, generator=rng)
    (forces,) = torch.export.load(path).module()(field.view(2, 8, 1))
    wanted = learned(field)[1].detach()
    torch.testing.assert_close(forces.view(2, 8), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_program_of_the_verb_runs_without_lattgnn(tmp_path, capsys, rng, float32_bound):
    learned, path = force_field(chain(8)), tmp_path / "new folder" / "program.pt2"
    learned.save(tmp_path / "net.ckpt")
    assert (
        cli.main(["export", str(tmp_path / "net.ckpt"), f"--out={path}", "--format=exported"]) == 0
    )
    assert capsys.readouterr().out == f"{path}\n"
    metadata = check_elsewhere(learned, path, "exported", tmp_path, rng, float32_bound)
    # The version of the distribution may lack the local part (+cu130) of torch.__version__.
    assert metadata["versions"]["torch"] == version("torch")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["holstein-square", "holstein-square-energy"])
def test_networks_of_the_package(name, tmp_path, rng, float32_bound):
    learned, path = LearnedForceField.pretrained(name), tmp_path / "program.pt2"
    assert cli.main(["export", name, f"--out={path}", "--format=exported"]) == 0
    check_elsewhere(learned, path, "exported", tmp_path, rng, float32_bound)


def test_what_cannot_be_exported_gives_a_one_line_error(tmp_path, capsys, monkeypatch):
    out = tmp_path / "program.pt2"
    assert "Use 'x.pt2'" in refused(capsys, "holstein-square", "--out=x.so")
    assert "name must be one of" in refused(capsys, "holstein-sq", f"--out={out}")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert "needs a C++ compiler" in refused(capsys, "holstein-square", f"--out={out}")
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class Stiff(Holstein):
    """A model whose class does not say that its classical force is linear."""

    @property
    def stiffness(self):
        return None

    def classical_forces(self, field):
        return super().classical_forces(field) - 0.25 * field

    def classical_energy(self, field):
        return super().classical_energy(field) + 0.125 * field.square().sum(-1)


@pytest.mark.slow
def test_a_linear_classical_force_needs_no_stiffness(tmp_path, rng):
    lattice = square(6)
    learned = LearnedForceField(
        force_field(lattice).net, Stiff(lattice), ExactDiagonalization(kT=0.1, mu=0.0)
    )
    export(learned, tmp_path / "a.pt2", "exported", dtype="float64")
    program = torch.export.load(tmp_path / "a.pt2").module()
    field = torch.randn(2, 36, generator=rng, dtype=torch.float64)
    (forces,) = program(field.reshape(2, 6, 6, 1))
    wanted = learned.net.double()(field, learned.net.graph(lattice))[1]
    wanted = wanted + learned.hamiltonian.classical_forces(field)
    torch.testing.assert_close(forces.reshape(2, 36), wanted)


def test_a_failure_leaves_nothing_and_keeps_the_old_file(tmp_path, monkeypatch):
    out = tmp_path / "program.pt2"
    out.write_text("old")

    def failing(program, path, **options):
        Path(path).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(torch.export, "save", failing)
    with pytest.raises(OSError, match="disk full"):
        export(force_field(square(4)), out, "exported")
    assert out.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == [
        "program.pt2"
    ]


@dataclass(frozen=True)
class Mixed(Hamiltonian):
    """Your own model: a vector and a scalar on each site, with a classical energy of any form."""

    t: float = 1.0

    @property
    def field_type(self):
        return FieldType("vector + trivial", 3, False, 2.0)

    @cached_property
    def pattern(self):
        sites = torch.arange(self.lattice.n_sites)
        return torch.stack([sites, sites])

    def elements(self, field):
        return -self.t * field[..., 2]

    def classical_energy(self, field):
        q, neighbor = field[..., 2], field[..., 2].roll(1, -1)
        return (0.25 * q**4 + 0.1 * q * neighbor + field[..., :2].square().sum(-1)).sum(-1)


def others(name: str) -> LearnedForceField:
    """Force fields for which the extent is not free."""
    ring = square(4, 3, periodic=(True, False))
    vector = dict(representation="A1 + E", channels=3, n_layers=1, cutoff=1.1)
    spins = dict(field="3 trivial", is_spin=True, conservative=True, nonlinearity="square")
    model, options = {
        "vector": (Peierls(ring), dict(field="vector", **vector)),
        "energy of a vector": (Peierls(ring), dict(field="vector", conservative=True, **vector)),
        "spin": (DoubleExchange(square(4, 5)), dict(channels=3, spin_channels=2, **spins)),
        "mixed": (Mixed(square(4, 5)), dict(field="vector + trivial", **vector)),
        "quartic": (Anharmonic(chain(7)), dict(channels=3, n_layers=1)),
    }[name]
    torch.manual_seed(0)
    net = orbit_network(model.lattice, model.field_type.force_bound, **options)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return LearnedForceField(net, model, ExactDiagonalization(kT=0.1, mu=0.0))


@dataclass(frozen=True)
class Anharmonic(Holstein):
    """A scalar field whose classical force is not linear."""

    @property
    def stiffness(self):
        return None

    def classical_energy(self, field):
        return super().classical_energy(field) + 0.1 * field.pow(4).sum(-1)

    def classical_forces(self, field):
        return super().classical_forces(field) - 0.4 * field.pow(3)


def fields_of(learned, rng, dtype):
    """Two batches of fields [batch, *extent, n_sublattices, *components]."""
    lattice, found = learned.lattice, {}
    for name, batch in (("a", 1), ("b", 4)):
        shape = (batch, *lattice.extent, lattice.n_sublattices, *learned.field_shape[1:])
        field = torch.randn(shape, generator=rng, dtype=torch.float64)
        if learned.hamiltonian.field_type.is_spin:
            field = torch.nn.functional.normalize(field, dim=-1)
        found[name] = field.to(dtype).numpy()
    return found


def check_others(learned, path, kind, tmp_path, rng, dtype=torch.float32):
    """The program in a process without lattgnn gives the total energies and forces."""
    fields = fields_of(learned, rng, dtype)
    metadata, found = run_elsewhere(path, kind, fields, tmp_path)
    exact = LearnedForceField(learned.net.double(), learned.hamiltonian, learned.solver)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    for name, field in fields.items():
        flat = torch.from_numpy(field).double().view(len(field), *learned.field_shape)
        energy, forces = exact(flat)
        assert found[f"{name}-0"].shape == field.shape and found[f"{name}-0"].dtype == field.dtype
        scale = 1 + float(forces.abs().max())
        error = abs(found[f"{name}-0"].reshape(forces.shape) - forces.numpy()).max()
        assert error < tolerance * scale
        assert (energy is None) == (f"{name}-1" not in found)
        if energy is not None:
            assert abs(found[f"{name}-1"] - energy.numpy()).max() < tolerance * (
                scale * learned.lattice.n_sites
            )
    return metadata


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("energy of a vector", "float32"),
        ("spin", "float64"),
        ("mixed", "float32"),
        ("quartic", "float32"),
    ],
)
def test_any_other_field_is_exported_for_its_own_extent(name, dtype, tmp_path, rng):
    learned, path = others(name), tmp_path / "program.pt2"
    export(learned, path, "exported", dtype=dtype)
    metadata = check_others(learned, path, "exported", tmp_path, rng, getattr(torch, dtype))
    assert metadata["dtype"] == dtype
    assert metadata["extent"] == metadata["smallest_extent"] == list(learned.lattice.extent)
    assert metadata["outputs"] == ["forces", "energy"][: 1 + learned.net.conservative]
    assert ("n_components" in metadata["field"]) == (len(learned.field_shape) == 2)


@pytest.mark.slow
@needs_compiler
def test_a_vector_field_is_compiled(tmp_path, rng):
    learned = others("vector")
    learned.save(tmp_path / "net.ckpt")
    compile_package(tmp_path / "net.ckpt", tmp_path / "package.pt2")
    check_others(learned, tmp_path / "package.pt2", "aoti", tmp_path, rng)


@pytest.mark.slow
def test_an_exported_vector_field_is_what_the_force_field_gives(tmp_path, rng):
    learned = others("vector")
    export(learned, tmp_path / "a.pt2", "exported", dtype="float64")
    field = torch.from_numpy(fields_of(learned, rng, torch.float64)["b"])
    (forces,) = torch.export.load(tmp_path / "a.pt2").module()(field)
    learned.net.double()
    wanted = learned(field.view(4, *learned.field_shape))[1].view(field.shape)
    torch.testing.assert_close(forces, wanted)
    # A program for one extent says so when it gets another.
    with pytest.raises(AssertionError, match="Guard failed"):
        torch.export.load(tmp_path / "a.pt2").module()(field[:, 1:])


class OfOneBatch(OrbitNetwork):
    """A network whose code fixes the batch size, or computes outside of tensors."""

    how = "batch"

    def forward(self, field, graph):
        energy, forces = super().forward(field, graph)
        if self.how == "batch":
            return energy, forces * torch.ones(len(field))[:, None].to(forces)
        return energy, forces * float(field.detach().abs().max())


@pytest.mark.parametrize("how", ["batch", "value"])
def test_code_that_cannot_be_traced_gives_one_line(how, tmp_path):
    learned = others("quartic")
    learned.net.__class__, learned.net.how = OfOneBatch, how
    with pytest.raises(InputError, match="OfOneBatch and Anharmonic must consist of tensor"):
        export(learned, tmp_path / "x.pt2", "exported")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def quench(tmp_path_factory) -> Path:
    """Path of the compiled C++ example."""
    build = tmp_path_factory.mktemp("build")
    prefix = f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"
    for command in (["cmake", "-S", EXAMPLE, "-B", build, prefix], ["cmake", "--build", build]):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
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
        cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60,
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
