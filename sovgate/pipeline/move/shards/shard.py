"""push --shard i/n: one machine's share of a release. It is a push of its own, but for its end.

Reads and hashes the files of its own units, asks policy about them, sends their chunks, and leaves
a signed part in a folder that the machines share. Opens the project's keys and stores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sovgate.errors import (
    InternalError,
    StoreUnfit,
    UsageError,
    VerificationFailed,
)
from sovgate.formats.chunk import OVERHEAD
from sovgate.pipeline.deadline import in_time
from sovgate.pipeline.decide import contents
from sovgate.pipeline.decide.admission import admit_unsigned
from sovgate.pipeline.drafted import drafts_beside
from sovgate.pipeline.move.movement import LOOK, Timer, announced, check_call, note, place, refuse
from sovgate.pipeline.move.push import admit, verifies_first
from sovgate.pipeline.move.pushing import outgoing as outgoings
from sovgate.pipeline.move.pushing.asked import Admitted, Asked, Call, ask, require_pin
from sovgate.pipeline.move.pushing.deliver import confirmed, keep_log_out
from sovgate.pipeline.move.pushing.refusals import Refusals
from sovgate.pipeline.move.pushing.resuming import Keeping, forgetting, keeping
from sovgate.pipeline.move.results import Moved, Part, Sharded, Size
from sovgate.pipeline.move.shards import facts
from sovgate.pipeline.move.shards import folder as parts
from sovgate.pipeline.move.shards.apart import refuse_others, require_apart
from sovgate.pipeline.move.shards.share import Shard, Work, refuse_reuse
from sovgate.pipeline.named_keys import refuse_misused
from sovgate.pipeline.own_roles import LOGGED, require_zone_key
from sovgate.pipeline.places import evidence_of, reads_model
from sovgate.pipeline.project import Project, open_project
from sovgate.records import DEFAULTS, Advance, Options, Release
from sovgate.stages import audit

if TYPE_CHECKING:
    from sovgate.formats.part import Finished
    from sovgate.formats.partrecord import Facts, PartRecord
    from sovgate.keys._api import Signer
    from sovgate.pipeline.move.shards.folder import Kept
    from sovgate.stages.attest import Folders
    from sovgate.stages.encrypt import Sent
    from sovgate.stages.trust import Trusted


@reads_model
@in_time
def push_shard(
    shard: Shard,
    *,
    release: Release,
    zone: str,
    to: str,
    signature: Path | None = None,
    options: Options = DEFAULTS,
) -> Sharded:
    """Send one shard of a model from `zone` to the store of zone `to`, and leave its part.

    Raises as `push` does. Run it again after any error: it goes on where it stopped.
    """
    call = Call(refusals=Refusals((to,)), timer=Timer(options.deadline), options=options)
    opened = open_project(options.project)
    check_call(opened, release, zone, to)
    refuse_misused(opened.config)
    trusted = opened.trusted(zone)
    require_zone_key(opened, trusted, zone, ("part", *LOGGED))
    beside = evidence_of(shard.model, options, opened)
    with call.timer.step("verify"):
        outgoing = _outgoing(beside, opened, trusted, to, signature, options)
    require_pin(release, outgoing.manifest.digest)
    outgoing = replace(outgoing, shard=(shard.number, shard.of))
    asked = ask(opened, release, zone, to, trusted, outgoing)
    refuse_reuse(asked)
    require_apart(shard.folder, beside.model, asked, options.state)
    refuse_others(shard, asked)
    with call.timer.step(LOOK):
        seen = contents.look_into(_root(outgoing), outgoing.manifest, opened, outgoing.names)
    drafts = drafts_beside(beside, outgoing.manifest.digest, options)
    asked = replace(asked, seen=seen, drafts=drafts)
    work = Work.of(outgoing.manifest, shard)
    if not options.dry_run and verifies_first(opened, zone, (to,), options):
        with call.timer.step("hash"):
            _hash(asked, work, options.advance)
    with keeping({to: asked}, call.refusals, options) as kept:
        (admitted,) = admit({to: asked}, call).values()
        if not options.dry_run:
            return _run(admitted, work, kept[to], call)
        admitted.require()
        crossed = (work.chunks, work.only.size + work.chunks * OVERHEAD)
        return _sharded(_Done(admitted=admitted, crossed=crossed), work, call.timer)


def _outgoing(
    beside: Folders,
    opened: Project,
    trusted: tuple[Trusted, ...],
    to: str,
    signature: Path | None,
    options: Options,
) -> outgoings.Outgoing:
    """The signed model, held against its list of files. Raises as `outgoings.from_model`;
    UsageError, VerificationFailed."""
    if outgoings.is_sealed(beside, to, signature):
        raise UsageError(
            f"{str(beside.model)!r} is an encrypted copy, and is sent by one machine",
            why="its chunks are made already",
            fix="push it without --shard, or name the model itself",
            reason="ambiguous-source",
        )
    admit_unsigned(beside, opened, signature)
    _, bundle = beside.read_signature(signature)
    require_told(bundle, trusted)
    return outgoings.from_model(
        beside, trusted, signature=signature, encrypts=True, options=options
    )


def require_told(bundle: bytes, trusted: tuple[Trusted, ...]) -> None:
    """The signature alone has to tell size and SHA-256 of each file: no machine reads them all.

    Raises VerificationFailed, reason "unsupported".
    """
    if not outgoings.tells_all(bundle, trusted):
        raise VerificationFailed(
            "the signature does not tell the size and the SHA-256 of each file",
            why="each machine reads only its own share of the model",
            fix="sign the model with sovgate, or push it from one machine",
            reason="unsupported",
        )


@dataclass(frozen=True, kw_only=True)
class _Done:
    """What is in the folder of parts, and the word that it is there by; None on a dry run.

    already  an earlier run left it
    crossed  chunks and bytes that crossed, or would
    resumed  chunks that were in the store before
    """

    admitted: Admitted
    part: Kept | None = None
    already: bool = False
    crossed: tuple[int, int] = (0, 0)
    resumed: int = 0
    head: str | None = None


def _run(admitted: Admitted, work: Work, kept: Keeping, call: Call) -> Sharded:
    """From the audit intent to the outcome."""
    asked, judged, timer = admitted.asked, admitted.judged, call.timer
    call.options.expect(work.only.size)
    signer = asked.opened.signer(asked.zone.name)
    if asked.zone.store is None:  # its log is kept in the project's folder
        keep_log_out(asked.opened.base)
    log = audit.Log(asked.opened.audit_store(asked.zone.name), signer, trusted=asked.trusted)
    run = log.begin()
    refuse(judged, run, asked.about, judged.refs)
    with announced(run, asked.about, judged.refs) as head:
        with timer.step("look at what is there"):
            admitted.existing(read=False)  # another of that name: said before a byte is sent
            part = _found(asked, work, signer)
        already = part is not None
        if part is None:
            with_ = _Run(signer, head, kept)
            admitted, part = _deliver(admitted, work, timer, with_, call.options.advance)
        kept.done()
        refs = (*admitted.judged.refs, ("part", part.sha256))
        end = note(run, "outcome", asked.about, exit_code=0, refs=refs)
    done = _Done(
        admitted=admitted,
        part=part,
        already=already,
        crossed=(len(kept.sizes), sum(kept.sizes)),
        resumed=kept.skipped,
        head=end,
    )
    return _sharded(done, work, timer)


def _found(asked: Asked, work: Work, signer: Signer) -> Kept | None:
    """What an earlier run of this shard left, if this one would leave the same, and the store has
    all of it (RULES 14, 32). Evidence may have come since, but none may be gone."""
    from sovgate.stages import transfer
    from sovgate.stages.trust import said_by

    shard = work.shard
    found = parts.find(
        shard.folder, shard.number, parts.Expected.of_asked(asked, shard.of), asked.trusted
    )
    if found is None or said_by(found.data, signer, asked.trusted, "part") is None:
        return None
    there = {item.sha256 for item in asked.outgoing.evidence}
    if found.record.facts != _facts(asked) or not there.issuperset(found.record.evidence):
        return None
    try:
        whole = transfer.all_there(asked.store, found.chunks(work.plan))
    except StoreUnfit:  # they lie under a key that the store's URI no longer names
        whole = False
    return found if whole else None


class _Run(NamedTuple):
    signer: Signer
    head: str
    kept: Keeping


def _deliver(
    admitted: Admitted, work: Work, timer: Timer, run: _Run, advance: Advance | None
) -> tuple[Admitted, Kept]:
    """The chunks, policy's word about them, and only then the key table, which stays here."""
    from sovgate.formats.wrap import Context
    from sovgate.stages.encrypt import close_shard

    asked, shard = admitted.asked, work.shard
    with timer.step("encrypt and send"):
        sent = _send(asked, work, run, advance)
    with timer.step("write the part"):
        again, moment = confirmed(admitted)
        context = Context(
            zone=asked.to.name,
            release=str(asked.release),
            manifest=asked.outgoing.manifest.digest,
        )
        which = (shard.number, shard.of)
        finished = close_shard(sent, work.plan, which, asked.recipient, context)
        data, record = _sealed(again.asked, finished, run, moment)
        parts.write(shard.folder, finished, data)
        timer.keep()
    return again, parts.Kept(record=record, finished=finished, data=data)


