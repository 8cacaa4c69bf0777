"""What the channels of a layer are: copies of representations on classes of sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.symmetry import Representation, SiteType, parse_representation, site_classes, trivial


@dataclass(frozen=True)
class Internal:
    """How channels transform under a symmetry that leaves sites in place, such as a rotation of all spins.

    A layer that acts on all components alike commutes with any such symmetry, so the components of an
    internal space ride along with the batch, and channels of different internal spaces never mix linearly.

    Attributes:
        name: Which space.
        dim: Its dimension.
        invariant: Whether the symmetry leaves the channels alone.
    """

    name: str
    dim: int = 1
    invariant: bool = False


EVEN = Internal("even", invariant=True)
"""Unchanged by all internal symmetries."""
ODD = Internal("odd")
"""Changes sign under the Z2 symmetry of the field, such as particle–hole symmetry, Q → −Q."""
SPIN = Internal("spin", dim=3)
"""Turns like a spin under a rotation of all spins."""


@dataclass(frozen=True)
class Block:
    """Some channels of one type: a tensor [n_sites of the class × type.dim, internal.dim × batch, channels].

    Components are fastest among the rows: row i·dim + c is component c on the i-th site of the class.
    """

    type: SiteType
    channels: int
    internal: Internal = EVEN

    @property
    def is_invariant(self) -> bool:
        """Whether no symmetry changes the channels, so that any function of them, and a bias, is allowed."""
        return (
            self.type.representation.is_trivial and self.type.dim == 1 and self.internal.invariant
        )

    @property
    def is_pointwise(self) -> bool:
        """Whether symmetries only permute the entries, so that a function of each entry is equivariant."""
        return self.type.representation.is_permutation and self.internal.invariant


Features = tuple[Block, ...]


def features(
    lattice: Lattice,
    hidden: str | Sequence[str],
    channels: int,
    other_channels: int = 0,
    other: Internal = ODD,
) -> Features:
    """Channels of a hidden layer on every class of sites.

    Args:
        lattice: Its site groups name the irreps.
        hidden: What one channel holds, such as "trivial", "regular" or "A1 + B1 + E"; one text for all
            classes of sites, or one for each.
        channels: Copies of it, unchanged by internal symmetries.
        other_channels: Copies that internal symmetries do change.
        other: How they change.

    Raises:
        ValueError: If a name is none of a site group, or there are not as many texts as classes.
    """
    classes = site_classes(lattice.cell)
    texts = (hidden,) * len(classes) if isinstance(hidden, str) else tuple(hidden)
    if len(texts) != len(classes):
        raise InputError(
            f"hidden must be one text, or one for each of the {len(classes)} classes of equivalent sites, "
            f"got {hidden!r}. Use 'trivial' or 'regular' for all."
        )
    blocks = []
    for number, (sites, text) in enumerate(zip(classes, texts, strict=True)):
        copies: dict[Representation, int] = {}
        for summand in parse_representation(text, sites.group).blocks:
            copies[summand] = copies.get(summand, 0) + 1
        for count, internal in ((channels, EVEN), (other_channels, other)):
            blocks += [
                Block(SiteType(number, r), n * count, internal) for r, n in copies.items() if count
            ]
    return tuple(blocks)


def scalars(lattice: Lattice, channels: int, internal: Internal = EVEN) -> Features:
    """Invariant channels on every class of sites."""
    return tuple(
        Block(SiteType(number, trivial(sites.group)), channels, internal)
        for number, sites in enumerate(site_classes(lattice.cell))
    )
