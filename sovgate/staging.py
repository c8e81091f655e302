"""Private folders in which a result is made, before it gets its name, and how it gets it.

Ground floor: standard library only. RULES 11: whole or not at all, and what a killed run left is
removed by the next.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from sovgate.errors import DiskError, UsageError, VerificationFailed, disk_error, interruption
from sovgate.files import OPEN_DIR, atomic_write, open_below, read_descriptor, sync_dir, taken

SUFFIX = ".sovgate-staging"
#: Stands in a folder that is being filled, and names what has been put there: a JSON list.
INCOMPLETE = ".sovgate-incomplete"
#: What a file system itself keeps at its root.
OF_FILE_SYSTEM = frozenset({"lost+found"})
#: How many names of a folder's contents an error lists.
SHOWN = 5

_NAME = re.compile(r"\..{0,100}\.[0-9a-f]+" + re.escape(SUFFIX), re.DOTALL)
_MAX_LIST = 64 * 1024 * 1024


class Staging:
    """A private (0700) directory beside `final`, locked while in use, swept if its owner died.

    RULES 11: plaintext lies only here until all is verified. `commit(name)` moves one entry of it
    to `final`, which must be free, or be an empty folder, such as the root of a mounted volume:
    then the directory is made in it, since beside it may be another file system. Use as a context
    manager: leaving it removes the directory, whatever happened.
    """

    SUFFIX = SUFFIX

    def __init__(self, final: str | os.PathLike[str]) -> None:
        self.final = Path(os.path.abspath(final))  # noqa: PTH100 (resolve() would follow a link)
        self.path = Path()
        self._lock = -1
        self._fills = False

    def __enter__(self) -> Staging:
        try:
            self._fills = self._is_place() and is_free(self.final)
            if self._fills:
                clean(self.final)
            else:
                self.final.parent.mkdir(parents=True, exist_ok=True)
            sweep(self.final)
            while not self._claim():
                pass
        except OSError as error:
            if told := interruption(error):
                self._remove()
                raise told from None
            where = "in" if self._fills else "beside"
            raise disk_error(
                error, f"make a staging directory {where} {str(self.final)!r}"
            ) from error
        except KeyboardInterrupt:
            self._remove()
            raise
        return self

    def _is_place(self) -> bool:
        return self.final.is_dir() and not self.final.is_symlink()

    def _claim(self) -> bool:
        """Make and lock a directory. False where another run swept it before it was locked."""
        folder = self.final if self._fills else self.final.parent
        self.path = folder / f".{self.final.name[:100]}.{secrets.token_hex(8)}{SUFFIX}"
        self.path.mkdir(mode=0o700)
        try:
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if self.path.exists():  # the name is random: nobody else made it
            return True
        lock, self._lock = self._lock, -1
        os.close(lock)
        return False

    def __exit__(self, *_: object) -> None:
        try:
            self._remove()
        except (KeyboardInterrupt, OSError) as broken:
            # A signal broke it off, where rmtree then closes a handle twice: the plaintext goes
            # all the same, and the signal is what the command ends with.
            self._remove()
            raise interruption(broken) or broken from None

    def _remove(self) -> None:
        if self.path.name:
            shutil.rmtree(self.path, ignore_errors=True)
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def _write_list(self, source: Path) -> None:
        if not source.is_dir():
            raise UsageError(
                f"{str(self.final)!r} is a folder, and the model is one file",
                fix=f"name the file to write: -o {str(self.final / 'model')!r}",
                reason="output-exists",
            )
        names = sorted(item.name for item in source.iterdir())
        if INCOMPLETE in names:
            raise VerificationFailed(
                f"the model holds a file {INCOMPLETE!r}",
                why="that name says of a folder that it is half filled",
                fix="write the model to a folder that is not there yet",
                reason="unsafe-name",
            )
        atomic_write(self.path / INCOMPLETE, json.dumps(names).encode())

    def commit(self, name: str) -> None:
        """Move one staged entry to the final path; refuses to replace anything."""
        source = self.path / name
        try:
            if self._fills:
                self._write_list(source)
                _fill(self.final, source, self.path)
            elif source.is_dir():
                # One step, so that no kill leaves half of it. It replaces nothing but an empty
                # folder: rename(2) refuses files, links and folders that hold something.
                source.rename(self.final)
                sync_dir(self.final.parent)
            else:
                os.link(source, self.final)
                sync_dir(self.final.parent)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise taken(self.final) from error
            raise disk_error(error, f"move the result to {str(self.final)!r}") from error


def sweep(final: Path) -> None:
    """Remove what killed runs left in a folder or beside it, for whatever target. Raises OSError.

    What is locked belongs to a live run. RULES 11.
    """
    if final.is_dir() and not final.is_symlink():
        with contextlib.suppress(PermissionError):
            _sweep(final)
        with contextlib.suppress(OSError):  # beside a mounted volume nothing of ours may be
            _sweep(final.parent)
    else:
        _sweep(final.parent)


def _sweep(folder: Path) -> None:
    for item in folder.iterdir():
        if not _NAME.fullmatch(item.name):
            continue
        try:
            handle = os.open(item, OPEN_DIR)
        except OSError:  # another run swept it, or it is no folder of ours
            continue
        try:
            if os.fstat(handle).st_uid == os.getuid():
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(item, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(handle)


# -- filling a folder that is there


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """A handle on a folder that nobody else fills meanwhile. Raises UsageError, OSError."""
    handle = os.open(folder, OPEN_DIR)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another run is writing to {str(folder)!r}",
                fix="let it finish, and run this again",
                reason="in-use",
            ) from error
        yield handle
    finally:
        os.close(handle)


def _fill(folder: Path, source: Path, staging: Path) -> None:
    """Move all of a staged folder into an empty one, each entry in one step.

    While it lasts, INCOMPLETE stands there: whoever reads the folder knows, and the next run takes
    away what it names. Raises UsageError, OSError.
    """
    with _locked(folder) as handle:
        if contents(folder):
            raise taken(folder)
        names = sorted(os.listdir(source))  # noqa: PTH208
        # It comes whole, and leaves nothing of itself where it came from.
        os.rename(staging / INCOMPLETE, INCOMPLETE, dst_dir_fd=handle)
        os.fsync(handle)
        staged = os.open(source, OPEN_DIR)
        try:
            for name in names:
                os.rename(name, name, src_dir_fd=staged, dst_dir_fd=handle)
        finally:
            os.close(staged)
        os.fsync(handle)
        os.unlink(INCOMPLETE, dir_fd=handle)
        os.fsync(handle)


def is_incomplete(folder: Path) -> bool:
    """Whether a run that was killed left the folder half filled."""
    return os.path.lexists(folder / INCOMPLETE)


def clean(folder: Path) -> None:
    """Take away what a killed run had put there: what its list names, and nothing else.

    Raises UsageError, OSError.
    """
    if not is_incomplete(folder):
        return
    with _locked(folder) as handle:
        try:
            data = read_descriptor(
                open_below(handle, INCOMPLETE), most=_MAX_LIST, what=f"list {INCOMPLETE!r}"
            )
            names = json.loads(data)
        except FileNotFoundError:  # another run cleaned it
            return
        except ValueError:
            names = None
        if not isinstance(names, list) or not all(_plain(name) for name in names):
            raise UsageError(
                f"{str(folder)!r} was half filled, and its list {INCOMPLETE} cannot be read",
                fix="look at what is in that folder, and empty it",
                reason="output-exists",
            )
        for name in names:
            try:
                state = os.stat(name, dir_fd=handle, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(state.st_mode):
                shutil.rmtree(name, dir_fd=handle)
            else:
                os.unlink(name, dir_fd=handle)
        os.fsync(handle)
        os.unlink(INCOMPLETE, dir_fd=handle)
        os.fsync(handle)
        if contents(folder):
            raise not_empty(folder)


def _plain(name: object) -> bool:
    return (
        isinstance(name, str)
        and name not in ("", ".", "..", INCOMPLETE)
        and not set(name) & {"/", "\0"}
    )


def contents(folder: Path) -> list[str]:
    """What lies in a folder, but for what its file system keeps there and what runs left."""
    names = sorted(item.name for item in folder.iterdir())
    return [
        name
        for name in names
        if name not in OF_FILE_SYSTEM and name != INCOMPLETE and not _NAME.fullmatch(name)
    ]


def is_free(path: str | os.PathLike[str]) -> bool:
    """Whether a folder may be written there: nothing is there, or an empty or half filled folder.

    Raises UsageError for a link: it would be replaced, or what it leads to filled.
    """
    path = Path(path)
    if path.is_symlink():
        if path.is_dir():
            raise UsageError(
                f"{os.fspath(path)!r} is a link",
                why="a model is written to a folder of its own",
                fix=f"name the folder itself: -o {os.path.realpath(path)!r}",
                reason="output-exists",
            )
        return False
    if not os.path.lexists(path):
        return True
    try:
        return path.is_dir() and (is_incomplete(path) or not contents(path))
    except OSError as error:
        raise disk_error(error, f"list {os.fspath(path)!r}") from error


def require_free(path: str | os.PathLike[str]) -> None:
    """Refuse early where something lies, and say what. Raises UsageError."""
    if is_free(path):
        return
    path = Path(path)
    if not path.is_dir():
        raise taken(path)
    raise not_empty(path)


def require_writable(path: str | os.PathLike[str], doing: str) -> None:
    """Refuse before any work where nothing can be written at `path`, which is yet to be made.

    It is tried, since permissions alone do not tell. `doing` completes "could not …". Raises
    DiskError, UsageError.
    """
    place = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow a link)
    while not os.path.lexists(place):
        place = place.parent
    trial = place / f".sovgate-{secrets.token_hex(8)}"
    try:
        trial.mkdir(mode=0o700)
        trial.rmdir()
    except OSError as error:
        error.filename = os.fspath(place)
        if error.errno == errno.ENOENT and place.is_dir():  # a file system that makes nothing
            error = OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(place))
        raise disk_error(error, doing) from error


def not_empty(path: Path) -> UsageError:
    there = contents(path)
    more = f", and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
    error = taken(path)
    error.why = f"it holds {', '.join(repr(name[:80]) for name in there[:SHOWN])}{more}"
    return error


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


@contextlib.contextmanager
def private(name: str) -> Iterator[Path]:
    """A private folder of this user's in TMPDIR, gone afterwards; what killed runs left of that
    name is swept first."""
    # Not tempfile's choice: that tries each folder by writing a file, which a killed run leaves.
    base = Path(os.environ.get("TMPDIR") or "/tmp") / f"sovgate-{os.getuid()}"  # noqa: S108
    try:
        with contextlib.suppress(FileExistsError):
            base.mkdir(mode=0o700)
        state = base.lstat()
    except OSError as error:
        raise disk_error(error, f"make the folder {str(base)!r}") from error
    if state.st_uid != os.getuid() or state.st_mode & 0o170077 != 0o040000:
        raise DiskError(
            f"{str(base)!r} is not a private folder of this user",
            fix="remove it, or set TMPDIR to a folder of your own",
            reason="unsafe-temporary",
        )
    with Staging(base / name) as staging:
        yield staging.path
