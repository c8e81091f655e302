"""A release as its destination received it: record, signature, evidence and the zone's own receipt.

What `promote` stands on, all of it verified. Reads the zone's store and public keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate.errors import KeyServiceError, VerificationFailed
from sovgate.pipeline.decide import contents
from sovgate.pipeline.move import zone_evidence
from sovgate.pipeline.move.movement import check_declared
from sovgate.records import Release
from sovgate.stages import attest, audit

if TYPE_CHECKING:
    from sovgate.pipeline.project import Project
    from sovgate.stages.transfer import Located, Record
    from sovgate.stages.trust import Trusted
    from sovgate.stores._api import Store


@dataclass(frozen=True, kw_only=True)
class Received:
    """`contents` is what the zone said of the files when it opened them.

    `receipt` and `signature` are SHA-256; `evidence` is the signature and all that came along,
    the record and the receipt too, for policy to judge. `added` are those of it that lie beside a
    model here, and not in the store yet.
    """

    opened: Project
    zone: str
    store: Store
    located: Located
    record: Record
    receipt: str
    signature: str
    evidence: tuple[attest.RawEvidence, ...]
    contents: contents.Contents
    added: tuple[attest.RawEvidence, ...] = ()

    @property
    def release(self) -> Release:
        return self.record.transfer.release

    @property
    def manifest(self) -> str:
        return self.record.transfer.manifest.sha256

    def keep(self, decision: bytes, used: Container[str]) -> None:
        """Bring a signed decision into the store, and what was added, as far as it rests on it.

        `used` are the digests of its evidence.
        """
        from sovgate.formats.transfer import object_name
        from sovgate.stages import transfer

        digest = hashlib.sha256(decision).hexdigest()
        transfer.put_document(self.store, object_name(digest), decision)
        counted = [raw for raw in self.added if raw.sha256 in used]
        zone_evidence.keep(self.store, self.release, counted)

    def check_key(self) -> None:
        """The release was encrypted to the key that the zone has now. Raises KeyServiceError."""
        have = self.opened.recipient(self.zone).key_id
        need = self.record.transfer.key_id
        if have != need:
            raise KeyServiceError(
                f"zone {self.zone} could not open {self.release} where it is served",
                why=f"it was encrypted for key {need}; the zone's key is {have}",
                fix="have it pushed again as a new version, encrypted for the zone's present key",
                where=self.opened.config.where(f"zones.{self.zone}.keys"),
                reason="wrong-key",
            )


def read_received(
    opened: Project,
    zone: str,
    release: Release,
    trusted: Sequence[Trusted],
    beside: attest.Folders | None = None,
) -> Received:
    """Read and verify `release` in the store of `zone`.

    Evidence that the zone added to it counts too, and what lies `beside` a model here.

    Raises NotFound, VerificationFailed ("no-receipt" where the zone never opened it),
    ResidencyMismatch, KeyServiceError ("wrong-key"), Inconclusive, StoreError, ConfigError.
    """
    from sovgate.formats.manifest import Manifest
    from sovgate.pipeline.move.pushing.outgoing import check_signed
    from sovgate.stages import transfer

    store = opened.store(zone)
    located = transfer.locate(store, zone=zone, declared=opened.zone(zone).region)
    record = transfer.fetch_record(
        store,
        release,
        trusted,
        zone=zone,
        regions={name: config.region for name, config in opened.config.zones.items()},
        now=audit.utc_now(),
    )
    check_declared(opened, record.transfer)
    fetched = transfer.fetch_documents(store, record.transfer)
    check_signed(fetched.signature, Manifest.parse(fetched.manifest), trusted)
    found = transfer.find_receipt(store, record, trusted, zone=zone)
    if found is None:
        pinned = record.transfer.release.pinned(record.transfer.manifest.sha256)
        raise VerificationFailed(
            f"zone {zone} has no receipt for {record.transfer.release}",
            why="it never signed that it pulled, verified and opened this record",
            fix=f"sovgate pull {pinned} --zone {zone} -o MODEL",
            reason="no-receipt",
        )
    receipt, digest = found
    signature = hashlib.sha256(fetched.signature).hexdigest()
    evidence = (
        attest.RawEvidence(name=attest.SIGNATURE, data=fetched.signature, sha256=signature),
        *(_raw(ref.role, data) for ref, data in fetched.evidence),
        _raw("transfer", record.data),
        _raw("receipt", receipt),
        *zone_evidence.stored(store, record.transfer.release),
    )
    added: tuple[attest.RawEvidence, ...] = ()
    if beside is not None:
        digests = (raw.sha256 for raw in evidence)
        added = zone_evidence.beside(beside, digests, record.transfer.manifest.sha256)
    received = Received(
        opened=opened,
        zone=zone,
        store=store,
        located=located,
        record=record,
        receipt=digest,
        signature=signature,
        evidence=(*evidence, *added),
        contents=_contents(receipt, trusted),
        added=added,
    )
    received.check_key()
    return received


def _contents(receipt: bytes, trusted: Sequence[Trusted]) -> contents.Contents:
    from sovgate.stages import transfer

    return contents.of_receipt(transfer.open_receipt(receipt, trusted).passed)


def _raw(role: str, data: bytes) -> attest.RawEvidence:
    digest = hashlib.sha256(data).hexdigest()
    return attest.RawEvidence(name=f"{role}-{digest[:16]}.sigstore.json", data=data, sha256=digest)
