"""The transfer statement, which is the release record: `releases/<model>/<version>.json`.

Predicate `https://sovgate.dev/transfer/v0`: the signed word of the source about what it pushed,
with all that the destination must check before it decrypts a chunk. Bytes <-> record, no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from sovgate import strict
from sovgate.errors import InternalError, Malformed, VerificationFailed
from sovgate.formats._common import (
    PROVIDER_REGION,
    read_digest,
    read_release,
    read_sized,
    read_zone,
)
from sovgate.formats.part import Part, read_parts
from sovgate.formats.statement import role_of
from sovgate.records import RELEASE_PART, ROLES, Release, Sized

#: Bounds for hostile records.
MAX_BYTES = strict.MAX_BYTES
MAX_EVIDENCE = 1024
MAX_EVIDENCE_BYTES = strict.MAX_BYTES

_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
_OPERATOR = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]{1,200}")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A zone as the source saw it. `grade` is records.GRADE of the location fact."""

    zone: str
    provider_region: str
    country: str | None
    operator: str | None
    grade: int


@dataclass(frozen=True, kw_only=True)
class Predecessor:
    release: Release
    manifest: str


@dataclass(frozen=True, kw_only=True)
class EvidenceRef:
    """An evidence bundle among the objects. `plaintext_sha256` is set where it is confidential."""

    role: str
    predicate_type: str
    sha256: str
    size: int
    confidential: bool
    plaintext_sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """`manifest`, `signature`: digest and size of the canonical manifest and the OMS bundle.
    `decision`, `policy`, `project`, `audit_head`: SHA-256.
    """

    release: Release
    sequence: int
    predecessor: Predecessor | None
    manifest: Sized
    signature: Sized
    source: Place
    destination: Place
    parts: tuple[Part, ...]
    evidence: tuple[EvidenceRef, ...]
    decision: str
    policy: str
    project: str
    audit_head: str
    created: datetime

    @property
    def key_id(self) -> str:
        """Of the destination's key that it is encrypted for."""
        return self.parts[0].recipient.key_id

    def predicate(self) -> dict[str, strict.JSON]:
        return {
            "model": self.release.model,
            "release": str(self.release),
            "sequence": self.sequence,
            "predecessor": self.predecessor
            and {
                "release": str(self.predecessor.release),
                "manifest": self.predecessor.manifest,
            },
            "manifest": self.manifest.json(),
            "signature": self.signature.json(),
            "source": _place_json(self.source),
            "destination": _place_json(self.destination),
            "parts": [part.json() for part in self.parts],
            "evidence": [
                {
                    "role": item.role,
                    "predicateType": item.predicate_type,
                    "sha256": item.sha256,
                    "size": item.size,
                    "confidential": item.confidential,
                    "plaintext-sha256": item.plaintext_sha256,
                }
                for item in self.evidence
            ],
            "decision": {"sha256": self.decision},
            "policy": {"sha256": self.policy},
            "project": {"sha256": self.project},
            "audit-head": self.audit_head,
            "created": strict.format_time(self.created),
        }

    @classmethod
    def parse(cls, predicate: strict.JSON, *, name: str, manifest: str) -> Transfer:
        """The predicate of a statement about `name` and `manifest`. Raises Malformed."""
        fields = strict.Fields(predicate, "transfer")
        model = fields.text("model", pattern=RELEASE_PART)
        transfer = cls(
            release=read_release(fields, "release"),
            sequence=fields.integer("sequence", least=1),
            predecessor=fields.nullable("predecessor", lambda f: _predecessor(fields.object(f))),
            manifest=read_sized(fields.object("manifest"), most=strict.MAX_BYTES),
            signature=read_sized(fields.object("signature"), most=strict.MAX_BYTES),
            source=_place(fields.object("source")),
            destination=_place(fields.object("destination")),
            parts=read_parts(fields),
            evidence=tuple(
                _evidence(item) for item in fields.objects("evidence", most=MAX_EVIDENCE)
            ),
            decision=read_digest(fields, "decision"),
            policy=read_digest(fields, "policy"),
            project=read_digest(fields, "project"),
            audit_head=fields.sha256("audit-head"),
            created=fields.time("created"),
        )
        fields.done()
        if (model, transfer.manifest.sha256) != (name, manifest) or model != transfer.release.model:
            raise Malformed("the transfer statement's subject is not its release")
        transfer.check()
        return transfer

    def check(self) -> None:
        """What must hold among the fields. Raises Malformed."""
        if self.source.zone == self.destination.zone and _where(self.source) != _where(
            self.destination
        ):
            raise Malformed("the transfer's one zone lies in two places")
        if self.predecessor and self.predecessor.release.model != self.release.model:
            raise Malformed("the transfer's predecessor is a release of another model")
        digests = [item.sha256 for item in self.evidence]
        if len(set(digests)) != len(digests):
            raise Malformed("the transfer names one evidence twice")


