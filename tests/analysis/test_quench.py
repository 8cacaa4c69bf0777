"""A quench as plain arrays: no trajectory, no torch, no pictures."""

import subprocess
import sys

import numpy as np
import pytest

from lattgnn import analysis
from lattgnn.analysis.quench import find_order, growth_window
from lattgnn.lattice import honeycomb, square, triangular


def stripes(width: int, lattice) -> np.ndarray:
    """A checkerboard whose sign changes every `width` sites along one axis."""
    return (-1.0) ** (lattice.cells[:, 0] // width) * lattice.bipartite_signs


def test_a_typed_result_from_arrays():
    lattice, times = square(24), np.array([0.0, 1.0, 2.0, 4.0])
    fields = np.stack([[stripes(width, lattice)] * 2 for width in (1, 2, 4, 6)])
    result = analysis.analyze_quench(times, fields, lattice, structure_frames=[1, -1])
    assert isinstance(result, analysis.QuenchAnalysis)
    assert str(result.order) == "checkerboard"
    assert result.order_parameter.shape == result.neighbor_correlation.shape == (4, 2)
    assert np.all(np.diff(result.lengths["C(r)"].mean(axis=1)) > 0)
    assert result.structure_frames.tolist() == [1, 3]
    assert result.structure.shape == (2, 24, 24)
    np.testing.assert_allclose(result.structure.sum((1, 2)), lattice.n_sites)
    np.testing.assert_allclose(result.correlation[:, 0], 1.0)


def test_too_few_frames_are_refused():
    lattice = square(4)
    with pytest.raises(ValueError, match="two frames after t = 0"):
        analysis.analyze_quench(np.array([0.0, 1.0]), np.ones((2, 1, 16)), lattice)


def test_the_order_follows_the_lattice():
    rng = np.random.default_rng(0)
    for lattice, is_checkerboard in (
        (square(4), True),
        (honeycomb(4), True),
        (triangular(6), False),
    ):
        order = find_order(rng.normal(size=(1, lattice.n_sites)), lattice)
        assert order.is_checkerboard == is_checkerboard
    np.testing.assert_allclose(find_order(np.ones((1, 16)), square(4)).center, np.pi)


def test_the_window_ends_before_the_finite_size():
    times = np.concatenate([[0.0], np.geomspace(0.1, 1000, 41)])
    lengths = np.sqrt(times)[:, None]
    window = growth_window(times, lengths, square(60))
    assert window is not None
    first, last = window
    assert last <= 100 < 1.3 * last and first >= last / 10  # L is a sixth of the side at t = 100
    assert growth_window(times, lengths + 50, square(60)) is None


def test_a_window_must_ascend():
    with pytest.raises(ValueError, match="two ascending times"):
        analysis.growth_exponent(np.arange(9.0), np.ones((9, 1)), (8.0, 1.0))


def test_analysis_imports_neither_torch_nor_matplotlib():
    code = (
        "import sys, lattgnn.analysis;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
