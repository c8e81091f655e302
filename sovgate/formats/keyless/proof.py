"""What stands in a keyless bundle beside its signature: a log's entry, and timestamps. No I/O.

JSON <-> records, strictly (RULES 3): `spelled` writes anew what was read, so that the library that
judges it reads these fields and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sovgate import strict
from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats.bundle import MEDIA_TYPE
from sovgate.formats.envelope import PAYLOAD_TYPE
from sovgate.formats.foreign import Foreign

MAX_BODY = 1024 * 1024
MAX_CHECKPOINT = 16 * 1024
MAX_PROMISE = 1024
#: A tree of 2^64 entries has no longer path.
MAX_HASHES = 64
MAX_TIMESTAMPS = 8
MAX_TIMESTAMP_BYTES = 64 * 1024
#: Seconds since 1970 of the year 9999.
MAX_TIME = 253_402_300_799

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_WORD = re.compile(r"[a-z0-9.]{1,32}", re.ASCII)
_DIGEST = 32


@dataclass(frozen=True, kw_only=True)
class Inclusion:
    """The path from an entry to the root of a log's tree. `checkpoint` is what the log signed."""

    index: int
    size: int
    root: bytes
    hashes: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of a transparency log, as the bundle tells it.

    log         what the log is known by: 32 bytes
    integrated  seconds since 1970 when the log took it, 0 where it does not say; it counts only
                with `promise`, the log's signature over it
    body        what the log holds
    """

    index: int
    log: bytes
    kind: str
    version: str
    integrated: int
    promise: bytes
    inclusion: Inclusion
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Proof:
    """`timestamps` are RFC 3161 responses, DER."""

    entry: Entry
    timestamps: tuple[bytes, ...]

    @classmethod
    def parse(cls, found: Foreign) -> Proof:
        """Raises VerificationFailed, reason "no-log-entry" or "bad-log-entry"; Malformed."""
        if len(found.entries) != 1:
            raise VerificationFailed(
                f"the keyless bundle has {len(found.entries)} entries of a log, not one",
                why="which of them shows when it was signed would be for whoever wrote it to say",
                fix="get the signature again from where it was made",
                reason="bad-log-entry" if found.entries else "no-log-entry",
            )
        entry = _entry(strict.Fields(found.entries[0], "tlogEntries[0]"))
        return cls(entry=entry, timestamps=_timestamps(found.timestamps))


def _entry(fields: strict.Fields) -> Entry:
    if not _there(fields, "inclusionProof"):
        raise VerificationFailed(
            "the log entry of the keyless bundle has no inclusion proof",
            why="without it nothing shows that the log holds the entry",
            fix="have it signed again by a tool that writes bundles of version 0.2 or newer, such "
            "as model_signing, cosign or gh",
            reason="no-inclusion-proof",
        )
    inclusion = _inclusion(fields.object("inclusionProof"))
    promise = b""
    if _there(fields, "inclusionPromise"):
        holder = fields.object("inclusionPromise")
        promise = holder.base64("signedEntryTimestamp", max_bytes=MAX_PROMISE)
        holder.done()
    log, kind = fields.object("logId"), fields.object("kindVersion")
    entry = Entry(
        index=_number(fields, "logIndex"),
        log=_digest(log, "keyId"),
        kind=kind.text("kind", pattern=_WORD),
        version=kind.text("version", pattern=_WORD),
        integrated=_number(fields, "integratedTime") if _there(fields, "integratedTime") else 0,
        promise=promise,
        inclusion=inclusion,
        body=fields.base64("canonicalizedBody", max_bytes=MAX_BODY),
    )
    for holder in (fields, log, kind):
        holder.done()
    if entry.integrated > MAX_TIME:
        raise Malformed("tlogEntries[0].integratedTime is no time")
    return entry


def _inclusion(fields: strict.Fields) -> Inclusion:
    hashes = fields.list("hashes", most=MAX_HASHES) if _there(fields, "hashes") else []
    signed = fields.object("checkpoint")
    made = Inclusion(
        index=_number(fields, "logIndex") if _there(fields, "logIndex") else 0,
        size=_number(fields, "treeSize"),
        root=_digest(fields, "rootHash"),
        hashes=tuple(_hash(one) for one in hashes),
        checkpoint=signed.text("envelope", max_length=MAX_CHECKPOINT),
    )
    signed.done()
    fields.done()
    if made.index >= made.size:
        raise Malformed("the inclusion proof is of an entry that its tree does not have")
    return made


def _timestamps(value: strict.JSON) -> tuple[bytes, ...]:
    if value is None:
        return ()
    fields = strict.Fields(value, "timestampVerificationData")
    found = []
    if _there(fields, "rfc3161Timestamps"):
        for one in fields.objects("rfc3161Timestamps", most=MAX_TIMESTAMPS):
            found.append(one.base64("signedTimestamp", max_bytes=MAX_TIMESTAMP_BYTES))
            one.done()
    fields.done()
    if len(set(found)) != len(found):
        raise Malformed("the keyless bundle holds one timestamp twice")
    return tuple(found)


def _there(fields: strict.Fields, name: str) -> bool:
    """Protobuf's JSON may leave out what is empty, or say null."""
    return fields.has(name) and fields.raw(name) is not None


def _number(fields: strict.Fields, name: str) -> int:
    """A 64-bit integer: Protobuf's JSON writes it as text, and lets others write a number."""
    value = fields.raw(name)
    if type(value) is int:
        return fields.integer(name)
    return int(fields.text(name, max_length=19, pattern=_NUMBER))


def _digest(fields: strict.Fields, name: str) -> bytes:
    return _sized(fields.base64(name, max_bytes=_DIGEST), f"{fields.path}.{name}")


def _hash(value: strict.JSON) -> bytes:
    if type(value) is not str or len(value) > 64:
        raise Malformed("a hash of the inclusion proof is not base64 of 32 bytes")
    return _sized(strict.b64decode(value), "a hash of the inclusion proof")


def _sized(data: bytes, what: str) -> bytes:
    if len(data) != _DIGEST:
        raise Malformed(f"{what} is not {_DIGEST} bytes long")
    return data


def spelled(found: Foreign, proof: Proof) -> bytes:
    """The bundle as version 0.3 with what was read of it, and nothing else: JSON."""
    entry, bundle = proof.entry, found.bundle
    said: dict[str, strict.JSON] = {
        "logIndex": str(entry.index),
        "logId": {"keyId": strict.b64encode(entry.log)},
        "kindVersion": {"kind": entry.kind, "version": entry.version},
        "integratedTime": str(entry.integrated),
        "inclusionProof": {
            "logIndex": str(entry.inclusion.index),
            "treeSize": str(entry.inclusion.size),
            "rootHash": strict.b64encode(entry.inclusion.root),
            "hashes": [strict.b64encode(one) for one in entry.inclusion.hashes],
            "checkpoint": {"envelope": entry.inclusion.checkpoint},
        },
        "canonicalizedBody": strict.b64encode(entry.body),
    }
    if entry.promise:
        said["inclusionPromise"] = {"signedEntryTimestamp": strict.b64encode(entry.promise)}
    material: dict[str, strict.JSON] = {
        "certificate": {"rawBytes": strict.b64encode(bundle.certificates[0])},
        "tlogEntries": [said],
    }
    if proof.timestamps:
        rows = [{"signedTimestamp": strict.b64encode(one)} for one in proof.timestamps]
        material["timestampVerificationData"] = {"rfc3161Timestamps": rows}
    return strict.canonical(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": strict.b64encode(bundle.payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": strict.b64encode(bundle.signature)}],
            },
        }
    )
