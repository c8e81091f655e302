"""`sovgate keys show`; the others are beside it."""

from __future__ import annotations

from pathlib import Path

import click

from sovgate.cli import _base
from sovgate.cli._emit import Report
from sovgate.cli._group import Group
from sovgate.cli._keyfile import KeyFile
from sovgate.cli._transport import transport_options
from sovgate.cli.look._export import command as _export
from sovgate.cli.look._kept import command as _kept
from sovgate.cli.look._key_check import command as _check
from sovgate.cli.look._key_generate import command as _generate
from sovgate.errors import UsageError


@click.group(
    "keys",
    cls=Group,
    example="""
sovgate keys generate sign -o keys/us.pem
sovgate keys show file:keys/us.pem
sovgate keys check""",
)
def command() -> None:
    """Make keys, show and export public keys, and ask services about them."""


@_base.command(
    "show",
    path="keys show",
    help="Show the public half of a key: algorithm, key id and hint. It never shows the secret.",
    example="""
sovgate keys show file:keys/us.pem
sovgate keys show awskms:///ARN -o keys/us-sign.pub.pem""",
)
@_base.argument("uri", metavar="URI", help="Key URI or path of a PEM file.")
@_base.option(
    "-o",
    "--output",
    type=KeyFile(),
    metavar="FILE",
    help="Write the public half here too, as PEM. It never overwrites another file.",
)
@transport_options
@_base.output_options
def _show(uri: str, output: Path | None, format_: str) -> Report:
    from sovgate.pipeline.look.keys import export, show

    key, facts = show(uri)
    if key is None:
        return _show_symmetric(uri, dict(facts), output)
    if output is not None:
        export(key, output)
    pem = key.pem.decode("ascii")
    return Report(
        command="keys show",
        headline=f"{key.algorithm} key",
        rows=(
            ("key id", key.key_id),
            ("OMS hint", key.oms_hint),
            *facts,
            *(("public" if n == 0 else "", line) for n, line in enumerate(pem.splitlines())),
        ),
        outputs={"key-id": key.key_id},
        data={
            "algorithm": key.algorithm,
            "key-id": key.key_id,
            "oms-hint": key.oms_hint,
            "pem": pem,
            "facts": dict(facts),
        },
    )


def _show_symmetric(uri: str, facts: dict[str, str], output: Path | None) -> Report:
    """What its service says of it is all that there is to show."""
    if output is not None:
        raise UsageError(
            f"{uri[:200]} has no public half to write",
            why="it is symmetric: whoever encrypts with it asks its service",
            fix="leave out -o, or make an RSA key for senders without a login there",
            reason="no-public-half",
        )
    return Report(
        command="keys show",
        headline="symmetric key",
        rows=tuple(facts.items()),
        outputs={"key-id": ""},
        data={"algorithm": None, "key-id": None, "oms-hint": None, "pem": None, "facts": facts},
    )


command.add_command(_generate)
command.add_command(_show)
command.add_command(_check)
command.add_command(_export)
command.add_command(_kept)
