"""Builds an overlay as the cluster's own tool would, in a private folder, and gives what it made.

RULES 42. Starts `kustomize` or `kubectl kustomize` from the fixed folders of programs, without
credentials, home, network, plugins, helm or remote bases, bounded in time, memory and output.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sovgate.errors import ConfigError, GitError, disk_error
from sovgate.formats.kustomize import read_kustomization
from sovgate.formats.overlay import Read, Walk, is_elsewhere, kustomization_in
from sovgate.formats.yaml12 import load
from sovgate.git.run import PROGRAM_DIRS, Done, Limits, execute

MAX_FILES, MAX_BYTES = 500, 32 * 1024 * 1024
MAX_OUTPUT = 64 * 1024 * 1024
SECONDS = 60.0

#: Limits that the program itself inherits; where the system allows it, it has no network at all.
#: Its proxy is a closed port besides, and there is no `git` on its PATH.
_CONFINE = """
import ctypes, os, resource, sys
for name, most in (("AS", 8 << 30), ("CPU", 60), ("FSIZE", 64 << 20), ("CORE", 0)):
    try:
        resource.setrlimit(getattr(resource, "RLIMIT_" + name), (most, most))
    except (AttributeError, ValueError, OSError):
        pass
try:
    libc = ctypes.CDLL(None)
    libc.prctl(38, 1, 0, 0, 0)
    libc.unshare(0x10000000 | 0x40000000)
except (AttributeError, OSError):
    pass
os.execv(sys.argv[1], sys.argv[1:])
"""
_LOGGED = re.compile(r'^E\d{4} [^\n]*\] "command failed" err="(.*)"\s*$', re.DOTALL | re.MULTILINE)
_NOWHERE = "http://127.0.0.1:1"
_KNOWN = {
    "kustomization.yaml": b"resources: [a.yaml]\n",
    "a.yaml": b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
}


class CannotBuildError(Exception):
    """Why an overlay cannot be built here; that says nothing about the overlay."""


class BrokenError(Exception):
    """The builder refused the overlay: what it said."""


def gather(walk: Walk, read: Read) -> dict[str, bytes]:
    """All files that a build of the overlay reads. Raises CannotBuildError."""
    if walk.elsewhere:
        raise CannotBuildError(next(iter(walk.unseen), "not everything is in the repository"))
    files = dict(walk.files)
    for folder, kustomization in walk.kustomizations.items():
        for entry in kustomization.files:
            _add(files, read, folder, entry)
        for entry in kustomization.steps:
            if "\n" in entry:
                _judge_step(files, read, folder, entry.encode())
            else:
                _add_step(files, read, folder, entry)
    if len(files) > MAX_FILES or sum(map(len, files.values())) > MAX_BYTES:
        raise CannotBuildError("the overlay's files are too many, or too large")
    return files


def _add(files: dict[str, bytes], read: Read, folder: str, entry: str) -> None:
    """A file that a kustomization names; where it is not there, the builder judges that."""
    if is_elsewhere(entry):
        raise CannotBuildError(f"{entry[:80]!r} lies elsewhere")
    path = posixpath.normpath(posixpath.join(folder, entry))
    try:
        found = read(path)
    except ConfigError:
        return
    except GitError as error:
        raise CannotBuildError(error.what) from error
    if isinstance(found, bytes):
        files[path] = found


def _add_step(files: dict[str, bytes], read: Read, folder: str, entry: str) -> None:
    """A file of transformers, or a folder with a kustomization of them."""
    waiting = [(folder, entry)]
    seen: set[str] = set()
    while waiting:
        base, name = waiting.pop()
        if is_elsewhere(name):
            raise CannotBuildError(f"{name[:80]!r} lies elsewhere")
        path = posixpath.normpath(posixpath.join(base, name))
        if path in seen or len(seen) > MAX_FILES:
            continue
        seen.add(path)
        try:
            found = read(path)
            if isinstance(found, bytes):
                files[path] = found
                # What a transformer names is looked for from the folder that uses it.
                _judge_step(files, read, folder, found)
                continue
            inner = posixpath.join(path, kustomization_in(found, path))
            data = read(inner)
            files[inner] = data if isinstance(data, bytes) else b""
            below = read_kustomization(files[inner], inner)
        except GitError as error:
            raise CannotBuildError(error.what) from error
        except ConfigError:
            continue  # it is not there, or no kustomization: the builder judges that
        for key in below.files:
            _add(files, read, path, key)
        waiting += [(path, item) for item in (*below.resources, *below.steps)]


def _judge_step(files: dict[str, bytes], read: Read, folder: str, data: bytes) -> None:
    """A transformer of kustomize's own is built; another one is a program, which is never run."""
    for part in data.decode("utf-8", "replace").split("\n---"):
        try:
            value = load(part.removeprefix("---").encode(), "a transformer").value
        except ConfigError as error:
            raise CannotBuildError("a transformer cannot be read") from error
        if value is None:
            continue
        if not isinstance(value, dict) or value.get("apiVersion") != "builtin":
            raise CannotBuildError("a transformer or generator is a program of its own")
        if str(value.get("kind")).startswith("Helm"):
            raise CannotBuildError("a generator runs Helm")
        for text in _texts(value):
            if "\n" not in text and len(text) < 1000:
                if "://" in text:
                    raise CannotBuildError(f"{text[:80]!r} lies elsewhere")
                if not is_elsewhere(text) and "\0" not in text and not text.startswith(".."):
                    _add_if_file(files, read, folder, text)


