"""Reads a release for its destination, and says what was received. Touches a Store.

All that can be checked before a chunk is decrypted is checked here, cheapest first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from sovgate.errors import Inconclusive, NotFound, StoreError, VerificationFailed
from sovgate.formats.part import Listed, read_lists
from sovgate.formats.receipt import MAX_BYTES as MAX_RECEIPT
from sovgate.formats.receipt import Receipt
from sovgate.formats.statement import Statement
from sovgate.formats.transfer import MAX_EVIDENCE_BYTES, EvidenceRef, Transfer
from sovgate.records import Release, Sized
from sovgate.stages.transfer.gathered import within
from sovgate.stages.transfer.objects import get_object, put_document
from sovgate.stages.transfer.records import Record, read_record
from sovgate.stages.transfer.sequence import check_claimed, read_before, require_near
from sovgate.stages.trust import Trusted, open_statement, said_by

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.keys._api import Signer
    from sovgate.stores._api import Store

#: How far the clocks of two zones may differ.
CLOCK_SLACK = timedelta(minutes=5)
#: Evidence of one release, all together.
MAX_EVIDENCE_TOTAL = 4 * MAX_EVIDENCE_BYTES
#: Receipts of one release that a reader looks through.
MAX_RECEIPTS = 10_000


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Signature bundle, canonical manifest, and evidence in the record's order, by digest."""

    signature: bytes
    manifest: bytes
    evidence: tuple[tuple[EvidenceRef, bytes], ...]


def fetch_record(
    store: Store,
    release: Release,
    trusted: Sequence[Trusted],
    *,
    zone: str,
    regions: dict[str, str],
    now: datetime,
) -> Record:
    """The record of `release` for `zone`, checked in all that needs no other object but its claim.

    `regions` are the zones of our own project file with their `provider:region`.

    Raises NotFound (no such release), VerificationFailed: as `open_record`, "wrong-destination",
    "wrong-source", "wrong-manifest" (the pin), "stale-predecessor", "sequence"; Inconclusive
    "clock".
    """
    found = read_record(store, release, trusted)
    if found is None:
        raise NotFound(
            f"{store.uri} has no release {release}",
            fix="check name and version, or push it: sovgate push",
            reason="no-release",
        )
    transfer = found.transfer
    if release.pin is not None and release.pin != transfer.manifest.sha256:
        raise VerificationFailed(
            f"{release} in {store.uri} is not the model that was asked for",
            why=f"sha256:{release.pin} was asked for; it is sha256:{transfer.manifest.sha256}",
            fix="find out where the pin comes from, and which release it belongs to",
            reason="wrong-manifest",
        )
    _check_places(transfer, zone, regions)
    if transfer.created > now + CLOCK_SLACK:
        raise Inconclusive(
            f"{release} was pushed in the future",
            why=f"its record says {transfer.created.isoformat()}, the clock here {now.isoformat()}",
            fix="correct the clock, here or where it was pushed",
            reason="clock",
        )
    near = within(store, release)
    check_claimed(near, release, transfer.manifest.sha256, transfer.sequence)
    _check_predecessor(near, transfer, trusted)
    return found


def _check_places(transfer: Transfer, zone: str, regions: dict[str, str]) -> None:
    if transfer.destination.zone != zone:
        raise VerificationFailed(
            f"{transfer.release} was pushed to zone {transfer.destination.zone}, not to {zone}",
            fix="pull it there, or ask its source to push it to this zone",
            reason="wrong-destination",
        )
    for place, reason in (
        (transfer.destination, "wrong-destination"),
        (transfer.source, "wrong-source"),
    ):
        declared = regions.get(place.zone)
        if declared != place.provider_region:
            raise VerificationFailed(
                f"the record of {transfer.release} puts zone {place.zone} "
                f"in {place.provider_region}",
                why=f"here it is declared as {declared}" if declared else "no such zone is known",
                fix=f"correct zones.{place.zone}.region in one of the two project files",
                reason=reason,
            )


