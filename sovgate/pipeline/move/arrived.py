"""A release as a zone finds it in its store, checked before a key is unwrapped: frozen values.

Asks stores and policy; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import SovgateError, VerificationFailed
from sovgate.formats.auditentry import About
from sovgate.pipeline.beside import check_carried
from sovgate.pipeline.decide.judge import (
    Judged,
    judge,
    known_with_signature,
    transfer_questions,
)
from sovgate.pipeline.move.movement import check_declared
from sovgate.pipeline.move.occupied import taken_by_another
from sovgate.pipeline.move.pushing import outgoing as outgoings
from sovgate.pipeline.project import Project
from sovgate.records import Release
from sovgate.stages import attest, audit
from sovgate.staging import is_free, not_empty

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.part import Listed
    from sovgate.formats.wrap import Context
    from sovgate.pipeline.decide.contents import Contents
    from sovgate.stages import transfer
    from sovgate.stages.trust import Trusted
    from sovgate.stores._api import Store


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The record, which verified, and whose place fits."""

    opened: Project
    store: Store
    trusted: tuple[Trusted, ...]
    record: transfer.Record
    located: transfer.Located

    @property
    def release(self) -> Release:
        return self.record.transfer.release

    @property
    def zone(self) -> str:
        return self.record.transfer.destination.zone

    def locate(self) -> transfer.Located:
        from sovgate.stages import transfer

        declared = self.opened.zone(self.zone).region
        return transfer.locate(self.store, zone=self.zone, declared=declared)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the model and what came along are to lie. `named`: the folder of the evidence was
    named, and does not follow `-o`.
    """

    output: Path
    evidence: Path
    named: bool


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """Signature, manifest, evidence and chunk lists, each against the record and its signer."""

    recorded: Recorded
    fetched: transfer.Fetched
    manifest: Manifest
    signer: Trusted
    listed: tuple[Listed, ...]

    @property
    def context(self) -> Context:
        from sovgate.formats.wrap import Context

        at = self.recorded
        return Context(zone=at.zone, release=str(at.release), manifest=self.manifest.digest)

    @property
    def about(self) -> About:
        release = self.recorded.release
        return About(
            action="pull",
            model=release.model,
            release=release,
            manifest=self.manifest.digest,
            source=self.recorded.record.transfer.source.zone,
            destination=self.recorded.zone,
        )

    def judge(self, contents: Contents, located: transfer.Located) -> Judged:
        """Our own policy, on our own facts. What the source decided is information."""
        at = self.recorded
        evidence = [
            attest.RawEvidence(
                name=f"{ref.role}-{ref.sha256[:16]}.sigstore.json", data=data, sha256=ref.sha256
            )
            for ref, data in self.fetched.evidence
        ]
        source = at.record.transfer.source.zone
        judged = judge(
            at.opened,
            transfer_questions(
                at.release, self.manifest.digest, source=source, destination=at.zone
            ),
            known_with_signature(
                self.fetched.signature,
                evidence,
                trusted=at.trusted,
                locations={at.zone: located},
                contents=contents,
            ),
        )
        return judged.signed(at.opened.signer(at.zone))

    def is_there(self, target: Target) -> bool:
        """Whether an earlier run has put this very model there. Raises UsageError if another is."""
        other, found = None, is_free(target.output)
        if not found:
            other = self._unlike(target.output)
        mixed = attest.signature_in(target.evidence) not in (None, self.fetched.signature)
        if other is not None or mixed:
            raise taken_by_another(
                target.output,
                self.recorded.release,
                other=other,
                evidence=target.evidence if mixed else None,
                trusted=self.recorded.trusted,
                named=target.named,
            )
        return not found

    def _unlike(self, output: Path) -> str | None:
        """Why what is there is not this model; None where it is."""
        try:
            self.require_signed(output)
        except SovgateError as error:
            why = error.why if error.reason == "wrong-manifest" else error.what
            return f"{not_empty(output).why}; {why}" if output.is_dir() else why
        return None

    def require_signed(self, model: Path) -> None:
        """Read all files, and compare them with the signature. Raises VerificationFailed."""
        from sovgate.stages.verify import Scope, verify_model

        scope = Scope(any_name=True)
        found = verify_model(model, self.fetched.signature, self.recorded.trusted, scope)
        if found.manifest.digest != self.manifest.digest:
            raise VerificationFailed(
                "the model is not the one that was signed",
                why=f"its manifest is sha256:{found.manifest.digest}",
                reason="wrong-manifest",
            )


def find(opened: Project, release: Release, zone: str) -> Recorded:
    """Ask the zone's store where it lies, and for the record of `release`.

    Raises NotFound, VerificationFailed, ResidencyMismatch, ConfigError, Inconclusive, StoreError;
    UsageError ("needs-pin").
    """
    from sovgate.stages import transfer

    store, trusted = opened.store(zone), opened.trusted(zone)
    transfer.require_pin(store, release)
    located = transfer.locate(store, zone=zone, declared=opened.zone(zone).region)
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
    return Recorded(opened=opened, store=store, trusted=trusted, record=record, located=located)


def arrive(recorded: Recorded) -> Arrived:
    """Read what the record names, but for key tables and chunks. Raises NotFound,
    VerificationFailed ("parts" and "chunk-list" too: before a key service is asked anything).
    """
    from sovgate.formats.manifest import Manifest
    from sovgate.stages import transfer

    told = recorded.record.transfer
    fetched = transfer.fetch_documents(recorded.store, told)
    manifest = Manifest.parse(fetched.manifest)
    if manifest.digest != told.manifest.sha256:
        raise VerificationFailed("the record names another manifest", reason="wrong-manifest")
    signer = outgoings.check_signed(fetched.signature, manifest, recorded.trusted)
    for ref, data in fetched.evidence:  # RULES 3, 6
        check_carried(data, ref.role, ref.predicate_type, manifest.digest)
    return Arrived(
        recorded=recorded,
        fetched=fetched,
        manifest=manifest,
        signer=signer,
        listed=transfer.fetch_lists(recorded.store, told, manifest),
    )
