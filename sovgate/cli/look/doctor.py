"""`sovgate doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from sovgate.cli._base import (
    Option,
    declare,
    option,
    output_options,
    project_option,
    state_option,
    zone_option,
)
from sovgate.cli._emit import Report
from sovgate.cli._transport import transport_options
from sovgate.errors import ExitCode

#: Read beside the variables of options.
_OTHERS = frozenset(
    {
        "SOVGATE_KEY_PASSPHRASE",
        "SOVGATE_KEY_PASSPHRASE_FILE",
        "SOVGATE_PIN",
        "SOVGATE_PIN_FILE",
        "SOVGATE_GIT_TOKEN",
        "SOVGATE_GIT_USER",
    }
)


@declare(
    "doctor",
    example="""
sovgate doctor
sovgate doctor --zone eu --format json     # its secret keys and its store too""",
)
@zone_option(help="The zone where this runs. Its secret keys are tried and its store is probed.")
@option("--offline", is_flag=True, cls=Option, help="Leave out what needs the network.")
@state_option
@transport_options
@project_option
@output_options
def command(
    zone: str | None, offline: bool, state: Path | None, project: Path | None, format_: str
) -> Report:
    """Say what is missing for a run, and how to get it.

    Exits 3 if something is missing. Warnings do not block. It asks only hosts that the
    project names.
    """
    from sovgate.pipeline.look.diagnosis import MISSING, OK, WARN
    from sovgate.pipeline.look.doctor import doctor

    checks = doctor(
        project,
        zone=zone,
        offline=offline,
        variables=os.environ,
        known=frozenset(_known()),
        state=state,
    )
    count = {status: sum(c.status == status for c in checks) for status in (OK, WARN, MISSING)}
    rows: list[tuple[str, str]] = []
    for check in checks:
        rows.append((check.status, f"{check.name}: {check.detail}"))
        if check.fix:
            rows.append(("", f"fix: {check.fix}"))
    return Report(
        command="doctor",
        headline=f"{count[OK]} ok, {count[WARN]} to look at, {count[MISSING]} missing",
        rows=tuple(rows),
        data={"checks": [dict(vars(check)) for check in checks]},
        exit=ExitCode.CONFIG if count[MISSING] else ExitCode.OK,
    )


def _known() -> Iterator[str]:
    """Every variable that some command reads. Imports them all."""
    from sovgate.cli import root

    yield from _OTHERS
    context = click.Context(root)
    waiting: list[click.Command] = [
        found
        for name in root.list_commands(context)
        if (found := root.get_command(context, name)) is not None
    ]
    while waiting:
        found = waiting.pop()
        if isinstance(found, click.Group):
            waiting += found.commands.values()
        for param in found.params:
            names = param.envvar or ()
            yield from (names,) if isinstance(names, str) else names
