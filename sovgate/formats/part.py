"""A part of a release: some units of the plan, their chunk list, their key table. No I/O.

The **chunk list** is the chunks' SHA-256, 32 raw bytes each, in the plan's order. The **key table**
is their keys, likewise, in one AES-256-GCM encryption under the part's release key, the only one
that this key ever makes. docs/formats.md, "Part".
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.errors import InternalError, Malformed, VerificationFailed
from sovgate.files import MAX_ENTRIES
from sovgate.formats import chunk
from sovgate.formats._common import read_sized
from sovgate.formats.plan import MAX_CHUNKS, MAX_PARTS, Content, Plan, Unit
from sovgate.formats.wrap import Wrapped
from sovgate.records import Sized

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.wrap import Context

#: Gives the bytes of a chunk list or key table; the second word is what it is, for errors.
GetObject = Callable[[Sized, str], bytes]
DIGEST_SIZE = 32
TABLE_FORMAT = "sovgate.keytable/v0"


@dataclass(frozen=True, kw_only=True)
class Part:
    """`number` of `of`, from 1. `units`: first place and count in the release's own plan; or, in
    `reused`, units that an earlier release's plan cut: each the SHA-256 of its contents, in order.
    """

    number: int
    of: int
    units: tuple[int, int] | None
    reused: tuple[tuple[str, ...], ...]
    list: Sized
    keytable: Sized
    recipient: Wrapped

    def json(self) -> dict[str, strict.JSON]:
        return {
            "number": self.number,
            "of": self.of,
            "units": self.units and {"first": self.units[0], "count": self.units[1]},
            "reused": [list(unit) for unit in self.reused],
            "list": self.list.json(),
            "keytable": self.keytable.json(),
            "recipient": self.recipient.json(),
        }

    @classmethod
    def read(cls, fields: strict.Fields) -> Part:
        """Raises Malformed."""
        part = cls(
            number=fields.integer("number", least=1, most=MAX_PARTS),
            of=fields.integer("of", least=1, most=MAX_PARTS),
            units=fields.nullable("units", lambda name: _range(fields.object(name))),
            reused=tuple(_digests(fields, unit) for unit in fields.list("reused")),
            list=read_sized(fields.object("list"), most=MAX_CHUNKS * DIGEST_SIZE),
            keytable=read_sized(fields.object("keytable"), most=_table_size(MAX_CHUNKS)),
            recipient=Wrapped.read(fields.object("recipient")),
        )
        fields.done()
        if part.number > part.of:
            raise Malformed(f"{fields.path} is number {part.number} of {part.of}")
        if (part.units is None) == (not part.reused):
            raise Malformed(f"{fields.path} names units of its own plan or of an earlier one")
        if part.list.size % DIGEST_SIZE or part.keytable.size != _table_size(part.chunks):
            raise Malformed(f"{fields.path}: the chunk list and the key table do not fit")
        return part

    @property
    def chunks(self) -> int:
        return self.list.size // DIGEST_SIZE

    def associated_data(self, context: Context) -> bytes:
        """What this part's key table is bound to."""
        return table_ad(context, self.number, self.of, self.list.sha256)


def _table_size(chunks: int) -> int:
    return chunks * chunk.KEY_SIZE + chunk.OVERHEAD


def _range(fields: strict.Fields) -> tuple[int, int]:
    most = MAX_ENTRIES
    found = fields.integer("first", most=most), fields.integer("count", most=most)
    fields.done()
    return found


def _digests(fields: strict.Fields, unit: strict.JSON) -> tuple[str, ...]:
    if not isinstance(unit, list) or not unit or not all(map(strict.is_sha256, unit)):
        raise Malformed(f"{fields.path}.reused has a unit that is no list of SHA-256")
    return tuple(unit)


# -- the chunk list


