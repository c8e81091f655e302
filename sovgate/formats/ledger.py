"""The sender's ledger: which chunks an earlier release brought to a zone, and their keys. No I/O.

Only where a project asks for reuse. One file: a header that the sending zone's key signed, and the
three documents that it names. docs/formats.md, "Ledger".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

from sovgate import strict
from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats import chunk
from sovgate.formats._common import read_release, read_sized, read_zone
from sovgate.formats.envelope import pae
from sovgate.formats.part import DIGEST_SIZE
from sovgate.formats.plan import MAX_CHUNKS
from sovgate.formats.resume import MAX_DOCUMENT, Signed
from sovgate.formats.wrap import Wrapped
from sovgate.records import Sized

FORMAT = "sovgate.ledger/v0"
_KEY_FORMAT = "sovgate.ledger-key/v0"
_TABLE_FORMAT = "sovgate.ledger-table/v0"
#: No other thing that a zone signs has this type, so no signature of them passes for this one.
_SIGNED_AS = "application/vnd.sovgate.ledger.v0+json"
#: What the names of ledgers' folders begin with; kept keys lie beside them.
PREFIX = "ledger-"
#: Keys of the zone that may be named: those of today, and a few of before.
MAX_KEYS = 16
MAX_UNITS_BYTES = strict.MAX_BYTES
_MAX_TEXT = 4096
_MAX_TABLE = MAX_CHUNKS * chunk.KEY_SIZE + chunk.OVERHEAD
#: Of the whole file.
MAX_LEDGER = 2 * MAX_DOCUMENT + MAX_UNITS_BYTES + MAX_CHUNKS * DIGEST_SIZE + _MAX_TABLE


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Whose ledger of what it is: zones from and to, and the store's URI."""

    source: str
    zone: str
    store: str

    def json(self) -> dict[str, strict.JSON]:
        return {"source": self.source, "zone": self.zone, "store": self.store}

    @classmethod
    def read(cls, fields: strict.Fields) -> Scope:
        scope = cls(
            source=read_zone(fields, "source"),
            zone=read_zone(fields, "zone"),
            store=fields.text("store", max_length=_MAX_TEXT),
        )
        fields.done()
        return scope

    @property
    def name(self) -> str:
        """Of its folder: PREFIX, and the SHA-256 of these fields in hex."""
        return PREFIX + hashlib.sha256(strict.canonical(self.json())).hexdigest()

    def context(self) -> bytes:
        """What the ledger key is wrapped for. No release key and no outbox key has this context."""
        return strict.canonical(
            {"format": _KEY_FORMAT, "zone": self.source, "to": self.zone, "store": self.store}
        )


@dataclass(frozen=True, kw_only=True, order=True)
class ZoneKey:
    """A zone's encryption key, by its id and algorithm."""

    key_id: str
    algorithm: str

    def json(self) -> dict[str, strict.JSON]:
        return {"key-id": self.key_id, "algorithm": self.algorithm}

    @classmethod
    def read(cls, fields: strict.Fields) -> ZoneKey:
        key = cls(
            key_id=fields.text("key-id", max_length=_MAX_TEXT),
            algorithm=fields.text("algorithm", max_length=64),
        )
        fields.done()
        return key


