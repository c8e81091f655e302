"""pull: the rules of `sovgate.stages.transfer`, followed on the destination's side.

Everything is checked before a key is unwrapped, and all bytes before the model has its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import SovgateError, VerificationFailed
from sovgate.formats.auditentry import About
from sovgate.pipeline.beside import check_carried
from sovgate.pipeline.decide import contents
from sovgate.pipeline.decide.judge import (
    Judged,
    confirm,
    judge,
    known_with_signature,
    transfer_questions,
)
from sovgate.pipeline.move import outgoing as outgoings
from sovgate.pipeline.move.movement import (
    Timer,
    announced,
    check_declared,
    note,
    place,
    refuse,
)
from sovgate.pipeline.move.occupied import taken_by_another
from sovgate.pipeline.move.results import Moved, Proof, Pulled, Size
from sovgate.pipeline.named_keys import refuse_misused
from sovgate.pipeline.own_roles import LOGGED, require_zone_key
from sovgate.pipeline.places import evidence_of_output
from sovgate.pipeline.project import Project, open_project
from sovgate.records import DEFAULTS, Advance, Options, Release
from sovgate.stages import attest, audit
from sovgate.staging import Staging, is_free, not_empty, require_writable, sweep

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.keys._api import Signer
    from sovgate.stages.transfer import Fetched, Located, Record
    from sovgate.stages.trust import Trusted
    from sovgate.stores._api import Store

#: What a receipt says was checked, in this order.
CHECKS = ("record", "sequence", "signature", "evidence", "policy", "key", "plaintext")


def pull(
    release: Release,
    *,
    zone: str,
    output: Path,
    options: Options = DEFAULTS,
) -> Pulled:
    """Bring a release from the zone's store to `output`, verified and decrypted, with a receipt.

    Raises UsageError ("output-exists"), ConfigError, NotFound, VerificationFailed,
    ResidencyMismatch, PolicyDenied, Inconclusive, KeyServiceError, StoreError, DiskError. After a
    crash at any step run it again: there is the old state or the new one, and it finishes.
    """
    from sovgate.stages import transfer

    options.refuse_dry_run("pull")
    opened = open_project(options.project)
    timer = Timer()
    here = opened.zone(zone)
    _require_place(output, evidence_of_output(output, options, opened))
    refuse_misused(opened.config)
    trusted = opened.trusted(zone)
    require_zone_key(opened, trusted, zone, ("receipt", *LOGGED))
    store = opened.store(zone)
    with timer.step("check the record"):
        located = transfer.locate(store, zone=zone, declared=here.region)
        try:
            record = transfer.fetch_record(
                store,
                release,
                trusted,
                zone=zone,
                regions={name: config.region for name, config in opened.config.zones.items()},
                now=audit.utc_now(),
            )
        except VerificationFailed as error:
            if error.reason == "wrong-signer":
                opened.require_sources(zone)
            raise
        check_declared(opened, record.transfer)
    move = _Move(opened, store, record, trusted, located, output)
    move.evidence_dir = evidence_of_output(output, options, opened)
    with timer.step("check signature and evidence"):
        move.fetch()
        already = move.is_there(named=options.evidence is not None)
    with timer.step("decide"):
        judged = move.judge()
    options.expect(move.manifest.total)
    receipt, head = move.run(judged, timer, already, options.progress)
    return Pulled(
        moved=Moved(
            release=move.release,
            manifest=move.manifest.digest,
            source=place(opened.zone(record.transfer.source.zone)),  # our catalogue's, not its own
            destination=place(here, located),
            store=store.uri,
            run_by=opened.zone(record.transfer.source.zone).place.run_by,
        ),
        size=Size(files=len(move.manifest.resources), bytes=move.manifest.total),
        proof=Proof(
            sequence=record.transfer.sequence,
            record=record.sha256,
            receipt=receipt,
            audit_head=head,
            evidence=move.evidence_dir,
        ),
        already=already,
        signers=(("transfer", record.signer.name), ("signature", move.model_signer.name)),
        output=output,
        pinned=release.pin is not None,
        newer=transfer.newer(store, release.model, record.transfer.sequence, trusted),
        decisions=judged.lines,
        steps=tuple(timer.steps),
    )


def _require_place(output: Path, evidence: Path) -> None:
    """Before anything is fetched: model and evidence can be written where they are to lie.

    What is there already is only looked at. Raises DiskError, UsageError.
    """
    if is_free(output):
        require_writable(output, f"write the model to {str(output)!r}")
    if not evidence.is_dir():
        require_writable(evidence, f"write the evidence to {str(evidence)!r}")


class _Move:
    """One pull under way: what is known of it so far."""

    manifest: Manifest
    fetched: Fetched
    model_signer: Trusted
    evidence_dir: Path

    def __init__(
        self,
        opened: Project,
        store: Store,
        record: Record,
        trusted: tuple[Trusted, ...],
        located: Located,
        output: Path,
    ) -> None:
        self.opened, self.store, self.record = opened, store, record
        self.trusted, self.located, self.output = trusted, located, output
        self.contents = contents.UNOPENED
        self.release = record.transfer.release
        self.zone = record.transfer.destination.zone

    def fetch(self) -> None:
        """Signature, manifest and evidence, each against the record and against its signer."""
        from sovgate.formats.manifest import Manifest
        from sovgate.stages import transfer

        self.fetched = transfer.fetch_documents(self.store, self.record.transfer)
        self.manifest = Manifest.parse(self.fetched.manifest)
        if self.manifest.digest != self.record.transfer.manifest.sha256:
            raise VerificationFailed("the record names another manifest", reason="wrong-manifest")
        self.model_signer = outgoings.check_signed(
            self.fetched.signature, self.manifest, self.trusted
        )
        self._check_roles()

    def _check_roles(self) -> None:
        """RULES 3, 6: each statement is of the role that the record gives it, about this model."""
        for ref, data in self.fetched.evidence:
            check_carried(data, ref.role, ref.predicate_type, self.manifest.digest)

    def is_there(self, *, named: bool = False) -> bool:
        """Whether an earlier run has put this very model there. Raises UsageError if another is.

        `named`: the folder of the evidence was named, and does not follow `-o`.
        """
        other, found = None, is_free(self.output)
        if not found:
            other = self._unlike()
        mixed = attest.signature_in(self.evidence_dir) not in (None, self.fetched.signature)
        if other is not None or mixed:
            raise taken_by_another(
                self.output,
                self.release,
                other=other,
                evidence=self.evidence_dir if mixed else None,
                trusted=self.trusted,
                named=named,
            )
        return not found

    def _unlike(self) -> str | None:
        """Why what is there is not this model; None where it is."""
        from sovgate.stages.verify import Scope, verify_model

        try:
            scope = Scope(any_name=True)
            found = verify_model(self.output, self.fetched.signature, self.trusted, scope)
            if found.manifest.digest == self.manifest.digest:
                return None
            why = f"its manifest is sha256:{found.manifest.digest}"
        except SovgateError as error:
            why = error.what
        return f"{not_empty(self.output).why}; {why}" if self.output.is_dir() else why

    def judge(self) -> Judged:
        """Our own policy, on our own facts. What the source decided is information."""
        evidence = [
            attest.RawEvidence(
                name=f"{ref.role}-{ref.sha256[:16]}.sigstore.json", data=data, sha256=ref.sha256
            )
            for ref, data in self.fetched.evidence
        ]
        source = self.record.transfer.source.zone
        judged = judge(
            self.opened,
            transfer_questions(
                self.release, self.manifest.digest, source=source, destination=self.zone
            ),
            known_with_signature(
                self.fetched.signature,
                evidence,
                trusted=self.trusted,
                locations={self.zone: self.located},
                contents=self.contents,
            ),
        )
        return judged.signed(self.opened.signer(self.zone))

    @property
    def about(self) -> About:
        return About(
            action="pull",
            model=self.release.model,
            release=self.release,
            manifest=self.manifest.digest,
            source=self.record.transfer.source.zone,
            destination=self.zone,
        )

    def run(
        self, judged: Judged, timer: Timer, already: bool, advance: Advance | None
    ) -> tuple[str, str]:
        """From the audit intent to the outcome. Returns the receipt's SHA-256 and the last head."""
        signer = self.opened.signer(self.zone)
        log = audit.Log(self.opened.audit_store(self.zone), signer, trusted=self.trusted)
        refs = (*judged.refs, ("transfer", self.record.sha256))
        run = log.begin()
        refuse(judged, run, self.about, refs)
        with announced(run, self.about, refs) as head:
            if already:
                sweep(self.output)  # what a killed run left
                self._check_key()
                judged = self._recheck(judged, self.output)
                self._evidence(judged)
            else:
                with timer.step("decrypt and verify"):
                    judged = self._open(judged, advance)
            refs = (*judged.refs, ("transfer", self.record.sha256))
            with timer.step("receipt"):
                receipt = self._receipt(judged, signer, head)
            end = note(run, "outcome", self.about, exit_code=0, refs=(*refs, ("receipt", receipt)))
        return receipt, end

    def _check_key(self) -> None:
        """The model is there: what is left to show is that our key opens its key table."""
        from sovgate.stages.encrypt import open_keys
        from sovgate.stages.transfer import as_sealed, open_blob

        open_keys(
            as_sealed(self.record.transfer),
            lambda sha256: open_blob(self.store, sha256),
            self.opened.identity(self.zone),
        )

    def _recheck(self, judged: Judged, model: Path) -> Judged:
        """Just before the model gets its name: location and policy again, now that it is open.

        Before, policy could not know what is in it.
        """
        from sovgate.stages import transfer

        self.contents = contents.of_files(model, self.manifest, self.opened)

        declared = self.opened.zone(self.zone).region
        self.located = transfer.locate(self.store, zone=self.zone, declared=declared)
        final, _ = confirm(judged, self.located, self.judge, anew=True)
        return final

    def _open(self, judged: Judged, advance: Advance | None) -> Judged:
        """Decrypt into a private folder; only what verified whole gets its name. RULES 11.

        Returns the decision that was acted on.
        """
        from sovgate.stages.encrypt import open_model
        from sovgate.stages.transfer import as_sealed, names_the_way_out, open_blob
        from sovgate.stages.verify import Scope, verify_model

        identity = self.opened.identity(self.zone)
        with Staging(self.output) as staging:
            with names_the_way_out():
                model = open_model(
                    as_sealed(self.record.transfer),
                    lambda sha256: open_blob(self.store, sha256),
                    identity,
                    staging.path,
                    self.manifest,
                    advance=advance,
                )
            if not outgoings.tells_all(self.fetched.signature, self.trusted):
                # Another tool's signature: it is compared with the bytes, not with the manifest.
                scope = Scope(any_name=True)
                found = verify_model(model, self.fetched.signature, self.trusted, scope)
                if found.manifest.digest != self.manifest.digest:
                    raise VerificationFailed(
                        "the model is not the one that was signed", reason="wrong-manifest"
                    )
            judged = self._recheck(judged, model)
            self._evidence(judged)
            staging.commit(model.name)
        return judged

    def _evidence(self, judged: Judged) -> None:
        """What came along, the record and our decision, beside the model; the same twice is one."""
        folder = self.evidence_dir
        if not attest.add_signature(folder, self.fetched.signature):
            self.is_there()  # another run wrote there meanwhile
        for ref, data in self.fetched.evidence:
            attest.add(folder, ref.role, data)
        attest.add(folder, "transfer", self.record.data)
        for item in judged.documents:
            attest.add(folder, item.role, item.data)

    def _checks(self) -> tuple[str, ...]:
        """What a model did not pass, although the project let it in, is no check of the receipt."""
        found = CHECKS if self.contents["pickles"] else (*CHECKS, contents.NO_PICKLES)
        return found if self.contents["remote_code"] else (*found, contents.NO_REMOTE_CODE)

    def _receipt(self, judged: Judged, signer: Signer, head: str) -> str:
        """Our word that it was opened here. An earlier run's receipt for this record is kept."""
        from sovgate.formats.receipt import Check, Receipt
        from sovgate.formats.statement import PREDICATE_TYPES
        from sovgate.formats.transfer import blob_name
        from sovgate.stages import transfer

        found = transfer.find_receipt(
            self.store, self.record, self.trusted, zone=self.zone, by=signer
        )
        if found is not None:
            data, digest = found
            attest.add(self.evidence_dir, "receipt", data)
            return digest
        receipt = Receipt(
            release=self.release,
            record=self.record.sha256,
            manifest=self.manifest.digest,
            zone=self.zone,
            location=self.located.value,
            grade=self.located.grade,
            checks=tuple(Check(id=name, passed=True) for name in self._checks()),
            decision=judged.decision,
            opened=audit.utc_now().replace(microsecond=0),
            audit_head=head,
        )
        statement = transfer.receipt_statement(receipt, PREDICATE_TYPES["receipt"])
        data = attest.seal(statement, signer)
        for item in judged.documents:  # what the receipt names can be read where it lies
            transfer.put_document(self.store, blob_name(item.sha256), item.data)
        digest = transfer.put_receipt(self.store, self.release, data)
        attest.add(self.evidence_dir, "receipt", data)
        return digest
