# pyright: reportOptionalMemberAccess=false

import pytest

from lattgnn.lattice import (
    bond_orbits,
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    shastry_sutherland,
    square,
    staggered_square,
)
from lattgnn.report.lattice_plot import plot_lattice


@pytest.mark.parametrize(
    ("lattice", "cutoff", "panels"),
    [
        (square(8), 2.3, 1),
        (kagome(8), 2.7, 1),
        (lieb(8), 2.3, 2),
        (chain(9), 3.0, 1),
        (cubic(5), 1.5, 1),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_every_orbit_is_in_the_legend(lattice, cutoff, panels, tmp_path):
    figure = plot_lattice(lattice, cutoff)
    figure.savefig(tmp_path / "lattice.png", dpi=40)
    assert (tmp_path / "lattice.png").stat().st_size > 1000
    assert len(figure.axes) == panels
    labels = [text.get_text() for axes in figure.axes for text in axes.get_legend().get_texts()]
    found = {(int(label.split()[0]), float(label.split()[1])) for label in labels}
    assert found == {(o.index, round(o.distance, 3)) for o in bond_orbits(lattice, cutoff).orbits}


def test_each_bond_is_drawn_once_in_the_color_of_its_orbit():
    figure = plot_lattice(honeycomb(8), 2.7)
    (axes,) = figure.axes
    orbits = bond_orbits(honeycomb(8), 2.7).orbits
    drawn = [patch.get_edgecolor() for patch in axes.patches]
    counts = sorted(drawn.count(color) for color in set(drawn))
    assert counts == sorted(o.multiplicity for o in orbits)


def test_many_orbits_have_distinct_colors():
    figure = plot_lattice(lieb(12), 5.0)
    colors = {tuple(h.get_color()) for axes in figure.axes for h in axes.get_legend().get_lines()}
    assert len(colors) == len(bond_orbits(lieb(12), 5.0))


def test_labels_of_sites_and_bonds_are_visible():
    figure = plot_lattice(staggered_square(6), 1.0)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["site A", "site B"]
    markers = {str(handle.get_marker()) for handle in legend.get_lines()}
    assert len(markers) == 2 and len(figure.axes) == 2  # a panel for each class of sites
    figure = plot_lattice(shastry_sutherland(4), 1.5)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["bond dimer", "bond square"]
    (axes,) = figure.axes
    bands = [line for line in axes.get_lines() if line.get_linewidth() == 7]
    assert {line.get_color() for line in bands} == {h.get_color() for h in legend.get_lines()}
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sum(text.endswith("dimer") for text in texts) == 1
    assert not plot_lattice(square(6), 1.0).legends


def test_too_small_an_extent_is_refused():
    with pytest.raises(ValueError, match=r"Use \(5, 5\)"):
        plot_lattice(square(4), 2.3)
