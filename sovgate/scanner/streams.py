"""Bytes to look into: a file, a part of one, or what is unpacked from one as it is asked for.

Runs in the child. Reads an open descriptor; standard library alone. All reading of what is
unpacked is paid from one budget.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Protocol

CHUNK = 256 * 1024
#: Of what is unpacked, so much can be gone back to.
KEEP = 32 * 1024 * 1024
#: Of memory for xz, whose own header says how much it wants: its highest preset wants 65.
XZ_MEMORY = 128 * 1024 * 1024


class TooMuchError(Exception):
    """More than anybody wants to look through: it counts as the bad case."""


class UnreadableError(Exception):
    """A container that cannot be opened, or that two readers would open differently."""


class Budget:
    """One for all that is looked into: `bytes` to unpack, `members` to open, `depth` of nesting.

    Real files shrink to a half when they are packed, bombs to a thousandth: so the bytes grow
    with what there is to unpack.
    """

    BASE = 64 * 1024 * 1024
    FACTOR = 16
    MEMBERS = 100_000
    DEPTH = 8

    def __init__(self) -> None:
        self.bytes, self.members = self.BASE, self.MEMBERS

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


class Stream(Protocol):
    """`read` gives fewer than `count` bytes at the end alone; `size` is None where unknown."""

    @property
    def size(self) -> int | None: ...

    def read(self, offset: int, count: int) -> bytes: ...


class File:
    """An open descriptor."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor, self.size = descriptor, size

    def read(self, offset: int, count: int) -> bytes:
        count = min(count, self.size - offset)
        parts: list[bytes] = []
        while count > 0:
            data = os.pread(self.descriptor, count, offset)
            if not data:
                raise TooMuchError  # shorter than it was: it changes while it is looked at
            parts.append(data)
            offset += len(data)
            count -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Part:
    """`size` bytes of another stream, from `start`."""

    def __init__(self, whole: Stream, start: int, size: int) -> None:
        self.whole, self.start, self.size = whole, start, size

    def read(self, offset: int, count: int) -> bytes:
        return self.whole.read(self.start + offset, max(0, min(count, self.size - offset)))


class Unpacked:
    """What comes out of an unpacker. Goes back KEEP bytes at most, else TooMuchError."""

    size = None

    def __init__(self, source: Iterator[bytes], budget: Budget) -> None:
        self.source, self.budget = source, budget
        self._base, self._kept, self._ended = 0, bytearray(), False

    def read(self, offset: int, count: int) -> bytes:
        while not self._ended and self._base + len(self._kept) < offset + count:
            data = next(self.source, None)
            if data is None:
                self._ended = True
                break
            self.budget.spend(len(data))
            self._kept += data
            surplus = min(len(self._kept) - KEEP - CHUNK, offset - self._base)
            if surplus > CHUNK:
                del self._kept[:surplus]
                self._base += surplus
            if len(self._kept) > 4 * KEEP:
                raise TooMuchError
        if offset < self._base:
            raise TooMuchError
        at = offset - self._base
        return bytes(self._kept[at : at + count])


def length(stream: Stream) -> int:
    """Its size; of one that does not say, by reading it to its end."""
    if stream.size is not None:
        return stream.size
    at = 0
    while data := stream.read(at, CHUNK):
        at += len(data)
    return at


def all_of(stream: Stream, start: int = 0) -> Iterator[bytes]:
    while data := stream.read(start, CHUNK):
        yield data
        start += len(data)


def unpack(magic: bytes, stream: Stream, *, raw: bool = False) -> Iterator[bytes]:
    """What is packed in `stream`, up to its end or to where it is damaged: a loader got so far.

    One compressed stream after another is read on, as Python's own readers do, unless `raw`.
    """
    new, wrong = _unpacker(magic)
    unpacker, given, source = new(), b"", all_of(stream)
    while True:
        if not given and getattr(unpacker, "needs_input", True):
            given = next(source, b"")
            if not given:
                if hasattr(unpacker, "flush"):
                    yield unpacker.flush()
                return
        try:
            out = unpacker.decompress(given, CHUNK)
        except wrong as error:
            if "emory usage limit" in str(error):
                raise TooMuchError from error
            return
        if out:
            yield out
        if not unpacker.eof:
            given = getattr(unpacker, "unconsumed_tail", b"")
            continue
        if raw:
            return
        # Zeros may lie between two streams, as far as the readers of these formats let them.
        given, unpacker = unpacker.unused_data, new()
        while not given.strip(b"\0"):
            given = next(source, b"")
            if not given:
                return
        given = given.lstrip(b"\0")


def _unpacker(magic: bytes) -> tuple[Any, tuple[type[Exception], ...]]:
    import zlib

    if magic == b"BZ":
        import bz2

        return bz2.BZ2Decompressor, (OSError, EOFError, ValueError)
    if magic in (b"\xfd7zXZ", b"\x5d\x00"):
        import lzma

        return lambda: lzma.LZMADecompressor(memlimit=XZ_MEMORY), (lzma.LZMAError, EOFError)
    bits = {b"\x1f\x8b": 31, b"x": 15, b"": -15}[magic]
    return lambda: zlib.decompressobj(bits), (zlib.error,)
