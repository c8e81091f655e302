"""A repository of an OCI registry as a store: `oci://host[:port]/repository`.

What a name of the layout is there, docs/formats.md, "Registry", says. A registry removes what
nothing names, so chunks are there for good only once a release's manifests hold them.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sovgate.errors import AlreadyExists, Malformed, NotFound, StoreError, VerificationFailed
from sovgate.formats import ociimage
from sovgate.records import Sized
from sovgate.stores._api import Bytes, Held, Location, Stat, check_name
from sovgate.stores.oci import probing
from sovgate.stores.oci.names import Kind, Place, name_of, place
from sovgate.stores.oci.reference import Reference, read_uri
from sovgate.stores.oci.referrers import Referrers
from sovgate.stores.oci.repository import Repository, too_large
from sovgate.uri import Uri
from sovgate.work import Workers

#: Nothing that is written whole is larger.
MAX_WHOLE = 64 * 1024 * 1024
#: Requests under way at once, of those whose order does not matter.
_AT_ONCE = 8


def store(uri: Uri, base: Path, region: str | None = None) -> OciStore:
    """`oci://HOST[:PORT]/REPOSITORY[?tags=immutable&redirects=HOST&token=HOST&auth=FILE]`.

    `region` is the zone's "provider:region": its catalogued buckets may be redirected to.
    """
    return OciStore(read_uri(uri, base, region))


class OciStore:
    """`Store` and `Gathering` on a repository.

    Needs the right to pull; to write, the right to push. Never the right to delete.
    """

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self.repository = Repository(reference.connect())
        self._referrers = Referrers(self.repository)
        self._beside: dict[str, Sized] = {}
        self._probed = False
        self._configured = False

    def __repr__(self) -> str:
        return f"OciStore({self.uri!r})"

    @property
    def uri(self) -> str:
        return self.repository.uri

    def location(self) -> Location | None:
        """A registry has no such question (RULES 15)."""
        return None

    @property
    def names_move(self) -> bool:
        return not self._reference.immutable

    def probe(self) -> None:
        if not self._probed:
            probing.probe(self.repository, immutable=self._reference.immutable)
        self._probed = True

    # -- reading

    def stat(self, name: str) -> Stat | None:
        where = place(name)
        if where.kind in (Kind.CHUNK, Kind.OBJECT):
            size = self.repository.blob_size(str(where.digest))
            # A registry that was probed lets no blob come to be whose digest is another.
            known = where.digest if self._probed else None
            return None if size is None else Stat(size=size, sha256=known)
        found = self._find(where)
        return None if found is None else Stat(size=found.size, sha256=None)

    def get(self, name: str, *, most: int) -> bytes:
        where = place(name)
        if where.kind in (Kind.CHUNK, Kind.OBJECT):
            return self.repository.get_blob(str(where.digest), most=most, what=name)
        found = self._found(where)
        if found.size > most:
            raise too_large(name, self.uri, most)
        return self.repository.get_blob(found.sha256, most=most, what=name)

    def get_into(self, name: str, into: memoryview) -> int:
        where = place(name)
        digest = where.digest
        if where.kind not in (Kind.CHUNK, Kind.OBJECT):
            digest = self._found(where).sha256
        return self.repository.blob_into(str(digest), into, what=name)

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self.get(name, most=MAX_WHOLE))

    def list(self, prefix: str) -> Iterator[str]:
        parts = check_name(prefix.removesuffix("/"))
        names = {name for tag in self.repository.tags() if (name := name_of(tag)) is not None}
        if parts[0] in ("evidence", "receipts"):
            releases = sorted(name for name in names if name.startswith("releases/"))
            names = set()
            for release in releases:
                below = f"{parts[0]}/{release.removeprefix('releases/').removesuffix('.json')}/"
                if below.startswith(prefix) or prefix.startswith(below):
                    subject = self._index(place(release))
                    if subject is not None:
                        names |= self._referrers.names(below, Sized.of(subject))
        yield from sorted(name for name in names if name.startswith(prefix))

    # -- where a document's bytes lie

    def _find(self, where: Place) -> Sized | None:
        """The blob of what has no digest for a name; None where there is none."""
        if where.kind is Kind.REFERRER:
            subject = self._index(place(where.subject))
            return None if subject is None else self._referrers.find(where, Sized.of(subject))
        if where.kind is Kind.RELEASE:
            found = self._release(where)
            return None if found is None else found.layers[0][1]
        data = self.repository.get_manifest(str(where.tag), what=where.name)
        if data is None:
            return None
        read = self._read(where, data)
        if read.artifact_type != ociimage.DOCUMENT or len(read.layers) != 1:
            raise self._foreign(where)
        return read.layers[0][1]

    def _found(self, where: Place) -> Sized:
        found = self._find(where) or self._beside.get(where.name)
        if found is None:
            raise NotFound(f"{self.uri} has no {where.name}")
        return found

    def _index(self, where: Place) -> bytes | None:
        return self.repository.get_manifest(str(where.tag), what=where.name)

    def _release(self, where: Place) -> ociimage.Manifest | None:
        """The manifest of a release that holds its record, which is the first."""
        index = self._index(where)
        if index is None:
            return None
        try:
            manifests = ociimage.read_index(index)
        except Malformed as error:
            raise self._foreign(where) from error
        data = None
        if manifests:
            reference = ociimage.digest(manifests[0].sha256)
            data = self.repository.get_manifest(reference, what=where.name)
        if data is None:
            raise self._foreign(where)
        read = self._read(where, data)
        kinds = (read.artifact_type, read.config[0])
        if kinds != (ociimage.RELEASE, ociimage.CONFIG) or not read.layers:
            raise self._foreign(where)
        return read

    def _read(self, where: Place, data: bytes) -> ociimage.Manifest:
        try:
            return ociimage.read_manifest(data)
        except Malformed as error:
            raise self._foreign(where) from error

    def _foreign(self, where: Place) -> VerificationFailed:
        return VerificationFailed(
            f"the tag {where.tag} of {self.uri} does not hold what sovgate writes there",
            why=f"it should hold {where.name}",
            fix="find out who wrote that tag, and give them a repository of their own",
            reason="unsupported",
        )

    # -- writing

    def put(self, name: str, data: Bytes, *, sha256: str) -> None:
        where, size = place(name), len(data)
        if (where.digest or sha256) != sha256:
            raise StoreError(
                f"the bytes given for {name} are not those that it names",
                why=f"they were announced with SHA-256 {sha256}",
                reason="wrong-bytes",
            )
        if size > MAX_WHOLE:
            raise StoreError(
                f"{name} is too large to be written in one request",
                why=f"it has {size} bytes; nothing that sovgate writes has more than {MAX_WHOLE}",
                reason="limits",
            )
        blob = Sized(sha256=sha256, size=size)
        if where.kind is Kind.CHUNK:
            self.repository.put_blob(data, sha256, what=name)
            return
        if where.kind is Kind.RELEASE:
            self.put_release(name, bytes(data), Held())
            return
        if where.kind is Kind.REFERRER:
            subject = self._index(place(where.subject))
            if subject is None:
                raise NotFound(f"{self.uri} has no {where.subject}")
            self._add(blob, data, name)
            self._referrers.put(where, blob, Sized.of(subject))
            return
        if self.repository.has_manifest(str(where.tag), what=name):
            raise self._taken(name)
        self._add(blob, data, name)
        kind, layer = (ociimage.DOCUMENT, ociimage.OBJECT_LAYER)
        self._point(where, ociimage.manifest(kind, [(layer, blob)]), ociimage.MANIFEST)

    def _add(self, blob: Sized, data: Bytes, name: str) -> None:
        """A layer, and the empty config that goes with it."""
        self.repository.put_blob(data, blob.sha256, what=name)
        if not self._configured:
            self._add_once(ociimage.NO_CONFIG, name)
        self._configured = True

    def _add_once(self, data: bytes, name: str) -> None:
        blob = Sized.of(data)
        if self.repository.blob_size(blob.sha256) is None:
            self.repository.put_blob(data, blob.sha256, what=name)

    def _point(self, where: Place, data: bytes, media: str) -> None:
        """Give a manifest its tag. Where tags move, what another wrote meanwhile is not ours."""
        tag = str(where.tag)
        done = self.repository.put_manifest(tag, data, media, what=where.name)
        named = where.kind is not Kind.OBJECT  # else it is as good as ours
        if done is None or (
            named and self.names_move and self.repository.get_manifest(tag, what=where.name) != data
        ):
            raise self._taken(where.name)

    # -- a release, and what belongs to it

    def require_room(self, name: str, *, chunks: int) -> None:
        """Raises StoreError, "limits"."""
        place(name)
        manifests = -(-chunks // ociimage.MAX_LAYERS) + _MOST_DOCUMENTS // ociimage.MAX_LAYERS + 1
        size = ociimage.index_size(manifests)
        if size > ociimage.MAX_BYTES or manifests > ociimage.MAX_MANIFESTS:
            raise StoreError(
                "the model is too large for a registry",
                why=f"its {chunks} chunks need {manifests} manifests, and an index of {size} bytes",
                fix="use a bucket or a folder as the store",
                reason="limits",
            )

    def put_release(self, name: str, data: bytes, held: Held) -> None:
        """Blobs go first, then the manifests that hold them, several at once, then the index. It
        gets its tag last. Raises AlreadyExists, StoreError."""
        where = place(name)
        if where.kind is not Kind.RELEASE:
            raise StoreError(f"{name} is no release's name", reason="wrong-bytes")
        if self.repository.has_manifest(str(where.tag), what=name):
            raise self._taken(name)
        record = Sized.of(data)
        beside = {each: Sized.of(text) for each, text in held.beside.items()}
        config = ociimage.Carried(name=name, beside=beside).emit()
        with Workers(_AT_ONCE) as workers:
            for text in {data, config, ociimage.NO_CONFIG, *held.beside.values()}:
                workers.submit(partial(self._add_once, text, name))
        objects = [blob for blob in (*beside.values(), *held.objects) if blob != record]
        layers = [(ociimage.OBJECT_LAYER, blob) for blob in dict.fromkeys((record, *objects))]
        manifests = [
            *_cut(ociimage.RELEASE, layers, config=Sized.of(config)),
            *_cut(ociimage.CHUNKS, [(ociimage.CHUNK_LAYER, blob) for blob in held.chunks]),
        ]
        with Workers(_AT_ONCE) as workers:
            for manifest in manifests:
                workers.submit(partial(self._add_manifest, manifest, name))
        index = ociimage.index([Sized.of(manifest) for manifest in manifests])
        # Some registries take nothing about an index that they do not have.
        subject = Sized.of(index)
        reference = ociimage.digest(subject.sha256)
        self.repository.put_manifest(reference, index, ociimage.INDEX, what=name)
        self._referrers.attach(held.evidence, subject)
        self._point(where, index, ociimage.INDEX)

    def _add_manifest(self, data: bytes, name: str) -> None:
        reference = ociimage.digest(Sized.of(data).sha256)
        self.repository.put_manifest(reference, data, ociimage.MANIFEST, what=name)

    def within(self, name: str) -> OciStore:
        """This store, where what a release carries along is found too: in a copy of it alone there
        is nothing else. Raises as `get`."""
        where = place(name)
        found = self._release(where)
        if found is None:
            raise NotFound(f"{self.uri} has no {name}")
        data = self.repository.get_blob(
            found.config[1].sha256, most=ociimage.MAX_CONFIG, what=f"the config of {name}"
        )
        try:
            carried = ociimage.Carried.parse(data)
        except Malformed as error:
            raise self._foreign(where) from error
        if carried.name != name:
            raise self._foreign(where)
        view = copy.copy(self)
        view._beside = dict(carried.beside)
        return view

    # -- errors

    def _taken(self, name: str) -> AlreadyExists:
        return AlreadyExists(
            f"{self.uri} has {name} already",
            why="a store's names are written once; the old bytes stay",
        )


#: Objects of one release at most: evidence, a list and a key table for each part, and a few more.
_MOST_DOCUMENTS = 2_000


def _cut(
    kind: str, layers: Sequence[tuple[str, Sized]], *, config: Sized | None = None
) -> Iterator[bytes]:
    """Manifests of at most MAX_LAYERS each. With `config`, that of the first, and of a kind of its
    own; those after it hold objects."""
    for start in range(0, len(layers), ociimage.MAX_LAYERS):
        first = start == 0 and config is not None
        yield ociimage.manifest(
            kind if first or config is None else ociimage.OBJECTS,
            layers[start : start + ociimage.MAX_LAYERS],
            config=config if first else None,
        )
