"""What is said of a release after it was written: manifests that name its index as their subject.

Found by the registry's referrers interface, or where it has none by the tag that the specification
gives for that (`sha256-<hex>`). Touches one repository.
"""

from __future__ import annotations

from sovgate.errors import AlreadyExists, Malformed, StoreError
from sovgate.formats import ociimage
from sovgate.records import Sized
from sovgate.stores.oci.names import Place
from sovgate.stores.oci.repository import Repository

#: First part of a name -> artifact type.
TYPES = {
    "evidence": "application/vnd.sovgate.evidence.v0",
    "receipts": "application/vnd.sovgate.receipt.v0",
}
#: What a bundle is called where cosign and others look for one.
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
#: Tries to bring a row into a list that others write too.
_TRIES = 8


class Referrers:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def find(self, where: Place, subject: Sized) -> Sized | None:
        """The document of that name, if it was put."""
        size = self._repository.blob_size(str(where.digest))
        if size is None:
            return None
        blob = Sized(sha256=str(where.digest), size=size)
        made = Sized.of(self._manifest(where, blob, subject))
        there = self._repository.has_manifest(ociimage.digest(made.sha256), what=where.name)
        return blob if there else None

    def put(self, where: Place, blob: Sized, subject: Sized) -> None:
        """A document whose blob is there. Raises AlreadyExists, StoreError."""
        data = self._manifest(where, blob, subject)
        made = Sized.of(data)
        reference = ociimage.digest(made.sha256)
        taken = self._repository.has_manifest(reference, what=where.name)
        done = self._repository.put_manifest(reference, data, ociimage.MANIFEST, what=where.name)
        if done is None or "oci-subject" not in done.headers:
            # It goes into the list even if it is there: a run may have ended between the two.
            self._list(made, _type(where.name), subject)
        if taken:
            raise AlreadyExists(
                f"{self._repository.uri} has {where.name} already",
                why="a store's names are written once; the old bytes stay",
            )

    def names(self, below: str, subject: Sized) -> set[str]:
        """The names, below that prefix, of what was put about a release."""
        rows = self._repository.referrers(subject.sha256)
        if rows is None:
            rows = self._rows(subject)[1]
        wanted, found = _type(below), set()
        for kind, blob in rows:
            if kind not in (wanted, None):
                continue
            reference = ociimage.digest(blob.sha256)
            data = self._repository.get_manifest(reference, what=f"a document below {below}")
            if data is None:
                continue
            try:
                read = ociimage.read_manifest(data)
            except Malformed:
                continue  # another tool's
            if read.artifact_type == wanted and len(read.layers) == 1:
                found.add(f"{below}{read.layers[0][1].sha256}.json")
        return found

    def _manifest(self, where: Place, blob: Sized, subject: Sized) -> bytes:
        return ociimage.manifest(_type(where.name), [(BUNDLE, blob)], subject=subject)

    # -- the list, where the registry keeps none

    def _rows(self, subject: Sized) -> tuple[bytes | None, list[tuple[str | None, Sized]]]:
        tag = f"sha256-{subject.sha256}"
        data = self._repository.get_manifest(tag, what=f"the tag {tag}")
        return data, [] if data is None else list(ociimage.read_referrers(data))

    def _list(self, made: Sized, kind: str, subject: Sized) -> None:
        """Add a row to the list. Two writers can undo each other, so it is read again."""
        tag = f"sha256-{subject.sha256}"
        for _ in range(_TRIES):
            _, rows = self._rows(subject)
            if made in (blob for _, blob in rows):
                return
            rows.append((kind, made))
            index = ociimage.index(
                [blob for _, blob in rows], [each or ociimage.DOCUMENT for each, _ in rows]
            )
            self._repository.put_manifest(tag, index, ociimage.INDEX, what=f"the tag {tag}")
        raise StoreError(
            f"could not add to what is about a release of {self._repository.uri}",
            why=f"its tag {tag} does not take what is written to it",
            fix="run it again; where tags are immutable, the registry needs the referrers API",
            reason="no-referrers",
        )


def _type(name: str) -> str:
    return TYPES[name.split("/", 1)[0]]
