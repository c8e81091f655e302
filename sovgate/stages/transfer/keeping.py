"""Protects a whole release from deletion, where a store's URI asks for it. Touches a Store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from sovgate.formats.part import read_list
from sovgate.formats.transfer import chunk_name, object_name
from sovgate.records import Sized
from sovgate.stages.transfer.carry import AT_ONCE
from sovgate.stores._api import Keeping
from sovgate.work import Workers

if TYPE_CHECKING:
    from sovgate.formats.part import Closed
    from sovgate.stores._api import Store


def keep(store: Store, closed: Closed, documents: Sequence[bytes]) -> None:
    """Protect all that the record is about to name, just before it is written: a record alone would
    say what was there. What no record names is never protected, so that it can be swept.

    Raises StoreError, StoreUnfit, reason "no-object-lock".
    """
    if not isinstance(store, Keeping) or not store.keeps:
        return
    objects = (*documents, *closed.lists, *closed.tables)
    names = [object_name(Sized.of(data).sha256) for data in objects]
    for data, part in zip(closed.lists, closed.parts, strict=True):
        names += [chunk_name(digest.hex()) for digest in read_list(data, part)]
    first, *others = dict.fromkeys(names)
    store.keep(first)  # where one cannot be protected, the others are not asked for
    with Workers(AT_ONCE) as workers:
        for name in others:
            workers.submit(partial(store.keep, name))
