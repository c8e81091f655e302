"""Manifests and indexes of OCI images, as a registry keeps a release in them. No I/O.

docs/formats.md, "Registry". The index has no field that a copying tool drops, so that a copy has
the same digest; what a manifest is for stands in the manifest itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sovgate import strict
from sovgate.errors import Malformed
from sovgate.formats._common import read_sized
from sovgate.records import Sized

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
#: The config of a manifest that needs none.
NO_CONFIG = b"{}"
#: Bytes of a manifest or index that registries take, and layers that copying tools get along with.
MAX_BYTES = 4 * 1024 * 1024
MAX_LAYERS = 400
#: Manifests of one index: those of the largest release, and room for its documents.
MAX_MANIFESTS = 2_000
#: What a manifest is for: its `artifactType`. Never one of weights: what is in it is ciphertext.
RELEASE = "application/vnd.sovgate.release.v0"
CHUNKS = "application/vnd.sovgate.chunks.v0"
OBJECTS = "application/vnd.sovgate.objects.v0"
DOCUMENT = "application/vnd.sovgate.document.v0"
#: What a layer holds.
CHUNK_LAYER = "application/vnd.sovgate.chunk.v0"
OBJECT_LAYER = "application/vnd.sovgate.object.v0"
CONFIG = "application/vnd.sovgate.release.config.v0+json"
_CONFIG_FORMAT = "sovgate.oci-release/v0"
MAX_CONFIG = 64 * 1024
_MAX_TYPE = 255


def digest(sha256: str) -> str:
    """As a registry writes a SHA-256."""
    return f"sha256:{sha256}"


def manifest(
    artifact_type: str,
    layers: Iterable[tuple[str, Sized]],
    *,
    config: Sized | None = None,
    subject: Sized | None = None,
) -> bytes:
    """`layers`: (media type, blob); `config`: a blob of CONFIG; `subject`: an index."""
    value: dict[str, strict.JSON] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": artifact_type,
        "config": _descriptor(CONFIG, config)
        if config
        else _descriptor(EMPTY, Sized.of(NO_CONFIG)),
        "layers": [_descriptor(kind, blob) for kind, blob in layers],
    }
    if subject is not None:
        value["subject"] = _descriptor(INDEX, subject)
    return _emit(value)


def index(manifests: Iterable[Sized], artifact_types: Sequence[str] = ()) -> bytes:
    """The manifests in their order. `artifact_types` of each stand in a list of referrers alone."""
    rows = [_descriptor(MANIFEST, one) for one in manifests]
    for row, kind in zip(rows, artifact_types, strict=False):
        row["artifactType"] = kind
    return _emit({"schemaVersion": 2, "mediaType": INDEX, "manifests": rows})


def index_size(manifests: int) -> int:
    """Bytes of an index of so many manifests, each of the largest size."""
    largest = Sized(sha256="0" * 64, size=MAX_BYTES)
    one = len(_emit(_descriptor(MANIFEST, largest))) + 1
    return len(index(())) + manifests * one


def _descriptor(kind: str, blob: Sized) -> dict[str, strict.JSON]:
    return {"mediaType": kind, "digest": digest(blob.sha256), "size": blob.size}


def _emit(value: strict.JSON) -> bytes:
    """In the order in which other tools write the fields: writing it anew changes no byte."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode("ascii")


# -- reading: what others may have written or copied


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`layers`: (media type, blob), in their order."""

    artifact_type: str | None
    config: tuple[str, Sized]
    layers: tuple[tuple[str, Sized], ...]


def read_manifest(data: bytes) -> Manifest:
    """Raises Malformed."""
    fields = _top(data, "manifest", MANIFEST)
    kind = fields.text("artifactType", max_length=_MAX_TYPE) if fields.has("artifactType") else None
    return Manifest(
        artifact_type=kind,
        config=_read(fields.object("config")),
        layers=tuple(_read(row) for row in fields.objects("layers", most=10_000)),
    )


def read_index(data: bytes) -> tuple[Sized, ...]:
    """The manifests in their order. Raises Malformed."""
    fields = _top(data, "index", INDEX)
    rows = [_read(row) for row in fields.objects("manifests", most=MAX_MANIFESTS)]
    return tuple(blob for kind, blob in rows if kind == MANIFEST)


def read_referrers(data: bytes) -> tuple[tuple[str | None, Sized], ...]:
    """(artifact type, manifest) of what names one subject. Raises Malformed."""
    fields = _top(data, "referrers", INDEX)
    found = []
    for row in fields.objects("manifests", most=MAX_MANIFESTS):
        kind = row.text("artifactType", max_length=_MAX_TYPE) if row.has("artifactType") else None
        media, blob = _read(row)
        if media == MANIFEST:
            found.append((kind, blob))
    return tuple(found)


def _top(data: bytes, what: str, media: str) -> strict.Fields:
    fields = strict.Fields(strict.loads(data, max_bytes=MAX_BYTES), what)
    if fields.integer("schemaVersion") != 2 or (
        fields.has("mediaType") and fields.text("mediaType") != media
    ):
        raise Malformed(f"the {what} in the registry is of another kind", why=f"not {media}")
    return fields


def _read(fields: strict.Fields) -> tuple[str, Sized]:
    """A descriptor. Fields that copying tools add are passed over: nothing is believed of them."""
    kind = fields.text("mediaType", max_length=_MAX_TYPE)
    text = fields.text("digest", max_length=160)
    sha256 = text.removeprefix("sha256:")
    if text == sha256 or not strict.is_sha256(sha256):
        raise Malformed(f"{fields.path}.digest is no SHA-256")
    return kind, Sized(sha256=sha256, size=fields.integer("size"))


# -- the config of a release


@dataclass(frozen=True, kw_only=True)
class Carried:
    """The release's own name in the store, and what its reader needs that lies under other names:
    its number's claim, the record before it. A copy of the release takes them along.
    """

    name: str
    beside: Mapping[str, Sized]

    def emit(self) -> bytes:
        return strict.canonical(
            {
                "format": _CONFIG_FORMAT,
                "name": self.name,
                "beside": {name: blob.json() for name, blob in self.beside.items()},
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Carried:
        """Raises Malformed."""
        fields = strict.Fields(strict.loads_canonical(data, max_bytes=MAX_CONFIG), "config")
        fields.exactly("format", _CONFIG_FORMAT)
        beside = fields.object("beside")
        carried = cls(
            name=fields.text("name", max_length=1000),
            beside={name: read_sized(beside.object(name)) for name in beside.names()},
        )
        fields.done()
        return carried
