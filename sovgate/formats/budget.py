"""How much of what is packed is opened: one rule for pickles and for secrets (RULES 34). Pure.

Used in the child of the scanner too: standard library alone.
"""

from __future__ import annotations


class TooMuchError(Exception):
    """More than anybody wants to look through: it counts as the bad case."""


class Budget:
    """One for all that is looked into: `bytes` to unpack, `members` to open, `DEPTH` of nesting.

    Real files shrink to a half when they are packed, bombs to a thousandth: so the bytes grow
    with what there is to unpack.
    """

    BASE = 64 * 1024 * 1024
    FACTOR = 16
    MEMBERS = 100_000
    DEPTH = 8

    def __init__(self, size: int = 0) -> None:
        self.bytes, self.members = self.BASE + self.FACTOR * size, self.MEMBERS

    def add(self, size: int) -> None:
        self.bytes += self.FACTOR * size

    def spend(self, count: int) -> None:
        self.bytes -= count
        if self.bytes < 0:
            raise TooMuchError

    def member(self) -> None:
        self.members -= 1
        if self.members < 0:
            raise TooMuchError
