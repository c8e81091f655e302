"""Old versions in a bucket: what a bucket with versioning keeps of objects that were deleted.

Makes GetBucketVersioning and ListObjectVersions, for `audit sweep` alone. Deletes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from sovgate.clouds.aws import answers
from sovgate.errors import StoreError, VerificationFailed
from sovgate.files import MAX_ENTRIES
from sovgate.stores._api import Entry
from sovgate.stores.s3.reader import MAX_EMPTY

if TYPE_CHECKING:
    from sovgate.stores.s3 import S3Store

#: Services without versions answer in these ways.
_NONE = (404, 405, 501)


def kept(store: S3Store) -> bool:
    """Whether the bucket keeps versions, or did. Raises StoreError, "access-denied"."""
    with store.errors("get_bucket_versioning"):
        try:
            answer = store.call("get_bucket_versioning")
        except answers.failures() as error:
            if answers.code_of(error) == "NoSuchBucket" or answers.status_of(error) not in _NONE:
                raise
            return False
    return answer.get("Status") in ("Enabled", "Suspended")


def old(store: S3Store, prefix: str) -> Iterator[Entry]:
    """Each version that is no longer the object of its name, newest first of each name."""
    cut, asked, count, empty = len(store.key("")), dict[str, str](), 0, 0
    while True:
        with store.errors("list_object_versions"):
            page = store.call("list_object_versions", Prefix=store.key(prefix), **asked)
        found = page.get("Versions", ())
        told = len(found) + len(page.get("DeleteMarkers", ()))
        count, empty = count + told, empty + (not told)
        for one in found:
            key, written = str(one.get("Key") or ""), one.get("LastModified")
            if key.startswith(store.key(prefix)) and not one.get("IsLatest"):
                when = written if isinstance(written, datetime) and written.tzinfo else None
                yield Entry(name=key[cut:], size=int(one.get("Size") or 0), written=when)
        if not page.get("IsTruncated"):
            return
        following = {
            "KeyMarker": str(page.get("NextKeyMarker") or ""),
            "VersionIdMarker": str(page.get("NextVersionIdMarker") or ""),
        }
        if not following["KeyMarker"]:
            raise StoreError(
                f"the list of versions in {store.uri} breaks off",
                why="the service says that there is more, and not how to ask for it",
                fix="run it again; if the error stays, ask the service's operator",
                reason="broken-off",
            )
        if count > MAX_ENTRIES or following == asked or empty > MAX_EMPTY:
            raise VerificationFailed(
                f"the list of versions in {store.uri} does not end",
                why=f"{count} versions so far; {MAX_ENTRIES} is the limit",
                reason="limits",
            )
        asked = following
