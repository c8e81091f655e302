"""check: policy is asked about a model on disk, as the other commands ask themselves.

Reads the model, its evidence and public keys; asks the destination's store where it lies; writes
the signed decision where one is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import ConfigError, UsageError
from sovgate.pipeline import key_option
from sovgate.pipeline.beside import read_records
from sovgate.pipeline.decide.case import Known, KnownLocation, Question
from sovgate.pipeline.decide.contents import look_into
from sovgate.pipeline.decide.judge import judge
from sovgate.pipeline.drafted import drafts_beside
from sovgate.pipeline.places import evidence_of, reads_model, require_own
from sovgate.pipeline.project import Project, open_project
from sovgate.records import ACTIONS, CLASSES, DEFAULTS, Advance, Options, Release

if TYPE_CHECKING:
    from sovgate.formats.decision import Decision
    from sovgate.formats.manifest import Manifest
    from sovgate.stages.attest import Folders

_CLASS = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """`saved` is where the signed decision lies, None where it was not asked for; `project` is the
    file that decided. `seen`: gates of which no result was read, and drafts that nobody signed.
    """

    project: Path
    decision: Decision
    saved: Path | None
    sha256: str | None
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What somebody asks, by the names of the project; without `to` it stays in `zone`."""

    action: str
    zone: str | None
    to: str | None = None
    cls: str = "weights"
    release: str | None = None


@reads_model
def check(
    model: Path,
    asked: Asked,
    *,
    key: str | None = None,
    save: bool = False,
    hashed: bool = True,
    options: Options = DEFAULTS,
) -> Checked:
    """Ask about a model on disk, as `push`, `pull` and `promote` will ask again themselves.

    A model without a signature is judged too, and denied by the rule that asks for one. With `key`,
    or with `save` and the zone's own key, the signed decision is added to the model's evidence.
    `hashed`: read the files whole and compare them with what was signed (RULES 33); left out only
    where that follows anyway.

    Raises UsageError, ConfigError, VerificationFailed (a signature or file that does not verify;
    before a transfer, evidence of another model), Malformed (a damaged file), EngineError.
    """
    from sovgate.pipeline.move.movement import told_moving
    from sovgate.pipeline.move.pushing.outgoing import select
    from sovgate.stages import attest

    opened, question = _question(asked, options)
    if question.release is not None and question.action == "transfer":
        told_moving(question.release)
    folders = evidence_of(model, options, opened)
    listed, signature = _identity(folders, opened, question.source, options.progress)
    manifest = listed.digest
    if question.release is not None and question.release.pin not in (None, manifest):
        raise UsageError(
            "the model is not the one that the release is pinned to",
            why=f"it is sha256:{manifest}",
            fix="name the model that was pinned, or remove the pin",
        )
    seen = look_into(model.resolve(), listed, opened)
    if hashed:
        seen.require_signed(options.progress)
    trusted = opened.trusted(question.source)
    evidence = read_records(folders, manifest)
    judged = judge(
        opened,
        [replace(question, manifest=manifest)],
        Known(
            trusted=trusted,
            evidence=evidence,
            signature=signature,
            locations=_locations(opened, question.destination),
            contents=seen.contents,
            drafts=drafts_beside(folders, manifest, options),
        ),
    )
    if question.action == "transfer" and judged.first.allowed:
        select(evidence, trusted, manifest)  # RULES 6: a push ends there, whatever the rules say
    saved = digest = None
    if key is not None or save:
        signer = (
            opened.signer(question.source) if key is None else key_option.signer(key, opened.base)
        )
        document = judged.signed(signer).documents[0]
        saved, digest = attest.add(folders.folder, "decision", document.data), document.sha256
    return Checked(
        project=opened.config.path,
        decision=judged.first,
        saved=saved,
        sha256=digest,
        seen=judged.seen[0],
    )


def check_training(
    asked: Asked, datasets: Sequence[str], *, options: Options = DEFAULTS
) -> Checked:
    """Ask whether a model may be trained on these data sets in a zone, before there is one.

    Raises UsageError, ConfigError (also for a data set that is not declared), EngineError.
    """
    from sovgate.formats.provenance import TrainingRecord
    from sovgate.pipeline.decide.judge import clock
    from sovgate.stages.record import recorded

    if asked.action != "train" or asked.to is not None:
        raise UsageError(
            "no model is named",
            why="only a training can be asked about before there is a model",
            fix="name the model; or sovgate check --action train --zone ZONE --dataset NAME",
            reason="no-model",
        )
    opened, question = _question(replace(asked, cls="dataset"), options)
    now = clock()
    # Without demands of their own: there is no record that could be kept or removed.
    named = recorded(datasets, opened.datasets())
    planned = TrainingRecord(
        datasets=tuple(replace(one, stays_in=()) for one in named),
        finished=datetime.fromtimestamp(now, UTC),
    )
    known = Known(
        trusted=(),
        evidence=(),
        locations=_locations(opened, question.destination),
        planned=(planned,),
    )
    judged = judge(opened, [question], known, now=now)
    return Checked(project=opened.config.path, decision=judged.first, saved=None, sha256=None)


def _question(asked: Asked, options: Options) -> tuple[Project, Question]:
    """What is asked, in the project's own records; the manifest comes once the model is read."""
    action = next((one for one in ACTIONS if one == asked.action), None)
    if action is None:
        raise UsageError(
            f"there is no action {asked.action[:40]!r}", fix=f"one of {', '.join(ACTIONS)}"
        )
    if not _CLASS.fullmatch(asked.cls):
        raise UsageError(
            f"{asked.cls[:40]!r} is no class",
            fix=f"one of {', '.join(CLASSES)}, or the project's own",
        )
    opened = open_project(options.project)
    source, destination = _zones(opened, asked.zone, asked.to)
    return opened, Question(
        action=action,
        cls=asked.cls,
        manifest=None,
        release=None if asked.release is None else _release(asked.release, opened),
        source=source,
        destination=destination,
    )


def _zones(opened: Project, zone: str | None, to: str | None) -> tuple[str, str]:
    if zone is None:
        raise ConfigError(
            "the zone in which this runs is not named",
            fix="add --zone ZONE, or set SOVGATE_ZONE",
            reason="no-zone",
        )
    source = opened.zone(zone).name
    return source, source if to is None else opened.zone(to).name


def _release(text: str, opened: Project) -> Release:
    release = Release.parse(text)
    require_own(opened, release)
    return release


def _identity(
    folders: Folders, opened: Project, zone: str, advance: Advance | None
) -> tuple[Manifest, str | None]:
    """The manifest, and the digest of the signature that was verified, None without one."""
    from sovgate.stages import inventory
    from sovgate.stages.verify import Scope, verify_listing, verify_model

    model, path = folders.model, folders.signature
    if not folders.signed:
        return inventory.take(model, advance=advance).manifest, None
    path, bundle = folders.read_signature()
    trusted = opened.trusted(zone)
    scope = Scope(signature=path, strict_git=True)
    verified = verify_listing(model, bundle, trusted, scope)
    if verified is None:
        verified = verify_model(model, bundle, trusted, scope, advance=advance)
    return verified.manifest, verified.signature.sha256


def _locations(opened: Project, zone: str) -> dict[str, KnownLocation | None]:
    """What the destination's provider says, where more than a declaration is required."""
    config = opened.zone(zone)
    if config.store is None or config.require == "declared":
        return {}
    from sovgate.stages.transfer.location import locate

    return {zone: locate(opened.store(zone), zone=zone, declared=config.region)}
