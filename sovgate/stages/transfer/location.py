"""Where a store says that it lies, against where its zone was declared. Asks the Store only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate.errors import ResidencyMismatch
from sovgate.records import GRADE

if TYPE_CHECKING:
    from sovgate.stores._api import Store


@dataclass(frozen=True, kw_only=True)
class Located:
    """`value` is `provider:region`, None where the provider would not say (grade 0: unknown)."""

    value: str | None
    grade: int
    source: str


def locate(store: Store, *, zone: str, declared: str) -> Located:
    """Ask where the store lies. A folder has nobody to ask: what was declared is all we know.

    Raises ResidencyMismatch (12) where it lies elsewhere than the zone was declared to.
    """
    said = store.location()
    if said is None:
        return Located(value=declared, grade=GRADE["declared"], source="project file")
    if said.value is None:
        return Located(value=None, grade=GRADE["unknown"], source=said.source)
    if said.value != declared:
        raise ResidencyMismatch(
            f"the store of zone {zone} is in {said.value}",
            why=f"{said.source} says so of {store.uri}; the zone was declared as {declared}",
            fix=f"name a store in {declared} under zones.{zone}.store",
            reason="store-elsewhere",
        )
    return Located(value=said.value, grade=said.grade, source=said.source)
