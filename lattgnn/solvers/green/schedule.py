"""What a Green's function solver does at each pole of the Fermi function: block and rounds."""

import re
from dataclasses import dataclass

from lattgnn.errors import InputError

_KINDS = ("ring", "ball", "mean")


@dataclass(frozen=True)
class Block:
    """The shape of the block that is solved exactly around each site.

    - "ring b": start from the site and repeat b times: for each bond that touches the block, add
      its ends and all sites of the shortest cycles through it. On the square lattice this is the
      square of (2b + 1)² sites. Ring 0 is the site alone; its neighbors come in through messages
      only, the cavity method. If no bond lies on a cycle of at most 12 bonds, as on a tree or a
      long chain, the block is always the site alone, because messages then suffice.
    - "ball r": the sites within r hops, without tips, that is, repeatedly without all sites that
      have only one neighbor inside.
    - "mean": the site alone, with the constant self-energy Σ_k T_ik T_ki / (i w) in place of
      messages. It is good enough at high frequencies w, where it costs almost nothing.

    Args:
        kind: "ring", "ball" or "mean".
        size: The number b or r; 0 for "mean".

    Raises:
        InputError: If the kind is unknown, or the size is negative, or not 0 for "mean".
    """

    kind: str
    size: int = 0

    def __post_init__(self) -> None:
        valid = isinstance(self.size, int) and self.size >= 0
        if self.kind not in _KINDS or not valid or (self.kind == "mean" and self.size):
            raise InputError(
                f"a block must be 'ring' or 'ball' with a size of at least 0, or 'mean', got "
                f"{self.kind!r} with size {self.size!r}. Use 'ring1'."
            )

    def __str__(self) -> str:
        return self.kind if self.kind == "mean" else f"{self.kind}{self.size}"

    @classmethod
    def parse(cls, text: str) -> "Block":
        """The block that a text names, such as "ring3", "ball4", "cavity" (= "ring0") or "mean".

        Raises:
            InputError: If the text names no block.
        """
        if text == "cavity":
            return cls("ring", 0)
        match = re.fullmatch(r"(mean)|(ring|ball)(\d+)", text)
        if match is None:
            raise InputError(
                f"a block must be 'ringN', 'ballN', 'cavity' or 'mean', got {text!r}. Use 'ring1'."
            )
        return cls(match[1] or match[2], int(match[3] or 0))


@dataclass(frozen=True)
class Pole:
    """A pole of the Fermi function, and how the Green's function is computed there.

    ρ = ½ + Re Σ_p weight_p G(i frequency_p + μ), where Re is the Hermitian part.

    Args:
        frequency: Distance of the pole from the real axis, in units of t, above 0.
        weight: Its weight (the residue), in units of t.
        block: The block around each site.
        rounds: Rounds of messages between sites. Round 0 is the message of a site without
            neighbors, (i w + μ − H_ii)⁻¹. Not used by the block "mean".
    """

    frequency: float
    weight: float
    block: Block
    rounds: int

    def __str__(self) -> str:
        return "mean" if self.block.kind == "mean" else f"{self.block}:{self.rounds}"


def parse_entry(text: str) -> tuple[Block, int]:
    """Block and rounds of an entry of a schedule, such as "ring1:2", or "mean" without rounds.

    Raises:
        InputError: If the text is not such an entry.
    """
    name, colon, rounds = text.partition(":")
    block = Block.parse(name)
    if block.kind == "mean" and not colon:
        return block, 0
    if block.kind == "mean" or not re.fullmatch(r"\d+", rounds):
        raise InputError(
            f"an entry of a schedule must be a block and its rounds of messages, or 'mean', got "
            f"{text!r}. Use 'ring1:2'."
        )
    return block, int(rounds)


def make_schedule(
    poles: tuple[tuple[float, float], ...], entries: tuple[str, ...]
) -> tuple[Pole, ...]:
    """Poles with the blocks and rounds of the entries; the last entry holds for all further poles.

    Args:
        poles: Frequency and weight of each pole, lowest frequency first.
        entries: Texts such as "ring1:2", lowest frequency first. Entries beyond the last pole are
            left out.

    Raises:
        InputError: If there is no entry, or one is not valid.
    """
    if not entries:
        raise InputError("schedule must have at least one entry. Use ('ring1:2',).")
    parsed = [parse_entry(entry) for entry in entries]
    parsed += parsed[-1:] * (len(poles) - len(parsed))
    return tuple(
        Pole(frequency, weight, block, rounds)
        for (frequency, weight), (block, rounds) in zip(poles, parsed, strict=False)
    )
