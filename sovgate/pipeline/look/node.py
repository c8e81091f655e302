"""A node of a release's history: one document, and whether it verified, and by whom. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sovgate import strict
from sovgate.errors import SovgateError

#: Its signature verified, and its signer is trusted for it.
VERIFIED = "verified"
#: It is there, but does not verify, or is about something else.
FAILED = "failed"
#: Something that verified names it by digest, and it is not there.
MISSING = "missing"
#: Said inside of what stands above it, whose word it is; nothing of its own to verify.
STATED = "stated"


@dataclass(frozen=True, kw_only=True)
class Node:
    """`by` is who signed, by the name that the project gives; `why` what keeps it from VERIFIED."""

    kind: str
    what: str
    status: str
    by: str | None = None
    when: str | None = None
    sha256: str | None = None
    why: str | None = None
    children: tuple[Node, ...] = ()

    def json(self) -> dict[str, object]:
        return {**vars(self), "children": [child.json() for child in self.children]}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def failed(kind: str, what: str, error: SovgateError, digest: str | None = None) -> Node:
    why = f"{error.reason}: " + ". ".join(part for part in (error.what, error.why) if part)
    return Node(kind=kind, what=what, status=FAILED, why=why, sha256=digest)


def when(moment: datetime) -> str:
    return strict.format_time(moment)
