"""decrypt: signature first, then keys, then bytes, all in staging; then the final names appear."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import (
    ConfigError,
    UsageError,
    VerificationFailed,
)
from sovgate.pipeline.beside import check_carried
from sovgate.pipeline.move.copies import Copy, read_copy
from sovgate.pipeline.named_keys import refuse_misused
from sovgate.pipeline.places import evidence_of_output
from sovgate.pipeline.project import open_project
from sovgate.records import DEFAULTS, Options, Sized
from sovgate.staging import Staging, require_free

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.sealed import Evidence
    from sovgate.stages.verify import Trusted


@dataclass(frozen=True, kw_only=True)
class Decrypted:
    model: Path
    zone: str
    manifest: str
    signed_by: str
    release: str | None
    size: int
    files: int
    evidence: Path


def decrypt(
    folder: Path,
    *,
    zone: str | None,
    out: Path,
    options: Options = DEFAULTS,
) -> Decrypted:
    """Decrypt `folder/<zone>` to `out`, with its evidence beside it in `OUT.evidence/`.

    Before a chunk is read the signature has verified by a key that the project trusts. Nothing is
    under the final name before every byte is verified.

    Raises UsageError, ConfigError, VerificationFailed (11), KeyServiceError (20), DiskError.
    """
    from sovgate.formats.wrap import Context
    from sovgate.stages import encrypt
    from sovgate.stages.verify import Scope, verify_model

    options.refuse_dry_run("decrypt")
    if zone is None:
        raise ConfigError(
            "the zone in which this runs is not named",
            fix="add --zone ZONE, or set SOVGATE_ZONE",
            reason="no-zone",
        )
    opened = open_project(options.project)
    opened.zone(zone)
    require_free(out)
    copy = read_copy(folder, zone)
    sealed = copy.sealed
    refuse_misused(opened.config)
    trusted = opened.trusted(zone)
    bundle = copy.read(sealed.signature, "signature")
    manifest, signer, told = _manifest(copy, bundle, trusted)
    evidence = [(item, read_evidence(copy, item, manifest.digest)) for item in sealed.evidence]
    listed = copy.listed(manifest)
    identity = opened.identity(zone)
    options.expect(manifest.total)
    beside = evidence_of_output(out, options, opened)
    context = Context(zone=zone, release=sealed.release, manifest=manifest.digest)
    with Staging(out) as staging:
        parts = encrypt.open_parts(listed, context, identity, copy.read)
        model = encrypt.receive(
            manifest, zone, parts, copy.get_chunk, staging.path, advance=options.progress
        )
        if not told:
            # The bundle told no sizes, so the manifest came from the copy itself: compare all of it
            # with what was signed.
            verify_model(model, bundle, trusted, Scope(any_name=True))
        restore_evidence(beside, bundle, evidence)
        staging.commit(model.name)
    return Decrypted(
        model=out,
        zone=zone,
        manifest=manifest.digest,
        signed_by=signer.name,
        release=sealed.release,
        size=manifest.total,
        files=len(manifest.resources),
        evidence=beside,
    )


def _manifest(
    copy: Copy, bundle: bytes, trusted: Sequence[Trusted]
) -> tuple[Manifest, Trusted, bool]:
    """The manifest, who signed it, and whether the signature alone told it in full."""
    from sovgate.formats.manifest import Manifest
    from sovgate.stages.verify import open_signature

    signed = open_signature(bundle, trusted)
    told = signed.oms.manifest()
    manifest = told or Manifest.parse(copy.read(copy.sealed.manifest, "manifest"))
    oms = (manifest.kind == "file" and signed.oms.as_file()) or signed.oms
    if manifest.digest != copy.sealed.manifest.sha256 or manifest.kind != oms.kind:
        raise VerificationFailed(
            "the signature is of another model",
            why=f"the copy names manifest {copy.sealed.manifest.sha256}; "
            f"{manifest.digest} was signed",
            reason="manifest-mismatch",
        )
    return manifest, signed.signer, told is not None


def read_evidence(copy: Copy, item: Evidence, manifest: str) -> bytes:
    """A statement that came with the model: what it is said to be, and about this model (RULES 6).

    Raises VerificationFailed. Whether its signer is believed is for policy.
    """
    data = copy.read(Sized(sha256=item.sha256, size=item.size), "evidence")
    check_carried(data, item.role, item.predicate_type, manifest)
    return data


def restore_evidence(
    folder: Path, signature: bytes, evidence: Sequence[tuple[Evidence, bytes]]
) -> None:
    """Write `MODEL.evidence/`. What is there stays; another signature there is refused."""
    from sovgate.stages import attest

    path = folder / attest.SIGNATURE
    if not attest.add_signature(folder, signature) and attest.signature_in(folder) != signature:
        raise UsageError(
            f"{os.fspath(path)!r} already exists, and belongs to another model",
            fix="name another place with -o, or remove that folder",
            reason="output-exists",
        )
    for item, data in evidence:
        attest.add(folder, item.role, data)
