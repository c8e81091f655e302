"""The key table: one random key a blob, with what binds and verifies it. Bytes <-> records, no I/O.

It travels encrypted under the release key. Its records hold secrets; their reprs do not show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sovgate import strict
from sovgate.errors import Malformed, VerificationFailed
from sovgate.files import MAX_ENTRIES
from sovgate.formats import stream
from sovgate.formats.wrap import Context
from sovgate.records import ZONE_NAME, Sized

FORMAT = "sovgate.keytable/v0"
DIGEST_SIZE = 32
#: As long as any JSON here may be; a model whose table is larger is refused when it is encrypted.
MAX_BYTES = strict.MAX_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A blob's SHA-256, its key, the zone and plaintext it is bound to, its chunks' digests."""

    blob: str
    key: bytes = field(repr=False)
    zone: str
    plaintext: Sized
    chunks: bytes = field(repr=False)

    @property
    def digests(self) -> tuple[bytes, ...]:
        starts = range(0, len(self.chunks), DIGEST_SIZE)
        return tuple(self.chunks[at : at + DIGEST_SIZE] for at in starts)

    @property
    def associated_data(self) -> bytes:
        return stream.associated_data(self.zone, self.plaintext.sha256, self.plaintext.size)


def serialize(entries: Sequence[Entry]) -> bytes:
    """Canonical plaintext of the table. Raises VerificationFailed ("limits")."""
    data = strict.canonical(
        {
            "format": FORMAT,
            "entries": [
                {
                    "blob": entry.blob,
                    "key": strict.b64encode(entry.key),
                    "ad": {"zone": entry.zone, **entry.plaintext.json()},
                    "segment": stream.SEGMENT,
                    "chunk": stream.CHUNK_SEGMENTS,
                    "chunks": strict.b64encode(entry.chunks),
                }
                for entry in entries
            ],
        }
    )
    if len(data) > MAX_BYTES:
        raise VerificationFailed(
            "the model has too many files or bytes for one release",
            why=f"its key table has {len(data)} bytes; {MAX_BYTES} are allowed",
            fix="pack small files together, or split the model",
            reason="limits",
        )
    return data


def parse(data: bytes) -> tuple[Entry, ...]:
    """Raises Malformed, VerificationFailed ("limits"). A key that serves two blobs is Malformed."""
    top = strict.Fields(strict.loads_canonical(data), "keytable")
    top.exactly("format", FORMAT)
    entries = []
    for item in top.objects("entries", most=MAX_ENTRIES):
        bound = item.object("ad")
        size = bound.integer("size")
        count = stream.Layout(size=size).chunks
        entry = Entry(
            blob=item.sha256("blob"),
            key=item.base64("key", max_bytes=stream.KEY_SIZE),
            zone=bound.text("zone", pattern=ZONE_NAME),
            plaintext=Sized(sha256=bound.sha256("sha256"), size=size),
            chunks=item.base64("chunks"),
        )
        item.exactly("segment", stream.SEGMENT)
        item.exactly("chunk", stream.CHUNK_SEGMENTS)
        bound.done()
        item.done()
        if len(entry.key) != stream.KEY_SIZE or len(entry.chunks) != count * DIGEST_SIZE:
            raise Malformed(f"{item.path} has a key or chunk digests of the wrong length")
        entries.append(entry)
    top.done()
    if len({entry.key for entry in entries}) != len(entries):
        raise Malformed("keytable.entries uses one key for two blobs")
    if len({entry.blob for entry in entries}) != len(entries):
        raise Malformed("keytable.entries lists a blob twice")
    return tuple(entries)


def seal(entries: Sequence[Entry], release_key: bytes, context: Context, **fixed: bytes) -> bytes:
    """The encrypted table. `fixed`: salt and prefix, for test vectors only."""
    return stream.seal(release_key, context.keytable_ad(), serialize(entries), **fixed)


def unseal(data: bytes, release_key: bytes, context: Context) -> tuple[Entry, ...]:
    """Raises VerificationFailed ("damaged"), Malformed."""
    return parse(stream.unseal(release_key, context.keytable_ad(), data))
