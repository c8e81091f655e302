"""Carries chunks that were encrypted before into a store, as they are. Touches a Store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sovgate.errors import StoreError, StoreUnfit
from sovgate.formats import chunk
from sovgate.formats.transfer import chunk_name
from sovgate.records import Advance, Sized
from sovgate.stages.transfer.objects import is_there, put_chunk
from sovgate.work import Buffer, Buffers, Workers

if TYPE_CHECKING:
    from sovgate.stores._api import Store

#: Objects that are asked for, or on their way, at once: each costs a far store an answer's time.
AT_ONCE = 8
_BUFFERS = 6

GetChunk = Callable[[str, memoryview], None]


@dataclass(frozen=True, kw_only=True)
class Written:
    """Objects that this run wrote, and their bytes; `skipped` were there before."""

    objects: int = 0
    bytes: int = 0
    skipped: int = 0

    @classmethod
    def of(cls, new: bool, size: int) -> Written:
        return cls(objects=1, bytes=size) if new else cls(skipped=1)

    def __add__(self, other: Written) -> Written:
        return Written(
            objects=self.objects + other.objects,
            bytes=self.bytes + other.bytes,
            skipped=self.skipped + other.skipped,
        )


def all_there(store: Store, chunks: Sequence[Sized]) -> bool:
    """Whether the store has each of them, by its own SHA-256, or read again (RULES 14).

    Raises StoreError, reason "damaged-object" where it has another under one's name.
    """
    found: list[bool] = []

    def one(item: Sized) -> None:
        if all(found):  # one that is missing is enough
            found.append(is_there(store, chunk_name(item.sha256), item))

    with Workers(AT_ONCE) as workers:
        for item in chunks:
            workers.submit(partial(one, item))
    return all(found)


def which_there(store: Store, chunks: Sequence[Sized], *, read: bool = True) -> tuple[bool, ...]:
    """Of each chunk whether the store has it whole, as `all_there`; another under its name is none,
    nor is one that lies under another key than the store's URI names.
    `read` off: its size there is believed, for a dry run.
    """
    found = [False] * len(chunks)

    def one(place: int, item: Sized) -> None:
        name = chunk_name(item.sha256)
        if not read:
            stat = store.stat(name)
            found[place] = stat is not None and stat.size == item.size
            return
        try:
            found[place] = is_there(store, name, item)
        except (StoreError, StoreUnfit) as error:
            if error.reason not in ("damaged-object", "not-under-key"):
                raise

    with Workers(AT_ONCE) as workers:
        for place, item in enumerate(chunks):
            workers.submit(partial(one, place, item))
    return tuple(found)


def carry(
    get: GetChunk, store: Store, chunks: Sequence[Sized], *, advance: Advance | None = None
) -> Written:
    """Bring chunks into `store`, each compared with its name before it is sent. `get` fills a
    buffer with the chunk of a name, and is called from several threads.

    One that is there already is passed over (RULES 14). Raises VerificationFailed ("damaged"),
    StoreError, DiskError, and what `get` raises.
    """
    done: list[Written] = []

    def one(item: Sized, buffer: Buffer) -> None:
        new = False
        if not is_there(store, chunk_name(item.sha256), item):
            view = buffer.view(item.size)
            get(item.sha256, view)
            if hashlib.sha256(view).hexdigest() != item.sha256:
                raise chunk.damaged("its SHA-256 is not the one that was signed")
            new = put_chunk(store, item.sha256, view)
        buffer.drop()
        done.append(Written.of(new, item.size))
        if advance is not None:
            advance(item.size - chunk.OVERHEAD)

    with Workers(AT_ONCE) as workers:
        buffers = Buffers(workers, _BUFFERS, chunk.SIZE + chunk.OVERHEAD)
        for item in chunks:
            workers.submit(partial(one, item, buffers.take()))
    return sum(done, Written())
