"""push: the rules of `sovgate.stages.transfer`, followed on the source's side.

Opens the project's keys and stores, asks policy, writes the audit log. A chain of frozen values:
asked, judged, delivered, each made from the one before.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import disk_error
from sovgate.git.ignored import keep_state_out
from sovgate.pipeline.deadline import in_time
from sovgate.pipeline.decide import contents
from sovgate.pipeline.decide.admission import admit_unsigned
from sovgate.pipeline.decide.judge import confirm
from sovgate.pipeline.drafted import drafts_beside
from sovgate.pipeline.move.movement import (
    LOOK,
    Timer,
    announced,
    check_call,
    note,
    place,
    refuse,
)
from sovgate.pipeline.move.pushing import outgoing as outgoings
from sovgate.pipeline.move.pushing.asked import Admitted, Asked, Delivered, ask, other_key
from sovgate.pipeline.move.pushing.bring import bring
from sovgate.pipeline.move.pushing.resuming import Keeping, keeping
from sovgate.pipeline.move.pushing.reusing import NOTHING, find, packs, require_key
from sovgate.pipeline.move.results import Moved, Pushed, Size, Written
from sovgate.pipeline.named_keys import refuse_misused
from sovgate.pipeline.own_roles import LOGGED, require_zone_key
from sovgate.pipeline.places import evidence_of, reads_model
from sovgate.pipeline.project import Project, open_project
from sovgate.records import DEFAULTS, Options, Release
from sovgate.stages import audit

if TYPE_CHECKING:
    from sovgate.formats.part import Closed
    from sovgate.keys._api import Signer
    from sovgate.stages import transfer


@reads_model
@in_time
def push(
    source: Path,
    *,
    release: Release,
    zone: str,
    to: str,
    signature: Path | None = None,
    options: Options = DEFAULTS,
) -> Pushed:
    """Push a model, or what `encrypt --release` made of it, from `zone` to the store of zone `to`.

    Raises UsageError, ConfigError, VerificationFailed, ResidencyMismatch, PolicyDenied,
    KeyServiceError, StoreError, DiskError, EngineError. Run it again after any of them: a release
    that is there stays, and nothing half is visible.
    """
    opened = open_project(options.project)
    timer = Timer(options.deadline)
    check_call(opened, release, zone, to)
    refuse_misused(opened.config)
    trusted = opened.trusted(zone)
    require_zone_key(opened, trusted, zone, ("transfer", *LOGGED), within=zone == to)
    beside = evidence_of(source, options, opened)
    with timer.step("verify"):
        if outgoings.is_sealed(beside, to, signature):
            outgoing = outgoings.from_copy(source, to, release, trusted, home=zone)
        else:
            admit_unsigned(beside, opened, signature)
            outgoing = outgoings.from_model(
                beside,
                trusted,
                signature=signature,
                encrypts=not (options.dry_run or _verifies_first(opened, zone, to, options)),
                options=options,
            )
    asked = ask(opened, release, zone, to, trusted, outgoing)
    require_key(asked)
    if outgoing.root is not None:
        with timer.step(LOOK):
            seen = contents.look_into(outgoing.root, outgoing.manifest, opened)
        drafts = drafts_beside(beside, outgoing.manifest.digest, options)
        asked = replace(asked, seen=seen, drafts=drafts)
    with keeping(asked, options) as kept:
        admitted = _admit(asked, timer, options)
        if options.dry_run:
            if admitted.judged.denial is not None:
                raise admitted.judged.denial
            return _planned(admitted, timer, options.state)
        return _run(admitted, timer, beside.folder, kept, options)


def _verifies_first(opened: Project, zone: str, to: str, options: Options) -> bool:
    """Whether not even bytes that turn out to be others than those signed may leave, encrypted.

    Of a copy that `encrypt` made each chunk is compared before it is sent in any case.
    """
    wanted = opened.zone(zone).verify_first or opened.zone(to).verify_first
    return options.verify_first or wanted


def _admit(asked: Asked, timer: Timer, options: Options) -> Admitted:
    """Where the store lies, that it is create-only, and what policy says. Before the first byte."""
    from sovgate.stages import transfer

    with timer.step("ask where the store lies"):
        located = asked.locate()
        transfer.require_room(asked.store, asked.release, asked.outgoing.manifest)
        if not options.dry_run:
            asked.store.probe()
            home = asked.opened.audit_store(asked.zone.name)
            if home.uri != asked.store.uri:
                home.probe()
    with timer.step("decide"):
        judged = asked.judge(located, sign=not options.dry_run)
    return Admitted(asked=asked, located=located, judged=judged)


def _planned(admitted: Admitted, timer: Timer, state: Path | None) -> Pushed:
    """What a push would do. Reads only."""
    from sovgate.formats.chunk import OVERHEAD
    from sovgate.formats.part import DIGEST_SIZE
    from sovgate.stages import transfer

    asked, outgoing = admitted.asked, admitted.asked.outgoing
    with timer.step("look at the store"):
        found = transfer.existing(
            asked.store, asked.wanted(admitted.judged), asked.trusted, read=False
        )
        reuse = NOTHING if found else find(asked, state, dry_run=True).found
    plan = reuse.plan(outgoing.manifest)
    parts = len(plan.parts() if outgoing.copy is None else outgoing.copy.sealed.parts)
    parts += bool(reuse.units)
    documents = [outgoing.manifest.canonical(), outgoing.signature]
    documents += [item.data for item in outgoing.documents]
    named = plan.chunks + reuse.read.chunks
    crossed = plan.size + plan.chunks * OVERHEAD + named * 2 * DIGEST_SIZE + parts * OVERHEAD
    return _pushed(
        admitted,
        timer,
        size=(0, 0)
        if found
        else (plan.chunks + 2 * parts + len(documents), crossed + sum(map(len, documents))),
        written=Written(
            already=found is not None,
            sequence=found.transfer.sequence if found else None,
            later=outgoings.later(outgoing, found),
            reused=reuse.taken,
            packs=packs(plan) if found is None else (0, 0),
        ),
        there=found,
    )


def _run(
    admitted: Admitted, timer: Timer, evidence: Path, kept: Keeping, options: Options
) -> Pushed:
    """From the audit intent to the outcome."""
    asked, judged = admitted.asked, admitted.judged
    options.expect(asked.outgoing.total)
    signer = asked.opened.signer(asked.zone.name)
    if asked.zone.store is None:  # its log is kept in the project's folder
        _keep_state_out(asked.opened.base)
    log = audit.Log(asked.opened.audit_store(asked.zone.name), signer, trusted=asked.trusted)
    run = log.begin()
    refuse(judged, run, asked.about, judged.refs)
    with announced(run, asked.about, judged.refs) as head:
        done = _deliver(admitted, timer, signer, head, kept, options)
        judged = done.admitted.judged
        if asked.outgoing.root is not None:
            _keep_evidence(evidence, done)
        end = note(
            run,
            "outcome",
            asked.about,
            exit_code=0,
            refs=(*judged.refs, ("transfer", done.record.sha256)),
        )
    there = done.record if done.already else None
    return _pushed(
        done.admitted,
        timer,
        size=(done.written.objects, done.written.bytes),
        written=Written(
            already=done.already,
            sequence=done.record.transfer.sequence,
            record=done.record.sha256,
            audit_head=end,
            later=outgoings.later(asked.outgoing, there),
            resumed=done.resumed,
            reused=done.reused,
            packs=done.packs,
        ),
        there=there,
    )


def _keep_state_out(base: Path) -> None:
    try:
        keep_state_out(base)
    except OSError as error:
        raise disk_error(error, "make the folder .sovgate") from error


def _deliver(
    admitted: Admitted,
    timer: Timer,
    signer: Signer,
    head: str,
    kept: Keeping,
    options: Options,
) -> Delivered:
    """The chunks, policy's last word, and only then key tables and the record (RULES 44)."""
    from sovgate.stages import transfer

    asked = admitted.asked
    with timer.step("look at the store"):
        found = transfer.existing(asked.store, asked.wanted(admitted.judged), asked.trusted)
    if found is not None:
        kept.done()
        return Delivered(admitted=admitted, record=found, already=True, written=transfer.Written())
    with timer.step("look at the store"):
        reusing = find(asked, options.state, dry_run=False)
    with timer.step("encrypt and send"):
        brought = bring(asked, signer, kept, reusing.found, options.advance)
    made: list[Closed] = []

    def closed() -> Closed:
        made.append(brought.closed())
        return made[-1]

    draft = transfer.Draft(
        release=asked.release,
        manifest=asked.outgoing.manifest.canonical(),
        signature=asked.outgoing.signature,
        source=place(asked.zone),
        evidence=asked.outgoing.documents,
        policy=admitted.judged.policy,
        project=asked.opened.digest,
        audit_head=head,
    )
    last: list[Admitted] = []

    def recheck() -> transfer.Final:
        again, moment = _confirmed(admitted)
        last.append(again)
        return transfer.Final(
            destination=place(again.asked.to, again.located),
            decisions=again.judged.documents,
            decision=again.judged.decision,
            created=moment,
        )

    with timer.step("write the record"):
        done = transfer.publish(
            asked.store, draft, recheck, closed, signer=signer, trusted=asked.trusted
        )
        timer.keep()
        reusing.remember(done.record, made[-1].parts, brought.carried)
        kept.done()
    return Delivered(
        admitted=last[-1],
        record=done.record,
        already=done.already,
        written=brought.written + done.written,
        resumed=brought.written.skipped,
        reused=reusing.found.taken,
        packs=(0, 0) if asked.outgoing.copy else packs(reusing.found.plan(asked.outgoing.manifest)),
    )


def _confirmed(admitted: Admitted) -> tuple[Admitted, datetime]:
    """Location, key and policy again, now that all bytes are known, and before a key table is.

    Raises what a denial is; KeyServiceError, "wrong-key".
    """
    asked = admitted.asked
    located = asked.locate()
    now = asked.opened.recipient(asked.to.name).key_id
    if now != asked.recipient.key_id:
        raise other_key(asked.recipient.key_id, now, asked.to.name)
    again, moment = confirm(
        admitted.judged,
        located,
        lambda: asked.judge(located, sign=True),
        anew=asked.seen is not None,
    )
    return Admitted(asked=asked, located=located, judged=again), moment


def _keep_evidence(folder: Path, done: Delivered) -> None:
    """Decisions and the record also go to the evidence beside the model."""
    from sovgate.stages import attest

    for item in done.admitted.judged.documents:
        attest.add(folder, item.role, item.data)
    attest.add(folder, "transfer", done.record.data)


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
