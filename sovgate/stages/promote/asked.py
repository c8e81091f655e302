"""Where a zone's rollout is driven from, as the project file says it. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

from sovgate.errors import Where
from sovgate.git.url import Remote


@dataclass(frozen=True, kw_only=True)
class GitTarget:
    """Where a zone's rollout is driven from. `path` is relative to the repository's root.

    `deployment` is `[KIND/][NAMESPACE/]NAME`; it and `containers` are found in the overlay's bases
    where they are not named. `accept` are fields of the overlay that kustomize runs after our
    patch, and that the project answers for. `author` is a name and
    an address, None for the user's own. `where` is the line of `sovgate.yaml`.
    """

    zone: str
    remote: Remote
    path: str
    branch: str = "main"
    via: str = "push"
    deployment: str | None = None
    containers: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    author: tuple[str, str] | None = None
    where: Where | None = None
