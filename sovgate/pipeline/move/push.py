"""push: the rules of `sovgate.stages.transfer`, followed on the source's side.

Opens the project's keys and stores, asks policy, writes the audit log, and keeps the outbox.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import KeyServiceError, UsageError
from sovgate.formats.auditentry import About
from sovgate.pipeline.decide import contents
from sovgate.pipeline.decide.admission import admit_unsigned
from sovgate.pipeline.decide.judge import (
    Judged,
    confirm,
    judge,
    known_with_signature,
    transfer_questions,
)
from sovgate.pipeline.drafted import Drafts, drafts_beside
from sovgate.pipeline.move import outgoing as outgoings
from sovgate.pipeline.move.copies import encrypted_copy, makers
from sovgate.pipeline.move.movement import (
    Timer,
    announced,
    check_call,
    note,
    place,
    refuse,
)
from sovgate.pipeline.move.outbox import Outbox, open_blob
from sovgate.pipeline.move.results import Delivered, Moved, Pushed, Size, Written
from sovgate.pipeline.named_keys import refuse_misused
from sovgate.pipeline.own_roles import LOGGED, require_zone_key
from sovgate.pipeline.places import evidence_of, reads_model
from sovgate.pipeline.project import Project, open_project
from sovgate.records import DEFAULTS, Advance, Options, Release
from sovgate.stages import audit

if TYPE_CHECKING:
    from sovgate.keys._api import Recipient, Signer
    from sovgate.pipeline.move.outgoing import Outgoing
    from sovgate.stages.transfer import Final, Located, Record, Wanted
    from sovgate.stages.trust import Trusted
    from sovgate.stores._api import Store


@reads_model
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
    KeyServiceError, StoreError, DiskError, EngineError. Run it again after any of them: what was
    done stays done, and nothing half is visible.
    """
    opened = open_project(options.project)
    timer = Timer()
    check_call(opened, release, zone, to)
    refuse_misused(opened.config)
    trusted = opened.trusted(zone)
    require_zone_key(opened, trusted, zone, ("transfer", *LOGGED), within=zone == to)
    beside = evidence_of(source, options, opened)
    with timer.step("verify"):
        if outgoings.is_sealed(beside, to, signature):
            outgoing = outgoings.from_sealed(source, to, release, trusted, home=zone)
        else:
            admit_unsigned(beside, opened, signature)
            outgoing = outgoings.from_model(
                beside,
                trusted,
                signature=signature,
                encrypts=not options.dry_run,
                options=options,
            )
    move = _Move(opened, release, zone, to, trusted, outgoing)
    if outgoing.root is not None:
        move.drafts = drafts_beside(beside, outgoing.manifest.digest, options)
    with timer.step("ask where the store lies"):
        move.locate()
        if not options.dry_run:
            move.probe()
    with timer.step("decide"):
        judged = move.judge(sign=not options.dry_run)
    if options.dry_run:
        if judged.denial is not None:
            raise judged.denial
        return move.plan(judged, timer)
    return move.run(judged, timer, beside.folder, options)


