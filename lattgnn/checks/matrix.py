"""Checks of the matrix of a model: its pattern, its elements, and how far they reach."""

from __future__ import annotations

import torch
from torch import Tensor

from lattgnn.checks.result import CheckResult
from lattgnn.checks.samples import Sample, on_supercell, random_field
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice

# Relative rounding error of sums of a few hundred terms in float64, with a wide margin.
ROUNDING = 1e-11


def check_pattern(model: Hamiltonian) -> CheckResult:
    """Each pair (row, column) once, with its reverse, and the whole diagonal."""
    rows, cols, n = model.rows, model.cols, model.n_states
    what = "pattern must be two rows of int64 state numbers below n_states"
    if (
        rows.dtype != torch.int64
        or rows.min() < 0
        or cols.min() < 0
        or max(rows.max(), cols.max()) >= n
    ):
        return CheckResult("pattern", 1.0, 0.0, f"{what} = {n}.")
    keys = rows * n + cols
    distinct = torch.unique(keys)
    repeated = len(keys) - len(distinct)
    one_way = int((~torch.isin(cols * n + rows, distinct)).sum())
    diagonal = int((~torch.isin(torch.arange(n) * (n + 1), distinct)).sum())
    message = "Every element occurs once, with its transposed one; the diagonal is complete."
    if repeated:
        message = f"{repeated} elements occur more than once; add up equal (row, column) pairs."
    elif one_way:
        message = f"{one_way} elements lack the transposed one; list both directions of each bond."
    elif diagonal:
        message = f"{diagonal} diagonal elements are missing; list them even if they are zero."
    return CheckResult("pattern", float(repeated + one_way + diagonal), 0.0, message)


def check_batches(sample: Sample) -> CheckResult:
    """Every function of the field gives for a batch what it gives for each field."""
    model, fields = sample.model, sample.fields
    functions = {
        "elements": model.elements,
        "classical_energy": model.classical_energy,
        "background_energy": model.background_energy,
        "classical_forces": model.classical_forces,
    }
    shapes = {
        "elements": (len(model.rows),),
        "classical_energy": (),
        "background_energy": (),
        "classical_forces": model.field_shape,
    }
    largest = 0.0
    for name, function in functions.items():
        batch, single = function(fields), [function(field) for field in fields]
        for wanted, values in ((shapes[name], single[0]), ((len(fields), *shapes[name]), batch)):
            if tuple(values.shape) != wanted:
                message = (
                    f"{name} must have the shape {list(wanted)}, got {list(values.shape)}; "
                    "sum over the last axes of the field only, and keep the axes of the batch."
                )
                return CheckResult("batches", float("inf"), ROUNDING, message)
        found = float(relative(batch, torch.stack(single)))
        if not found <= ROUNDING:
            message = f"{name} of one field depends on the other fields of its batch, or on chance."
            return CheckResult("batches", found, ROUNDING, message)
        largest = max(largest, found)
    return CheckResult("batches", largest, ROUNDING, "Fields in a batch do not affect each other.")


def check_hermitian(sample: Sample) -> CheckResult:
    """H = H†."""
    matrices = sample.model.matrix(sample.fields)
    violation = float(relative(matrices, matrices.mH))
    message = "The matrix is equal to its conjugate transpose."
    if not violation <= ROUNDING:
        message = "The element [b, a] must be the complex conjugate of [a, b]; correct `elements`."
    return CheckResult("hermitian", violation, ROUNDING, message)


def check_reach(model: Hamiltonian) -> CheckResult:
    """Elements join and depend on cells at a distance that does not grow with the lattice."""
    small = on_supercell(model)
    larger = on_supercell(model, min(small.lattice.extent) + 2)
    reaches = [_reach(found) for found in (small, larger)]
    if larger.lattice == small.lattice:
        # There is no other lattice: the reach must be shorter than half of this one.
        reaches[0] = min(reaches[0], min(small.lattice.extent) // 2 - 1)
    growth = float(reaches[1] - reaches[0])
    unit = "cell" if reaches[1] == 1 else "cells"
    message = f"Elements reach {reaches[1]} {unit} far, on every lattice."
    if growth > 0:
        message = (
            f"Elements depend on the field {reaches[1]} cells away, and farther on larger "
            "lattices; a force field of finite range cannot learn such a model."
        )
    return CheckResult("reach", growth, 0.0, message)


def relative(values: Tensor, expected: Tensor) -> Tensor:
    """Largest difference, over the largest magnitude (1 if all is zero)."""
    size = expected.detach().abs().max()
    return (values - expected).detach().abs().max() / torch.where(size > 0, size, 1.0)


def cells_apart(lattice: Lattice, site: int, others: Tensor) -> Tensor:
    """Distance of sites in cells: the largest number along an axis, around the lattice."""
    cells, extent = torch.tensor(lattice.cells), torch.tensor(lattice.extent)
    steps = (cells[others] - cells[site]).abs()
    around = torch.where(torch.tensor(lattice.periodic), extent - steps, steps)
    return torch.minimum(steps, around).amax(-1)


def _reach(model: Hamiltonian) -> int:
    """Largest distance in cells between the sites of an element, or to a field it depends on."""
    lattice, n_orbitals = model.lattice, model.n_orbitals
    rows, cols = model.rows // n_orbitals, model.cols // n_orbitals
    field = random_field(model)
    before, farthest = model.elements(field), 0
    for site in range(lattice.n_sublattices):
        changed = field.clone()
        changed[site] = random_field(model, seed=1)[site]
        depends = (model.elements(changed) - before).abs() > ROUNDING
        starting = (rows == site) & (before.abs() > 0)
        sites = torch.cat([rows[depends], cols[depends], cols[starting]])
        if len(sites):
            farthest = max(farthest, int(cells_apart(lattice, site, sites).max()))
    return farthest
