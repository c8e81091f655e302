"""The module that a PKCS#11 key names: native code, so where it lies and who may change it counts.

Reads the file and the folders above it; loads nothing. Others who could replace the module, or a
project that brings its own, would run their code with the PIN in hand.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sovgate.errors import ConfigError, SovgateError, VerificationFailed, disk_error
from sovgate.formats.pkcs11uri import Module, Pkcs11Uri, parse
from sovgate.key_settings import vouched
from sovgate.links import is_ours

#: The largest modules that vendors ship, with their libraries inside, have some tens of MiB.
MAX_BYTES = 512 * 1024 * 1024
_SETTING = "module-path"
#: What may stand before or after a path in the value of a variable, or be a part of one.
_BETWEEN = re.compile(r"[\s'\":;|,=]")
_MAX_LINKS = 40


def named(text: str) -> Pkcs11Uri:
    """The key of a URI, with the module that a project file names for it.

    A URI without a module takes what the project's key of that name has beside it; one with a
    module, its digest and variable must say the same as a key of the project: whoever can set an
    argument or a variable would else run code with the PIN in hand (RULES 36).
    Raises ConfigError: "no-module", "module-not-in-project".
    """
    uri = parse(text)
    known = list(_known())
    if uri.module is None:
        same = {one.module: one for one in known if one.key == uri.key and one.module is not None}
        if len(same) != 1:
            raise ConfigError(
                f"no PKCS#11 module is named for {uri.key[:200]}",
                why="sovgate guesses none: a module is native code that gets the PIN",
                fix=f"name the key in sovgate.yaml, and beside it {_SETTING}: /usr/lib/softhsm/"
                "libsofthsm2.so, or what your HSM's manual says",
                reason="no-module",
            )
        (one,) = same.values()
        return replace(
            one,
            public_key=uri.public_key or one.public_key,
            pin_source=uri.pin_source or one.pin_source,
        )
    if uri.module not in {one.module for one in known}:
        raise ConfigError(
            f"no key in sovgate.yaml has the PKCS#11 module of {uri.key[:200]}",
            why="a module is native code: no argument or environment variable can name it, only "
            "the project file, with the same digest and variable",
            fix=f"name the key in sovgate.yaml, and beside it {_SETTING}: {uri.module.path}",
            reason="module-not-in-project",
        )
    return uri


def _known() -> Iterator[Pkcs11Uri]:
    for text in vouched("pkcs11"):
        with contextlib.suppress(ConfigError):  # said by whoever opens that key
            yield parse(text)


def checked(module: Module, base: Path) -> str:
    """Its path, links followed, of a key that `named` gave. `base`: the folder of the key's paths.

    Raises ConfigError: "no-module" (not there), "module-owner", "module-in-project";
    VerificationFailed: "module-digest"; DiskError.
    """
    path = Path(os.path.realpath(module.path))
    what = f"the PKCS#11 module {module.path!r}"
    folders = _projects(base)
    try:
        _require_trusted(Path(module.path), what, folders)
        if not stat.S_ISREG(path.stat().st_mode):
            raise _missing(module.path, "it is no file")
        if module.sha256 is not None:
            _require_digest(path, module.sha256)
        for there in _paths_in(module.variable[1] if module.variable else ""):
            # Modules load more code by such files: p11-kit's and OpenSC's settings name some.
            _require_trusted(there, f"{str(there)!r} of module-variable", folders)
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise _missing(module.path, "there is no such file") from error
        raise disk_error(error, f"look at the PKCS#11 module {module.path!r}") from error
    return os.fspath(path)


def _paths_in(value: str) -> list[Path]:
    """What the value of a variable may name, and is there.

    Where a path ends is for the module to say: what may end one may be a part of it, and one that
    does not begin with / is from /, where modules run.
    """
    found = set()
    for text in {value, value.replace("\\", "")}:
        marks = [match.start() for match in _BETWEEN.finditer(text)]
        for start in (0, *(mark + 1 for mark in marks)):
            for end in (*marks, len(text)):
                part = text[start:end]
                if "/" in part and os.path.lexists(f"/{part}"):
                    found.add(Path("/", part))
    return sorted(found)


def _way(path: Path) -> Iterator[Path]:
    """Each folder and link on the way to an absolute path, those between two links too, and it."""
    at, steps, links = Path("/"), list(path.parts[1:]), 0
    yield at
    while steps:
        step = steps.pop(0)
        if step == "..":
            at = at.parent
            continue
        here = at / step
        yield here
        if not here.is_symlink():
            at = here
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))
        target = here.readlink()
        at = Path("/") if target.is_absolute() else at
        steps = [*target.parts[target.is_absolute() :], *steps]


def _projects(base: Path) -> tuple[Path, ...]:
    """What a branch may bring: the folder of each project file that names a module, and `base`."""
    return tuple({Path(os.path.realpath(one)) for one in (base, *vouched("pkcs11").values())})


def _require_trusted(path: Path, what: str, projects: tuple[Path, ...]) -> None:
    real = Path(os.path.realpath(path))
    for one in _way(path):
        _require_ours(one, what)
    inside = next((one for one in projects if one in (real, *real.parents)), None)
    tree = next((one for one in (real, *real.parents) if (one / ".git").exists()), None)
    if inside or tree:
        raise ConfigError(
            f"{what} lies in {str(inside or tree)!r}",
            why="it is, or leads to, native code that gets the PIN, and whoever may write to a "
            "project or its repository could put it there",
            fix="install it outside of the project, as root",
            reason="module-in-project",
        )


def _require_ours(path: Path, what: str) -> None:
    """Root's or this user's, and nobody else's to change: each link, each folder, the file."""
    state = path.lstat()
    why = None
    if not is_ours(state):
        why = f"{path} belongs to another user (uid {state.st_uid})"
    elif not stat.S_ISLNK(state.st_mode):
        others = state.st_mode & (stat.S_IWOTH | stat.S_IWGRP)
        # In a sticky folder, as /tmp, nobody renames or removes what is another's.
        if others and not (stat.S_ISDIR(state.st_mode) and state.st_mode & stat.S_ISVTX):
            why = f"{path} can be written by others (mode {stat.S_IMODE(state.st_mode):04o})"
    if why is not None:
        raise ConfigError(
            f"{what} could be replaced by others",
            why=why,
            fix=f"install it as root, or, if you trust what is there: chmod go-w {path}",
            reason="module-owner",
        )


def _require_digest(path: Path, expected: str) -> None:
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise _missing(str(path), f"it has more than {MAX_BYTES} bytes")
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise VerificationFailed(
            f"the PKCS#11 module {str(path)!r} is not the one that sovgate.yaml names",
            why=f"its SHA-256 is {found}, and module-sha256 says {expected}",
            fix="find out who changed it; after an update that you trust, write the new digest",
            reason="module-digest",
        )


def _missing(module: str, why: str) -> SovgateError:
    return ConfigError(
        f"the PKCS#11 module {module!r} cannot be loaded",
        why=why,
        fix=f"correct {_SETTING} beside the key in sovgate.yaml, or install the module here",
        reason="no-module",
    )
