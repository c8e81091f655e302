"""Reads a model once and says what it is: names, sizes, digests. Opens files for reading only.

RULES 1, 2, 4: regular files reached through directory handles, no links, each with the same stat
before and after it was read. Constant memory, all cores.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sovgate.errors import DiskError, Inconclusive, VerificationFailed, disk_error
from sovgate.files import Entry, check_name, open_below, opened_dir, same_file, walk
from sovgate.formats.manifest import FILE_NAME, Kind, Manifest, Resource, check_resources, oms_key
from sovgate.formats.oms import GIT_NAMES
from sovgate.records import Advance

if TYPE_CHECKING:
    import threading

CHUNK = 1024 * 1024
#: A batch is what one worker takes at a time: files of one folder, up to either bound.
BATCH_FILES = 128
BATCH_BYTES = 8 * CHUNK
#: Below this, threads cost more than they bring.
ALONE_BYTES = 4 * CHUNK


class _Hasher(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What lies there, not read yet. `entries` are in OMS order.

    root     the resolved path of the directory or file
    ignored  names at the root that were left out, git's apart
    """

    root: Path
    kind: Kind
    entries: tuple[Entry, ...]
    ignored: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return sum(entry.size for entry in self.entries)


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """A model that was read. `root` is its resolved path: the directory, or the file itself.

    foreign   digests by name in the algorithm that `take` was asked for beside SHA-256
    ignored   paths inside the model that were left out, git's apart
    """

    manifest: Manifest
    root: Path
    kind: Kind
    foreign: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def take(
    path: str | os.PathLike[str],
    *,
    advance: Advance | None = None,
    total: Callable[[int], None] | None = None,
    signature: Path | None = None,
    strict_git: bool = False,
) -> Inventory:
    """Read the model at `path` and make its manifest.

    `total` is told the number of bytes before the first is read, `advance` each number done, from
    any thread. `signature` is left out if it lies inside the model. `strict_git` refuses names with
    a part that begins with `.git` below the root, which git would act on where they are unpacked
    (RULES 2): for what is signed, encrypted or pushed.

    Raises VerificationFailed, reasons "empty-model", "unsafe-name", "not-regular", "git-name",
    "changed-while-reading", "limits"; UsageError (no such path), DiskError.
    """
    found = survey(path, signature=signature)
    if strict_git:
        refuse_git(entry.name for entry in found.entries)
    if total is not None:
        total(found.total)
    return read(found, advance=advance)


def survey(
    path: str | os.PathLike[str],
    *,
    signature: Path | None = None,
    skip: frozenset[str] = frozenset(GIT_NAMES),
    ignore: tuple[str, ...] = (),
) -> Survey:
    """List the model's files without reading them; names are checked (RULES 4).

    `skip` are names at the root, `ignore` relative paths; what lies below an ignored path is left
    out too. Raises as `take` does.
    """
    root = _resolved(path)
    if not root.is_dir():
        size = _file_size(root)
        return Survey(root=root, kind="file", entries=(Entry(name=FILE_NAME, size=size),))
    left_out = list(ignore)
    inside = signature_inside(root, signature)
    if inside is not None:
        left_out.append(inside)
    try:
        with opened_dir(root) as handle:
            entries = walk(handle, skip=skip)
    except OSError as error:
        raise disk_error(error, f"list the model {str(root)!r}") from error
    entries = [entry for entry in entries if not any(below(entry.name, p) for p in left_out)]
    entries.sort(key=lambda entry: oms_key(entry.name))
    check_resources("directory", [entry.name for entry in entries])
    return Survey(root=root, kind="directory", entries=tuple(entries), ignored=tuple(left_out))


