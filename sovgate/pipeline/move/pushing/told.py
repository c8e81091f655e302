"""What a push answers, zone by zone: of what it did, and of what it would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sovgate.pipeline.move.movement import Timer, place
from sovgate.pipeline.move.pushing import outgoing as outgoings
from sovgate.pipeline.move.pushing.asked import Admitted, Delivered
from sovgate.pipeline.move.pushing.reusing import Reuse, packs
from sovgate.pipeline.move.results import Moved, Pushed, Size, Written

if TYPE_CHECKING:
    from sovgate.stages import transfer


def planned(
    admitted: Admitted, found: transfer.Record | None, reuse: Reuse, timer: Timer
) -> Pushed:
    """What a push would do; `found`: the release that is in the store already."""
    from sovgate.formats.chunk import OVERHEAD
    from sovgate.formats.part import DIGEST_SIZE

    outgoing = admitted.asked.outgoing
    plan = reuse.plan(outgoing.manifest)
    parts = len(plan.parts() if outgoing.copy is None else outgoing.copy.sealed.parts)
    parts += bool(reuse.units)
    documents = [outgoing.manifest.canonical(), outgoing.signature]
    documents += [item.data for item in outgoing.documents]
    named, chunks = plan.chunks + reuse.read.chunks, plan.chunks
    crossed = plan.size + chunks * OVERHEAD
    if outgoing.shared is not None:  # they were sent before
        parts, chunks, crossed = len(outgoing.shared.parts), 0, 0
    crossed += named * 2 * DIGEST_SIZE + parts * OVERHEAD
    return _pushed(
        admitted,
        timer,
        size=(0, 0)
        if found
        else (chunks + 2 * parts + len(documents), crossed + sum(map(len, documents))),
        written=Written(
            already=found is not None,
            sequence=found.transfer.sequence if found else None,
            later=outgoings.later(outgoing, found),
            reused=reuse.taken,
            packs=packs(plan) if chunks and found is None else (0, 0),
        ),
        there=found,
    )


def pushed(done: Delivered, audit_head: str, timer: Timer) -> Pushed:
    """What a push did; `audit_head` is that of its outcome."""
    there = done.record if done.already else None
    return _pushed(
        done.admitted,
        timer,
        size=(done.written.objects, done.written.bytes),
        written=Written(
            already=done.already,
            sequence=done.record.transfer.sequence,
            record=done.record.sha256,
            audit_head=audit_head,
            later=outgoings.later(done.admitted.asked.outgoing, there),
            resumed=done.resumed,
            reused=done.reused,
            packs=done.packs,
        ),
        there=there,
    )


def _pushed(
    admitted: Admitted,
    timer: Timer,
    *,
    size: tuple[int, int],
    written: Written,
    there: transfer.Record | None,
) -> Pushed:
    """`size`: objects and bytes that crossed, or would; `there`: the release that was there."""
    asked, manifest = admitted.asked, admitted.asked.outgoing.manifest
    return Pushed(
        moved=Moved(
            release=asked.release,
            manifest=manifest.digest,
            source=place(asked.zone),
            destination=place(asked.to, admitted.located),
            store=asked.store.uri,
            run_by=asked.to.place.run_by,
        ),
        size=Size(
            files=len(manifest.resources),
            bytes=manifest.total,
            objects=size[0],
            crossed=size[1],
        ),
        written=written,
        dry_run=written.record is None,
        recipient=(asked.recipient.key_id, asked.recipient.algorithm),
        evidence=outgoings.refs(
            asked.outgoing.documents if there is None else there.transfer.evidence
        ),
        left_behind=asked.outgoing.left_behind,
        decisions=admitted.judged.lines,
        steps=tuple(timer.steps),
    )
