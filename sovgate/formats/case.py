"""The case: everything that a policy may look at, as frozen records <-> JSON. No I/O.

Closed and complete: every field is there, what is not known is None and never absent, grades and
times are integers (RULES 18). `check` holds JSON against `schemas/case.schema.json`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sovgate import strict
from sovgate.errors import DOCS, EngineError, InternalError

FORMAT = "sovgate.case/v0"
MAX_BYTES = 4 * 1024 * 1024

#: The facts that sovgate gives. A rule that reads a name close to one of these has a slip.
FACTS = (
    "pickle",
    "pickles",
    "pickles_allowed",
    "remote_code",
    "remote_code_file",
    "secret",
    "secrets",
)

JSON = Any
Fact = str | int | bool | None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One data set or base model behind the subject; ancestry is flat.

    kind       "dataset", "base-model" or "unknown" (no record, or not a trusted one)
    stays_in   places whose law keeps it; () is free, None is unknown and so goes nowhere
    lifts      names of gates that free what was trained on it
    where      its line in the project, e.g. "sovgate.yaml:17"
    """

    name: str
    kind: str
    category: str | None
    stays_in: tuple[str, ...] | None
    lifts: tuple[str, ...]
    commitment: str | None
    where: str | None

    def json(self) -> JSON:
        return {
            "name": self.name,
            "kind": self.kind,
            "category": self.category,
            "stays_in": None if self.stays_in is None else list(self.stays_in),
            "lifts": list(self.lifts),
            "commitment": self.commitment,
            "where": self.where,
        }


#: What a model without a training record derives from.
UNKNOWN_ORIGIN = Origin(
    name="unknown",
    kind="unknown",
    category=None,
    stays_in=None,
    lifts=(),
    commitment=None,
    where=None,
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What would move. `cls` is its class; `manifest` its identity, None only for what has none."""

    cls: str
    model: str
    release: str | None
    manifest: str | None
    derived_from: tuple[Origin, ...]

    def json(self) -> JSON:
        return {
            "class": self.cls,
            "model": self.model,
            "release": self.release,
            "manifest": self.manifest,
            "derived_from": [origin.json() for origin in self.derived_from],
        }


@dataclass(frozen=True, kw_only=True)
class Located:
    """`provider:region` as the provider said it (None: nobody was asked), and records.GRADE."""

    value: str | None
    grade: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """A zone with what the catalogue knows of its region.

    `require` is the least grade of its location; None in a source.
    """

    zone: str
    region: str
    country: str
    groups: tuple[str, ...]
    operator: str
    operator_country: str
    partition: str
    location: Located
    require: int | None

    def json(self) -> JSON:
        value: dict[str, JSON] = {
            "zone": self.zone,
            "region": self.region,
            "country": self.country,
            "groups": list(self.groups),
            "operator": self.operator,
            "operator_country": self.operator_country,
            "partition": self.partition,
            "location": {"value": self.location.value, "grade": self.location.grade},
        }
        if self.require is not None:
            value["require"] = self.require
        return value


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A statement that verified, by a signer trusted for its role.

    zone        where its signer speaks from, None for no zone in particular (a legal department)
    gate …      of a gate: its name, "pass" | "fail" | "inconclusive", what it was held to
    dataset …   of a legal attestation: the data set, its commitment, and the zone it is about
    identity …  of a keyless signer: who it is, by whose word, the time that a log or a timestamp
                authority showed, and the SHA-256 of the trusted root that this was judged by
    """

    role: str
    predicate_type: str
    sha256: str
    manifest: str
    release: str | None
    signer: str
    zone: str | None
    created: str | None
    gate: str | None = None
    result: str | None = None
    threshold: str | None = None
    dataset: str | None = None
    commitment: str | None = None
    about_zone: str | None = None
    identity: str | None = None
    issuer: str | None = None
    logged: str | None = None
    trusted_root: str | None = None

    @property
    def keyless(self) -> JSON:
        """Who signed it keylessly, and by what that was judged; None for any other signer."""
        if self.identity is None:
            return None
        return {
            "identity": self.identity,
            "issuer": self.issuer,
            "logged": self.logged,
            "trustedRoot": self.trusted_root,
        }

    def json(self) -> JSON:
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A file of the evidence folder that no rule may look at, and why."""

    name: str
    sha256: str
    reason: str

    def json(self) -> JSON:
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """One line of `border`: this class may go from here to there."""

    cls: str
    source: str
    destination: str
    where: str | None

    def json(self) -> JSON:
        return {
            "class": self.cls,
            "from": self.source,
            "to": self.destination,
            "where": self.where,
        }


@dataclass(frozen=True, kw_only=True)
class GateRule:
    """One of the project's `gates`: what must have passed before a stage.

    `dataset` is set for a legal gate; `threshold` is ">=0.9", a decimal without trailing zeros.
    """

    name: str
    before: str
    threshold: str | None
    dataset: str | None
    where: str | None

    def json(self) -> JSON:
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class ProjectFacts:
    """What the rules may know of `sovgate.yaml`. `lines` says where things stand in it."""

    sha256: str
    mode: str
    border: tuple[Crossing, ...]
    gates: tuple[GateRule, ...] = ()
    classes: tuple[str, ...] = ()
    lines: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> JSON:
        return {
            "sha256": self.sha256,
            "mode": self.mode,
            "classes": list(self.classes),
            "border": [crossing.json() for crossing in self.border],
            "gates": [gate.json() for gate in self.gates],
            "lines": dict(self.lines),
        }


@dataclass(frozen=True, kw_only=True)
class Case:
    """`now` is seconds since 1970, UTC. `facts` are further typed values for a project's rules."""

    action: str
    subject: Subject
    source: Place
    destination: Place
    evidence: tuple[Evidence, ...]
    rejected: tuple[Rejected, ...]
    project: ProjectFacts
    now: int
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def json(self) -> JSON:
        from datetime import UTC, datetime

        return {
            "format": FORMAT,
            "action": self.action,
            "subject": self.subject.json(),
            "source": self.source.json(),
            "destination": self.destination.json(),
            "evidence": [item.json() for item in self.evidence],
            "rejected": [item.json() for item in self.rejected],
            "facts": dict(self.facts),
            "project": self.project.json(),
            "now": {
                "time": strict.format_time(datetime.fromtimestamp(self.now, UTC)),
                "epoch": self.now,
            },
        }


def check(value: JSON) -> bytes:
    """The canonical bytes of a valid case. Raises EngineError "invalid-case" for any other value.

    Runs before every evaluation: an engine never sees a case with a hole in it.
    """
    from sovgate.formats import schema

    problem = schema.load("case").problem(value)
    if problem is None:
        try:
            data = strict.canonical(value)
        except InternalError as error:
            problem = error.why or error.what
        else:
            if len(data) <= MAX_BYTES:
                return data
            problem = f"it is {len(data)} bytes, more than the {MAX_BYTES} that are allowed"
    raise EngineError(
        "the case for the policy is invalid",
        why=problem,
        fix=f"see {DOCS}/formats.md, section Case and decision",
        reason="invalid-case",
    )


def digest(value: JSON) -> str:
    """SHA-256 of the canonical bytes, lower-case hex."""
    return hashlib.sha256(strict.canonical(value)).hexdigest()
