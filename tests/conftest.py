"""Test set-up, the symmetry check, and how exact float32 is.

Shapes are checked at run time; one thread keeps sums reproducible.

Fields, operations and the check that all networks are held to are fixtures that are functions.
"""

import copy
import os
import re
import sys
from functools import partial
from pathlib import Path

# Without compiled bytecode, imports take 12 s longer in each process of pytest, and seconds longer
# in each command that the tests start. Where Python writes none beside the sources, the cache of
# pytest holds it.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Before torch and numpy are imported: the processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("WANDB_MODE", "offline")

import jaxtyping
import pytest
import torch
from torch import nn

_jaxtyped = jaxtyping.jaxtyped


def _checked(function=None, *, typechecker):
    """Replaces `jaxtyping.jaxtyped`: shapes are compared only where an annotation has one.

    To compare the shapes of different arguments, jaxtyping binds all arguments in each call, which
    takes many times as long as the check of their types.
    """
    if function is None:
        return partial(_checked, typechecker=typechecker)
    annotations = getattr(function, "__annotations__", None)
    if annotations is None or isinstance(function, type):
        return _jaxtyped(function, typechecker=typechecker)
    for annotation in annotations.values():
        named = re.findall(r"\w+", annotation) if isinstance(annotation, str) else ()
        meant = [annotation, *map(function.__globals__.get, named)]
        # beartype alone does not accept the arguments of a ParamSpec.
        if any("jaxtyping" in repr(part) or "P.args" in repr(part) for part in meant):
            return _jaxtyped(function, typechecker=typechecker)
    return typechecker(function)


jaxtyping.jaxtyped = _checked
# Before the first import of lattgnn. An int is welcome where a float is.
jaxtyping.install_import_hook(
    "lattgnn",
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True, violation_type=TypeError))",
)
torch.set_num_threads(1)

from lattgnn.graph import apply_operation  # noqa: E402
from lattgnn.lattice import (  # noqa: E402
    compatible_operations,
    site_permutations,
    translation_permutation,
)
from lattgnn.symmetry import field_representation  # noqa: E402


@pytest.fixture
def rng() -> torch.Generator:
    """A seeded generator, fresh for each test."""
    return torch.Generator().manual_seed(0)


def randomized(net: nn.Module, std: float = 0.4) -> nn.Module:
    """Weights far from the small ones of a fresh network."""
    torch.manual_seed(1)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=std)
    return net


def sample_fields(lattice, text, dtype=torch.float64):
    """Random, uniform, zero, and a wave of the shortest period: sites as symmetric as can be."""
    n = field_representation(lattice.cell, text).n_components
    rng = torch.Generator().manual_seed(0)
    random = 2 * torch.randn(lattice.n_sites, n, generator=rng, dtype=torch.float64)
    wave = torch.from_numpy((-1.0) ** lattice.cells.sum(1))[:, None].expand(-1, n)
    components = torch.tensor([0.7, -0.3, 0.4, 0.5], dtype=torch.float64).repeat(n)[:n]
    fields = torch.stack(
        [random, 0.7 * torch.ones_like(random), torch.zeros_like(random), wave * components]
    )
    return (fields.squeeze(-1) if text == "trivial" else fields).to(dtype)


def transformations(lattice, text):
    """Every operation of the finite lattice followed by a translation, as a function of fields."""
    shift = torch.from_numpy(translation_permutation(lattice, (1, 2, 1)[: lattice.dim]))
    representation = field_representation(lattice.cell, text)
    permutations = torch.from_numpy(site_permutations(lattice))
    for operation, permutation in zip(compatible_operations(lattice), permutations, strict=True):
        matrices = None if text == "trivial" else representation.site_matrices(operation)
        yield lambda field, p=shift[permutation], m=matrices: apply_operation(field, p, m)


