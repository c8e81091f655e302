"""Finds what pushes that ended early keep in a folder, and removes it on demand.

Touches that folder alone. What is said of a push comes from its header, which nobody vouches for
here: it is shown, and decides nothing. Nothing is removed but what a push keeps there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path

from sovgate import strict
from sovgate.errors import DiskError, SovgateError, disk_error
from sovgate.files import OPEN_DIR, open_below, read_descriptor
from sovgate.formats.plan import MAX_CHUNKS
from sovgate.formats.resume import ENTRY_SIZE, MAX_DOCUMENT, Course, Header, Signed
from sovgate.records import Release
from sovgate.stages.encrypt.kept import ENTRIES, HEADER, OUTBOX

#: Entries of a folder that are looked at; more are a folder of something else.
MAX_FOUND = 10_000
_OURS = re.compile(
    rf"{re.escape(HEADER)}|{re.escape(OUTBOX)}|{re.escape(ENTRIES)}"
    r"|part-[0-9]{3}\.json|(?:list|table|looked)-[0-9]{3}|\..{1,200}",
    re.ASCII,
)
_PART = re.compile(r"part-[0-9]{3}\.json", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What one push keeps. `course` is what its header says, None where it says nothing that can be
    read; `changed`: seconds since 1970, of its last file; `keys`: how many chunks have one there,
    `parts`: how many are closed; `busy`: a push has it now. `safe`: it is a private folder of this
    user, and no link.
    """

    path: Path
    course: Course | None
    changed: float
    keys: int
    parts: int
    busy: bool
    safe: bool


def waiting(base: Path) -> tuple[Waiting, ...]:
    """What lies in `base`, the oldest first; nothing where there is no such folder.

    Raises DiskError, UsageError (it is no folder).
    """
    try:
        above = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise disk_error(error, f"look for kept keys in {str(base)!r}") from error
    try:
        names = [name for name in os.listdir(above) if strict.is_sha256(name)]  # noqa: PTH208
        found = [one for name in names[:MAX_FOUND] if (one := _look(base, above, name)) is not None]
    except OSError as error:
        raise disk_error(error, f"look for kept keys in {str(base)!r}") from error
    finally:
        os.close(above)
    return tuple(sorted(found, key=lambda one: (one.changed, one.path)))


def _look(base: Path, above: int, name: str) -> Waiting | None:
    """None for what went away meanwhile."""
    path = base / name
    try:
        handle = os.open(name, OPEN_DIR, dir_fd=above)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK, errno.EACCES):
            raise
        state = os.stat(name, dir_fd=above, follow_symlinks=False)
        return Waiting(
            path=path,
            course=None,
            changed=state.st_mtime,
            keys=0,
            parts=0,
            busy=False,
            safe=False,
        )
    try:
        state, names = os.fstat(handle), os.listdir(handle)  # noqa: PTH208
        times = [state.st_mtime]
        for one in names:
            with contextlib.suppress(FileNotFoundError):
                times.append(os.stat(one, dir_fd=handle, follow_symlinks=False).st_mtime)
        return Waiting(
            path=path,
            course=_course(handle, name),
            changed=max(times),
            keys=_keys(handle),
            parts=sum(_PART.fullmatch(one) is not None for one in names),
            busy=not _locked(handle),
            safe=_private(state),
        )
    finally:
        os.close(handle)


def _private(state: os.stat_result) -> bool:
    return state.st_uid == os.geteuid() and not state.st_mode & 0o077


def _locked(handle: int) -> bool:
    """Whether it can be locked: then no push has it, as long as the handle is open."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _course(handle: int, name: str) -> Course | None:
    """A header that names another push than its folder does, or no release, says nothing."""
    try:
        data = read_descriptor(open_below(handle, HEADER), most=MAX_DOCUMENT, what="header")
        course = Header.parse(Signed.parse(data).payload).course
        Release.parse(course.release)
    except (SovgateError, OSError):
        return None
    return course if course.name == name else None


def _keys(handle: int) -> int:
    most = MAX_CHUNKS * ENTRY_SIZE
    try:
        data = read_descriptor(open_below(handle, ENTRIES), most=most, what="entries")
    except (SovgateError, OSError):
        return 0
    return sum(any(data[at : at + ENTRY_SIZE]) for at in range(0, len(data), ENTRY_SIZE))


def remove(found: Waiting) -> bool:
    """Remove what the push keeps: keys first. False where a push has it now, or it is gone.

    Raises DiskError: "unsafe-state" where it is no private folder of this user, or holds what no
    push keeps; that stays.
    """
    name = found.path.name
    try:
        above = os.open(found.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        try:
            handle = os.open(name, OPEN_DIR, dir_fd=above)
        except FileNotFoundError:
            return False
        try:
            return _remove(found.path, above, handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
            raise _unsafe(found.path, "it is a link, or no folder") from error
        raise disk_error(error, f"remove {str(found.path)!r}") from error
    finally:
        os.close(above)


def _remove(path: Path, above: int, handle: int) -> bool:
    if not _private(os.fstat(handle)):
        raise _unsafe(path, "it is another user's, or open to others")
    if not _locked(handle):
        return False
    names = os.listdir(handle)
    strange = sorted(name for name in names if not _OURS.fullmatch(name))
    if strange:
        raise _unsafe(path, f"it holds {strange[0][:80]!r}, which no push keeps")
    for name in sorted(names, key=lambda name: name == HEADER):
        os.unlink(name, dir_fd=handle)
    os.fsync(handle)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path.name, dir_fd=above)
    os.fsync(above)
    return True


def _unsafe(path: Path, why: str) -> DiskError:
    return DiskError(
        f"{str(path)!r} is not what a push keeps",
        why=why,
        fix="see who made it, and remove it by hand",
        reason="unsafe-state",
    )
