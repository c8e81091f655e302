"""Builds the case that policy is asked about, from a project and what is known. No I/O but the
manifests of data sets.

RULES 18: every field is there, and what nobody knows is `null`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from sovgate.formats import case as cases
from sovgate.formats.case import Case, Origin
from sovgate.pipeline.decide.contents import UNKNOWN, Contents
from sovgate.pipeline.decide.evidence import Sorted, bound
from sovgate.pipeline.decide.gating import weigh
from sovgate.pipeline.project import Project
from sovgate.records import CLASSES, GRADE, Action, Release
from sovgate.stages.record import ancestry, uncovered

if TYPE_CHECKING:
    from sovgate.formats.provenance import TrainingRecord
    from sovgate.pipeline.drafted import Drafts
    from sovgate.stages.attest import RawEvidence
    from sovgate.stages.trust import Trusted

_REGION = re.compile(r"[a-z0-9-]+:[A-Za-z0-9._-]+", re.ASCII)


class KnownLocation(Protocol):
    """What a provider said of a store: `transfer.Located`, `stores._api.Location`."""

    @property
    def value(self) -> str | None: ...

    @property
    def grade(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: may `cls` of this release do that, from zone `source` to `destination`?

    `manifest` is None where there is no model yet, `release` where it has no name as one.
    """

    action: Action
    cls: str
    manifest: str | None
    release: Release | None
    source: str
    destination: str


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the one who asks knows; nothing of it is believed for being here but `signature`.

    trusted    whom to believe
    evidence   everything beside the model, its signature too, nothing of it checked yet
    signature  the digest of a bundle that was verified against the model's very files
    locations  zone -> what its provider said; a zone left out is as declared
    contents   what is known of the files (`decide/contents.py`)
    planned    what a training would record, where there is no model yet
    foreseen   what a dry run would sign; nothing that acts or signs a decision knows of any
    drafts     records beside the model that nobody signed: only to say so where one is missing
    """

    trusted: tuple[Trusted, ...]
    evidence: tuple[RawEvidence, ...]
    signature: str | None = None
    locations: Mapping[str, KnownLocation | None] = field(default_factory=dict)
    contents: Contents = UNKNOWN
    planned: tuple[TrainingRecord, ...] = ()
    foreseen: tuple[cases.Evidence, ...] = ()
    drafts: Drafts | None = None


def build_case(
    project: Project, question: Question, known: Known, found: Sorted, *, now: int
) -> Case:
    """The case of one question. `found` is the evidence of `known`, sorted (`evidence.py`)."""
    config = project.config
    weighed = weigh(config, found)
    source, destination = question.source, question.destination
    custom = _custom_classes(project)
    return Case(
        action=question.action,
        subject=cases.Subject(
            cls=question.cls,
            model=config.model,
            release=None if question.release is None else str(question.release),
            manifest=question.manifest,
            derived_from=_origins(project, found, known.planned, known.contents),
        ),
        source=_place(project, source, known.locations.get(source), required=False),
        destination=_place(project, destination, known.locations.get(destination), required=True),
        evidence=(*weighed.evidence, *known.foreseen),
        rejected=weighed.rejected,
        project=cases.ProjectFacts(
            sha256=project.digest,
            mode=config.policy.mode,
            border=tuple(
                cases.Crossing(
                    cls=name,
                    source=one,
                    destination=other,
                    where=_where(project, f"border.{name}.allow.{index}"),
                )
                for name, rule in config.border.items()
                for index, (one, other) in enumerate(rule.allow)
            ),
            gates=tuple(
                cases.GateRule(
                    name=gate.name,
                    before=gate.before,
                    threshold=bound(">=", gate.at_least) or bound("<=", gate.at_most),
                    dataset=gate.dataset,
                    where=_where(project, f"gates.{gate.name}"),
                )
                for gate in config.gates.values()
            ),
            classes=custom,
            lines=_lines(project, question.cls, source, destination),
        ),
        now=now,
        facts={
            **known.contents,
            **weighed.facts,
            "pickles_allowed": config.policy.pickles == "allow",
        },
    )


def _custom_classes(project: Project) -> tuple[str, ...]:
    """Classes of the project's own: those that the file lists, or that `border` names."""
    listed = project.config.document.value.get("classes") or ()
    names = [*listed, *project.config.border]
    return tuple(sorted({str(name) for name in names} - set(CLASSES)))


def _origins(
    project: Project, found: Sorted, planned: tuple[TrainingRecord, ...], contents: Contents
) -> tuple[Origin, ...]:
    """What is behind the model, by all trusted records together: one cannot loosen another.

    RULES 30: a record that cannot be counted is unknown. RULES 39: so is a base that the model's
    own files claim, and that no record names.
    """
    declared, records = project.datasets(), (*found.records, *planned)
    behind = [
        one
        for record in records or (None,)
        for one in ancestry(record, declared, project.set_aside)
    ]
    origins = [
        Origin(
            name=one.name,
            kind=one.kind,
            category=one.category,
            stays_in=one.stays_in,
            lifts=one.lifts,
            commitment=one.commitment,
            where=one.where,
        )
        for one in behind
    ]
    origins += [replace(cases.UNKNOWN_ORIGIN, name=text) for text in found.unclear]
    origins += [
        replace(cases.UNKNOWN_ORIGIN, name=claim.name[:256], where=claim.file[:1024])
        for claim in uncovered(contents.claims, records)
    ]
    return tuple(dict.fromkeys(origins))


def _shorter(where: str | None) -> str | None:
    """Without the column: people look for a line."""
    if where is None:
        return None
    match = re.fullmatch(r"(.+?:\d+):\d+", where)
    return match.group(1) if match else where


def _where(project: Project, dotted: str) -> str | None:
    return _shorter(str(project.config.where(dotted)))


def _lines(project: Project, cls: str, source: str, destination: str) -> dict[str, str]:
    """Where in the project file things stand that a message may want to name."""
    names = ["border", f"zones.{source}", f"zones.{destination}", "policy", "trust"]
    if cls in project.config.border:
        names.append(f"border.{cls}")
    there = project.config.document.value
    return {name: str(_where(project, name)) for name in names if name.split(".", 1)[0] in there}


def _place(
    project: Project, name: str, known: KnownLocation | None, *, required: bool
) -> cases.Place:
    zone = project.zone(name)
    region = zone.place
    located = cases.Located(value=None, grade=GRADE["declared"])
    if known is not None:
        said = known.value
        if said is not None and not _REGION.fullmatch(said):
            located = cases.Located(value=None, grade=GRADE["unknown"])
        else:
            located = cases.Located(value=said, grade=known.grade)
    return cases.Place(
        zone=name,
        region=zone.region,
        country=region.country,
        groups=tuple(region.groups),
        operator=region.operator,
        operator_country=region.operator_country,
        partition=region.partition,
        location=located,
        require=GRADE[zone.require] if required else None,
    )
