"""Ends what is hung, and only that: the one module of the tests that reads a clock.

A limit is given in seconds of a usual, quiet machine and grows with the pace of this one, measured
when the limit is reached. No test compares times: how fast something is, bench/ measures.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import AnyStr, TypeVar

import pytest

T = TypeVar("T")

#: Seconds that the work below takes on a usual machine when it is quiet.
_USUAL = 0.024
_TEXT = json.dumps({f"layer.{n}": {"shape": [n, n], "at": [n, n + 1]} for n in range(20_000)})
#: What takes longer than this on a usual machine is hung. No test takes half of it.
HANG = 300.0
_AGAIN = 30.0
#: For one try of many: a socket that does not answer by then is asked again.
A_TRY = 5.0
#: How often a server of ours looks whether it is to stop: its test waits for that.
SOON = 0.02


def pace() -> float:
    """1 on a usual machine that is quiet, 5 where the same work takes five times as long now."""
    begun = time.monotonic()
    found = json.loads(_TEXT, object_pairs_hook=dict)
    sum(len(name) + sum(entry["shape"]) for name, entry in found.items())
    return max(1.0, (time.monotonic() - begun) / _USUAL)


class _Limit:
    """So many seconds of a usual machine, from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.begun = seconds, time.monotonic()

    def left(self) -> float:
        """Zero or less when it is over, by the pace that the machine has by then."""
        took = time.monotonic() - self.begun
        return self.seconds - took if took < self.seconds else self.seconds * pace() - took


@contextlib.contextmanager
def watched(what: str, seconds: float = HANG) -> Iterator[None]:
    """Fails the test where its body is hung. Conftest watches each test so; a child process that a
    test waits for needs no limit of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield  # where no signal arrives
        return
    limit = _Limit(seconds)

    def rung(_number: int, _frame: FrameType | None) -> None:
        if (left := limit.left()) > 0:
            signal.setitimer(signal.ITIMER_REAL, left, _AGAIN)
        else:
            pytest.fail(f"hung: {what} (over {seconds:.0f} s of a usual machine)")

    before = signal.signal(signal.SIGALRM, rung)
    # Again and again, in case that the code which it interrupts swallows the failure.
    outer = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *outer)


def until(condition: Callable[[], T], what: str, *, seconds: float = 60.0) -> T:
    """Waits until the condition gives something true, and gives that; `what` is waited for."""
    limit = _Limit(seconds)
    while not (found := condition()):
        if limit.left() <= 0:
            pytest.fail(f"hung: {what} (waited {seconds:.0f} s of a usual machine)")
        time.sleep(0.005)
    return found


def finish(process: subprocess.Popen[AnyStr]) -> tuple[AnyStr, AnyStr]:
    """What a process said until it ended. One that is hung is killed when its test is ended."""
    try:
        return process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise


def told_to_end(
    start: Callable[[], subprocess.Popen[str]],
    number: int,
    when: Callable[[], object],
    over: Callable[[], bool] = lambda: False,
) -> tuple[int, str]:
    """The exit code and words of a process that got a signal once `when` was true.

    On a busy machine a run may be over before anyone has seen that: the next one is then tried.
    `over` tells so of one whose exit code does not: a shell may pass the signal on too late.
    """
    for _ in range(20):
        process = start()
        while not when() and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(number)
        said, _ = finish(process)
        if process.returncode != 0 and not over():
            return process.returncode, said
    raise AssertionError(f"signal {number} never stopped it: {said}")
