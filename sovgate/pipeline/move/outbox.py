"""The outbox: an encrypted copy on its way to a store, so that a rerun need not encrypt again.

Lies in `<project>/.sovgate/outbox/<zone>/<model>/<version>/`; holds ciphertext only. One push of a
model to a zone at a time, from one project folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sovgate.errors import SovgateError, disk_error
from sovgate.files import Staging, read_bounded
from sovgate.records import Release, Sized
from sovgate.strict import MAX_BYTES

if TYPE_CHECKING:
    from sovgate.formats.sealed import Sealed

_CHUNK = 1024 * 1024


class Outbox:
    """Use as a context manager: waits until no other push of this model to this zone runs here."""

    def __init__(self, base: Path, zone: str, release: Release) -> None:
        self._models = base / ".sovgate" / "outbox" / zone / release.model
        self.path = self._models / release.version
        self._zone = zone
        self._release = str(release)
        self._lock = -1

    def __enter__(self) -> Outbox:
        try:
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

    def complete(self, manifest: str, key_id: str) -> Sealed | None:
        """The copy that lies there, if it is this very one and every byte of it verifies.

        RULES 9: anything else is not used again, and keys are made anew.
        """
        from sovgate.formats.sealed import Sealed
        from sovgate.stages.transfer import payload

        try:
            sealed = Sealed.parse(
                read_bounded(self.folder / "sealed.json", most=MAX_BYTES, what="encrypted copy")
            )
            fits = (sealed.zone, sealed.release, sealed.manifest.sha256) == (
                self._zone,
                self._release,
                manifest,
            )
            if not fits or sealed.recipient.key_id != key_id:
                return None
            for blob in payload(sealed):
                if not self._verifies(blob):
                    return None
        except (SovgateError, OSError):
            return None
        return sealed

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
            if self.path.is_symlink():
                self.path.unlink()
            elif self.path.exists():
                # sealed.json goes first: what is half removed must not look complete.
                (self.folder / "sealed.json").unlink(missing_ok=True)
                shutil.rmtree(self.path)
        except OSError as error:
            raise disk_error(error, f"empty the outbox {str(self.path)!r}") from error


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
