"""`sovgate audit verify` and `sovgate audit show`; `sweep` is beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sovgate.cli import _base
from sovgate.cli._emit import Report, short
from sovgate.cli._group import Group
from sovgate.cli._layout import Branch
from sovgate.cli._transport import transport_options
from sovgate.cli.look._sweep import command as _sweep
from sovgate.errors import Inconclusive

if TYPE_CHECKING:
    from sovgate.pipeline.look.node import Node
    from sovgate.stages.audit import RunSummary


@click.group(
    "audit",
    cls=Group,
    example="""
sovgate audit verify
sovgate audit show churn/1.4.0""",
)
def command() -> None:
    """Verify the audit log, and tell the story of a release."""


@_base.command(
    "verify",
    path="audit verify",
    help="Verify every entry, chain and anchor of the audit log.",
    example="""
sovgate audit verify --zone eu
sovgate audit verify --heads heads.txt --strict
sovgate audit verify --against 5f2c…e1""",
)
@_base.option(
    "--zone", metavar="ZONE", help="The zone whose log it is (default: every zone that has one)."
)
@_base.option(
    "--against",
    multiple=True,
    weakens_trust=True,
    metavar="HEAD",
    help="A head that you noted when push, pull or promote printed it. Repeat for each.",
)
@_base.option(
    "--heads",
    "files",
    multiple=True,
    type=_base.LocalPath(),
    weakens_trust=True,
    metavar="FILE",
    help="A file of such heads, which --heads of those commands writes. Repeat for each.",
)
@_base.option(
    "--strict",
    is_flag=True,
    help="End with 14 unless the end of every run is known from elsewhere, the last one's too.",
)
@_base.option(
    "--read-chunks",
    "read",
    is_flag=True,
    help="Read each chunk again of which its store keeps no SHA-256: in folders and at gs:// and "
    "az:// all of them.",
)
@transport_options
@_base.project_option
@_base.output_options
def _verify(
    zone: str | None,
    against: tuple[str, ...],
    files: tuple[Path, ...],
    strict: bool,
    read: bool,
    project: Path | None,
    format_: str,
) -> Report:
    from sovgate.pipeline.look.audit import Noted, verify

    noted = Noted(heads=against, files=files)
    found = verify(zone=zone, noted=noted, strict=strict, read=read, project=project)
    runs = [(log, run) for log in found.logs for run in log.found.runs]
    data = {
        "logs": [
            {
                "zone": log.zone,
                "store": log.store,
                "entries": log.found.entries,
                "anchors": log.found.anchors,
                "runs": [
                    {
                        "run": run.run,
                        "entries": run.entries,
                        "head": run.head,
                        "anchored": run.anchored,
                        "open": run.open,
                        "last": {
                            "kind": run.last.kind,
                            "action": run.last.about.action,
                            "release": run.last.about.release and str(run.last.about.release),
                            "exit": run.last.exit,
                        },
                    }
                    for run in log.found.runs
                ],
            }
            for log in found.logs
        ],
        "passed-over": list(found.passed_over),
        "elsewhere": list(found.elsewhere),
        "unread": found.unread,
    }
    if found.open_end is not None:
        end = found.open_end
        raise Inconclusive(
            end.what, why=end.why, fix=end.fix, reason=end.reason, details=end.details, data=data
        )
    entries = sum(log.found.entries for log in found.logs)
    head = ("zone", "run", "entries", "ends with", "release", "exit", "head")
    return Report(
        command="audit verify",
        headline=(f"all {entries} entries verify" if entries != 1 else "the one entry verifies")
        + ", up to the heads that are known from elsewhere",
        table=(
            head,
            *(
                (
                    log.zone,
                    run.run[:12],
                    str(run.entries),
                    run.last.about.action
                    + ("" if run.last.kind == "outcome" else f": {run.last.kind}"),
                    str(run.last.about.release or ""),
                    "" if run.last.exit is None else str(run.last.exit),
                    run.head[:12],
                )
                for log, run in runs
            ),
        ),
        notes=(
            *(_end(log.found.tips, log.zone) for log in found.logs if log.found.tips),
            *(
                f"run {run.run} was killed: its intent has no outcome"
                for _, run in runs
                if run.open
            ),
            *_unread(found.unread),
            *(f"passed over: {line}" for line in found.passed_over),
            *(
                f"not checked, because it is kept elsewhere: the log of {line}"
                for line in found.elsewhere
            ),
        ),
        outputs={"entries": str(entries)},
        data=data,
    )


def _unread(count: int) -> list[str]:
    objects = f"{count} objects of ciphertext were" if count > 1 else "1 object of ciphertext was"
    told = f"{objects} found by size alone, which shows no damage; --read-chunks reads them again"
    return [told] if count else []


def _end(tips: tuple[RunSummary, ...], zone: str) -> str:
    """The normal state of a healthy log: nothing came after its last run."""
    last = max(tips, key=lambda run: run.last.time)
    when = f"{last.last.time:%Y-%m-%dT%H:%M:%SZ}"
    ends = "the last run ends" if len(tips) == 1 else f"{len(tips)} runs end"
    return (
        f"zone {zone}: {ends} without an anchor, at {when}: what came after it, if anything, is "
        "not shown; a head that you note when it is printed shows it"
    )


@_base.command(
    "show",
    path="audit show",
    help="Tell a release's whole story, from data to commit: who, what, when and why.",
    example="""
sovgate audit show churn/1.4.0
sovgate audit show churn/1.4.0@sha256:9f86…0a08 --zone eu --format json""",
)
@_base.argument("release", metavar="NAME/VERSION[@sha256:…]", help="The release.")
@_base.option("--zone", metavar="ZONE", help="Only this zone's part (default: every zone's).")
@transport_options
@_base.project_option
@_base.output_options
def _show(release: str, zone: str | None, project: Path | None, format_: str) -> Report:
    from sovgate.pipeline.look.history import show
    from sovgate.pipeline.look.node import FAILED, MISSING, VERIFIED
    from sovgate.records import Release

    history = show(Release.parse(release), zone=zone, project=project)
    counts = {status: history.count(status) for status in (VERIFIED, FAILED, MISSING)}
    said = _count(counts[VERIFIED], "signature verifies", "signatures verify")
    if counts[FAILED]:
        said += ", " + _count(counts[FAILED], "thing does not verify", "things do not verify")
    if counts[MISSING]:
        said += ", " + _count(counts[MISSING], "is missing", "are missing")
    return Report(
        command="audit show",
        headline=f"the story of {history.release}: {said}",
        tree=(_branch(history.root),),
        data={"release": str(history.release), **counts, "story": history.root.json()},
        exit=history.exit,
    )


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _branch(node: Node) -> Branch:
    tail = [f"by {node.by}"] if node.by else []
    tail += [node.when] if node.when else []
    return Branch(
        label=node.kind,
        text=short(node.what) + (f"  ({', '.join(tail)})" if tail else ""),
        status=node.status,
        more=(short(node.why),) if node.why else (),
        branches=tuple(_branch(child) for child in node.children),
    )


command.add_command(_verify)
command.add_command(_show)
command.add_command(_sweep)