def _send(asked: Asked, work: Work, run: _Run, advance: Advance | None) -> Sent:
    """Read the shard's files once, and send their chunks."""
    from sovgate.stages.encrypt import require_no_git, send

    manifest, root, looked = asked.outgoing.manifest, _root(asked.outgoing), _seen(asked).looked
    require_no_git(manifest)
    with forgetting([run.kept]):
        to = [run.kept.bound(run.signer, work.only)]
        (sent,) = send(manifest, work.only, root, to, looked=looked, advance=advance)
    return sent


def _hash(asked: Asked, work: Work, advance: Advance | None) -> None:
    """Show that the shard's files are what was signed before a byte of them leaves."""
    from sovgate.stages.encrypt import send

    manifest, root, looked = asked.outgoing.manifest, _root(asked.outgoing), _seen(asked).looked
    send(manifest, work.only, root, [], looked=looked, advance=advance)


def _root(outgoing: outgoings.Outgoing) -> Path:
    if outgoing.root is None:
        raise InternalError("a shard is sent of a model that is not here")
    return outgoing.root


def _seen(asked: Asked) -> contents.Seen:
    if asked.seen is None:
        raise InternalError("a shard is sent of a model that nobody looked into")
    return asked.seen


def _facts(asked: Asked) -> Facts:
    return facts.told(_seen(asked).contents)


