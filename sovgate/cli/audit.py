"""`sovgate audit verify`."""

from __future__ import annotations

from pathlib import Path

import click

from sovgate.cli import _base
from sovgate.cli._emit import Report
from sovgate.errors import Inconclusive


@click.group("audit")
def command() -> None:
    """Verify the log of what was done."""


@_base.command(
    "verify",
    path="audit verify",
    help="Verify every entry, chain and anchor of the audit log.",
    example="""
sovgate audit verify --zone eu
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
    help="A head that you noted, as push, pull and promote print it. Repeat for each.",
)
@_base.project_option
@_base.output_options
def _verify(
    zone: str | None, against: tuple[str, ...], project: Path | None, format_: str
) -> Report:
    from sovgate.pipeline.audit import verify

    found = verify(zone=zone, against=against, project=project)
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
                            "action": run.last.action,
                            "release": run.last.release and str(run.last.release),
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
    }
    if found.open_end is not None:
        end = found.open_end
        raise Inconclusive(end.what, why=end.why, fix=end.fix, reason=end.reason,
                           details=end.details, data=data)  # fmt: skip
    entries = sum(log.found.entries for log in found.logs)
    head = ("zone", "run", "entries", "ends with", "release", "exit", "head")
    return Report(
        command="audit verify",
        headline=f"all {entries} entries verify, up to the heads that are known from elsewhere",
        table=(
            head,
            *(
                (
                    log.zone,
                    run.run[:12],
                    str(run.entries),
                    f"{run.last.kind} of {run.last.action}",
                    str(run.last.release or ""),
                    "" if run.last.exit is None else str(run.last.exit),
                    run.head[:16],
                )
                for log, run in runs
            ),
        ),
        notes=(
            *(
                f"run {run.run} was killed: its intent has no outcome"
                for _, run in runs
                if run.open
            ),
            *(f"passed over, since it does not verify: {line}" for line in found.passed_over),
            *(
                f"not looked at, since it is kept elsewhere: the log of {line}"
                for line in found.elsewhere
            ),
        ),
        outputs={"entries": str(entries)},
        data=data,
    )


command.add_command(_verify)
