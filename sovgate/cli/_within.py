"""`--within`: a run that ends when its time is over, also where it waits for somebody's answer."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sovgate.cli._base import option
from sovgate.errors import TimedOut
from sovgate.pipeline.deadline import Deadline

F = TypeVar("F", bound=Callable[..., Any])


def within_option(function: F) -> F:
    return option(
        "--within",
        metavar="TIME",
        help="End with 14 if it takes longer (90s, 5m, 2h), and say which step was slow.",
    )(function)


@contextlib.contextmanager
def within(
    text: str | None, command: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[Deadline | None]:
    """The deadline of a run, and an alarm for it. Raises UsageError, reason "bad-time"."""
    if text is None:
        yield None
        return
    deadline = Deadline(text, command, clock=clock)
    if threading.current_thread() is not threading.main_thread():
        yield deadline
        return

    def ring(*_: object) -> None:
        if deadline.over:
            signal.setitimer(signal.ITIMER_REAL, 0)  # once: what cleans up is not broken off
            raise TimedOut

    before = signal.signal(signal.SIGALRM, ring)
    # Again each second, for a clock that is not yet there.
    signal.setitimer(signal.ITIMER_REAL, deadline.seconds, 1)
    try:
        yield deadline
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
