"""Force fields of vectors, spins and your own fields are exported for their own extent."""

from dataclasses import dataclass
from functools import cached_property

import pytest
import torch

from lattgnn.errors import InputError
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import DoubleExchange, Hamiltonian, Holstein, Peierls
from lattgnn.lattice import chain, square
from lattgnn.nn import OrbitNetwork
from lattgnn.solvers import ExactDiagonalization
from lattgnn.symmetry import FieldType
from tests.exported_programs import compile_package, export, needs_compiler, run_elsewhere
from tests.orbit_networks import orbit_network


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
