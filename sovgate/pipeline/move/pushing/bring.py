"""Brings a release's chunks into its zones' stores: from a model, read once, or from copies of it.

What makes the parts of them is handed back, and is called when policy has said its last word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from sovgate.errors import InternalError
from sovgate.formats import chunk
from sovgate.pipeline.move.pushing.asked import Asked
from sovgate.pipeline.move.pushing.refusals import Refusals
from sovgate.pipeline.move.pushing.resuming import Keeping, forgetting
from sovgate.pipeline.move.pushing.reusing import Carriable, Reuse
from sovgate.records import Advance

if TYPE_CHECKING:
    from sovgate.blocks import Blocks
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.part import Closed, Finished
    from sovgate.formats.plan import Plan
    from sovgate.formats.wrap import Context
    from sovgate.keys._api import Signer
    from sovgate.stages import transfer
    from sovgate.stages.encrypt import Sent
    from sovgate.stages.encrypt.closed import Closed as Kept


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One zone that chunks are brought to, but for those of `reuse`. `row` counts the plaintext
    bytes that are there."""

    asked: Asked
    kept: Keeping
    reuse: Reuse
    row: Advance | None = None


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What was written, what makes the parts of it, and the units that were encrypted, each with
    its chunks and their keys, for the ledger."""

    written: transfer.Written
    closed: Callable[[], Closed]
    carried: Sequence[Carriable] = field(default=(), repr=False)


def bring(
    lanes: Sequence[Lane], signer: Signer, refusals: Refusals, advance: Advance | None
) -> tuple[Brought, ...]:
    """Bring all chunks to each zone, in the order of `lanes`. `advance`: bytes that were read.

    Of a model each byte is read once for all zones that use the same of earlier releases again: for
    others its small files may be packed otherwise. Raises as `send` and stores do.
    """
    if not lanes:
        return ()
    if lanes[0].asked.outgoing.shared is not None:
        return tuple(_there(lane, advance) for lane in lanes)
    if lanes[0].asked.outgoing.copy is None:
        return _sent(lanes, signer, refusals, advance)
    return tuple(_carried(lane, refusals, advance) for lane in lanes)


def _there(lane: Lane, advance: Advance | None) -> Brought:
    """Of a release whose shards other machines sent: that all of it is there."""
    from sovgate.stages import transfer

    shared = lane.asked.outgoing.shared
    if shared is None:
        raise InternalError("of several zones some have shards")
    shared.require_there(lane.asked.store, advance)
    return Brought(written=transfer.Written(), closed=shared.closed)


def _carried(lane: Lane, refusals: Refusals, advance: Advance | None) -> Brought:
    from sovgate.formats.part import Closed
    from sovgate.stages import transfer

    outgoing = lane.asked.outgoing
    copy = outgoing.copy
    if copy is None:
        raise InternalError("of several zones some have an encrypted copy")

    def count(done: int) -> None:
        for told in (advance, lane.row):
            if told is not None:
                told(done)

    with refusals.by(lane.asked.to.name):
        parts = copy.sealed.parts
        closed = Closed(
            parts=parts,
            lists=tuple(copy.read(part.list, "chunk list") for part in parts),
            tables=tuple(copy.read(part.keytable, "key table") for part in parts),
        )
        chunks = [one for listed in copy.listed(outgoing.manifest) for one in listed.chunks]
        written = transfer.carry(copy.get_chunk, lane.asked.store, chunks, advance=count)
    return Brought(written=written, closed=lambda: closed)


def _sent(
    lanes: Sequence[Lane], signer: Signer, refusals: Refusals, advance: Advance | None
) -> tuple[Brought, ...]:
    from sovgate.stages.encrypt import require_no_git

    require_no_git(lanes[0].asked.outgoing.manifest)
    zones = [_Zone(lane, signer, refusals) for lane in lanes]
    alike: dict[str | None, list[_Zone]] = {}
    for zone in zones:
        alike.setdefault(zone.reuse.digest, []).append(zone)
    with forgetting([lane.kept for lane in lanes]):
        _read_unsent(zones, advance)
        for some in alike.values():
            _send_to(some, advance)
    return tuple(zone.brought() for zone in zones)


def _read_unsent(zones: Sequence[_Zone], advance: Advance | None) -> None:
    """Read what every zone has from earlier releases as all files are: what is said of them is
    said of bytes."""
    from sovgate.formats.plan import Plan
    from sovgate.stages.encrypt import send

    first = zones[0]
    sent = frozenset(content.digest for zone in zones for content in zone.plan.contents)
    rest = Plan.of(first.manifest, without=sent)
    if rest.units:
        send(first.manifest, rest, first.root, [], looked=first.looked, advance=advance)


def _send_to(zones: Sequence[_Zone], advance: Advance | None) -> None:
    """Zones that lack the same: one read for all of them."""
    from sovgate.stages.encrypt import send

    first = zones[0]
    plan, looked = first.plan, first.looked
    for number, units in enumerate(plan.parts(), start=1):
        only, last = plan.only(units), number == len(plan.parts())
        found = {} if last else {zone: zone.found(number) for zone in zones}
        lacking = [zone for zone in zones if found.get(zone) is None]
        there = [one for one in found.values() if one is not None]
        # Of the files of a closed part, what is said of them now is to be shown anew.
        if lacking or not all(one.covers(looked) for one in there):
            to = [zone.bound for zone in lacking]
            sent = send(first.manifest, only, first.root, to, looked=looked, advance=advance)
            for zone, one in zip(lacking, sent, strict=True):
                zone.sent(one, number)
        elif advance is not None:
            advance(only.size)
        if not last:  # the last one is closed when policy has said its last word
            for zone in lacking:
                zone.close(_looked_of(only, first.manifest, looked))


class _Zone:
    """One zone's parts so far, each with what closes it. Holds secrets: has no repr of its own."""

    def __init__(self, lane: Lane, signer: Signer, refusals: Refusals) -> None:
        asked = lane.asked
        if asked.outgoing.root is None or asked.seen is None:
            raise InternalError("a push has neither a model nor an encrypted copy")
        self.manifest, self.root = asked.outgoing.manifest, asked.outgoing.root
        self.looked = asked.seen.looked  # what was looked into is what is hashed, and leaves
        self.reuse, self.plan = lane.reuse, lane.reuse.plan(self.manifest)
        self._asked, self._kept, self._row, self._refusals = asked, lane.kept, lane.row, refusals
        with refusals.by(asked.to.name):
            bound = lane.kept.bound(signer, self.plan, self.reuse.digest)
        self.bound = replace(bound, put=partial(self._put, bound.put))
        self._parts: list[Callable[[], Finished]] = []
        #: Units that were encrypted, by this run or, where the keys were kept, by an earlier one.
        self._carried: list[Carriable] = []

    def _put(self, put: Callable[[str, memoryview], None], sha256: str, data: memoryview) -> None:
        put(sha256, data)
        self._count(len(data) - chunk.OVERHEAD)

    def _count(self, size: int) -> None:
        if self._row is not None:
            self._row(size)

    @property
    def _context(self) -> Context:
        from sovgate.formats.wrap import Context

        return Context(
            zone=self._asked.to.name,
            release=str(self._asked.release),
            manifest=self.manifest.digest,
        )

    def found(self, number: int) -> Kept | None:
        """A part that an earlier run closed."""
        found = self._kept.closed(number)
        if found is None:
            return None
        self._parts.append(partial(_same, found.finished))
        keys = self._kept.keys_of(number, found.digests)
        if keys is not None:
            self._carry(number, found.digests, keys)
        self._count(self.plan.only(self.plan.parts()[number - 1]).size)
        return found

    def sent(self, sent: Sent, number: int) -> None:
        from sovgate.stages.encrypt import close_part

        beside = 1 if self.reuse.units else 0
        close = partial(close_part, sent, self.plan, number, beside=beside)
        self._parts.append(lambda: close(self._asked.recipient, self._context))
        places = self.plan.places(number)
        some = slice(places.start, places.stop)
        self._carry(number, sent.digests[some], sent.keys[some])

    def _carry(self, number: int, digests: Sequence[bytes], keys: Sequence[bytes]) -> None:
        units, first = self.plan.parts()[number - 1], self.plan.places(number).start
        for unit in self.plan.units[units.start : units.stop]:
            mine = slice(unit.first - first, unit.after - first)
            self._carried.append((unit, digests[mine], keys[mine]))

    def close(self, looked: Mapping[str, Blocks]) -> None:
        """Close the last part that was sent, and keep it."""
        with self._refusals.by(self._asked.to.name):
            finished = self._parts[-1]()
            self._parts[-1] = partial(_same, finished)
            self._kept.close_part(finished, looked)

    def _closed(self) -> Closed:
        """All parts; that of what is used again is made anew, and is the last."""
        from sovgate.formats.part import Closed

        own = [close() for close in self._parts]
        if not self.reuse.units:
            return Closed.of(own)
        return Closed.of([*own, self.reuse.close(len(own), self._asked, self._context)])

    def brought(self) -> Brought:
        from sovgate.stages import transfer

        sizes, skipped = self._kept.sizes, self._kept.skipped
        written = transfer.Written(objects=len(sizes), bytes=sum(sizes), skipped=skipped)
        return Brought(written=written, closed=self._closed, carried=self._carried)


def _same(finished: Finished) -> Finished:
    return finished


def _looked_of(only: Plan, manifest: Manifest, looked: Mapping[str, Blocks]) -> dict[str, Blocks]:
    """What was read of the files that are in a part, those of equal content too."""
    inside = {content.digest for content in only.contents}
    names = (one.name for one in manifest.resources if one.digest in inside)
    return {name: looked[name] for name in names}
