"""The transfer statement, which is the release record: `releases/<model>/<version>.json`.

Predicate `https://sovgate.dev/transfer/v0`: the signed word of the source about what it pushed,
with all that the destination must check before it decrypts a blob. Bytes <-> record, no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from sovgate import strict
from sovgate.errors import InternalError, Malformed, VerificationFailed
from sovgate.formats._common import PROVIDER_REGION, read_digest, read_release, read_zone
from sovgate.formats.sealed import Blob, Wrapped, read_sized
from sovgate.formats.statement import role_of
from sovgate.records import RELEASE_PART, ROLES, Release, Sized

#: Bounds for hostile records. A record holds one entry a file of the model.
MAX_BYTES = strict.MAX_BYTES
MAX_BLOBS = 100_000
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
    """An evidence bundle among the blobs. `plaintext_sha256` is set where it is confidential."""

    role: str
    predicate_type: str
    sha256: str
    size: int
    confidential: bool
    plaintext_sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """`manifest`, `signature`, `keytable`: digest and size of the canonical manifest, the OMS
    bundle, and the encrypted key table. `decision`, `policy`, `project`, `audit_head`: SHA-256.
    """

    release: Release
    sequence: int
    predecessor: Predecessor | None
    manifest: Sized
    signature: Sized
    source: Place
    destination: Place
    recipient: Wrapped
    keytable: Sized
    blobs: tuple[Blob, ...]
    evidence: tuple[EvidenceRef, ...]
    decision: str
    policy: str
    project: str
    audit_head: str
    created: datetime

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
            "recipient": self.recipient.json(),
            "keytable": self.keytable.json(),
            "blobs": [blob.json() for blob in self.blobs],
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
            recipient=Wrapped.read(fields.object("recipient")),
            keytable=read_sized(fields.object("keytable"), most=2 * strict.MAX_BYTES),
            blobs=tuple(Blob.read(blob) for blob in fields.objects("blobs", most=MAX_BLOBS)),
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
        if not self.blobs:
            raise Malformed("the transfer carries no blob")
        for what, digests in (
            ("blob", [blob.sha256 for blob in self.blobs]),
            ("plaintext", [blob.plaintext.sha256 for blob in self.blobs]),
            ("evidence", [item.sha256 for item in self.evidence]),
        ):
            if len(set(digests)) != len(digests):
                raise Malformed(f"the transfer names one {what} twice")


def record_name(release: Release) -> str:
    """Where the record of a release lies in a store."""
    return f"releases/{release.model}/{release.version}.json"


def blob_name(sha256: str) -> str:
    """Where a blob lies in a store."""
    if not strict.is_sha256(sha256):
        raise InternalError("a blob is named by something that is no SHA-256")
    return f"blobs/sha256/{sha256}"


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
