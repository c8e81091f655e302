"""`sovgate encrypt`."""

from __future__ import annotations

from pathlib import Path

from sovgate.cli._base import (
    LocalPath,
    declare,
    evidence_option,
    links_option,
    model_argument,
    option,
    output_options,
    project_option,
    zone_option,
)
from sovgate.cli._emit import Report
from sovgate.cli._progress import human_bytes, progress
from sovgate.cli._transport import transport_options
from sovgate.records import Options


@declare(
    "encrypt",
    example="""
sovgate encrypt build/kyc-risk --zone us --to eu --release kyc-risk/1.4.0 -o build/sealed
sovgate encrypt build/kyc-risk --to eu --to ch -o build/sealed --dry-run""",
    outputs={
        "manifest": "Manifest digest of the model, sha256:…",
        "sealed": "The folder with the encrypted copies, one folder for each zone.",
    },
)
@model_argument
@option(
    "--to",
    "to",
    multiple=True,
    required=True,
    metavar="ZONE",
    help="A zone to encrypt for. Repeat for each; the model is read once.",
)
@option(
    "--release",
    metavar="NAME/VERSION",
    help="The release's name. Without it the copy cannot be pushed.",
)
@option(
    "-o",
    "--output",
    type=LocalPath(),
    required=True,
    metavar="DIR",
    help="The folder to write. It must be empty, or not exist.",
)
@option(
    "--signature",
    type=LocalPath(),
    metavar="FILE",
    help="The model's signature (default: in MODEL.evidence/).",
)
@zone_option(help="The zone where this runs. Its key signs the copy, which push asks for.")
@option("--dry-run", is_flag=True, help="Say what would be encrypted, and write nothing.")
@evidence_option
@links_option
@transport_options
@project_option
@output_options
def command(
    model: Path,
    to: tuple[str, ...],
    release: str | None,
    output: Path,
    signature: Path | None,
    zone: str | None,
    dry_run: bool,
    evidence: Path | None,
    follow_links: Path | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Encrypt a signed model for one or more zones."""
    from sovgate.formats import leftovers
    from sovgate.pipeline.move.encrypt import Naming, encrypt

    with progress("encrypting") as bar:
        made = encrypt(
            model,
            to=to,
            out=output,
            naming=Naming(release=release, zone=zone),
            signature=signature,
            options=Options(
                project=project,
                evidence=evidence,
                follow_links=follow_links,
                dry_run=dry_run,
                progress=bar,
            ),
        )
    verified, manifest = made.verified, made.verified.manifest
    rows = [
        ("manifest", f"sha256:{manifest.digest}"),
        ("signed by", verified.signer.name),
        ("release", made.release or "none: this copy cannot be pushed"),
        ("evidence", f"the signature and {made.evidence} more, as they are"),
    ]
    if made.made_by is not None:
        rows.append(("made by", f"zone {made.made_by[0]}, key {made.made_by[1]}"))
    for name, (key_id, algorithm) in made.keys.items():
        rows.append((f"zone {name}", f"{algorithm}, key {key_id}"))
    if not dry_run:
        rows.append(("written", str(made.out)))
    notes = []
    if (left_out := leftovers.told(verified.left_out)) is not None:
        notes.append(left_out)
    if made.release is not None and made.made_by is None:
        notes.append("nobody signed this copy, so push will refuse it: name the zone with --zone")
    verb = "would encrypt" if dry_run else "encrypted"
    count = len(manifest.resources)
    files = "1 file" if count == 1 else f"{count} files"
    return Report(
        command="encrypt",
        headline=f"{verb} {files}, {human_bytes(manifest.total)}, for {', '.join(made.keys)}",
        rows=tuple(rows),
        outputs={"manifest": f"sha256:{manifest.digest}", "sealed": str(made.out)},
        data={
            "manifest": manifest.digest,
            "signed-by": verified.signer.name,
            "release": made.release,
            "size": manifest.total,
            "files": count,
            "left-out": list(verified.left_out),
            "evidence": made.evidence,
            "dry-run": dry_run,
            "output": str(made.out),
            "made-by": (
                {"zone": made.made_by[0], "key-id": made.made_by[1]} if made.made_by else None
            ),
            "zones": {
                name: {
                    "key-id": key_id,
                    "algorithm": algorithm,
                    "chunks": (
                        sum(part.chunks for part in made.copies[name].parts)
                        if name in made.copies
                        else None
                    ),
                }
                for name, (key_id, algorithm) in made.keys.items()
            },
        },
        notes=tuple(notes),
    )
