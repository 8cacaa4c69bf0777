"""A quench as plain arrays: no trajectory, no torch, no pictures."""

import subprocess
import sys

import numpy as np
import pytest

from lattgnn import analysis
from lattgnn.analysis import find_order
from lattgnn.lattice import chain, cubic, honeycomb, square, triangular


def stripes(width: int, lattice) -> np.ndarray:
    """A checkerboard whose sign changes every `width` sites along one axis."""
    return (-1.0) ** (lattice.cells[:, 0] // width) * lattice.bipartite_signs


def test_a_typed_result_from_arrays():
    """Stripes of growing width; those of one site are the wave (0, π) and have no length."""
    lattice, times = square(24), np.array([0.0, 1.0, 2.0, 4.0])
    fields = np.stack([[stripes(width, lattice)] * 2 for width in (1, 4, 6, 12)])
    result = analysis.analyze_quench(times, fields, lattice, structure_frames=[1, -1])
    assert isinstance(result, analysis.QuenchAnalysis)
    assert str(result.order) == "checkerboard" and result.is_ordered
    assert result.order_parameter.shape == result.neighbor_correlation.shape == (4, 2)
    np.testing.assert_allclose(result.share[0], 0, atol=0.3)
    for lengths in result.lengths.values():
        assert np.isnan(lengths[0]).all() and np.all(np.diff(lengths[1:].mean(axis=1)) > 0)
    assert result.structure_frames.tolist() == [1, 3]
    assert result.structure.shape == (2, 24, 24)
    np.testing.assert_allclose(result.structure.sum((1, 2)), lattice.n_sites)
    np.testing.assert_allclose(result.correlation[:, 0], 1.0)
    np.testing.assert_allclose(result.correlation_error, 0.0, atol=1e-12)


def test_one_frame_has_observables_and_no_growth_law():
    lattice = square(4)
    result = analysis.analyze_quench(np.array([0.0]), lattice.bipartite_signs[None, None], lattice)
    assert result.order_parameter.tolist() == [[1.0]] and np.isinf(result.lengths["C(r)"]).all()
    assert result.fits == {} and all(law.reason for law in result.growth.values())


def test_the_order_follows_the_lattice():
    rng = np.random.default_rng(0)
    for lattice, kind in (
        (square(12), "checkerboard"),
        (honeycomb(8), "checkerboard"),
        (triangular(12), "wave"),
    ):
        assert find_order(rng.normal(size=(1, 1, lattice.n_sites)), lattice).kind == kind
    np.testing.assert_allclose(find_order(np.ones((1, 1, 16)), square(4)).center, np.pi)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_field_without_fluctuations_has_no_order(value):
    lattice, times = square(4, 6), np.array([0.0, 1.0, 2.0, 4.0])
    result = analysis.analyze_quench(times, np.full((4, 2, 24), value), lattice)
    assert not result.is_ordered and not result.share.any()
    assert all(np.isnan(lengths).all() for lengths in result.lengths.values())
    assert np.isnan(result.neighbor_correlation).all()


def test_white_noise_has_no_length():
    """Its C(r) and S(q) would give lengths that disagree by a factor of twelve."""
    rng = np.random.default_rng(1)
    for lattice in (square(16), honeycomb(8), triangular(12), cubic(6), chain(64)):
        fields = rng.normal(size=(3, 4, lattice.n_sites))
        result = analysis.analyze_quench(np.arange(3.0), fields, lattice)
        assert not result.is_ordered
        assert all(np.isnan(lengths).all() for lengths in result.lengths.values())


def test_a_window_must_ascend():
    with pytest.raises(ValueError, match="two ascending times"):
        analysis.growth_exponent(np.arange(9.0), np.ones((9, 1)), (8.0, 1.0))


def test_analysis_imports_neither_torch_nor_matplotlib():
    code = (
        "import sys, lattgnn.analysis;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