def read(found: Survey, *, algorithm: str = "sha256", advance: Advance | None = None) -> Inventory:
    """Hash what a survey found; `algorithm` may name a second digest, taken in the same pass."""
    make = _hasher(algorithm)
    results = _Reader(found.root, found.kind, make, advance).run(found)
    resources, foreign = [], {}
    for entry in found.entries:
        size, digest, other = results[entry.name]
        resources.append(Resource(name=entry.name, size=size, digest=digest))
        if other is not None:
            foreign[entry.name] = other
    return Inventory(
        manifest=Manifest(kind=found.kind, resources=tuple(resources)),
        root=found.root,
        kind=found.kind,
        foreign=foreign,
        ignored=found.ignored,
    )


def below(name: str, path: str) -> bool:
    """Whether `name` is `path` or lies in it."""
    return name == path or name.startswith(path + "/")


def refuse_git(names: Iterable[str]) -> None:
    """RULES 2: no part that begins with `.git`, in any case of letters."""
    for name in names:
        if any(part.casefold().startswith(".git") for part in name.split("/")):
            raise VerificationFailed(
                f"{name[:160]!r} has a name that git acts on",
                why="where the model is unpacked, git would read it",
                fix="remove it, or rename it",
                reason="git-name",
            )


def signature_inside(root: Path, signature: Path | None) -> str | None:
    """The signature's path relative to the model's resolved root, or None if it lies elsewhere."""
    if signature is None:
        return None
    place = signature.parent.resolve() / signature.name
    if not place.is_relative_to(root) or place == root:
        return None
    name = place.relative_to(root).as_posix()
    check_name(name)
    return name


def _resolved(path: str | os.PathLike[str]) -> Path:
    try:
        root = Path(path).resolve(strict=True)
    except OSError as error:
        raise disk_error(error, f"open the model {os.fspath(path)!r}") from error
    except RuntimeError as error:  # Python 3.11 and 3.12 say so of a loop of links
        raise DiskError(f"could not open the model {os.fspath(path)!r}", why=str(error)) from error
    if not root.name:
        raise VerificationFailed(
            "the whole file system is not a model", fix="name its folder", reason="not-a-model"
        )
    return root


def _file_size(root: Path) -> int:
    state = root.stat(follow_symlinks=False)
    if not stat.S_ISREG(state.st_mode):
        raise VerificationFailed(
            f"{root.name[:160]!r} is neither a directory nor a regular file", reason="not-regular"
        )
    return state.st_size


def _hasher(algorithm: str) -> Callable[[], _Hasher] | None:
    if algorithm == "sha256":
        return None
    if algorithm == "blake2b":
        return hashlib.blake2b
    try:
        make: Callable[[], _Hasher] = import_module("blake3").blake3
    except ModuleNotFoundError as error:
        raise Inconclusive(
            "the model was signed with BLAKE3 digests, which cannot be computed here",
            fix="pip install blake3, and run it again",
            reason="missing-package",
        ) from error
    return make


@dataclass(kw_only=True)
class _Batch:
    """Files of one folder, with their full names. `size` is what the survey saw."""

    folder: str
    entries: list[Entry]
    size: int


def _batches(entries: tuple[Entry, ...]) -> list[_Batch]:
    """Largest first, so that no core waits long for the last one."""
    open_ones: dict[str, _Batch] = {}
    full: list[_Batch] = []
    for entry in entries:
        folder = entry.name.rpartition("/")[0]
        batch = open_ones.get(folder)
        if batch is None or entry.size >= BATCH_BYTES:
            batch = _Batch(folder=folder, entries=[], size=0)
            full.append(batch)
            if entry.size < BATCH_BYTES:
                open_ones[folder] = batch
        batch.entries.append(entry)
        batch.size += entry.size
        if batch.size >= BATCH_BYTES or len(batch.entries) >= BATCH_FILES:
            open_ones.pop(folder, None)
    full.sort(key=lambda batch: batch.size, reverse=True)
    return full


