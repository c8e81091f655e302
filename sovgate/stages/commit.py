"""Commits to the data of a data set, where it lies. Reads the data; keeps nothing of it.

A stage. Files in the order of their names, one pass, all cores, constant memory.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sovgate.errors import UsageError, VerificationFailed, disk_error
from sovgate.files import Entry, open_below, opened_dir, same_file, walk
from sovgate.formats import commitment
from sovgate.records import Advance
from sovgate.work import cores

CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Committed:
    """`bytes` and `records` (files) that the commitment covers."""

    value: str
    epoch: str
    files: int
    bytes: int


def commit(
    folder: Path, *, key: bytes, dataset: str, epoch: str, advance: Advance | None = None
) -> Committed:
    """The commitment of all files below `folder`, or of one file.

    Raises UsageError (missing, empty), VerificationFailed ("not-regular",
    "changed-while-reading"), ConfigError (key).
    """
    r = commitment.salt(key, dataset, epoch)
    name, asked = None, str(folder)
    if not folder.is_dir():
        folder, name = folder.parent, folder.name
    with opened_dir(folder) as handle:
        try:
            entries = walk(handle) if name is None else [_one(handle, name)]
        except OSError as error:
            raise disk_error(error, f"read {asked!r}") from error
        entries.sort(key=lambda entry: entry.name.encode("utf-8", "surrogateescape"))
        if not entries:
            raise UsageError(
                f"{str(folder)!r} holds no data",
                fix="name the folder or file with the data",
                reason="empty",
            )
        with ThreadPoolExecutor(cores()) as pool:
            digests = pool.map(lambda entry: _content(handle, entry, r, advance), entries)
            leaves = (
                commitment.leaf(r, index, entry.name, digest)
                for index, (entry, digest) in enumerate(zip(entries, digests, strict=True))
            )
            tree = commitment.root(leaves)
    return Committed(
        value=commitment.value(r, tree),
        epoch=epoch,
        files=len(entries),
        bytes=sum(entry.size for entry in entries),
    )


def _one(handle: int, name: str) -> Entry:
    descriptor = open_below(handle, name)
    try:
        return Entry(name=name, size=os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def _content(handle: int, entry: Entry, r: bytes, advance: Advance | None) -> bytes:
    digest = commitment.content(r)
    try:
        with open(open_below(handle, entry.name), "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            buffer = bytearray(min(CHUNK, max(entry.size, 1)))
            view = memoryview(buffer)
            while count := file.readinto(buffer):
                digest.update(view[:count])
                if advance is not None:
                    advance(count)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise disk_error(error, f"read {entry.name!r}") from error
    if not same_file(before, after) or after.st_size != entry.size:
        raise VerificationFailed(
            f"{entry.name[:160]!r} changed while it was read",
            fix="commit when nothing writes to the data",
            reason="changed-while-reading",
        )
    return digest.digest()
