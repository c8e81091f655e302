"""A progress bar on standard error, where a person is looking; silent everywhere else."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator

from sovgate.cli._emit import QUIET

_WIDTH = 24
#: Columns that the words beside the bar may take before it gets shorter.
_WORDS = 52


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


class Bar:
    """Call it with each number of bytes done, from any thread."""

    def __init__(self, label: str, total: int | None) -> None:
        self.label, self.total, self.done = label, total, 0
        self.started = time.monotonic()
        self.drawn = self.started  # the first quarter of a second shows nothing
        self.lock = threading.Lock()

    def expect(self, total: int) -> None:
        """For work whose size is known only after the bar began."""
        self.total = total

    def __call__(self, count: int) -> None:
        with self.lock:
            self.done += count
            now = time.monotonic()
            if now - self.drawn >= 0.1 and now - self.started >= 0.25:
                self.drawn = now
                self.draw(now)

    def draw(self, now: float) -> None:
        rate = self.done / max(now - self.started, 1e-6)
        text = f"{self.label}  {human_bytes(self.done)}  {human_bytes(rate)}/s"
        if self.total:
            share = min(self.done / self.total, 1.0)
            width = min(_WIDTH, max(self.columns() - _WORDS, 0))
            full = int(share * width)
            left = max(self.total - self.done, 0) / rate if rate else 0
            text = (
                f"{self.label}  {'█' * full}{'░' * (width - full)} {share:4.0%}  "
                f"{human_bytes(self.total)}  {human_bytes(rate)}/s  {human_seconds(left)} left"
            )
        sys.stderr.write(f"\r\x1b[2K{text[: self.columns() - 1]}")
        sys.stderr.flush()

    @staticmethod
    def columns() -> int:
        """A line that wrapped could not be drawn over."""
        try:
            return os.get_terminal_size(sys.stderr.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def clear(self) -> None:
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()


@contextlib.contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Bar | None]:
    """`with progress("encrypting", size) as advance:`; yields None where nobody is looking."""
    if (
        QUIET.get()
        or not sys.stderr.isatty()
        or os.environ.get("TERM") == "dumb"
        or os.environ.get("CI")
    ):
        yield None
        return
    bar = Bar(label, total)
    try:
        yield bar
    finally:
        bar.clear()
