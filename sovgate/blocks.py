"""Reads a file by blocks, and keeps the digest of each block that was read.

What is said of a file is said of the bytes that were read to say it. Whoever hashes the whole file
later holds these digests against its own bytes (`Compared`): no time, size or number that a file
system tells has to be believed. Ground floor; runs in the child of the scanner too.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping

#: A file has at most so many blocks of 64 KiB or more; none is larger than a chunk.
SMALLEST, MOST, LARGEST = 64 * 1024, 8192, 16 * 1024 * 1024
#: A read of at most so many bytes, or of one block, is kept for the next one.
KEPT = 1024 * 1024
_NUMBER, _DIGEST = 4, 32


class ChangedError(OSError):
    """A block is another one than when it was read before, or the file has become shorter."""

    def __init__(self) -> None:
        super().__init__(errno.ESTALE, "it changed while it was read")


def block_size(size: int) -> int:
    """A power of two, so that blocks and chunks of 16 MiB begin at the same places."""
    block = SMALLEST
    while block < LARGEST and size > block * MOST:
        block *= 2
    return block


class Blocks:
    """SHA-256 of the blocks of one file of `size` bytes that were read, by their numbers.

    `torn`: a block was read twice, and was two different ones.
    """

    __slots__ = ("block", "digests", "size", "torn")

    def __init__(self, size: int) -> None:
        self.size, self.block = size, block_size(size)
        self.digests: dict[int, bytes] = {}
        self.torn = False

    @property
    def count(self) -> int:
        return -(-self.size // self.block)

    def add(self, number: int, digest: bytes) -> None:
        if self.digests.setdefault(number, digest) != digest:
            self.torn = True

    def merge(self, other: Blocks) -> None:
        """What somebody else read of the same file."""
        self.torn = self.torn or other.torn or other.size != self.size
        for number, digest in other.digests.items():
            self.add(number, digest)

    def packed(self) -> bytes:
        items = self.digests.items()
        return b"".join(number.to_bytes(_NUMBER, "big") + digest for number, digest in items)

    @property
    def most(self) -> int:
        """No packed form is longer."""
        return self.count * (_NUMBER + _DIGEST)

    @classmethod
    def unpacked(cls, data: bytes, size: int) -> Blocks:
        """Raises ValueError."""
        found, step = cls(size), _NUMBER + _DIGEST
        if len(data) % step or len(data) > found.most:
            raise ValueError("no digests of blocks")
        for at in range(0, len(data), step):
            number = int.from_bytes(data[at : at + _NUMBER], "big")
            if number >= found.count:
                raise ValueError("no block of this file")
            found.add(number, data[at + _NUMBER : at + step])
        return found


class Reader:
    """Random access to an open file of `size` bytes. `blocks` is what was read of it so far."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor, self.size = descriptor, size
        self.blocks = Blocks(size)
        self._start, self._held = 0, b""

    @classmethod
    def of(cls, descriptor: int) -> Reader:
        return cls(descriptor, os.fstat(descriptor).st_size)

    def read(self, offset: int, count: int) -> bytes:
        """Fewer than `count` bytes at the file's end alone. Raises ChangedError, OSError."""
        end = min(offset + count, self.size)
        if offset >= end:
            return b""
        if not self._start <= offset or end > self._start + len(self._held):
            self._fetch(offset, end)
            if len(self._held) > max(KEPT, self.blocks.block):
                held, start = self._held, self._start
                self._start, self._held = 0, b""
                return held[offset - start : end - start]
        return self._held[offset - self._start : end - self._start]

    def _fetch(self, offset: int, end: int) -> None:
        """Read the blocks that these bytes lie in, whole, and take down their digests."""
        block = self.blocks.block
        first, start = offset // block, offset // block * block
        data = self._exactly(start, min(-(-end // block) * block, self.size) - start)
        view = memoryview(data)
        for at in range(0, len(data), block):
            digest = hashlib.sha256(view[at : at + block]).digest()
            self.blocks.add(first + at // block, digest)
        if self.blocks.torn:
            raise ChangedError
        self._start, self._held = start, data

    def _exactly(self, offset: int, count: int) -> bytes:
        data = os.pread(self.descriptor, count, offset)
        if len(data) == count:
            return data
        parts, count = [data], count - len(data)
        while count > 0:
            offset += len(parts[-1])
            if not parts[-1]:
                self.blocks.torn = True
                raise ChangedError
            parts.append(os.pread(self.descriptor, count, offset))
            count -= len(parts[-1])
        return b"".join(parts)


class Compared:
    """Takes a file's bytes from the first to the last, in pieces of any length, and tells whether
    those that were read before are the same. Of what nobody read nothing is the same."""

    def __init__(self, blocks: Blocks | None) -> None:
        self._differs = blocks is None or blocks.torn
        self._blocks = blocks or Blocks(0)
        self._at, self._hash = 0, hashlib.sha256()

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        view, block = memoryview(data), self._blocks.block
        while view:
            number, inside = divmod(self._at, block)
            part = view[: block - inside]
            self._at += len(part)
            view = view[len(part) :]
            told = self._blocks.digests.get(number)
            if told is None:
                continue
            if not inside:
                self._hash = hashlib.sha256()
            self._hash.update(part)
            if self._at == min((number + 1) * block, self._blocks.size):
                self._differs = self._differs or self._hash.digest() != told

    @property
    def same(self) -> bool:
        """Asked when all of the file was given."""
        return not self._differs and self._at == self._blocks.size


def compared(looked: Mapping[str, Blocks] | None, name: str) -> Compared | None:
    """For a file of a model, each file of which was looked into; None: nothing was."""
    return None if looked is None else Compared(looked.get(name))