def float32_bound(net, lattice, field, n_trials=4):
    """How far float32 code may be from the network in float64, on any processor.

    Floating-point arithmetic gives the exact result of slightly different numbers (backward error
    analysis: N. J. Higham, Accuracy and Stability of Numerical Algorithms, SIAM 2002, section 3.1).
    So every weight and every value of the field is changed by a random relative amount of up to
    eps, one unit in the last place of float32, and the network is evaluated in float64. The largest
    change of a result is its conditioning times eps. A unit in the last place of the result is
    added; where forces are scalars, densities with an offset of order 1, one of 1 at least.

    No float32 code runs, so the bound does not depend on the order of sums, on fused multiply-adds
    or on the BLAS of one machine. A sum of n terms rounds n times with random signs, √n times as
    much as one change of each term, and the sums between the field and a force have up to 200
    terms: hence the factor of 16. (Found: PyTorch's and our compiled code within 5 times the
    figure. A bond that is left out moves forces by thousands of bounds, a weight that is wrong by
    0.1 % by several.)

    Returns:
        Bound for the energy of each field (None where the network has no energy), and for a force.
    """
    eps = torch.finfo(torch.float32).eps
    rng = torch.Generator().manual_seed(0)

    def moved(values):
        relative = 2 * torch.rand(values.shape, generator=rng, dtype=torch.float64) - 1
        return values.detach().double() * (1 + eps * relative)

    exact = copy.deepcopy(net).double().requires_grad_(False)
    graph, weights = exact.graph(lattice), [weight.clone() for weight in exact.parameters()]
    energy, forces = exact(field.double(), graph)
    of_forces, of_energy = torch.zeros(()), torch.zeros(())
    for _ in range(n_trials):
        for parameter, weight in zip(exact.parameters(), weights, strict=True):
            parameter.copy_(moved(weight))
        found_energy, found = exact(moved(field), graph)
        of_forces = torch.maximum(of_forces, (found - forces).detach().abs().max())
        if energy is not None:
            of_energy = torch.maximum(of_energy, (found_energy - energy).detach().abs())
    offset = 1 if field.ndim == 2 else 0
    force_bound = 16 * float(of_forces + eps * forces.detach().abs().max().clamp(min=offset))
    if energy is None:
        return None, force_bound
    # The energy of a field is the sum of its sites', each with offsets of order 1.
    least = lattice.n_sites**0.5
    return 16 * (of_energy + eps * energy.detach().abs().clamp(min=least)), force_bound


def float32_symmetry_bound(net, lattice, text, fields=None):
    """What `symmetry_error` may be in float32: two evaluations, each within `float32_bound`."""
    fields = sample_fields(lattice, text, torch.float32) if fields is None else fields
    energy_bound, force_bound = float32_bound(net, lattice, fields)
    exact = copy.deepcopy(net).double().requires_grad_(False)
    energy, forces = exact(fields.double(), exact.graph(lattice))
    bound = 2 * force_bound / float(forces.detach().abs().max())
    if energy_bound is None:
        return bound
    return max(bound, 2 * float((energy_bound / (1 + energy.detach().abs())).max()))


def symmetry_error(net, lattice, text, graph=None, dtype=torch.float64, fields=None):
    """Largest violation of F(gφ) = g F(φ) and E(gφ) = E(φ), over the largest force and energy."""
    graph = net.graph(lattice) if graph is None else graph
    fields = sample_fields(lattice, text, dtype) if fields is None else fields
    energy, forces = net(fields, graph)
    scale = forces.abs().max()
    assert scale > 1e-3 and torch.isfinite(forces).all()
    moves, errors = list(transformations(lattice, text)), []
    for first in range(0, len(moves), 8):  # many operations at once, in bounded memory
        some = moves[first : first + 8]
        moved_energies, moved_forces = net(torch.cat([move(fields) for move in some]), graph)
        expected = torch.cat([move(forces) for move in some])
        errors.append((moved_forces - expected).abs().max() / scale)
        if energy is not None:
            difference = moved_energies.view(len(some), -1) - energy
            errors.append((difference.abs() / (1 + energy.abs())).max())
    return float(torch.stack(errors).detach().max())


@pytest.fixture(name="randomized")
def _randomized():
    return randomized


@pytest.fixture(name="sample_fields")
def _sample_fields():
    return sample_fields


@pytest.fixture(name="symmetry_error")
def _symmetry_error():
    return symmetry_error


@pytest.fixture(name="float32_bound")
def _float32_bound():
    return float32_bound


@pytest.fixture(name="float32_symmetry_bound")
def _float32_symmetry_bound():
    return float32_symmetry_bound
