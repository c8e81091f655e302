"""Bounds on work that mean the same on every machine: calls that were made, and memory taken.

A reader that a hostile file sends round in circles makes calls without end, fast machine or slow.

And how much of what is exhaustive is done: `make test` takes a part of it, all else takes all.
"""

from __future__ import annotations

import contextlib
import sys
import tracemalloc
import zlib
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TypeVar

COUNTED = frozenset({"call", "c_call"})
#: One of so many is done under pytest's --some.
PART = 5

_T = TypeVar("_T")


class _Asked:
    one_of = 1


def do_some() -> None:
    """From here on, a part of what is exhaustive is done."""
    _Asked.one_of = PART


def some(items: Sequence[_T], *, by: object = "") -> Sequence[_T]:
    """All of them, or under --some each PART-th: another part for another `by`, and never none."""
    first = zlib.crc32(repr(by).encode()) % max(min(_Asked.one_of, len(items)), 1)
    return items[first :: _Asked.one_of]


def examples(count: int = 100) -> int:
    """So many examples of a property, or under --some a part of them."""
    return -(-count // _Asked.one_of)


class Effort:
    """How many functions were called, Python's and C's."""

    calls = 0


@contextlib.contextmanager
def effort(*, most: int) -> Iterator[Effort]:
    """Stops the body, and fails, where it makes more than `most` calls."""
    made = Effort()

    def count(_frame: FrameType, event: str, _arg: object) -> None:
        if event in COUNTED:
            made.calls += 1
            if made.calls == most:
                raise AssertionError(f"over {most:,} calls")

    sys.setprofile(count)
    try:
        yield made
    finally:
        sys.setprofile(None)
    assert made.calls < most


@contextlib.contextmanager
def memory(*, megabytes: int) -> Iterator[None]:
    """Fails where Python's objects take more than that at any one time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
    assert peak < megabytes
