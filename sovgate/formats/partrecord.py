"""The part of one shard: what a machine that sent some units of a release says that it sent.

Predicate `https://sovgate.dev/part/v0`, in `part-<i>.json` of a folder that the machines share,
with the part's chunk list and key table beside it. Bytes <-> record, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sovgate import strict
from sovgate.errors import Malformed
from sovgate.files import MAX_ENTRIES
from sovgate.formats._common import PROVIDER_REGION, read_release, read_zone
from sovgate.formats.claims import Claim
from sovgate.formats.part import Part
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.transfer import MAX_EVIDENCE
from sovgate.records import Release

#: Bounds for hostile parts.
MAX_BYTES = 16 * 1024 * 1024
MAX_CLAIMS = 10_000
_MAX_TEXT = 8192

#: What a person calls each of the files of part `i`.
DOCUMENT, LIST, TABLE = "part-{}.json", "list-{}", "table-{}"


@dataclass(frozen=True, kw_only=True)
class Region:
    """A zone, and the `provider:region` that it was declared to lie in."""

    zone: str
    provider_region: str

    def json(self) -> dict[str, strict.JSON]:
        return {"zone": self.zone, "provider-region": self.provider_region}

    @classmethod
    def read(cls, fields: strict.Fields) -> Region:
        region = cls(
            zone=read_zone(fields, "zone"),
            provider_region=fields.text("provider-region", pattern=PROVIDER_REGION),
        )
        fields.done()
        return region


@dataclass(frozen=True, kw_only=True)
class Found:
    """How many of the shard's files are of a kind, and which one is the first; None for none."""

    count: int
    first: str | None

    def json(self) -> dict[str, strict.JSON]:
        return {"count": self.count, "first": self.first}

    @classmethod
    def read(cls, fields: strict.Fields) -> Found:
        found = cls(
            count=fields.integer("count", most=MAX_ENTRIES),
            first=fields.nullable("first", lambda f: fields.text(f, max_length=_MAX_TEXT)),
        )
        fields.done()
        if (found.count == 0) != (found.first is None):
            raise Malformed(f"{fields.path} names a file where there is none, or none of several")
        return found


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the bytes of the shard's files showed, and what these claim that they were made from."""

    pickles: Found
    secrets: Found
    remote_code: Found
    claims: tuple[Claim, ...]

    def json(self) -> dict[str, strict.JSON]:
        return {
            "pickles": self.pickles.json(),
            "secrets": self.secrets.json(),
            "remote-code": self.remote_code.json(),
            "claims": [
                {"file": one.file, "base": one.base, "revision": one.revision}
                for one in self.claims
            ],
        }

    @classmethod
    def read(cls, fields: strict.Fields) -> Facts:
        facts = cls(
            pickles=Found.read(fields.object("pickles")),
            secrets=Found.read(fields.object("secrets")),
            remote_code=Found.read(fields.object("remote-code")),
            claims=tuple(_claim(item) for item in fields.objects("claims", most=MAX_CLAIMS)),
        )
        fields.done()
        return facts


@dataclass(frozen=True, kw_only=True)
class PartRecord:
    """Part i of n of a release, on its way from one zone to another.

    `manifest`: the manifest digest; `evidence`: SHA-256 of the statements that policy was shown,
    in order, each once; `audit_head`: of the run that made it; None of what `encrypt` made.
    """

    release: Release
    manifest: str
    source: Region
    destination: Region
    part: Part
    facts: Facts
    evidence: tuple[str, ...]
    audit_head: str | None
    created: datetime

    def predicate(self) -> dict[str, strict.JSON]:
        return {
            "release": str(self.release),
            "manifest": self.manifest,
            "source": self.source.json(),
            "destination": self.destination.json(),
            "part": self.part.json(),
            "facts": self.facts.json(),
            "evidence": list(self.evidence),
            "audit-head": self.audit_head,
            "created": strict.format_time(self.created),
        }

    def statement(self) -> Statement:
        """What is signed."""
        return Statement(
            subject_name=self.release.model,
            subject_sha256=self.manifest,
            predicate_type=PREDICATE_TYPES["part"],
            predicate=self.predicate(),
        )

    @classmethod
    def of(cls, statement: Statement) -> PartRecord:
        """Raises Malformed."""
        return cls.parse(
            statement.predicate, name=statement.subject_name, manifest=statement.subject_sha256
        )

    @classmethod
    def parse(cls, predicate: strict.JSON, *, name: str, manifest: str) -> PartRecord:
        """The predicate of a statement about `name` and `manifest`. Raises Malformed."""
        fields = strict.Fields(predicate, "part")
        record = cls(
            release=read_release(fields, "release"),
            manifest=fields.sha256("manifest"),
            source=Region.read(fields.object("source")),
            destination=Region.read(fields.object("destination")),
            part=Part.read(fields.object("part")),
            facts=Facts.read(fields.object("facts")),
            evidence=fields.texts("evidence", most=MAX_EVIDENCE),
            audit_head=fields.nullable("audit-head", fields.sha256),
            created=fields.time("created"),
        )
        fields.done()
        if (record.release.model, record.manifest) != (name, manifest):
            raise Malformed("the part's subject is not its release")
        if record.part.units is None:
            raise Malformed("the part of a shard reuses what an earlier release has")
        digests = record.evidence
        if not all(map(strict.is_sha256, digests)) or list(digests) != sorted(set(digests)):
            raise Malformed("part.evidence is no list of SHA-256 in order, each once")
        return record


def _claim(fields: strict.Fields) -> Claim:
    claim = Claim(
        file=fields.text("file", max_length=_MAX_TEXT),
        base=fields.text("base", max_length=_MAX_TEXT),
        revision=fields.nullable("revision", lambda f: fields.text(f, max_length=_MAX_TEXT)),
    )
    fields.done()
    if not claim.file or not claim.base:
        raise Malformed(f"{fields.path} claims nothing")
    return claim
