"""Brings a sealed release into a store: blobs, a number, the record last. Touches a Store.

Reads the sealed folder through the callables that it is given; steps 7 to 10 of `push`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from sovgate.errors import AlreadyExists, StoreError, VerificationFailed
from sovgate.formats.sealed import Blob, Sealed
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.transfer import EvidenceRef, Place, Transfer, blob_name, record_name
from sovgate.records import Advance, Release, Sized
from sovgate.stages.transfer.objects import (
    get_blob,
    names_the_way_out,
    put_blob,
    put_document,
    reread,
)
from sovgate.stages.transfer.records import Record, open_record, read_record
from sovgate.stages.transfer.sequence import claim, predecessor
from sovgate.stages.trust import Trusted, seal
from sovgate.work import Workers

if TYPE_CHECKING:
    from sovgate.keys._api import Signer
    from sovgate.stores._api import Store

OpenBlob = Callable[[str], BinaryIO]
#: Blobs of up to so many bytes go several at once: together they are held in memory.
SMALL, AT_ONCE = 4 * 1024 * 1024, 8


@dataclass(frozen=True, kw_only=True)
class Document:
    """An evidence bundle that travels along as a blob."""

    role: str
    predicate_type: str
    data: bytes
    sha256: str

    @property
    def ref(self) -> EvidenceRef:
        return EvidenceRef(
            role=self.role,
            predicate_type=self.predicate_type,
            sha256=self.sha256,
            size=len(self.data),
            confidential=False,
            plaintext_sha256=None,
        )


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What the source will say about this release. `policy`, `project`, `audit_head`: SHA-256."""

    release: Release
    source: Place
    evidence: tuple[Document, ...]
    policy: str
    project: str
    audit_head: str


@dataclass(frozen=True, kw_only=True)
class Final:
    """What was asked again just before the record: where it goes, and that it may."""

    destination: Place
    decisions: tuple[Document, ...]
    decision: str
    created: datetime


@dataclass(frozen=True, kw_only=True)
class Published:
    """`already`: the release was there, and is the same. Counts are of blobs and their bytes."""

    record: Record
    already: bool
    written: int
    written_bytes: int
    skipped: int


def publish(
    store: Store,
    sealed: Sealed,
    open_blob: OpenBlob,
    draft: Draft,
    recheck: Callable[[], Final],
    *,
    signer: Signer,
    trusted: Sequence[Trusted],
    advance: Advance | None = None,
) -> Published:
    """Steps 7 to 10. `recheck` asks again and raises where the answer has become no.

    Raises StoreError, reason "release-differs" where another release has the name (21).
    """
    written = _put_all(store, payload(sealed), open_blob, advance)
    claim(store, draft.release, sealed.manifest.sha256, trusted)
    final = recheck()
    documents = {item.sha256: item for item in (*draft.evidence, *final.decisions)}
    for item in documents.values():
        blob = Sized(sha256=item.sha256, size=len(item.data))
        written.append((blob.size, put_blob(store, blob, lambda i=item: io.BytesIO(i.data))))  # type: ignore[misc]
    # Once more: another push may have written a higher number meanwhile (RULES 37).
    sequence = claim(store, draft.release, sealed.manifest.sha256, trusted)
    transfer = Transfer(
        release=Release(model=draft.release.model, version=draft.release.version),
        sequence=sequence,
        predecessor=predecessor(store, draft.release.model, sequence, trusted),
        manifest=sealed.manifest,
        signature=sealed.signature,
        source=draft.source,
        destination=final.destination,
        recipient=sealed.recipient,
        keytable=sealed.keytable,
        blobs=sealed.blobs,
        evidence=tuple(item.ref for item in documents.values()),
        decision=final.decision,
        policy=draft.policy,
        project=draft.project,
        audit_head=draft.audit_head,
        created=final.created,
    )
    transfer.check()
    data = seal(
        Statement(
            subject_name=transfer.release.model,
            subject_sha256=transfer.manifest.sha256,
            predicate_type=PREDICATE_TYPES["transfer"],
            predicate=transfer.predicate(),
        ),
        signer,
    )
    record, already = _put_record(store, data, transfer, trusted)
    return Published(
        record=record,
        already=already,
        written=sum(new for _, new in written),
        written_bytes=sum(size for size, new in written if new),
        skipped=sum(not new for _, new in written),
    )


def _put_all(
    store: Store, blobs: Sequence[Sized], open_blob: OpenBlob, advance: Advance | None
) -> list[tuple[int, bool]]:
    """Size of each, and whether it was written. Small ones several at once: each costs a far store
    two answers' time. Large ones one by one, since a store sends the parts of one side by side.
    """
    done: list[tuple[int, bool]] = []

    def put(blob: Sized) -> None:
        new = put_blob(store, blob, lambda: open_blob(blob.sha256), advance=advance)
        done.append((blob.size, new))

    with Workers(AT_ONCE) as workers:
        for blob in blobs:
            if blob.size <= SMALL:
                workers.submit(partial(put, blob))
    for blob in blobs:
        if blob.size > SMALL:
            put(blob)
    return done


