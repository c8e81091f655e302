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
)
@model_argument
@option(
    "--signature",
    type=LocalPath(),
    metavar="FILE",
    help="The signature (default: MODEL.evidence/signature.sigstore.json).",
)
@key_option(
    weakens_trust=True,
    help="Trust this key alone (default: whom sovgate.yaml trusts to sign models).",
)
@project_option
@output_options
def command(
    model: Path,
    signature: Path | None,
    key: str | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Verify a model against its signature."""
    from sovgate.pipeline.verify import verify

    with progress("verifying the model") as advance:
        verified, path = verify(
            model, signature=signature, key=key, project=project, advance=advance,
            total=advance and advance.expect,
        )  # fmt: skip
    manifest, signer = verified.manifest, verified.signer
    return Report(
        command="verify",
        headline=f"verified {verified.root.name}, signed by {signer.name}",
        rows=(
            ("manifest", f"sha256:{manifest.digest}"),
            ("files", f"{len(manifest.resources)}, {human_bytes(manifest.total)}"),
            ("signer", f"{signer.name}, key {signer.key.key_id[:16]}…"),
            ("signature", str(path)),
        ),
        outputs={
            "manifest": f"sha256:{manifest.digest}",
            "signature": str(path),
            "signer": signer.name,
        },
        data={
            "model": str(verified.root),
            "manifest": manifest.digest,
            "files": len(manifest.resources),
            "bytes": manifest.total,
            "signature": {"path": str(path), **verified.signature.json()},
            "signer": {"name": signer.name, "key-id": signer.key.key_id, "zone": signer.zone},
        },
    )