def _check_predecessor(store: Store, transfer: Transfer, trusted: Sequence[Trusted]) -> None:
    """The release before must be there as it was named: else one of the two was replaced."""
    named = transfer.predecessor
    if named is None:
        require_near(transfer.release, transfer.sequence, 0)
        return
    before = read_before(store, named.release, trusted)
    wrong = None
    if before is None:
        wrong = "its record is missing"
    elif before.transfer.manifest.sha256 != named.manifest:
        wrong = f"its manifest is {before.transfer.manifest.sha256}, not {named.manifest}"
    elif before.transfer.sequence >= transfer.sequence:
        wrong = f"it has number {before.transfer.sequence}, this one {transfer.sequence}"
    if wrong is not None:
        raise VerificationFailed(
            f"{transfer.release} follows {named.release}, which has changed since then",
            why=wrong,
            fix="find out who changed the store; restore the record from a copy",
            reason="stale-predecessor",
        )
    if before is not None:
        require_near(transfer.release, transfer.sequence, before.transfer.sequence)


def fetch_documents(store: Store, transfer: Transfer) -> Fetched:
    """Signature, manifest and evidence, each by digest. Nothing in them is believed yet.

    Raises NotFound, VerificationFailed ("digest-mismatch", "limits", "unsupported").
    """
    if sum(item.size for item in transfer.evidence) > MAX_EVIDENCE_TOTAL:
        raise VerificationFailed("the release carries too much evidence", reason="limits")
    hidden = [item.sha256 for item in transfer.evidence if item.confidential]
    if hidden:
        raise VerificationFailed(
            "the release carries confidential evidence, which this version cannot open",
            why=", ".join(hidden[:5]),
            fix="update sovgate",
            reason="unsupported",
        )
    return Fetched(
        signature=get_object(store, transfer.signature, "signature"),
        manifest=get_object(store, transfer.manifest, "manifest"),
        evidence=tuple(
            (item, get_object(store, Sized(sha256=item.sha256, size=item.size), "evidence"))
            for item in transfer.evidence
        ),
    )


def fetch_lists(store: Store, transfer: Transfer, manifest: Manifest) -> tuple[Listed, ...]:
    """The parts with their chunk lists, held against the signed manifest.

    Raises NotFound, VerificationFailed ("digest-mismatch", "parts", "chunk-list").
    """
    return read_lists(manifest, transfer.parts, partial(get_object, store))


def receipt_prefix(release: Release) -> str:
    return f"receipts/{release.model}/{release.version}/"


def find_receipt(
    store: Store,
    record: Record,
    trusted: Sequence[Trusted],
    *,
    zone: str,
    by: Signer | None = None,
) -> tuple[bytes, str] | None:
    """A receipt of this zone for this very record, bytes and SHA-256; None where there is none.

    What does not verify is passed over: it proves nothing, and a new receipt can be written. `by`:
    only one that this identity signed (RULES 32).
    """
    release = record.transfer.release
    for count, name in enumerate(store.list(receipt_prefix(release))):
        if count >= MAX_RECEIPTS:
            break
        try:
            data = store.get(name, most=MAX_RECEIPT)
            receipt = open_receipt(data, trusted)
        except (VerificationFailed, StoreError):
            continue
        digest = hashlib.sha256(data).hexdigest()
        if (
            (receipt.record, receipt.zone) == (record.sha256, zone)
            and name == f"{receipt_prefix(release)}{digest}.json"
            and all(check.passed for check in receipt.checks)
            and (by is None or said_by(data, by, trusted, "receipt") is not None)
        ):
            return data, digest
    return None


def open_receipt(data: bytes, trusted: Sequence[Trusted]) -> Receipt:
    """Raises VerificationFailed, reason "wrong-source" where the signer is not that zone's own."""
    verified = open_statement(data, trusted, role="receipt")
    statement = verified.statement
    receipt = Receipt.parse(
        statement.predicate, name=statement.subject_name, manifest=statement.subject_sha256
    )
    if verified.own_word(receipt.zone) is None:
        raise VerificationFailed(
            f"{verified.signer.name} signed a receipt of zone {receipt.zone}",
            why="only the zone itself can say what it opened",
            fix=f"find out who signed it, or add from: {receipt.zone} to its entry under `trust`",
            reason="wrong-source",
        )
    return receipt


def receipt_statement(receipt: Receipt, predicate_type: str) -> Statement:
    return Statement(
        subject_name=receipt.release.model,
        subject_sha256=receipt.manifest,
        predicate_type=predicate_type,
        predicate=receipt.predicate(),
    )


def put_receipt(store: Store, release: Release, data: bytes) -> str:
    """Write a sealed receipt under its digest, which is returned. Raises StoreError."""
    digest = hashlib.sha256(data).hexdigest()
    put_document(store, f"{receipt_prefix(release)}{digest}.json", data)
    return digest
