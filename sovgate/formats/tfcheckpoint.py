"""The index of a checkpoint of TensorFlow, which the variables of a SavedModel are too. No I/O.

`PREFIX.index` is a sorted table, the first entry of which, without a key, says how many files
`PREFIX.data-00000-of-00001` there are.
"""

from __future__ import annotations

import re
from typing import Protocol

_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_FOOTER = 48
_MAX_SHARDS = 100_000
_DATA = re.compile(r"(.+)\.data-[0-9]{5}-of-[0-9]{5}", re.ASCII | re.DOTALL)


class Bytes(Protocol):
    """Random access to a file: `formats.tensors.Source`."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, count: int) -> bytes: ...


def shards(name: str, source: Bytes) -> tuple[str, ...] | None:
    """The files of data that this index names; None where it is no such index."""
    if not name.endswith(".index") or source.size <= _FOOTER:
        return None
    if source.read(source.size - 8, 8) != _MAGIC:
        return None
    head = source.read(0, min(source.size, 64))
    # What is shared with the key before, the rest of the key, the length of the value; and in it
    # field 1, the number of files.
    if head[:2] != b"\0\0" or head[2] >= 0x80 or head[3:4] != b"\x08":
        return None
    count = shift = 0
    for byte in head[4:9]:
        count |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if not 0 < count <= _MAX_SHARDS:
        return None
    prefix = name.removesuffix(".index")
    return tuple(f"{prefix}.data-{number:05d}-of-{count:05d}" for number in range(count))


def index_of(name: str) -> str | None:
    """The index that a file of data belongs to, by its name."""
    match = _DATA.fullmatch(name)
    return None if match is None else f"{match.group(1)}.index"