@dataclass(frozen=True, kw_only=True, order=True)
class Origin:
    """A release whose record names these chunks: `NAME/VERSION`, and the record's SHA-256."""

    release: str
    record: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One unit: SHA-256 of its contents in order, its chunks, and every key of the zone that ever
    wrapped what opens them (RULES 8). No secret.
    """

    contents: tuple[str, ...]
    digests: tuple[bytes, ...]
    wrapped_for: frozenset[ZoneKey]
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What a ledger says, without its keys: a row a unit; the chunks' keys stand in rows' order."""

    scope: Scope
    rows: tuple[Row, ...]

    @property
    def chunks(self) -> int:
        return sum(len(row.digests) for row in self.rows)

    @property
    def starts(self) -> list[int]:
        """Of each row the place of its first chunk."""
        return list(accumulate((len(row.digests) for row in self.rows), initial=0))[:-1]

    def check(self) -> None:
        """Raises Malformed: a unit, a chunk or a content stands where it cannot."""
        digests = list(chain.from_iterable(row.digests for row in self.rows))
        if len(digests) > MAX_CHUNKS:
            raise Malformed("a ledger has too many chunks")
        if len(set(digests)) != len(digests):
            raise Malformed("a ledger names a chunk twice")
        if len({row.contents for row in self.rows}) != len(self.rows):
            raise Malformed("a ledger names a unit twice")
        for row in self.rows:
            if not row.contents or len(set(row.contents)) != len(row.contents):
                raise Malformed("a unit of a ledger names no content, or one twice")
            if not row.digests or not row.wrapped_for:
                raise Malformed("a unit of a ledger has no chunk, or was wrapped for nobody")
            if len(row.contents) > 1 and len(row.digests) > 1:
                raise Malformed("a pack of a ledger has more than one chunk")


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """A ledger as it lies on the disk: what it says, who opens its keys, and these, encrypted."""

    sheet: Sheet
    recipient: Wrapped
    table: bytes
    _ad: bytes

    def keys(self, ledger_key: bytes) -> tuple[bytes, ...]:
        """The chunks' keys in rows' order. The caller compared `ledger_key` with its commitment.

        Raises VerificationFailed ("ledger"): it does not open, or has a key twice.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        iv, sealed = self.table[: chunk.IV_SIZE], self.table[chunk.IV_SIZE :]
        try:
            opened = AESGCM(ledger_key).decrypt(iv, sealed, self._ad)
        except InvalidTag:
            raise VerificationFailed("the ledger's keys do not open", reason="ledger") from None
        keys = tuple(_cut(opened, chunk.KEY_SIZE))
        if len(set(keys)) != len(keys):
            raise VerificationFailed("the ledger has a key twice", reason="ledger")
        return keys

    @classmethod
    def parse(cls, header: bytes, body: bytes) -> Ledger:
        """`header`: what was signed, and whose signature the caller verified; `body`: what follows
        it. Raises Malformed.
        """
        top = strict.Fields(strict.loads_canonical(header), "ledger")
        top.exactly("format", FORMAT)
        scope = Scope.read(top.object("scope"))
        keys = tuple(ZoneKey.read(one) for one in top.objects("keys", most=MAX_KEYS))
        units = read_sized(top.object("units"), most=MAX_UNITS_BYTES)
        listed = read_sized(top.object("list"), most=MAX_CHUNKS * DIGEST_SIZE)
        table = read_sized(top.object("keytable"), most=_MAX_TABLE)
        recipient = Wrapped.read(top.object("recipient"))
        top.done()
        if len(set(keys)) != len(keys):
            raise Malformed("a ledger names a key of the zone twice")
        first, second, third = _split(body, (units, listed, table))
        digests = tuple(_cut(second, DIGEST_SIZE))
        if table.size != len(digests) * chunk.KEY_SIZE + chunk.OVERHEAD:
            raise Malformed("the ledger's list and its key table do not fit")
        sheet = Sheet(scope=scope, rows=tuple(_read_rows(first, digests, keys)))
        sheet.check()
        return cls(sheet=sheet, recipient=recipient, table=third, _ad=_ad(scope, units, listed))


def sealed(
    sheet: Sheet,
    keys: Sequence[bytes],
    ledger_key: bytes,
    recipient: Wrapped,
    *,
    iv: bytes | None = None,
) -> tuple[bytes, bytes]:
    """The header, which is to be signed, and what follows it. `ledger_key` is new, and encrypts
    `keys` alone; `recipient` wraps it. `iv` is random; only test vectors name it.

    Raises Malformed, as `Sheet.check`.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    sheet.check()
    if len(keys) != sheet.chunks or len(set(keys)) != len(keys):
        raise Malformed("a ledger has not one key for each chunk")
    named = sorted({key for row in sheet.rows for key in row.wrapped_for})
    units = strict.canonical(_rows_json(sheet, {key: at for at, key in enumerate(named)}))
    listed = b"".join(chain.from_iterable(row.digests for row in sheet.rows))
    iv = chunk.new_iv() if iv is None else iv
    ad = _ad(sheet.scope, Sized.of(units), Sized.of(listed))
    table = iv + AESGCM(ledger_key).encrypt(iv, b"".join(keys), ad)
    header = strict.canonical(
        {
            "format": FORMAT,
            "scope": sheet.scope.json(),
            "keys": [key.json() for key in named],
            "units": Sized.of(units).json(),
            "list": Sized.of(listed).json(),
            "keytable": Sized.of(table).json(),
            "recipient": recipient.json(),
        }
    )
    return header, units + listed + table


