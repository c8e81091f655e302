"""What the commands that move a release answer: typed, frozen, and nothing but data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate.records import Release

if TYPE_CHECKING:
    from sovgate.formats.transfer import Place
    from sovgate.stages.transfer import Record


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What a push did; of a dry run, what it would do (then `record` and `audit_head` are None).

    already      the release was there before, and is the same
    bytes        of plaintext; `crossed` are those of all blobs that were written (or would be)
    reused       the encrypted copy of an earlier run was complete and was used
    left_behind  statements that did not travel along, each with the reason
    steps        (step, seconds)
    """

    release: Release
    manifest: str
    source: Place
    destination: Place
    store: str
    recipient: tuple[str, str]
    files: int
    bytes: int
    blobs: int
    crossed: int
    evidence: tuple[tuple[str, str], ...]
    left_behind: tuple[str, ...]
    decisions: tuple[str, ...]
    sequence: int | None
    record: str | None
    already: bool
    reused: bool
    dry_run: bool
    audit_head: str | None
    steps: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What is in the store now, and what of it this run wrote; `reused`: an earlier copy was."""

    record: Record
    already: bool
    written: int = 0
    written_bytes: int = 0
    reused: bool = False
