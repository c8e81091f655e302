"""How long a run may take, which step it is at, and what is said when the time is over.

Asks the clock that it is given, and sets no alarm.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sovgate.errors import Inconclusive, TimedOut, UsageError
from sovgate.records import Options

_SPAN = re.compile(r"([1-9][0-9]{0,5})(s|m|h)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600}

P = ParamSpec("P")
T = TypeVar("T")


def seconds_of(text: str) -> int:
    """ "90s", "5m" or "2h". Raises UsageError, reason "bad-time"."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text[:40]!r} is no length of time",
            fix="write a whole number and s, m or h: 90s, 5m, 2h",
            reason="bad-time",
        )
    return int(match[1]) * _SECONDS[match[2]]


class Deadline:
    """`text` from now on, for `command`. Frozen it is not: the steps of the run are told to it."""

    def __init__(
        self, text: str, command: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.text, self.command, self.clock = text, command, clock
        self.seconds = seconds_of(text)
        self.ends = clock() + self.seconds
        self.steps: list[tuple[str, float]] = []
        self._now: tuple[str, float] | None = None
        self._kept = False

    @property
    def over(self) -> bool:
        """Whether to end: the time is over, and what the run is for is not done."""
        return not self._kept and self.clock() >= self.ends

    def begin(self, step: str) -> None:
        """Raises Inconclusive, reason "out-of-time"."""
        self.check()
        self._now = (step, self.clock())

    def end(self) -> None:
        if self._now is not None:
            name, began = self._now
            self.steps.append((name, self.clock() - began))
        self._now = None

    def keep(self) -> None:
        """It is done: what is left only says so, and is not broken off."""
        self._kept = True

    def check(self) -> None:
        """Raises Inconclusive, reason "out-of-time"."""
        if self.over:
            raise self.error()

    def counting(self, advance: Callable[[int], None] | None) -> Callable[[int], None]:
        """The same, and an end to it when the time is over."""

        def count(done: int) -> None:
            self.check()
            if advance is not None:
                advance(done)

        return count

    def error(self) -> Inconclusive:
        """What is said of it, with the step at which it stopped and the one that took longest."""
        steps, at = list(self.steps), None
        if self._now is not None:
            at = self._now[0]
            steps.append((at, self.clock() - self._now[1]))
        slow = max(steps, key=lambda step: step[1], default=None)
        took = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in steps)
        why = "the time was over before its first step"
        if slow is not None:
            why = f"the slowest step was {slow[0]!r}, with {slow[1]:.1f} s; "
            why += f"it stopped at {at!r}" if at else "it stopped between two steps"
        return Inconclusive(
            f"{self.command} did not end within {self.text}",
            why=why,
            fix="run it again, with more time (--within)"
            + (" or once that step is faster" if slow else "")
            + ": nothing half is left, and what is done already stays done",
            reason="out-of-time",
            details=(f"steps: {took}",) if steps else (),
            data={
                "stopped-at": at,
                "slowest": slow[0] if slow else None,
                "steps": [{"step": name, "seconds": round(took, 6)} for name, took in steps],
            },
        )


def in_time(function: Callable[P, T]) -> Callable[P, T]:
    """For a function with `options`: an alarm that broke it off is told as the deadline's error."""

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except TimedOut as alarm:
            options = kwargs.get("options")
            if not isinstance(options, Options) or options.deadline is None:
                raise
            raise options.deadline.error() from alarm

    return inside
