"""Programs from a symbolic elimination against Green's functions in plain numpy."""

import platform

import numpy as np
import pytest
import torch

from lattgnn import native
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein, JahnTeller, Peierls
from lattgnn.lattice import chain, cubic, honeycomb, kagome, square, triangular
from lattgnn.solvers import GreenFunction
from lattgnn.solvers.green import kernels, stencil_greens
from lattgnn.solvers.green.density import dense_greens
from lattgnn.solvers.green.density_forces import DensityForces
from lattgnn.solvers.green.schedule import Block, Pole
from lattgnn.solvers.green.stencil import find_stencil
from lattgnn.solvers.green.stencil_blocks import stencil_blocks
from lattgnn.solvers.green.stencil_greens import (
    StencilGreens,
    program_greens,
    usable_stencil,
)
from tests.pretended_gpu import GPU, PretendedGPU
from tests.solvers.green.reference import Reference

needs_compiler = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")

MODELS = {
    "square": lambda: Holstein(square(6, 7)),
    "two hoppings": lambda: Holstein(square(6), t=0.7, g=1.0),
    "triangular": lambda: Holstein(triangular(7)),
    "honeycomb": lambda: Holstein(honeycomb(6)),
    "kagome": lambda: Holstein(kagome(5)),
    "cubic": lambda: Holstein(cubic(4, 5, 4)),
    "chain": lambda: Holstein(chain(15)),
    "Peierls": lambda: Peierls(square(7)),
    "Jahn-Teller": lambda: JahnTeller(square(6)),
    "double exchange": lambda: DoubleExchange(square(5)),
}
SCHEDULE = (
    Pole(0.3, 0.1, Block("ring", 1), 2),
    Pole(0.9, 0.1, Block("ring", 0), 1),
    Pole(1.5, 0.2, Block("ring", 0), 0),
    Pole(5.0, 0.5, Block("mean"), 0),
    Pole(6.0, 0.6, Block("mean"), 0),
    Pole(9.0, 0.7, Block("mean"), 0),
)
ENTRIES = ("ring1:2", "ring0:1", "ring0:0", "mean")
KINDS = tuple((pole.block, pole.rounds) for pole in SCHEDULE)


def elements_of(model, n=2):
    generator = torch.Generator().manual_seed(0)
    fields = torch.randn(n, *model.field_shape, generator=generator, dtype=torch.float64)
    return model.elements(fields), fields


def stencil_of(model):
    stencil = find_stencil(model)
    assert stencil is not None
    return stencil


def blocks_of_sites(stencil, lattice, block):
    """The sites of the block around each site, by the offsets of the stencil."""
    by_sublattice = stencil_blocks(stencil, block)
    assert by_sublattice is not None
    found = []
    for site in range(lattice.n_sites):
        cell, sublattice = lattice.cells[site], lattice.sublattices[site]
        places = by_sublattice[sublattice]
        found.append([lattice.site_index(cell + np.array(offset), s) for s, offset in places])
    return found


