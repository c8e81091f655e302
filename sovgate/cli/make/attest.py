"""`sovgate attest`: one key signs what others wrote down."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from sovgate.cli._base import (
    LocalPath,
    argument,
    declare,
    evidence_option,
    key_option,
    links_option,
    model_argument,
    option,
    output_options,
    project_option,
    signing_key,
    zone_option,
)
from sovgate.cli._emit import Report
from sovgate.cli._progress import progress
from sovgate.cli._transport import transport_options
from sovgate.errors import UsageError
from sovgate.records import Options

#: As `pipeline.attest.BY_HAND`; a test holds the two equal.
ROLES = ("sbom", "provenance", "gate", "legal", "waiver")

_BY_A_PERSON = "it belongs to --legal, which a person says at a desk"


@declare(
    "attest",
    example="""
sovgate attest build/kyc-risk --all-unsigned --key file:keys/ci.pem
sovgate attest build/kyc-risk report.json --type gate --key file:keys/ci.pem
sovgate attest build/kyc-risk --legal --dataset kyc-eu --zone eu --key file:dpo.pem""",
    outputs={
        "manifest": "Manifest digest of the model, sha256:…",
        "signed": "How many statements were signed.",
        "key-id": "SHA-256 of the public key (DER SPKI), hex.",
    },
)
@model_argument
@argument(
    "file",
    type=LocalPath(),
    required=False,
    metavar="[FILE]",
    help="A predicate (with --type) or a whole statement, as JSON.",
)
@option(
    "--all-unsigned",
    is_flag=True,
    help="Sign what is in MODEL.evidence/unsigned/, except legal statements and waivers.",
)
@option(
    "--type",
    "kind",
    metavar="TYPE",
    weakens_trust=True,
    help="What the predicate in FILE is: a role, such as sbom or gate, or a predicate type.",
)
@option(
    "--role",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    weakens_trust=True,
    help="Sign statements of this role only. Repeat for each.",
)
@option(
    "--legal",
    is_flag=True,
    weakens_trust=True,
    help="Attest that --zone may run this model, trained on --dataset as it is now.",
)
@option("--dataset", metavar="NAME", help="With --legal: the data set.", no_action=_BY_A_PERSON)
@zone_option(
    help="With --legal: the zone that may run the model. Else, without --key: sign with its key."
)
@option(
    "--release",
    metavar="NAME/VERSION",
    help="With --legal: only this release.",
    no_action=_BY_A_PERSON,
)
@option(
    "--statement",
    metavar="TEXT",
    help="With --legal: a text that is signed with it.",
    no_action=_BY_A_PERSON,
)
@option(
    "--until",
    metavar="DATE",
    help="With --legal: the last day on which it holds (default: no end).",
    no_action=_BY_A_PERSON,
)
@key_option(help="Sign with this key, e.g. file:keys/ci.pem.")
@evidence_option
@links_option
@transport_options
@project_option
@output_options
def command(
    model: Path,
    file: Path | None,
    all_unsigned: bool,
    kind: str | None,
    roles: tuple[str, ...],
    legal: bool,
    dataset: str | None,
    zone: str | None,
    release: str | None,
    statement: str | None,
    until: str | None,
    key: str | None,
    evidence: Path | None,
    follow_links: Path | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Sign statements about a model that were written without a key."""
    from sovgate.pipeline.beside import ALL_COUNT
    from sovgate.pipeline.make.attest import LegalWord, Selection, attest, attest_legal

    if not legal:
        key = signing_key(key, zone, project)
    if key is None:
        raise UsageError(
            "the key to sign with is not named",
            fix="add --key URI" if legal else "add --key URI, or --zone ZONE for that zone's key",
            reason="no-key",
        )
    with progress("reading the model") as bar:
        if legal:
            if file is not None or all_unsigned or kind or roles:
                raise UsageError(
                    "--legal makes its own statement",
                    fix="leave out FILE, --type, --all-unsigned and --role",
                )
            if dataset is None or zone is None:
                raise UsageError(
                    "a legal statement is about a data set and a zone",
                    fix="add --dataset NAME --zone ZONE",
                )
            made = attest_legal(
                model,
                LegalWord(
                    dataset=dataset,
                    zone=zone,
                    release=release,
                    statement=statement,
                    until=until,
                ),
                key=key,
                options=Options(
                    project=project, evidence=evidence, follow_links=follow_links, progress=bar
                ),
            )
        else:
            if dataset or release or statement or until:
                raise UsageError(
                    "--dataset, --release, --statement and --until belong to --legal",
                    fix="add --legal, or leave them out",
                )
            made = attest(
                model,
                Selection(
                    file=file,
                    kind=kind,
                    all_unsigned=all_unsigned,
                    roles=roles,
                ),
                key=key,
                options=Options(
                    project=project, evidence=evidence, follow_links=follow_links, progress=bar
                ),
            )
    rows = [("manifest", f"sha256:{made.manifest}"), ("key", f"{made.key_id[:16]}…")]
    rows += [("signed", f"{item.role}: {item.source} → {item.path}") for item in made.signed]
    rows += [("left", f"{item.role}: {item.source}: {item.why}") for item in made.left]
    count = len(made.signed)
    notes = []
    if not made.signed and not made.left:
        notes.append(f"no unsigned statement of these roles is in {model.name}.evidence/unsigned/")
    if len(made.records) > 1 and any(item.role == "provenance" for item in made.signed):
        notes += [
            f"{len(made.records)} records of this model are there now; {ALL_COUNT}",
            f"if one of them is wrong, remove it: {shlex.join(map(str, made.records))}",
        ]
    return Report(
        command="attest",
        headline=f"signed {count} statement{'' if count == 1 else 's'} about {made.model.name}",
        rows=tuple(rows),
        outputs={
            "manifest": f"sha256:{made.manifest}",
            "signed": str(count),
            "key-id": made.key_id,
        },
        data={
            "manifest": made.manifest,
            "key-id": made.key_id,
            "signed": [
                {"role": item.role, "source": item.source, "path": str(item.path)}
                for item in made.signed
            ],
            "left": [
                {"role": item.role, "source": item.source, "why": item.why} for item in made.left
            ],
        },
        notes=tuple(notes),
    )
