"""Rules over one dataset manifest, beside what its reader refuses."""

from __future__ import annotations

from collections.abc import Iterator

from sovgate.config import DatasetRef
from sovgate.errors import Where
from sovgate.formats.dataset import DatasetManifest
from sovgate.lint._api import Finding

PERSONAL = ("personal", "special-category")


def check(
    manifest: DatasetManifest, where: Where, declared: DatasetRef | None
) -> Iterator[Finding]:
    """`declared` is the project's entry where the project names this manifest."""
    if manifest.stays_in is None:
        yield Finding(
            rule="unknown-residence",
            severity="warning",
            where=where,
            message=f"where {manifest.id} must stay is null: unknown, which denies",
            fix="write stays-in: [EU], or stays-in: [] if it may go anywhere",
        )
    if manifest.category in PERSONAL and manifest.commitment is None:
        yield Finding(
            rule="personal-without-commitment",
            severity="warning",
            where=where,
            message=f"{manifest.id} is {manifest.category} and has no commitment",
            fix=f"in its zone: sovgate data commit PATH --dataset {manifest.id} "
            "--epoch YYYY-MM --key FILE",
        )
    if manifest.category in PERSONAL and manifest.stays_in == ():
        yield Finding(
            rule="personal-but-free",
            severity="warning",
            where=where,
            message=f"{manifest.id} is {manifest.category}, but may go anywhere",
            fix="write stays-in: with the places where it must stay by law",
        )
    if declared is not None and declared.category not in (None, manifest.category):
        yield Finding(
            rule="category-differs",
            severity="error",
            where=where,
            message=f"its category is {manifest.category}, the project says {declared.category}",
            fix="make both say the same",
        )
