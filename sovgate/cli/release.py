"""`sovgate release`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sovgate.cli._base import (
    LocalPath,
    declare,
    evidence_option,
    heads_option,
    key_option,
    links_option,
    model_argument,
    option,
    output_options,
    project_option,
    state_option,
    verify_first_option,
    zone_option,
)
from sovgate.cli._emit import Report
from sovgate.cli._progress import human_seconds, progress
from sovgate.cli._transport import transport_options
from sovgate.cli.move.push import running_zone
from sovgate.records import Options, Release

if TYPE_CHECKING:
    from sovgate.pipeline.release import Released


@declare(
    "release",
    example="""
sovgate release build/churn --release churn/1.4.0 --zone home --to eu --dataset public
sovgate release build/churn --release churn/1.4.0 --zone home --to eu --to us --dry-run
sovgate release build/churn --release churn/1.4.0 --zone home --to eu --through promote""",
    outputs={
        "release": "The release, pinned: NAME/VERSION@sha256:…",
        "manifest": "Manifest digest of the model, sha256:…",
        "left-to": "Zones whose own job has to go on, separated by commas; may be empty.",
        "audit-head": "The last head of the audit log of --zone; empty on a dry run.",
    },
)
@model_argument
@option("--release", required=True, metavar="NAME/VERSION", help="The release's name.")
@zone_option()
@option(
    "--to",
    "to",
    required=True,
    multiple=True,
    metavar="ZONE",
    help="A zone to push to. Repeat for each.",
)
@option(
    "--through",
    type=click.Choice(("push", "promote")),
    default="push",
    show_default=True,
    help="How far to go. promote goes on in each zone whose keys can be used here.",
)
@option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="NAME",
    help="A data set behind the model, for the training record. Repeat for each.",
)
@key_option(help="Sign model, record and SBOM with this key (default: the key of --zone).")
@option(
    "-o",
    "--output",
    type=LocalPath(),
    metavar="DIR",
    help="Where --through promote opens the model (default: .sovgate/pulled).",
)
@option(
    "--dry-run",
    is_flag=True,
    help="Say what would be written and what would cross, and write nothing.",
)
@evidence_option
@state_option
@verify_first_option
@links_option
@heads_option
@transport_options
@project_option
@output_options
def command(
    model: Path,
    release: str,
    zone: str | None,
    to: tuple[str, ...],
    through: str,
    datasets: tuple[str, ...],
    key: str | None,
    output: Path | None,
    dry_run: bool,
    evidence: Path | None,
    state: Path | None,
    verify_first: bool,
    follow_links: Path | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Take a model the whole way: sign, record, SBOM, check, push and more."""
    from sovgate.pipeline.release import Route
    from sovgate.pipeline.release import release as run
    from sovgate.pipeline.steps import ALREADY, LEFT

    with progress("releasing", *(to if len(to) > 1 else ())) as bar:
        made = run(
            model,
            release=Release.parse(release),
            route=Route(zone=running_zone(zone), to=to, through=through, output=output),
            datasets=datasets,
            key=key,
            options=Options(
                project=project,
                evidence=evidence,
                state=state,
                verify_first=verify_first,
                follow_links=follow_links,
                dry_run=dry_run,
                progress=bar,
            ),
        )
    zones = ", ".join(made.to)
    written = [step for step in made.steps if step.outcome not in (ALREADY, LEFT)]
    if made.dry_run:
        headline = f"would release {made.release} to {zones}; nothing was written"
        headline += _not_asked(made, through)
    elif all(step.name in ("verify", "check") for step in written):
        headline = f"{made.release} is released to {zones} already"
    else:
        headline = f"released {made.release} to {zones}"
    notes = []
    for handover in made.left:
        notes.append(f"zone {handover.zone} goes on in its own job, since {handover.why}:")
        notes += [f"  {command}" for command in handover.commands]
    if through == "push" and not made.dry_run:
        notes += [f"in {one}: sovgate pull {made.pinned} --zone {one} -o MODEL" for one in made.to]
    for opened in made.kept:
        both = f"{shlex.quote(str(opened))} {shlex.quote(f'{opened}.evidence')}"
        notes.append(f"{opened} is the opened model. It is not encrypted, and it stays there")
        notes.append(f"to remove it: rm -r -- {both}")
    heads = dict(made.heads)
    return Report(
        command="release",
        headline=headline,
        rows=(
            ("release", made.pinned),
            *(
                ("decision", line)
                for line in dict.fromkeys(d for s in made.steps for d in s.decisions)
            ),
            *(("audit-head", f"{head} ({where})") for where, head in heads.items()),
        ),
        table=(
            ("step", "zone", "outcome", "took", "what"),
            *(
                (s.name, s.zone or "", s.outcome, human_seconds(s.seconds), s.said)
                for s in made.steps
            ),
        ),
        outputs={
            "release": made.pinned,
            "manifest": f"sha256:{made.manifest}",
            "left-to": ",".join(handover.zone for handover in made.left),
            "audit-head": heads.get(made.zone, ""),
        },
        data={
            "release": made.pinned,
            "manifest": made.manifest,
            "zone": made.zone,
            "to": list(made.to),
            "through": through,
            "dry-run": made.dry_run,
            "missing": list(made.missing),
            "steps": [step.json() for step in made.steps],
            "left": [
                {"zone": h.zone, "why": h.why, "commands": list(h.commands)} for h in made.left
            ],
            "kept": [str(path) for path in made.kept],
            "audit-heads": [{"zone": z, "head": h} for z, h in made.heads],
        },
        notes=tuple(notes),
    )


def _not_asked(made: Released, through: str) -> str:
    """The steps that a dry run cannot ask, and why; "" where it asked all."""
    after = ("pull", "promote") if through == "promote" else ()
    if made.missing:
        why = "the model is not signed"
        if "sign the model" not in made.missing:
            why = "not all of the model's evidence is written"
        steps = ("push", *after)
    elif after:
        steps, why = after, "they read what push writes"
    else:
        return ""
    verb = "was" if len(steps) == 1 else "were"
    names = ", ".join(steps[:-1]) + " and " * (len(steps) > 1) + steps[-1]
    return f", and {names} {verb} not asked: {why}"
