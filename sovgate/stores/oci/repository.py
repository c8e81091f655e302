"""One repository of a registry: blobs, manifests, tags, referrers, each a request or two.

Speaks the OCI distribution API (1.1) over a Connection, and touches nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from urllib.parse import quote

from sovgate import strict
from sovgate.errors import NotFound, StoreError, VerificationFailed
from sovgate.files import MAX_ENTRIES
from sovgate.formats import ociimage
from sovgate.records import Sized
from sovgate.stores._api import Bytes
from sovgate.stores.oci.connection import Answer, Connection
from sovgate.transport.client import Request
from sovgate.transport.wire import Failure, explain

_ACCEPT = {"Accept": f"{ociimage.INDEX}, {ociimage.MANIFEST}"}
#: A page of tags, and pages that a reader takes.
_PAGE, _MAX_PAGE, _MAX_PAGES = 1000, 8 * 1024 * 1024, 10_000
#: Answers to a manifest whose tag a registry does not let go.
_KEPT = (400, 403, 405, 409, 412, 422)
#: Answers of a registry that knows no such upload, any more.
_ENDED = (404, 409, 416)


class Repository:
    """`what` names what is read or written, for errors."""

    def __init__(self, at: Connection) -> None:
        self._at, self.name = at, at.repository

    @property
    def uri(self) -> str:
        return self._at.uri

    # -- blobs

    def blob_size(self, sha256: str) -> int | None:
        """None where there is no such blob. Raises StoreError."""
        doing = f"look at a blob of {self.uri}"
        with self._at.read("HEAD", sha256, doing) as answer:
            if answer.status == 404:
                return None
            if answer.status != 200 or answer.length is None:
                self._at.refuse(answer, doing)
            return answer.length

    def get_blob(self, sha256: str, *, most: int, what: str) -> bytes:
        """A blob's bytes, checked. Raises NotFound, VerificationFailed ("limits", "damaged")."""
        doing = f"read {what} of {self.uri}"
        with self._at.read("GET", sha256, doing) as answer:
            if answer.status == 404:
                raise NotFound(f"{self.uri} has no {what}")
            if answer.status != 200:
                self._at.refuse(answer, doing)
            if answer.length is not None and answer.length > most:
                raise too_large(what, self.uri, most)
            data = self._at.body(answer, most, doing)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise VerificationFailed(
                f"{what} of {self.uri} has not the bytes of its digest",
                fix="find out who answers at that registry, or run it again",
                reason="damaged",
            )
        return data

    def blob_into(self, sha256: str, into: memoryview, *, what: str) -> int:
        """The blob's size; where that is `len(into)`, the buffer is filled. Raises NotFound."""
        doing = f"read {what} of {self.uri}"
        with self._at.read("GET", sha256, doing) as answer:
            if answer.status == 404:
                raise NotFound(f"{self.uri} has no {what}")
            if answer.status != 200 or answer.length is None:
                self._at.refuse(answer, doing)
            size = answer.length
            try:
                left = into if size == len(into) else into[:0]
                while left:
                    left = left[answer.readinto(left) :]
            except Failure as failure:
                raise explain(failure, doing, StoreError) from failure
            return size

    def put_blob(self, data: Bytes, sha256: str, *, what: str) -> None:
        """POST, then PUT of all of it. What is there already is the same. Raises StoreError,
        ResidencyMismatch."""
        doing = f"write {what} to {self.uri}"
        begun = self._at.write("POST", f"/v2/{self.name}/blobs/uploads/", doing)
        if begun.status != 202 or "location" not in begun.headers:
            self._at.refused(begun, doing)
        target = self._at.upload(begun.headers["location"])
        mark = "&" if "?" in target else "?"
        try:
            done = self._at.write(
                "PUT",
                f"{target}{mark}digest={quote(ociimage.digest(sha256), safe='')}",
                doing,
                body=data,
                media="application/octet-stream",
            )
        except StoreError:
            if self.blob_size(sha256) != len(data):
                raise
            return
        if done.status == 201:
            self._require_digest(done, sha256, what)
            return
        # An earlier try may have ended the upload unheard, or somebody on the way sent it twice:
        # what has the digest is what was sent.
        settled = done.status in _ENDED or done.status >= 500
        if not settled or self.blob_size(sha256) != len(data):
            self._at.refused(done, doing)

    # -- manifests

    def get_manifest(self, reference: str, *, what: str) -> bytes | None:
        """The bytes behind a tag or a digest, which is checked; None where there are none."""
        doing = f"read {what} of {self.uri}"
        found = self._at.get(f"/v2/{self.name}/manifests/{reference}", doing, _ACCEPT)
        if found.status == 404:
            return None
        if found.status != 200:
            self._at.refused(found, doing)
        if ":" in reference and ociimage.digest(Sized.of(found.data).sha256) != reference:
            raise VerificationFailed(
                f"{what} of {self.uri} has not the bytes of its digest",
                fix="find out who answers at that registry, or run it again",
                reason="damaged",
            )
        return found.data

    def has_manifest(self, reference: str, *, what: str) -> bool:
        doing = f"look at {what} of {self.uri}"
        found = self._at.ask(
            Request(
                method="HEAD", target=f"/v2/{self.name}/manifests/{reference}", headers=_ACCEPT
            ),
            doing,
            writing=False,
        )
        with found as answer:
            if answer.status not in (200, 404):
                self._at.refuse(answer, doing)
            return answer.status == 200

    def put_manifest(self, reference: str, data: bytes, media: str, *, what: str) -> Answer | None:
        """What the registry said when it took it; None where it keeps what the tag names already.

        Raises StoreError.
        """
        doing = f"write {what} to {self.uri}"
        target = f"/v2/{self.name}/manifests/{reference}"
        done = self._at.write("PUT", target, doing, body=data, media=media)
        if done.status in _KEPT and (there := self.get_manifest(reference, what=what)) is not None:
            return done if there == data and done.retried else None
        if done.status != 201:
            self._at.refused(done, doing)
        self._require_digest(done, Sized.of(data).sha256, what)
        return done

    def _require_digest(self, done: Answer, sha256: str, what: str) -> None:
        """What a registry says that it took must be what it was given, if it says it."""
        told = done.headers.get("docker-content-digest")
        if told is not None and told != ociimage.digest(sha256):
            raise StoreError(
                f"{what} did not arrive in {self.uri} as it was sent",
                why=f"the registry keeps it as {told[:100]!r}, and it is {ociimage.digest(sha256)}",
                fix="run it again; if the error stays, use a registry that changes nothing",
                reason="wrong-bytes",
            )

    # -- lists

    def tags(self) -> Iterator[str]:
        """All tags, page by page. Raises VerificationFailed ("limits")."""
        doing, count = f"list {self.uri}", 0
        target: str | None = f"/v2/{self.name}/tags/list?n={_PAGE}"
        for _ in range(_MAX_PAGES):
            found = self._at.get(target, doing, most=_MAX_PAGE)
            if found.status == 404:
                return  # no such repository: nothing was written yet
            if found.status != 200:
                self._at.refused(found, doing)
            names = _tags(found.data)
            count += len(names)
            if count > MAX_ENTRIES:
                break
            yield from names
            target = self._at.following(
                found.headers.get("link", ""), f"/v2/{self.name}/tags/list?"
            )
            if target is None:
                return
        raise VerificationFailed(
            f"the list of {self.uri} does not end",
            why=f"{count} tags so far; {MAX_ENTRIES} is the limit",
            reason="limits",
        )

    def referrers(self, sha256: str) -> list[tuple[str | None, Sized]] | None:
        """What the registry knows to name that subject; None where it has no such interface."""
        doing = f"list what is about a release of {self.uri}"
        rows: list[tuple[str | None, Sized]] = []
        start = f"/v2/{self.name}/referrers/{ociimage.digest(sha256)}"
        target: str | None = start
        pages = 0
        while target is not None:
            found, pages = self._at.get(target, doing), pages + 1
            if found.status == 404:
                return None
            if found.status != 200:
                self._at.refused(found, doing)
            rows += ociimage.read_referrers(found.data)
            if len(rows) > ociimage.MAX_MANIFESTS or pages > ociimage.MAX_MANIFESTS:
                raise VerificationFailed(
                    f"more than {ociimage.MAX_MANIFESTS} documents are about a release of "
                    f"{self.uri}",
                    reason="limits",
                )
            target = self._at.following(found.headers.get("link", ""), f"{start}?")
        return rows


def too_large(what: str, uri: str, most: int) -> VerificationFailed:
    return VerificationFailed(
        f"{what} of {uri} is larger than {most} bytes",
        why="no object of this kind is that large, so it is not read",
        fix="find out who wrote it there",
        reason="limits",
    )


def _tags(data: bytes) -> list[str]:
    fields = strict.Fields(strict.loads(data, max_bytes=_MAX_PAGE), "tags")
    if fields.has("tags") and fields.raw("tags") is None:
        return []
    return list(fields.texts("tags", most=MAX_ENTRIES))
