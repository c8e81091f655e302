"""What a branch says of a zone's overlay, and what was pushed to it. Pure data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OverlayState:
    """The overlay as it stands at `tip`. `pinned` is what it claims: a hint, never a proof.

    `release_file` is the SHA-256 of `sovgate-release.yaml`, `named` all that it names by digest.
    `live`: the overlay builds on that file; without its entry among the patches it says nothing.
    `zone` is that of a file which is a patch that gives each of its containers that release, and
    not its annotations alone; None of any other file.
    """

    tip: str
    branch: str
    pinned: str | None
    release_file: str | None
    named: frozenset[str] = frozenset()
    live: bool = False
    zone: str | None = None

    @property
    def says(self) -> str | None:
        """The release that this overlay runs, by its own word."""
        return self.pinned if self.live else None

    def pins(self, release: str, manifest: str, record: str, zone: str) -> bool:
        """Whether it says this release for this zone, and nothing else beside it."""
        wanted = {release, f"sha256:{manifest}", f"sha256:{record}"}
        return self.zone == zone and self.says == release and self.named <= wanted

    def is_as_written(self, release_file: str | None) -> bool:
        """Whether the release file has those bytes; None, of which nobody knows them, is a no."""
        return release_file is not None and self.release_file == release_file


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """`commit` pins the release: the one pushed, or where `already`, the tip that has it.

    `release_file` is the SHA-256 of the release file in it.
    """

    commit: str
    release_file: str
    branch: str
    already: bool
    attempts: int
