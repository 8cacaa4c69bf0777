"""All crystallographic point groups: 32 in space (from spglib), 10 in the plane, 2 on a line."""

import warnings
from functools import lru_cache

import numpy as np
import pytest
import spglib

from lattgnn.symmetry import PointGroup

SOLID = """1 -1 2 m 2/m 222 mm2 mmm 4 -4 4/m 422 4mm -42m 4/mmm 3 -3 32 3m -3m 6 -6 6/m 622 6mm
-6m2 6/mmm 23 m-3 432 -43m m-3m""".split()
FLAT = [f"{family}{n}" for n in (1, 2, 3, 4, 6) for family in "CD"]
LINE = ["line C1", "line D1"]


@lru_cache
def crystal_rotations() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Integer and Cartesian rotations of the first setting of each point group in spglib."""
    found = {}
    with warnings.catch_warnings():
        # spglib warns that it will report errors in another way.
        warnings.simplefilter("ignore", DeprecationWarning)
        types = [spglib.get_spacegroup_type(hall) for hall in range(1, 531)]
        settings = [spglib.get_symmetry_from_database(hall) for hall in range(1, 531)]
    for kind, setting in zip(types, settings, strict=True):
        assert kind is not None and setting is not None
        if kind.pointgroup_international not in found:
            whole = np.unique(setting["rotations"], axis=0)
            # Groups 143 to 194 are trigonal or hexagonal and listed in hexagonal axes. Rotations
            # of all others are orthogonal matrices already.
            hexagonal = 143 <= kind.number <= 194
            vectors = (
                np.array([[1, 0, 0], [-0.5, 3**0.5 / 2, 0], [0, 0, 1]]) if hexagonal else np.eye(3)
            )
            cartesian = vectors.T @ whole @ np.linalg.inv(vectors.T)
            found[kind.pointgroup_international] = whole, cartesian
    return found


def crystal_group(name: str) -> PointGroup:
    if name in LINE:
        return PointGroup.from_rotations([[[1.0]], [[-1.0]]][: 2 if name == "line D1" else 1])
    if name not in FLAT:
        return PointGroup.from_rotations(crystal_rotations()[name][1])
    angles = 2 * np.pi * np.arange(int(name[1])) / int(name[1])
    turns = np.array([[[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]] for a in angles])
    mirrors = turns @ np.diag([1.0, -1.0])
    return PointGroup.from_rotations(np.concatenate([turns, mirrors]) if name[0] == "D" else turns)


@pytest.fixture(params=[*SOLID, *FLAT, *LINE])
def named_group(request) -> tuple[str, PointGroup]:
    """Each of the 44 groups with its name."""
    return request.param, crystal_group(request.param)


@pytest.fixture
def group(named_group) -> PointGroup:
    """Each of the 44 groups."""
    return named_group[1]


@pytest.fixture
def crystal():
    """A group by its name."""
    return crystal_group


@pytest.fixture
def integer_rotations():
    """Rotations of a group in space by its name, in units of the primitive vectors."""
    return lambda name: crystal_rotations()[name][0]
