"""How far a command is: a bar on a terminal, a line each ten seconds in a log, or a JSON event.

On standard error, and nowhere else; nothing where only errors are asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

from sovgate.cli._emit import FORM, QUIET
from sovgate.cli._streams import say

_WIDTH = 24
#: Columns that the words beside the bar may take before it gets shorter.
_WORDS = 52
#: Seconds from one line of a log, or one event, to the next; and from one look at a bar to another.
EVERY, LOOK = 10.0, 1.0


def human_bytes(count: float) -> str:
    """1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def human_seconds(seconds: float) -> str:
    """0.0123 -> "12 ms"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


class Meter:
    """Call it with each number of bytes done, from any thread. `zone`: where they go, or are."""

    #: Seconds from one `tick` to the next.
    every = EVERY

    def __init__(
        self,
        label: str,
        total: int | None,
        zone: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.label = label, label if zone is None else f"{label} ({zone})"
        self.zone, self.total, self.done = zone, total, 0
        self.clock = clock
        self.started = clock()
        self.lock = threading.Lock()

    def expect(self, total: int) -> None:
        """What is counted begins now: what was counted before it was something else."""
        with self.lock:
            self.total, self.done, self.started = total, 0, self.clock()

    def __call__(self, count: int) -> None:
        with self.lock:
            self.done += count

    def rate(self, now: float) -> float:
        """Bytes a second, since it began."""
        return self.done / max(now - self.started, 1e-6)

    def left(self, now: float) -> float | None:
        """Seconds to the end at that rate; None where nobody can say."""
        rate = self.rate(now)
        return max(self.total - self.done, 0) / rate if self.total and rate else None

    @property
    def moving(self) -> bool:
        """Whether bytes are on their way: some are known to come, and not all came."""
        return bool(self.total and self.done < self.total) or (self.total is None and self.done > 0)

    def tick(self) -> None:
        """Called from a thread of its own, so that one sees too that nothing moves."""

    def clear(self) -> None:
        """It is over."""


class Bar(Meter):
    """One row of a terminal, drawn over and over; the first quarter of a second shows nothing."""

    every = LOOK
    drawn = float("-inf")

    def __call__(self, count: int) -> None:
        with self.lock:
            self.done += count
            now = self.clock()
            if now - self.drawn >= 0.1 and now - self.started >= 0.25:
                self.draw(now)

    def tick(self) -> None:
        with self.lock:
            if self.done:
                self.draw(self.clock())

    def draw(self, now: float) -> None:
        self.drawn = now
        text = f"{self.label}  {human_bytes(self.done)}  {human_bytes(self.rate(now))}/s"
        if self.total:
            share = min(self.done / self.total, 1.0)
            width = min(_WIDTH, max(self.columns() - _WORDS, 0))
            full = int(share * width)
            text = (
                f"{self.label}  {'█' * full}{'░' * (width - full)} {share:4.0%}  "
                f"{human_bytes(self.total)}  {human_bytes(self.rate(now))}/s"
            )
            if (left := self.left(now)) is not None:
                text += f"  {human_seconds(left)} left"
        self._write(text[: self.columns() - 1])

    @staticmethod
    def columns() -> int:
        """A line that wrapped could not be drawn over."""
        try:
            return os.get_terminal_size(sys.stderr.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def clear(self) -> None:
        self._write("")

    @staticmethod
    def _write(text: str) -> None:
        with contextlib.suppress(OSError):  # a terminal that went away ends no push
            sys.stderr.write(f"\r\x1b[2K{text}")
            sys.stderr.flush()


class Lines(Meter):
    """A line of a log each time it is looked at, while bytes are on their way."""

    def tick(self) -> None:
        if not self.moving:
            return
        now = self.clock()
        with self.lock:
            done, rate, left = self.done, self.rate(now), self.left(now)
        text = f"{self.label}: {human_bytes(done)}"
        if self.total:
            text += f" of {human_bytes(self.total)} ({min(done / self.total, 1.0):.0%})"
        text += f", {human_bytes(rate)}/s"
        say(text + (f", {human_seconds(left)} left\n" if left is not None else "\n"))


class Events(Meter):
    """The same for programs: a JSON document a line."""

    def tick(self) -> None:
        if not self.moving:
            return
        now = self.clock()
        with self.lock:
            rate, left = self.rate(now), self.left(now)
            event = {
                "event": "progress",
                "doing": self.what,
                "zone": self.zone,
                "bytes": self.done,
                "total": self.total,
                "bytes-per-second": round(rate),
                "seconds-left": None if left is None else round(left),
            }
        say(json.dumps(event) + "\n")


def _kind() -> type[Meter]:
    if FORM.get() == "json":
        return Events
    plain = os.environ.get("TERM") == "dumb" or os.environ.get("CI")
    return Bar if sys.stderr.isatty() and not plain else Lines


@contextlib.contextmanager
def progress(label: str, zone: str | None = None) -> Iterator[Meter | None]:
    """`with progress("pushing", "eu") as bar:`; yields None where nobody wants to know."""
    if QUIET.get():
        yield None
        return
    meter = _kind()(label, None, zone)
    over = threading.Event()

    def look() -> None:
        while not over.wait(meter.every):
            meter.tick()

    thread = threading.Thread(target=look, name="progress", daemon=True)
    thread.start()
    try:
        yield meter
    finally:
        over.set()
        thread.join()
        meter.clear()
