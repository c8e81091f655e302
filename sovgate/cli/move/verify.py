"""`sovgate verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
)
from sovgate.cli._emit import Report
from sovgate.cli._progress import human_bytes, progress
from sovgate.cli._transport import transport_options
from sovgate.records import Options

if TYPE_CHECKING:
    from sovgate.stages.trust import Trusted


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
    help="The signature (default: MODEL.evidence/signature.sigstore.json, or model.sig with it).",
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
@option(
    "--ignore-paths",
    "ignore",
    multiple=True,
    lines=True,
    weakens_trust=True,
    metavar="PATH",
    help="Leave out unsigned files at or below this path of the model. Repeat for each.",
)
@option(
    "--ignore-unsigned-files",
    "ignore_unsigned",
    is_flag=True,
    weakens_trust=True,
    no_action="it weakens trust: for a desk",
    help="Verify only the signed files, and leave out all others.",
)
@evidence_option
@links_option
@transport_options
@project_option
@output_options
def command(
    model: Path,
    signature: Path | None,
    manifest: str | None,
    key: str | None,
    ignore: tuple[str, ...],
    ignore_unsigned: bool,
    evidence: Path | None,
    follow_links: Path | None,
    project: Path | None,
    format_: str,
) -> Report:
    """Verify a model against its signature."""
    from sovgate.formats import leftovers
    from sovgate.pipeline.move.verify import Unsigned, verify

    paths = tuple(line for text in ignore for line in text.splitlines() if line)
    with progress("verifying the model") as bar:
        verified, path = verify(
            model,
            signature=signature,
            pin=manifest,
            key=key,
            unsigned=Unsigned(paths=paths, anywhere=ignore_unsigned),
            options=Options(
                project=project, evidence=evidence, follow_links=follow_links, progress=bar
            ),
        )
    found, signer, logged = verified.manifest, verified.signer, verified.signer.logged
    left_out = leftovers.told(verified.left_out)
    return Report(
        command="verify",
        headline=f"verified {verified.root.name}, signed by {signer.name}",
        rows=(
            ("manifest", f"sha256:{found.digest}"),
            ("OMS root", f"sha256:{verified.oms_root}"),
            ("files", f"{len(found.resources)}, {human_bytes(found.total)}"),
            *_signer(signer),
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
            "oms-root": verified.oms_root,
            "files": len(found.resources),
            "bytes": found.total,
            "signature": {"path": str(path), **verified.signature.json()},
            "signer": {
                "name": signer.name,
                "key-id": signer.key.key_id,
                "zone": signer.zone,
                "unsafe": list(signer.unsafe),
                "keyless": None if logged is None else logged.json(),
            },
            "left-out": list(verified.left_out),
            "ignored-paths": list(paths),
            "ignored-unsigned-files": ignore_unsigned,
        },
        notes=(*_notes(paths, ignore_unsigned), *((left_out,) if left_out else ())),
    )


def _signer(signer: Trusted) -> tuple[tuple[str, str], ...]:
    """Who signed; of a keyless one as its issuer knows it, and what shows when."""
    logged = signer.logged
    if logged is None:
        return (("signer", f"{signer.name}, key {signer.key.key_id[:16]}…"),)
    return (
        ("signer", f"{signer.name}, keyless"),
        ("identity", logged.identity),
        ("issuer", logged.issuer),
        ("signed at", f"{logged.time:%Y-%m-%d %H:%M:%S} UTC, told by {' and '.join(logged.by)}"),
        ("log", f"entry {logged.index} of {logged.url or 'a log'}, id {logged.log[:16]}…"),
        ("trusted root", f"sha256:{logged.root}"),
    )


def _notes(paths: tuple[str, ...], ignore_unsigned: bool) -> tuple[str, ...]:
    """What was not verified, since the caller asked for that."""
    if ignore_unsigned:
        return ("files that are not signed were not looked at (--ignore-unsigned-files)",)
    if not paths:
        return ()
    return (f"what is not signed was not looked at in {', '.join(paths)} (--ignore-paths)",)