def payload(sealed: Sealed) -> tuple[Sized, ...]:
    """Everything that a sealed copy consists of, the evidence apart, each digest once."""
    every = (
        *(Sized(sha256=blob.sha256, size=blob.size) for blob in sealed.blobs),
        sealed.keytable,
        sealed.signature,
        sealed.manifest,
    )
    return tuple({blob.sha256: blob for blob in every}.values())


def _put_record(
    store: Store, data: bytes, transfer: Transfer, trusted: Sequence[Trusted]
) -> tuple[Record, bool]:
    mine = open_record(data, transfer.release, trusted)
    try:
        put_document(store, record_name(transfer.release), data)
    except StoreError:
        mine_too = replace(Wanted.of(transfer), records=_records(store, transfer))
        found = existing(store, mine_too, trusted)
        if found is None:
            raise
        return found, True
    return mine, False


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What makes two pushes of one release the same: zones by name, manifest and policy SHA-256,
    and the key that it is encrypted for.

    `records` tell the training records beside the model (`record_payload`): what binds it is part
    of it.
    """

    release: Release
    manifest: str
    source: str
    destination: str
    policy: str
    recipient: str
    records: frozenset[str]

    @classmethod
    def of(cls, transfer: Transfer) -> Wanted:
        return cls(
            release=transfer.release,
            manifest=transfer.manifest.sha256,
            source=transfer.source.zone,
            destination=transfer.destination.zone,
            policy=transfer.policy,
            recipient=transfer.recipient.key_id,
            records=frozenset(),
        )


def record_payload(data: bytes) -> str:
    """SHA-256 of what a record says. Signed twice it is the same record (RULES 43)."""
    from sovgate.formats.foreign import Foreign

    try:
        return hashlib.sha256(Foreign.parse(data).bundle.payload).hexdigest()
    except VerificationFailed:
        return hashlib.sha256(data).hexdigest()  # it cannot be read, and binds all the same


def _records(store: Store, transfer: Transfer) -> frozenset[str]:
    return frozenset(
        record_payload(get_blob(store, Sized(sha256=item.sha256, size=item.size), what="evidence"))
        for item in transfer.evidence
        if item.role == "provenance"
    )


def existing(
    store: Store, wanted: Wanted, trusted: Sequence[Trusted], *, read: bool = True
) -> Record | None:
    """The record under the release's name, if it is the same release and whole. RULES 13, 14.

    Whole is what the provider keeps a digest of, or what was read again; with `read` off (a dry
    run) sizes alone are looked at. None where there is none.

    Raises StoreError, reasons "release-differs", "release-incomplete", "damaged-blob".
    """
    try:
        found = read_record(store, wanted.release, trusted)
    except VerificationFailed as error:
        raise _taken(store, wanted.release, error.what) from error
    if found is None:
        return None
    there = Wanted.of(found.transfer)
    for field in ("manifest", "source", "destination", "policy", "recipient"):
        old, new = getattr(there, field), getattr(wanted, field)
        if old != new:
            raise _taken(store, wanted.release, f"its {field} is {old}, not {new}")
    _check_whole(store, found.transfer, read=read)
    late = len(wanted.records - _records(store, found.transfer)) if wanted.records else 0
    if late:
        what = "a training record" if late == 1 else f"{late} training records"
        raise _taken(store, wanted.release, f"it lacks {what} of the model")
    return found


def _check_whole(store: Store, transfer: Transfer, *, read: bool) -> None:
    every: tuple[Blob | Sized | EvidenceRef, ...] = (
        *transfer.blobs,
        transfer.keytable,
        transfer.signature,
        transfer.manifest,
        *transfer.evidence,
    )
    for item in every:
        stat = store.stat(blob_name(item.sha256))
        if stat is None or stat.size != item.size:
            raise StoreError(
                f"{transfer.release} is in {store.uri}, but no longer whole",
                why=f"{blob_name(item.sha256)} is missing or cut",
                fix="push it under a new version, and find out who removed it",
                reason="release-incomplete",
            )
        if read and stat.sha256 != item.sha256:
            with names_the_way_out():
                reread(store, Sized(sha256=item.sha256, size=item.size))


def _taken(store: Store, release: Release, why: str) -> AlreadyExists:
    return AlreadyExists(
        f"{store.uri} has another release {release} already",
        why=why,
        fix="push it under a new version; a release is written once, and the old bytes stay",
        reason="release-differs",
    )
