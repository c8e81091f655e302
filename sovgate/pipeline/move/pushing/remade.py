"""Chunks that an earlier run of a push made: made again under their kept keys, and looked for in
the store before they are sent.

Asks the store; writes nothing to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from sovgate.errors import StoreError, StoreUnfit
from sovgate.records import Sized

if TYPE_CHECKING:
    from sovgate.formats.plan import Plan
    from sovgate.stages.encrypt.kept import KeptKeys
    from sovgate.stores._api import Store


def is_spoilt(error: StoreError | StoreUnfit) -> bool:
    """What lies under a chunk's name is not that chunk, or was not written as the store's URI
    asks."""
    return isinstance(error, StoreUnfit) or error.reason == "damaged-object"


class Remade:
    """`sending.Keys` of what is kept. `within` is entered where the store is asked."""

    def __init__(
        self,
        keys: KeptKeys,
        plan: Plan,
        store: Store,
        within: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._keys, self._plan, self._store, self._within = keys, plan, store, within
        self._lock = threading.Lock()
        #: SHA-256 of the chunks that are there, and need not be sent.
        self.there: set[bytes] = set()

    def take(self, place: int) -> tuple[bytes, bytes]:
        return self._keys.take(place)

    def sealed(self, place: int, digest: bytes) -> bool:
        """False, too, where something else lies under the name of a chunk that an earlier run made.
        Nobody here may remove that: the chunk gets another key, and so another name."""
        if not self._keys.sealed(place, digest):
            return False
        if digest not in self._keys.earlier:
            return True
        with self._within():
            there = self._has(place, digest)
        if there is None:
            self._keys.forget([place])
            return False
        if there:
            with self._lock:
                self.there.add(digest)
        return True

    def _has(self, place: int, digest: bytes) -> bool | None:
        """RULES 14: by the store's own SHA-256, or read again there. None: it is spoilt."""
        from sovgate.formats.chunk import OVERHEAD
        from sovgate.formats.transfer import chunk_name
        from sovgate.stages import transfer

        sized = Sized(sha256=digest.hex(), size=self._plan.length(place) + OVERHEAD)
        try:
            return transfer.is_there(self._store, chunk_name(sized.sha256), sized)
        except (StoreError, StoreUnfit) as error:
            if not is_spoilt(error):
                raise
            return None
