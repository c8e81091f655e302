"""What is fetched to judge one file of a release that nobody here opened whole: that file, and all
that may say what the model was made from.

RULES 39: a base that the model's own files claim counts whichever of them is asked for. Opens the
zone's key; writes below a private folder that the caller made and will remove.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import DiskError, VerificationFailed
from sovgate.pipeline.move.pull import open_keys
from sovgate.records import Advance

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.part import Listed
    from sovgate.pipeline.move.arrived import Arrived
    from sovgate.stages.encrypt import Span

_BLOCK = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Staged:
    """`names` are looked into. `fetched` lists them and what shares a chunk with them, and `listed`
    are their units of the release's parts.
    """

    names: frozenset[str]
    fetched: Manifest
    listed: tuple[Listed, ...]

    @classmethod
    def of(cls, arrived: Arrived, name: str) -> Staged:
        from sovgate.formats.claims import is_settings
        from sovgate.formats.manifest import Manifest

        manifest = arrived.manifest
        wanted = [one for one in manifest.resources if one.name == name or is_settings(one.name)]
        names, digests = frozenset(one.name for one in wanted), {one.digest for one in wanted}
        listed: list[Listed] = []
        carried: set[str] = set()
        for part in arrived.listed:
            units = tuple(
                unit
                for unit in part.units
                if not digests.isdisjoint(content.digest for content in unit.contents)
            )
            if units:
                listed.append(replace(part, units=units))
                carried.update(content.digest for unit in units for content in unit.contents)
        fetched = Manifest(
            kind=manifest.kind,
            resources=tuple(
                one for one in manifest.resources if one.name in names or one.digest in carried
            ),
        )
        return cls(names=names, fetched=fetched, listed=tuple(listed))

    def fetch(self, arrived: Arrived, folder: Path, advance: Advance | None) -> Path:
        """Each file below `folder` verified against its signed digest: the model's root there.

        Raises VerificationFailed, KeyServiceError, StoreError, DiskError.
        """
        from sovgate.stages import transfer
        from sovgate.stages.encrypt import receive

        at = arrived.recorded
        try:
            with transfer.names_the_way_out():
                return receive(
                    self.fetched,
                    at.zone,
                    open_keys(arrived, self.listed),
                    partial(transfer.get_chunk, at.store),
                    folder,
                    advance=advance,
                )
        except DiskError as error:
            error.fix = f"{error.fix or 'see what is wrong there'}; where -o is -, TMPDIR names it"
            raise


def slice_of(path: Path, span: Span) -> Iterator[memoryview]:
    """The bytes of `span` from the file that holds its content."""
    with path.open("rb") as file:
        file.seek(span.start)
        left = span.stop - span.start
        while left and (block := file.read(min(left, _BLOCK))):
            left -= len(block)
            yield memoryview(block)
    if left:
        raise VerificationFailed(f"{path.name!r} became shorter", reason="changed-while-reading")
