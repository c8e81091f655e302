"""decrypt: signature first, then keys, then bytes, all in staging; then the final names appear."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sovgate import strict
from sovgate.errors import (
    ConfigError,
    Malformed,
    UsageError,
    VerificationFailed,
    disk_error,
)
from sovgate.files import (
    open_below,
    opened_dir,
    read_bounded,
)
from sovgate.pipeline.beside import check_carried
from sovgate.pipeline.named_keys import refuse_misused
from sovgate.pipeline.places import evidence_of_output
from sovgate.pipeline.project import open_project
from sovgate.records import DEFAULTS, Options, Sized
from sovgate.staging import Staging, require_free

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.sealed import Evidence, Sealed
    from sovgate.stages.encrypt import ReadBlob
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

    Before a blob is read the signature has verified by a key that the project trusts. Nothing is
    under the final name before every byte is verified.

    Raises UsageError, ConfigError, VerificationFailed (11), KeyServiceError (20), DiskError.
    """
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
    sealed = read_sealed(folder, zone)
    read_blob = blob_reader(folder / zone)
    refuse_misused(opened.config)
    trusted = opened.trusted(zone)
    bundle = read_plain(read_blob, sealed.signature, "signature")
    manifest, signer, told = _manifest(sealed, bundle, trusted, read_blob)
    evidence = [(item, read_evidence(read_blob, item, manifest.digest)) for item in sealed.evidence]
    identity = opened.identity(zone)
    options.expect(manifest.total)
    beside = evidence_of_output(out, options, opened)
    with Staging(out) as staging:
        model = encrypt.open_model(
            sealed, read_blob, identity, staging.path, manifest, advance=options.progress
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


def read_sealed(folder: Path, zone: str) -> Sealed:
    """`folder/<zone>/sealed.json`. Raises UsageError where there is none, VerificationFailed."""
    from sovgate.stages.encrypt import SEALED_NAME

    path = folder / zone / SEALED_NAME
    if not path.exists():
        there = sorted(p.parent.name for p in folder.glob(f"*/{SEALED_NAME}"))
        raise UsageError(
            f"{os.fspath(folder)!r} holds no encrypted copy for zone {zone}",
            why=f"it holds copies for {', '.join(there)}" if there else None,
            fix="name the folder that encrypt -o wrote, and the zone that this is",
            reason="missing-path",
        )
    sealed = parse_sealed(path)
    if sealed.zone != zone:
        raise VerificationFailed(
            f"the copy in {zone} was encrypted for zone {sealed.zone}",
            fix="use the copy that was made for this zone",
            reason="zone-mismatch",
        )
    return sealed


def parse_sealed(path: Path) -> Sealed:
    """Raises VerificationFailed, which names the file; UsageError, DiskError."""
    from sovgate.formats.sealed import Sealed

    data = read_bounded(path, most=strict.MAX_BYTES, what="encrypted copy's record")
    try:
        return Sealed.parse(data)
    except Malformed as error:
        raise Malformed(
            f"{os.fspath(path)!r} is damaged: {error.what}",
            why=error.why,
            fix=error.fix or "get the encrypted copy again from its source",
            reason=error.reason,
        ) from error


def blob_reader(folder: Path) -> ReadBlob:
    """Opens blobs of a zone's folder, not through links."""

    def read(sha256: str) -> BinaryIO:
        try:
            with opened_dir(folder) as handle:
                return open(open_below(handle, f"blobs/sha256/{sha256}"), "rb", buffering=0)
        except FileNotFoundError as error:
            raise VerificationFailed(
                f"the blob {sha256} is missing",
                fix="get the encrypted model again from its source",
                reason="missing-blob",
            ) from error
        except OSError as error:
            raise disk_error(error, f"read the blob {sha256}") from error

    return read


def read_plain(read_blob: ReadBlob, expected: Sized, what: str) -> bytes:
    """A blob that travels as it is, its size and digest compared. Raises VerificationFailed."""
    data = bytearray()
    with read_blob(expected.sha256) as source:
        while part := source.read(min(1024 * 1024, expected.size + 1 - len(data))):
            data += part
            if len(data) > expected.size:
                break
    if len(data) != expected.size or hashlib.sha256(data).hexdigest() != expected.sha256:
        raise VerificationFailed(
            f"the {what} is damaged",
            why="its bytes are not those that its record names",
            fix="get the encrypted model again from its source",
            reason="damaged",
        )
    return bytes(data)


def _manifest(
    sealed: Sealed, bundle: bytes, trusted: Sequence[Trusted], read_blob: ReadBlob
) -> tuple[Manifest, Trusted, bool]:
    """The manifest, who signed it, and whether the signature alone told it in full."""
    from sovgate.formats.manifest import Manifest
    from sovgate.stages.verify import open_signature

    signed = open_signature(bundle, trusted)
    told = signed.oms.manifest()
    manifest = told or Manifest.parse(read_plain(read_blob, sealed.manifest, "manifest"))
    oms = (manifest.kind == "file" and signed.oms.as_file()) or signed.oms
    if manifest.digest != sealed.manifest.sha256 or manifest.kind != oms.kind:
        raise VerificationFailed(
            "the signature is of another model",
            why=f"the copy names manifest {sealed.manifest.sha256}; {manifest.digest} was signed",
            reason="manifest-mismatch",
        )
    return manifest, signed.signer, told is not None


def read_evidence(read_blob: ReadBlob, item: Evidence, manifest: str) -> bytes:
    """A statement that came with the model: what it is said to be, and about this model (RULES 6).

    Raises VerificationFailed. Whether its signer is believed is for policy.
    """

    data = read_plain(read_blob, Sized(sha256=item.sha256, size=item.size), "evidence")
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
