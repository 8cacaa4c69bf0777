import numpy as np
import pytest

from lattgnn.analysis import structure_factor_cut
from lattgnn.lattice import square
from lattgnn.report.structure_plots import cut_plot, structure_factor_map
from lattgnn.report.style import figure_png


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_structure_factors_of_fields_without_fluctuations_are_drawn(value):
    structure = np.zeros((2, 4, 4))
    structure[:, 0, 0] = value
    assert figure_png(structure_factor_map(structure, square(4), [0.0, 1.0], (0.0, 0.0)))


def test_the_cut_of_a_perfect_order_is_its_peaks_alone():
    lattice = square(8)
    cut = structure_factor_cut(np.ones(lattice.n_sites), lattice)
    figure = cut_plot([cut], [np.full(len(cut.position), np.nan)], [0.0])
    line = figure.axes[0].lines[0]
    drawn = np.asarray(line.get_ydata(), dtype=np.float64)
    # The path begins and ends at q = 0, where S = N; elsewhere S is zero and nothing is drawn.
    np.testing.assert_allclose(drawn[[0, -1]], lattice.n_sites)
    assert len(drawn) == len(cut.position) and np.isnan(drawn[1:-1]).all()
    assert line.get_marker() == "o"  # a line alone would not show a single point
