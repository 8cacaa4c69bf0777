"""Nonlinearities: equivariant under site and internal symmetries, smooth at zero."""

import pytest
import torch

from lattgnn.lattice import square
from lattgnn.nn import EVEN, ODD, SPIN, Block, features
from lattgnn.nn.nonlinearities import Gate, NormGate, TensorProduct, nonlinearity
from lattgnn.symmetry import parse_representation, site_classes

LATTICE = square(4)
(SITES,) = site_classes(LATTICE.cell)
KINDS = ["gate", "norm", "square", "product"]


def blocks(text="A1 + B1 + E", internal=EVEN, channels=3):
    (even, *rest) = features(LATTICE, text, channels)
    return tuple(Block(b.type, b.channels, internal) for b in (even, *rest))


def random_input(module, rng, batch=2, n_sites=5):
    return [
        torch.randn(
            n_sites * b.type.dim,
            batch * b.internal.dim,
            b.channels,
            generator=rng,
            dtype=torch.float64,
        )
        for b in module.inputs
    ]


def moved(values, layout, element):
    """Apply one element of the site group to the components on every site."""
    result = []
    for value, block in zip(values, layout, strict=True):
        matrix = torch.tensor(block.type.representation.matrices[element])
        sites = value.view(-1, block.type.dim, *value.shape[1:])
        result.append(torch.einsum("cd,idbk->icbk", matrix, sites).reshape(value.shape))
    return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text", ["A1 + B1 + E", "vector + 2 trivial", "regular + E", "A2 + regular"]
)
def test_commutes_with_every_element_of_the_site_group(text, kind, rng):
    module = nonlinearity(kind, blocks(text)).double()
    x = random_input(module, rng)
    y = module(x)
    for element in range(SITES.group.order):
        turned = module(moved(x, module.inputs, element))
        torch.testing.assert_close(turned, moved(y, module.outputs, element), rtol=0, atol=1e-12)


def test_a_function_of_each_component_of_a_vector_would_not():
    module = Gate(blocks("E"))
    module.forward = lambda x: [torch.nn.functional.silu(x[0])]
    with pytest.raises(AssertionError):
        rng = torch.Generator().manual_seed(0)
        x = random_input(module, rng)[:1]
        for element in range(SITES.group.order):
            turned = module(moved(x, module.outputs, element))
            torch.testing.assert_close(
                turned, moved(module(x), module.outputs, element), rtol=0, atol=1e-3
            )


@pytest.mark.parametrize("kind", KINDS)
def test_odd_channels_stay_odd_and_spins_turn(kind, rng):
    layout = (*blocks("A1 + E"), *blocks("A1 + E", ODD), *blocks("A1", SPIN))
    module = nonlinearity(kind, layout).double()
    x = random_input(module, rng)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=rng, dtype=torch.float64))[0]

    def image(values, layout):
        result = []
        for value, block in zip(values, layout, strict=True):
            if block.internal == ODD:
                value = -value
            elif block.internal == SPIN:
                parts = value.view(len(value), 3, -1, value.shape[2])
                value = torch.einsum("mn,inbk->imbk", rotation, parts).reshape(value.shape)
            result.append(value)
        return result

    y = module(x)
    torch.testing.assert_close(
        module(image(x, module.inputs)), image(y, module.outputs), rtol=0, atol=1e-12
    )
    assert {block.internal for block in module.outputs} == {EVEN, ODD, SPIN}


def test_products_contain_what_the_product_of_characters_contains():
    """E ⊗ E = A1 + B1 + B2 for one vector with itself, because its A2 part is antisymmetric."""
    module = TensorProduct(blocks("E"))
    names = [block.type.representation.name for block in module.outputs]
    assert names == ["E", "A1", "B1", "B2"]
    pair = TensorProduct(blocks("E + vector + B1"))
    # E and vector are one representation by value, with twice the channels.
    assert len(pair.blocks) == 2
    product = parse_representation("E * B1", SITES.group)
    assert [(irrep.name, n) for irrep, n in product.irreps()] == [("E", 1)]


def test_scalar_product_of_spins(rng):
    module = TensorProduct(blocks("trivial", SPIN, 2)).double()
    (even,) = [b for b, block in enumerate(module.outputs) if block.internal == EVEN]
    x = random_input(module, rng)
    spins = x[0].view(5, 3, -1, 2)
    square = spins.square().sum(1)
    torch.testing.assert_close(module(x)[even], square / (1 + square))


@pytest.mark.parametrize("kind", KINDS)
def test_two_derivatives_exist_where_all_components_vanish(kind, rng):
    """At symmetric sites |x| has a kink and x/|x| is 0/0."""
    module = nonlinearity(kind, (*blocks("A1 + E"), *blocks("A1", SPIN))).double()
    x = [torch.zeros_like(value).requires_grad_() for value in random_input(module, rng)]
    results = module(x)
    weights = [torch.linspace(0.5, 1.5, y.numel(), dtype=y.dtype).view(y.shape) for y in results]
    total = torch.stack([(w * y).sum() for w, y in zip(weights, results, strict=True)]).sum()
    first = torch.autograd.grad(total, x, create_graph=True)
    squares = torch.stack([(g**2).sum() for g in first]).sum()
    second = torch.autograd.grad(squares, x, allow_unused=True)
    for gradient in (*first, *second):
        assert gradient is None or torch.isfinite(gradient).all()


def test_derivatives_near_zero_are_those_of_finite_differences(rng):
    module = NormGate(blocks("E")).double()
    x = [1e-3 * value for value in random_input(module, rng)]
    assert torch.autograd.gradcheck(lambda value: module([value])[0], [x[0].requires_grad_()])
    assert torch.autograd.gradgradcheck(lambda value: module([value])[0], [x[0]])
