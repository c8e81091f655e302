"""What promote and rollback answer: typed, frozen, and nothing but data."""

from __future__ import annotations

from dataclasses import dataclass

from sovgate.records import Release


@dataclass(frozen=True, kw_only=True)
class RolledRelease:
    """A release as its zone received it; digests are SHA-256 of record and receipt."""

    release: Release
    manifest: str
    record: str
    sequence: int
    receipt: str

    @property
    def pinned(self) -> str:
        return self.release.pinned(self.manifest)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a zone's rollout is driven from; `onto` is the branch that drives it."""

    zone: str
    repo: str
    path: str
    onto: str
    via: str


@dataclass(frozen=True, kw_only=True)
class Committed:
    """What was committed, to `branch`, and what signed record and log say of it. `beside` is what
    the overlay says of what runs besides, in words: it stayed as it was.

    `promotion` is the record where the zone's branch has it, `proposal` where it waits. All but
    `branch` are None where nothing was written.
    """

    branch: str
    commit: str | None = None
    promotion: str | None = None
    proposal: str | None = None
    decision: str | None = None
    audit_head: str | None = None
    attempts: int = 0
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RolledOut:
    """What a promotion or a rollback did, or with `dry_run` would do.

    already  it was done before, and nothing was committed
    diff     what the commit changes; empty where `already`
    steps    (step, seconds)
    unchecked  what was not checked of the overlay, in words
    settled  what this run found done, and recorded first: merged proposals, runs that had died
    """

    subject: RolledRelease
    place: Place
    committed: Committed
    permits: tuple[str, ...]
    already: bool
    dry_run: bool
    diff: str
    steps: tuple[tuple[str, float], ...]
    unchecked: tuple[str, ...] = ()
    settled: tuple[Release, ...] = ()

    @property
    def proposed(self) -> bool:
        """Whether it waits for a person to merge it."""
        return self.committed.branch != self.place.onto

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.steps)


@dataclass(frozen=True, kw_only=True)
class Promoted(RolledOut):
    """`previous`: what the zone was promoted to before; `pinned`: asked for by its digest."""

    previous: Release | None
    pinned: bool


@dataclass(frozen=True, kw_only=True)
class RolledBack(RolledOut):
    """`left`: what the zone had; None where `already`, since then it is long gone.

    skipped  (release, why) that were promoted later than this one, and cannot be gone back to
    """

    left: Release | None
    reason: str
    skipped: tuple[tuple[Release, str], ...]
