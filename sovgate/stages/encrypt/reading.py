"""Reads one file of a release inside its zone, or a range of its bytes: only the chunks that it
needs, fetched side by side, each verified before it is opened.

Hands plaintext on and writes none. No network of its own; fetches through a function it is given.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sovgate.errors import InternalError
from sovgate.formats import chunk
from sovgate.formats.plan import EMPTY
from sovgate.stages.encrypt.receiving import check_content
from sovgate.work import Buffer, Buffers, Workers

if TYPE_CHECKING:
    from sovgate.formats.part import Listed
    from sovgate.formats.plan import Content, Unit
    from sovgate.stages.encrypt.receiving import Get, Opened

#: Chunks that are on their way at once: 192 MiB at most, and two chunks for a file of one.
AHEAD = 6


@dataclass(frozen=True, kw_only=True)
class Span:
    """Bytes of a content, from `start` up to and without `stop`."""

    content: Content
    start: int
    stop: int

    @property
    def whole(self) -> bool:
        return (self.start, self.stop) == (0, self.content.size)


def carrying(listed: Sequence[Listed], content: Content) -> tuple[Listed, ...]:
    """The one part that carries a content; none for a content without a byte, which no chunk has.

    The parts were arranged before, so each content is in one. Raises InternalError.
    """
    if content.digest == EMPTY:
        return ()
    for one in listed:
        if any(content.digest == held.digest for unit in one.units for held in unit.contents):
            return (one,)
    raise InternalError("no part carries a file of its manifest")


def read(
    parts: Sequence[Opened], span: Span, zone: str, get: Get
) -> Generator[memoryview, None, None]:
    """The bytes of `span` in order; each view is the caller's until it asks for the next.

    Of a chunk that others share no other's byte is handed on. A file that lies in one chunk is
    compared with its signed digest before its first byte, a longer one, if it is asked for whole,
    before the end: until then only its chunks are verified (RULES 12).

    Raises VerificationFailed ("damaged", "digest-mismatch"), and what `get` raises. Close it where
    it is not read to its end: threads work for it.
    """
    if span.content.digest == EMPTY or span.start == span.stop:
        return
    part, unit, at = _place(parts, span.content)
    if unit.chunks == 1:
        yield from _of_pack(_Source(part, unit, zone, get), span, at)
        return
    whole = hashlib.sha256() if span.whole else None
    first, last = span.start // chunk.SIZE, (span.stop - 1) // chunk.SIZE
    source = _Source(part, unit, zone, get)
    for number, plain in source.chunks(range(first, last + 1)):
        offset = number * chunk.SIZE
        view = plain[max(span.start - offset, 0) : span.stop - offset]
        if whole is not None:
            whole.update(view)
        yield view
    if whole is not None:
        check_content(span.content, whole.hexdigest())


def _place(parts: Sequence[Opened], content: Content) -> tuple[Opened, Unit, int]:
    """Part and unit of a content, and where its bytes begin in the unit."""
    for part in parts:
        for unit in part.units:
            at = 0
            for held in unit.contents:
                if held.digest == content.digest:
                    return part, unit, at
                at += held.size
    raise InternalError("the part that carries a file was not opened")


def _of_pack(source: _Source, span: Span, at: int) -> Iterator[memoryview]:
    for _, plain in source.chunks(range(1)):
        held = plain[at : at + span.content.size]
        check_content(span.content, hashlib.sha256(held).hexdigest())
        yield held[span.start : span.stop]


@dataclass(frozen=True)
class _Source:
    """A unit whose chunks are read. Holds secrets: its repr would show them, so it has none."""

    part: Opened
    unit: Unit
    zone: str
    get: Get

    def __repr__(self) -> str:
        return "_Source(…)"

    def chunks(self, numbers: range) -> Iterator[tuple[int, memoryview]]:
        """The plaintext of the unit's chunks of these numbers, in order."""
        ad, waiting = chunk.associated_data(self.zone), deque[_Chunk]()
        with Workers(AHEAD) as workers:
            sealed = Buffers(workers, AHEAD, min(chunk.SIZE, self.unit.size) + chunk.OVERHEAD)
            plain = Buffers(workers, AHEAD, min(chunk.SIZE, self.unit.size))
            for number in numbers:
                if len(waiting) == AHEAD:
                    yield from _next(workers, waiting)
                one = _Chunk(number, self.unit.length(self.unit.first + number), plain.take())
                waiting.append(one)
                workers.submit(partial(self._open, one, ad, sealed.take()))
            while waiting:
                yield from _next(workers, waiting)

    def _open(self, one: _Chunk, ad: bytes, sealed: Buffer) -> None:
        place = self.unit.first + one.number
        digest, view = self.part.digests[place], sealed.view(one.size + chunk.OVERHEAD)
        self.get(digest.hex(), view)
        chunk.open_into(self.part.keys[place], ad, view, digest, one.view)
        sealed.drop()
        one.ready = True


class _Chunk:
    """A chunk on its way; `ready` when its plaintext is in the buffer."""

    def __init__(self, number: int, size: int, plain: Buffer) -> None:
        self.number, self.size, self._plain = number, size, plain
        self.ready = False

    @property
    def view(self) -> memoryview:
        return self._plain.view(self.size)

    def drop(self) -> None:
        self._plain.drop()


def _next(workers: Workers, waiting: deque[_Chunk]) -> Iterator[tuple[int, memoryview]]:
    """The oldest, when it is there. Raises the workers' error."""
    one = waiting.popleft()
    with workers.changed:
        workers.changed.wait_for(lambda: one.ready or workers.failed)
    if not one.ready:
        workers.check()
    yield one.number, one.view
    one.drop()
