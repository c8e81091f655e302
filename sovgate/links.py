"""Follows links where that is safe: beneath a named folder, and none of other users.

Ground floor: standard library only. RULES 40: so Kubernetes mounts Secrets and ConfigMaps, files
that are links to `..data/FILE`, and `..data` a link to a folder of the day.
"""

from __future__ import annotations

import errno
import os
import stat

from sovgate.errors import VerificationFailed

_MAX_LINKS = 40
_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_beneath(folder: int, name: str) -> int:
    """Open the file `name` in the folder, links followed as far as that is safe. A descriptor.

    Raises VerificationFailed, reason "unsafe-link", for a link that leads out of the folder, or
    where it or a folder on the way belongs to another user or can be changed by one; OSError.
    """
    try:
        return os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EMLINK):
            raise
    return _followed(folder, name)


def _followed(folder: int, name: str) -> int:
    way = [os.dup(folder)]
    steps, links = [name], 0
    try:
        _require_ours(os.fstat(way[-1]), way[-1], name)
        while True:
            step = steps.pop(0)
            if step in ("", "."):
                continue
            if step == "..":
                if len(way) == 1:
                    raise _unsafe(name, "it leads out of its folder")
                os.close(way.pop())
                continue
            state = os.stat(step, dir_fd=way[-1], follow_symlinks=False)
            if stat.S_ISLNK(state.st_mode):
                links += 1
                target = os.readlink(step, dir_fd=way[-1])
                if links > _MAX_LINKS or target.startswith("/"):
                    raise _unsafe(name, f"it leads to {target[:160]!r}, out of its folder")
                if not is_ours(state):
                    raise _unsafe(name, "the link belongs to another user")
                steps = [*target.split("/"), *steps]
            elif steps:
                way.append(os.open(step, _DIR, dir_fd=way[-1]))
                _require_ours(os.fstat(way[-1]), way[-1], name)
            else:
                descriptor = os.open(step, _FILE, dir_fd=way[-1])
                state = os.fstat(descriptor)
                if is_ours(state) and stat.S_ISREG(state.st_mode):
                    return descriptor
                os.close(descriptor)
                ours = is_ours(state)
                raise _unsafe(
                    name,
                    f"what it leads to {'is no file' if ours else 'belongs to another user'}",
                )
    except IndexError:
        raise _unsafe(name, "it leads to a folder") from None
    finally:
        for handle in way:
            os.close(handle)


def is_ours(state: os.stat_result, *others: int) -> bool:
    """Whether it belongs to this user or to root, or to one of `others`."""
    return state.st_uid in (os.getuid(), 0, *others)


def _require_ours(state: os.stat_result, handle: int, name: str) -> None:
    """A folder in which nobody else can put another link in the place of this one."""
    if not is_ours(state):
        raise _unsafe(name, "a folder on its way belongs to another user")
    shared = state.st_mode & stat.S_IWOTH or (
        state.st_mode & stat.S_IWGRP and state.st_gid not in (0, os.getegid())
    )
    if not shared or state.st_mode & stat.S_ISVTX:  # with the sticky bit only owners may rename
        return
    if not os.fstatvfs(handle).f_flag & os.ST_RDONLY:
        raise _unsafe(name, "others can write to a folder on its way")


def _unsafe(name: str, why: str) -> VerificationFailed:
    return VerificationFailed(
        f"{name[:160]!r} is a link that is not followed",
        why=why,
        fix="replace the link with the file that it leads to",
        reason="unsafe-link",
    )
