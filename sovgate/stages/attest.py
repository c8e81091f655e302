"""The evidence folder `MODEL.evidence/`: signed statements beside a model, and unsigned drafts.

Create-only: a statement is added under a name that holds its digest, and never changed. Names are
hints; the role comes from the predicate type. Touches that folder alone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sovgate import strict
from sovgate.errors import UsageError, VerificationFailed, disk_error
from sovgate.files import OPEN_DIR, create_at, read_bounded, read_descriptor, replace_at
from sovgate.formats.oms import Oms
from sovgate.formats.statement import Statement
from sovgate.links import open_beneath
from sovgate.records import ROLES
from sovgate.stages.seal import seal

__all__ = [
    "SIGNATURE",
    "Folders",
    "RawEvidence",
    "add",
    "add_unsigned",
    "check_subject",
    "evidence_dir",
    "folders_of",
    "read",
    "read_below",
    "read_unsigned",
    "seal",
    "signature_path",
    "write_signature",
]

SIGNATURE = "signature.sigstore.json"
SIGNED_SUFFIX = ".sigstore.json"
UNSIGNED = "unsigned"
UNSIGNED_SUFFIX = ".json"

MAX_FILES = 10_000
MAX_TOTAL = 4 * strict.MAX_BYTES
#: A file that is too large for a statement, but has a digest by which a zone may set it aside.
MAX_DIGESTED = 1024 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class RawEvidence:
    """A file of the folder, nothing about it checked. `sha256` is of its bytes.

    `unread` says why a file was not read into `data`; it counts for nothing, and still binds.
    """

    name: str
    data: bytes
    sha256: str
    unread: str | None = None


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where the evidence of one model lies.

    model   as the user named it
    folder  what is written to, and read first
    others  what is read too: evidence beside a model binds it wherever new evidence is written
    """

    model: Path
    folder: Path
    others: tuple[Path, ...] = ()

    @property
    def signature(self) -> Path:
        """The model's signature: the first that is there, else where `sign` would write it."""
        places = [folder / SIGNATURE for folder in (self.folder, *self.others)]
        return next((path for path in places if os.path.lexists(path)), places[0])

    @property
    def signed(self) -> bool:
        return os.path.lexists(self.signature)

    def read(self) -> tuple[RawEvidence, ...]:
        """All bundles, each once. Raises as `read` does."""
        return _each_once(read, (self.folder, *self.others))

    def read_unsigned(self) -> tuple[RawEvidence, ...]:
        """All drafts, each once. Raises as `read` does."""
        return _each_once(read_unsigned, (self.folder, *self.others))

    def read_signature(self, named: Path | None = None) -> tuple[Path, bytes]:
        """The model's signature bundle, and where it was read.

        Raises UsageError, reason "missing-path"; VerificationFailed, DiskError.
        """
        if named is not None:
            return named, read_bounded(named, most=strict.MAX_BYTES, what="signature")
        path = self.signature
        data = signature_in(path.parent)
        if data is None:
            name = shlex.quote(os.fspath(self.model))
            raise UsageError(
                f"could not read the signature {str(path)!r}: no such file or directory",
                fix=f"sign it: sovgate sign {name} --key URI; or name it with --signature",
                reason="missing-path",
            )
        return path, data


def _each_once(
    reader: Callable[[Path], tuple[RawEvidence, ...]], folders: Sequence[Path]
) -> tuple[RawEvidence, ...]:
    found: dict[str, RawEvidence] = {}
    for folder in folders:
        for raw in reader(folder):
            found.setdefault(raw.sha256, raw)
    return tuple(found.values())


def folders_of(model: Path, *, named: Path | None = None, below: Path | None = None) -> Folders:
    """Where the evidence of `model` lies: `named`, else `below`/NAME.evidence, else beside it.

    Beside it is beside the path that was named; where that is a link, what lies beside its target
    is read too. Raises UsageError where that is in the model itself, DiskError.
    """
    beside = evidence_dir(model)
    folder = named or (beside if below is None else below / beside.name)
    root = Path(model).resolve()
    if root.is_dir() and folder.resolve().is_relative_to(root):
        raise UsageError(
            f"the evidence folder {str(folder)!r} is inside the model",
            why="each statement would change the model that it is about",
            fix="name a folder outside of the model with --evidence",
            reason="evidence-inside-model",
        )
    others = [beside, root.parent / f"{root.name}.evidence"]
    others = [path for path in dict.fromkeys(others) if path != folder.absolute()]
    return Folders(model=Path(model), folder=folder, others=tuple(others))


