"""A private folder on this machine for what a push keeps: this user's, no link, locked. Touches it.

Whatever lay there: its name tells what it is for, and what is in it is used only where it is signed
(RULES 31).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterable
from pathlib import Path

from sovgate.errors import DiskError, UsageError, disk_error
from sovgate.files import OPEN_DIR, open_below, read_descriptor

_TRIES = 16
_PAUSE = 0.02
_IN_THE_WAY = frozenset({errno.ELOOP, errno.EMLINK, errno.ENOTDIR})


class PrivateFolder:
    """`base/name`, private and locked from `open` to `close`: this user's, 0700, and no link.

    last  the file that goes last where all goes, since it says what the others are
    """

    def __init__(self, base: Path, name: str, last: str) -> None:
        self.path, self._base = base / name, base
        self._name, self._last = name, last
        self._above = self.handle = -1

    def open(self, *, wait: float = 0.0) -> None:
        """Make it where it is not there, and lock it; wait up to so many seconds for the lock.

        Raises DiskError ("unsafe-state" where another user's folder or a link is in the way, and
        those of the system), UsageError ("in-use": another run holds it).
        """
        try:
            self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._above = os.open(self._base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            end = time.monotonic() + wait
            for _ in range(_TRIES):
                if self._claim(end):
                    os.fsync(self._above)
                    return
            raise self.in_use()
        except OSError as error:
            self.close()
            if error.errno in _IN_THE_WAY and os.path.lexists(self.path):
                raise self._unsafe() from error
            raise disk_error(error, f"keep keys in {str(self._base)!r}") from error
        except BaseException:
            self.close()
            raise

    def _claim(self, end: float) -> bool:
        """False where another run removed it between two steps."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._name, 0o700, dir_fd=self._above)
        try:
            self.handle = os.open(self._name, OPEN_DIR, dir_fd=self._above)
        except FileNotFoundError:
            return False
        state = os.fstat(self.handle)
        if state.st_uid != os.geteuid() or state.st_mode & 0o077:
            raise self._unsafe()
        self._lock(end)
        try:
            there = os.stat(self._name, dir_fd=self._above, follow_symlinks=False)
        except FileNotFoundError:
            there = None
        if there is not None and os.path.samestat(state, there):
            return True
        handle, self.handle = self.handle, -1
        os.close(handle)
        return False

    def _lock(self, end: float) -> None:
        while True:
            try:
                fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise self.in_use() from error
                time.sleep(_PAUSE)
            else:
                return

    def in_use(self) -> UsageError:
        return UsageError(
            f"another run uses {str(self.path)!r}",
            fix="let it finish, and run this again",
            reason="in-use",
        )

    def _unsafe(self) -> DiskError:
        return DiskError(
            f"{str(self.path)!r} is not a private folder of this user",
            why="keys would lie there where others reach them",
            fix="remove it, or name another folder with --state",
            reason="unsafe-state",
        )

    def close(self) -> None:
        for name in ("handle", "_above"):
            handle = getattr(self, name)
            setattr(self, name, -1)
            if handle >= 0:
                os.close(handle)

    def destroy(self) -> None:
        """Remove all of it: keys first, so that no end in between leaves one that opens.

        Raises OSError.
        """
        self.clear(os.listdir(self.handle))  # noqa: PTH208 (a handle is no path)
        os.rmdir(self._name, dir_fd=self._above)
        os.fsync(self._above)

    def clear(self, names: Iterable[str]) -> None:
        """What the others hang on goes last. Raises OSError."""
        for name in sorted(names, key=lambda name: name == self._last):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.handle)
        os.fsync(self.handle)

    def read(self, name: str, most: int) -> bytes:
        """Raises OSError, VerificationFailed (no regular file, too large)."""
        return read_descriptor(open_below(self.handle, name), most=most, what=f"file {name!r}")
