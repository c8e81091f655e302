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
#: The first entry of the table; it may be packed by snappy, which begins with a literal.
_FIRST = re.compile(
    rb"(?:[\x80-\xff]{0,4}[\x00-\x7f](?:[\x00-\xeb]|\xf0.|\xf4..))?"
    rb"\0\0[\x02-\x7f]\x08(?P<count>[\x80-\xff]{0,2}[\x01-\x7f])",
    re.DOTALL,
)
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
    match = _FIRST.match(head)
    if match is None:
        return None
    count = 0
    for place, byte in enumerate(match["count"]):
        count |= (byte & 0x7F) << 7 * place
    if not 0 < count <= _MAX_SHARDS:
        return None
    prefix = name.removesuffix(".index")
    return tuple(f"{prefix}.data-{number:05d}-of-{count:05d}" for number in range(count))


def index_of(name: str) -> str | None:
    """The index that a file of data belongs to, by its name."""
    match = _DATA.fullmatch(name)
    return None if match is None else f"{match.group(1)}.index"
