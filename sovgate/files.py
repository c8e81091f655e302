"""Safe access to files: directory handles, no links, atomic writes.

Ground floor: standard library only. RULES 4. POSIX; all opens are relative to a handle.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sovgate.errors import DiskError, UsageError, VerificationFailed, disk_error
from sovgate.names import check_name as check_name
from sovgate.names import check_names as check_names

MAX_ENTRIES = 1_000_000
MAX_TREE_DEPTH = 64

OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A regular file below a root: relative POSIX name, size in bytes."""

    name: str
    size: int


@contextlib.contextmanager
def opened_dir(path: str | os.PathLike[str]) -> Iterator[int]:
    """A handle on a directory that the user named (its own path may go through links)."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise disk_error(error, f"open the directory {os.fspath(path)!r}") from error
    try:
        yield handle
    finally:
        os.close(handle)


class LinkFolder(int):
    """A directory handle in which links to some files are followed (`sovgate.links`)."""

    def open_link(self, name: str) -> int:
        raise NotImplementedError

    def inside(self, handle: int, name: str) -> LinkFolder:
        raise NotImplementedError


def open_below(root: int, name: str) -> int:
    """Open a regular file below the handle `root`, no component of it a link. Returns a descriptor.

    Raises VerificationFailed (link or not regular), or OSError for the caller to word.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise VerificationFailed(f"the file name {name[:160]!r} is unsafe", reason="unsafe-name")
    here = root
    try:
        for part in parts[:-1]:
            # Forgotten first, then closed: a signal between the two loses a handle, and never
            # closes a number twice, which may be another file's by then.
            above, here = here, os.open(part, OPEN_DIR, dir_fd=here)
            if above != root:
                os.close(above)
        try:
            descriptor = os.open(parts[-1], _OPEN_FILE, dir_fd=here)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK) and isinstance(root, LinkFolder):
                return root.open_link(name)
            raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK, errno.ENXIO):
            raise _link(name) from error
        raise
    finally:
        if here != root:
            os.close(here)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _special(name, mode)
    return descriptor


def _link(name: str) -> VerificationFailed:
    return VerificationFailed(
        f"{name[:160]!r} is not a regular file, or is reached through a link",
        fix="replace links with the files that they point to",
        reason="not-regular",
    )


def _special(name: str, mode: int) -> VerificationFailed:
    for told, what in (
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISDIR, "a folder"),
    ):
        if told(mode):
            return VerificationFailed(
                f"{name[:160]!r} is not a regular file: it is {what}",
                why="only files and folders are read",
                fix="remove it from that folder",
                reason="not-regular",
            )
    return _link(name)


def walk(
    root: int,
    *,
    skip: frozenset[str] = frozenset(),
    leave: Callable[[str], bool] | None = None,
) -> list[Entry]:
    """All regular files below the handle; `skip` names entries of the root itself.

    `leave` tells of each relative path whether it is passed over, with all that lies below it.
    Links, devices, sockets and pipes are refused (VerificationFailed "not-regular"); so are more
    than MAX_ENTRIES files or MAX_TREE_DEPTH folders. Empty folders do not count. Unsorted.
    """
    found: list[Entry] = []

    def visit(handle: int, prefix: str, depth: int) -> None:
        if depth > MAX_TREE_DEPTH:
            raise VerificationFailed(
                f"folders nest deeper than {MAX_TREE_DEPTH}",
                fix="move the files into fewer folders",
                reason="limits",
            )
        with os.scandir(handle) as listing:
            for item in listing:
                if not prefix and item.name in skip:
                    continue
                name = prefix + item.name
                if leave is not None and leave(name):
                    continue
                if item.is_symlink():
                    if not isinstance(root, LinkFolder):
                        raise _link(name)
                    descriptor = root.open_link(name)
                    found.append(Entry(name=name, size=os.fstat(descriptor).st_size))
                    os.close(descriptor)
                    _bound(found)
                    continue
                if item.is_dir(follow_symlinks=False):
                    below = os.open(item.name, OPEN_DIR, dir_fd=handle)
                    try:
                        visit(below, name + "/", depth + 1)
                    finally:
                        os.close(below)
                elif item.is_file(follow_symlinks=False):
                    size = os.stat(item.name, dir_fd=handle, follow_symlinks=False).st_size
                    found.append(Entry(name=name, size=size))
                    _bound(found)
                else:
                    mode = os.stat(item.name, dir_fd=handle, follow_symlinks=False).st_mode
                    raise _special(name, mode)

    visit(root, "", 0)
    return found


def _bound(found: list[Entry]) -> None:
    if len(found) > MAX_ENTRIES:
        raise VerificationFailed(f"more than {MAX_ENTRIES} files", reason="limits")


