"""`sovgate verify`."""

from __future__ import annotations

from pathlib import Path

from sovgate.cli._base import (
    LocalPath,
    declare,
    key_option,
    model_argument,
    option,
    output_options,
    project_option,
)
from sovgate.cli._emit import Report
from sovgate.cli._progress import human_bytes, progress


@declare(
    "verify",
    example="""
sovgate verify build/kyc-risk --key keys/us.pub.pem
sovgate verify build/kyc-risk --signature kyc-risk.sig""",
    outputs={
        "manifest": "Manifest digest of the model, sha256:…",
        "signature": "Path of the signature.",
        "signer": "Who signed, by the name of the key in sovgate.yaml.",
    },
)
@model_argument
@option(
    "--signature",
    type=LocalPath(),
    metavar="FILE",
    help="The signature (default: MODEL.evidence/signature.sigstore.json).",
)
@option(
    "--manifest",
    metavar="sha256:HEX",
    help="The manifest digest. Any other model is refused, even if a trusted key signed it.",
)
@key_option(
    weakens_trust=True,
    help="Trust only this key (default: the signers of models that sovgate.yaml trusts).",
)
@project_option
@output_options
def command(
    model: Path,
    signature: Path | None,
    manifest: str | None,
    key: str | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Verify a model against its signature."""
    from sovgate.pipeline.move.verify import verify

    with progress("verifying the model") as advance:
        verified, path = verify(
            model,
            signature=signature,
            pin=manifest,
            key=key,
            project=project,
            advance=advance,
            total=advance and advance.expect,
        )
    found, signer = verified.manifest, verified.signer
    return Report(
        command="verify",
        headline=f"verified {verified.root.name}, signed by {signer.name}",
        rows=(
            ("manifest", f"sha256:{found.digest}"),
            ("files", f"{len(found.resources)}, {human_bytes(found.total)}"),
            ("signer", f"{signer.name}, key {signer.key.key_id[:16]}…"),
            ("signature", str(path)),
        ),
        outputs={
            "manifest": f"sha256:{found.digest}",
            "signature": str(path),
            "signer": signer.name,
        },
        data={
            "model": str(verified.root),
            "manifest": found.digest,
            "files": len(found.resources),
            "bytes": found.total,
            "signature": {"path": str(path), **verified.signature.json()},
            "signer": {"name": signer.name, "key-id": signer.key.key_id, "zone": signer.zone},
        },
    )
