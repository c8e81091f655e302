"""Threads, buffers and order: bounded, and over at once when something fails."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from sovgate.errors import Terminated
from sovgate.work import BrokenOff, Buffers, Ordered, Workers, cores, go_on


def test_steps_run_in_order_whatever_order_they_come_in():
    seen: list[int] = []
    numbers = list(range(200))
    random.Random(1).shuffle(numbers)
    with Workers() as workers:
        steps = Ordered(workers)
        for number in numbers:
            workers.submit(lambda number=number: steps.put(number, lambda: seen.append(number)))
    assert seen == sorted(numbers)
    assert cores() >= 1


def test_no_more_buffers_are_out_than_the_pool_has():
    out, most, lock = 0, 0, threading.Lock()
    with Workers() as workers:
        pool = Buffers(workers, 3, 10)

        def use(buffer) -> None:
            nonlocal out
            buffer.view(10)[:] = b"0123456789"
            time.sleep(0.001)
            with lock:
                out -= 1
            buffer.drop()

        for _ in range(50):
            buffer = pool.take()
            with lock:
                out += 1
                most = max(most, out)
            workers.submit(lambda buffer=buffer: use(buffer))
    assert 1 <= most <= 3


def test_a_buffer_returns_when_its_last_holder_drops_it():
    with Workers() as workers:
        pool = Buffers(workers, 1, 4)
        buffer = pool.take()
        buffer.hold(2)
        buffer.drop()
        buffer.drop()
        taken: list[object] = []
        workers.submit(lambda: taken.append(pool.take()))
        time.sleep(0.05)
        assert not taken
        buffer.drop()
    assert len(taken) == 1


def test_the_first_error_wakes_who_waits_and_is_raised():
    before = threading.active_count()

    def fail() -> None:
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"), Workers() as workers:
        pool = Buffers(workers, 1, 4)
        pool.take()
        workers.submit(fail)
        pool.take()  # nobody will give one back
    assert threading.active_count() == before


def test_after_an_error_nothing_new_starts():
    started: list[int] = []
    with pytest.raises(RuntimeError, match="mine"), Workers(1) as workers:
        steps = Ordered(workers)
        hold = threading.Event()
        workers.submit(hold.wait)
        for number in range(5):
            steps.put(number, lambda number=number: started.append(number))
        workers.fail(RuntimeError("mine"))
        hold.set()
    assert started == []
    with pytest.raises(RuntimeError, match="mine"):
        workers.check()


def test_an_error_of_the_caller_is_the_callers():
    with pytest.raises(KeyError), Workers() as workers:
        workers.submit(lambda: time.sleep(0.01))
        raise KeyError("caller")


def test_a_signal_ends_the_steps_and_not_the_wait_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What steps write to is closed after the block: its descriptor would be another file's."""
    hold, running, ran = threading.Event(), threading.Event(), list[str]()

    def step() -> None:
        running.set()
        hold.wait()
        ran.append("to its end")

    with pytest.raises(Terminated), Workers(1) as workers:
        workers.submit(step)
        workers.submit(lambda: ran.append("another"))
        running.wait()
        waits = iter([Terminated(), KeyboardInterrupt()])
        wait = workers.changed.wait_for

        def told(until: Callable[[], bool]) -> bool:
            for signal in waits:
                raise signal
            hold.set()
            return wait(until)

        monkeypatch.setattr(workers.changed, "wait_for", told)
    assert ran == ["to its end"]


def test_a_signal_while_a_step_is_handed_over_is_no_step_to_wait_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is counted, and never runs: whoever waited for it would wait for ever."""

    def interrupted(*_: object) -> None:
        raise Terminated

    with pytest.raises(Terminated), Workers(1) as workers:
        monkeypatch.setattr(workers._threads, "submit", interrupted)
        workers.submit(lambda: None)


def test_a_step_that_goes_on_after_an_error_is_waited_for_and_starts_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running, hold, ran = threading.Event(), threading.Event(), list[str]()

    def step() -> None:
        running.set()
        hold.wait()
        try:
            workers.submit(lambda: ran.append("another"))
        finally:
            ran.append("to its end")

    def let_go(shutdown: Callable[[], None]) -> None:
        hold.set()
        shutdown()

    with pytest.raises(KeyError), Workers(2) as workers:
        monkeypatch.setattr(
            workers._threads, "shutdown", partial(let_go, workers._threads.shutdown)
        )
        workers.submit(step)
        running.wait()
        raise KeyError("mine")
    assert ran == ["to its end"]


@pytest.mark.parametrize("inner", [False, True])
def test_what_takes_long_is_told_that_nobody_waits_for_it(inner):
    """Also where the step that takes long is one of workers that a step started."""
    begun = threading.Event()

    def long() -> None:
        begun.set()
        while True:
            go_on()

    def around() -> None:
        with Workers(1) as workers:
            workers.submit(long)

    with pytest.raises(Terminated), Workers(2) as outer:
        outer.submit(around if inner else long)
        begun.wait()
        raise Terminated


def test_whoever_is_no_step_goes_on_and_no_library_keeps_the_word_back():
    go_on()
    assert not issubclass(BrokenOff, Exception)
