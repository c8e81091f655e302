"""`--within`: the time that a run is given, by a clock that the test sets."""

from __future__ import annotations

import pytest

from sovgate.errors import ExitCode, Inconclusive, TimedOut, UsageError, exit_of
from sovgate.pipeline.deadline import Deadline, in_time, seconds_of
from sovgate.pipeline.move.movement import Timer
from sovgate.records import Options


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("90s", 90), ("5m", 300), ("2h", 7200), ("999999s", 999999)]
)
def test_a_length_of_time_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "5", "0s", "05m", "-1s", "1.5m", "5 m", "5M", "5d", "m", "1h30m", "5m\n", "٣m", "1" * 9],
)
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Deadline(text, "push")
    assert caught.value.reason == "bad-time"


def test_no_step_begins_after_the_time_and_the_slowest_is_named(clock: Clock) -> None:
    deadline = Deadline("5m", "push", clock=clock)
    timer = Timer(deadline)
    with timer.step("verify"):
        clock.now += 10
    with timer.step("encrypt and send"):
        clock.now += 290
    with pytest.raises(Inconclusive) as caught, timer.step("write the record"):
        pytest.fail("it began")
    error = caught.value
    assert (error.exit_code, error.reason) == (14, "out-of-time")
    assert error.what == "push did not end within 5m"
    assert error.why == (
        "the slowest step was 'encrypt and send', with 290.0 s; it stopped between two steps"
    )
    assert error.details == ("steps: verify 10.0 s, encrypt and send 290.0 s",)
    assert (error.data["stopped-at"], error.data["slowest"]) == (None, "encrypt and send")


def test_what_moves_is_ended_within_a_step(clock: Clock) -> None:
    seen: list[int] = []
    deadline = Deadline("5m", "push", clock=clock)

    class Progress:
        def expect(self, total: int) -> None:
            pass

        def __call__(self, count: int) -> None:
            seen.append(count)

    advance = Options(progress=Progress(), deadline=deadline).advance
    assert advance is not None
    with pytest.raises(Inconclusive) as caught, Timer(deadline).step("encrypt and send"):
        advance(5)
        clock.now += 299
        advance(6)
        clock.now += 1
        advance(7)
    assert seen == [5, 6]
    assert caught.value.data["stopped-at"] == "encrypt and send"
    assert Options().advance is None
    assert Options(deadline=Deadline("5m", "pull", clock=clock)).advance is not None


def test_what_is_done_is_not_called_late(clock: Clock) -> None:
    deadline = Deadline("5m", "push", clock=clock)
    timer = Timer(deadline)
    with timer.step("write the record"):
        clock.now += 301
        timer.keep()
    assert not deadline.over
    with timer.step("receipt"):
        deadline.check()


def test_a_time_that_is_over_at_once(clock: Clock) -> None:
    deadline = Deadline("1s", "pull", clock=clock)
    clock.now += 1
    with pytest.raises(Inconclusive) as caught:
        deadline.check()
    assert caught.value.why == "the time was over before its first step"
    assert "that step" not in str(caught.value.fix)


def test_an_alarm_is_told_as_the_deadlines_error(clock: Clock) -> None:
    deadline = Deadline("5m", "push", clock=clock)

    @in_time
    def run(*, options: Options) -> None:
        with Timer(options.deadline).step("ask where the store lies"):
            clock.now += 300
            raise TimedOut

    with pytest.raises(Inconclusive, match="push did not end within 5m") as caught:
        run(options=Options(deadline=deadline))
    assert caught.value.data["stopped-at"] == "ask where the store lies"
    with pytest.raises(TimedOut):  # of no deadline of ours
        run(options=Options())
    assert exit_of(TimedOut()) == ExitCode.INCONCLUSIVE
