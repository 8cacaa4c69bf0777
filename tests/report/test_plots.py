from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from lattgnn.analysis import growth_exponent
from lattgnn.lattice import Lattice, cubic, honeycomb, square, triangular
from lattgnn.report import (
    correlation_plot,
    dynamics_comparison,
    energy_errors,
    energy_plot,
    length_plot,
    loss_curves,
    parity_plot,
    snapshot_panel,
    structure_factor_map,
    time_series,
    window_errors,
)
from lattgnn.report.cells import wigner_seitz_cells
from lattgnn.report.plots import curves_plot
from lattgnn.report.style import figure_png

PNG = b"\x89PNG\r\n\x1a\n"
rng = np.random.default_rng(0)
times = np.concatenate([[0.0], np.geomspace(0.05, 100, 20)])
series = -1 + 0.1 * rng.random((21, 3))


def texts(figure: Figure) -> str:
    found = [
        text.get_text() for axes in figure.axes for text in axes.texts + axes.get_xticklabels()
    ]
    labels = [label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())]
    legends = [
        text.get_text() for axes in figure.axes for text in getattr(axes.get_legend(), "texts", [])
    ]
    return "\n".join(found + labels + legends)


def test_accuracy_pictures():
    exact = rng.normal(size=(10, 100))
    figures = {
        parity_plot(exact, exact + 0.01): ("MSE $=1.0\\times10^{-4}", "exact $F$"),
        loss_curves([0, 1, 2], {"training": [1.0, 0.1, 0.05], "validation": [1.0, np.nan, 0.1]}): (
            "validation",
        ),
        window_errors(["0–40", "random"], {"net": [1e-4, 3e-4]}): ("0–40",),
        dynamics_comparison(times, series, series * 1.001): ("deviation", "hop"),
        energy_errors(times, {"energy head": 1e-4 * np.sqrt(times)}): ("energy head",),
        time_series(times, {"$m$": series}, "order"): ("order",),
    }
    for figure, expected in figures.items():
        assert figure_png(figure).startswith(PNG)
        for text in expected:
            assert text in texts(figure)


@pytest.mark.parametrize(
    "lattice", [square(8, 6), honeycomb(4), triangular(4)], ids=lambda x: x.name
)
def test_maps(lattice):
    fields = rng.normal(size=(3, lattice.n_sites))
    assert figure_png(snapshot_panel(fields, lattice, [1.0, 2.0, 3.0])).startswith(PNG)
    structure = rng.random((2, *lattice.extent))
    figure = structure_factor_map(structure, lattice, [1.0, 2.0], (np.pi, np.pi))
    assert "\\pi" in texts(figure)


@pytest.mark.parametrize(
    ("lattice", "n_corners"),
    [(triangular(4, 3), 6), (Lattice([[1, 0], [1, 1]], [[0, 0]], (3, 3)), 4)],
    ids=["triangular", "sheared square"],
)
def test_sites_are_drawn_as_the_region_nearest_to_them(lattice, n_corners):
    cells = wigner_seitz_cells(lattice)
    assert cells.shape == (lattice.n_sites, n_corners, 2)
    np.testing.assert_allclose(cells.mean(axis=1), lattice.positions, atol=1e-12)
    # Half of the way to the neighbors, and of the area of a cell: the cells cover the plane once.
    sides = (cells + np.roll(cells, 1, axis=1)) / 2 - lattice.positions[:, None]
    np.testing.assert_allclose(np.linalg.norm(sides, axis=-1), 0.5)
    x, y = cells[0].T
    area = 0.5 * (x * np.roll(y, -1) - y * np.roll(x, -1)).sum()
    np.testing.assert_allclose(area, np.linalg.det(np.array(lattice.primitive_vectors, float)))


