"""Straight-line programs of real operations, with complex arithmetic written out.

A program works on vectors of numbers, one number per cell of the lattice. It has neither branches
nor loops, and no operation of it ever negates: signs are followed while the program is built and
end up in the choice between an addition and a subtraction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Offset = tuple[int, ...]


class Op(NamedTuple):
    """One operation. Operation number k of a program writes register k.

    `args` are registers, except for these: `load` has (array, plane, offset in cells), `parameter`
    its number, and `constant` its value. `fma` and `fnma` with (a, x, y) are a + xy and a − xy.
    """

    name: str
    args: tuple


class Signed(NamedTuple):
    """A register, or minus its value."""

    register: int
    sign: int


Term = float | Signed
"""A real number that is known already, or one that the program computes."""

Complex = tuple[Term, Term]
"""Real and imaginary part."""

ZERO: Complex = (0.0, 0.0)


@dataclass(frozen=True)
class Program:
    """Operations and the registers that are its results.

    Attributes:
        ops: The operations in an order in which they can be done.
        outputs: Results, as registers of `ops`, without repetition.
    """

    ops: tuple[Op, ...]
    outputs: tuple[int, ...]

    @property
    def loads(self) -> list[tuple[int, int, Offset]]:
        """(array, plane, offset) of all loads."""
        return [op.args for op in self.ops if op.name == "load"]

    @property
    def cost(self) -> int:
        """Arithmetic operations; a reciprocal counts as three."""
        free = ("load", "parameter", "constant")
        return sum(3 if op.name == "reciprocal" else 1 for op in self.ops if op.name not in free)


REGISTER_ARGS = ("add", "sub", "mul", "fma", "fnma", "reciprocal")
"""Operations whose arguments are registers."""


class Builder:
    """Writes a program. The same operation on the same registers is written once."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self._known: dict[Op, int] = {}

    def _emit(self, name: str, *args: object) -> int:
        op = Op(name, args)
        if op not in self._known:
            self._known[op] = len(self.ops)
            self.ops.append(op)
        return self._known[op]

    def load(self, array: int, plane: int, offset: Offset, sign: int = 1) -> Term:
        """A number of the cell at an offset: from the input (array 0) or an earlier stage."""
        return Signed(self._emit("load", array, plane, offset), sign)

    def parameter(self, number: int) -> Term:
        """A number that is given when the program runs, such as the frequency."""
        return Signed(self._emit("parameter", number), 1)

    def register(self, value: Term) -> Signed:
        """The register of a number; one that is known already becomes a constant."""
        if isinstance(value, Signed):
            return value
        return Signed(self._emit("constant", float(value)), 1)

    def positive(self, value: Term) -> Term:
        """A register that holds the value itself, where it might be known as minus a register."""
        if isinstance(value, Signed) and value.sign < 0:
            zero = self._emit("constant", 0.0)
            return Signed(self._emit("sub", zero, value.register), 1)
        return value

    def add(self, a: Term, b: Term, sign: int = 1) -> Term:
        """A + sign · b."""
        if b == 0.0:
            return a
        if a == 0.0:
            return _times(b, sign)
        if isinstance(a, float) and isinstance(b, float):
            return a + sign * b
        (ra, sa), (rb, sb) = self.register(a), self.register(b)
        if sa == sb * sign:
            return Signed(self._emit("add", *sorted((ra, rb))), sa)
        return Signed(self._emit("sub", ra, rb), sa)

    def multiply(self, x: Term, y: Term, sign: int = 1) -> Term:
        """Sign · x · y."""
        if isinstance(y, float):
            x, y = y, x
        if isinstance(x, float):
            if isinstance(y, float) or x == 0.0:
                return sign * x * y if isinstance(y, float) else 0.0
            if abs(x) == 1.0:
                return _times(y, sign * int(x))
            # The sign of a constant goes into the sign of the result, so that ±c is one register.
            x, sign = abs(x), sign * (1 if x > 0 else -1)
        (rx, sx), (ry, sy) = self.register(x), self.register(y)
        return Signed(self._emit("mul", *sorted((rx, ry))), sx * sy * sign)

    def multiply_add(self, a: Term, x: Term, y: Term, sign: int = 1) -> Term:
        """A + sign · x · y."""
        trivial = (0.0, 1.0, -1.0)
        if a == 0.0 or x in trivial or y in trivial:
            return self.add(a, self.multiply(x, y, sign))
        if isinstance(x, float) and isinstance(y, float):
            return self.add(a, x * y, sign)
        if isinstance(y, float):
            x, y = y, x
        if isinstance(x, float):
            x, sign = abs(x), sign * (1 if x > 0 else -1)
        (ra, sa), (rx, sx), (ry, sy) = map(self.register, (a, x, y))
        name = "fma" if sx * sy * sign == sa else "fnma"
        return Signed(self._emit(name, ra, *sorted((rx, ry))), sa)

    def complex_add(self, a: Complex, b: Complex, sign: int = 1) -> Complex:
        """A + sign · b."""
        return self.add(a[0], b[0], sign), self.add(a[1], b[1], sign)

    def complex_multiply_add(self, a: Complex, x: Complex, y: Complex, sign: int = 1) -> Complex:
        """A + sign · x · y."""
        real = self.multiply_add(a[0], x[0], y[0], sign)
        imaginary = self.multiply_add(a[1], x[0], y[1], sign)
        real = self.multiply_add(real, x[1], y[1], -sign)
        return real, self.multiply_add(imaginary, x[1], y[0], sign)

    def complex_multiply(self, x: Complex, y: Complex) -> Complex:
        """X · y."""
        return self.complex_multiply_add(ZERO, x, y)

    def complex_inverse(self, z: Complex) -> Complex:
        """1/z = z* / |z|²."""
        square = self.multiply_add(self.multiply(z[0], z[0]), z[1], z[1])
        inverse = Signed(self._emit("reciprocal", self.register(square).register), 1)
        return self.multiply(z[0], inverse), self.multiply(z[1], inverse, -1)

    def program(self, outputs: list[int]) -> Program:
        """The operations that the outputs need, renumbered in their order."""
        needed: set[int] = set(outputs)
        for number in range(len(self.ops) - 1, -1, -1):
            if number in needed and self.ops[number].name in REGISTER_ARGS:
                needed.update(self.ops[number].args)
        new = {old: k for k, old in enumerate(sorted(needed))}
        ops = [renumbered(self.ops[old], new) for old in new]
        return Program(tuple(ops), tuple(new[register] for register in outputs))


def renumbered(op: Op, new: dict[int, int]) -> Op:
    """An operation on other registers."""
    if op.name not in REGISTER_ARGS:
        return op
    return Op(op.name, tuple(new[register] for register in op.args))


def conjugate(z: Complex) -> Complex:
    """z*."""
    return z[0], _times(z[1], -1)


def negative(z: Complex) -> Complex:
    """−z."""
    return _times(z[0], -1), _times(z[1], -1)


def _times(x: Term, sign: int) -> Term:
    return Signed(x.register, x.sign * sign) if isinstance(x, Signed) else x * sign
