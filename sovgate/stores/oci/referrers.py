"""What is said of a release after it was written: manifests that name its index as their subject.

Found by the registry's referrers interface, or where it has none by the tag that the specification
gives for that (`sha256-<hex>`). Touches one repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sovgate.errors import AlreadyExists, Malformed, StoreError
from sovgate.formats import ociimage
from sovgate.records import Sized
from sovgate.stores.oci.names import Place
from sovgate.stores.oci.repository import Repository
from sovgate.work import Workers

#: First part of a name -> artifact type.
TYPES = {
    "evidence": "application/vnd.sovgate.evidence.v0",
    "receipts": "application/vnd.sovgate.receipt.v0",
}
#: What a bundle is called where cosign and others look for one.
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
#: Tries to bring a row into a list that others write too.
_TRIES = 8
_AT_ONCE = 8


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
        reference = ociimage.digest(Sized.of(data).sha256)
        taken = self._repository.has_manifest(reference, what=where.name)
        # It goes into the list even if it is there: a run may have ended between the two.
        self._write([data], _type(where.name), subject)
        if taken:
            raise AlreadyExists(
                f"{self._repository.uri} has {where.name} already",
                why="a store's names are written once; the old bytes stay",
            )

    def attach(self, bundles: Sequence[Sized], subject: Sized) -> None:
        """Evidence that came along with a release, where other tools look for it; its blobs are
        there. Nothing of ours reads it here."""
        made = [ociimage.manifest(BUNDLE, [(BUNDLE, one)], subject=subject) for one in bundles]
        if made:
            self._write(made, BUNDLE, subject)

    def names(self, below: str, subject: Sized) -> set[str]:
        """The names, below that prefix, of what was put about a release."""
        rows = self._repository.referrers(subject.sha256)
        if rows is None:
            rows = self._rows(subject)
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

    def _write(self, manifests: Sequence[bytes], kind: str, subject: Sized) -> None:
        """Write manifests about `subject`, and list those that the registry does not list."""
        made = {Sized.of(data): data for data in manifests}
        listed: set[Sized] = set()

        def write(blob: Sized) -> None:
            done = self._repository.put_manifest(
                ociimage.digest(blob.sha256), made[blob], ociimage.MANIFEST, what=f"a {kind}"
            )
            if done is not None and "oci-subject" in done.headers:
                listed.add(blob)

        with Workers(_AT_ONCE) as workers:
            for blob in made:
                workers.submit(partial(write, blob))
        unlisted = [blob for blob in made if blob not in listed]
        if unlisted:
            self._list(unlisted, kind, subject)

    # -- the list, where the registry keeps none

    def _rows(self, subject: Sized) -> list[tuple[str | None, Sized]]:
        tag = f"sha256-{subject.sha256}"
        data = self._repository.get_manifest(tag, what=f"the tag {tag}")
        return [] if data is None else list(ociimage.read_referrers(data))

    def _list(self, made: Sequence[Sized], kind: str, subject: Sized) -> None:
        """Add rows to the list. Two writers can undo each other, so it is read again."""
        tag = f"sha256-{subject.sha256}"
        for _ in range(_TRIES):
            rows = self._rows(subject)
            there = {blob for _, blob in rows}
            missing = [(kind, blob) for blob in made if blob not in there]
            if not missing:
                return
            rows += missing
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
