"""What `push` says of what it did: of one zone, or of several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sovgate.cli._emit import details
from sovgate.cli._progress import human_bytes, human_seconds

if TYPE_CHECKING:
    from sovgate.pipeline.move.results import Pushed, Written

#: What is the same in each zone.
_SHARED = ("release", "manifest", "dry-run", "from", "files", "bytes", "steps")


def rows_of(done: Sequence[Pushed]) -> Iterator[tuple[str, str]]:
    """`done` has one row a zone, in the order in which they were named."""
    first, several = done[0], len(done) > 1
    yield "release", first.moved.pinned
    for one in done:
        yield from _rows(one)
        if several:
            yield from (("reused", told) for told in _reused(one.written))
    if first.steps:
        took = ", ".join(f"{name} {human_seconds(s)}" for name, s in first.steps)
        yield from details(("took", took))
    if not several:
        yield from (("reused", told) for told in _reused(first.written))


def data_of(done: Sequence[Pushed]) -> dict[str, Any]:
    whole = _data(done[0])
    if len(done) == 1:
        return whole
    zones = [{k: v for k, v in _data(one).items() if k not in _SHARED} for one in done]
    return {name: whole[name] for name in _SHARED} | {"zones": zones}


def lines(told: Iterable[str | None]) -> str:
    """An output of several zones: one a line, as an input has them."""
    return "\n".join(one for one in told if one is not None)


def headline(done: Sequence[Pushed]) -> str:
    first = done[0]
    size = f"{_count(first.size.files, 'file')}, {human_bytes(first.size.bytes)}"
    release, to = first.moved.release, _zones(done)
    before = [one for one in done if one.written.already]
    if len(before) == len(done):
        return f"{release} is in {to} already, the same and whole"
    told = f"; {_zones(before)} had it already" if before else ""
    if first.dry_run:
        return f"would push {release}, {size}, to {to}{told}; nothing was written"
    return f"pushed {release}, {size}, to {to}{told}"


def _zones(some: Sequence[Pushed]) -> str:
    names = [one.moved.destination.zone for one in some]
    if len(names) == 1:
        return f"zone {names[0]}"
    return f"zones {', '.join(names[:-1])} and {names[-1]}"


def _rows(done: Pushed) -> Iterator[tuple[str, str]]:
    """What is said of one zone."""
    target, crossing = done.moved.destination, done.size
    yield (
        "to",
        f"zone {target.zone}, {target.provider_region}, {target.country}, {done.moved.run_by}",
    )
    yield "store", done.moved.store
    yield from details(("for key", f"{done.recipient[0]} ({done.recipient[1]})"))
    more = done.dry_run and crossing.objects
    yield (
        "crosses" if done.dry_run else "crossed",
        f"{_count(crossing.objects, 'object')}, {human_bytes(crossing.crossed)} of ciphertext "
        "and evidence" + (", and the key table, decisions and record" if more else ""),
    )
    yield "evidence", ", ".join(role for role, _ in done.evidence) or "none but the signature"
    yield from (("decision", line) for line in done.decisions)
    if done.written.sequence is not None:
        yield from details(("number", str(done.written.sequence)))
    if done.written.audit_head is not None:
        yield "audit-head", done.written.audit_head


def notes_of(done: Sequence[Pushed]) -> Iterator[str]:
    yield from dict.fromkeys(f"left behind: {line}" for one in done for line in one.left_behind)
    for one in done:
        zone = f"zone {one.moved.destination.zone}: " if len(done) > 1 else ""
        if resumed := one.written.resumed:
            were = "was" if resumed == 1 else "were"
            yield f"{zone}{_count(resumed, 'chunk')} {were} there already, and not sent again"
        if (later := one.written.later) and one.written.already:
            are = "is" if len(later) == 1 else "are"
            yield (
                f"{zone}{_count(len(later), 'newer statement')} here {are} not part of it "
                f"({', '.join(role for role, _ in later)}): push a new version, "
                "or add it where the release is promoted: sovgate promote --model"
            )
    if not done[0].dry_run:
        for one in done:
            to = one.moved.destination.zone
            yield f"there: sovgate pull {one.moved.pinned} --zone {to} -o DIR"


def _data(done: Pushed) -> dict[str, Any]:
    crossing, written = done.size, done.written
    return {
        "release": str(done.moved.release),
        "manifest": done.moved.manifest,
        "record": written.record,
        "sequence": written.sequence,
        "already": written.already,
        "dry-run": done.dry_run,
        "from": vars(done.moved.source),
        "to": vars(done.moved.destination),
        "store": done.moved.store,
        "recipient": {"key-id": done.recipient[0], "algorithm": done.recipient[1]},
        "files": crossing.files,
        "bytes": crossing.bytes,
        "objects": crossing.objects,
        "resumed": written.resumed,
        "reused": [vars(one) for one in written.reused],
        "packs": {"objects": written.packs[0], "bytes": written.packs[1]},
        "crossed": crossing.crossed,
        "evidence": [{"role": role, "sha256": sha256} for role, sha256 in done.evidence],
        "left-behind": list(done.left_behind),
        "later": [{"role": role, "sha256": sha256} for role, sha256 in written.later],
        "decisions": list(done.decisions),
        "audit-head": written.audit_head,
        "steps": [{"step": name, "seconds": round(s, 6)} for name, s in done.steps],
    }


def _reused(written: Written) -> Iterator[str]:
    """By release; and what of the rest is packs: a small file that changes makes its pack new."""
    for one in written.reused:
        yield f"{_count(one.chunks, 'chunk')} ({human_bytes(one.bytes)}) of release {one.release}"
    objects, size = written.packs
    if written.reused and objects:
        yield f"not {_count(objects, 'pack')} of small files ({human_bytes(size)})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
