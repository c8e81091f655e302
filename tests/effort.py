"""Bounds on work that mean the same on every machine: calls that were made, and memory taken.

A reader that a hostile file sends round in circles makes calls without end, fast machine or slow.
"""

from __future__ import annotations

import contextlib
import sys
import tracemalloc
from collections.abc import Iterator
from types import FrameType

COUNTED = frozenset({"call", "c_call"})


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