def evidence_dir(model: str | os.PathLike[str]) -> Path:
    """`MODEL.evidence` beside the model, after the path that names it. Need not exist yet."""
    named = Path(model)
    try:
        root = named.resolve(strict=True)
        if named.name not in ("", ".."):
            root = named.parent.resolve() / named.name
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
    return _create(folder, None, role, data)


def add_unsigned(folder: Path, role: str, payload: bytes) -> Path:
    """Write a complete statement, not signed yet, as `unsigned/<role>-<16 hex>.json`.

    No policy reads these: the job that runs model code writes here, and holds no key.
    """
    Statement.parse(payload)
    return _create(folder, UNSIGNED, role, payload)


def write_signature(path: Path, data: bytes) -> None:
    """Write or replace a model's signature in its evidence folder.

    Raises DiskError; VerificationFailed, reason "evidence-link".
    """
    with _writing(path.parent) as handle:
        replace_at(handle, path.name, data)


def add_signature(folder: Path, data: bytes) -> bool:
    """The signature that came with a model. False where there is one; nothing is changed then."""
    with _writing(folder) as handle:
        return create_at(handle, SIGNATURE, data)


def signature_in(folder: Path) -> bytes | None:
    """The signature in an evidence folder, not verified. Raises as `read` does."""
    with _reading(folder) as handle:
        if handle is None:
            return None
        try:
            return _bytes(handle, SIGNATURE, strict.MAX_BYTES)
        except FileNotFoundError:
            return None


def _create(folder: Path, below: str | None, role: str, data: bytes) -> Path:
    if role not in ROLES:
        raise UsageError(f"{role[:40]!r} is no role", why=f"roles are {', '.join(ROLES)}")
    suffix = SIGNED_SUFFIX if below is None else UNSIGNED_SUFFIX
    name = f"{role}-{hashlib.sha256(data).hexdigest()[:16]}{suffix}"
    path = folder / (below or "") / name
    with _writing(folder, below) as handle:
        if not create_at(handle, name, data) and _bytes(handle, name, strict.MAX_BYTES) != data:
            raise VerificationFailed(
                f"{name!r} is there already, with other bytes",
                why="its name contains part of its digest, so it was changed",
                fix=f"look at {str(path)!r}, and remove it if it is damaged",
                reason="evidence-exists",
            )
    return path


@contextlib.contextmanager
def _writing(folder: Path, below: str | None = None) -> Iterator[int]:
    """A handle on an evidence folder, made if it is not there. RULES 40: it is no link.

    Raises VerificationFailed, reason "evidence-link"; DiskError.
    """
    handles: list[int] = []
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for name in (folder, below):
            if name is not None:
                above = handles[-1] if handles else None
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=above)
                handles.append(_handle(folder, name, above))
        yield handles[-1]
    except OSError as error:
        told = disk_error(error, f"write to the evidence folder {str(folder)!r}")
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            told.fix = (
                "name a folder that can be written with --evidence DIR, or as `evidence:` in "
                "sovgate.yaml"
            )
        raise told from error
    finally:
        for handle in handles:
            os.close(handle)


@contextlib.contextmanager
def _reading(folder: Path, below: str | None = None) -> Iterator[int | None]:
    """A handle on an evidence folder; None where there is none. RULES 40: it is no link."""
    handles: list[int] = []
    there = True
    try:
        try:
            for name in (folder, below):
                if name is not None:
                    handles.append(_handle(folder, name, handles[-1] if handles else None))
        except (FileNotFoundError, NotADirectoryError):
            there = False
        yield handles[-1] if there else None
    except OSError as error:
        raise disk_error(error, f"read the evidence folder {str(folder)!r}") from error
    finally:
        for handle in handles:
            os.close(handle)


