"""Attributes of the root of an HDF5 file: what a loader of Keras reads first. No library, no I/O.

Bounded. What a file keeps in a way that is not read here is UnreadableError, never "none".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NoReturn, Protocol

from sovgate.errors import Malformed

SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: Of all texts of that name together.
MAX_VALUE = 64 * 1024 * 1024
#: Of one block of an object's header, and of all blocks together.
MAX_BLOCK, MAX_BLOCKS = 16 * 1024 * 1024, 64
#: Messages and objects of heaps together: what bounds the time.
MAX_STEPS = 100_000
_ATTRIBUTE, _CONTINUATION, _ATTRIBUTES = 0x0C, 0x10, 0x15
_FIXED, _VARIABLE = 3, 9


class Bytes(Protocol):
    """Random access to a file: `formats.tensors.Source`."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, count: int) -> bytes: ...


class UnreadableError(Exception):
    """It is HDF5, and holds what cannot be read here."""


def start(source: Bytes) -> int | None:
    """Where the file begins: at its first byte, or behind a block of a user; None if nowhere."""
    at = 0
    while at + len(SIGNATURE) <= source.size:
        if source.read(at, len(SIGNATURE)) == SIGNATURE:
            return at
        at = at * 2 or 512
    return None


def attributes(source: Bytes, begin: int, name: str) -> list[bytes]:
    """Each text of that name at the root; a sound file has one or none. Raises UnreadableError."""
    try:
        return _Reader(source, begin).attributes(name.encode())
    except (Malformed, struct.error, IndexError, ValueError) as error:
        raise UnreadableError(str(error)) from error


def _refuse(why: str) -> NoReturn:
    raise UnreadableError(why)


class _Reader:
    def __init__(self, source: Bytes, begin: int) -> None:
        self.source, self.base, self.left, self.room = source, begin, MAX_STEPS, MAX_VALUE
        version = source.read(begin + 8, 1)[0]
        if version in (0, 1):
            self.offset, self.length = source.read(begin + 13, 2)
            self.check_widths()
            # Four addresses, and the place of the root's name.
            self.root = self.number(begin + (24 if version == 0 else 28) + 5 * self.offset)
        elif version in (2, 3):
            self.offset, self.length = source.read(begin + 9, 2)
            self.check_widths()
            self.root = self.number(begin + 12 + 3 * self.offset)
        else:
            _refuse(f"superblock of version {version}")

    def check_widths(self) -> None:
        if self.offset not in (2, 4, 8) or self.length not in (2, 4, 8):
            _refuse("addresses of an odd width")

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            _refuse("more than is walked through")

    def take(self, count: int) -> None:
        self.room -= count
        if self.room < 0:
            _refuse("more text than is read")

    def number(self, at: int) -> int:
        return int.from_bytes(self.source.read(at, self.offset), "little")

    def attributes(self, name: bytes) -> list[bytes]:
        found, elsewhere = [], False
        for kind, flags, data in self.messages():
            if kind == _ATTRIBUTES:
                at = 4 if data[1] & 1 else 2
                heap = data[at : at + self.offset]
                elsewhere = elsewhere or heap != b"\xff" * self.offset
            elif kind == _ATTRIBUTE:
                if flags & 2:
                    elsewhere = True
                elif (value := self.attribute(data, name)) is not None:
                    self.take(len(value))
                    found.append(value)
                    if b"\0" in value:  # where a reader takes it for the end of the text
                        found.append(value.partition(b"\0")[0])
        if elsewhere:
            _refuse("attributes outside of the root's header")
        return found

    # --- the root's header ------------------------------------------------------------------------
    def messages(self) -> Iterator[tuple[int, int, bytes]]:
        """(kind, flags, data) of each message."""
        at = self.base + self.root
        second = self.source.read(at, 4) == b"OHDR"
        timed = 0
        if second:
            flags = self.source.read(at + 5, 1)[0]
            timed = flags & 4
            at += 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            width = 1 << (flags & 3)
            size = int.from_bytes(self.source.read(at, width), "little")
            at += width
        else:
            version, size = self.source.read(at, 1)[0], 0
            if version != 1:
                _refuse(f"object header of version {version}")
            (size,) = struct.unpack("<I", self.source.read(at + 8, 4))
            at += 16
        blocks = [(at, size)]
        for number, (place, length) in enumerate(blocks):
            if number >= MAX_BLOCKS or length > MAX_BLOCK:
                _refuse("too large an object header")
            block = self.source.read(place, length)
            for kind, flags, data in _split(block, second=second, timed=bool(timed)):
                self.step()
                if kind == _CONTINUATION:
                    where = int.from_bytes(data[: self.offset], "little") + self.base
                    long = int.from_bytes(data[self.offset :][: self.length], "little")
                    if second:
                        if self.source.read(where, 4) != b"OCHK":
                            _refuse("a wrong continuation")
                        where, long = where + 4, max(0, long - 8)
                    blocks.append((where, long))
                else:
                    yield kind, flags, data

    # --- one attribute ----------------------------------------------------------------------------
    def attribute(self, data: bytes, wanted: bytes) -> bytes | None:
        version, flags = data[0], data[1]
        names, types, spaces = struct.unpack_from("<HHH", data, 2)
        at = 9 if version == 3 else 8
        if version not in (1, 2, 3):
            _refuse(f"attribute of version {version}")
        if data[at : at + names].partition(b"\0")[0] != wanted:
            return None
        if version > 1 and flags:
            _refuse("an attribute of a type that is kept elsewhere")
        if version == 1:
            names, types, spaces = ((size + 7) // 8 * 8 for size in (names, types, spaces))
        kind = data[at + names : at + names + types]
        value = data[at + names + types + spaces :]
        (size,) = struct.unpack_from("<I", kind, 4)
        if kind[0] & 15 == _FIXED:
            return value.rstrip(b"\0")
        if kind[0] & 15 != _VARIABLE or size != 8 + self.offset:
            _refuse("an attribute that is no text")
        return self.variable(value[:size]) if len(value) >= size else b""

    def variable(self, place: bytes) -> bytes:
        """A text in a heap of the file."""
        (length,) = struct.unpack_from("<I", place)
        address = int.from_bytes(place[4 : 4 + self.offset], "little") + self.base
        (index,) = struct.unpack_from("<I", place, 4 + self.offset)
        if length == 0:
            return b""
        if length > self.room or self.source.read(address, 4) != b"GCOL":
            _refuse("a text that is too long, or lies nowhere")
        whole = int.from_bytes(self.source.read(address + 8, self.length), "little")
        at, end = address + 8 + self.length, address + whole
        while at + 8 + self.length <= end:
            self.step()
            (found,) = struct.unpack("<H", self.source.read(at, 2))
            size = int.from_bytes(self.source.read(at + 8, self.length), "little")
            at += 8 + self.length
            if found == index:
                if length > size:
                    break
                return self.source.read(at, length)
            if found == 0:
                break
            at += (size + 7) // 8 * 8
        return _refuse("a text that lies nowhere")


def _split(block: bytes, *, second: bool, timed: bool) -> Iterator[tuple[int, int, bytes]]:
    at, head = 0, (6 if timed else 4) if second else 8
    while at + head <= len(block):
        if second:
            kind, size, flags = struct.unpack_from("<BHB", block, at)
        else:
            kind, size, flags = struct.unpack_from("<HHB", block, at)
        data = block[at + head : at + head + size]
        if len(data) < size:
            _refuse("a wrong object header")
        yield kind, flags, data
        at += head + size
