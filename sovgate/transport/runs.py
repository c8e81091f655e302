"""What a run gives back when it ends: logins that it made itself.

Ground floor: standard library only. Runs may lie in one another and beside one another in threads;
what they gave in is done when the last one ends, or else when the process does.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import Callable, Iterator

_lock = threading.Lock()
_open = 0
_last: list[Callable[[], None]] = []
_registered = False


@contextlib.contextmanager
def run() -> Iterator[None]:
    """A command, or a call of the library."""
    global _open  # noqa: PLW0603 (one process, one count)
    with _lock:
        _open += 1
    try:
        yield
    finally:
        with _lock:
            _open -= 1
            over = _open == 0
        if over:
            end()


def running() -> bool:
    return _open > 0


def at_end(do: Callable[[], None]) -> None:
    """Have `do` called once when the last run ends, however it ends. It raises nothing."""
    global _registered  # noqa: PLW0603
    with _lock:
        _last.append(do)
        if not _registered:
            _registered = True
            atexit.register(end)


def end() -> None:
    """Do all that was given in, the latest first."""
    while True:
        with _lock:
            if not _last:
                return
            do = _last.pop()
        do()
