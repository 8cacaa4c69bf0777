"""Representations from text: "A1 + 2 E", "vector + trivial", "E * E"."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches

from lattgnn.errors import InputError
from lattgnn.symmetry.point_group import PointGroup
from lattgnn.symmetry.representations import Representation, direct_sum, irreps
from lattgnn.symmetry.standard_representations import (
    axial,
    pseudoscalar,
    pseudovector,
    regular,
    trivial,
    vector,
)

_STANDARD: dict[str, Callable[[PointGroup], Representation]] = {
    "trivial": trivial,
    "vector": vector,
    "axial": axial,
    "pseudoscalar": pseudoscalar,
    "pseudovector": pseudovector,
    "regular": regular,
}
# A number, with or without a multiplication sign after it; a name; or any other single character.
_TOKEN = re.compile(r"\s*(?:(?P<times>\d+)\s*[*x]?|(?P<name>[A-Za-z]\w*'*)|(?P<sign>\S))\s*")


def parse_representation(text: str, group: PointGroup) -> Representation:
    """The representation that a text describes.

    Args:
        text: Sum of names with multiplicities. Names are the irreps of the group and trivial,
            vector, axial, pseudoscalar, pseudovector and regular. "2 E", "2E", "2*E" and "2x E"
            mean the same; "E * E" is a tensor product; parentheses group.
        group: The point group.

    Returns:
        The direct sum; its blocks are the summands in order.

    Raises:
        InputError: If the group has no representation of a name, or the text is not such a sum.

    Examples:
        >>> from lattgnn.lattice import square
        >>> from lattgnn.symmetry import site_point_group
        >>> group = site_point_group(square(8).cell)
        >>> [(irrep.name, n) for irrep, n in parse_representation("E * E", group).irreps()]
        [('A1', 1), ('A2', 1), ('B1', 1), ('B2', 1)]
    """
    tokens = [(m.lastgroup or "", m[m.lastgroup or 0]) for m in _TOKEN.finditer(text)]
    try:
        found, rest = _sum(tokens, group)
        if not rest:
            return found
    except IndexError:
        pass
    raise InputError(
        f"a representation must be a sum of names with multiplicities, got {text!r}."
        " Use 'trivial + 2 vector'."
    )


def _sum(tokens: list[tuple[str, str]], group: PointGroup) -> tuple[Representation, list]:
    """The sum at the start of the tokens, and the remaining tokens.

    Raises:
        IndexError: If the tokens end too early.
    """
    parts = []
    while True:
        times = 1
        if tokens[0][0] == "times":
            times, tokens = int(tokens[0][1]), tokens[1:]
        part, tokens = _factor(tokens, group)
        while tokens and tokens[0] == ("sign", "*"):
            factor, tokens = _factor(tokens[1:], group)
            part = part * factor
        parts.append(times * part)
        if not tokens or tokens[0] != ("sign", "+"):
            return direct_sum(*parts), tokens
        tokens = tokens[1:]


def _factor(tokens: list[tuple[str, str]], group: PointGroup) -> tuple[Representation, list]:
    """The name or parenthesis at the start of the tokens, and the remaining tokens.

    Raises:
        IndexError: If there is neither, or the tokens end too early.
    """
    (kind, text), tokens = tokens[0], tokens[1:]
    if kind == "name":
        return _named(text, group), tokens
    if text != "(":
        raise IndexError
    inside, tokens = _sum(tokens, group)
    if tokens[0] != ("sign", ")"):
        raise IndexError
    return inside, tokens[1:]


def _named(name: str, group: PointGroup) -> Representation:
    """The irrep or generic representation of a name."""
    if name in _STANDARD:
        return _STANDARD[name](group)
    known = {irrep.name: irrep for irrep in irreps(group)}
    if name in known:
        return known[name]
    names = [*known, *_STANDARD]
    # Names are case-sensitive, but the wrong case is the most likely mistake.
    close = get_close_matches(name.lower(), [n.lower() for n in names], n=1, cutoff=0.4)
    hint = "Use one of these."
    if close:
        hint = f"Did you mean {next(n for n in names if n.lower() == close[0])!r}?"
    raise InputError(
        f"a representation of {group.name} must be one of {', '.join(names)}, got {name!r}. {hint}"
    )
