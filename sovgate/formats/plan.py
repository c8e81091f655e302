"""The plan: which bytes of a model are in which chunk, a pure function of its manifest. No I/O.

Sender and reader compute it alike, so every chunk's length follows from what was signed, and a
statement that says otherwise is refused. docs/formats.md, "Plan".
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

from sovgate.errors import InternalError, VerificationFailed
from sovgate.formats import chunk

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest

#: 8 TiB of whole chunks.
MAX_CHUNKS = 524_288
#: Parts of one release, each with keys of its own.
MAX_PARTS = 256
#: A part that one run makes ends with the unit that brings it to so many bytes, or to this fraction
#: of the model where that is more: how many parts there are is known before the first byte.
PART_SIZE, PART_FRACTION = 32 * 1024**3, 128
#: The one content without a byte needs no chunk.
EMPTY = sha256().hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What one file or several hold: SHA-256 in hex, bytes, and the first file's name."""

    digest: str
    size: int
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """What is dealt out, and reused, as a whole: a large content's chunks, or one pack.

    `first` is the place of its first chunk in the plan; `size` its plaintext bytes.
    """

    contents: tuple[Content, ...]
    first: int
    size: int

    @property
    def chunks(self) -> int:
        return -(-self.size // chunk.SIZE)

    @property
    def after(self) -> int:
        """The place of the chunk after its last."""
        return self.first + self.chunks

    def length(self, at: int) -> int:
        """Plaintext bytes of the chunk at that place in the plan."""
        if not self.first <= at < self.after:
            raise InternalError("a unit has no such chunk")
        return min(chunk.SIZE, self.size - (at - self.first) * chunk.SIZE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Consecutive bytes of a content: `offset` in the content, `at` in its chunk's plaintext."""

    content: Content
    offset: int
    at: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Units in the order of their first content in the manifest."""

    units: tuple[Unit, ...]

    @classmethod
    def of(cls, manifest: Manifest, *, without: frozenset[str] = frozenset()) -> Plan:
        """The plan of all contents but those of the digests `without`, which an earlier release's
        chunks hold.

        Raises VerificationFailed: "limits"; "two-sizes" where one digest stands for two lengths.
        """
        groups = _grouped([c for c in _contents(manifest) if c.digest not in without])
        units: list[Unit] = []
        place = 0
        for group in groups:
            unit = Unit(contents=tuple(group), first=place, size=sum(c.size for c in group))
            units.append(unit)
            place = unit.after
        if place > MAX_CHUNKS:
            raise VerificationFailed(
                "the model is too large for one release",
                why=f"it needs {place} chunks of 16 MiB; {MAX_CHUNKS} are allowed",
                fix="split the model",
                reason="limits",
            )
        return cls(units=tuple(units))

    @property
    def chunks(self) -> int:
        return self.units[-1].after if self.units else 0

    @property
    def size(self) -> int:
        """Plaintext bytes of all chunks: each content counts once."""
        return sum(unit.size for unit in self.units)

    @property
    def contents(self) -> Iterator[Content]:
        return (content for unit in self.units for content in unit.contents)

    @cached_property
    def _firsts(self) -> list[int]:
        return [unit.first for unit in self.units]

    def unit_of(self, at: int) -> Unit:
        """The unit that holds the chunk at that place."""
        if not 0 <= at < self.chunks:
            raise InternalError("a plan has no such chunk")
        return self.units[bisect.bisect_right(self._firsts, at) - 1]

    def length(self, at: int) -> int:
        """Plaintext bytes of the chunk at that place: from 1 to chunk.SIZE."""
        return self.unit_of(at).length(at)

    def pieces(self, at: int) -> tuple[Piece, ...]:
        """What the chunk at that place holds, in order and without a gap."""
        unit = self.unit_of(at)
        if unit.chunks > 1 or len(unit.contents) == 1:
            offset = (at - unit.first) * chunk.SIZE
            return (Piece(content=unit.contents[0], offset=offset, at=0, size=unit.length(at)),)
        pieces: list[Piece] = []
        start = 0
        for content in unit.contents:
            pieces.append(Piece(content=content, offset=0, at=start, size=content.size))
            start += content.size
        return tuple(pieces)

    def only(self, units: range) -> Plan:
        """The plan of these units alone; places of chunks are those of the whole plan."""
        return Plan(units=self.units[units.start : units.stop])

    def parts(self) -> tuple[range, ...]:
        """The units of each part that one run makes, as ranges of their places among `units`.

        At least one; that of a model without a byte is empty.
        """
        return self._parts

    @cached_property
    def _parts(self) -> tuple[range, ...]:
        least = max(PART_SIZE, -(-self.size // PART_FRACTION))
        ranges: list[range] = []
        start = size = 0
        for place, unit in enumerate(self.units):
            size += unit.size
            if size >= least:
                ranges.append(range(start, place + 1))
                start, size = place + 1, 0
        if start < len(self.units) or not ranges:
            ranges.append(range(start, len(self.units)))
        return tuple(ranges)

    def places(self, number: int) -> range:
        """The places of the chunks of part `number`, from 1, of those that one run makes."""
        units = self.parts()[number - 1]
        if not units:
            return range(0)
        return range(self.units[units.start].first, self.units[units.stop - 1].after)

    def deal(self, shards: int) -> tuple[range, ...]:
        """The units of each of `shards` shards, as ranges of their places among `units`.

        Each unit belongs to one shard, by the place of its middle; a shard may have none. By its
        first chunk, the last unit of a shard would weigh nothing: of two files on two machines, one
        would get both wherever the second is the larger.
        """
        if not 1 <= shards <= MAX_PARTS:
            raise InternalError("a plan is dealt out to too many shards, or to none")
        total = max(1, self.chunks)
        owners = [(unit.first + unit.after) * shards // (2 * total) for unit in self.units]
        return tuple(
            range(bisect.bisect_left(owners, shard), bisect.bisect_right(owners, shard))
            for shard in range(shards)
        )


def _contents(manifest: Manifest) -> Iterator[Content]:
    """Each content that has bytes, once, where it first stands."""
    sizes: dict[str, int] = {EMPTY: 0}
    for resource in manifest.resources:
        known = sizes.setdefault(resource.digest, resource.size)
        if known != resource.size or (resource.size == 0 and resource.digest != EMPTY):
            raise VerificationFailed(
                "the list of the model's files is wrong",
                why=f"{resource.name[:160]!r} has {resource.size} bytes, "
                "which its SHA-256 does not fit",
                fix="sign the model again",
                reason="two-sizes",
            )
    done = {EMPTY}
    for resource in manifest.resources:
        if resource.digest not in done:
            done.add(resource.digest)
            yield Content(digest=resource.digest, size=resource.size, name=resource.name)


def _grouped(contents: list[Content]) -> list[list[Content]]:
    """Large contents alone, small ones in packs that stay open until the next does not fit.

    A group stands where its first content stands. A large content does not close a pack.
    """
    groups: list[list[Content]] = []
    pack: list[Content] = []
    room = 0
    for content in contents:
        if content.size >= chunk.SIZE:
            groups.append([content])
        elif content.size <= room:
            pack.append(content)
            room -= content.size
        else:
            pack, room = [content], chunk.SIZE - content.size
            groups.append(pack)
    return groups