def signed_bytes(header: bytes) -> bytes:
    """What the sending zone's own key signs."""
    return pae(_SIGNED_AS, header)


def joined(signed: Signed, body: bytes) -> bytes:
    """The file: a line, and the three documents."""
    return signed.canonical() + b"\n" + body


def parted(data: bytes) -> tuple[Signed, bytes]:
    """Raises Malformed."""
    end = data.find(b"\n", 0, 2 * MAX_DOCUMENT)
    if end < 0:
        raise Malformed("a ledger has no header")
    line, body = data[:end], data[end + 1 :]
    return Signed.parse(line), body


def row_size(row: Row) -> int:
    """At most so many bytes of the units' document, with its release."""
    return 400 + 70 * len(row.contents)


def _ad(scope: Scope, units: Sized, listed: Sized) -> bytes:
    return strict.canonical(
        {
            "format": _TABLE_FORMAT,
            "scope": scope.json(),
            "units": units.sha256,
            "list": listed.sha256,
        }
    )


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    if len(data) % size:
        raise Malformed("a ledger has half a digest or key")
    return (data[at : at + size] for at in range(0, len(data), size))


def _split(body: bytes, named: Sequence[Sized]) -> list[bytes]:
    """The documents of a body, each the one that the header names."""
    found: list[bytes] = []
    at = 0
    for sized in named:
        data = body[at : at + sized.size]
        at += sized.size
        if Sized.of(data) != sized:
            raise Malformed("a part of the ledger is not the one that was signed")
        found.append(data)
    if at != len(body):
        raise Malformed("the ledger is longer than what was signed")
    return found


def _rows_json(sheet: Sheet, places: dict[ZoneKey, int]) -> dict[str, strict.JSON]:
    origins = sorted({row.origin for row in sheet.rows})
    numbers = {origin: at for at, origin in enumerate(origins)}
    return {
        "releases": [{"release": one.release, "record": one.record} for one in origins],
        "units": [
            {
                "contents": list(row.contents),
                "chunks": len(row.digests),
                "keys": sorted(places[key] for key in row.wrapped_for),
                "release": numbers[row.origin],
            }
            for row in sheet.rows
        ],
    }


def _read_rows(data: bytes, digests: Sequence[bytes], keys: Sequence[ZoneKey]) -> Iterator[Row]:
    top = strict.Fields(strict.loads_canonical(data), "units")
    origins = [_origin(one) for one in top.objects("releases")]
    at = 0
    for one in top.objects("units"):
        count = one.integer("chunks", least=1, most=MAX_CHUNKS)
        contents = one.list("contents")
        named = one.list("keys", most=MAX_KEYS)
        release = one.integer("release", most=len(origins) - 1) if origins else -1
        one.done()
        if release < 0 or not all(map(strict.is_sha256, contents)):
            raise Malformed(f"{one.path} is no unit of a release")
        if named != sorted(set(map(_place, named))) or named[-1:] >= [len(keys)]:
            raise Malformed(f"{one.path}.keys are not those of the header")
        yield Row(
            contents=tuple(map(str, contents)),
            digests=tuple(digests[at : at + count]),
            wrapped_for=frozenset(keys[_place(place)] for place in named),
            origin=origins[release],
        )
        at += count
    top.done()
    if at != len(digests):
        raise Malformed("the ledger's units have other chunks than its list")


def _origin(fields: strict.Fields) -> Origin:
    origin = Origin(release=str(read_release(fields, "release")), record=fields.sha256("record"))
    fields.done()
    return origin


def _place(value: strict.JSON) -> int:
    if type(value) is not int or value < 0:
        raise Malformed("a unit of a ledger names a key by no place")
    return value
