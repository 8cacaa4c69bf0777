"""The standard representations of a group: scalars, vectors, and permutations."""

from collections.abc import Sequence

import numpy as np

from lattgnn.errors import InputError
from lattgnn.symmetry.point_group import PointGroup
from lattgnn.symmetry.representations import Representation


def trivial(group: PointGroup) -> Representation:
    """One component that no element changes."""
    return Representation(group, np.ones((group.order, 1, 1)), "trivial")


def pseudoscalar(group: PointGroup) -> Representation:
    """One component that changes sign under every improper operation: det R."""
    return Representation(group, _signs(group), "pseudoscalar")


def vector(group: PointGroup) -> Representation:
    """Polar vectors, such as displacements: R."""
    return Representation(group, np.array(group.rotations), "vector")


def axial(group: PointGroup) -> Representation:
    """Axial vectors, such as angular momenta: det R · R in space, det R in fewer dimensions."""
    matrices = _signs(group) * group.rotations if group.dim == 3 else _signs(group)
    return Representation(group, matrices, "axial")


def pseudovector(group: PointGroup) -> Representation:
    """Vectors that reflections reverse in addition: det R · R.

    On a planar lattice they are the in-plane components of an axial vector, such as a spin, whose
    reflections are those in planes that contain the normal z. Its z component is a pseudoscalar.
    """
    return Representation(group, _signs(group) * group.rotations, "pseudovector")


def regular(group: PointGroup) -> Representation:
    """One component for each element of the group; g takes the component of h to that of g h."""
    return _permutations(group, group.table, "regular")


def permutation(
    group: PointGroup,
    points: Sequence | np.ndarray | None = None,
    *,
    subgroup: Sequence[int] | np.ndarray | None = None,
) -> Representation:
    """The representation that permutes equivalent points, or the cosets of a subgroup.

    Args:
        group: The point group.
        points: Cartesian points that the group maps onto each other, such as the neighbors of a
            site, [n, dim]. There is one component per point.
        subgroup: Elements of a subgroup H, given instead of points. There is one component per
            coset g H, in the order of their first elements.

    Returns:
        Permutation matrices: ρ(g) has the entry 1 at (g i, i).

    Raises:
        InputError: If both or neither of points and subgroup are given, or if the group does not
            permute the points.

    Examples:
        >>> from lattgnn.lattice import square
        >>> from lattgnn.symmetry import site_point_group
        >>> group = site_point_group(square(8).cell)
        >>> neighbors = permutation(group, [[1, 0], [0, 1], [-1, 0], [0, -1]])
        >>> [(irrep.name, n) for irrep, n in neighbors.irreps()]
        [('A1', 1), ('B1', 1), ('E', 1)]
    """
    if (points is None) == (subgroup is None):
        raise InputError(
            "either points or a subgroup must be given, but not both."
            " Use permutation(group, [[1, 0], [-1, 0]])."
        )
    if subgroup is not None:
        # Each coset is labelled by its smallest element.
        label = group.table[:, group.check_subgroup(subgroup)].min(1)
        firsts = np.unique(label)
        return _permutations(
            group, np.searchsorted(firsts, label[group.table[:, firsts]]), "permutation"
        )
    given = np.asarray(points, dtype=np.float64)
    if given.ndim == 2 and len(given) and given.shape[1] == group.dim:
        images = np.einsum("gij,nj->gni", group.rotations, given)
        # Largest difference of coordinates between image n under g and given point m, [g, n, m].
        far = np.abs(images[:, :, None] - given).max(-1)
        if far.min(-1).max() <= 1e-6 * max(1.0, np.abs(given).max()):
            return _permutations(group, far.argmin(-1), "permutation")
    raise InputError(
        f"points must be rows of {group.dim} coordinates that {group.name} maps onto each other,"
        f" got {given.tolist()}. Use all points of each orbit."
    )


def _signs(group: PointGroup) -> np.ndarray:
    """The determinants det R as 1 × 1 matrices, [order, 1, 1]."""
    return group.determinants[:, None, None].astype(np.float64)


def _permutations(group: PointGroup, images: np.ndarray, name: str) -> Representation:
    """Permutation matrices from images [order, n]: element g takes i to images[g, i]."""
    return Representation(group, np.eye(images.shape[1])[images].swapaxes(1, 2).copy(), name)
