"""`sovgate promote`."""

from __future__ import annotations

from pathlib import Path

import click

from sovgate.cli._base import (
    LocalPath,
    Option,
    argument,
    declare,
    option,
    output_options,
    project_option,
    zone_option,
)
from sovgate.cli._emit import Report
from sovgate.cli._progress import human_seconds


@declare(
    "promote",
    example="""
sovgate promote kyc-risk/1.4.0@sha256:4f2a… --zone eu --dry-run
sovgate promote kyc-risk/1.4.0@sha256:4f2a… --zone eu""",
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
    "--dry-run",
    cls=Option,
    is_flag=True,
    help="Show what would change, and write nothing.",
)
@project_option
@output_options
def command(
    release: str,
    zone: str | None,
    model: Path | None,
    dry_run: bool,
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
        options=Options(project=project, dry_run=dry_run),
    )
    named = made.release.pinned(made.manifest)
    if made.already:
        headline = f"{made.release} is promoted in {made.zone} already"
    elif made.dry_run:
        headline = f"would promote {made.release} in {made.zone}; nothing was written"
    elif made.via == "pull-request":
        headline = f"proposed {made.release} for {made.zone}"
    else:
        headline = f"promoted {made.release} in {made.zone} in {human_seconds(made.seconds)}"
    rows = [
        ("release", named),
        ("repository", made.repo),
        ("overlay", made.path),
        ("branch", made.branch),
    ]
    if made.commit:
        rows.append(("commit", made.commit))
    if made.previous:
        rows.append(("before", str(made.previous)))
    if made.permits:
        rows.append(("allowed by", ", ".join(made.permits)))
    if made.audit_head:
        rows.append(("audit-head", made.audit_head))
    if made.diff and made.dry_run:
        rows += [("change" if n == 0 else "", line) for n, line in enumerate(made.diff.split("\n"))]
    notes = []
    if made.branch != made.onto:
        notes.append(f"open a pull request from {made.branch} to {made.onto} in {made.repo}")
    if not made.pinned:
        notes.append(f"the name was not pinned; in a pipeline write {named}")
    return Report(
        command="promote",
        headline=headline,
        rows=tuple(rows),
        outputs={
            "release": named,
            "manifest": f"sha256:{made.manifest}",
            "branch": made.branch,
            "commit": made.commit or "",
            "audit-head": made.audit_head or "",
        },
        data={
            "release": named,
            "manifest": made.manifest,
            "zone": made.zone,
            "record": made.record,
            "sequence": made.sequence,
            "receipt": made.receipt,
            "repo": made.repo,
            "path": made.path,
            "branch": made.branch,
            "onto": made.onto,
            "via": made.via,
            "commit": made.commit,
            "previous": str(made.previous) if made.previous else None,
            "promotion": made.promotion,
            "decision": made.decision,
            "already": made.already,
            "dry-run": made.dry_run,
            "diff": made.diff,
            "attempts": made.attempts,
            "audit-head": made.audit_head,
            "steps": [{"name": name, "seconds": f"{took:.3f}"} for name, took in made.steps],
            "seconds": f"{made.seconds:.3f}",
        },
        notes=tuple(notes),
    )
