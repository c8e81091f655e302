"""What the reports of promote and rollback share. Pure: a result in, rows and data out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sovgate.pipeline.rollout.results import RolledOut


def place_rows(made: RolledOut) -> list[tuple[str, str]]:
    rows = [
        ("repository", made.place.repo),
        ("overlay", made.place.path),
        ("branch", made.committed.branch),
    ]
    if made.committed.commit:
        rows.append(("commit", made.committed.commit))
    return rows


def settled_rows(made: RolledOut) -> list[tuple[str, str]]:
    """What was found done on the branch: a dry run only counts it."""
    how = "would be recorded first" if made.dry_run else "was not recorded yet, and is now"
    return [("found there", f"{release} {how}") for release in made.settled]


def decision_rows(made: RolledOut) -> list[tuple[str, str]]:
    rows = []
    if made.permits:
        rows.append(("allowed by", ", ".join(made.permits)))
    if made.committed.audit_head:
        rows.append(("audit-head", made.committed.audit_head))
    if made.diff and made.dry_run:
        rows += [("change" if n == 0 else "", line) for n, line in enumerate(made.diff.split("\n"))]
    return rows


def notes(made: RolledOut) -> list[str]:
    place, branch = made.place, made.committed.branch
    found = [f"not checked: {text}" for text in made.unchecked]
    found += [f"beside the pin: {text}" for text in made.committed.beside]
    if made.proposed and (made.already or not made.dry_run):
        found += [
            f"open a pull request from {branch} to {place.onto} in {place.repo}",
            "nothing is promoted before it is merged; run this again then, and it is recorded",
        ]
    return found


def data(made: RolledOut) -> dict[str, object]:
    subject, place, committed = made.subject, made.place, made.committed
    return {
        "release": subject.pinned,
        "manifest": subject.manifest,
        "zone": place.zone,
        "record": subject.record,
        "sequence": subject.sequence,
        "receipt": subject.receipt,
        "repo": place.repo,
        "path": place.path,
        "branch": committed.branch,
        "onto": place.onto,
        "via": place.via,
        "commit": committed.commit,
        "promotion": committed.promotion,
        "proposal": committed.proposal,
        "settled": [str(release) for release in made.settled],
        "decision": committed.decision,
        "already": made.already,
        "dry-run": made.dry_run,
        "diff": made.diff,
        "unchecked": list(made.unchecked),
        "beside": list(made.committed.beside),
        "audit-head": committed.audit_head,
        "steps": [{"name": name, "seconds": f"{took:.3f}"} for name, took in made.steps],
        "seconds": f"{made.seconds:.3f}",
    }
