import numpy as np
import pytest

from lattgnn.lattice import square
from lattgnn.report.structure_plots import structure_factor_map
from lattgnn.report.style import figure_png


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_structure_factors_of_fields_without_fluctuations_are_drawn(value):
    structure = np.zeros((2, 4, 4))
    structure[:, 0, 0] = value
    assert figure_png(structure_factor_map(structure, square(4), [0.0, 1.0], (0.0, 0.0)))
