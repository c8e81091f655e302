"""A bearer token: fetched when one is needed, and again before it runs out. No I/O of its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: Seconds before its end in which a token is not used any more.
EARLY = 300
#: Characters of a token; a longer one is none.
MAX_TOKEN = 16 * 1024


@dataclass(frozen=True, kw_only=True)
class Token:
    """`ends` in seconds since the epoch. Its text is in no repr (RULES 29)."""

    text: str = field(repr=False)
    ends: float


class Tokens:
    """The token of one source, for all threads. `fetch` gives a new one, or raises."""

    def __init__(self, fetch: Callable[[], Token], clock: Callable[[], float] = time.time) -> None:
        self._fetch, self._clock = fetch, clock
        self._lock = threading.Lock()
        self._token: Token | None = None

    def __call__(self) -> str:
        """A token that is good for some minutes."""
        with self._lock:
            if self._token is None or self._token.ends - EARLY <= self._clock():
                self._token = self._fetch()
            return self._token.text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def json_object(data: bytes) -> dict[str, Any] | None:
    """What a service or a file of a vendor's says; None where it is no object of JSON, or says
    something twice (RULES 3)."""
    try:
        found = json.loads(data, object_pairs_hook=_once)
        # Half a character can be sent to nobody, and looked for nowhere.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
