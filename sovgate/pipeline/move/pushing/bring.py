"""Brings a release's chunks into its zone's store: from a model, read once, or from a copy of it.

What makes the parts of them is handed back, and is called when policy has said its last word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sovgate.errors import InternalError
from sovgate.pipeline.move.pushing.asked import Asked
from sovgate.pipeline.move.pushing.resuming import Keeping
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
class Brought:
    """What was written, what makes the parts of it, and the units that were encrypted, each with
    its chunks and their keys, for the ledger."""

    written: transfer.Written
    closed: Callable[[], Closed]
    carried: Sequence[Carriable] = ()


def bring(
    asked: Asked, signer: Signer, kept: Keeping, reuse: Reuse, advance: Advance | None
) -> Brought:
    """Bring all chunks to the zone but those of `reuse`. Raises as `send` and stores do."""
    from sovgate.formats.part import Closed
    from sovgate.stages import transfer

    outgoing = asked.outgoing
    if outgoing.copy is None:
        return _sent(asked, signer, kept, reuse, advance)
    copy = outgoing.copy
    parts = copy.sealed.parts
    closed = Closed(
        parts=parts,
        lists=tuple(copy.read(part.list, "chunk list") for part in parts),
        tables=tuple(copy.read(part.keytable, "key table") for part in parts),
    )
    chunks = [one for listed in copy.listed(outgoing.manifest) for one in listed.chunks]
    written = transfer.carry(copy.get_chunk, asked.store, chunks, advance=advance)
    return Brought(written=written, closed=lambda: closed)


def _sent(
    asked: Asked, signer: Signer, kept: Keeping, reuse: Reuse, advance: Advance | None
) -> Brought:
    from sovgate.formats.part import Closed
    from sovgate.stages import transfer
    from sovgate.stages.encrypt import require_no_git, send

    manifest, root = asked.outgoing.manifest, asked.outgoing.root
    if root is None or asked.seen is None:
        raise InternalError("a push has neither a model nor an encrypted copy")
    require_no_git(manifest)
    plan = reuse.plan(manifest)
    looked = asked.seen.looked  # what was looked into is what is hashed, and leaves
    if reuse.read.units:  # read as all files are, since what is said of them is said of bytes
        send(manifest, reuse.read, root, [], looked=looked, advance=advance)
    parts = _Parts(asked, kept, reuse, plan)
    with kept.sending(signer, plan, reuse.digest) as bound:
        for number, units in enumerate(plan.parts(), start=1):
            only, last = plan.only(units), number == len(plan.parts())
            found = None if last else kept.closed(number)
            if found is not None:
                if not found.covers(looked):  # what is said of its files now is to be shown anew
                    send(manifest, only, root, [], looked=looked, advance=advance)
                elif advance is not None:
                    advance(only.size)
                parts.found(found, number)
                continue
            (sent,) = send(manifest, only, root, [bound], looked=looked, advance=advance)
            parts.sent(sent, number)
            if not last:  # the last one is closed when policy has said its last word
                kept.close_part(parts.close(), _looked_of(only, manifest, looked))
    written = transfer.Written(objects=len(kept.sizes), bytes=sum(kept.sizes), skipped=kept.skipped)
    return Brought(
        written=written, closed=lambda: Closed.of(parts.finished()), carried=parts.carried
    )


class _Parts:
    """One zone's parts so far, each with what closes it. Holds secrets: has no repr of its own."""

    def __init__(self, asked: Asked, kept: Keeping, reuse: Reuse, plan: Plan) -> None:
        self._asked, self._kept, self._reuse, self._plan = asked, kept, reuse, plan
        self._parts: list[Callable[[], Finished]] = []
        #: Units that were encrypted, by this run or, where the keys were kept, by an earlier one.
        self.carried: list[Carriable] = []

    @property
    def _context(self) -> Context:
        from sovgate.formats.wrap import Context

        asked = self._asked
        return Context(
            zone=asked.to.name,
            release=str(asked.release),
            manifest=asked.outgoing.manifest.digest,
        )

    def found(self, found: Kept, number: int) -> None:
        """A part that an earlier run closed."""
        self._parts.append(partial(_same, found.finished))
        keys = self._kept.keys_of(number, found.digests)
        if keys is not None:
            self._carry(number, found.digests, keys)

    def sent(self, sent: Sent, number: int) -> None:
        from sovgate.stages.encrypt import close_part

        beside = 1 if self._reuse.units else 0
        close = partial(close_part, sent, self._plan, number, beside=beside)
        self._parts.append(lambda: close(self._asked.recipient, self._context))
        places = self._plan.places(number)
        some = slice(places.start, places.stop)
        self._carry(number, sent.digests[some], sent.keys[some])

    def _carry(self, number: int, digests: Sequence[bytes], keys: Sequence[bytes]) -> None:
        units, first = self._plan.parts()[number - 1], self._plan.places(number).start
        for unit in self._plan.units[units.start : units.stop]:
            mine = slice(unit.first - first, unit.after - first)
            self.carried.append((unit, digests[mine], keys[mine]))

    def close(self) -> Finished:
        """The last part that was sent."""
        finished = self._parts[-1]()
        self._parts[-1] = partial(_same, finished)
        return finished

    def finished(self) -> list[Finished]:
        """All of them; that of what is used again is made anew, and is the last."""
        own = [close() for close in self._parts]
        if not self._reuse.units:
            return own
        return [*own, self._reuse.close(len(own), self._asked, self._context)]


def _same(finished: Finished) -> Finished:
    return finished


def _looked_of(only: Plan, manifest: Manifest, looked: Mapping[str, Blocks]) -> dict[str, Blocks]:
    """What was read of the files that are in a part, those of equal content too."""
    inside = {content.digest for content in only.contents}
    names = (one.name for one in manifest.resources if one.digest in inside)
    return {name: looked[name] for name in names}
