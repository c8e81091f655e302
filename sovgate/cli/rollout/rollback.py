"""`sovgate rollback`."""

from __future__ import annotations

from pathlib import Path

from sovgate.cli._base import declare, option, output_options, project_option, zone_option
from sovgate.cli._emit import Report
from sovgate.cli._progress import human_seconds


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
    named = made.release.pinned(made.manifest)
    if made.already:
        headline = f"{made.zone} was rolled back to {made.release} for this reason already"
    elif made.dry_run:
        headline = (
            f"would roll {made.zone} back from {made.left} to {made.release}; nothing was written"
        )
    elif made.via == "pull-request":
        headline = f"proposed to roll {made.zone} back from {made.left} to {made.release}"
    else:
        headline = (
            f"rolled {made.zone} back from {made.left} to {made.release} "
            f"in {human_seconds(made.seconds)}"
        )
    rows = [("release", named), ("reason", made.reason)]
    rows += [("passed over", f"{release}: {why}") for release, why in made.skipped]
    rows += [("repository", made.repo), ("overlay", made.path), ("branch", made.branch)]
    if made.commit:
        rows.append(("commit", made.commit))
    if made.permits:
        rows.append(("allowed by", ", ".join(made.permits)))
    if made.audit_head:
        rows.append(("audit-head", made.audit_head))
    if made.diff and made.dry_run:
        rows += [("change" if n == 0 else "", line) for n, line in enumerate(made.diff.split("\n"))]
    notes = []
    if made.already:
        notes.append("to go back further, give another reason, or name one with --to-release")
    if made.branch != made.onto:
        notes.append(f"open a pull request from {made.branch} to {made.onto} in {made.repo}")
    return Report(
        command="rollback",
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
            "left": str(made.left) if made.left else None,
            "reason": made.reason,
            "skipped": [{"release": str(r), "why": why} for r, why in made.skipped],
            "record": made.record,
            "sequence": made.sequence,
            "receipt": made.receipt,
            "repo": made.repo,
            "path": made.path,
            "branch": made.branch,
            "onto": made.onto,
            "via": made.via,
            "commit": made.commit,
            "promotion": made.promotion,
            "decision": made.decision,
            "already": made.already,
            "dry-run": made.dry_run,
            "diff": made.diff,
            "audit-head": made.audit_head,
            "steps": [{"name": name, "seconds": f"{took:.3f}"} for name, took in made.steps],
            "seconds": f"{made.seconds:.3f}",
        },
        notes=tuple(notes),
    )