def _handle(folder: Path, name: Path | str, above: int | None) -> int:
    try:
        return os.open(name, OPEN_DIR, dir_fd=above)
    except OSError as error:
        path = folder if above is None else folder / name
        if error.errno not in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR) or not path.is_symlink():
            raise
        raise VerificationFailed(
            f"the evidence folder {str(path)!r} is a link",
            why="whoever made the link chose where the evidence lies",
            fix="remove the link, or name the folder that you mean with --evidence DIR",
            reason="evidence-link",
        ) from error


def _bytes(handle: int, name: str, most: int) -> bytes:
    """Links as Kubernetes makes them are followed, others are not (RULES 40)."""
    return read_descriptor(open_beneath(handle, name), most=most, what=f"evidence file {name!r}")


def read(folder: Path) -> tuple[RawEvidence, ...]:
    """All bundles of the folder, by name; () where there is no folder. Nothing is verified.

    Raises VerificationFailed, reasons "not-regular", "unsafe-link", "evidence-link", "limits";
    DiskError.
    """
    return _read(folder, None, SIGNED_SUFFIX)


def read_unsigned(folder: Path) -> tuple[RawEvidence, ...]:
    """The drafts in `unsigned/`, for `attest` to sign."""
    return _read(folder, UNSIGNED, UNSIGNED_SUFFIX)


def _read(folder: Path, below: str | None, suffix: str) -> tuple[RawEvidence, ...]:
    found: list[RawEvidence] = []
    left = MAX_TOTAL
    with _reading(folder, below) as handle:
        if handle is None:
            return ()
        names = sorted(name for name in os.listdir(handle) if name.endswith(suffix))  # noqa: PTH208
        if len(names) > MAX_FILES:
            raise VerificationFailed(
                f"{str(folder)!r} holds more than {MAX_FILES} statements", reason="limits"
            )
        for name in names:
            found.append(_raw(handle, name, left))
            left -= len(found[-1].data)
    return tuple(found)


def read_below(folder: Path) -> Iterator[RawEvidence]:
    """What lies in the folder and below it, but for what `read` reads, by its relative path.

    Raises as `read` does.
    """
    left = MAX_TOTAL
    with _reading(folder) as handle:
        for count, name in enumerate(_names(folder, handle) if handle is not None else ()):
            if count >= MAX_FILES:
                raise VerificationFailed(
                    f"{str(folder)!r} holds more than {MAX_FILES} files", reason="limits"
                )
            raw = _raw(handle or -1, name, left)
            left -= len(raw.data)
            yield raw


def _names(folder: Path, handle: int) -> Iterator[str]:
    for place, below, files, _ in os.fwalk(".", dir_fd=handle, follow_symlinks=False):
        below.sort()
        inside = place.removeprefix(".").removeprefix("/")
        for name in below:
            path = folder / inside / name
            if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
                raise VerificationFailed(
                    f"{str(path)!r} is a link that leads out of its folder",
                    why="what lies there could bind the model, and somebody else may change it",
                    fix="replace the link with what it leads to, or remove it",
                    reason="unsafe-link",
                )
        for name in sorted(files):
            if inside or not name.endswith(SIGNED_SUFFIX):
                yield f"{inside}/{name}" if inside else name


def _raw(handle: int, name: str, left: int) -> RawEvidence:
    """A file below the handle. One that is too large to be a statement is named with its digest.

    Links as Kubernetes makes them are followed, others are not (RULES 40).
    """
    descriptor = open_beneath(handle, name)
    if strict.MAX_BYTES < os.fstat(descriptor).st_size <= MAX_DIGESTED:
        with open(descriptor, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        why = f"limits: it is larger than {strict.MAX_BYTES} bytes"
        return RawEvidence(name=name, data=b"", sha256=digest, unread=why)
    most = min(left, strict.MAX_BYTES)
    data = read_descriptor(descriptor, most=most, what=f"evidence file {name!r}")
    return RawEvidence(name=name, data=data, sha256=hashlib.sha256(data).hexdigest())
