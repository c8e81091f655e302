"""`sovgate rollback`."""

from __future__ import annotations

from pathlib import Path

from sovgate.cli._base import (
    declare,
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
    "rollback",
    example="""
sovgate rollback --zone eu --reason "P95 at 240 ms since 14:05" --dry-run
sovgate rollback --zone eu --reason "P95 at 240 ms since 14:05"
sovgate rollback --zone eu --reason "withdrawn by its authors" --to-release kyc-risk/1.3.0""",
    outputs={
        "release": "The release that is pinned again, NAME/VERSION@sha256:…",
        "manifest": "Manifest digest of the model, sha256:…",
        "branch": "The branch that was pushed to.",
        "commit": "The commit that pins the release again; empty in a dry run.",
        "audit-head": "Head of this run in the audit log. Empty if nothing was done.",
    },
)
@zone_option(help="The zone to roll back. This must run there.")
@option("--reason", required=True, metavar="TEXT", help="The reason, in one line. It is signed.")
@option(
    "--to-release",
    metavar="NAME/VERSION",
    help="The release to return to (default: the last one that still verifies and is allowed).",
)
@option(
    "--dry-run",
    is_flag=True,
    help="Show which release it would return to and what would change, and write nothing.",
)
@heads_option
@transport_options
@project_option
@output_options
def command(
    zone: str | None,
    reason: str,
    to_release: str | None,
    dry_run: bool,
    project: Path | None,
    format_: str,
) -> Report:
    """Return a zone to an earlier release that still verifies and is allowed."""
    from sovgate.pipeline.rollout.rollback import rollback
    from sovgate.records import Options, Release

    target = None if to_release is None else Release.parse(to_release)
    made = rollback(
        zone=zone,
        reason=reason,
        to_release=target,
        options=Options(project=project, dry_run=dry_run),
    )
    release_, zone_ = made.subject.release, made.place.zone
    if made.already and made.proposed:
        headline = f"it is proposed already to roll {zone_} back to {release_}"
    elif made.already:
        headline = f"{zone_} was rolled back to {release_} for this reason already"
    elif made.dry_run and made.place.via == "pull-request":
        headline = f"would propose to roll {zone_} back from {made.left} to {release_}; "
        headline += "nothing was written"
    elif made.dry_run:
        headline = f"would roll {zone_} back from {made.left} to {release_}; nothing was written"
    elif made.proposed:
        headline = f"proposed to roll {zone_} back from {made.left} to {release_}"
    else:
        took = human_seconds(made.seconds)
        headline = f"rolled {zone_} back from {made.left} to {release_} in {took}"
    rows = [("release", made.subject.pinned), ("reason", made.reason)]
    rows += [("passed over", f"{release}: {why}") for release, why in made.skipped]
    rows += _report.settled_rows(made)
    notes = []
    if made.already and not made.proposed:
        notes.append("to go back further, give another reason, or name one with --to-release")
    return Report(
        command="rollback",
        headline=headline,
        rows=(*rows, *_report.place_rows(made), *_report.decision_rows(made)),
        outputs={
            "release": made.subject.pinned,
            "manifest": f"sha256:{made.subject.manifest}",
            "branch": made.committed.branch,
            "commit": made.committed.commit or "",
            "audit-head": made.committed.audit_head or "",
        },
        data={
            **_report.data(made),
            "left": str(made.left) if made.left else None,
            "reason": made.reason,
            "skipped": [{"release": str(r), "why": why} for r, why in made.skipped],
        },
        notes=(*notes, *_report.notes(made)),
    )
