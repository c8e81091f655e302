"""`sovgate lint`."""

from __future__ import annotations

from pathlib import Path

from sovgate.cli._base import LocalPath, argument, declare, output_options, project_option
from sovgate.cli._emit import Report
from sovgate.cli._places import here
from sovgate.errors import ExitCode


@declare(
    "lint",
    example="""
sovgate lint
sovgate lint sovgate.yaml data/ policies/ --format json""",
    outputs={"errors": "How many errors.", "warnings": "How many warnings."},
)
@argument(
    "path",
    type=LocalPath(),
    nargs=-1,
    metavar="[PATH]...",
    help="Files or folders (default: the project file and what it names).",
)
@project_option
@output_options
def command(path: tuple[Path, ...], project: Path | None, format_: str) -> Report:
    """Check the project file, data set manifests and policies, offline.

    Exits 3 if anything is wrong. Warnings alone do not block.
    """
    from sovgate.pipeline.decide.lint import lint

    findings, read = lint(path, project)
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    rows: list[tuple[str, str]] = []
    for finding in findings:
        rows.append(
            (finding.severity, f"{here(finding.where)}: {finding.message} [{finding.rule}]")
        )
        if finding.fix:
            rows.append(("", f"fix: {finding.fix}"))
    files = f"{len(read)} file{'s' if len(read) != 1 else ''}"
    found = f"{errors} error{'s' if errors != 1 else ''}"
    if warnings:
        found += f", {warnings} warning{'s' if warnings != 1 else ''}"
    return Report(
        command="lint",
        headline=f"{files} read, {found}",
        rows=tuple(rows),
        outputs={"errors": str(errors), "warnings": str(warnings)},
        data={
            "files": read,
            "findings": [
                {
                    "rule": finding.rule,
                    "severity": finding.severity,
                    "path": here(finding.where).path,
                    "line": finding.where.line,
                    "column": finding.where.column,
                    "message": finding.message,
                    "fix": finding.fix,
                }
                for finding in findings
            ],
        },
        exit=ExitCode.CONFIG if errors else ExitCode.OK,
        annotations=tuple(
            (finding.severity, finding.where, finding.message) for finding in findings
        ),
    )
