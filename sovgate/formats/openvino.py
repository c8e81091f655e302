"""The graph of OpenVINO (`model.xml`): how far it reaches into the weights beside it. No I/O.

Searches the text, bounded; parses no XML, so that no entity of one is ever followed.
"""

from __future__ import annotations

import re
from typing import Protocol

#: Graphs of the largest models have some tens of MiB.
MAX_FILE = 256 * 1024 * 1024
WINDOW, OVERLAP = 4 * 1024 * 1024, 64 * 1024
_DECLARED = re.compile(rb"\s*<\?xml[^>]{0,400}\?>\s*")
_COMMENT = re.compile(rb"\s*<!--.{0,4000}?-->\s*", re.DOTALL)
_ROOT = re.compile(rb"\s*<net[\s>]")
#: A constant; in versions before 10, what a layer had below `blobs`.
_WEIGHTS = re.compile(
    rb"\btype=\"Const\"[^<]{0,4096}<data\b([^<]{0,4096})|<(?:weights|biases|custom)\b([^<]{0,4096})"
)
_OFFSET = re.compile(rb"\boffset=\"([0-9]{1,18})\"")
_SIZE = re.compile(rb"\bsize=\"([0-9]{1,18})\"")


class Bytes(Protocol):
    """Random access to a file: `formats.tensors.Source`."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, count: int) -> bytes: ...


def is_graph(name: str, head: bytes) -> bool:
    """Whether it is one, and no other XML. `head` is its beginning."""
    if not name.lower().endswith(".xml"):
        return False
    at = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    if match := _DECLARED.match(head, at):
        at = match.end()
    for _ in range(20):
        match = _COMMENT.match(head, at)
        if match is None:
            break
        at = match.end()
    return _ROOT.match(head, at) is not None


def weights_end(source: Bytes) -> int:
    """How many bytes of weights it needs; 0 where it refers to none."""
    end = at = 0
    while at < min(source.size, MAX_FILE):
        data = source.read(at, min(WINDOW + OVERLAP, source.size - at))
        for match in _WEIGHTS.finditer(data):
            told = match.group(1) or match.group(2) or b""
            offset, size = _OFFSET.search(told), _SIZE.search(told)
            if offset and size and int(size.group(1)):
                end = max(end, int(offset.group(1)) + int(size.group(1)))
        at += WINDOW
    return end