def expected_density(model, field, mu):
    stencil, lattice = find_stencil(model), model.lattice
    poles = []
    for pole in SCHEDULE:
        is_mean = pole.block.kind == "mean"
        blocks = "mean" if is_mean else blocks_of_sites(stencil, lattice, pole.block)
        poles.append((pole.frequency, pole.weight, blocks, pole.rounds))
    reference = Reference(model.matrix(field).numpy(), model.n_states // lattice.n_sites)
    return reference.density(mu, poles)[model.cols.numpy(), model.rows.numpy()]


@pytest.mark.parametrize("name", MODELS)
def test_programs_and_dense_matrices_give_the_density_of_plain_blocks(name):
    model = MODELS[name]()
    elements, fields = elements_of(model)
    greens = StencilGreens(model, stencil_of(model), KINDS, compiled=False)
    density = greens.density(elements, 0.3, SCHEDULE)
    expected = expected_density(model, fields[1], 0.3)
    assert np.abs(density[1].numpy() - expected).max() < 1e-12
    # Dense matrices need no blocks on a chain, and see the cycles around a lattice of 4 cells.
    if name != "chain" and min(model.lattice.extent) > 4:
        dense = dense_greens(model, fields.device).density(elements[1], 0.3, SCHEDULE)
        assert np.abs(dense.numpy() - expected).max() < 1e-12


def test_a_hand_computed_cavity():
    """A site with two messages: G = 1 / (a − 1/a₁ − 1/a₂), here all fields 0 on a chain."""
    model = Holstein(chain(8))
    stencil, w = stencil_of(model), 0.7
    pole = Pole(w, 2.0, Block("ring", 0), 0)
    greens = StencilGreens(model, stencil, ((pole.block, 0),), compiled=False)
    elements = model.elements(torch.zeros(1, 8, dtype=torch.float64))
    # a = 0.7 i + 0.2, and G = 1 / (a − 2/a).
    a = 1j * w + 0.2
    expected = 0.5 + 2.0 * (1 / (a - 2 / a)).real
    density = greens.density(elements, 0.2, (pole,))[0, model.rows == model.cols]
    assert torch.allclose(density, torch.full((8,), expected, dtype=torch.float64), atol=1e-14)
    trace = float(greens.energy(elements, 0.2, (pole,)))
    assert trace == pytest.approx(8 * 2.0 * (1 / (a - 2 / a)).imag, abs=1e-13)


@needs_compiler
@pytest.mark.parametrize(
    "name", ["square", *(pytest.param(n, marks=pytest.mark.slow) for n in MODELS if n != "square")]
)
def test_compiled_programs_agree_with_tensors(name):
    model = MODELS[name]()
    elements, _ = elements_of(model)
    stencil = stencil_of(model)
    expected = StencilGreens(model, stencil, KINDS, compiled=False)
    compiled = StencilGreens(model, stencil, KINDS)
    density = compiled.density(elements, 0.3, SCHEDULE)
    assert (density - expected.density(elements, 0.3, SCHEDULE)).abs().max() < 1e-12
    energy = compiled.energy(elements, 0.3, SCHEDULE)
    assert torch.allclose(energy, expected.energy(elements, 0.3, SCHEDULE), rtol=1e-12)
    assert torch.equal(compiled.density(elements[1], 0.3, SCHEDULE), density[1])  # of its batch


def forces_of(model, dtype, kinds=KINDS, compiled=True):
    stencil = usable_stencil(model, kinds)
    assert stencil is not None
    return DensityForces(stencil, model.lattice, model.stiffness, kinds, dtype, compiled)


@needs_compiler
@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)]
)
def test_forces_are_those_of_the_density(dtype):
    model = Holstein(square(6, 300))  # two tiles along the rows
    field = torch.randn(2, 1800, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    greens = StencilGreens(model, stencil_of(model), KINDS, compiled=False)
    density = greens.density(model.elements(field), 0.1, SCHEDULE)[:, model.rows == model.cols]
    expected = model.g * (density - 0.5) + model.classical_forces(field)
    out = torch.empty_like(field, dtype=dtype)
    assert forces_of(model, dtype)(field.to(dtype), out, 0.1, SCHEDULE)
    bound = 1e-12 if dtype == torch.float64 else 1e-5
    assert (out - expected).abs().max() < bound


@needs_compiler
def test_bits_depend_neither_on_tiles_nor_on_threads_nor_on_the_batch():
    """One lattice is a single tile, and the same field repeated is cut into several."""
    generator = torch.Generator().manual_seed(2)
    small = torch.randn(1, 40, 24, generator=generator)
    results = []
    for copies, n_threads in ((1, 1), (12, 1), (12, 2)):
        model = Holstein(square(40, 24 * copies))
        field = small.tile(1, 1, copies).reshape(1, -1).contiguous().repeat(2, 1)
        out = torch.empty_like(field)
        before = torch.get_num_threads()
        torch.set_num_threads(n_threads)
        try:
            assert forces_of(model, torch.float32)(field, out, 0.0, SCHEDULE)
        finally:
            torch.set_num_threads(before)
        results += [out[k].view(40, -1)[:, -24:] for k in range(2)]
    assert all(torch.equal(result, results[0]) for result in results)


@needs_compiler
def test_a_field_that_is_not_finite_is_noticed():
    model = Holstein(square(8))
    field = torch.zeros(1, 64)
    field[0, 63] = torch.nan
    assert not forces_of(model, torch.float32)(field, torch.empty_like(field), 0.0, SCHEDULE)


def test_programs_are_refused_where_they_do_not_hold():
    block = ((Block("ring", 1), 2),)
    assert usable_stencil(Holstein(square(4, periodic=(True, False))), block) is None
    assert usable_stencil(Holstein(square(3)), block) is None  # the block reaches around
    assert usable_stencil(Holstein(square(22)), ((Block("ring", 9), 1),)) is None  # 361 states
    many_rounds = ((Block("ring", 0), 100),)
    assert usable_stencil(Holstein(square(6)), many_rounds) is None


@pytest.fixture
def no_compiler(monkeypatch):
    """A machine without a compiler, on which programs pay on any lattice."""
    monkeypatch.setenv("CXX", "a-compiler-that-is-not-there")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(stencil_greens, "_WORTH_A_PROGRAM", 1)
    assert native.compiler() is None


def test_without_a_compiler_programs_run_as_tensor_operations(no_compiler, monkeypatch):
    model = Holstein(square(6, 7))
    solver = GreenFunction(kT=0.1, mu=0.3, schedule=ENTRIES)
    field = elements_of(model)[1][0]
    greens = program_greens(model, field.device, ENTRIES)
    assert greens is not None and not greens.is_compiled
    found = solver.solve(model, field)
    monkeypatch.setattr(stencil_greens, "_WORTH_A_PROGRAM", 1000)
    assert program_greens(model, field.device, ENTRIES) is None
    dense = solver.solve(model, field)
    assert (found.density_elements - dense.density_elements).abs().max() < 1e-10
    assert torch.allclose(found.energy, dense.energy, rtol=1e-10)


@pytest.mark.parametrize(
    ("model", "with_compiler", "without"),
    [
        (Holstein(square(31)), False, False),
        (Holstein(square(32)), True, True),
        (DoubleExchange(square(15)), False, False),
        (DoubleExchange(square(16)), True, False),  # 512 states, two on each site
        (DoubleExchange(square(23)), True, True),
    ],
)
def test_compiled_programs_pay_sooner_with_several_states_per_site(
    model, with_compiler, without, monkeypatch
):
    programs = object.__new__(StencilGreens)  # nothing is compiled here
    monkeypatch.setattr(stencil_greens, "stencil_greens", lambda *_: programs)
    for available, expected in ((True, with_compiler), (False, without)):
        monkeypatch.setattr(native, "is_available", lambda available=available: available)
        found = program_greens(model, torch.device("cpu"), ("ring1:1",))
        assert (found is programs) is expected


def test_on_a_gpu_programs_run_as_tensor_operations(monkeypatch):
    monkeypatch.setattr(stencil_greens, "_WORTH_A_PROGRAM", 1)
    model = JahnTeller(square(6))
    solver = GreenFunction(kT=0.1, mu=0.3, schedule=ENTRIES)
    field = elements_of(model)[1]
    with PretendedGPU():
        greens = program_greens(model, GPU, ENTRIES)
        assert greens is not None and not greens.is_compiled
        found = solver.solve(model, field[:1].to(GPU))
        assert found.density_elements.device == GPU
        density = found.density_elements.cpu()
    monkeypatch.setenv("LATTGNN_NATIVE", "0")
    expected = solver.solve(model, field[:1]).density_elements
    assert (density - expected).abs().max() < 1e-12


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("model", [Holstein(square(32)), Peierls(square(32))])
def test_the_solver_gives_the_same_without_a_compiler(model, monkeypatch):
    solver = GreenFunction(kT=0.1, filling=0.4, block=1)
    field = elements_of(model)[1]
    compiled = solver.solve(model, field)
    monkeypatch.setenv("LATTGNN_NATIVE", "0")
    tensors = solver.solve(model, field)
    assert (compiled.density_elements - tensors.density_elements).abs().max() < 1e-10
    assert torch.allclose(compiled.energy, tensors.energy, rtol=1e-10)
    assert torch.allclose(compiled.mu, tensors.mu, atol=1e-10)


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86-64")
@pytest.mark.parametrize("instructions", ["x86-64-v3", "x86-64-v2"])  # AVX2, and SSE without FMA
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_instruction_set_gives_the_same_forces(instructions, dtype, monkeypatch):
    # One long program, which is cut into functions, and short ones with two vectors at a time.
    schedule = (Pole(0.3, 0.1, Block("ring", 3), 1), *SCHEDULE[1:])
    kinds = tuple((pole.block, pole.rounds) for pole in schedule)
    model = Holstein(square(12, 270))  # two tiles
    generator = torch.Generator().manual_seed(1)
    field = 2 * torch.randn(1, model.n_states, generator=generator, dtype=torch.float64)
    expected, found = torch.empty_like(field), torch.empty_like(field, dtype=dtype)
    assert forces_of(model, torch.float64, kinds, False)(field, expected, 0.1, schedule)
    monkeypatch.setattr(native, "NATIVE", f"-march={instructions}")
    assert forces_of(model, dtype, kinds)(field.to(dtype), found, 0.1, schedule)
    bound = 1e-12 if dtype == torch.float64 else 3e-6
    assert (found - expected).abs().max() < bound


@needs_compiler
def test_programs_that_are_too_long_for_a_compiler_run_as_tensor_operations(monkeypatch, caplog):
    monkeypatch.setattr(stencil_greens, "_WORTH_A_PROGRAM", 1)
    monkeypatch.setattr(kernels, "MOST_OPERATIONS", 100)
    # A model of its own: libraries and programs of others may be known already.
    model = Holstein(square(8), t=0.9)
    greens = program_greens(model, torch.device("cpu"), ("ring1:1",))
    assert greens is not None and not greens.is_compiled
    (line,) = caplog.messages
    assert "the blocks ring1:1 make programs of" in line and "PyTorch operations are used" in line
    force_field = ExactForceField(model, GreenFunction(0.1, mu=0.0, block=1), energy=False)
    field = torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    forces = force_field(field)[1]
    expected = ExactForceField(model, GreenFunction(0.1, mu=0.0, block=1))(field)[1]
    assert (forces - expected).abs().max() < 1e-12 and not force_field.is_compiled


def test_a_stencil_of_a_large_lattice_is_taken_from_a_small_one():
    stencil = stencil_of(Holstein(square(400), t=2.0, g=1.5))
    assert stencil.extent == (400, 400) and not stencil.index
    assert stencil.coupling == 1.5 and stencil.unit == 2.0
