"""Shards of OMS: byte ranges of files, each with a digest of its own, `name:start:end`. No I/O.

Read only: we sign whole files. OMS v1.0, 6.3.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from sovgate.errors import VerificationFailed
from sovgate.strict import MAX_INT

#: The last two numbers are the range, since a name may hold colons for all that OMS says.
_NAME = re.compile(r"(.+):(0|[1-9][0-9]{0,15}):([1-9][0-9]{0,15})", re.ASCII | re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """Bytes `start` (with) to `end` (without) of the file `name`."""

    name: str
    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Raises VerificationFailed, reason "shard-ranges"."""
        match = _NAME.fullmatch(text)
        if match is None:
            _refuse(f"{text[:160]!r} is not NAME:START:END")
        shard = cls(name=match[1], start=int(match[2]), end=int(match[3]))
        if not shard.start < shard.end <= MAX_INT:
            _refuse(f"{text[:160]!r} holds no byte")
        return shard


def check(shards: Sequence[Shard], size: int) -> int:
    """The length of the file that these make up, in order: each byte once, no byte left out.

    Raises VerificationFailed, reason "shard-ranges".
    """
    end = 0
    for shard in shards:
        if shard.start != end:
            what = "a gap" if shard.start > end else "an overlap"
            _refuse(f"{shard.name[:160]!r} has {what} at byte {min(shard.start, end)}")
        last = shard is shards[-1]
        length = shard.end - shard.start
        if length > size or (length < size and not last):
            _refuse(f"{shard.name[:160]!r} has a shard of {length} bytes, not {size}")
        end = shard.end
    return end


def _refuse(why: str) -> NoReturn:
    raise VerificationFailed(
        "the signature's list of shards is wrong",
        why=why,
        fix="have the model signed again by method `files`",
        reason="shard-ranges",
    )
