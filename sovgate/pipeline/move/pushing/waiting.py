"""keys kept: what pushes that ended early keep on this machine, and how it is given up.

Reads and removes in the folder of --state, and touches no other place; needs no project.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sovgate.errors import DiskError, UsageError
from sovgate.pipeline.move.pushing.resuming import default_state
from sovgate.records import Release
from sovgate.stages import audit
from sovgate.stages.encrypt.waiting import Waiting, remove, waiting


@dataclass(frozen=True, kw_only=True)
class Kept:
    """`found`, the oldest first, as they were before; `removed` of them are gone."""

    state: Path
    now: datetime
    found: tuple[Waiting, ...]
    removed: tuple[Waiting, ...]

    def age(self, one: Waiting) -> timedelta:
        return max(self.now - datetime.fromtimestamp(one.changed, UTC), timedelta())


def kept(
    release: Release | None = None,
    *,
    state: Path | None = None,
    days: int | None = None,
    removing: bool = False,
) -> Kept:
    """What is kept in `state`, by default in the folder of this user: of `release` alone, and of
    `days` and older. `removing`: it is given up, but for what a push has just now.

    Raises UsageError ("no-state"), DiskError ("unsafe-state" too).
    """
    folder = state or default_state()
    if folder is None:
        raise UsageError(
            "this user has no home, where keys of pushes would be kept",
            fix="name the folder of your pushes with --state",
            reason="no-state",
        )
    now = audit.utc_now()
    every = Kept(state=folder, now=now, found=waiting(folder), removed=())
    least = timedelta(days=days or 0)
    found = tuple(one for one in every.found if _is_of(one, release) and every.age(one) >= least)
    removed = _removed(found) if removing else ()
    return Kept(state=folder, now=now, found=found, removed=removed)


def _is_of(one: Waiting, release: Release | None) -> bool:
    if release is None:
        return True
    if one.course is None or one.course.release != str(
        Release(model=release.model, version=release.version)
    ):
        return False
    return release.pin in (None, one.course.manifest)


def _removed(found: Sequence[Waiting]) -> tuple[Waiting, ...]:
    """One that cannot be removed keeps none of the others."""
    gone, errors = [], []
    for one in found:
        try:
            if one.safe and remove(one):
                gone.append(one)
        except DiskError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return tuple(gone)
