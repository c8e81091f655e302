"""`sovgate keys generate`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sovgate import uri as uris
from sovgate.cli import _base
from sovgate.cli._emit import Report
from sovgate.cli._keyfile import KeyFile
from sovgate.cli._transport import transport_options
from sovgate.errors import UsageError

if TYPE_CHECKING:
    from sovgate.pipeline.look.key_service.make import Asked, Generated
    from sovgate.pipeline.project import Project

_KINDS = ("sign", "encrypt")
_ALGORITHMS = (
    "ec-p256",
    "ec-p384",
    "ec-p521",
    "rsa-3072",
    "rsa-4096",
    "ml-kem-768-x25519",
    "symmetric",
)


@_base.command(
    "generate",
    path="keys generate",
    help="Make a key: a private key file with its public half beside it, or a key in a service, "
    "which keeps the secret half. It never overwrites a file or a key.",
    example="""
sovgate keys generate sign -o keys/us.pem
sovgate keys generate encrypt -o keys/eu.pem
sovgate keys generate sign --zone eu --hsm
sovgate keys generate sign openbao://eu-sign?address=https://bao.example.eu -o keys/eu.pub.pem""",
)
@_base.argument("kind", type=click.Choice(_KINDS), metavar="KIND", help="sign or encrypt.")
@_base.argument(
    "uri",
    required=False,
    envvar=(),  # a variable that is set for other commands must make no key
    metavar="[URI]",
    help="The key of a service to make (default: a file, or the zone's key of that kind).",
)
@_base.option(
    "-o",
    "--output",
    type=KeyFile(),
    metavar="FILE",
    help="Where to write the private key (mode 0600). The public half goes beside it. Of a key in "
    "a service: where to write the public half.",
)
@_base.option(
    "--algorithm",
    type=click.Choice(_ALGORITHMS),
    metavar="NAME",
    help="sign: ec-p256 (default), ec-p384, ec-p521; "
    "encrypt: rsa-3072 (default), rsa-4096, ec-p256, ml-kem-768-x25519 (hybrid, a file), "
    "symmetric (in a KMS or vault).",
)
@_base.option("--hsm", is_flag=True, help="Of a key in a service: in an HSM, or it is not made.")
@_base.zone_option(
    weakens_trust=True,  # as above
    help="The zone whose key it is: it is made in that zone's region alone.",
)
@_base.project_option
@transport_options
@_base.output_options
def command(
    kind: str,
    uri: str | None,
    output: Path | None,
    algorithm: str | None,
    hsm: bool,
    zone: str | None,
    project: Path | None,
    format_: str,
) -> Report:
    if uri is None and zone is None:
        if output is None:
            raise UsageError(
                "no place is named for the key",
                fix="name a file with -o FILE, a key's URI, or a zone with --zone, whose key it is",
                reason="missing-option",
            )
        return _in_file(kind, output, algorithm, hsm)
    from sovgate.pipeline.look.key_service.make import Asked, where

    asked = Asked(text=uri, zone=zone, out=output)
    text, opened = where(asked, kind, project)
    parsed = uris.parse(text, what="key")
    if parsed.scheme == "file":
        path = (opened.base if opened is not None and uri is None else Path()) / parsed.rest
        if output is not None and output != path:
            raise UsageError(
                f"a private key file is named twice: {path} and {output}",
                fix="leave -o out",
                reason="two-outputs",
            )
        return _in_file(kind, path, algorithm, hsm)
    return _in_service(kind, text, opened, asked, algorithm, hsm)


def _in_file(kind: str, output: Path, algorithm: str | None, hsm: bool) -> Report:
    from sovgate.git.ignored import keep_out
    from sovgate.pipeline.look.keys import generate

    if hsm:
        raise UsageError(
            "a key in a file is in no HSM",
            fix="leave --hsm out, or name a key of a service",
            reason="protection-level",
        )
    made = generate(kind, out=output, algorithm=algorithm)
    left = keep_out(made.private)
    return Report(
        command="keys generate",
        headline=f"made a key to {kind}: {made.algorithm}",
        rows=(
            ("private", f"{made.private}  (keep it in this zone)"),
            ("public", f"{made.public}  (give it to the others)"),
            ("key id", made.key.key_id),
        ),
        outputs={"key-id": made.key.key_id, "public-key": str(made.public)},
        data={
            "private": str(made.private),
            "public": str(made.public),
            "key-id": made.key.key_id,
            "algorithm": made.key.algorithm,
        },
        notes=(
            f"the private key is not encrypted; keep {made.private} out of Git",
            *([left] if left else []),
        ),
    )


def _next(done: Generated) -> Iterator[str]:
    told = "its secret half stays in the service"
    write = f"; write {' and '.join(done.to_name)} into sovgate.yaml" if done.to_name else ""
    yield told + write
    if done.export is not None:
        yield f"other zones name the public half that the zone signs: {done.export}"
    if done.made.public is None:
        yield "senders need a login there: it is symmetric"


def _in_service(
    kind: str, text: str, opened: Project | None, asked: Asked, algorithm: str | None, hsm: bool
) -> Report:
    from sovgate.keys._api import Wanted
    from sovgate.pipeline.look.key_service.make import generate

    wanted = Wanted(use=kind, kind=algorithm, hsm=hsm)
    done = generate(text, opened, asked, wanted)
    made, public = done.made, done.made.public
    pem = public.pem.decode("ascii") if public is not None and done.public is None else ""
    return Report(
        command="keys generate",
        headline=f"made a key to {kind} in its service: "
        f"{public.algorithm if public is not None else 'symmetric'}",
        rows=(
            ("key", made.name),
            *((("key id", public.key_id),) if public is not None else ()),
            (done.dotted, made.uri),
            *(((f"{done.dotted}-public", str(done.public)),) if done.public else ()),
            *(("public" if n == 0 else "", line) for n, line in enumerate(pem.splitlines())),
        ),
        outputs={
            "key-id": public.key_id if public is not None else "",
            "public-key": str(done.public or ""),
        },
        data={
            "uri": made.uri,
            "name": made.name,
            "public": str(done.public) if done.public is not None else None,
            "pem": public.pem.decode("ascii") if public is not None else None,
            "key-id": public.key_id if public is not None else None,
            "algorithm": public.algorithm if public is not None else None,
        },
        notes=tuple(_next(done)),
    )