def record_name(release: Release) -> str:
    """Where the record of a release lies in a store."""
    return f"releases/{release.model}/{release.version}.json"


def chunk_name(sha256: str) -> str:
    """Where a chunk lies in a store: named by its own bytes' SHA-256, so that it needs no key."""
    return f"chunks/sha256/{_hex(sha256)}"


def object_name(sha256: str) -> str:
    """Where all else lies that is named by its SHA-256: chunk lists, key tables, documents."""
    return f"objects/sha256/{_hex(sha256)}"


def _hex(sha256: str) -> str:
    if not strict.is_sha256(sha256):
        raise InternalError("an object is named by something that is no SHA-256")
    return sha256


def sequence_name(model: str, sequence: int) -> str:
    """Where the claim of a sequence number lies. Twelve digits, so that a listing is in order."""
    return f"sequences/{model}/{sequence:012}.json"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`sequences/<model>/<n>.json`: canonical JSON, unsigned; the record says it again, signed."""

    release: Release
    manifest: str
    sequence: int

    MAX_BYTES = 4096

    def emit(self) -> bytes:
        return strict.canonical(
            {
                "format": "sovgate.sequence/v0",
                "release": str(self.release),
                "manifest": self.manifest,
                "sequence": self.sequence,
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Claim:
        """Raises Malformed."""
        fields = strict.Fields(strict.loads_canonical(data, max_bytes=cls.MAX_BYTES), "sequence")
        fields.exactly("format", "sovgate.sequence/v0")
        claim = cls(
            release=read_release(fields, "release"),
            manifest=fields.sha256("manifest"),
            sequence=fields.integer("sequence", least=1),
        )
        fields.done()
        return claim


def _where(place: Place) -> tuple[str, str | None, str | None]:
    return place.provider_region, place.country, place.operator


def _place_json(place: Place) -> dict[str, strict.JSON]:
    return {
        "zone": place.zone,
        "provider-region": place.provider_region,
        "country": place.country,
        "operator": place.operator,
        "grade": place.grade,
    }


def _place(fields: strict.Fields) -> Place:
    place = Place(
        zone=read_zone(fields, "zone"),
        provider_region=fields.text("provider-region", pattern=PROVIDER_REGION),
        country=fields.nullable("country", lambda f: fields.text(f, pattern=_COUNTRY)),
        operator=fields.nullable("operator", lambda f: fields.text(f, pattern=_OPERATOR)),
        grade=fields.integer("grade", most=3),
    )
    fields.done()
    return place


def _predecessor(fields: strict.Fields) -> Predecessor:
    predecessor = Predecessor(
        release=read_release(fields, "release"), manifest=fields.sha256("manifest")
    )
    fields.done()
    return predecessor


def _evidence(fields: strict.Fields) -> EvidenceRef:
    item = EvidenceRef(
        role=fields.text("role"),
        predicate_type=fields.text("predicateType", max_length=512),
        sha256=fields.sha256("sha256"),
        size=fields.integer("size", most=MAX_EVIDENCE_BYTES),
        confidential=fields.boolean("confidential"),
        plaintext_sha256=fields.nullable("plaintext-sha256", fields.sha256),
    )
    fields.done()
    try:
        role = role_of(item.predicate_type)
    except VerificationFailed:
        role = None
    if item.role not in ROLES or role != item.role:
        raise Malformed(f"{fields.path}: the role and the predicate type differ")
    if item.confidential != (item.plaintext_sha256 is not None):
        raise Malformed(f"{fields.path}: a plaintext digest belongs to confidential evidence only")
    return item
