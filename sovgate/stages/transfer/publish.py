"""Brings the rest of a release into a store once its chunks are there: the record last.

Touches a Store; steps 8 to 11 of `push`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from sovgate.errors import AlreadyExists, StoreError, VerificationFailed
from sovgate.formats.manifest import Manifest
from sovgate.formats.part import read_lists
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.transfer import (
    EvidenceRef,
    Place,
    Transfer,
    chunk_name,
    object_name,
)
from sovgate.records import Release, Sized
from sovgate.stages.seal import seal
from sovgate.stages.transfer.carry import AT_ONCE, Written
from sovgate.stages.transfer.gathered import put_record
from sovgate.stages.transfer.keeping import keep
from sovgate.stages.transfer.objects import (
    get_object,
    names_the_way_out,
    put_object,
    reread,
)
from sovgate.stages.transfer.records import Record, open_record, read_record
from sovgate.stages.transfer.sequence import claim, predecessor
from sovgate.stages.trust import Trusted
from sovgate.work import Workers

if TYPE_CHECKING:
    from sovgate.formats.part import Closed
    from sovgate.keys._api import Signer
    from sovgate.stores._api import Store


@dataclass(frozen=True, kw_only=True)
class Document:
    """An evidence bundle that travels along as an object."""

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
    """What the source will say about this release. `manifest` (canonical) and `signature` are the
    documents themselves; `policy`, `project`, `audit_head`: SHA-256.
    """

    release: Release
    manifest: bytes
    signature: bytes
    source: Place
    evidence: tuple[Document, ...]
    policy: str
    project: str
    audit_head: str


@dataclass(frozen=True, kw_only=True)
class Final:
    """What was asked again when the chunks were there: where it goes, and that it may."""

    destination: Place
    decisions: tuple[Document, ...]
    decision: str
    created: datetime


@dataclass(frozen=True, kw_only=True)
class Published:
    """`already`: the release was there, and is the same. Counts are of objects, chunks apart."""

    record: Record
    already: bool
    written: Written


def publish(
    store: Store,
    draft: Draft,
    recheck: Callable[[], Final],
    closed: Callable[[], Closed],
    *,
    signer: Signer,
    trusted: Sequence[Trusted],
) -> Published:
    """Steps 8 to 11: all chunks are there. `recheck` asks policy again, about all that is known
    now, and raises where the answer has become no. `closed` makes the parts, and is asked
    only after it: before, there is no key table (RULES 44).

    Raises StoreError, reason "release-differs" where another release has the name (21).
    """
    manifest, signature = Sized.of(draft.manifest), Sized.of(draft.signature)
    claim(store, draft.release, manifest.sha256, trusted)
    final = recheck()
    made = closed()
    documents = {item.sha256: item for item in (*draft.evidence, *final.decisions)}
    others = [draft.manifest, draft.signature, *(item.data for item in documents.values())]
    written = _put_all(store, (*made.lists, *others)) + _put_all(store, made.tables)
    # Once more: another push may have written a higher number meanwhile (RULES 37).
    sequence = claim(store, draft.release, manifest.sha256, trusted)
    transfer = Transfer(
        release=Release(model=draft.release.model, version=draft.release.version),
        sequence=sequence,
        predecessor=predecessor(store, draft.release.model, sequence, trusted),
        manifest=manifest,
        signature=signature,
        source=draft.source,
        destination=final.destination,
        parts=made.parts,
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
    keep(store, made, others)
    put = partial(put_record, store, transfer, data, made, others)
    record, already = _settled(store, data, transfer, trusted, put)
    return Published(record=record, already=already, written=written)


def _put_all(store: Store, objects: Sequence[bytes]) -> Written:
    """Several at once: their order does not matter, and each costs a far store an answer's time."""
    done: list[Written] = []

    def one(data: bytes) -> None:
        done.append(Written.of(put_object(store, data), len(data)))

    with Workers(AT_ONCE) as workers:
        for data in objects:
            workers.submit(partial(one, data))
    return sum(done, Written())


def _settled(
    store: Store,
    data: bytes,
    transfer: Transfer,
    trusted: Sequence[Trusted],
    put: Callable[[], None],
) -> tuple[Record, bool]:
    mine = open_record(data, transfer.release, trusted)
    try:
        put()
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
            recipient=transfer.key_id,
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
        record_payload(get_object(store, Sized(sha256=item.sha256, size=item.size), "evidence"))
        for item in transfer.evidence
        if item.role == "provenance"
    )


def existing(
    store: Store, wanted: Wanted, trusted: Sequence[Trusted], *, read: bool = True
) -> Record | None:
    """The record under the release's name, if it is the same release and whole. RULES 13, 14.

    Whole is what the provider keeps a digest of, or what was read again; with `read` off (a dry
    run) sizes alone are looked at. None where there is none.

    Raises StoreError, reasons "release-differs", "release-incomplete", "damaged-object".
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
            taken = _taken(store, wanted.release, f"its {field} is {old}, not {new}")
            if field == "destination":  # two zones have one store, under two URIs
                taken.fix = f"name another bucket, folder or prefix as the store of zone {new}"
            raise taken
    _check_whole(store, found.transfer, read=read)
    late = len(wanted.records - _records(store, found.transfer)) if wanted.records else 0
    if late:
        what = "a training record" if late == 1 else f"{late} training records"
        raise _taken(store, wanted.release, f"it lacks {what} of the model")
    return found


def chunks_of(store: Store, transfer: Transfer) -> tuple[Sized, ...]:
    """Every chunk of a release by name and size, from its manifest and chunk lists.

    Raises NotFound, VerificationFailed ("digest-mismatch", "parts", "chunk-list").
    """
    manifest = Manifest.parse(get_object(store, transfer.manifest, "manifest"))
    listed = read_lists(manifest, transfer.parts, partial(get_object, store))
    return tuple(one for each in listed for one in each.chunks)


def _check_whole(store: Store, transfer: Transfer, *, read: bool) -> None:
    every = (
        transfer.signature,
        transfer.manifest,
        *(part.list for part in transfer.parts),
        *(part.keytable for part in transfer.parts),
        *(Sized(sha256=one.sha256, size=one.size) for one in transfer.evidence),
    )
    for item in every:
        _check_there(store, transfer, object_name(item.sha256), item, read)
    with Workers(AT_ONCE) as workers:
        for item in chunks_of(store, transfer):
            name = chunk_name(item.sha256)
            workers.submit(partial(_check_there, store, transfer, name, item, read))


def _check_there(store: Store, transfer: Transfer, name: str, item: Sized, read: bool) -> None:
    stat = store.stat(name)
    if stat is None or stat.size != item.size:
        raise StoreError(
            f"{transfer.release} is in {store.uri}, but no longer whole",
            why=f"{name} is missing or cut",
            fix="push it under a new version, and find out who removed it",
            reason="release-incomplete",
        )
    if read and stat.sha256 != item.sha256:
        with names_the_way_out():
            reread(store, name, item)


def _taken(store: Store, release: Release, why: str) -> AlreadyExists:
    return AlreadyExists(
        f"{store.uri} has another release {release} already",
        why=why,
        fix="push it under a new version; a release is written once, and the old bytes stay",
        reason="release-differs",
    )
