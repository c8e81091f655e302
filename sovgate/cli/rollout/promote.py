"""`sovgate promote`."""

from __future__ import annotations

from pathlib import Path

import click

from sovgate.cli._base import (
    LocalPath,
    Option,
    argument,
    declare,
    evidence_option,
    heads_option,
    option,
    output_options,
    project_option,
    zone_option,
)
from sovgate.cli._emit import Report
from sovgate.cli._progress import human_seconds
from sovgate.cli._transport import transport_options
from sovgate.cli.rollout import _report


@declare(
    "promote",
    example="""
sovgate promote kyc-risk/1.4.0@sha256:4f2a… --zone eu --dry-run
sovgate promote kyc-risk/1.4.0@sha256:4f2a… --zone eu
sovgate promote kyc-risk/1.4.0@sha256:4f2a… --zone eu --again""",
    outputs={
        "release": "The release that is pinned, NAME/VERSION@sha256:…",
        "manifest": "Manifest digest of the model, sha256:…",
        "branch": "The branch that was pushed to.",
        "commit": "The commit that pins the release; empty in a dry run.",
        "audit-head": "Head of this run in the audit log. Empty if nothing was done.",
    },
)
@argument("release", metavar="RELEASE", help="NAME/VERSION@sha256:DIGEST.")
@zone_option(help="The zone to roll out in. This must run there.")
@option(
    "--model",
    type=LocalPath(),
    metavar="PATH",
    help="The pulled model. Evidence that was added beside it since then counts too.",
)
@click.option(
    "--again",
    cls=Option,
    is_flag=True,
    weakens_trust=True,
    no_action="a person decides it, who saw what was changed",
    help="Promote it even though somebody changed the overlay since the last promotion.",
)
@click.option(
    "--dry-run",
    cls=Option,
    is_flag=True,
    help="Show what would change, and write nothing.",
)
@evidence_option
@heads_option
@transport_options
@project_option
@output_options
def command(
    release: str,
    zone: str | None,
    model: Path | None,
    again: bool,
    dry_run: bool,
    evidence: Path | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Commit a verified release to the zone's Git repository."""
    from sovgate.pipeline.rollout.promote import promote
    from sovgate.records import Options, Release

    made = promote(
        Release.parse(release),
        zone=zone,
        model=model,
        again=again,
        options=Options(project=project, evidence=evidence, dry_run=dry_run),
    )
    release_, zone_ = made.subject.release, made.place.zone
    if made.already and made.proposed:
        headline = f"{release_} is proposed already for {zone_}"
    elif made.already and release_ in made.settled:
        headline = f"{release_} is promoted in {zone_}: its proposal was merged"
    elif made.already:
        headline = f"{release_} is promoted in {zone_} already"
    elif made.dry_run and made.place.via == "pull-request":
        headline = f"would propose {release_} for {zone_}; nothing was written"
    elif made.dry_run:
        headline = f"would promote {release_} in {zone_}; nothing was written"
    elif made.proposed:
        headline = f"proposed {release_} for {zone_}"
    else:
        headline = f"promoted {release_} in {zone_} in {human_seconds(made.seconds)}"
    rows = [("release", made.subject.pinned), *_report.place_rows(made)]
    rows += _report.settled_rows(made)
    if made.previous:
        rows.append(("before", str(made.previous)))
    notes = _report.notes(made)
    if not made.pinned:
        notes.append(f"the name was not pinned; in a pipeline write {made.subject.pinned}")
    return Report(
        command="promote",
        headline=headline,
        rows=(*rows, *_report.decision_rows(made)),
        outputs={
            "release": made.subject.pinned,
            "manifest": f"sha256:{made.subject.manifest}",
            "branch": made.committed.branch,
            "commit": made.committed.commit or "",
            "audit-head": made.committed.audit_head or "",
        },
        data={
            **_report.data(made),
            "previous": str(made.previous) if made.previous else None,
            "attempts": made.committed.attempts,
        },
        notes=tuple(notes),
    )
