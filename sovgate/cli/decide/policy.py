"""`sovgate policy test` and `sovgate policy list`."""

from __future__ import annotations

from pathlib import Path

import click

from sovgate.cli._base import LocalPath, argument, declare, output_options, project_option
from sovgate.cli._emit import Report
from sovgate.cli._group import Group
from sovgate.errors import ConfigError, ExitCode, UsageError


@click.group(
    "policy",
    cls=Group,
    example="""
sovgate policy test policies/
sovgate policy list""",
)
def command() -> None:
    """Test and list the rules."""


@declare(
    "test",
    path="policy test",
    example="""
sovgate policy test policies/
sovgate policy test services/a/policies/own.rego    # all rules of that project
sovgate policy test                    # those that come with sovgate""",
)
@argument(
    "path",
    type=LocalPath(),
    nargs=-1,
    metavar="[PATH]...",
    help="Folders of *_test.rego files and their rules, or files of a project's rules.",
)
@output_options
def test(path: tuple[Path, ...], format_: str) -> Report:
    """Run the tests of rules."""
    from sovgate.pipeline.decide.policies import run_tests
    from sovgate.pipeline.decide.projects import rule_folders

    folders = rule_folders(path) if path else [None]
    results = [result for folder in folders for result in run_tests(folder)]
    failed = [result for result in results if result.error is not None]
    head = (("test", "file", "result"),)
    rows = tuple(
        (result.name, result.file, "pass" if result.error is None else result.error or "FAIL")
        for result in results
        if failed == [] or result.error is not None
    )
    return Report(
        command="policy test",
        headline=f"{len(results) - len(failed)} passed, {len(failed)} failed",
        table=head + rows,
        data={
            "passed": len(results) - len(failed),
            "failed": len(failed),
            "tests": [
                {
                    "name": result.name,
                    "file": result.file,
                    "passed": result.error is None,
                    "error": result.error,
                }
                for result in results
            ],
        },
        exit=ExitCode.CONFIG if failed else ExitCode.OK,
    )


@declare(
    "list",
    path="policy list",
    example="""
sovgate policy list
sovgate policy list --project deploy/ --format json""",
)
@project_option
@output_options
def list_(project: Path | None, format_: str) -> Report:
    """List the rules that a project is judged by, or all that come with sovgate."""
    from sovgate.pipeline.decide.policies import list_rules
    from sovgate.pipeline.project import open_project

    try:
        opened = open_project(project)
    except (ConfigError, UsageError) as error:
        if error.reason != "no-project" or project is not None:
            raise
        opened = None
    policies = list_rules(opened)
    rows = tuple(
        (rule.id, rule.severity, rule.preset or "the project's own", rule.title)
        for rule in policies.rules
    )
    return Report(
        command="policy list",
        headline=f"{len(rows)} rules, policy sha256:{policies.digest}"
        if opened
        else f"{len(rows)} rules that come with sovgate",
        table=(("rule", "severity", "preset", "title"), *rows),
        data={
            "policy": policies.digest,
            "engine": policies.engine,
            "presets": list(policies.presets),
            "rules": [
                {
                    "id": rule.id,
                    "title": rule.title,
                    "severity": rule.severity,
                    "stage": rule.stage,
                    "fix": rule.fix,
                    "preset": rule.preset,
                    "file": rule.module.name,
                    "sha256": rule.module.sha256,
                }
                for rule in policies.rules
            ],
        },
    )


command.add_command(test)
command.add_command(list_)
