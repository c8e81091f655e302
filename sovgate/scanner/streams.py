"""Bytes to look into: a file, a part of one, or what is unpacked from one as it is asked for.

Runs in the child. Reads an open descriptor; standard library alone. All reading of what is
unpacked is paid from one budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from sovgate.blocks import ChangedError, Reader
from sovgate.formats import containers
from sovgate.formats.budget import Budget as Budget
from sovgate.formats.budget import TooMuchError as TooMuchError

CHUNK = 256 * 1024
#: Of what is unpacked, so much can be gone back to.
KEEP = 32 * 1024 * 1024
#: What is only passed by on the way to its end costs so much less.
PASSED = 4


class UnreadableError(Exception):
    """A container that cannot be opened, or that two readers would open differently."""


class Stream(Protocol):
    """`read` gives fewer than `count` bytes at the end alone; `size` is None where unknown."""

    @property
    def size(self) -> int | None: ...

    def read(self, offset: int, count: int) -> bytes: ...


class File:
    """An open descriptor; `blocks` is what was read of it."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.size, self._reader = size, Reader(descriptor, size)
        self.blocks = self._reader.blocks

    def read(self, offset: int, count: int) -> bytes:
        try:
            return self._reader.read(offset, count)
        except ChangedError as error:  # of what is written to meanwhile nothing is known
            raise TooMuchError from error


class Part:
    """`size` bytes of another stream, from `start`."""

    def __init__(self, whole: Stream, start: int, size: int) -> None:
        self.whole, self.start, self.size = whole, start, size

    def read(self, offset: int, count: int) -> bytes:
        return self.whole.read(self.start + offset, max(0, min(count, self.size - offset)))


class Unpacked:
    """What comes out of an unpacker, unpacked anew where somebody goes back more than KEEP.

    `error`: why it ended before its end. `certain`: that it is packed at all is no guess.
    """

    size = None

    def __init__(
        self, begin: Callable[[], Iterator[bytes]], budget: Budget, *, certain: bool = True
    ) -> None:
        self.begin, self.budget, self.certain = begin, budget, certain
        self.error: UnreadableError | None = None
        self._start()

    def _start(self) -> None:
        self._source = self.begin()
        self._base, self._kept, self._ended = 0, bytearray(), False

    def _more(self, cheaper: int = 1) -> None:
        try:
            data = next(self._source, None)
        except UnreadableError as error:
            self.error, data = error, None
        if data is None:
            self._ended = True
            return
        self.budget.spend(len(data) // cheaper)
        self._kept += data

    def _forget(self, count: int) -> None:
        surplus = min(len(self._kept) - KEEP - CHUNK, count)
        if surplus > CHUNK:
            del self._kept[:surplus]
            self._base += surplus

    def read(self, offset: int, count: int) -> bytes:
        if offset < self._base:
            self._start()
        while not self._ended and self._base + len(self._kept) < offset + count:
            self._more()
            self._forget(offset - self._base)
            if len(self._kept) > 4 * KEEP:
                raise TooMuchError
        at = offset - self._base
        return bytes(self._kept[at : at + count])

    def length(self) -> int:
        while not self._ended:
            self._more(PASSED)
            if (surplus := len(self._kept) - 2 * CHUNK) > 0 and (self._base or surplus > KEEP):
                del self._kept[:surplus]
                self._base += surplus
        return self._base + len(self._kept)


def length(stream: Stream) -> int:
    """Its size; of one that does not say, by reading it to its end."""
    if stream.size is not None:
        return stream.size
    if isinstance(stream, Unpacked):
        return stream.length()
    at = 0
    while data := stream.read(at, CHUNK):
        at += len(data)
    return at


def all_of(stream: Stream, start: int = 0) -> Iterator[bytes]:
    while data := stream.read(start, CHUNK):
        yield data
        start += len(data)


def unpack(kind: str, stream: Stream, *, raw: bool = False) -> Iterator[bytes]:
    """What is packed in `stream`, up to its end. Raises UnreadableError where it is damaged."""
    try:
        yield from containers.unpack(kind, all_of(stream), raw=raw)
    except containers.BrokenError as error:
        raise UnreadableError("a compressed file that is damaged") from error
    except containers.MemoryLimitError as error:
        raise TooMuchError from error
