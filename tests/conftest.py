"""Test set-up: shapes are checked at run time, one thread keeps sums reproducible; and the symmetry check.

Fields, operations and the check that all networks are held to are fixtures that are functions.
"""

import os

# Before torch and numpy are imported: the processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("WANDB_MODE", "offline")

import pytest
import torch
from jaxtyping import install_import_hook
from torch import nn

# Before the first import of lattgnn. An int is welcome where a float is.
install_import_hook(
    "lattgnn", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
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
    components = torch.tensor([0.7, -0.3, 0.4][:n], dtype=torch.float64)
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


def symmetry_error(net, lattice, text, graph=None, dtype=torch.float64, fields=None):
    """Largest violation of F(gφ) = g F(φ) and E(gφ) = E(φ), over the largest force and energy."""
    graph = net.graph(lattice) if graph is None else graph
    fields = sample_fields(lattice, text, dtype) if fields is None else fields
    energy, forces = net(fields, graph)
    scale = forces.abs().max()
    assert scale > 1e-3 and torch.isfinite(forces).all()
    errors = []
    for move in transformations(lattice, text):
        moved_energy, moved_forces = net(move(fields), graph)
        errors.append((moved_forces - move(forces)).abs().max() / scale)
        if energy is not None:
            errors.append(((moved_energy - energy).abs() / (1 + energy.abs())).max())
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
