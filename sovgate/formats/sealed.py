"""`sealed.json`: what an encrypted copy of a model for one zone consists of. No I/O.

It is written last, so a copy is there whole or not at all. Nothing in it is secret. Whoever opens a
copy believes nothing in it: the model's signature, the wrapped key's context and the key tables
decide. Whoever sends one sends only what its maker signed: the part beside it (RULES 31).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sovgate import strict
from sovgate.errors import Malformed
from sovgate.formats._common import read_sized
from sovgate.formats.part import Part, read_parts
from sovgate.records import RELEASE_PART, ROLES, ZONE_NAME, Sized

FORMAT = "sovgate.sealed/v0"
MAX_EVIDENCE = 10_000
_RELEASE = re.compile(f"{RELEASE_PART.pattern}/{RELEASE_PART.pattern}", re.ASCII)
_PREDICATE_TYPE = re.compile(r"[\x21-\x7e]{1,512}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """A file of `MODEL.evidence/`, which travels as it is: by role, predicate type and digest."""

    role: str
    predicate_type: str
    sha256: str
    size: int

    def json(self) -> dict[str, object]:
        return {
            "role": self.role,
            "predicateType": self.predicate_type,
            "sha256": self.sha256,
            "size": self.size,
        }

    @classmethod
    def read(cls, fields: strict.Fields) -> Evidence:
        evidence = cls(
            role=fields.text("role"),
            predicate_type=fields.text("predicateType", pattern=_PREDICATE_TYPE),
            sha256=fields.sha256("sha256"),
            size=fields.integer("size", most=strict.MAX_BYTES),
        )
        fields.done()
        if evidence.role not in ROLES:
            raise Malformed(f"{fields.path}.role is not one that is known")
        return evidence


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """`DIR/<zone>/sealed.json`. What it names by digest lies in `DIR/<zone>/`, as in a store."""

    zone: str
    release: str | None
    manifest: Sized
    signature: Sized
    parts: tuple[Part, ...]
    evidence: tuple[Evidence, ...] = ()

    @property
    def key_id(self) -> str:
        """Of the zone's key that it is encrypted for."""
        return self.parts[0].recipient.key_id

    def canonical(self) -> bytes:
        return strict.canonical(
            {
                "format": FORMAT,
                "zone": self.zone,
                "release": self.release,
                "manifest": self.manifest.json(),
                "signature": self.signature.json(),
                "parts": [part.json() for part in self.parts],
                "evidence": [item.json() for item in self.evidence],
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Sealed:
        """Canonical bytes only. Raises Malformed."""
        top = strict.Fields(strict.loads_canonical(data), "sealed")
        top.exactly("format", FORMAT)
        sealed = cls(
            zone=top.text("zone", pattern=ZONE_NAME),
            release=top.nullable("release", lambda name: top.text(name, pattern=_RELEASE)),
            manifest=read_sized(top.object("manifest"), most=strict.MAX_BYTES),
            signature=read_sized(top.object("signature"), most=strict.MAX_BYTES),
            parts=read_parts(top),
            evidence=tuple(
                Evidence.read(item) for item in top.objects("evidence", most=MAX_EVIDENCE)
            ),
        )
        top.done()
        return sealed
