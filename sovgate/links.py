"""Follows links where that is safe: beneath a named folder, and none of other users.

Ground floor: standard library only. RULES 40: so Kubernetes mounts Secrets and ConfigMaps, files
that are links to `..data/FILE`, and `..data` a link to a folder of the day.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path, PurePosixPath

from sovgate.errors import ConfigError, DiskError, VerificationFailed, disk_error
from sovgate.files import LinkFolder, open_below, opened_dir, read_descriptor

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


#: Who else may own the key files of a project, while they are opened; None: anybody.
_OWNERS: ContextVar[tuple[int, ...] | None] = ContextVar("owners", default=None)


@contextlib.contextmanager
def owned_by(*others: int) -> Iterator[None]:
    """Meanwhile `may_own` holds for files of this user, of root, and of `others` alone."""
    token = _OWNERS.set(others)
    try:
        yield
    finally:
        _OWNERS.reset(token)


def may_own(state: os.stat_result) -> bool:
    others = _OWNERS.get()
    return others is None or is_ours(state, *others)


#: Where pipelines mount a Secret with key files. It is fixed: no variable names it (RULES 36).
SECRETS = Path("/keys")


def mounted_secret(rest: str, base: Path) -> Path | None:
    """The key file in SECRETS that is meant by a relative path with nothing at it below `base`.

    `NAME` and `keys/NAME` mean SECRETS/NAME. For private keys alone: whom to trust is no secret.
    Raises ConfigError, reason "key-owner", where it, or the folder, is not this user's or root's.
    """
    *folders, name = PurePosixPath(rest).parts or ("",)
    if folders not in ([], ["keys"]) or name in ("", "..", "/") or os.path.lexists(base / rest):
        return None
    try:
        folder = os.open(SECRETS, _DIR)
    except OSError:
        return None
    try:
        _require_ours(os.fstat(folder), folder, name)
        descriptor = open_beneath(folder, name)
        ours = is_ours(os.fstat(descriptor))
        os.close(descriptor)
    except FileNotFoundError:
        return None
    except VerificationFailed as error:
        raise _not_used(SECRETS / name, str(error.why)) from error
    except OSError:  # it is there, and whoever reads it says what is wrong with it
        return SECRETS / name
    finally:
        os.close(folder)
    if not ours:
        raise _not_used(SECRETS / name, "it belongs to another user")
    return SECRETS / name


def _not_used(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"the key {os.fspath(path)!r} is not used",
        why=why,
        fix=f"mount a Secret at {SECRETS} whose files and folder are root's or this user's; or put "
        "the key where sovgate.yaml names it",
        reason="key-owner",
    )


def is_ours(state: os.stat_result, *others: int) -> bool:
    """Whether it belongs to this user or to root, or to one of `others`."""
    return state.st_uid in (os.getuid(), 0, *others)


def others_write(state: os.stat_result) -> bool:
    """Whether its mode lets others write: everyone, or a group other than root's and our own."""
    group = state.st_mode & stat.S_IWGRP and state.st_gid not in (0, os.getegid())
    return bool(state.st_mode & stat.S_IWOTH or group)


def read_unshared(path: Path, *, most: int, what: str) -> bytes:
    """`files.read_bounded` of a file with credentials, which whoever can write it could have put
    there. Raises DiskError, "secret-file", with the command that ends it; and as that does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise disk_error(error, f"read the {what} {os.fspath(path)!r}") from error
    state = os.fstat(descriptor)
    if stat.S_ISREG(state.st_mode) and others_write(state):
        os.close(descriptor)
        raise DiskError(
            f"the {what} can be written by others: its mode is {stat.S_IMODE(state.st_mode):04o}",
            fix=f"chmod 600 {shlex.quote(os.fspath(path))}, if you trust what is in it",
            reason="secret-file",
        )
    return read_descriptor(descriptor, most=most, what=f"{what} {os.fspath(path)!r}")


def _require_ours(state: os.stat_result, handle: int, name: str) -> None:
    """A folder in which nobody else can put another link in the place of this one."""
    if not is_ours(state):
        raise _unsafe(name, "a folder on its way belongs to another user")
    if (
        not others_write(state) or state.st_mode & stat.S_ISVTX
    ):  # with the sticky bit only owners may rename
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


# -- links in a model, on request


class _ModelFolder(LinkFolder):
    """A handle on a folder of a model, `path` without links; files below `root` may be linked."""

    path: Path
    root: Path
    handle: int

    def open_link(self, name: str) -> int:
        """The regular file that a link leads to, opened from the root's own handle."""
        target = Path(os.path.realpath(self.path / name))
        if not target.is_relative_to(self.root) or target == self.root:
            raise VerificationFailed(
                f"{name[:160]!r} is a link to a place that is not below {str(self.root)!r}",
                why=f"it leads to {str(target)[:160]!r}",
                fix="name the folder that holds what the links lead to with --follow-links",
                reason="unsafe-link",
            )
        try:
            return open_below(self.handle, target.relative_to(self.root).as_posix())
        except (FileNotFoundError, VerificationFailed) as error:
            lost = isinstance(error, FileNotFoundError)
            raise VerificationFailed(
                f"{name[:160]!r} is a link to {'a file that is not there' if lost else 'no file'}",
                why=f"it leads to {str(target)[:160]!r}",
                fix="download the model again" if lost else "put a file in the place of the link",
                reason="unsafe-link",
            ) from error

    def inside(self, handle: int, name: str) -> _ModelFolder:
        return _folder(handle, self.path / name, self.root, self.handle)


def _folder(handle: int, path: Path, root: Path, root_handle: int) -> _ModelFolder:
    made = _ModelFolder(handle)
    made.path, made.root, made.handle = path, root, root_handle
    return made


_ROOT: ContextVar[Path | None] = ContextVar("root", default=None)


@contextlib.contextmanager
def followed(root: Path | None) -> Iterator[None]:
    """Meanwhile links in a model are followed to files below `root`. None: none is.

    Raises VerificationFailed where somebody else's link leads to `root`.
    """
    if root is not None:
        _require_own_way(root)
    token = _ROOT.set(root)
    try:
        yield
    finally:
        _ROOT.reset(token)


def _require_own_way(root: Path) -> None:
    absolute = Path(os.path.abspath(root))  # noqa: PTH100 (resolve() would follow the links)
    for path in (*reversed(absolute.parents), absolute):
        if path.is_symlink() and not is_ours(path.lstat()):
            raise VerificationFailed(
                f"{str(root)!r} is reached through a link of another user",
                why=str(path),
                fix="name the folder itself with --follow-links",
                reason="unsafe-link",
            )


@contextlib.contextmanager
def opened_model(path: Path) -> Iterator[int]:
    """A handle on a model's folder. Links in it are followed where `followed` says so."""
    root = _ROOT.get()
    with opened_dir(path) as handle:
        if root is None:
            yield handle
            return
        with opened_dir(root) as root_handle:
            yield _folder(
                handle, Path(os.path.realpath(path)), Path(os.path.realpath(root)), root_handle
            )
