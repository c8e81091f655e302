"""What a store adapter gives. Imports no SDK.

Names are the layout's own (`chunks/sha256/<hex>`, `releases/<model>/<version>.json`, …): relative,
ASCII, `/`-separated. Every write is create-only: a name is there whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Protocol, runtime_checkable

from sovgate.errors import ConfigError, VerificationFailed
from sovgate.records import Sized

#: One part of a name. Lower case, so that no two names meet on a case-folding file system.
_PART = re.compile(r"[a-z0-9][a-z0-9._-]{0,191}", re.ASCII)
MAX_PARTS = 8

#: What `put` takes whole.
Bytes = bytes | bytearray | memoryview


def check_name(name: str) -> tuple[str, ...]:
    """The parts of a name of the layout. Raises VerificationFailed, reason "unsafe-name"."""
    parts = tuple(name.split("/"))
    if len(parts) > MAX_PARTS or not all(_PART.fullmatch(part) for part in parts):
        raise VerificationFailed(
            f"{name[:160]!r} is not a name of the store layout",
            fix="find out who put it in the store, and remove it",
            reason="unsafe-name",
        )
    return parts


def prefix_of(text: str) -> str:
    """The prefix of a store's URI without its last "/". Raises ConfigError, reason "bad-uri"."""
    prefix = text.removesuffix("/")
    try:
        if prefix:
            check_name(prefix)
    except VerificationFailed as error:
        raise ConfigError(
            f"{prefix[:80]!r} cannot be the prefix of a store",
            fix="use a-z, 0-9, '.', '_' and '-', in parts between '/'",
            reason="bad-uri",
        ) from error
    return prefix


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a provider says that a store lies.

    `value` is `provider:region`, None if it will not say;
    `grade` is records.GRADE of the answer; `source` says who answered ("GetBucketLocation").
    """

    value: str | None
    grade: int
    source: str


@dataclass(frozen=True, kw_only=True)
class Stat:
    """`sha256` only where the provider keeps a cryptographic checksum of the whole object."""

    size: int
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An object of a listing; `written` only where the store tells when that was."""

    name: str
    size: int
    written: datetime | None


@runtime_checkable
class Dated(Protocol):
    """What a store may be able to do besides: list objects with their sizes and times."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """As `Store.list`."""
        ...


@runtime_checkable
class Unfinished(Protocol):
    """And to tell of writes that were broken off and never got a name."""

    def unfinished(self) -> Iterator[Entry]:
        """Not those that are under way."""
        ...


class Store(Protocol):
    @property
    def uri(self) -> str: ...

    def location(self) -> Location | None:
        """Asks the provider; never parses the URI. None: a folder, nobody to ask."""
        ...

    def probe(self) -> None:
        """Shows that create-only holds here: a second write of a name must fail. Once a store.

        Raises StoreError, reason "not-create-only" (RULES 13).
        """
        ...

    def stat(self, name: str) -> Stat | None:
        """None where nothing has that name."""
        ...

    def get(self, name: str, *, most: int) -> bytes:
        """Raises NotFound; VerificationFailed ("limits") where it is larger than `most`."""
        ...

    def get_into(self, name: str, into: memoryview) -> int:
        """The object's size. Where that is `len(into)`, the buffer holds the object; else what the
        buffer holds is not to be used. Verifies nothing, as a read. Raises NotFound.
        """
        ...

    def open(self, name: str) -> BinaryIO:
        """A reader from the start. Raises NotFound."""
        ...

    def put(self, name: str, data: Bytes, *, sha256: str) -> None:
        """Create-only: all of `data` is there when this returns, durable, or nothing is visible.

        One request. `sha256` is what the caller found of these very bytes, which are not hashed
        again here: what goes over a network is compared where it arrives, with that or with another
        sum that the adapter makes of them, or read again. A buffer must not change meanwhile. May
        be called from several threads.

        Raises AlreadyExists where the name is taken (a chunk's name is its bytes, so a store may
        take the same chunk twice without a word), StoreError where other bytes arrived or the
        service fails.
        """
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Names below a prefix that ends in "/", in ascending order."""
        ...


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a release holds beside its record: chunks and objects, which are there, and `beside`,
    copies of documents under other names that its reader needs: its number's claim, the record
    before it. `evidence`: which of the objects are statements, for tools that look for such.
    """

    chunks: Sequence[Sized] = ()
    objects: Sequence[Sized] = ()
    evidence: Sequence[Sized] = ()
    beside: Mapping[str, bytes] = field(default_factory=dict)


@runtime_checkable
class Gathering(Protocol):
    """A further power, of a store that keeps only what something names: a registry.

    Its releases are copied whole by other tools, so nothing that a pull needs lies outside of them.
    """

    @property
    def names_move(self) -> bool:
        """Whether a name that was written can be given to other bytes. Then a pull needs a pin."""
        ...

    def require_room(self, name: str, *, chunks: int) -> None:
        """Whether a record of that name can hold so many chunks, before the first is sent.

        Raises StoreError, reason "limits".
        """
        ...

    def put_release(self, name: str, data: bytes, held: Held) -> None:
        """`put` of a record, in place of it: holds what the release holds from then on."""
        ...

    def within(self, name: str) -> Store:
        """This store, in which what the release under `name` carries along is found too.

        Raises NotFound where there is none.
        """
        ...


@runtime_checkable
class Keeping(Protocol):
    """A further power, of a store that can protect objects from being deleted until a day."""

    @property
    def keeps(self) -> bool:
        """Whether its URI asks for that."""
        ...

    def keep(self, name: str) -> None:
        """Protect an object that a record is about to name. May be called from several threads.

        The record itself is protected by the put that writes it, and nothing else is by its own.
        Raises StoreError, StoreUnfit, reasons "no-object-lock", "access-denied".
        """
        ...

    def locked_on_arrival(self) -> str | None:
        """For how long the store itself locks whatever arrives, as "COMPLIANCE, 365 days"; None
        where it does not. Raises StoreError, reason "access-denied", where nobody may ask.
        """
        ...


@runtime_checkable
class UnderKey(Protocol):
    """A further power, of a store whose service encrypts under a key that the URI may name."""

    def require_key(self, name: str) -> None:
        """Of an object that is there: that it lies under that key. Asks nothing where none is
        named. Raises StoreUnfit, reason "not-under-key"; StoreError.
        """
        ...


@runtime_checkable
class Versioned(Protocol):
    """A further power, of a store that may keep what was deleted there as an old version."""

    def keeps_versions(self) -> bool:
        """Raises StoreError, reason "access-denied", where nobody may ask."""
        ...

    def old_versions(self, prefix: str) -> Iterator[Entry]:
        """Each version below it that is no longer the object of its name; a name may come often."""
        ...