def same_file(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether a file stayed as it was between two stats of one descriptor."""
    keys = ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_mode")
    return all(getattr(before, key) == getattr(after, key) for key in keys)


def read_bounded(path: str | os.PathLike[str], *, most: int, what: str) -> bytes:
    """The bytes of a regular file that the user named, at most `most` of them.

    Raises UsageError (missing), DiskError, VerificationFailed (not regular, too large).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise disk_error(error, f"read the {what} {os.fspath(path)!r}") from error
    return read_descriptor(descriptor, most=most, what=f"{what} {os.fspath(path)!r}")


def read_descriptor(descriptor: int, *, most: int, what: str) -> bytes:
    """Read and close a descriptor of a regular file, at most `most` bytes."""
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        os.close(descriptor)
        raise VerificationFailed(f"the {what} is not a regular file", reason="not-regular")
    with open(descriptor, "rb") as file:
        if state.st_size > most:
            raise VerificationFailed(
                f"the {what} is larger than {most} bytes",
                why=f"it has {state.st_size}",
                reason="limits",
            )
        data = file.read(most + 1)
    if len(data) > most:
        raise VerificationFailed(f"the {what} is larger than {most} bytes", reason="limits")
    return data


def write_at(descriptor: int, view: memoryview, offset: int) -> None:
    """All of `view` at an offset of an open file; threads may write different parts at once."""
    while view:
        count = os.pwrite(descriptor, view, offset)
        view = view[count:]
        offset += count


def begin_sync(descriptor: int, offset: int, size: int) -> None:
    """Ask the system to start writing that part to the disk, so that fsync has less to wait for.

    On Linux the advice does just that to what is not written yet, and leaves it in the cache.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_DONTNEED)


def sync_dir(path: str | os.PathLike[str]) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_temporary(folder: int, name: str, data: bytes, mode: int) -> str:
    temporary = f".{name[:100]}.{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode, dir_fd=folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        _unlink(folder, temporary)
        raise
    return temporary


def _unlink(folder: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


@contextlib.contextmanager
def _parent(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def replace_at(folder: int, name: str, data: bytes, *, mode: int = 0o644) -> None:
    """`atomic_write` in a folder that is open. Raises OSError."""
    temporary = _write_temporary(folder, name, data, mode)
    try:
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _unlink(folder, temporary)
        raise
    os.fsync(folder)


def create_at(folder: int, name: str, data: bytes, *, mode: int = 0o644) -> bool:
    """`create_only` in a folder that is open. Raises OSError."""
    temporary = _write_temporary(folder, name, data, mode)
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        return False
    finally:
        _unlink(folder, temporary)
    os.fsync(folder)
    return True


def atomic_write(path: str | os.PathLike[str], data: bytes, *, mode: int = 0o644) -> None:
    """The old bytes or the new ones, never half: temporary name, fsync, rename, fsync.

    What lies there is replaced if it is a file: UsageError where it is a folder, pipe or device.
    """
    path = Path(path)
    require_file(path)
    try:
        with _parent(path) as folder:
            replace_at(folder, path.name, data, mode=mode)
    except OSError as error:
        raise disk_error(error, f"write {os.fspath(path)!r}") from error


def create_only(path: str | os.PathLike[str], data: bytes, *, mode: int = 0o644) -> bool:
    """Write whole under a name that is free. False where the name is taken (nothing is changed).

    Uses link(2): the name appears with all its bytes or not at all.
    """
    path = Path(path)
    try:
        with _parent(path) as folder:
            return create_at(folder, path.name, data, mode=mode)
    except OSError as error:
        raise disk_error(error, f"create {os.fspath(path)!r}") from error


def require_absent(path: str | os.PathLike[str]) -> None:
    """Refuse early to write where something lies. Raises UsageError."""
    if os.path.lexists(path):
        raise taken(path)


def require_file(path: str | os.PathLike[str]) -> None:
    """Refuse to replace what is no file: /dev/null would be one from then on. Raises UsageError."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:  # nothing there, or writing will say what is wrong with it
        return
    if not stat.S_ISREG(mode):
        raise UsageError(
            f"{os.fspath(path)!r} is not a file",
            why="writing there would replace it with a file",
            fix="name a file, and read its content from there",
            reason="output-exists",
        )


def taken(path: str | os.PathLike[str]) -> UsageError:
    return UsageError(
        f"{os.fspath(path)!r} already exists",
        fix="choose another place with -o, or remove it",
        reason="output-exists",
    )


def resource_dir(name: str) -> Path:
    """A data folder of the package ("policies", "schemas"), installed or in a checkout."""
    here = Path(__file__).parent
    for candidate in (here / "_data" / name, here.parent / name):
        if candidate.is_dir():
            return candidate
    raise DiskError(f"the installation lacks its {name!r} folder", fix="install sovgate again")
