"""What a push keeps on its own machine until its release is written: the keys of chunks. No I/O.

A header, signed once, says for which push; an entry holds a chunk's key and IV, and the SHA-256 of
the only chunk that they ever made (RULES 9). docs/formats.md, "Kept keys".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from sovgate import strict
from sovgate.errors import InternalError, Malformed
from sovgate.formats import chunk
from sovgate.formats._common import read_sized, read_zone
from sovgate.formats.envelope import pae
from sovgate.formats.part import DIGEST_SIZE, Part
from sovgate.formats.plan import MAX_PARTS
from sovgate.formats.wrap import Wrapped
from sovgate.records import Sized

FORMAT = "sovgate.resume/v0"
_PART_FORMAT = "sovgate.part/v0"
_ENTRY_FORMAT = "sovgate.resume-entry/v0"
_OUTBOX_FORMAT = "sovgate.outbox/v0"
#: No statement of in-toto and no copy has this type, so no signature of them passes for this one.
_SIGNED_AS = "application/vnd.sovgate.resume.v0+json"
_PART_SIGNED_AS = "application/vnd.sovgate.part.v0+json"
_PLAIN = chunk.KEY_SIZE + chunk.IV_SIZE + DIGEST_SIZE
#: Bytes of an entry.
ENTRY_SIZE = chunk.IV_SIZE + _PLAIN + chunk.TAG_SIZE
#: Of a header, and of a closed part, with their signatures.
MAX_DOCUMENT = 64 * 1024
_MAX_SIGNATURE = 1024
_MAX_TEXT = 4096


@dataclass(frozen=True, kw_only=True)
class Course:
    """The one push that kept keys are for: `NAME/VERSION`, manifest digest, zones from and to, the
    key that it is encrypted for, the store's URI. What differs in one of them is another push.
    `reused`: SHA-256 of the list of units that it takes from earlier releases, or None. It has the
    same folder with other ones, and what was kept then is not used.
    `shard`: i of n, where the push is of one shard; None: of all.
    """

    release: str
    manifest: str
    source: str
    zone: str
    key_id: str
    store: str
    reused: str | None = None
    shard: tuple[int, int] | None = None

    def json(self) -> dict[str, strict.JSON]:
        return {
            **self._named(),
            **({} if self.reused is None else {"reused": self.reused}),
        }

    def _named(self) -> dict[str, strict.JSON]:
        shard = self.shard and {"shard": {"number": self.shard[0], "of": self.shard[1]}}
        return {
            "release": self.release,
            "manifest": self.manifest,
            "source": self.source,
            "zone": self.zone,
            "key-id": self.key_id,
            "store": self.store,
            **(shard or {}),
        }

    @classmethod
    def read(cls, fields: strict.Fields) -> Course:
        course = cls(
            release=fields.text("release", max_length=300),
            manifest=fields.sha256("manifest"),
            source=read_zone(fields, "source"),
            zone=read_zone(fields, "zone"),
            key_id=fields.text("key-id", max_length=_MAX_TEXT),
            store=fields.text("store", max_length=_MAX_TEXT),
            reused=fields.sha256("reused") if fields.has("reused") else None,
            shard=_shard(fields.object("shard")) if fields.has("shard") else None,
        )
        fields.done()
        return course

    @property
    def name(self) -> str:
        """Of its folder: the SHA-256 of these fields but `reused`, in hex."""
        return hashlib.sha256(strict.canonical(self._named())).hexdigest()

    def context(self) -> bytes:
        """What the outbox key is wrapped for. No release key has this context."""
        return strict.canonical(
            {
                "format": _OUTBOX_FORMAT,
                "zone": self.source,
                "to": self.zone,
                "release": self.release,
                "manifest": self.manifest,
            }
        )


def _shard(fields: strict.Fields) -> tuple[int, int]:
    of = fields.integer("of", least=1, most=MAX_PARTS)
    number = fields.integer("number", least=1, most=of)
    fields.done()
    return number, of


@dataclass(frozen=True, kw_only=True)
class Header:
    """`recipient`: how the sender's own key wraps the outbox key; None: a file beside it holds it.
    `commit` is the outbox key's commitment.
    """

    course: Course
    commit: str
    recipient: Wrapped | None

    def canonical(self) -> bytes:
        return strict.canonical(
            {
                "format": FORMAT,
                "course": self.course.json(),
                "commit": self.commit,
                "recipient": self.recipient and self.recipient.json(),
            }
        )

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.canonical()).digest()

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Canonical bytes only. Raises Malformed."""
        top = strict.Fields(strict.loads_canonical(data), "header")
        top.exactly("format", FORMAT)
        header = cls(
            course=Course.read(top.object("course")),
            commit=top.sha256("commit"),
            recipient=top.nullable("recipient", lambda name: Wrapped.read(top.object(name))),
        )
        top.done()
        if header.recipient is not None and header.recipient.commit != header.commit:
            raise Malformed("the header has two commitments")
        return header


