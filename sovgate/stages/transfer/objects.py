"""Puts and gets of objects by digest, safe against lost replies and lying reads. Touches a Store.

RULES 13 and 14: after any doubt the object is read again; nothing is believed for its size.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sovgate.errors import AlreadyExists, NotFound, SovgateError, StoreError, VerificationFailed
from sovgate.formats import chunk
from sovgate.formats.transfer import chunk_name, object_name
from sovgate.records import Sized
from sovgate.stores._api import UnderKey

if TYPE_CHECKING:
    from sovgate.stores._api import Bytes, Store

_CHUNK = 1024 * 1024


def put_object(store: Store, data: bytes) -> bool:
    """Bring an object to its name, its digest. False where it was there, which was compared.

    Raises StoreError, reason "damaged-object" where other bytes lie under its name.
    """
    sized = Sized(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    return _put(store, object_name(sized.sha256), data, sized)


def put_chunk(store: Store, sha256: str, data: Bytes) -> bool:
    """The same of a chunk whose digest is known."""
    return _put(store, chunk_name(sha256), data, Sized(sha256=sha256, size=len(data)))


def _put(store: Store, name: str, data: Bytes, sized: Sized) -> bool:
    try:
        store.put(name, data, sha256=sized.sha256)
    except AlreadyExists:
        if not is_there(store, name, sized):
            raise
        return False
    except StoreError:
        # The answer may have been lost after the write; only the very bytes are success.
        if not is_there(store, name, sized):
            raise
    return True


def is_there(store: Store, name: str, sized: Sized) -> bool:
    """Whether an object lies there, and by the store's own SHA-256, or read again, is this one.

    A chunk must lie under the key that the store's URI names, if it names one: a run that was told
    that its chunk does not ended there, and the next one must not pass it over. Other objects are
    shared by releases, and keep the key of the first.

    Raises StoreError, reason "damaged-object" where it is another; StoreUnfit, "not-under-key".
    """
    there = store.stat(name)
    if there is None:
        return False
    if (there.size, there.sha256) != (sized.size, sized.sha256):
        reread(store, name, sized)
    if name == chunk_name(sized.sha256) and isinstance(store, UnderKey):
        store.require_key(name)
    return True


def put_document(
    store: Store, name: str, data: bytes, put: Callable[[], None] | None = None
) -> bool:
    """Write a small object create-only. False where the name holds these very bytes already.

    `put`: how, where it is not a plain `put`.

    Raises AlreadyExists where it holds others (they stay), StoreError.
    """
    try:
        if put is None:
            store.put(name, data, sha256=hashlib.sha256(data).hexdigest())
        else:
            put()
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
    """A store knows only that an object is not there; of a release's object more can be said.

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
        if error.reason in ("damaged", "damaged-object"):
            error.fix = "have it pushed under a new version, and find out who changed that object"
        raise


def get_object(store: Store, sized: Sized, what: str) -> bytes:
    """An object's bytes, checked against digest and size. Raises NotFound, VerificationFailed."""
    with names_the_way_out():
        data = store.get(object_name(sized.sha256), most=sized.size)
    if len(data) != sized.size or hashlib.sha256(data).hexdigest() != sized.sha256:
        raise VerificationFailed(
            f"the {what} in the store is not the one that the release record names",
            why=f"expected {sized.size} bytes with SHA-256 {sized.sha256}",
            fix="have the release pushed again under a new version",
            reason="digest-mismatch",
        )
    return data


def get_chunk(store: Store, sha256: str, into: memoryview) -> None:
    """Fill a buffer with a chunk; whoever opens it verifies. Raises NotFound, VerificationFailed
    ("damaged") where it has another length.
    """
    with names_the_way_out():
        if store.get_into(chunk_name(sha256), into) != len(into):
            raise chunk.damaged("it is longer or shorter than the model's list of files demands")


def reread(store: Store, name: str, sized: Sized) -> None:
    """Read what is there. Raises StoreError, reason "damaged-object" where it is another."""
    digest, size = hashlib.sha256(), 0
    with store.open(name) as reader:
        while size <= sized.size and (piece := reader.read(_CHUNK)):
            digest.update(piece)
            size += len(piece)
    if size != sized.size or digest.hexdigest() != sized.sha256:
        raise StoreError(
            f"{store.uri} holds other bytes under {name}",
            why="its name should be its digest, and it is not",
            fix="remove that object, and run it again",
            reason="damaged-object",
        )
