"""A data set's commitment: what a zone vouched for, telling outsiders only whether it changed.

Bytes -> digests, no I/O. docs/formats.md, "Commitment". All hashes are salted by r, which only the
zone's key gives; the tree has the shape of RFC 6962, section 2.1, so that one file can be opened to
an auditor without the others.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from sovgate.errors import ConfigError

SCHEME = "hmac-sha256/v0"
KEY_BYTES = 32


def _sized(text: str) -> bytes:
    """Length-prefixed, so that no two pairs of texts give the same bytes."""
    data = text.encode()
    return len(data).to_bytes(8, "big") + data


def salt(key: bytes, dataset: str, epoch: str) -> bytes:
    """r = HMAC(zone key, id ‖ epoch). Who holds r can open the commitment: it is a secret."""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"a commitment key has {KEY_BYTES} bytes",
            why=f"this one has {len(key)}",
            fix="sovgate data key -o FILE",
            reason="bad-key",
        )
    return hmac.digest(key, _sized(dataset) + _sized(epoch), "sha256")


def content(r: bytes) -> hmac.HMAC:
    """Feed it a file's bytes; its digest goes into `leaf`."""
    return hmac.new(r, digestmod="sha256")


def leaf(r: bytes, index: int, path: str, content_digest: bytes) -> bytes:
    """SHA-256(0x00 ‖ HMAC(r, "leaf" ‖ index ‖ path) ‖ HMAC(r, bytes))."""
    name = hmac.digest(r, b"leaf" + index.to_bytes(8, "big") + _sized(path), "sha256")
    return hashlib.sha256(b"\x00" + name + content_digest).digest()


def root(leaves: Iterable[bytes]) -> bytes:
    """RFC 6962 tree head; memory grows with the logarithm of the number of leaves."""
    stack: list[tuple[int, bytes]] = []  # (leaves below, node)
    for one in leaves:
        size, node = 1, one
        while stack and stack[-1][0] == size:
            left = stack.pop()
            size, node = size * 2, _node(left[1], node)
        stack.append((size, node))
    if not stack:
        raise ConfigError("the data set is empty", reason="empty")
    _, node = stack.pop()
    while stack:
        node = _node(stack.pop()[1], node)
    return node


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def value(r: bytes, tree: bytes) -> str:
    """The commitment: HMAC(r, root), lower-case hex."""
    return hmac.digest(r, tree, "sha256").hex()