@dataclass(frozen=True, kw_only=True)
class ClosedPart:
    """`part-NNN.json`: a part whose files were what was signed and whose chunks were sent, and what
    names the digests of the blocks that were looked into of these files."""

    course: Course
    part: Part
    looked: Sized

    def canonical(self) -> bytes:
        return strict.canonical(
            {
                "format": _PART_FORMAT,
                "course": self.course.json(),
                "part": self.part.json(),
                "looked": self.looked.json(),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> ClosedPart:
        """Canonical bytes only. Raises Malformed."""
        top = strict.Fields(strict.loads_canonical(data), "part")
        top.exactly("format", _PART_FORMAT)
        closed = cls(
            course=Course.read(top.object("course")),
            part=Part.read(top.object("part")),
            looked=read_sized(top.object("looked"), most=strict.MAX_BYTES),
        )
        top.done()
        return closed


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A document's bytes, and the zone's ECDSA (DER) over them as DSSE encodes them."""

    payload: bytes
    signature: bytes

    def canonical(self) -> bytes:
        return strict.canonical(
            {
                "payload": strict.b64encode(self.payload),
                "signature": strict.b64encode(self.signature),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Signed:
        """Canonical bytes only. Raises Malformed."""
        top = strict.Fields(strict.loads_canonical(data), "signed")
        signed = cls(
            payload=top.base64("payload", max_bytes=MAX_DOCUMENT),
            signature=top.base64("signature", max_bytes=_MAX_SIGNATURE),
        )
        top.done()
        return signed


def signed_bytes(header: bytes) -> bytes:
    """What the zone's own key signs of a header."""
    return pae(_SIGNED_AS, header)


def part_signed_bytes(document: bytes) -> bytes:
    """What it signs of a closed part."""
    return pae(_PART_SIGNED_AS, document)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A chunk's key and IV, and the SHA-256 of the chunk that they made. Its repr shows none."""

    key: bytes = field(repr=False)
    iv: bytes = field(repr=False)
    digest: bytes

    def sealed(self, outbox: bytes, header: bytes, place: int, *, iv: bytes | None = None) -> bytes:
        """ENTRY_SIZE bytes, bound to the header's digest and to the chunk's place in the plan.

        The IV is random, not the place: a place may be written twice. Only test vectors name it.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        plain = self.key + self.iv + self.digest
        if len(plain) != _PLAIN:
            raise InternalError("an entry's key, IV or digest has the wrong length")
        iv = chunk.new_iv() if iv is None else iv
        return iv + AESGCM(outbox).encrypt(iv, plain, _entry_ad(header, place))

    @classmethod
    def opened(cls, data: bytes, outbox: bytes, header: bytes, place: int) -> Entry | None:
        """None for what this outbox key did not make for this header and place."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if len(data) != ENTRY_SIZE:
            return None
        iv, sealed = data[: chunk.IV_SIZE], data[chunk.IV_SIZE :]
        try:
            plain = AESGCM(outbox).decrypt(iv, sealed, _entry_ad(header, place))
        except InvalidTag:
            return None
        after = chunk.KEY_SIZE + chunk.IV_SIZE
        return cls(
            key=plain[: chunk.KEY_SIZE],
            iv=plain[chunk.KEY_SIZE : after],
            digest=plain[after:],
        )


def _entry_ad(header: bytes, place: int) -> bytes:
    return strict.canonical({"format": _ENTRY_FORMAT, "header": header.hex(), "place": place})