class _Reader:
    """One pass over the files. `results` maps a name to (size, SHA-256, other digest or None)."""

    def __init__(
        self,
        root: Path,
        kind: Kind,
        make: Callable[[], _Hasher] | None,
        advance: Advance | None,
    ) -> None:
        self.root = root
        self.kind = kind
        self.make = make
        self.advance = advance
        self.results: dict[str, tuple[int, str, str | None]] = {}

    def run(self, found: Survey) -> dict[str, tuple[int, str, str | None]]:
        if found.kind == "file":
            self._file_alone(found)
            return self.results
        batches = _batches(found.entries)
        with opened_dir(self.root) as handle:
            workers = min(_cores(), len(batches))
            if workers < 2 or found.total < ALONE_BYTES:
                buffer = bytearray(CHUNK)
                for batch in batches:
                    self._batch(handle, batch, buffer)
            else:
                self._in_threads(handle, batches, workers)
        return self.results

    def _in_threads(self, handle: int, batches: list[_Batch], workers: int) -> None:
        import threading

        queue = iter(batches)
        lock = threading.Lock()
        errors: list[BaseException] = []

        def work() -> None:
            buffer = bytearray(CHUNK)
            while not errors:
                with lock:
                    batch = next(queue, None)
                if batch is None:
                    return
                try:
                    self._batch(handle, batch, buffer, errors)
                except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
                    errors.append(error)

        threads: list[threading.Thread] = [
            threading.Thread(target=work, daemon=True) for _ in range(workers)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException as error:  # a signal: stop the workers before the handle is closed
            errors.append(error)
            for thread in threads:
                thread.join()
            raise
        if errors:
            raise errors[0]

    def _file_alone(self, found: Survey) -> None:
        with opened_dir(self.root.parent) as handle:
            self._one(handle, self.root.name, found.entries[0], bytearray(CHUNK), [])

    def _batch(
        self, root: int, batch: _Batch, buffer: bytearray, errors: list[BaseException] | None = None
    ) -> None:
        handle = root
        try:
            if batch.folder:
                handle = _open_folder(root, batch.folder)
            for entry in batch.entries:
                self._one(
                    handle,
                    entry.name.rpartition("/")[2],
                    entry,
                    buffer,
                    errors if errors is not None else [],
                )
        except OSError as error:
            raise _changed(batch.folder) from error
        finally:
            if handle != root:
                os.close(handle)

    def _one(
        self,
        folder: int,
        base: str,
        entry: Entry,
        buffer: bytearray,
        errors: list[BaseException],
    ) -> None:
        try:
            descriptor = open_below(folder, base)
            try:
                self._hash(descriptor, entry, buffer, errors)
            finally:
                os.close(descriptor)
        except FileNotFoundError as error:
            raise _changed(entry.name) from error
        except OSError as error:
            raise disk_error(error, f"read {entry.name[:160]!r}") from error

    def _hash(
        self, descriptor: int, entry: Entry, buffer: bytearray, errors: list[BaseException]
    ) -> None:
        before = os.fstat(descriptor)
        hasher = hashlib.sha256()
        other = self.make() if self.make else None
        view = memoryview(buffer)
        size = 0
        while count := os.readv(descriptor, [buffer]):
            if errors:
                return
            hasher.update(view[:count])
            if other is not None:
                other.update(view[:count])
            size += count
            if self.advance is not None:
                self.advance(count)
            if size >= before.st_size and count < CHUNK:
                break
        if (
            size != before.st_size
            or size != entry.size
            or not same_file(before, os.fstat(descriptor))
        ):
            raise _changed(entry.name)
        self.results[entry.name] = (
            size,
            hasher.hexdigest(),
            other.hexdigest() if other is not None else None,
        )


def _open_folder(root: int, folder: str) -> int:
    """A handle on a folder below `root`, no component of it a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    here = root
    for part in folder.split("/"):
        try:
            below_here = os.open(part, flags, dir_fd=here)
        finally:
            if here != root:
                os.close(here)
        here = below_here
    return here


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _changed(name: str) -> VerificationFailed:
    return VerificationFailed(
        f"{name[:160]!r} changed while it was read",
        why="something still writes to the model",
        fix="let the training or download finish, and run it again",
        reason="changed-while-reading",
    )
