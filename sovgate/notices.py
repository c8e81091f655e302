"""What must reach whoever runs a command: that something marked unsafe was used, and which project
files were read (RULES 36).

Ground floor: standard library only. The command line listens; elsewhere they are Python warnings.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar

Listener = Callable[[str], None]

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


#: The project files that were read, in order, each once; None where nobody asks.
PROJECTS: ContextVar[dict[str, None] | None] = ContextVar("projects", default=None)


class UnsafeWarning(UserWarning):
    """Trust was given by an option that has `unsafe` in its name."""


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within it `listener` is told each warning, each text once; after it, whoever was before."""
    said: set[str] = set()

    def once(text: str) -> None:
        if text not in said:
            said.add(text)
            listener(text)

    token = _LISTENER.set(once)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def unsafe(text: str) -> None:
    listener = _LISTENER.get()
    if listener is None:
        warnings.warn(text, UnsafeWarning, stacklevel=2)
    else:
        listener(text)


def project_read(path: str) -> None:
    read = PROJECTS.get()
    if read is not None:
        read[path] = None
