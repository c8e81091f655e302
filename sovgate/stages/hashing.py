"""Hashes files in one pass: constant memory, all cores. Opens files for reading only.

RULES 4: regular files reached through directory handles, no links, each with the same stat before
and after it was read.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Protocol

from sovgate.blocks import Blocks, compared
from sovgate.errors import Inconclusive, SovgateError, VerificationFailed, disk_error
from sovgate.files import Entry, LinkFolder, open_below, same_file
from sovgate.links import opened_model
from sovgate.records import Advance

CHUNK = 1024 * 1024
#: A batch is what one worker takes at a time: files of one folder, up to either bound.
BATCH_FILES = 128
BATCH_BYTES = 8 * CHUNK
#: Below this, threads cost more than they bring.
ALONE_BYTES = 4 * CHUNK


class _Hasher(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Hashed:
    """Digests in hex; `other` is the second one, if one was asked for, or those of all shards."""

    sha256: str
    other: str | None


@dataclass(frozen=True, kw_only=True)
class Second:
    """A digest beside SHA-256 of whole files: "blake2b" or "blake3", or of shards of so many bytes,
    one after another. As it stands it asks for none.
    """

    algorithm: str = "sha256"
    shard_size: int | None = None


SHA256 = Second()


def hash_files(
    root: Path,
    entries: Sequence[Entry],
    *,
    alone: bool = False,
    second: Second = SHA256,
    looked: Mapping[str, Blocks] | None = None,
    advance: Advance | None = None,
) -> dict[str, Hashed]:
    """Digests by name of files below `root`, or, `alone`, of `root` itself, the one entry.

    Each file must have the size that its entry says. `advance` is called from any thread.
    `looked` is, by name, what was read of each file before to say what is in it: where that is not
    what is hashed, the file has changed.
    Raises VerificationFailed, reasons "changed-while-reading", "not-regular"; DiskError;
    Inconclusive where the second digest cannot be computed here.
    """
    make = _hasher(second.algorithm)
    if second.shard_size is not None:
        make = partial(_Shards, make or hashlib.sha256, second.shard_size)
    reader = _Reader(make, looked, advance)
    if alone:
        with opened_model(root.parent) as handle:
            reader.file(handle, root.name, entries[0], bytearray(CHUNK))
        return reader.results
    batches = _batches(entries)
    workers = min(_cores(), len(batches))
    with opened_model(root) as handle:
        if workers < 2 or sum(entry.size for entry in entries) < ALONE_BYTES:
            buffer = bytearray(CHUNK)
            for batch in batches:
                reader.batch(handle, batch, buffer)
        else:
            reader.in_threads(handle, batches, workers)
    return reader.results


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


class _Shards:
    """Hashes each `size` bytes by themselves; `hexdigest` gives the digests one after another."""

    def __init__(self, make: Callable[[], _Hasher], size: int) -> None:
        self._make, self._size = make, size
        self._done: list[str] = []
        self._hasher, self._left = make(), size

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        view = memoryview(data)
        while view:
            if not self._left:
                self._close()
            part = view[: self._left]
            self._hasher.update(part)
            self._left -= len(part)
            view = view[len(part) :]

    def _close(self) -> None:
        self._done.append(self._hasher.hexdigest())
        self._hasher, self._left = self._make(), self._size

    def hexdigest(self) -> str:
        if self._left < self._size:  # the last shard may be shorter; an empty file has none
            self._close()
        return "".join(self._done)


@dataclass(kw_only=True)
class _Batch:
    folder: str
    entries: list[Entry]
    size: int


def _batches(entries: Sequence[Entry]) -> list[_Batch]:
    """Largest first, so that no core waits long for the last one."""
    open_ones: dict[str, _Batch] = {}
    found: list[_Batch] = []
    for entry in entries:
        folder = entry.name.rpartition("/")[0]
        batch = open_ones.get(folder)
        if batch is None or entry.size >= BATCH_BYTES:
            batch = _Batch(folder=folder, entries=[], size=0)
            found.append(batch)
            if entry.size < BATCH_BYTES:
                open_ones[folder] = batch
        batch.entries.append(entry)
        batch.size += entry.size
        if batch.size >= BATCH_BYTES or len(batch.entries) >= BATCH_FILES:
            open_ones.pop(folder, None)
    found.sort(key=lambda batch: batch.size, reverse=True)
    return found


class _Reader:
    """`errors` is what went wrong in any thread; all stop at the next chunk once it holds one."""

    def __init__(
        self,
        make: Callable[[], _Hasher] | None,
        looked: Mapping[str, Blocks] | None,
        advance: Advance | None,
    ) -> None:
        self.make = make
        self.looked = looked
        self.advance = advance
        self.errors: list[BaseException] = []
        self.results: dict[str, Hashed] = {}

    def in_threads(self, root: int, batches: list[_Batch], workers: int) -> None:
        import threading

        queue = iter(batches)
        lock = threading.Lock()

        def work() -> None:
            buffer = bytearray(CHUNK)
            while not self.errors:
                with lock:
                    batch = next(queue, None)
                if batch is None:
                    return
                try:
                    self.batch(root, batch, buffer)
                except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
                    self.errors.append(error)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException as error:  # a signal: the workers stop before the handle is closed
            self.errors.append(error)
            for thread in threads:
                thread.join()
            raise
        if self.errors:
            raise self.errors[0]

    def batch(self, root: int, batch: _Batch, buffer: bytearray) -> None:
        folder = _open_folder(root, batch.folder) if batch.folder else root
        if folder != root and isinstance(root, LinkFolder):
            folder = root.inside(folder, batch.folder)
        try:
            for entry in batch.entries:
                if self.errors:
                    return
                self.file(folder, entry.name.rpartition("/")[2], entry, buffer)
        finally:
            if folder != root:
                os.close(folder)

    def file(self, folder: int, base: str, entry: Entry, buffer: bytearray) -> None:
        try:
            descriptor = open_below(folder, base)
            try:
                self._hash(descriptor, entry, buffer)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _gone(error, entry.name) from error

    def _hash(self, descriptor: int, entry: Entry, buffer: bytearray) -> None:
        before = os.fstat(descriptor)
        hasher = hashlib.sha256()
        other = self.make() if self.make else None
        looked = compared(self.looked, entry.name)
        view = memoryview(buffer)
        size = 0
        while size <= entry.size and (count := os.readv(descriptor, [buffer])):
            if self.errors:
                return
            hasher.update(view[:count])
            if other is not None:
                other.update(view[:count])
            if looked is not None:
                looked.update(view[:count])
            size += count
            if self.advance is not None:
                self.advance(count)
        differs = looked is not None and not looked.same
        if differs or size != entry.size or not same_file(before, os.fstat(descriptor)):
            raise _changed(entry.name)
        self.results[entry.name] = Hashed(
            sha256=hasher.hexdigest(), other=other.hexdigest() if other is not None else None
        )


def _open_folder(root: int, folder: str) -> int:
    """A handle on a folder below `root`, no component of it a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    here = root
    try:
        for part in folder.split("/"):
            # Forgotten first, then closed, as in files.open_below.
            above, here = here, os.open(part, flags, dir_fd=here)
            if above != root:
                os.close(above)
    except OSError as error:
        if here != root:
            os.close(here)
        raise _gone(error, folder) from error
    return here


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gone(error: OSError, name: str) -> SovgateError:
    """Listed a moment ago and not there now, or a link: it changed. The rest is the disk's."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return _changed(name)
    return disk_error(error, f"read {name[:160]!r}")


def _changed(name: str) -> VerificationFailed:
    return VerificationFailed(
        f"{name[:160]!r} changed while it was read",
        why="something is still writing to the model",
        fix="let the training or download finish, and run it again",
        reason="changed-while-reading",
    )
