"""`sovgate decrypt`."""

from __future__ import annotations

from pathlib import Path

from sovgate.cli._base import (
    LocalPath,
    argument,
    declare,
    evidence_option,
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
    "decrypt",
    example="sovgate decrypt build/sealed --zone eu -o serving/kyc-risk",
    outputs={
        "manifest": "Manifest digest of the model, sha256:…",
        "model": "Path of the decrypted model.",
    },
)
@argument("sealed", type=LocalPath(), metavar="DIR", help="The folder that encrypt -o wrote.")
@zone_option()
@option(
    "-o",
    "--output",
    type=LocalPath(),
    required=True,
    metavar="MODEL",
    help="Where to write the model: a new path, or an empty folder.",
)
@evidence_option
@transport_options
@project_option
@output_options
def command(
    sealed: Path,
    zone: str | None,
    output: Path,
    evidence: Path | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Decrypt and verify a copy that was encrypted for this zone."""
    from sovgate.pipeline.move.decrypt import decrypt

    with progress("decrypting") as bar:
        made = decrypt(
            sealed,
            zone=zone,
            out=output,
            options=Options(project=project, evidence=evidence, progress=bar),
        )
    files = "1 file" if made.files == 1 else f"{made.files} files"
    return Report(
        command="decrypt",
        headline=f"decrypted and verified {files}, {human_bytes(made.size)}",
        rows=(
            ("manifest", f"sha256:{made.manifest}"),
            ("signed by", made.signed_by),
            ("release", made.release or "none"),
            ("model", str(made.model)),
            ("evidence", str(made.evidence)),
        ),
        outputs={"manifest": f"sha256:{made.manifest}", "model": str(made.model)},
        data={
            "zone": made.zone,
            "manifest": made.manifest,
            "signed-by": made.signed_by,
            "release": made.release,
            "size": made.size,
            "files": made.files,
            "model": str(made.model),
            "evidence": str(made.evidence),
        },
    )
