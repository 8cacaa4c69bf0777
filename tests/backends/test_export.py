"""Exported force fields run without lattgnn, for any batch and extent."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from lattgnn import cli
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import chain, honeycomb, square
from lattgnn.solvers import ExactDiagonalization
from tests.exported_programs import (
    compile_package,
    export,
    force_field,
    needs_compiler,
    run_elsewhere,
)


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
