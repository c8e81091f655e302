"""Which units of a ledger a push takes: whole ones of its model that the zone's store still has.

Asks the store, and writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sovgate import notices
from sovgate.errors import NotFound, VerificationFailed
from sovgate.formats import chunk
from sovgate.formats.plan import Plan
from sovgate.records import Sized

if TYPE_CHECKING:
    from sovgate.formats.ledger import Origin, Row
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.plan import Content
    from sovgate.pipeline.move.pushing.asked import Asked

#: Contents that a record names one by one; more of them would not fit into it.
MAX_CONTENTS = 250_000


def contents_of(manifest: Manifest) -> dict[str, Content]:
    return {content.digest: content for content in Plan.of(manifest).contents}


def choose(rows: Sequence[Row], asked: Asked, *, dry_run: bool) -> list[Row]:
    """Whole units of the model, each content once, whose chunks and record are in the store."""
    contents = contents_of(asked.outgoing.manifest)
    rows = [row for row in rows if _fits(row, contents)]
    recorded = {origin: _recorded(asked, origin) for origin in {row.origin for row in rows}}
    rows = [row for row in rows if recorded[row.origin]]
    rows.sort(key=lambda row: -_size(row, contents))  # of packs that overlap the fullest first
    there: dict[Row, bool] = {}
    lost: dict[str, int] = {}
    while True:
        chosen = list(_apart(row for row in rows if there.get(row, True)))
        new = [row for row in chosen if row not in there]
        if not new:
            break
        for row, missing in zip(new, _missing(new, contents, asked, dry_run=dry_run), strict=True):
            there[row] = not missing
            if missing:
                lost[row.origin.release] = lost.get(row.origin.release, 0) + missing
    _tell_lost(lost, asked)
    order = {digest: place for place, digest in enumerate(contents)}
    return sorted(chosen, key=lambda row: order[row.contents[0]])


def _apart(rows: Iterable[Row]) -> Iterator[Row]:
    """Each content once, and no more than a record can name."""
    taken: set[str] = set()
    for row in rows:
        if taken.isdisjoint(row.contents) and len(taken) + len(row.contents) <= MAX_CONTENTS:
            taken.update(row.contents)
            yield row


def _size(row: Row, contents: Mapping[str, Content]) -> int:
    return sum(contents[digest].size for digest in row.contents)


def _fits(row: Row, contents: Mapping[str, Content]) -> bool:
    """Whether all of a unit is in the model, and it has the chunks that a plan would make of it."""
    if not contents.keys() >= set(row.contents):
        return False
    size = _size(row, contents)
    if len(row.contents) > 1 and (
        size > chunk.SIZE or any(contents[one].size >= chunk.SIZE for one in row.contents)
    ):
        return False
    return len(row.digests) == -(-size // chunk.SIZE)


def _recorded(asked: Asked, origin: Origin) -> bool:
    """Whether the release is in the store still, by the record that was written then."""
    from sovgate.formats.transfer import MAX_BYTES, record_name
    from sovgate.records import Release

    try:
        data = asked.store.get(record_name(Release.parse(origin.release)), most=MAX_BYTES)
    except (NotFound, VerificationFailed):
        data = b""
    if hashlib.sha256(data).hexdigest() == origin.record:
        return True
    notices.note(
        f"{origin.release} is not in {asked.store.uri} as it was pushed: none of its chunks is used"
    )
    return False


def _missing(
    rows: Sequence[Row], contents: Mapping[str, Content], asked: Asked, *, dry_run: bool
) -> Iterator[int]:
    """How many chunks of each unit the store has not whole (RULES 14)."""
    from sovgate.stages import transfer

    chunks: list[Sized] = []
    for row in rows:
        left = _size(row, contents)
        for digest in row.digests:
            size = min(chunk.SIZE, left)
            chunks.append(Sized(sha256=digest.hex(), size=size + chunk.OVERHEAD))
            left -= size
    there = iter(transfer.which_there(asked.store, chunks, read=not dry_run))
    for row in rows:
        yield [next(there) for _ in row.digests].count(False)


def _tell_lost(lost: Mapping[str, int], asked: Asked) -> None:
    for release, count in lost.items():
        chunks = "a chunk" if count == 1 else f"{count} chunks"
        notices.note(
            f"{chunks} of {release} {'is' if count == 1 else 'are'} missing or damaged in "
            f"{asked.store.uri}: what was in it is sent anew; find out who changed that release"
        )
