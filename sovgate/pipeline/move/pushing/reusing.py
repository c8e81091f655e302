"""What a push takes from earlier releases of its zone, by choice, and what it leaves to later ones.

Opens the sender's own encryption key; touches the folder of --state and the zone's store, which it
only asks. Docs: formats.md, "Ledger"; RULES 8, 9, 14, 31.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import notices, strict
from sovgate.errors import ConfigError, SovgateError, VerificationFailed, disk_error
from sovgate.formats import chunk
from sovgate.formats.plan import MAX_CHUNKS, Plan, Unit
from sovgate.pipeline.move.pushing.choosing import choose, contents_of
from sovgate.pipeline.move.pushing.resuming import inside, own_key, state_folder
from sovgate.pipeline.move.results import Taken

if TYPE_CHECKING:
    from sovgate.formats.ledger import Ledger, Row, Scope, ZoneKey
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.part import Finished, Part
    from sovgate.formats.wrap import Context
    from sovgate.pipeline.move.pushing.asked import Asked
    from sovgate.stages import transfer
    from sovgate.stages.encrypt.kept import OwnKey
    from sovgate.stages.encrypt.ledger import Carried


@dataclass(frozen=True, kw_only=True, repr=False)
class Reuse:
    """Units that are in the store, in the order of the manifest; those of a dry run without keys.

    Holds secrets: its repr shows none of them.
    """

    carried: tuple[Carried, ...] = ()
    units: tuple[Unit, ...] = ()

    @property
    def contents(self) -> frozenset[str]:
        return frozenset(digest for one in self.carried for digest in one.contents)

    @property
    def digest(self) -> str | None:
        """SHA-256 of the units' contents, which stands for them in what a push keeps."""
        if not self.carried:
            return None
        named: list[strict.JSON] = [list(one.contents) for one in self.carried]
        return hashlib.sha256(strict.canonical({"reused": named})).hexdigest()

    def plan(self, manifest: Manifest) -> Plan:
        """What is left to send."""
        return Plan.of(manifest, without=self.contents)

    @property
    def read(self) -> Plan:
        """What is read and hashed, and neither encrypted nor sent."""
        return Plan(units=self.units)

    def close(self, own: int, asked: Asked, context: Context) -> Finished:
        """The part of these units, after `own` others. Raises KeyServiceError."""
        from sovgate.stages.encrypt import close_reused

        return close_reused(self.carried, own + 1, asked.recipient, context)

    @property
    def taken(self) -> tuple[Taken, ...]:
        found: dict[str, Taken] = {}
        for one, unit in zip(self.carried, self.units, strict=True):
            release = one.row.origin.release
            old = found.get(release, Taken(release=release, chunks=0, bytes=0, packs=0))
            found[release] = Taken(
                release=release,
                chunks=old.chunks + unit.chunks,
                bytes=old.bytes + unit.size + unit.chunks * chunk.OVERHEAD,
                packs=old.packs + _is_pack(unit),
            )
        return tuple(found.values())


def _is_pack(unit: Unit) -> bool:
    return unit.size < chunk.SIZE or len(unit.contents) > 1


def packs(plan: Plan) -> tuple[int, int]:
    """How many of its chunks are packs of small files, and their bytes. A small file that changes
    makes its pack new, so these are told apart from what changed.
    """
    found = [unit.size + chunk.OVERHEAD for unit in plan.units if _is_pack(unit)]
    return len(found), sum(found)


NOTHING = Reuse()


@dataclass(frozen=True, kw_only=True)
class Reusing:
    """One zone's reuse: what was found, and where the next push finds it. `base` is None where
    nothing is kept.
    """

    asked: Asked
    base: Path | None = None
    own: OwnKey | None = None
    found: Reuse = field(default=NOTHING)

    @property
    def _scope(self) -> Scope:
        return _scope(self.asked)

    def remember(
        self, record: transfer.Record, parts: Sequence[Part], sent: Iterable[Carriable]
    ) -> None:
        """When the record is in the store: write what it carries into the ledger. Where that cannot
        be done it is said, and the release is there all the same.

        `parts`: those that this run made. A record of another run has other keys, and is passed by.
        """
        from sovgate.formats.ledger import Origin, Row
        from sovgate.stages.encrypt.ledger import Carried, write_ledger

        if self.base is None or self.own is None or record.transfer.parts != tuple(parts):
            return
        today = _today(self.asked)
        origin = Origin(release=str(self.asked.release), record=record.sha256)
        carried = [
            *(
                Carried(
                    row=Row(
                        contents=tuple(content.digest for content in unit.contents),
                        digests=tuple(digests),
                        wrapped_for=frozenset({today}),
                        origin=origin,
                    ),
                    keys=tuple(keys),
                )
                for unit, digests, keys in sent
            ),
            *(
                replace(
                    one,
                    row=replace(one.row, wrapped_for=one.row.wrapped_for | {today}, origin=origin),
                )
                for one in self.found.carried
            ),
        ]
        try:
            signer = self.asked.opened.signer(self.asked.zone.name)
            write_ledger(self.base, self._scope, carried, today, signer, self.own)
        except OSError as error:
            _not_kept(disk_error(error, f"write the ledger in {str(self.base)!r}"))
        except SovgateError as error:
            _not_kept(error)


