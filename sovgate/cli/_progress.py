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
from collections.abc import Callable, Iterator, Sequence

from sovgate.cli._emit import FORM, QUIET
from sovgate.cli._streams import say

_WIDTH = 24
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
        self._write(self.text(now))

    def text(self, now: float) -> str:
        """The row, no longer than the terminal is wide."""
        text = f"{self.label}  {human_bytes(self.done)}  {human_bytes(self.rate(now))}/s"
        if self.total:
            share = min(self.done / self.total, 1.0)
            words = f" {share:4.0%}  {human_bytes(self.total)}  {human_bytes(self.rate(now))}/s"
            if (left := self.left(now)) is not None:
                words += f"  {human_seconds(left)} left"
            width = min(_WIDTH, max(self.columns() - len(f"{self.label}  {words}") - 1, 0))
            full = int(share * width)
            text = f"{self.label}  {'█' * full}{'░' * (width - full)}{words}"
        return text[: self.columns() - 1]

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
    def _write(*rows: str) -> None:
        """Over the rows that are there; the cursor stays in the first."""
        back = f"\r\x1b[{len(rows) - 1}A" if len(rows) > 1 else ""
        with contextlib.suppress(OSError):  # a terminal that went away ends no push
            sys.stderr.write("\r" + "\n".join(f"\x1b[2K{row}" for row in rows) + back)
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


class ZoneBar(Bar):
    """One row of several, which are drawn together."""

    def __init__(self, label: str, zone: str, clock: Callable[[], float], rows: list[ZoneBar]):
        super().__init__(label, None, zone, clock)
        self._rows = rows

    def draw(self, now: float) -> None:
        for row in self._rows:
            row.drawn = now
        self._write(*(row.text(now) for row in self._rows))

    def clear(self) -> None:
        self._write(*("" for _ in self._rows))


class Zones(Meter):
    """Several zones: what is done before anything is sent is one row, and then each has its own."""

    def __init__(
        self,
        kind: type[Meter],
        label: str,
        zones: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(label, None, None, clock)
        self._kind, self.every = kind, kind.every
        self._width = max(map(len, zones))
        self._whole = kind(label, None, ", ".join(zones), clock)
        self._bars: list[ZoneBar] = []
        self._rows: list[Meter] = []

    def of_zone(self, zone: str) -> Meter:
        """Called before the first of them counts."""
        if not issubclass(self._kind, Bar):
            self._rows.append(self._kind(self.what, None, zone, self.clock))
            return self._rows[-1]
        self._whole.clear()
        bar = ZoneBar(self.what, zone, self.clock, self._bars)
        bar.label = bar.label.ljust(len(bar.label) - len(zone) + self._width)
        self._bars.append(bar)
        self._rows.append(bar)
        return bar

    def expect(self, total: int) -> None:
        """Until zones are named again, what comes now is of no zone."""
        if self._rows:
            self.clear()
        self._rows, self._bars = [], []
        self._whole.expect(total)

    def __call__(self, count: int) -> None:
        if not self._rows:
            self._whole(count)

    def tick(self) -> None:
        for row in self._bars[:1] or self._rows or [self._whole]:
            row.tick()

    def clear(self) -> None:
        for row in self._bars[:1] or self._rows or [self._whole]:
            row.clear()


def _kind() -> type[Meter]:
    if FORM.get() == "json":
        return Events
    plain = os.environ.get("TERM") == "dumb" or os.environ.get("CI")
    return Bar if sys.stderr.isatty() and not plain else Lines


@contextlib.contextmanager
def progress(label: str, *zones: str | None) -> Iterator[Meter | None]:
    """`with progress("pushing", "eu") as bar:`; yields None where nobody wants to know."""
    if QUIET.get():
        yield None
        return
    kind = _kind()
    names = [zone for zone in zones if zone is not None]
    meter = (
        Zones(kind, label, names)
        if len(names) > 1
        else kind(label, None, names[0] if names else None)
    )
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
