"""Unwraps the release keys of a release's parts, some of them at once. Asks the zone's key alone.

Nothing is asked before every part was found to be for this key. What comes out, and which error,
does not depend on which answer was first.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from sovgate.errors import KeyServiceError, VerificationFailed
from sovgate.formats import wrap
from sovgate.formats.plan import MAX_PARTS

if TYPE_CHECKING:
    from sovgate.formats.part import Part
    from sovgate.formats.wrap import Context, Wrapped
    from sovgate.keys._api import Identity

#: Requests to a key service that are under way at a time.
AT_ONCE = 8
#: Seconds after which whoever waits looks whether a signal came.
_LOOK = 0.25
#: What a service says that has too many of them, after its adapter asked again and again.
_BUSY = "slow-down"


def release_keys(parts: Sequence[Part], context: Context, identity: Identity) -> tuple[bytes, ...]:
    """The release key of each part, in order.

    Raises KeyServiceError ("wrong-key": this identity is not the one that it was encrypted for; or
    what its service says), VerificationFailed ("wrapped-key"): of the first part that has one.
    """
    if len(parts) > MAX_PARTS:
        raise VerificationFailed(f"a release has at most {MAX_PARTS} parts", reason="parts")
    for one in parts:
        _require_ours(one.recipient, identity)
    asks = [partial(_unwrapped, one.recipient, context, identity) for one in parts]
    if len(asks) < 2:
        return tuple(ask() for ask in asks)
    asked = _Round(asks)
    asked.run(min(AT_ONCE, len(asks)))
    return tuple(asked.key(place) for place in range(len(asks)))


def _require_ours(recipient: Wrapped, identity: Identity) -> None:
    if (recipient.key_id, recipient.algorithm) != (identity.key_id, identity.algorithm):
        raise KeyServiceError(
            "this key does not open it",
            why=f"it was encrypted for key {recipient.key_id} ({recipient.algorithm}); "
            f"this one is {identity.key_id} ({identity.algorithm})",
            fix="use the key of the zone that it was encrypted for",
            reason="wrong-key",
        )


def _unwrapped(recipient: Wrapped, context: Context, identity: Identity) -> bytes:
    key = identity.unwrap(recipient.wrapped, context.canonical())
    if not wrap.committed(key, recipient.commit):
        raise KeyServiceError(
            "this key does not open it",
            why="what it unwraps is not the key that the model was encrypted with",
            fix="use the key of the zone that it was encrypted for",
            reason="wrong-key",
        )
    return key


class _Round:
    """Each is asked once, in order, by some threads. Holds secrets: has no repr of its own.

    After an error no later one is begun; all before it were, so the first error in order is the
    same as if they were asked one after another. Once the service has too many requests, the rest
    waits for `key`, which asks one at a time.
    """

    def __init__(self, asks: Sequence[Callable[[], bytes]]) -> None:
        self._asks = asks
        self._keys: dict[int, bytes] = {}
        self._errors: dict[int, BaseException] = {}
        self._changed = threading.Condition()
        self._next = self._open = 0
        self._over = False

    def run(self, threads: int) -> None:
        """Returns when no thread asks any more.

        A signal ends the wait, and no thread is waited for: what is under way has nothing to close,
        and a service that hangs would take its whole time limit.
        """
        self._open = threads
        try:
            for _ in range(threads):
                # Each sees what this thread does: who owns keys, and who listens to notes.
                seen = contextvars.copy_context()
                threading.Thread(target=seen.run, args=(self._work,), daemon=True).start()
            with self._changed:
                while self._open:
                    # A signal that comes just before a wait without end would not end it.
                    self._changed.wait(_LOOK)
        finally:
            with self._changed:
                self._over = True

    def key(self, place: int) -> bytes:
        """Raises the error of this one; asks where the round was broken off before it."""
        if place in self._errors:
            raise self._errors[place]
        return self._keys[place] if place in self._keys else self._asks[place]()

    def _work(self) -> None:
        try:
            while (place := self._take()) is not None:
                self._ask(place)
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def _take(self) -> int | None:
        with self._changed:
            if self._over or self._errors or self._next == len(self._asks):
                return None
            self._next += 1
            return self._next - 1

    def _ask(self, place: int) -> None:
        try:
            key = self._asks[place]()
        except BaseException as error:  # noqa: BLE001 - raised by `key`, in order
            with self._changed:
                if isinstance(error, KeyServiceError) and error.reason == _BUSY:
                    self._over = True
                else:
                    self._errors[place] = error
            return
        with self._changed:
            self._keys[place] = key
