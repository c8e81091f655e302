"""Files of a model as the readers of formats take them, and what was searched in them already."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sovgate.errors import Malformed
from sovgate.formats import secrets

HEAD = 64 * 1024


class File:
    """A descriptor as a source of bytes; the first of them are kept."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor, self.size = descriptor, size
        self.head = self._read(0, min(size, HEAD))

    def _read(self, offset: int, count: int) -> bytes:
        data = os.pread(self.descriptor, count, offset)
        while len(data) < count:
            more = os.pread(self.descriptor, count - len(data), offset + len(data))
            if not more:
                raise Malformed("the file ends too early")
            data += more
        return data

    def read(self, offset: int, count: int) -> bytes:
        if offset < 0 or count < 0 or offset + count > self.size:
            raise Malformed("the file ends too early")
        if offset + count <= len(self.head):
            return self.head[offset : offset + count]
        return self._read(offset, count)


@dataclass(frozen=True)
class Beginning:
    """A file up to a place as a source of bytes."""

    file: File
    size: int

    def read(self, offset: int, count: int) -> bytes:
        return self.file.read(offset, count)


#: What was searched by this process already, by name and state: `release` asks at each step.
_SEARCHED: dict[tuple[object, ...], tuple[str, int | None] | None] = {}
_MAX_SEARCHED = 10_000


def secret(
    path: str, source: secrets.Bytes, state: os.stat_result
) -> tuple[str, int | None] | None:
    """`secrets.search`, once a file in one state. A small file is searched anew."""
    if source.size <= HEAD:
        return secrets.search(path, source)
    times = (state.st_mtime_ns, state.st_ctime_ns)
    key = (path, state.st_dev, state.st_ino, state.st_size, source.size, *times)
    if key not in _SEARCHED:
        if len(_SEARCHED) >= _MAX_SEARCHED:
            _SEARCHED.clear()
        _SEARCHED[key] = secrets.search(path, source)
    return _SEARCHED[key]
