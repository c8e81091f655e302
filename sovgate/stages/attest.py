"""The evidence folder `MODEL.evidence/`: signed statements beside a model, and unsigned drafts.

Create-only: a statement is added under a name that holds its digest, and never changed. Names are
hints; the role comes from the predicate type. Touches that folder alone.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from sovgate import strict
from sovgate.errors import UsageError, VerificationFailed, disk_error
from sovgate.files import create_only, open_below, opened_dir, read_bounded, read_descriptor
from sovgate.formats.oms import Oms
from sovgate.formats.statement import Statement
from sovgate.records import ROLES
from sovgate.stages.trust import seal

__all__ = [
    "SIGNATURE",
    "RawEvidence",
    "add",
    "add_unsigned",
    "check_subject",
    "evidence_dir",
    "read",
    "read_unsigned",
    "seal",
    "signature_path",
]

SIGNATURE = "signature.sigstore.json"
SIGNED_SUFFIX = ".sigstore.json"
UNSIGNED = "unsigned"
UNSIGNED_SUFFIX = ".json"

MAX_FILES = 10_000
MAX_TOTAL = 4 * strict.MAX_BYTES


@dataclass(frozen=True, kw_only=True)
class RawEvidence:
    """A file of the folder, nothing about it checked. `sha256` is of its bytes."""

    name: str
    data: bytes
    sha256: str


def evidence_dir(model: str | os.PathLike[str]) -> Path:
    """`MODEL.evidence` beside the model, named after its resolved path. Need not exist yet."""
    try:
        root = Path(model).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError):
            raise disk_error(error, f"open the model {os.fspath(model)!r}") from error
        raise UsageError(f"could not open the model {os.fspath(model)!r}") from error
    if not root.name:
        raise UsageError("the whole file system is not a model", fix="name the model's folder")
    return root.parent / f"{root.name}.evidence"


def signature_path(model: str | os.PathLike[str]) -> Path:
    """Where `sign` writes and `verify` looks by default."""
    return evidence_dir(model) / SIGNATURE


def read_signature(model: str | os.PathLike[str], named: Path | None = None) -> tuple[Path, bytes]:
    """The model's signature bundle, by default from its evidence folder, and where it was read.

    Raises UsageError, reason "missing-path"; VerificationFailed, DiskError.
    """
    path = signature_path(model) if named is None else named
    try:
        return path, read_bounded(path, most=strict.MAX_BYTES, what="signature")
    except UsageError as error:
        if error.reason == "missing-path" and named is None:
            import shlex

            name = shlex.quote(os.fspath(model))
            error.fix = f"sign it: sovgate sign {name} --key URI; or name it with --signature"
        raise


def check_subject(statement: Statement, manifest: str) -> None:
    """Evidence that travels with a model is about that very model (RULES 6).

    Of a signature by a tool that tells no sizes this cannot be seen, and nothing rests on it: a
    model's own signature is verified apart. Raises VerificationFailed, reason "evidence-subject".
    """
    about: str | None = statement.subject_sha256
    if statement.role == "signature":
        told = Oms.parse(statement).manifest()
        about = None if told is None else told.digest
    if about not in (None, manifest):
        raise VerificationFailed(
            f"a statement of role {statement.role} in the release is about another model",
            why=f"its subject is {about}; this model is {manifest}",
            fix="ask its source to send it again without evidence of other models",
            reason="evidence-subject",
        )


def add(folder: Path, role: str, data: bytes) -> Path:
    """Write a bundle as `<role>-<16 hex>.sigstore.json`. The same bytes twice are one file.

    Raises DiskError; VerificationFailed "evidence-exists" where other bytes have that name.
    """
    return _create(folder, role, data, SIGNED_SUFFIX)


def add_unsigned(folder: Path, role: str, payload: bytes) -> Path:
    """Write a complete statement, not signed yet, as `unsigned/<role>-<16 hex>.json`.

    No policy reads these: the job that runs model code writes here, and holds no key.
    """
    Statement.parse(payload)
    return _create(folder / UNSIGNED, role, payload, UNSIGNED_SUFFIX)


def _create(folder: Path, role: str, data: bytes, suffix: str) -> Path:
    if role not in ROLES:
        raise UsageError(f"{role[:40]!r} is no role", why=f"roles are {', '.join(ROLES)}")
    path = folder / f"{role}-{hashlib.sha256(data).hexdigest()[:16]}{suffix}"
    if not create_only(path, data):
        there = read_bounded(path, most=strict.MAX_BYTES, what="evidence file")
        if there != data:
            raise VerificationFailed(
                f"{path.name!r} is there already, with other bytes",
                why="its name contains part of its digest, so it was changed",
                fix=f"look at {str(path)!r}, and remove it if it is damaged",
                reason="evidence-exists",
            )
    return path


def read(folder: Path) -> tuple[RawEvidence, ...]:
    """All bundles of the folder, by name; () where there is no folder. Nothing is verified.

    Raises VerificationFailed, reasons "not-regular", "limits"; DiskError.
    """
    return _read(folder, SIGNED_SUFFIX)


def read_unsigned(folder: Path) -> tuple[RawEvidence, ...]:
    """The drafts in `unsigned/`, for `attest` to sign."""
    return _read(folder / UNSIGNED, UNSIGNED_SUFFIX)


def _read(folder: Path, suffix: str) -> tuple[RawEvidence, ...]:
    if not folder.is_dir():
        return ()
    found: list[RawEvidence] = []
    left = MAX_TOTAL
    with opened_dir(folder) as handle:
        try:
            with os.scandir(handle) as listing:
                names = sorted(i.name for i in listing if i.name.endswith(suffix))
        except OSError as error:
            raise disk_error(error, f"list {str(folder)!r}") from error
        if len(names) > MAX_FILES:
            raise VerificationFailed(
                f"{str(folder)!r} holds more than {MAX_FILES} statements", reason="limits"
            )
        for name in names:
            try:
                descriptor = open_below(handle, name)
                data = read_descriptor(
                    descriptor, most=min(left, strict.MAX_BYTES), what=f"evidence file {name!r}"
                )
            except OSError as error:
                raise disk_error(error, f"read {str(folder / name)!r}") from error
            left -= len(data)
            found.append(RawEvidence(name=name, data=data, sha256=hashlib.sha256(data).hexdigest()))
    return tuple(found)