def _add_if_file(files: dict[str, bytes], read: Read, folder: str, text: str) -> None:
    path = posixpath.normpath(posixpath.join(folder, text))
    try:
        found = read(path)
    except (ConfigError, GitError):
        return
    if isinstance(found, bytes):
        files[path] = found


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def build(files: Mapping[str, bytes], folder: str, private: Path) -> bytes:
    """What the builder makes of `folder`. `private` is a folder of ours, where it may write.

    Raises BrokenError where it refuses the overlay, CannotBuildError where there is none, or where
    it does not work on this machine, DiskError.
    """
    command = _builder()
    done = _run(command, files, folder, private)
    if done is not None and done.code == 0:
        return done.stdout
    trial = _run(command, _KNOWN, ".", private)
    if trial is None or trial.code != 0:
        raise CannotBuildError(f"{command[0]} does not work on this machine")
    raise BrokenError(
        _plain(done.stderr) if done is not None else "it did not end within its limits"
    )


def _plain(said: str) -> str:
    """What a builder says, without the line of its log around it."""
    found = _LOGGED.search(said)
    return found[1].replace('\\"', '"').replace("\\n", "\n") if found else said


def _builder() -> list[str]:
    for name, verb in (("kustomize", "build"), ("kubectl", "kustomize")):
        for place in PROGRAM_DIRS:
            path = os.path.join(place, name)  # noqa: PTH118 (as git's own is found)
            if os.access(path, os.X_OK) and not os.path.isdir(path):  # noqa: PTH112
                return [path, verb]
    raise CannotBuildError(f"no kustomize and no kubectl in {', '.join(PROGRAM_DIRS)}")


def _run(command: list[str], files: Mapping[str, bytes], folder: str, private: Path) -> Done | None:
    """None where it went beyond its limits."""
    root, home = private / "overlay", private / "nothing"
    try:
        for place in (root, home):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(mode=0o700)
        for name, data in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    except OSError as error:
        raise disk_error(error, f"write the overlay into {str(root)!r}") from error
    environment = {"PATH": str(home), "HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C"}
    environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), _NOWHERE)
    try:
        return execute(
            [sys.executable, "-I", "-S", "-c", _CONFINE, *command, str(root / folder)],
            environment=environment,
            folder=private,
            stdin=b"",
            limits=Limits(most=MAX_OUTPUT, seconds=SECONDS),
        )
    except GitError:
        return None
    finally:
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)
