"""What a release needs of a store that keeps only what is named, a registry. Touches a Store.

Of all other stores nothing is asked here: what was put stays, and a release is its record.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from sovgate.errors import UsageError
from sovgate.formats.manifest import Manifest
from sovgate.formats.part import read_lists
from sovgate.formats.plan import Plan
from sovgate.formats.transfer import MAX_BYTES, Claim, Transfer, record_name, sequence_name
from sovgate.records import Release, Sized
from sovgate.stages.transfer.objects import put_document
from sovgate.stores._api import Gathering, Held

if TYPE_CHECKING:
    from sovgate.formats.part import Closed
    from sovgate.stores._api import Store


def require_room(store: Store, release: Release, manifest: Manifest) -> None:
    """Before the first byte: whether the store can hold a release of that name and size.

    Raises StoreError, reason "limits".
    """
    if isinstance(store, Gathering):
        store.require_room(record_name(release), chunks=Plan.of(manifest).chunks)


def require_pin(store: Store, release: Release) -> None:
    """Where a name can be given to another release, it alone says nothing. Raises UsageError."""
    if release.pin is None and isinstance(store, Gathering) and store.names_move:
        raise UsageError(
            f"{release} needs its pin to be pulled from {store.uri}",
            why="its tags can be moved, so whoever can write there chooses the release",
            fix=f"write {release}@sha256:HEX, as push printed it; or have the tags there made "
            "immutable, and write ?tags=immutable behind the store's URI",
            reason="needs-pin",
        )


def within(store: Store, release: Release) -> Store:
    """Where a reader of a release finds its claim and the record before it: a copy of a release,
    made by another tool, has nothing but what the release carries along."""
    return store.within(record_name(release)) if isinstance(store, Gathering) else store


def put_record(
    store: Store, transfer: Transfer, data: bytes, closed: Closed, documents: Sequence[bytes]
) -> None:
    """Write the record, which makes the release. `documents`: the canonical manifest, and all
    other objects but lists and key tables. Raises AlreadyExists, StoreError.
    """
    name = record_name(transfer.release)
    if not isinstance(store, Gathering):
        put_document(store, name, data)
        return
    held = _held(store, transfer, closed, documents)
    put_document(store, name, data, put=partial(store.put_release, name, data, held))


def _held(store: Store, transfer: Transfer, closed: Closed, documents: Sequence[bytes]) -> Held:
    objects = {Sized.of(data): data for data in (*documents, *closed.lists, *closed.tables)}
    listed = read_lists(
        Manifest.parse(objects[transfer.manifest]),
        closed.parts,
        lambda sized, _: objects[sized],
    )
    claim = Claim(
        release=transfer.release, manifest=transfer.manifest.sha256, sequence=transfer.sequence
    )
    beside = {sequence_name(transfer.release.model, transfer.sequence): claim.emit()}
    if transfer.predecessor is not None:
        before = record_name(transfer.predecessor.release)
        beside[before] = store.get(before, most=MAX_BYTES)
    return Held(
        chunks=[one for each in listed for one in each.chunks],
        objects=list(objects),
        evidence=[Sized(sha256=one.sha256, size=one.size) for one in transfer.evidence],
        beside=beside,
    )
