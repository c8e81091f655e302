"""What must reach whoever runs a command: that something marked unsafe was used, what was passed
over, which project files were read (RULES 36), and how runs ended; and what reaches us: a hurry.

Ground floor: standard library only. The command line listens; elsewhere they are Python warnings.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial

from sovgate.errors import MAX_COPIED, bounded

Listener = Callable[[str], None]

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
_NOTED: ContextVar[Listener | None] = ContextVar("noted", default=None)


#: The project files that were read, in order, each once; None where nobody asks.
PROJECTS: ContextVar[dict[str, None] | None] = ContextVar("projects", default=None)


#: (head, zone) of each run that ended in an audit log, in order; None where nobody asks.
HEADS: ContextVar[list[tuple[str, str]] | None] = ContextVar("heads", default=None)
_HURRY = threading.Event()
_WAITED_FOR: list[threading.Event] = []


class UnsafeWarning(UserWarning):
    """Trust was given by an option that has `unsafe` in its name."""


@contextlib.contextmanager
def listening(listener: Listener, noted: Listener | None = None) -> Iterator[None]:
    """Within it `listener` is told each warning, and `noted` each note (without it, `listener` is
    told those too), each text once; after it, whoever was before.
    """
    said: set[str] = set()

    def once(to: Listener, text: str) -> None:
        if text not in said:
            said.add(text)
            to(text)

    token = _LISTENER.set(partial(once, listener))
    other = _NOTED.set(partial(once, noted or listener))
    try:
        yield
    finally:
        _LISTENER.reset(token)
        _NOTED.reset(other)


def unsafe(text: str) -> None:
    text, listener = bounded(text, MAX_COPIED), _LISTENER.get()
    if listener is None:
        warnings.warn(text, UnsafeWarning, stacklevel=2)
    else:
        listener(text)


def note(text: str) -> None:
    """Something was left out that the reader may have counted on. It weakens nothing."""
    text, listener = bounded(text, MAX_COPIED), _NOTED.get()
    if listener is None:
        warnings.warn(text, UserWarning, stacklevel=2)
    else:
        listener(text)


def project_read(path: str) -> None:
    read = PROJECTS.get()
    if read is not None:
        read[path] = None


def run_ended(head: str, zone: str) -> None:
    """A run wrote how it ended into the log of `zone`: well, denied or failed."""
    heads = HEADS.get()
    if heads is not None:
        heads.append((head, zone))


def hurry() -> None:
    """We were told to end, and are told again: from now on nothing is waited for."""
    for event in (_HURRY, *_WAITED_FOR):
        event.set()


def wait_for(event: threading.Event, seconds: float) -> None:
    """Until it is set, the time is over, or somebody is in a hurry."""
    _WAITED_FOR.append(event)
    if not _HURRY.is_set():
        event.wait(seconds)
