"""`sovgate sign`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sovgate.cli._base import (
    LocalPath,
    declare,
    evidence_option,
    key_option,
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
    "sign",
    example="""
sovgate sign build/kyc-risk --key file:keys/us.pem
sovgate sign build/kyc-risk --zone us-train""",
    outputs={
        "manifest": "Manifest digest of the model, sha256:…",
        "signature": "Path of the signature.",
        "key-id": "SHA-256 of the public key (DER SPKI), hex.",
    },
)
@model_argument
@key_option(help="Sign with this key, e.g. file:keys/sign.pem.")
@option(
    "--signature",
    type=LocalPath(),
    metavar="FILE",
    help="Where to write it (default: MODEL.evidence/signature.sigstore.json).",
)
@zone_option(help="Without --key: sign with this zone's key.")
@evidence_option
@links_option
@transport_options
@project_option
@output_options
def command(
    model: Path,
    key: str | None,
    signature: Path | None,
    zone: str | None,
    evidence: Path | None,
    follow_links: Path | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Sign a model, which is a folder or a file."""
    from sovgate.formats import leftovers
    from sovgate.pipeline.make.sign import sign

    with progress("reading the model") as bar:
        made = sign(
            model,
            key=key,
            zone=zone,
            signature=signature,
            options=Options(
                project=project, evidence=evidence, follow_links=follow_links, progress=bar
            ),
        )
    manifest = made.manifest
    notes = ["an older signature was replaced"] if made.replaced else []
    if (left_out := leftovers.told(made.left_out)) is not None:
        notes.append(left_out)
    for folder, moved in _by_folder(made.moved.away):
        notes.append(f"evidence of what the model was before was moved to {folder}: {moved}")
    if made.moved.back:
        back = ", ".join(made.moved.back)
        notes.append(f"evidence of this very model was moved back from old/: {back}")
    return Report(
        command="sign",
        headline=f"signed {made.model.name}",
        rows=(
            ("manifest", f"sha256:{manifest.digest}"),
            ("OMS root", f"sha256:{made.oms_root}"),
            ("files", f"{len(manifest.resources)}, {human_bytes(manifest.total)}"),
            ("key", f"{made.by.key_id[:16]}… ({made.by.algorithm})"),
            ("signature", str(made.path)),
        ),
        outputs={
            "manifest": f"sha256:{manifest.digest}",
            "signature": str(made.path),
            "key-id": made.by.key_id,
        },
        data={
            "model": str(made.model),
            "manifest": manifest.digest,
            "oms-root": made.oms_root,
            "files": len(manifest.resources),
            "bytes": manifest.total,
            "signature": {"path": str(made.path), **made.signature.json()},
            "key-id": made.by.key_id,
            "algorithm": made.by.algorithm,
            "replaced": made.replaced,
            "left-out": list(made.left_out),
            "moved": list(made.moved.away),
            "moved-back": list(made.moved.back),
            "keyless": made.by.keyless.json() if made.by.keyless is not None else None,
        },
        notes=tuple(notes),
    )


def _by_folder(moved: Sequence[str]) -> list[tuple[str, str]]:
    """`old/MANIFEST/`, and what lies there now: a manifest has 64 digits, read once."""
    found: dict[str, list[str]] = {}
    for name in moved:
        old, manifest, rest = name.split("/", 2)
        found.setdefault(f"{old}/{manifest}/", []).append(rest)
    return [(folder, ", ".join(names)) for folder, names in found.items()]
