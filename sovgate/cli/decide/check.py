"""`sovgate check`: what policy says about an action, and what would change its mind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sovgate.cli._base import (
    ModelPath,
    Option,
    argument,
    declare,
    evidence_option,
    key_option,
    links_option,
    option,
    output_options,
    project_option,
    zone_option,
)
from sovgate.cli._emit import Report
from sovgate.cli._places import text_from_here
from sovgate.cli._progress import progress
from sovgate.cli._transport import transport_options
from sovgate.errors import UsageError
from sovgate.records import ACTIONS, Options

if TYPE_CHECKING:
    from sovgate.formats.decision import Decision, Denial
    from sovgate.pipeline.decide.check import Checked


@declare(
    "check",
    example="""
sovgate check build/kyc-risk --action transfer --zone us-train --to eu
sovgate check build/kyc-risk --action deploy --zone eu --release kyc-risk/1.0.0
sovgate check --action train --zone us-train --dataset public-train""",
    outputs={
        "allowed": "true or false.",
        "rules": "The rules that denied, separated by commas.",
        "case": "Digest of the case that was decided, sha256:…",
        "policy": "Digest of the policy that decided, sha256:…",
        "decision": "Path of the signed decision; empty if none was asked for.",
    },
)
@argument(
    "model",
    type=ModelPath(),
    required=False,
    metavar="[MODEL]",
    help="The model: a folder or a file. Before a training there is none yet.",
)
@option(
    "--action",
    type=click.Choice(ACTIONS),
    default="transfer",
    show_default=True,
    help="The action to ask about.",
)
@zone_option()
@option("--to", metavar="ZONE", help="Where it would go (default: it stays in --zone).")
@option(
    "--class",
    "cls",
    metavar="CLASS",
    default="weights",
    show_default=True,
    help="Its class: weights, metadata, gradient, or a class of the project's own.",
)
@option("--release", metavar="NAME/VERSION", help="The release that it would be.")
@option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="NAME",
    help="Before a training: a data set that it would use. Repeat for each.",
)
@key_option(help="Sign the decision with this key, and add it to the model's evidence.")
@option(
    "--save",
    is_flag=True,
    cls=Option,
    help="Sign the decision with the zone's own key, and add it to the evidence.",
)
@evidence_option
@links_option
@transport_options
@project_option
@output_options
def command(
    model: Path | None,
    action: str,
    zone: str | None,
    to: str | None,
    cls: str,
    release: str | None,
    datasets: tuple[str, ...],
    key: str | None,
    save: bool,
    evidence: Path | None,
    follow_links: Path | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Ask policy whether an action is allowed, and if not, why."""
    from sovgate.pipeline.decide.check import Asked, check, check_training

    asked = Asked(action=action, zone=zone, to=to, cls=cls, release=release)
    if (model is None) != bool(datasets) or (model is None and (key is not None or save)):
        raise UsageError(
            "--dataset goes without a model" if datasets else "no model is named",
            why="a model's own record names its data; --dataset is for a training still to come, "
            "whose decision lies beside no model and is not signed",
            fix="sovgate check MODEL …, or sovgate check --action train --zone ZONE --dataset NAME",
            reason="no-model",
        )
    with progress("reading the model") as bar:
        options = Options(
            project=project, evidence=evidence, follow_links=follow_links, progress=bar
        )
        checked = (
            check_training(asked, datasets, options=options)
            if model is None
            else check(model, asked, key=key, save=save, options=options)
        )
    if checked.decision.unanswered:
        checked.decision.require()
    return _report(checked)


def _report(checked: Checked) -> Report:
    from sovgate.formats.decision import parse_where

    decision = checked.decision
    verdict = "allowed" if decision.allowed else "denied"
    rows = [("action", decision.case.action), *_places(decision)]
    rows += _permits(decision)
    for deny in decision.denies:
        rows += _denial("denied by", deny)
    for deny in decision.warnings:
        rows += _denial("warned by", deny)
    rows += _keyless(decision)
    rows += [("missing", line) for line in checked.seen]
    rows += _rejected(decision)
    rows.append(("project", str(checked.project)))
    rows.append(("rules", decision.asked))
    rows.append(("policy", f"sha256:{decision.basis.policy_sha256} ({decision.basis.engine})"))
    if checked.saved is not None:
        rows.append(("decision", str(checked.saved)))
    return Report(
        command="check",
        headline=f"{verdict}: {decision.case.action} {decision.question}",
        rows=tuple(rows),
        outputs={
            "allowed": "true" if decision.allowed else "false",
            "rules": ",".join(dict.fromkeys(deny.rule for deny in decision.denies)),
            "case": f"sha256:{decision.basis.case_sha256}",
            "policy": f"sha256:{decision.basis.policy_sha256}",
            "decision": str(checked.saved or ""),
        },
        data={
            **_from_here(decision.json()),
            "saved": None if checked.saved is None else str(checked.saved),
        },
        notes=_notes(decision),
        annotations=tuple(
            ("error", where, f"{deny.rule}: {deny.message}")
            for deny in decision.denies
            if (where := parse_where(deny.where)) is not None
        ),
        exit=decision.exit,
    )


def _from_here(document: dict[str, Any]) -> dict[str, Any]:
    """With the places of denials and permits as the reader would write them."""
    for kind in ("denies", "warnings", "permits"):
        for one in document.get(kind, ()):
            one.update({k: text_from_here(one[k]) for k in ("where", "fix") if one.get(k)})
    return document


def _places(decision: Decision) -> list[tuple[str, str]]:
    case = decision.case
    rows = []
    for label, place in (("from", case.source), ("to", case.destination)):
        rows.append((label, f"{place.zone}: {place.region} ({', '.join(place.groups) or '?'})"))
    if case.source.zone == case.destination.zone:
        rows = [("in", rows[0][1])]
    behind = [
        "unknown" if origin.kind == "unknown" and origin.where is None else origin.name
        for origin in case.subject.derived_from
    ]
    rows.append(("data", ", ".join(dict.fromkeys(behind))))
    return rows


def _permits(decision: Decision) -> list[tuple[str, str]]:
    return [
        (
            "permitted",
            f"{permit.id} ({text_from_here(permit.where)})" if permit.where else permit.id,
        )
        for permit in decision.permits
    ]


def _denial(label: str, deny: Denial) -> list[tuple[str, str]]:
    rows = [(label, f"{deny.rule}: {deny.message}")]
    if deny.where:
        rows.append(("", f"at {text_from_here(deny.where)}"))
    if deny.fix:
        rows.append(("", f"fix: {text_from_here(deny.fix)}"))
    return rows


def _keyless(decision: Decision) -> list[tuple[str, str]]:
    """Evidence that counts by an identity, and by which trusted root: nobody's key says it."""
    return [
        (
            "keyless",
            f"{item.role} by {item.signer}: {item.identity} of {item.issuer}, signed at "
            f"{item.logged}, by the trusted root sha256:{item.trusted_root}",
        )
        for item in decision.case.evidence
        if item.keyless
    ]


def _rejected(decision: Decision) -> list[tuple[str, str]]:
    """Evidence that counted for nothing; decisions that ran out are no news."""
    told = [item for item in decision.case.rejected if not item.reason.startswith("expired")]
    return [("not counted", f"{item.name}: {item.reason}") for item in told]


def _notes(decision: Decision) -> tuple[str, ...]:
    if decision.allowed:
        return ()
    if decision.together:
        return (
            "no single change would allow it; all of these together would:",
            *decision.together,
        )
    if not any(deny.fix for deny in decision.denies):
        return ("no change that sovgate can name would allow it",)
    return ()
