"""What the commands that move a release answer: typed, frozen, and nothing but data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.records import Release

if TYPE_CHECKING:
    from sovgate.formats.transfer import Place


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A release on its way; `store` is where it lies, the destination's.

    `run_by` says who runs the place on the other side of the border, and who controls that company.
    """

    release: Release
    manifest: str
    source: Place
    destination: Place
    store: str
    run_by: str

    @property
    def pinned(self) -> str:
        return self.release.pinned(self.manifest)


@dataclass(frozen=True, kw_only=True)
class Size:
    """`bytes` of plaintext; `crossed` those of the `objects` that were written, or would be."""

    files: int
    bytes: int
    objects: int = 0
    crossed: int = 0


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a release has of an earlier one: `NAME/VERSION`, chunks, their bytes, and how many of
    them are packs of small files.
    """

    release: str
    chunks: int
    bytes: int
    packs: int


@dataclass(frozen=True, kw_only=True)
class Written:
    """What store and log have of it now; None where a dry run wrote nothing.

    already  it was there before, the same and whole: only what was missing was done
    later    (role, SHA-256) of statements that lie here, and are no part of what is there
    resumed  chunks that a run before it had sent
    reused   what of earlier releases is used again, by choice
    packs    chunks of small files packed together that no earlier release had, and their bytes
    """

    already: bool
    sequence: int | None = None
    record: str | None = None
    audit_head: str | None = None
    later: tuple[tuple[str, str], ...] = ()
    resumed: int = 0
    reused: tuple[Taken, ...] = ()
    packs: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What a push did; of a dry run, what it would do.

    recipient    (key id, algorithm) of the key that it was encrypted for
    evidence     (role, SHA-256) of what travels along; of a release that is there, of what it has
    left_behind  statements that did not travel along, each with the reason
    steps        (step, seconds)
    """

    moved: Moved
    size: Size
    written: Written
    dry_run: bool
    recipient: tuple[str, str]
    evidence: tuple[tuple[str, str], ...]
    left_behind: tuple[str, ...]
    decisions: tuple[str, ...]
    steps: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a shard left in the folder of --parts: part `number` of `of`, and the SHA-256 of its
    document; None on a dry run. `already`: an earlier run had left it, and all of it is there.
    """

    number: int
    of: int
    folder: Path
    sha256: str | None
    already: bool


@dataclass(frozen=True, kw_only=True)
class Sharded:
    """What a push of one shard did; of a dry run, what it would do. `size` is the shard's; all else
    is as of `Pushed`. Nothing is visible in the destination until the parts are joined.
    """

    moved: Moved
    size: Size
    part: Part
    recipient: tuple[str, str]
    audit_head: str | None
    resumed: int
    decisions: tuple[str, ...]
    steps: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """SHA-256 of the release record and of the zone's receipt for it; the head of its log; the
    folder where the evidence lies."""

    sequence: int
    record: str
    receipt: str
    audit_head: str
    evidence: Path


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """What a pull did.

    already  the model was there and verifies: only what was missing was done
    signers  (role, name) of who signed the transfer and the model
    pinned   the release was named with its manifest digest
    newer    releases of the model in this store with a higher number
    steps    (step, seconds)
    """

    moved: Moved
    size: Size
    proof: Proof
    already: bool
    signers: tuple[tuple[str, str], ...]
    output: Path
    pinned: bool
    newer: tuple[Release, ...]
    decisions: tuple[str, ...]
    steps: tuple[tuple[str, float], ...]

    @property
    def evidence(self) -> Path:
        return self.proof.evidence


@dataclass(frozen=True, kw_only=True)
class PulledFile:
    """What a pull of one file did.

    span     the bytes that were given out, from and up to without
    receipt  SHA-256 of the zone's receipt that it was given out under; None where the whole file
             was verified first
    """

    moved: Moved
    name: str
    sha256: str
    size: int
    span: tuple[int, int]
    record: str
    receipt: str | None
    audit_head: str
    decisions: tuple[str, ...]
    steps: tuple[tuple[str, float], ...]


def evidence_beside(output: Path) -> Path:
    """Where a pull puts the evidence of a model that it puts at `output`."""
    absolute = Path(os.path.abspath(output))  # noqa: PTH100 (resolve() would follow a link)
    return absolute.parent / f"{absolute.name}.evidence"