class _Move:
    """One push under way: what is known of it so far."""

    def __init__(
        self,
        opened: Project,
        release: Release,
        zone: str,
        to: str,
        trusted: tuple[Trusted, ...],
        outgoing: Outgoing,
    ) -> None:
        if release.pin is not None and release.pin != outgoing.manifest.digest:
            raise UsageError(
                f"the model is not the one that {release} is pinned to",
                why=f"its manifest is sha256:{outgoing.manifest.digest}",
                fix="remove the pin, or name the model that it belongs to",
                reason="wrong-pin",
            )
        self.opened, self.trusted, self.outgoing = opened, trusted, outgoing
        self.release = Release(model=release.model, version=release.version)
        self.zone, self.to = opened.zone(zone), opened.zone(to)
        self.store: Store = opened.store(to)
        self.recipient: Recipient = opened.recipient(to)
        self.located: Located | None = None
        self.drafts: Drafts | None = None
        self.final: Judged | None = None
        self.seen: contents.Seen | None = None
        if outgoing.root is None:  # encrypted before: only what somebody signed is known of it
            digest = outgoing.manifest.digest
            self.contents = contents.of_evidence(outgoing.evidence, trusted, digest)
        else:
            self.seen = contents.look_into(outgoing.root, outgoing.manifest, opened)
            self.contents = self.seen.contents
        if (
            outgoing.sealed is not None
            and outgoing.sealed.recipient.key_id != self.recipient.key_id
        ):
            raise _other_key(outgoing.sealed.recipient.key_id, self.recipient.key_id, to)

    def locate(self) -> Located:
        from sovgate.stages import transfer

        self.located = transfer.locate(self.store, zone=self.to.name, declared=self.to.region)
        return self.located

    def probe(self) -> None:
        self.store.probe()
        home = self.opened.audit_store(self.zone.name)
        if home.uri != self.store.uri:
            home.probe()

    def judge(self, *, sign: bool) -> Judged:
        assert self.located is not None  # noqa: S101 - locate comes first
        judged = judge(
            self.opened,
            transfer_questions(
                self.release,
                self.outgoing.manifest.digest,
                source=self.zone.name,
                destination=self.to.name,
            ),
            known_with_signature(
                self.outgoing.signature,
                self.outgoing.evidence,
                trusted=self.trusted,
                locations={self.to.name: self.located},
                contents=self.contents,
                drafts=self.drafts,
            ),
        )
        return judged.signed(self.opened.signer(self.zone.name)) if sign else judged

    @property
    def about(self) -> About:
        return About(
            action="push",
            model=self.release.model,
            release=self.release,
            manifest=self.outgoing.manifest.digest,
            source=self.zone.name,
            destination=self.to.name,
        )

    def wanted(self, judged: Judged) -> Wanted:
        from sovgate.stages.transfer import Wanted, record_payload

        return Wanted(
            release=self.release,
            manifest=self.outgoing.manifest.digest,
            source=self.zone.name,
            destination=self.to.name,
            policy=judged.policy,
            recipient=self.recipient.key_id,
            records=frozenset(
                record_payload(item.data)
                for item in self.outgoing.documents
                if item.role == "provenance"
            ),
        )

    def plan(self, judged: Judged, timer: Timer) -> Pushed:
        """What a push would do. Reads only."""
        from sovgate.formats.stream import Layout
        from sovgate.stages import transfer

        with timer.step("look at the store"):
            found = transfer.existing(self.store, self.wanted(judged), self.trusted, read=False)
        contents = {(r.digest, r.size) for r in self.outgoing.manifest.resources}
        sizes = [Layout(size=size).ciphertext_size for _, size in contents]
        sizes += [len(self.outgoing.signature), self.outgoing.manifest.sized.size]
        sizes += [len(item.data) for item in self.outgoing.documents]
        return self._pushed(
            timer,
            judged,
            objects=0 if found else len(sizes),
            crossed=0 if found else sum(sizes),
            written=Written(
                already=found is not None,
                sequence=found.transfer.sequence if found else None,
                later=outgoings.later(self.outgoing, found),
            ),
            there=found,
        )

    def run(
        self,
        judged: Judged,
        timer: Timer,
        evidence: Path,
        options: Options,
    ) -> Pushed:
        """From the audit intent to the outcome."""
        # Read once to encrypt, and once more to upload.
        options.expect(self.outgoing.manifest.total * (1 if self.outgoing.root is None else 2))
        signer = self.opened.signer(self.zone.name)
        log = audit.Log(self.opened.audit_store(self.zone.name), signer, trusted=self.trusted)
        run = log.begin()
        refuse(judged, run, self.about, judged.refs)
        with (
            announced(run, self.about, judged.refs) as head,
            Outbox(self.opened.base, self.to.name, self.release) as outbox,
        ):
            done = self._deliver(judged, timer, outbox, signer, head, options.progress)
            judged = self.final or judged
            if self.outgoing.root is not None:
                self._keep_evidence(evidence, judged, done.record)
            end = note(
                run,
                "outcome",
                self.about,
                exit_code=0,
                refs=(*judged.refs, ("transfer", done.record.sha256)),
            )
            outbox.remove()
        return self._pushed(
            timer,
            judged,
            objects=done.written,
            crossed=done.written_bytes,
            written=Written(
                already=done.already,
                sequence=done.record.transfer.sequence,
                record=done.record.sha256,
                audit_head=end,
                reused=done.reused,
                unused=done.unused,
                later=outgoings.later(self.outgoing, done.record if done.already else None),
            ),
            there=done.record if done.already else None,
        )

    def _deliver(
        self,
        judged: Judged,
        timer: Timer,
        outbox: Outbox,
        signer: Signer,
        head: str,
        advance: Advance | None,
    ) -> Delivered:
        from sovgate.stages import transfer
        from sovgate.stages.encrypt import ZoneKey

        with timer.step("look at the store"):
            found = transfer.existing(self.store, self.wanted(judged), self.trusted)
        if found is not None:
            return Delivered(record=found, already=True)
        with timer.step("encrypt"):
            copy = encrypted_copy(
                self.outgoing,
                outbox,
                ZoneKey(zone=self.to.name, recipient=self.recipient, maker=signer),
                (signer.public_key, *makers(self.trusted, self.zone.name)),
                self.seen,
                advance,
            )
        draft = transfer.Draft(
            release=self.release,
            source=place(self.zone),
            evidence=self.outgoing.documents,
            policy=judged.policy,
            project=self.opened.digest,
            audit_head=head,
        )
        with timer.step("upload"):
            done = transfer.publish(
                self.store,
                copy.sealed,
                lambda sha256: open_blob(copy.folder, sha256),
                draft,
                lambda: self._recheck(judged),
                signer=signer,
                trusted=self.trusted,
                advance=advance,
            )
        return Delivered(
            record=done.record,
            already=done.already,
            written=done.written,
            written_bytes=done.written_bytes,
            reused=copy.reused,
            unused=copy.unused,
        )

    def _recheck(self, judged: Judged) -> Final:
        """Just before the record: location and key again, and policy if its word has run out."""
        from sovgate.stages.transfer import Final

        located = self.locate()
        now = self.opened.recipient(self.to.name).key_id
        if now != self.recipient.key_id:
            raise _other_key(self.recipient.key_id, now, self.to.name)
        final, moment = confirm(judged, located, lambda: self.judge(sign=True))
        self.final = final
        return Final(
            destination=place(self.to, located),
            decisions=final.documents,
            decision=final.decision,
            created=moment,
        )

    def _keep_evidence(self, folder: Path, judged: Judged, record: Record) -> None:
        """Decisions and the record also go to the evidence beside the model."""
        from sovgate.stages import attest

        for item in judged.documents:
            attest.add(folder, item.role, item.data)
        attest.add(folder, "transfer", record.data)

    def _pushed(
        self,
        timer: Timer,
        judged: Judged,
        *,
        objects: int,
        crossed: int,
        written: Written,
        there: Record | None,
    ) -> Pushed:
        manifest = self.outgoing.manifest
        return Pushed(
            moved=Moved(
                release=self.release,
                manifest=manifest.digest,
                source=place(self.zone),
                destination=place(self.to, self.located),
                store=self.store.uri,
                run_by=self.to.place.run_by,
            ),
            size=Size(
                files=len(manifest.resources),
                bytes=manifest.total,
                objects=objects,
                crossed=crossed,
            ),
            written=written,
            dry_run=written.record is None,
            recipient=(self.recipient.key_id, self.recipient.algorithm),
            evidence=outgoings.refs(
                self.outgoing.documents if there is None else there.transfer.evidence
            ),
            left_behind=self.outgoing.left_behind,
            decisions=judged.lines,
            steps=tuple(timer.steps),
        )


def _other_key(old: str, new: str, zone: str) -> KeyServiceError:
    return KeyServiceError(
        f"zone {zone} has a key other than the one that this was encrypted for",
        why=f"encrypted for {old}; the project now names {new}",
        fix="encrypt it again, or correct the key in sovgate.yaml",
        reason="wrong-key",
    )