#: A unit that was sent, its chunks' SHA-256, and their keys.
Carriable = tuple[Unit, Sequence[bytes], Sequence[bytes]]


def _not_kept(error: SovgateError) -> None:
    notices.note(f"the next push cannot use this one's chunks again: {error.what}")


def find(asked: Asked, state: Path | None, *, dry_run: bool) -> Reusing:
    """What the zone's store has of the model already, by the ledger of the pushes before.

    Each chunk is asked for in the store (RULES 14), each release for its record: what a record
    names is no garbage. What cannot be used is sent anew, and that is said.

    Raises ConfigError ("reuse-needs-key"), UsageError ("state-inside"), KeyServiceError,
    StoreError.
    """
    if not asked.to.reuse:
        return Reusing(asked=asked)
    own = _own(asked)
    if asked.outgoing.copy is not None:
        notices.note(
            "what `encrypt` made shares no chunk with an earlier release: reuse is no help"
        )
        return Reusing(asked=asked)
    base, why = state_folder(state), "this user has no home"
    if base is not None and (error := inside(base, asked)) is not None:
        if state is not None:
            raise error
        base, why = None, error.what
    if base is None:
        notices.note(f"nothing is used again, now or later: {why}; name a folder with --state")
        return Reusing(asked=asked)
    off = Reusing(asked=asked, base=base, own=own)
    ledger = _read(asked, base, own)
    if ledger is None:
        return off
    today = _today(asked)
    rows = [row for row in ledger.sheet.rows if row.wrapped_for <= {today}]
    chosen = choose(rows, asked, dry_run=dry_run)
    if not chosen:
        return off
    keys = dict.fromkeys(chosen, ()) if dry_run else _keys(asked, ledger, own)
    if keys is None:
        return off
    found = _reuse(chosen, keys, asked)
    if found.plan(asked.outgoing.manifest).chunks + found.read.chunks > MAX_CHUNKS:
        notices.note("nothing is used again: the release would have too many chunks")
        return off
    return replace(off, found=found)


def require_key(asked: Asked) -> None:
    """Before anything is asked: whether a ledger can be kept, where the project wants one.

    Raises ConfigError, reason "reuse-needs-key".
    """
    if asked.to.reuse:
        _own(asked)


def _own(asked: Asked) -> OwnKey:
    own = own_key(asked.opened, asked.zone.name)
    if own is None:
        zone, to = asked.zone.name, asked.to.name
        raise ConfigError(
            f"zone {zone} has no key to keep the keys of its chunks under",
            why=f"zones.{to}.store.reuse is true: later releases use again what is sent, and "
            f"{zone} keeps the keys of it, encrypted by its own `encrypt` key",
            fix=f"make one, sovgate keys generate encrypt -o keys/{zone}-own.pem, and name it in "
            f"zones.{zone}.keys.encrypt; or remove reuse",
            where=asked.opened.config.where(f"zones.{to}.store"),
            reason="reuse-needs-key",
        )
    return own


def _scope(asked: Asked) -> Scope:
    from sovgate.formats.ledger import Scope

    return Scope(source=asked.zone.name, zone=asked.to.name, store=asked.store.uri)


def _today(asked: Asked) -> ZoneKey:
    """The one key that the destination has: what any other ever wrapped is not used (RULES 8)."""
    from sovgate.formats.ledger import ZoneKey

    return ZoneKey(key_id=asked.recipient.key_id, algorithm=asked.recipient.algorithm)


def _unused(asked: Asked, error: SovgateError) -> None:
    notices.note(
        f"the ledger of what zone {asked.to.name} has from here is not used, and all is sent "
        f"anew: {error.what}"
    )


def _read(asked: Asked, base: Path, own: OwnKey) -> Ledger | None:
    from sovgate.stages.encrypt.ledger import read_ledger, require_own

    try:
        found = read_ledger(base, _scope(asked), asked.opened.signer(asked.zone.name))
        if found is not None:
            require_own(found, own)
    except OSError as error:
        _unused(asked, disk_error(error, f"read the ledger in {str(base)!r}"))
    except SovgateError as error:
        _unused(asked, error)
    else:
        return found
    return None


def _keys(asked: Asked, ledger: Ledger, own: OwnKey) -> Mapping[Row, tuple[bytes, ...]] | None:
    from sovgate.stages.encrypt.ledger import open_keys

    try:
        keys = open_keys(ledger, own)
    except VerificationFailed as error:
        _unused(asked, error)
        return None
    rows = zip(ledger.sheet.rows, ledger.sheet.starts, strict=True)
    return {row: keys[at : at + len(row.digests)] for row, at in rows}


def _reuse(chosen: Sequence[Row], keys: Mapping[Row, tuple[bytes, ...]], asked: Asked) -> Reuse:
    from sovgate.stages.encrypt.ledger import Carried

    contents = contents_of(asked.outgoing.manifest)
    units: list[Unit] = []
    first = 0
    for row in chosen:
        group = tuple(contents[digest] for digest in row.contents)
        unit = Unit(contents=group, first=first, size=sum(one.size for one in group))
        units.append(unit)
        first = unit.after
    return Reuse(
        carried=tuple(Carried(row=row, keys=keys[row]) for row in chosen), units=tuple(units)
    )
