"""Puts and gets of objects by digest, safe against lost replies and lying reads. Touches a Store.

RULES 13 and 14: after any doubt the object is read again; nothing is believed for its size.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from sovgate.errors import AlreadyExists, NotFound, SovgateError, StoreError, VerificationFailed
from sovgate.formats.transfer import blob_name
from sovgate.records import Advance, Sized

if TYPE_CHECKING:
    from sovgate.stores._api import Store

_CHUNK = 1024 * 1024


def put_blob(
    store: Store,
    blob: Sized,
    source: Callable[[], BinaryIO],
    *,
    advance: Advance | None = None,
) -> bool:
    """Bring a blob into the store. False where it was there, which a re-read has shown.

    Raises StoreError, reason "damaged-blob" where other bytes lie under its name.
    """
    name = blob_name(blob.sha256)
    there = store.stat(name)
    if there is not None:
        if there.sha256 != blob.sha256:
            reread(store, blob)
        if advance is not None:
            advance(blob.size)
        return False
    try:
        with source() as reader:
            counted = reader if advance is None else _Counted(reader, advance)
            store.put(name, counted, size=blob.size, sha256=blob.sha256)  # type: ignore[arg-type]
    except AlreadyExists:
        reread(store, blob)
        return False
    except StoreError:
        # The answer may have been lost after the write; only the very bytes are success.
        if store.stat(name) is None:
            raise
        reread(store, blob)
    return True


def put_document(store: Store, name: str, data: bytes) -> bool:
    """Write a small object create-only. False where the name holds these very bytes already.

    Raises AlreadyExists where it holds others (they stay), StoreError.
    """
    digest = hashlib.sha256(data).hexdigest()
    try:
        store.put(name, data, size=len(data), sha256=digest)
    except StoreError as error:
        try:
            found = store.get(name, most=len(data))
        except SovgateError:
            raise error from None
        if found != data:
            raise
        return not isinstance(error, AlreadyExists)
    return True


@contextlib.contextmanager
def names_the_way_out() -> Iterator[None]:
    """A store knows only that an object is not there; of a release's blob more can be said.

    A release is written once, so one that lacks a part, or has another in its place, stays so.
    """
    try:
        yield
    except NotFound as error:
        error.fix = (
            error.fix or "have it pushed under a new version, and find out who removed that object"
        )
        raise
    except (StoreError, VerificationFailed) as error:
        if error.reason in ("damaged", "damaged-blob"):
            error.fix = "have it pushed under a new version, and find out who changed that object"
        raise


def get_blob(store: Store, blob: Sized, *, what: str) -> bytes:
    """A blob's bytes, checked against digest and size. Raises NotFound, VerificationFailed."""
    with names_the_way_out():
        data = store.get(blob_name(blob.sha256), most=blob.size)
    if len(data) != blob.size or hashlib.sha256(data).hexdigest() != blob.sha256:
        raise VerificationFailed(
            f"the {what} in the store is not the one that the release record names",
            why=f"expected {blob.size} bytes with SHA-256 {blob.sha256}",
            fix="have the release pushed again under a new version",
            reason="digest-mismatch",
        )
    return data


def reread(store: Store, blob: Sized) -> None:
    """Read a blob that is there. Raises StoreError, reason "damaged-blob" where it is another."""
    name = blob_name(blob.sha256)
    digest, size = hashlib.sha256(), 0
    with store.open(name) as reader:
        while size <= blob.size and (chunk := reader.read(_CHUNK)):
            digest.update(chunk)
            size += len(chunk)
    if size != blob.size or digest.hexdigest() != blob.sha256:
        raise StoreError(
            f"{store.uri} holds other bytes under {name}",
            why="its name should be its digest, and it is not",
            fix="remove that object, and run it again",
            reason="damaged-blob",
        )


class _Counted:
    """A reader that tells how many bytes went by."""

    def __init__(self, inner: BinaryIO, advance: Advance) -> None:
        self._inner = inner
        self._advance = advance

    def read(self, size: int = -1, /) -> bytes:
        data = self._inner.read(size)
        if data:
            self._advance(len(data))
        return data
