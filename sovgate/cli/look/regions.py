"""`sovgate regions list|show`: the catalogue, and what the project file declares beside it.

Reads that file, if there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from sovgate import regions
from sovgate.cli import _base
from sovgate.cli._emit import Report
from sovgate.cli._group import Group
from sovgate.errors import ConfigError, UsageError
from sovgate.regions import Region

T = TypeVar("T")


@click.group(
    "regions",
    cls=Group,
    example="""
sovgate regions list --group EU
sovgate regions show aws-eusc:eusc-de-east-1""",
)
def command() -> None:
    """List and show the regions that sovgate knows."""


def _asked(find: Callable[[str], T], text: str) -> T:
    """The catalogue's refusal, where the text stood on the command line: 2, not 3."""
    try:
        return find(text)
    except ConfigError as error:
        raise UsageError(error.what, why=error.why, fix=error.fix, reason=error.reason) from error


@_base.command(
    "list",
    path="regions list",
    help="List the regions, all or those of a provider, country or group.",
    example="sovgate regions list --group EU --provider aws",
)
@_base.option("--provider", metavar="NAME", help="Only this provider, e.g. aws-eusc.")
@_base.option("--country", metavar="CODE", help="Only this country, e.g. DE.")
@_base.option("--group", "group_", metavar="GROUP", help="Only this group: EU, EEA, EFTA.")
@_base.project_option
@_base.output_options
def _list(
    provider: str | None,
    country: str | None,
    group_: str | None,
    project: Path | None,
    format_: str,
) -> Report:
    own = _own(project)
    every = rows = (*regions.all_regions(), *own)
    if provider == regions.DECLARED:
        rows = own
    elif provider is not None:
        _known_provider(provider)
        rows = regions.provider_regions(provider)
    for code in (country, group_):
        if code is not None:
            members = _asked(regions.group, code).members
            rows = tuple(row for row in rows if row.country in members)
    head = ("region", "place", "country", "groups", "operator", "controlled from")
    notes = ["`sovgate regions show REGION` has the source of each, endpoints and claims"]
    if any(row.note for row in rows):
        notes.append("* restricted, announced or otherwise special: see `show`")
    if len(rows) > 40:
        notes.insert(0, "a shorter list: --group EU, --country DE, --provider aws")
    found = "1 region" if len(rows) == 1 else f"{len(rows)} regions"
    return Report(
        command="regions list",
        headline=f"{found} of {len(every)}",
        table=(head, *map(_line, rows)),
        notes=tuple(notes),
        data={"regions": [row.json() for row in rows]},
    )


def _own(project: Path | None) -> tuple[Region, ...]:
    """What the project declares by itself; nothing where there is no project that reads."""
    from sovgate.config import declared_regions
    from sovgate.pipeline.project import nearest_project

    try:
        opened = nearest_project(project)
    except ConfigError:
        if project is not None:
            raise
        return ()
    return () if opened is None else declared_regions(opened.config)


def _provider(row: Region) -> str:
    if row.provider == regions.DECLARED:
        return f"{row.provider} (by the project file alone)"
    return f"{row.provider} ({regions.provider_title(row.provider)})"


def _known_provider(name: str) -> None:
    if name in regions.providers():
        return
    from difflib import get_close_matches

    near = get_close_matches(name[:64].strip().lower(), regions.providers(), n=1)
    raise UsageError(
        f"there is no provider {name[:64]!a}",
        why=f"there are {', '.join(regions.providers())}",
        fix=f"did you mean {near[0]}?" if near else "name one of them",
        reason="unknown-provider",
    )


def _line(row: Region) -> tuple[str, ...]:
    name = f"{row.name} *" if row.note else row.name
    wider = " ".join(row.groups[1:])
    return (row.id, name, row.country, wider or "-", row.operator, row.operator_country)


@_base.command(
    "show",
    path="regions show",
    help="Show what is known about a region, with source and date.",
    example="sovgate regions show aws-eusc:eusc-de-east-1",
)
@_base.argument("region", metavar="REGION", help="provider:region, e.g. aws:us-east-1.")
@_base.project_option
@_base.output_options
def _show(region: str, project: Path | None, format_: str) -> Report:
    own = {row.id: row for row in _own(project)} if region.startswith(regions.DECLARED) else {}
    row = own.get(region) or _asked(regions.lookup, region)
    return Report(
        command="regions show",
        headline=f"{row.id} is {row.name}, {_country(row.country)}",
        rows=tuple(_facts(row)),
        data={"region": row.json()},
    )


def _country(code: str) -> str:
    if not regions.known_group(code):
        return f"{code} (not published)"
    return f"{code} ({regions.group(code).name})"


def _primary(row: Region) -> str:
    if row.operator_primary:
        return ""
    return "; no primary source: neither the companies' own words nor a register"


def _facts(row: Region) -> list[tuple[str, str]]:
    facts = [
        ("provider", _provider(row)),
        ("country", _country(row.country)),
        ("groups", " ".join(row.groups) or "none: no stays-in but the empty one admits it"),
    ]
    if row.provider != regions.DECLARED:
        facts += [("partition", row.partition), ("domain", row.dns_suffix)]
    facts += [(service, " ".join(hosts)) for service, hosts in row.endpoints]
    if row.note:
        facts.append(("note", row.note))
    facts += [
        ("source", row.source),
        ("checked", row.date),
        ("operator", f"{row.operator}, {row.run_by}"),
        ("controlled from", f"{_country(row.operator_country)}: {row.operator_control}"),
        ("", f"{row.operator_source}, checked {row.operator_date}{_primary(row)}"),
    ]
    for claim in row.claims:
        facts += [
            ("claim", f"{claim.scheme}: {claim.value}, says {claim.claimed_by}"),
            ("", f"{claim.source}, {claim.date}"),
        ]
    return facts


command.add_command(_list)
command.add_command(_show)
