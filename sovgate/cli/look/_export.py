"""`sovgate keys export`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from sovgate.cli import _base
from sovgate.cli._emit import Report
from sovgate.cli._keyfile import KeyFile
from sovgate.cli._transport import transport_options
from sovgate.errors import ConfigError


@_base.command(
    "export",
    path="keys export",
    help="Write the public half of a zone's key for other zones, signed by the zone's sign key. It "
    "never overwrites another file.",
    example="""
sovgate keys export encrypt --zone eu -o keys/eu-encrypt.json
sovgate keys export sign --zone eu -o keys/eu-sign.json""",
)
@_base.argument(
    "use", type=click.Choice(("sign", "encrypt")), metavar="USE", help="sign or encrypt."
)
@_base.option(
    "-o",
    "--output",
    type=KeyFile(),
    required=True,
    metavar="FILE",
    help="Where to write it: a file for encrypt-public, sign-public or trust of sovgate.yaml.",
)
@_base.zone_option(help="The zone whose key it is, and whose sign key signs it.")
@_base.project_option
@transport_options
@_base.output_options
def command(use: str, output: Path, zone: str | None, project: Path | None, format_: str) -> Report:
    from sovgate.git.ignored import let_in
    from sovgate.pipeline.exported import export
    from sovgate.pipeline.project import open_project

    if zone is None:
        raise ConfigError(
            "the zone whose key it is is not named",
            fix="add --zone ZONE, or set SOVGATE_ZONE",
            reason="no-zone",
        )
    opened = open_project(project)
    opened.zone(zone)
    made = export(opened, zone, use, output, now=datetime.now(UTC))
    said = made.said
    does = "had" if made.there else "wrote"
    return Report(
        command="keys export",
        headline=f"{does} the public half of the key to {use} of zone {zone}",
        rows=(("file", str(made.path)), ("key id", said.key.key_id), *said.told),
        outputs={"key-id": said.key.key_id, "public-key": str(made.path)},
        data={
            "file": str(made.path),
            "there": made.there,
            "key-id": said.key.key_id,
            **said.predicate(),
        },
        notes=(
            _note(use, zone),
            *filter(None, (let_in(made.path),)),
        ),
    )


def _note(use: str, zone: str) -> str:
    where = f"other zones name it in sovgate.yaml as zones.{zone}.keys.{use}-public"
    if use == "encrypt":
        return (
            f"{where}; they believe it by your sign key, named as sign-public or under trust: "
            f"sovgate keys export sign --zone {zone} -o FILE"
        )
    return f"{where}, or under trust; they compare the key id with yours first, over another way"