def test_structure_factor_map_puts_every_wavevector_in_its_place():
    lattice, center = square(6, 5), (np.pi, np.pi)
    structure = np.full((1, 6, 5), 1e-3)
    structure[0, 3, 2] = 1.0  # q = (π, 4π/5)
    figure = structure_factor_map(structure, lattice, [1.0], center)
    mesh = figure.axes[0].collections[0]
    assert isinstance(mesh, QuadMesh)
    column, row = np.unravel_index(np.argmax(np.asarray(mesh.get_array())), (6, 5))
    corners = np.asarray(mesh.get_coordinates())[column : column + 2, row : row + 2].reshape(-1, 2)
    np.testing.assert_allclose(corners.mean(axis=0), [np.pi, 4 * np.pi / 5])


def test_growth_pictures():
    lengths = 1.5 * times[:, None] ** np.array([[0.49, 0.51]])
    fit = growth_exponent(times, lengths, (1.0, 100.0))
    figure = length_plot(times, {"from $C(r)$": lengths}, {"from $C(r)$": fit})
    assert r"\alpha=0.50" in texts(figure) and "t^{1/2}" in texts(figure)
    r = np.arange(20.0)
    curves = np.exp(-r / np.array([[2.0], [4.0]]))
    figure = correlation_plot(r, curves, np.array([1.0, 10.0]), np.array([1.4, np.nan]))
    assert len(figure.axes[0].lines) == 4 and len(figure.axes[1].lines) == 3, (
        "NaN has no place in the scaled panel"
    )


def test_settings_of_others_are_left_alone():
    before = dict(mpl.rcParams)
    figure = loss_curves([0, 1], {"training": [1.0, 0.1]})
    figure_png(figure)
    assert dict(mpl.rcParams) == before


def test_three_dimensions_have_no_picture():
    with pytest.raises(ValueError, match="two dimensions"):
        snapshot_panel(np.ones((1, 64)), cubic(4), [0.0])


def test_legends_lie_beside_the_curves_and_are_not_cut():
    r = np.arange(20.0)
    curves = np.exp(-r / np.array([[2.0], [4.0]]))
    errors = np.full(curves.shape, 0.1)
    times = np.array([1.0, 10.0])
    figure = correlation_plot(r, curves, times, np.array([1.4, 2.8]), errors=errors)
    band = np.asarray(figure.axes[0].collections[0].get_paths()[0].vertices)
    np.testing.assert_array_equal(band[band[:, 0] == 0, 1], 1)  # C(0)/C(0) has no error
    name = ", ".join(f"parameter_{n}=0.123456" for n in range(12))
    overlay = curves_plot({name: (times, np.ones((2, 2))), "b": (times, np.ones((2, 2)))}, "E")
    for drawn in (figure, overlay):
        (legend,) = drawn.legends
        box = legend.get_window_extent()
        assert all(not box.overlaps(axes.get_window_extent()) for axes in drawn.axes)
        assert drawn.bbox.contains(box.x0, box.y0) and drawn.bbox.contains(box.x1, box.y1)


def test_time_labels_of_less_than_a_decade_are_plain_and_apart():
    short = np.linspace(0.0, 0.5, 11)
    values = -1 + 0.1 * rng.random((11, 3))
    for figure in (
        energy_plot(short, {"potential": values}),
        dynamics_comparison(short, values, values * 1.001),
    ):
        axis = figure.axes[-1].xaxis
        labels = [*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)]
        shown = [label for label in labels if label.get_text()]
        assert len(shown) > 1 and all(float(label.get_text()) > 0 for label in shown)
        boxes = sorted((label.get_window_extent() for label in shown), key=lambda box: box.x0)
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_an_energy_error_of_zero_leaves_a_gap():
    figure = energy_errors(np.arange(4.0), {"exact": np.array([0.0, 1e-6, 0.0, 2e-6])})
    drawn = np.asarray(figure.axes[0].lines[0].get_ydata(), dtype=np.float64)
    np.testing.assert_array_equal(drawn, [np.nan, 1e-6, np.nan, 2e-6])
