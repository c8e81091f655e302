"""Tries out what a registry promises: digests that it checks, and tags that stay. Touches that
registry alone; what it writes stays, so that no right to delete is needed.
"""

from __future__ import annotations

import secrets

from sovgate.errors import StoreError
from sovgate.formats import ociimage
from sovgate.records import Sized
from sovgate.stores.oci.repository import Repository

_TAG = "_probe"
_WHAT = "the tag _probe"


def probe(repository: Repository, *, immutable: bool) -> None:
    """Raises StoreError, reason "not-create-only" (RULES 13) or "unchecked-digests" (RULES 14)."""
    _checks_digests(repository)
    if immutable:
        _keeps_tags(repository)


def _checks_digests(repository: Repository) -> None:
    """A blob must not come to be under the digest of other bytes."""
    other = Sized.of(secrets.token_bytes(32))
    try:
        repository.put_blob(b"these bytes", other.sha256, what="a blob of a wrong digest")
    except StoreError as error:
        if error.reason != "wrong-bytes":
            raise
    if repository.blob_size(other.sha256) is not None:
        raise StoreError(
            f"the registry of {repository.uri} takes bytes under a digest that is not theirs",
            why="so nothing that it says it has is known to be there",
            fix="use a registry that keeps to the OCI distribution specification",
            reason="unchecked-digests",
        )


def _keeps_tags(repository: Repository) -> None:
    """A tag that is there must not move. One request where an earlier run left the first."""
    config = Sized.of(ociimage.NO_CONFIG)
    repository.put_blob(ociimage.NO_CONFIG, config.sha256, what=_WHAT)
    made = [_manifest(repository) for _ in range(2)]
    before = repository.get_manifest(_TAG, what=_WHAT)
    if before is None:
        repository.put_manifest(_TAG, made[0], ociimage.MANIFEST, what=_WHAT)
        before = repository.get_manifest(_TAG, what=_WHAT)
    moved = repository.put_manifest(_TAG, made[1], ociimage.MANIFEST, what=_WHAT) is not None
    if moved or repository.get_manifest(_TAG, what=_WHAT) != before:
        raise StoreError(
            f"the tags of {repository.uri} can be moved",
            why="its URI says tags=immutable, and a second write of one tag did not fail",
            fix="have the registry's operator make the tags of that repository immutable; or "
            "remove tags=immutable, and pin each release that is pulled",
            reason="not-create-only",
        )


def _manifest(repository: Repository) -> bytes:
    """One that no other run makes."""
    data = b"sovgate tries create-only here: " + secrets.token_hex(8).encode()
    blob = Sized.of(data)
    repository.put_blob(data, blob.sha256, what=_WHAT)
    return ociimage.manifest(ociimage.DOCUMENT, [(ociimage.OBJECT_LAYER, blob)])
