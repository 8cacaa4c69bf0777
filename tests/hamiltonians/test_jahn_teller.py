import numpy as np
import pytest
import torch

from lattgnn.hamiltonians import JahnTeller
from lattgnn.lattice import Lattice, compatible_operations, site_permutations, square, triangular


def representation(operation) -> tuple[torch.Tensor, torch.Tensor]:
    """(Q2, Q3) and (3z²−r², x²−y²) under an operation of D4, from the functions themselves.

    Q2 and x²−y² both measure x² − y², Q3 and 3z²−r² do not know x from y.
    """
    x_squared = operation.cartesian[:, 0] ** 2  # image of the x axis
    sign = float(x_squared[0] - x_squared[1])
    return torch.diag(torch.tensor([sign, 1.0])).double(), torch.diag(
        torch.tensor([1.0, sign])
    ).double()


@pytest.mark.parametrize("wrong", [False, True])
def test_the_doublet_is_b1_and_a1(wrong, rng):
    """H(gQ) = U_g H(Q) U_g^T for every operation; not so if Q2 kept its sign (A1 + A1)."""
    model = JahnTeller(square(4), lam=1.3)
    n = model.lattice.n_sites
    field = torch.randn(n, 2, dtype=torch.float64, generator=rng)
    matrix, deviations = model.matrix(field), []
    assert (
        model.field_type.representation == "B1 + A1"
        and len(compatible_operations(model.lattice)) == 8
    )
    for operation, perm in zip(
        compatible_operations(model.lattice),
        torch.tensor(site_permutations(model.lattice)),
        strict=True,
    ):
        doublet, orbital = representation(operation)
        moved = torch.empty_like(field)
        moved[perm] = field @ (torch.eye(2).double() if wrong else doublet).T
        turn = torch.zeros(n, 2, n, 2).double()
        turn[perm, :, torch.arange(n), :] = orbital
        turn = turn.reshape(2 * n, 2 * n)
        deviations.append(float((model.matrix(moved) - turn @ matrix @ turn.T).abs().max()))
    assert (max(deviations) > 0.1) if wrong else (max(deviations) < 1e-14)


def test_matrix_against_the_definition(rng):
    model = JahnTeller(square(3, 4), t=0.7, lam=1.3)
    field = torch.randn(12, 2, dtype=torch.float64, generator=rng)
    blocks = model.matrix(field).reshape(12, 2, 12, 2)
    s = 3**0.5 / 4
    along_x = torch.tensor([[0.25, -s], [-s, 0.75]], dtype=torch.float64)
    along_y = torch.tensor([[0.25, s], [s, 0.75]], dtype=torch.float64)
    for cell in ((1, 0), (2, 0)):  # right and left of cell (0, 0)
        torch.testing.assert_close(blocks[0, :, model.lattice.site_index(cell)], -0.7 * along_x)
    for cell in ((0, 1), (0, 3)):
        torch.testing.assert_close(blocks[0, :, model.lattice.site_index(cell)], -0.7 * along_y)
    q2, q3 = field[5]
    torch.testing.assert_close(blocks[5, :, 5], -1.3 * torch.stack([q3, q2, q2, -q3]).reshape(2, 2))
    assert np.linalg.matrix_rank(along_x) == 1, "only the orbital that points along the bond hops"


def test_classical_part(rng):
    model = JahnTeller(square(3), K=0.6)
    field = torch.randn(2, 9, 2, dtype=torch.float64, generator=rng)
    torch.testing.assert_close(model.classical_energy(field), 0.3 * field.square().sum((1, 2)))
    torch.testing.assert_close(model.classical_forces(field), -0.6 * field)


@pytest.mark.parametrize("lattice", [triangular(4), Lattice([[1, 0], [0, 2]], [[0, 0]], (4, 4))])
def test_other_lattices_are_refused(lattice):
    with pytest.raises(ValueError, match=r"^JahnTeller needs a square lattice, got '\w+'.*$"):
        JahnTeller(lattice)
