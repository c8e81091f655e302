"""Makes the parts of a release from chunks that were sent, and opens them again. No store, no disk.

A part is made only when policy has said its last word: until then no key table exists (RULES 44).
A part is opened only after its chunk list is the one that its files demand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sovgate.errors import ConfigError, InternalError, KeyServiceError, UsageError
from sovgate.formats import chunk, part, wrap
from sovgate.formats.oms import GIT_NAMES
from sovgate.formats.part import Closed, Finished, Listed, Part
from sovgate.formats.wrap import Context, Wrapped
from sovgate.records import ZONE_NAME, Sized
from sovgate.stages.encrypt.receiving import Opened
from sovgate.stages.encrypt.unwrapping import release_keys
from sovgate.stages.inventory import refuse_git

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.part import GetObject
    from sovgate.formats.plan import Plan
    from sovgate.keys._api import Identity, Recipient
    from sovgate.stages.encrypt.sending import Sent


@dataclass(frozen=True, kw_only=True)
class ZoneKey:
    """A zone and what wraps keys for it."""

    zone: str
    recipient: Recipient


def require_apart(zones: Sequence[ZoneKey]) -> None:
    """Each zone once, by a key of its own. Raises UsageError, ConfigError ("shared-zone-key")."""
    if not zones:
        raise UsageError("no zone to encrypt for", fix="name one with --to", reason="no-zone")
    for zone in zones:
        if not ZONE_NAME.fullmatch(zone.zone):
            raise UsageError(f"{zone.zone[:80]!r} is not a zone's name", reason="bad-zone")
    if len({zone.zone for zone in zones}) != len(zones):
        raise UsageError("a zone is named twice", fix="name each once", reason="zone-twice")
    if len({zone.recipient.key_id for zone in zones}) != len(zones):
        raise ConfigError(
            "two zones have the same encryption key",
            why="what is encrypted for one zone could be opened in the other",
            fix="give each zone a key of its own: sovgate keys generate encrypt -o FILE",
            reason="shared-zone-key",
        )


def require_no_git(manifest: Manifest) -> None:
    """RULES 2: nothing below the root may look like Git's own to a tool that unpacks it."""
    names = [resource.name for resource in manifest.resources]
    refuse_git(name for name in names if name not in GIT_NAMES)


def close(sent: Sent, plan: Plan, recipient: Recipient, context: Context) -> Closed:
    """The parts of what was sent, each under a release key of its own, wrapped for the zone.

    Nobody else has the chunks' keys, and `sent` is not to be used again. Raises KeyServiceError.
    """
    numbers = range(1, len(plan.parts()) + 1)
    return Closed.of([close_part(sent, plan, number, recipient, context) for number in numbers])


def close_part(
    sent: Sent, plan: Plan, number: int, recipient: Recipient, context: Context, *, beside: int = 0
) -> Finished:
    """One part of what was sent, as `close`; of `sent` the chunks of that part count. `beside`: how
    many parts the release has beside those of the plan; they come after them.
    """
    ranges = plan.parts()
    units = ranges[number - 1]
    which = _Which(number, len(ranges) + beside, (units.start, len(units)), ())
    return _sent(sent, plan, which, recipient, context)


def close_shard(
    sent: Sent, plan: Plan, shard: tuple[int, int], recipient: Recipient, context: Context
) -> Finished:
    """The part of shard i of n, as `close_part`."""
    number, of = shard
    units = plan.deal(of)[number - 1]
    which = _Which(number, of, (units.start, len(units)), ())
    return _sent(sent, plan, which, recipient, context)


def _sent(
    sent: Sent, plan: Plan, which: _Which, recipient: Recipient, context: Context
) -> Finished:
    """The chunks of the units that `which` names."""
    if sent.zone != context.zone:
        raise InternalError("what was sent to one zone is closed for another")
    first, count = which.units or (0, 0)
    units = plan.units[first : first + count]
    places = range(units[0].first, units[-1].after) if units else range(0)
    return _finished(
        sent.digests[places.start : places.stop],
        sent.keys[places.start : places.stop],
        which,
        recipient,
        context,
    )


def close_reused(
    reused: Sequence[Reused], number: int, recipient: Recipient, context: Context
) -> Finished:
    """The last part, `number` of as many: units that an earlier release's chunks hold, and their
    old keys, in a table of its own. Raises KeyServiceError.
    """
    return _finished(
        [digest for one in reused for digest in one.digests],
        [key for one in reused for key in one.keys],
        _Which(number, number, None, tuple(one.contents for one in reused)),
        recipient,
        context,
    )


class Reused(Protocol):
    """A unit of an earlier release: SHA-256 of its contents in order, its chunks and their keys."""

    @property
    def contents(self) -> tuple[str, ...]: ...

    @property
    def digests(self) -> tuple[bytes, ...]: ...

    @property
    def keys(self) -> tuple[bytes, ...]: ...


class _Which(NamedTuple):
    number: int
    of: int
    units: tuple[int, int] | None
    reused: tuple[tuple[str, ...], ...]


def _finished(
    digests: Sequence[bytes],
    keys: Sequence[bytes],
    which: _Which,
    recipient: Recipient,
    context: Context,
) -> Finished:
    data, named = part.sized_list(digests)
    key = chunk.new_key()
    ad = part.table_ad(context, which.number, which.of, named.sha256)
    table = part.seal_table(keys, key, ad)
    made = Part(
        number=which.number,
        of=which.of,
        units=which.units,
        reused=which.reused,
        list=named,
        keytable=Sized(sha256=hashlib.sha256(table).hexdigest(), size=len(table)),
        recipient=Wrapped(
            key_id=recipient.key_id,
            algorithm=recipient.algorithm,
            wrapped=_wrapped(recipient, key, context),
            commit=wrap.commit(key),
        ),
    )
    return Finished(part=made, list=data, table=table)


def _wrapped(recipient: Recipient, key: bytes, context: Context) -> bytes:
    wrapped = recipient.wrap(key, context.canonical())
    if key in wrapped:
        raise KeyServiceError("the key service returned the key unwrapped", reason="not-wrapped")
    return wrapped


def open_parts(
    listed: Sequence[Listed], context: Context, identity: Identity, get: GetObject
) -> tuple[Opened, ...]:
    """Unwrap the release keys of all parts, and then open their key tables.

    Raises KeyServiceError ("wrong-key": this identity is not the one that it was encrypted for),
    VerificationFailed ("wrapped-key", "keytable", "parts"), and what `get` raises.
    """
    keys = release_keys([one.part for one in listed], context, identity)
    opened = tuple(
        Opened(
            units=one.units,
            digests=one.digests,
            keys=part.open_table(get(one.part.keytable, "key table"), key, one.part, context),
        )
        for one, key in zip(listed, keys, strict=True)
    )
    part.require_distinct([one.keys for one in opened])
    return opened