def _sealed(
    asked: Asked, finished: Finished, run: _Run, moment: datetime
) -> tuple[bytes, PartRecord]:
    """The signed part. Raises KeyServiceError, VerificationFailed ("limits")."""
    from sovgate.formats.partrecord import PartRecord
    from sovgate.stages.seal import seal

    said = parts.Expected.of_asked(asked, finished.part.of)
    record = PartRecord(
        release=asked.release,
        manifest=asked.outgoing.manifest.digest,
        source=said.source,
        destination=said.destination,
        part=finished.part,
        facts=_facts(asked),
        evidence=tuple(sorted({item.sha256 for item in asked.outgoing.documents})),
        audit_head=run.head,
        created=moment,
    )
    return seal(record.statement(), run.signer), record


def _sharded(done: _Done, work: Work, timer: Timer) -> Sharded:
    asked, shard = done.admitted.asked, work.shard
    manifest, names = asked.outgoing.manifest, asked.outgoing.names or ()
    sizes = [one.size for one in manifest.resources if one.name in names]
    return Sharded(
        moved=Moved(
            release=asked.release,
            manifest=manifest.digest,
            source=place(asked.zone),
            destination=place(asked.to, done.admitted.located),
            store=asked.store.uri,
            run_by=asked.to.place.run_by,
        ),
        size=Size(
            files=len(sizes), bytes=sum(sizes), objects=done.crossed[0], crossed=done.crossed[1]
        ),
        part=Part(
            number=shard.number,
            of=shard.of,
            folder=shard.folder,
            sha256=None if done.part is None else done.part.sha256,
            already=done.already,
        ),
        recipient=(asked.recipient.key_id, asked.recipient.algorithm),
        audit_head=done.head,
        resumed=done.resumed,
        decisions=done.admitted.judged.lines,
        steps=tuple(timer.steps),
    )