def sized_list(digests: Sequence[bytes]) -> tuple[bytes, Sized]:
    """The chunk list's bytes, and what names it."""
    data = b"".join(digests)
    if len(data) != DIGEST_SIZE * len(digests):
        raise InternalError("a chunk's digest has the wrong length")
    return data, Sized(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def read_list(data: bytes, part: Part) -> tuple[bytes, ...]:
    """The digests in a chunk list, if it is the one that the part names.

    Raises VerificationFailed ("chunk-list").
    """
    if len(data) != part.list.size or hashlib.sha256(data).hexdigest() != part.list.sha256:
        raise _wrong(part, "its chunk list is not the one that was signed", "chunk-list")
    digests = tuple(data[at : at + DIGEST_SIZE] for at in range(0, len(data), DIGEST_SIZE))
    if len(set(digests)) != len(digests):
        raise _wrong(part, "its chunk list names a chunk twice", "chunk-list")
    return digests


# -- the key table


def table_ad(context: Context, number: int, of: int, chunk_list: str) -> bytes:
    """Format, zone, release, manifest, part i of n, SHA-256 of the chunk list."""
    return strict.canonical(
        {
            "format": TABLE_FORMAT,
            "zone": context.zone,
            "release": context.release,
            "manifest": context.manifest,
            "part": number,
            "parts": of,
            "list": chunk_list,
        }
    )


def seal_table(
    keys: Sequence[bytes], release_key: bytes, ad: bytes, *, iv: bytes | None = None
) -> bytes:
    """The encrypted key table. The caller uses `release_key` for this alone. `iv` is random; only
    test vectors name it.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    _check_keys(keys)
    if len(release_key) != chunk.KEY_SIZE:
        raise InternalError("a release key has the wrong length")
    iv = chunk.new_iv() if iv is None else iv
    return iv + AESGCM(release_key).encrypt(iv, b"".join(keys), ad)


def open_table(data: bytes, release_key: bytes, part: Part, context: Context) -> tuple[bytes, ...]:
    """A key for each chunk of the part's list, in its order.

    The caller has compared `release_key` with the recipient's commitment. Raises VerificationFailed
    ("keytable"), which tells nothing of the keys.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(data) != part.keytable.size or hashlib.sha256(data).hexdigest() != part.keytable.sha256:
        raise _wrong(part, "its key table is not the one that was signed", "keytable")
    iv, sealed = data[: chunk.IV_SIZE], data[chunk.IV_SIZE :]
    try:
        opened = AESGCM(release_key).decrypt(iv, sealed, part.associated_data(context))
    except InvalidTag:
        raise _wrong(part, "its key table does not open for this release", "keytable") from None
    keys = tuple(opened[at : at + chunk.KEY_SIZE] for at in range(0, len(opened), chunk.KEY_SIZE))
    if len(set(keys)) != len(keys):
        raise _wrong(part, "its key table has a key twice", "keytable")
    return keys


def _check_keys(keys: Sequence[bytes]) -> None:
    if any(len(key) != chunk.KEY_SIZE for key in keys) or len(set(keys)) != len(keys):
        raise InternalError("a chunk's key has the wrong length, or is used twice")


# -- all parts of a release


def read_parts(fields: strict.Fields) -> tuple[Part, ...]:
    """The field `parts`: at least one, all for one key. Raises Malformed.

    Whether together they carry a model, `arrange` says.
    """
    parts = tuple(Part.read(item) for item in fields.objects("parts", most=MAX_PARTS))
    if not parts:
        raise Malformed(f"{fields.path} has no part")
    if len({(part.recipient.key_id, part.recipient.algorithm) for part in parts}) != 1:
        raise Malformed(f"{fields.path}.parts are for different keys")
    for what, named in (
        ("number", {part.number for part in parts}),
        ("key table", {part.keytable.sha256 for part in parts}),
        ("commitment", {part.recipient.commit for part in parts}),
    ):
        if len(named) != len(parts):
            raise Malformed(f"{fields.path}.parts have one {what} twice")
    return parts


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A part and the units it carries: `Unit.first` counts from the part's own first chunk."""

    part: Part
    units: tuple[Unit, ...]


def arrange(manifest: Manifest, parts: Sequence[Part]) -> tuple[Carried, ...]:
    """The parts by number, if together they carry each content of the model exactly once.

    Raises VerificationFailed ("parts"): a part is missing, there twice, or of another number of
    parts; a content is carried twice or by none; a chunk list has another length than its units.
    """
    ordered = sorted(parts, key=lambda part: part.number)
    numbers = [(part.number, part.of) for part in ordered]
    if not ordered or numbers != [(n, len(ordered)) for n in range(1, len(ordered) + 1)]:
        raise _not_whole("its parts are not each there once")
    contents = {c.digest: c for c in Plan.of(manifest).contents}
    named = [digest for part in ordered for unit in part.reused for digest in unit]
    if len(set(named)) != len(named) or not contents.keys() >= set(named):
        raise _not_whole("it reuses what the model has not, or one content twice")
    plan = Plan.of(manifest, without=frozenset(named))
    # First: parts that overlap would name many times what the model has.
    _check_ranges([part.units for part in ordered if part.units is not None], len(plan.units))
    carried = tuple(
        Carried(part=part, units=tuple(_placed(_units(part, plan, contents)))) for part in ordered
    )
    for one in carried:
        if sum(unit.chunks for unit in one.units) != one.part.chunks:
            raise _not_whole(
                f"part {one.part.number} has {one.part.chunks} chunks; its files demand "
                f"{sum(unit.chunks for unit in one.units)}"
            )
    if sum(one.part.chunks for one in carried) > MAX_CHUNKS:
        raise _not_whole(f"it has more than {MAX_CHUNKS} chunks")
    return carried


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A part whose chunk list is the signed one, and as long as its files demand. No secret."""

    part: Part
    units: tuple[Unit, ...]
    digests: tuple[bytes, ...]

    @property
    def chunks(self) -> tuple[Sized, ...]:
        """Name and size of each chunk, in order."""
        return tuple(
            Sized(sha256=self.digests[place].hex(), size=unit.length(place) + chunk.OVERHEAD)
            for unit in self.units
            for place in range(unit.first, unit.after)
        )


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One part, with its chunk list and its encrypted key table. No secret."""

    part: Part
    list: bytes
    table: bytes


@dataclass(frozen=True, kw_only=True)
class Closed:
    """All parts of a release by number, with the chunk list and the encrypted key table of each."""

    parts: tuple[Part, ...]
    lists: tuple[bytes, ...]
    tables: tuple[bytes, ...]

    @classmethod
    def of(cls, finished: Sequence[Finished]) -> Closed:
        return cls(
            parts=tuple(one.part for one in finished),
            lists=tuple(one.list for one in finished),
            tables=tuple(one.table for one in finished),
        )


def read_lists(manifest: Manifest, parts: Sequence[Part], get: GetObject) -> tuple[Listed, ...]:
    """The parts with their chunk lists, held against the signed manifest. No key is asked for.

    Raises VerificationFailed ("parts", "chunk-list", "two-sizes", "limits"), and what `get` raises.
    """
    listed = tuple(
        Listed(
            part=one.part,
            units=one.units,
            digests=read_list(get(one.part.list, "chunk list"), one.part),
        )
        for one in arrange(manifest, parts)
    )
    _distinct([one.digests for one in listed], "one chunk stands in two chunk lists")
    return listed


def _units(part: Part, plan: Plan, contents: dict[str, Content]) -> Iterator[tuple[Content, ...]]:
    if part.units is not None:
        first, count = part.units
        yield from (unit.contents for unit in plan.units[first : first + count])
        return
    for unit in part.reused:
        group = tuple(contents[digest] for digest in unit)
        size = sum(content.size for content in group)
        if len(group) > 1 and (
            size > chunk.SIZE or any(content.size >= chunk.SIZE for content in group)
        ):
            raise _not_whole(f"part {part.number} reuses a pack that no plan makes")
        yield group


def _placed(groups: Iterator[tuple[Content, ...]]) -> Iterator[Unit]:
    place = 0
    for group in groups:
        unit = Unit(contents=group, first=place, size=sum(content.size for content in group))
        yield unit
        place = unit.after


def _check_ranges(ranges: Sequence[tuple[int, int]], units: int) -> None:
    """Each unit of the release's own plan in one part."""
    filled = sorted(one for one in ranges if one[1])
    ends = [0, *(first + count for first, count in filled)]
    starts = [*(first for first, _ in filled), units]
    if ends != starts or any(first > units for first, _ in ranges):
        raise _not_whole("its parts carry a file twice, or one not at all")


def require_distinct(keys: Sequence[Sequence[bytes]]) -> None:
    """No key serves two chunks, in whichever parts they are. Raises VerificationFailed."""
    _distinct(keys, "one key stands in two key tables")


def _distinct(values: Sequence[Sequence[bytes]], why: str) -> None:
    if len(set(itertools.chain.from_iterable(values))) != sum(map(len, values)):
        raise _not_whole(why)


def _not_whole(why: str) -> VerificationFailed:
    return VerificationFailed(
        "the release does not carry its model",
        why=why,
        fix="have its source encrypt the model again, and push it under a new version",
        reason="parts",
    )


def _wrong(part: Part, why: str, reason: str) -> VerificationFailed:
    return VerificationFailed(
        f"part {part.number} of {part.of} of the encrypted model is damaged",
        why=why,
        fix="have its source encrypt the model again, and push it under a new version",
        reason=reason,
    )
