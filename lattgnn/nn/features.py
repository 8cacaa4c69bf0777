"""Descriptions of the channels of a layer: copies of representations on classes of sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.symmetry import Representation, SiteType, parse_representation, site_classes, trivial


@dataclass(frozen=True)
class Internal:
    """How channels transform under a symmetry that does not move sites, such as spin rotations.

    A layer that treats all components alike commutes with any such symmetry. The components of an
    internal space are therefore stored along the batch axis, and channels of different internal
    spaces never mix linearly.

    Attributes:
        name: Name of the space.
        dim: Dimension of the space.
        invariant: Whether the symmetry leaves the channels unchanged.
    """

    name: str
    dim: int = 1
    invariant: bool = False


EVEN = Internal("even", invariant=True)
"""Unchanged by all internal symmetries."""
ODD = Internal("odd")
"""Changes sign under the Z2 symmetry of the field, such as particle–hole symmetry, Q → −Q."""
SPIN = Internal("spin", dim=3)
"""Transforms like a spin under a rotation of all spins."""


@dataclass(frozen=True)
class Block:
    """Channels of one type: a tensor [class sites × type.dim, internal.dim × batch, channels].

    Components are fastest within the rows: row i·dim + c is component c on site i of the class.
    Samples are fastest within the second axis: index m·batch + z is internal component m of sample
    z.
    """

    type: SiteType
    channels: int
    internal: Internal = EVEN

    @property
    def is_invariant(self) -> bool:
        """Whether no symmetry changes the channels.

        Any function of such channels, and a bias, is equivariant.
        """
        return (
            self.type.representation.is_trivial and self.type.dim == 1 and self.internal.invariant
        )

    @property
    def is_pointwise(self) -> bool:
        """Whether symmetries only permute the entries.

        Any function applied to each entry is then equivariant.
        """
        return self.type.representation.is_permutation and self.internal.invariant


Features = tuple[Block, ...]


def features(
    lattice: Lattice,
    hidden: str | Sequence[str],
    channels: int,
    other_channels: int = 0,
    other: Internal = ODD,
) -> Features:
    """The channels of a hidden layer on every class of sites.

    Args:
        lattice: The lattice, whose site groups define the irreps.
        hidden: Representation of one channel, such as "trivial", "regular" or "A1 + B1 + E"; one
            text for all classes of sites, or one text per class.
        channels: Number of copies that are unchanged by internal symmetries.
        other_channels: Number of copies that change under internal symmetries.
        other: How those copies change.

    Raises:
        InputError: If a name is not an irrep of the site group, or the number of texts differs from
        the number of classes.
    """
    classes = site_classes(lattice.cell)
    texts = (hidden,) * len(classes) if isinstance(hidden, str) else tuple(hidden)
    if len(texts) != len(classes):
        raise InputError(
            f"hidden must be one text, or one for each of the {len(classes)} classes of "
            f"equivalent sites, got {hidden!r}. Use 'trivial' or 'regular' for all."
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
