"""Bounded reading for the readers of headers: a source of bytes, and a window that moves over it.

No I/O of its own: whoever has a file gives a `Source`. Everything short or out of reach is
Malformed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from sovgate.errors import Malformed

#: What the window holds where a caller asks for it, and the source has that much left.
WINDOW = 128 * 1024
#: The first read after a jump; it doubles while reading goes on.
STEP = 4096


class Source(Protocol):
    """Random access to `size` bytes. `read` gives exactly `count` of them, or raises Malformed."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, count: int) -> bytes: ...


@dataclass(frozen=True)
class BytesSource:
    """Bytes in memory as a source."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, count: int) -> bytes:
        if offset < 0 or count < 0 or offset + count > len(self.data):
            raise Malformed("the file ends too early")
        return self.data[offset : offset + count]


class Cursor:
    """Reads forward from `start` to `end`, a window at a time; `position` is absolute."""

    def __init__(self, source: Source, start: int, end: int) -> None:
        if not 0 <= start <= end <= source.size:
            raise Malformed("the file ends too early")
        self._source = source
        self.end = end
        self.buffer = b""
        #: Absolute offset of buffer[0], and index of the next byte in it.
        self.base = start
        self.at = 0
        self._step = STEP

    @property
    def position(self) -> int:
        return self.base + self.at

    @property
    def left(self) -> int:
        return self.end - self.position

    def fill(self, count: int = WINDOW) -> int:
        """Have `count` bytes in the buffer, or all that are left; how many there are now."""
        here = len(self.buffer) - self.at
        if here >= count or self.base + len(self.buffer) >= self.end:
            return here
        start = self.base + len(self.buffer)
        more = min(max(count - here, self._step), self.end - start)
        self._step = min(self._step * 2, WINDOW)
        self.buffer = self.buffer[self.at :] + self._source.read(start, more)
        self.base, self.at = self.base + self.at, 0
        return len(self.buffer)

    def need(self, count: int) -> None:
        if self.fill(count) < count:
            raise Malformed("the file ends too early")

    def take(self, count: int) -> bytes:
        if len(self.buffer) - self.at < count:
            if count > self.left:
                raise Malformed("the file ends too early")
            self.need(count)
        self.at += count
        return self.buffer[self.at - count : self.at]

    def seek(self, position: int) -> None:
        """Absolute, forwards or back, inside the range. Reads nothing by itself."""
        if position > self.end or position < 0:
            raise Malformed("a length reaches beyond the end")
        inside = position - self.base
        if 0 <= inside <= len(self.buffer):
            self.at = inside
        else:
            self.buffer, self.base, self.at = b"", position, 0
            self._step = STEP

    def skip(self, count: int) -> None:
        if count > self.left:
            raise Malformed("a length reaches beyond the end")
        self.seek(self.position + count)

    def number(self, form: struct.Struct) -> int:
        """One number of a `struct` form."""
        at = self.at
        if len(self.buffer) - at < form.size:
            self.need(form.size)
            at = self.at
        self.at = at + form.size
        value: int = form.unpack_from(self.buffer, at)[0]
        return value
