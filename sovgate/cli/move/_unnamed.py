"""`sovgate push --sweep`: what lies in the stores that no record names, listed at a push's end.

Deletes nothing: that is the zone's, after the grace of `sovgate audit sweep` (RULES 14). The push
is done by then, so what cannot be listed is said, and ends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sovgate import strict
from sovgate.cli._base import option
from sovgate.cli._progress import human_bytes
from sovgate.errors import SovgateError

if TYPE_CHECKING:
    from sovgate.pipeline.look.sweep import Swept

F = TypeVar("F", bound=Callable[..., Any])
#: A row each, in text; JSON has all.
SHOWN = 20


def sweep_option(function: F) -> F:
    add = option(
        "--sweep",
        is_flag=True,
        help="Then list what lies in the store and no record names: what pushes left that ended "
        "early, or are under way. Nothing is deleted: see audit sweep.",
    )
    return add(function)


@dataclass(frozen=True, kw_only=True)
class Unnamed:
    """What one zone's store has; or why that cannot be told."""

    zone: str
    swept: Swept | None
    error: SovgateError | None

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        found = () if self.swept is None else self.swept.found
        return tuple(
            ("unnamed", f"{one.name}, {human_bytes(one.size)}, zone {self.zone}")
            for one in found[:SHOWN]
        )

    @property
    def note(self) -> str:
        if self.swept is None or self.error is not None:
            why = "" if self.error is None else f": {self.error.what}"
            return f"what no record names in the store of zone {self.zone} was not listed{why}"
        from sovgate.pipeline.look.sweep import size_of

        found = self.swept.found
        if not found:
            return f"records name all that lies in the store of zone {self.zone}"
        count = f"{len(found)} object{'' if len(found) == 1 else 's'}"
        return (
            f"{count} ({human_bytes(size_of(found))}) in the store of zone {self.zone} that no "
            "record names; pushes under way have such too. What can be deleted, after a grace: "
            f"sovgate audit sweep --zone {self.zone} -o FILE"
        )

    def json(self) -> dict[str, strict.JSON]:
        found = None if self.swept is None else self.swept.found
        return {
            "zone": self.zone,
            "objects": None
            if found is None
            else [{"name": one.name, "bytes": one.size} for one in found],
            "error": None if self.error is None else self.error.what,
        }


def unnamed(zones: Sequence[str], project: Path | None) -> tuple[Unnamed, ...]:
    from sovgate.pipeline.look.sweep import sweep

    told = []
    for zone in zones:
        try:
            told.append(Unnamed(zone=zone, swept=sweep(zone, project=project), error=None))
        except SovgateError as error:
            told.append(Unnamed(zone=zone, swept=None, error=error))
    return tuple(told)
