"""The limits that end what is hung, and the bounds on work, do what other tests rely on."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading

import pytest

from tests import pace
from tests.effort import effort, memory


def test_what_is_hung_is_ended() -> None:
    outer = signal.getitimer(signal.ITIMER_REAL)
    with pytest.raises(pytest.fail.Exception, match="hung: a lock"), pace.watched("a lock", 0.01):
        threading.Event().wait()
    assert outer[0] > 0
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= outer[0]  # the watch over this test


def test_a_child_that_hangs_is_ended_with_its_test() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    with pytest.raises(pytest.fail.Exception, match="hung"), pace.watched("a child", 0.01):
        pace.finish(sleeper)
    assert sleeper.returncode == -signal.SIGKILL


def test_a_limit_grows_with_the_pace_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = pace._Limit(seconds=0.0001)
    threading.Event().wait(0.001)
    monkeypatch.setattr(pace, "pace", lambda: 1e9)
    assert limit.left() > 0
    monkeypatch.setattr(pace, "pace", lambda: 1.0)
    assert limit.left() < 0


def test_a_condition_is_waited_for_and_what_it_gives_is_given() -> None:
    seen = itertools.count()
    assert pace.until(lambda: next(seen) == 3, "the fourth") is True
    with pytest.raises(pytest.fail.Exception, match="hung: never"):
        pace.until(lambda: False, "never", seconds=0.001)


def test_too_many_calls_fail() -> None:
    with effort(most=1000) as made:
        json.loads("[1]")
    assert 0 < made.calls < 1000
    with pytest.raises(AssertionError, match="over 100 calls"), effort(most=100):
        for _ in range(100):
            json.loads("[1]")
    assert sys.getprofile() is None


def test_too_much_memory_fails() -> None:
    with memory(megabytes=2):
        bytes(1_000_000)
    with pytest.raises(AssertionError), memory(megabytes=1):
        bytes(2_000_000)
