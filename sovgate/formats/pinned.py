"""What a release file in an overlay says, as far as records can be compared with it. Pure."""

from __future__ import annotations

import re

#: Whatever in such a file names bytes: a release with its pin, or a digest by itself.
_NAMED = re.compile(rb"(?:[A-Za-z0-9._/-]+@)?sha256:[0-9a-fA-F]{64}(?![0-9a-fA-F])")
#: More than that no file of ours says.
MAX_NAMED = 1_000


def named(data: bytes) -> frozenset[str]:
    """All releases and digests that the file names, comments too.

    A file of which one line was changed by hand names something that no record does.
    """
    found: set[str] = set()
    for match in _NAMED.finditer(data):
        found.add(match.group().decode("ascii"))
        if len(found) > MAX_NAMED:
            break
    return frozenset(found)
