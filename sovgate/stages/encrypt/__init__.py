"""Encrypts a signed model for zones, and opens it in one: chunks, and the parts that list them.

`send` reads a model once and hands encrypted chunks on, and `close` makes the parts of them;
`open_parts` and `receive` are the way back, and `read` that of one file. None knows where keys or
stores are: they are given protocol objects and functions.
"""

from sovgate.stages.encrypt.parts import (
    ZoneKey,
    close,
    close_part,
    close_reused,
    close_shard,
    open_parts,
    require_apart,
    require_no_git,
)
from sovgate.stages.encrypt.reading import Span, carrying, read
from sovgate.stages.encrypt.receiving import Opened, receive
from sovgate.stages.encrypt.sending import Bound, Sent, send
from sovgate.stages.encrypt.tree import Tree

#: The record of an encrypted copy for a zone.
SEALED_NAME = "sealed.json"

__all__ = [
    "SEALED_NAME",
    "Bound",
    "Opened",
    "Sent",
    "Span",
    "Tree",
    "ZoneKey",
    "carrying",
    "close",
    "close_part",
    "close_reused",
    "close_shard",
    "open_parts",
    "read",
    "receive",
    "require_apart",
    "require_no_git",
    "send",
]
