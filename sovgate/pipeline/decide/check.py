"""Asks policy about an action: evidence sorted, the case built, the engine opened, the decision.

Only evidence that verified, fits, and is by a signer trusted for its role gets into the case; the
rest stands under `rejected` with its reason (RULES 5, 6, 18).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sovgate import regions, strict
from sovgate.errors import ConfigError, EngineError, UsageError
from sovgate.formats import case as cases
from sovgate.formats.case import Case, Origin
from sovgate.formats.decision import Decision, decision_statement
from sovgate.pipeline.decide.contents import UNKNOWN, of_files
from sovgate.pipeline.decide.evidence import Sorted, bound, sort_evidence
from sovgate.pipeline.decide.policies import project_policies
from sovgate.pipeline.project import Project, open_project
from sovgate.records import ACTIONS, CLASSES, GRADE, Action, Advance, Release
from sovgate.stages.record import ancestry

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.provenance import TrainingRecord
    from sovgate.keys._api import Signer
    from sovgate.stages.attest import RawEvidence
    from sovgate.stages.trust import Trusted

#: This code is younger than that; a clock before it is wrong (RULES 19).
_EARLIEST = 1_767_225_600  # 2026-01-01
_CLASS = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]+:[A-Za-z0-9._-]+", re.ASCII)


class KnownLocation(Protocol):
    """What a provider said of a store: `transfer.Located`, `stores._api.Location`."""

    @property
    def value(self) -> str | None: ...

    @property
    def grade(self) -> int: ...


def clock() -> int:
    """Seconds since 1970. Raises EngineError where the clock cannot be right: that denies."""
    now = int(time.time())
    if now < _EARLIEST:
        raise EngineError(
            "the clock of this machine is wrong",
            why=f"it says {strict.format_time(datetime.fromtimestamp(max(now, 0), UTC))}",
            fix="set it; decisions and evidence depend on it",
            reason="clock",
        )
    return now


def build_case(
    project: Project,
    *,
    action: Action,
    cls: str,
    manifest: str | None,
    release: Release | None,
    sorted_evidence: Sorted,
    source: str,
    destination: str,
    locations: Mapping[str, KnownLocation | None],
    now: int,
    facts: Mapping[str, cases.Fact] | None = None,
) -> Case:
    """The case of one action. `locations`: what was learnt; a zone left out is as declared.

    `facts`: of `pipeline.contents`, and what else was learnt; left out, nothing is known.
    """
    config = project.config
    custom = _custom_classes(project)
    return Case(
        action=action,
        subject=cases.Subject(
            cls=cls,
            model=config.model,
            release=None if release is None else str(release),
            manifest=manifest,
            derived_from=_origins(project, sorted_evidence.records),
        ),
        source=_place(project, source, locations.get(source), required=False),
        destination=_place(project, destination, locations.get(destination), required=True),
        evidence=sorted_evidence.evidence,
        rejected=sorted_evidence.rejected,
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
            lines=_lines(project, cls, source, destination),
        ),
        now=now,
        facts={
            **(UNKNOWN if facts is None else facts),
            "pickles_allowed": config.policy.pickles == "allow",
        },
    )


def _custom_classes(project: Project) -> tuple[str, ...]:
    """Classes of the project's own: those that the file lists, or that `border` names."""
    listed = project.config.document.value.get("classes") or ()
    names = [*listed, *project.config.border]
    return tuple(sorted({str(name) for name in names} - set(CLASSES)))


def _origins(project: Project, records: Sequence[TrainingRecord]) -> tuple[Origin, ...]:
    """What is behind the model, by all trusted records together: one cannot loosen another."""
    declared = project.datasets()
    found = [one for record in records or (None,) for one in ancestry(record, declared)]
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
        for one in found
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
    region = regions.lookup(zone.region)
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


def decide(
    project: Project,
    *,
    action: Action,
    cls: str,
    manifest: str | None,
    release: Release | None,
    evidence: Iterable[RawEvidence],
    source: str,
    destination: str,
    locations: Mapping[str, KnownLocation | None] | None = None,
    trusted: Sequence[Trusted] | None = None,
    signature: str | None = None,
    now: int | None = None,
    facts: Mapping[str, cases.Fact] | None = None,
) -> Decision:
    """What the project's own policy says of one action. A denial is a Decision, not an error.

    `evidence` is everything beside the model, its signature too, nothing of it checked yet;
    `trusted` whom to believe (default: whom the project trusts); `signature` the digest of a
    bundle that the caller verified against the files; `facts` what is known of its contents
    (`pipeline.contents`; left out, nothing is). `Decision.require()` turns a denial into
    PolicyDenied (10), a rule without an answer into EngineError (22).

    Raises ConfigError (3) on policies that will not load, EngineError (22).
    """
    from sovgate.engines.registry import open_engine
    from sovgate.stages import policy

    when = clock() if now is None else now
    believed = project.trusted() if trusted is None else trusted
    found = sort_evidence(
        evidence,
        trusted=believed,
        manifest=manifest,
        release=release,
        now=when,
        signature=signature,
    )
    case = build_case(
        project,
        action=action,
        cls=cls,
        manifest=manifest,
        release=release,
        sorted_evidence=found,
        source=source,
        destination=destination,
        locations=locations or {},
        now=when,
        facts=facts,
    )
    policies = project_policies(project)
    return policy.decide(case, policies, open_engine(policies.engine))


