"""Finds `sovgate.yaml` and reads it: not anybody's, since it says whom to trust (RULES 40)."""

from __future__ import annotations

import itertools
import os
import shlex
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from sovgate.errors import ConfigError, SovgateError, UsageError, VerificationFailed, disk_error
from sovgate.files import opened_dir, read_descriptor
from sovgate.links import is_ours, open_beneath

FILE_NAME = "sovgate.yaml"
MAX_BYTES = 1024 * 1024
#: How deep below a folder projects are looked for, among how many folders, and how many are named.
DEPTH, MAX_FOLDERS, SHOWN = 4, 1000, 4
#: What may be large and holds no project of the user's.
_SKIP = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})


def find(start: Path | None) -> Path:
    """`sovgate.yaml` in the folder named, or, where none is named, here or above."""
    if start is not None:
        path = start if start.name == FILE_NAME and not start.is_dir() else start / FILE_NAME
        if not there(path.parent):
            raise UsageError(
                f"there is no {FILE_NAME} in {str(start)!r}",
                fix="name its folder with --project",
                reason="no-project",
            )
        return path
    here = Path.cwd()
    for folder in (here, *here.parents):
        if there(folder):
            at(folder, named=folder == here)
            return Path(os.path.relpath(folder / FILE_NAME))  # as a person would write it
    raise ConfigError(
        f"there is no {FILE_NAME} here or above",
        fix="name its folder with --project",
        reason="no-project",
    )


def meant(folder: Path) -> str | None:
    """What to add to a command that found no project at `folder`: of those not far below. A hint
    for a person: none of them is read. None where there is none."""
    found = list(_below(folder))
    if not found:
        return None
    options = [f"--project {shlex.quote(str(path))}" for path in found[:SHOWN]]
    more = f", or one of {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    which = "name it" if len(found) == 1 else "name the one that you mean"
    return f"{which}: {' or '.join(options)}{more}"


def _below(folder: Path) -> Iterator[Path]:
    """Links and hidden folders are passed over, and so is what cannot be read."""
    waiting, left = deque([(folder, 1)]), MAX_FOLDERS
    while waiting and left > 0:
        place, depth = waiting.popleft()
        try:
            with os.scandir(place) as listing:
                names = sorted(
                    entry.name
                    for entry in itertools.islice(listing, MAX_FOLDERS)
                    if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
                )[:left]
        except OSError:
            continue
        left -= len(names)
        for name in names:
            path = place / name
            if os.path.isfile(path / FILE_NAME):  # noqa: PTH113 (Path's raises)
                yield path
            elif depth < DEPTH and name not in _SKIP:
                waiting.append((path, depth + 1))


def there(folder: Path) -> bool:
    """Whether the folder has a project file. Raises ConfigError, reason "project-unreadable".

    What has the name and is none is not passed over: a file further up would say whom to trust.
    """
    path = folder / FILE_NAME
    if path.is_file():
        return True
    if not os.path.lexists(path):
        return False
    what = "a folder" if path.is_dir() else "neither a file nor a folder"
    if path.is_symlink() and not path.is_dir():
        what = f"a link to {str(path.readlink())[:160]!r}, where no file is"
    raise ConfigError(
        f"{str(path)!r} is no file",
        why=f"it is {what}; a project further up is not taken in its place",
        fix="remove it, or name the folder of the project that you mean with --project",
        reason="project-unreadable",
    )


def at(folder: Path, *, named: bool) -> Path:
    """The project file of a folder; one that was not `named` has to be ours or root's."""
    if not named:
        _refuse_stranger(folder / FILE_NAME)
    return folder / FILE_NAME


def _refuse_stranger(path: Path) -> None:
    """A file that was only come upon, somewhere above, says whom to trust: not anybody's will do.

    In a folder that all may write to, /tmp say, anybody could have left one.
    """
    descriptor = _opened(path)
    try:
        ours = is_ours(os.fstat(descriptor))
    finally:
        os.close(descriptor)
    if not ours:
        raise ConfigError(
            f"{str(path)!r} belongs to another user",
            why="it was found above this folder, and it says whom to trust",
            fix=f"if this is the file that you mean, name it: --project {path.parent}",
            reason="project-owner",
        )


def content(path: Path) -> bytes:
    """The bytes of a project file. Raises ConfigError."""
    try:
        return read_descriptor(_opened(path), most=MAX_BYTES, what=f"project file {str(path)!r}")
    except ConfigError:
        raise
    except SovgateError as error:
        raise ConfigError(
            error.what,
            why=error.why,
            fix=error.fix or "see that it is a project file, or name another with --project",
            reason="project-unreadable",
        ) from error


def _opened(path: Path) -> int:
    """Links as Kubernetes makes them are followed; one that leads elsewhere has other keys beside
    it than the file that it leads to."""
    try:
        with opened_dir(path.parent) as folder:
            return open_beneath(folder, path.name)
    except VerificationFailed as error:
        target = os.path.dirname(os.path.realpath(path))  # noqa: PTH120
        raise ConfigError(
            f"{str(path)!r} is a link that is not followed",
            why=error.why,
            fix=f"name the folder of the file itself: --project {shlex.quote(target)}",
            reason="unsafe-link",
        ) from error
    except OSError as error:
        error.filename = str(path)
        told = disk_error(error, f"read the project file {str(path)!r}")
        raise ConfigError(
            told.what, why=told.why, fix=told.fix, reason="project-unreadable"
        ) from error


def may_name(key: bytes) -> bool:
    """Whether the file that is found from here could hold this key: False only if it does not.

    For commands that need one key of it and must start fast: parsing YAML takes longer.
    """
    try:
        path = find(None)
    except ConfigError:
        return False  # there is none
    try:
        data = content(path)
    except SovgateError:
        return True
    lines = (line for line in data.splitlines() if not line.lstrip().startswith(b"#"))
    return b"\\" in data or any(key in line for line in lines)  # escapes may spell it
