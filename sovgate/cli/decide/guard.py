"""`sovgate guard`: what pre-commit runs as `sovgate-no-regulated-data`."""

from __future__ import annotations

from pathlib import Path

from sovgate.cli._base import LocalPath, argument, declare, output_options, project_option
from sovgate.cli._emit import Report
from sovgate.errors import ExitCode

_LABEL = {"error": "refused", "warning": "warning"}


@declare(
    "guard",
    example="""
sovgate guard                          # all that Git tracks here
sovgate guard data/kyc.csv keys/us.pem""",
    outputs={"refused": "How many findings."},
)
@argument(
    "file",
    type=LocalPath(),
    nargs=-1,
    metavar="[FILE]...",
    help="Files (default: all that Git tracks here and below).",
)
@project_option
@output_options
def command(file: tuple[Path, ...], project: Path | None, format_: str) -> Report:
    """Refuse regulated data, keys, pickles and weights in Git.

    Data sets are those of every project in the repository, or of --project alone.
    Exits 10 if it refuses a file. Exceptions, each with its reason, are in
    `.sovgate-guard.yaml`. No network.
    """
    from sovgate.pipeline.decide.guard import guard

    done = guard(file, project)
    rows: list[tuple[str, str]] = []
    for finding in done.findings:
        rows.append(
            (_LABEL[finding.severity], f"{finding.where}: {finding.message} [{finding.rule}]")
        )
        if finding.fix:
            rows.append(("", f"fix: {finding.fix}"))
    rows += [
        ("allowed", f"{finding.where}: {finding.rule}, because {reason}")
        for finding, reason in done.allowed
    ]
    rows += [("note", text) for text in done.unchecked]
    refused = sum(finding.severity == "error" for finding in done.findings)
    warned = len(done.findings) - refused
    return Report(
        command="guard",
        headline=f"{done.files} file{'s' if done.files != 1 else ''} looked through, "
        f"{refused} finding{'s' if refused != 1 else ''}"
        + (f", {warned} warning{'s' if warned != 1 else ''}" if warned else ""),
        rows=tuple(rows),
        outputs={"refused": str(refused)},
        data={
            "files": done.files,
            "findings": [
                {
                    "rule": finding.rule,
                    "severity": finding.severity,
                    "path": finding.where.path,
                    "line": finding.where.line,
                    "message": finding.message,
                    "fix": finding.fix,
                }
                for finding in done.findings
            ],
            "allowed": [
                {"rule": finding.rule, "path": finding.where.path, "reason": reason}
                for finding, reason in done.allowed
            ],
            "unchecked": list(done.unchecked),
        },
        exit=ExitCode.DENIED if refused else ExitCode.OK,
        notes=("if a file is meant to be there, say so in .sovgate-guard.yaml, with the reason",)
        if refused
        else (),
        annotations=tuple((f.severity, f.where, f.message) for f in done.findings),
    )
