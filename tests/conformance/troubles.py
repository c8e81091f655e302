"""What can go wrong at a key service, and how each adapter says it: the same for all of them.

An adapter of the suite gives, by name, how to get its service into each trouble; what its kind of
key cannot get into it lists under `lacks`, with the reason.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sovgate.errors import ExitCode, KeyServiceError, SovgateError
from tests import pace

#: Gives the URI of a key to sign with, EC P-256. While inside, it is in that trouble.
Trouble = Callable[[], AbstractContextManager[str]]


@dataclass(frozen=True, kw_only=True)
class Told:
    """How it is told. `reasons`: any of these."""

    kind: type[SovgateError]
    reasons: tuple[str, ...]
    code: ExitCode


def _key(*reasons: str) -> Told:
    return Told(kind=KeyServiceError, reasons=reasons, code=ExitCode.KEY)


#: By name: what a person is told.
TROUBLES: dict[str, Told] = {
    "missing": _key("no-such-key"),
    "disabled": _key("key-disabled"),
    "denied": _key("access-denied"),
    # Every request is refused so, however often it is asked again.
    "throttled": _key("slow-down"),
    # Somebody takes the connection and says nothing.
    "slow": _key("timed-out"),
    # Nobody takes the connection.
    "down": _key("no-answer"),
    # The service answers with what another key gave.
    "another": _key("wrong-key", "bad-signature"),
}


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """What a stand-in for the service does otherwise than the service, and how it is found out."""

    why: str
    do: Callable[[], object]
    reason: str


#: The next two requests are refused as when it is throttled, and then it works: no error.
BUSY = "busy"


@dataclass(frozen=True, kw_only=True)
class Rotated:
    """A key that gets a new version, or a name that gets a new key, when `rotate` is called."""

    uri: str
    rotate: Callable[[], None]


#: Requests to a key that a pull has under way at a time.
CROWD = 8


class Crowd:
    """At a service: its first requests wait for one another, and are then refused as too many.

    So all of them were under way at once, and each has to be sent again.
    """

    def __init__(self) -> None:
        self._together = threading.Barrier(CROWD, timeout=pace.HANG)
        self._lock = threading.Lock()
        self.comes = False
        self.refused = 0

    def refuses(self) -> bool:
        """Asked within each request; before `comes` nothing is refused, and nobody waits."""
        with self._lock:
            if not self.comes or self.refused == CROWD:
                return False
            self.refused += 1
        self._together.wait()
        return True


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]


def unused_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
