"""The outbox: an encrypted copy on its way to a store, so that a rerun need not encrypt again.

Lies in `<project>/.sovgate/outbox/<zone>/<model>/<version>/`; holds ciphertext only. What an
earlier run left is used only if the source's own key signed it: whoever writes to the workspace can
have left it. One push of a model to a zone at a time, from one project folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sovgate.errors import SovgateError, VerificationFailed, disk_error
from sovgate.files import read_bounded
from sovgate.git.ignored import keep_state_out
from sovgate.records import Release, Sized
from sovgate.staging import Staging
from sovgate.strict import MAX_BYTES

if TYPE_CHECKING:
    from sovgate.formats.sealed import Sealed
    from sovgate.formats.spki import PublicKey

_CHUNK = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What an earlier run left: a copy to use, or why it is not used. Neither: there is nothing."""

    sealed: Sealed | None = None
    why: str | None = None


def _reason(error: Exception) -> str:
    told = isinstance(error, VerificationFailed) and error.reason == "wrong-maker"
    return str(error.why if told else error)  # type: ignore[attr-defined]


class Outbox:
    """Use as a context manager: waits until no other push of this model to this zone runs here."""

    def __init__(self, base: Path, zone: str, release: Release) -> None:
        self._base = base
        self._models = base / ".sovgate" / "outbox" / zone / release.model
        self.path = self._models / release.version
        self._zone = zone
        self.release = release
        self._lock = -1

    def __enter__(self) -> Outbox:
        _refuse_links(self._base, self.path)
        try:
            keep_state_out(self._base)
            self._models.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._models, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            raise disk_error(error, f"open the outbox {str(self._models)!r}") from error
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    @property
    def folder(self) -> Path:
        """The zone's folder of the encrypted copy."""
        return self.path / self._zone

    def kept(self, manifest: str, key_id: str, makers: Sequence[PublicKey]) -> Kept:
        """The copy that an earlier run left, if one of `makers` made this very one, and every byte
        of it verifies (RULES 9, 31). Anything else is not used again, and keys are made anew.
        """
        from sovgate.formats.sealed import Sealed
        from sovgate.stages.encrypt import SEALED_NAME, SIGNATURE_NAME, check_maker

        if not os.path.lexists(self.folder):
            return Kept()
        try:
            data = read_bounded(self.folder / SEALED_NAME, most=MAX_BYTES, what="encrypted copy")
            if not os.path.lexists(self.folder / SIGNATURE_NAME):
                return Kept(why="nobody signed it, so anybody can have left it there")
            made = read_bounded(
                self.folder / SIGNATURE_NAME, most=MAX_BYTES, what="signature of a copy"
            )
            check_maker(data, made, makers)
            sealed = Sealed.parse(data)
        except (SovgateError, OSError) as error:
            return Kept(why=_reason(error))
        if why := self._unfit(sealed, manifest, key_id):
            return Kept(why=why)
        return Kept(sealed=sealed)

    def _unfit(self, sealed: Sealed, manifest: str, key_id: str) -> str | None:
        """Why a copy is not the one that is wanted here, or has other bytes; None if it fits."""
        from sovgate.stages.transfer import payload

        if (sealed.zone, sealed.release) != (self._zone, str(self.release)):
            return "it is a copy of another release, or for another zone"
        if sealed.manifest.sha256 != manifest:
            return "it is a copy of another model"
        if sealed.recipient.key_id != key_id:
            return f"it is for a key that zone {self._zone} does not have any more"
        try:
            changed = [blob for blob in payload(sealed) if not self._verifies(blob)]
        except (SovgateError, OSError):
            return "a part of it is missing"
        return "a part of it has other bytes than it was made with" if changed else None

    def _verifies(self, blob: Sized) -> bool:
        digest, size = hashlib.sha256(), 0
        with self.open_blob(blob.sha256) as reader:
            while chunk := reader.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
        return (digest.hexdigest(), size) == (blob.sha256, blob.size)

    def open_blob(self, sha256: str) -> BinaryIO:
        return open_blob(self.folder, sha256)

    def remove(self) -> None:
        """Remove the copy, and what killed runs left: we hold the lock, so nobody else is at it."""
        try:
            for item in self._models.iterdir():
                if item.name.endswith(Staging.SUFFIX) and not item.is_symlink():
                    shutil.rmtree(item)
            if self.path.exists():
                # sealed.json goes first: what is half removed must not look complete.
                (self.folder / "sealed.json").unlink(missing_ok=True)
                shutil.rmtree(self.path)
        except OSError as error:
            raise disk_error(error, f"empty the outbox {str(self.path)!r}") from error


def _refuse_links(base: Path, folder: Path) -> None:
    """A link on the way would have the next line write, and remove, where somebody else chose."""
    below = folder.relative_to(base)
    for part in reversed((below, *below.parents)):
        if (base / part).is_symlink() and part != Path():
            raise VerificationFailed(
                f"the outbox lies behind a link: {str(base / part)!r}",
                why="what is written and removed there would lie where the link leads",
                fix="remove the link; to keep the outbox on another disk, mount that disk there",
                reason="not-regular",
            )


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Waits until nobody else here holds `folder`, which is made; a killed run holds nothing."""
    handle = -1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if handle >= 0:
            os.close(handle)
        raise disk_error(error, f"lock {str(folder)!r}") from error
    try:
        yield
    finally:
        os.close(handle)


def open_blob(folder: Path, sha256: str) -> BinaryIO:
    """A blob of an encrypted copy; whoever reads verifies. Raises DiskError, UsageError."""
    from sovgate.stages.encrypt import blob_path

    path = blob_path(folder, sha256)
    try:
        return open(path, "rb", opener=_no_link)
    except OSError as error:
        raise disk_error(error, f"read {str(path)!r}") from error


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