def sign_decision(decision: Decision, signer: Signer) -> bytes:
    """The decision as a signed bundle. Raises KeyServiceError."""
    from sovgate.stages.trust import seal

    return seal(decision_statement(decision), signer)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """`saved` is where the signed decision lies, None where it was not asked for."""

    decision: Decision
    saved: Path | None
    sha256: str | None


def check(
    model: Path,
    *,
    action: str,
    zone: str | None,
    to: str | None,
    cls: str = "weights",
    release: str | None = None,
    project: Path | None = None,
    key: str | None = None,
    save: bool = False,
    advance: Advance | None = None,
) -> Checked:
    """Ask about a model on disk, as `push`, `pull` and `promote` will ask again themselves.

    A model without a signature is judged too, and denied by the rule that asks for one. With `key`,
    or with `save` and the zone's own key, the signed decision is added to the model's evidence.

    Raises UsageError, ConfigError, VerificationFailed (a signature that does not verify; before a
    transfer, evidence of another model), EngineError.
    """
    from sovgate.pipeline.move.outgoing import select
    from sovgate.stages import attest

    if action not in ACTIONS:
        raise UsageError(f"there is no action {action[:40]!r}", fix=f"one of {', '.join(ACTIONS)}")
    if not _CLASS.fullmatch(cls):
        raise UsageError(
            f"{cls[:40]!r} is no class", fix=f"one of {', '.join(CLASSES)}, or the project's own"
        )
    opened = open_project(project)
    source, destination = _zones(opened, zone, to)
    asked = None if release is None else _release(release, opened)
    listed, signature = _identity(model, opened, source, advance)
    manifest = listed.digest
    if asked is not None and asked.pin not in (None, manifest):
        raise UsageError(
            "the model is not the one that the release is pinned to",
            why=f"it is sha256:{manifest}",
            fix="name the model that was pinned, or leave the pin out",
        )
    folder = attest.evidence_dir(model)
    evidence, trusted = attest.read(folder), opened.trusted(source)
    decision = decide(
        opened,
        action=action,
        cls=cls,
        manifest=manifest,
        release=asked,
        evidence=evidence,
        source=source,
        destination=destination,
        locations=_locations(opened, destination),
        trusted=trusted,
        signature=signature,
        facts=of_files(model, listed),
    )
    if action == "transfer" and decision.allowed:
        select(evidence, trusted, manifest)  # RULES 6: a push ends there, whatever the rules say
    saved = digest = None
    if key is not None or save:
        from sovgate.keys.registry import open_signer

        signer = opened.signer(source) if key is None else open_signer(key, Path.cwd())
        data = sign_decision(decision, signer)
        saved = attest.add(folder, "decision", data)
        digest = hashlib.sha256(data).hexdigest()
    return Checked(decision=decision, saved=saved, sha256=digest)


def _zones(opened: Project, zone: str | None, to: str | None) -> tuple[str, str]:
    if zone is None:
        raise ConfigError(
            "it is not known which zone this is",
            fix="say --zone ZONE, or set SOVGATE_ZONE",
            reason="no-zone",
        )
    source = opened.zone(zone).name
    return source, source if to is None else opened.zone(to).name


def _release(text: str, opened: Project) -> Release:
    release = Release.parse(text)
    if release.model != opened.config.model:
        raise UsageError(
            f"{text[:160]!r} is no release of this project",
            why=f"its model is {opened.config.model!r}",
            fix=f"write {opened.config.model}/VERSION",
            reason="bad-release",
        )
    return release


def _identity(
    model: Path, opened: Project, zone: str, advance: Advance | None
) -> tuple[Manifest, str | None]:
    """The manifest, and the digest of the signature that was verified, None without one."""
    from sovgate.files import read_bounded
    from sovgate.stages import attest, inventory
    from sovgate.stages.verify import verify_listing, verify_model

    path = attest.signature_path(model)
    if not path.exists():
        return inventory.take(model, advance=advance).manifest, None
    bundle = read_bounded(path, most=strict.MAX_BYTES, what="signature")
    trusted = opened.trusted(zone)
    verified = verify_listing(model, bundle, trusted, signature=path, strict_git=True)
    if verified is None:
        verified = verify_model(model, bundle, trusted, advance, signature=path, strict_git=True)
    return verified.manifest, verified.signature.sha256


def _locations(opened: Project, zone: str) -> dict[str, KnownLocation | None]:
    """What the destination's provider says, where more than a declaration is required."""
    config = opened.zone(zone)
    if config.store is None or config.require == "declared":
        return {}
    from sovgate.stages.transfer.location import locate

    return {zone: locate(opened.store(zone), zone=zone, declared=config.region)}
