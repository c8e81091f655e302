"""A network that fails as a seed says, and kills whoever uses it at a request that the seed names.

Stands in for `FaultProxy.chooses`. Threads ask it in any order, so a seed says how bad the weather
is, and not which request it meets.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Collection

from tests.effort import examples
from tests.faultproxy import What

#: What a network and a bad service do. That a service knows no create-only is told by its probe.
WEATHER = [what for what in What if what not in (What.EDIT_REPLY, What.IGNORE_CONDITION)]

#: Of it what no number of tries gets through.
HARSH = [What.BUSY, What.LOSE_REQUEST, What.CUT_REQUEST, What.DENY, What.EXPIRED]
WRITES = ("PUT", "POST")


def seeds(count: int, variable: str = "STORMS") -> range:
    """Those that STORMS=FIRST:AFTER names; else so many, or under --some a part of them."""
    first, after = os.environ.get(variable, f"0:{examples(count)}").split(":")
    return range(int(first), int(after))


class Storm:
    """Picks a fault for one request in so many, for a while now and then for each."""

    def __init__(self, seed: int, without: Collection[What] = ()) -> None:
        """`without`: faults that this service does not notice, and that its real one does."""
        self._weather = [what for what in WEATHER if what not in without]
        self.random = random.Random(seed)
        self._often = self.random.choice([0.0, 0.02, 0.1, 0.3])
        self._gust = 0
        self._what = What.BUSY
        self._lock = threading.Lock()
        self._deadly = self._fatal = 0
        self._calm = False
        self._doomed: tuple[str, str, What] | None = None
        self._victim: int | None = None
        self._known = threading.Event()
        self.over = False

    def begins(self, *, kill: int = 0, doom: int = 0, calm: bool = False) -> None:
        """For the run that comes now, whose requests are counted from 1. It is killed as request
        `kill` arrives; what write `doom` is for fails then, however often it is tried. `calm`:
        nothing else happens.
        """
        with self._lock:
            self._deadly, self._fatal, self._doomed, self._victim = kill, doom, None, None
            self._calm = calm
            self._known.clear()

    def victim(self, process: int) -> None:
        self._victim = process
        self._known.set()

    def __call__(self, method: str, path: str) -> What | None:
        with self._lock:
            if self.over:
                return None
            self._deadly -= 1
            self._fatal -= method in WRITES
            if self._deadly == 0:
                return self._kill()
            if self._fatal == 0 and method in WRITES and self._doomed is None:
                self._doomed = method, path, self.random.choice(HARSH)
            if self._doomed is not None and (method, path) == self._doomed[:2]:
                return self._doomed[2]
            if self._calm:
                return None
            if self._gust:
                self._gust -= 1
                return self._what
            if self.random.random() >= self._often:
                return None
            self._what = self.random.choice(self._weather)
            self._gust = self.random.choice([0, 0, 0, 1, 5, 20])
            return self._what

    def _kill(self) -> What | None:
        """Before the service hears of the request, half way, or once it has done it."""
        self._known.wait()
        assert self._victim is not None
        os.kill(self._victim, signal.SIGKILL)
        return self.random.choice([What.LOSE_REQUEST, What.CUT_REQUEST, None])
