"""What a denial adds where a record that would do lies beside the model, and nobody has signed it.

Reads drafts in evidence folders. No decision rests on one: they say what to do next, and no more.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import SovgateError
from sovgate.records import DEFAULTS, RELEASE_PART, Options

if TYPE_CHECKING:
    from sovgate.engines._api import PolicySet
    from sovgate.formats.case import Evidence
    from sovgate.formats.decision import Decision
    from sovgate.formats.provenance import TrainingRecord
    from sovgate.pipeline.decide.case import Known
    from sovgate.stages.attest import Folders

RULE = "record-required"
#: How many drafts, or data sets of them, are named.
SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class Drafts:
    """Training records about one manifest; `command` signs them once a zone's name is added."""

    names: tuple[str, ...]
    records: tuple[TrainingRecord, ...]
    command: str


def drafts_beside(folders: Folders, manifest: str, options: Options = DEFAULTS) -> Drafts | None:
    """The drafts that read as records about this manifest; None where there is none."""
    from sovgate.formats import provenance
    from sovgate.formats.statement import Statement

    found: list[tuple[str, TrainingRecord]] = []
    with contextlib.suppress(SovgateError):  # `attest` says what is wrong there
        for raw in folders.read_unsigned():
            with contextlib.suppress(SovgateError):
                said = Statement.parse(raw.data)
                if (said.role, said.subject_sha256) == ("provenance", manifest):
                    found.append((f"unsigned/{raw.name}", provenance.parse(said.predicate)))
    if not found:
        return None
    words = ["sovgate", "attest", os.fspath(folders.model), "--all-unsigned"]
    words += ["--role", "provenance"]
    for option, path in (
        ("--evidence", options.evidence),
        ("--follow-links", options.follow_links),
        ("--project", options.project),
    ):
        if path not in (None, Path()):
            words += [option, os.fspath(path)]
    return Drafts(
        names=tuple(name for name, _ in found),
        records=tuple(record for _, record in found),
        command=shlex.join(words),
    )


def lacks_record(decision: Decision) -> bool:
    """Whether it denies since nobody trusted said what is behind the model, and not for a record
    that binds though it cannot be counted."""
    return any(deny.rule == RULE for deny in decision.denies) and any(
        (one.kind, one.name, one.where) == ("unknown", "unknown", None)
        for one in decision.case.subject.derived_from
    )


def told(
    decision: Decision,
    known: Known,
    zone: str,
    ask: Callable[[Known], Decision],
    policies: PolicySet,
) -> tuple[Decision, tuple[str, ...]]:
    """The decision with the command that signs the drafts as its fix, where policy, asked again as
    if that were done, denies for nothing new; else lines that name the drafts.

    `zone` is where this runs. What `ask` answers here is no decision: it only chooses words.
    """
    drafts = known.drafts
    if drafts is None or not lacks_record(decision):
        return decision, ()
    line = f"{', '.join(drafts.names[:SHOWN])}, beside the model, is a draft that nobody has signed"
    signed = _as_signed(decision, known, zone)
    if signed is None:
        return decision, (f"{line}; who signed the model, or may sign records, has to sign it",)
    would = ask(
        replace(
            known,
            planned=(*known.planned, *drafts.records),
            foreseen=(*known.foreseen, signed),
            drafts=None,
        )
    )
    before = {(deny.rule, deny.message) for deny in decision.denies}
    new = next((d for d in would.denies if (d.rule, d.message) not in before), None)
    if new is None and not lacks_record(would):
        command = f"{drafts.command} --zone {zone}"
        text = f"{_what(drafts)}; if that is right, sign it: {command}"
        own = next((rule.fix for rule in policies.rules if rule.id == RULE), None)
        together = tuple(text if one == own else one for one in decision.together)
        changed = _with_fix(decision, text if would.allowed else None)
        said = would.allowed or text in together
        return replace(changed, together=together), () if said else (f"{line}: {command}",)
    # What the rule says of itself would be another record than the one that is there.
    why = "" if new is None else f": {new.rule}: {new.message}"
    return replace(_with_fix(decision, None), together=()), (
        f"{line}; once signed, it is denied too{why}",
    )


def _what(drafts: Drafts) -> str:
    """Whoever signs says it, so what the draft says comes first. Its words are the training job's:
    a name that is none of ours is quoted."""
    found = dict.fromkeys(one.name for record in drafts.records for one in record.datasets)
    names = [name if RELEASE_PART.fullmatch(name) else repr(name[:80]) for name in found]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"an unsigned record beside it names the data {', '.join(names[:SHOWN])}{more}"


def _with_fix(decision: Decision, fix: str | None) -> Decision:
    denies = (replace(deny, fix=fix) if deny.rule == RULE else deny for deny in decision.denies)
    return replace(decision, denies=tuple(denies))


def _as_signed(decision: Decision, known: Known, zone: str) -> Evidence | None:
    """What a case would hold of a draft that the key of `zone` signed; None where that would not
    count: that key may say nothing of data, or another zone signed the model (RULES 30)."""
    from sovgate.formats.case import Evidence
    from sovgate.formats.statement import PREDICATE_TYPES

    makers = {
        item.zone
        for item in decision.case.evidence
        if item.role == "signature" and known.signature in (None, item.sha256)
    }
    mine = [one for one in known.trusted if "provenance" in one.may and one.zone in (None, zone)]
    if not mine or (makers and not makers & {None, zone}):
        return None
    return Evidence(
        role="provenance",
        predicate_type=PREDICATE_TYPES["provenance"],
        sha256="0" * 64,
        manifest=decision.case.subject.manifest or "",
        release=None,
        signer=mine[0].name[:256] or "unnamed",
        zone=mine[0].zone,
        created=None,
    )
