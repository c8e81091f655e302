"""`push --within` and `pull --within`: it ends in time, nothing half is left, a rerun finishes.

The clock is the test's. No test waits for one.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sovgate.cli._within import within
from sovgate.errors import Inconclusive
from sovgate.pipeline.deadline import Deadline
from sovgate.pipeline.decide import contents
from sovgate.pipeline.move import movement
from sovgate.pipeline.move.movement import LOOK
from sovgate.pipeline.move.pull import pull
from sovgate.pipeline.move.push import push
from sovgate.records import Options
from tests.crossing import Crossing, make_crossing, tree


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Crossing:
    return make_crossing(tmp_path_factory.mktemp("made") / "project")


@pytest.fixture
def crossing(made: Crossing, tmp_path: Path) -> Crossing:
    shutil.copytree(made.base, tmp_path / "project")
    return Crossing(base=tmp_path / "project", model=tmp_path / "project" / "model")


class Jump:
    """A clock that stands still, and is an hour on from the look at it of that number."""

    def __init__(self, at: int) -> None:
        self.looks, self.at = 0, at

    def __call__(self) -> float:
        self.looks += 1
        return 3600.0 * (self.looks >= self.at)


def pushing(crossing: Crossing, deadline: Deadline) -> Callable[[], object]:
    options = Options(project=crossing.base, deadline=deadline)
    return lambda: push(
        crossing.model, release=crossing.release, zone="home", to="eu", options=options
    )


def pulling(crossing: Crossing, deadline: Deadline) -> Callable[[], object]:
    options = Options(project=crossing.base, deadline=deadline)
    output = crossing.base / "pulled"
    return lambda: pull(crossing.release, zone="eu", output=output, options=options)


def test_whenever_the_time_is_over_a_push_shows_no_release_and_is_run_again(
    crossing: Crossing,
) -> None:
    stopped = []
    for at in range(2, 100, 3):
        deadline = Deadline("5m", "push", clock=Jump(at))
        try:
            pushing(crossing, deadline)()
        except Inconclusive as error:
            assert (error.exit_code, error.reason) == (14, "out-of-time")
            assert crossing.objects("releases/") == []
            stopped.append(error.data["stopped-at"])
        else:
            break
    assert "encrypt and send" in stopped
    assert len(crossing.objects("releases/")) == 1
    found = crossing.json("audit", "verify", "--zone", "home", code=0)
    ends = [run["last"] for log in found["logs"] for run in log["runs"]]
    assert {(end["kind"], end["exit"]) for end in ends} == {("outcome", 14), ("outcome", 0)}


def test_whenever_the_time_is_over_a_pull_shows_no_model_and_is_run_again(
    crossing: Crossing,
) -> None:
    crossing.push()
    stopped = []
    before = sorted(path.name for path in crossing.base.iterdir())
    for at in range(2, 100, 3):
        deadline = Deadline("5m", "pull", clock=Jump(at))
        try:
            pulling(crossing, deadline)()
        except Inconclusive as error:
            assert error.reason == "out-of-time"
            stopped.append(error.data["stopped-at"])
            there = sorted(path.name for path in crossing.base.iterdir())
            assert set(there) - set(before) <= {"pulled", "pulled.evidence"}
            if "pulled" in there:
                assert tree(crossing.base / "pulled") == tree(crossing.model)
        else:
            break
    assert "decrypt and verify" in stopped
    assert tree(crossing.base / "pulled") == tree(crossing.model)
    assert len(crossing.objects("receipts/")) == 1


def slow(monkeypatch: pytest.MonkeyPatch, clock: Alarm, seconds: float) -> None:
    """The look takes so long, and nothing else takes any time."""
    real = contents.look_into

    def look(*words: Any) -> contents.Seen:
        clock.now += seconds
        return real(*words)

    monkeypatch.setattr(contents, "look_into", look)
    monkeypatch.setattr(movement, "_seconds", clock)


@pytest.mark.parametrize("ways", [pushing, pulling])
def test_a_look_that_is_slow_is_the_step_that_is_named(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch, ways: Callable[..., Callable[[], object]]
) -> None:
    if ways is pulling:
        crossing.push()
    clock = Alarm()
    slow(monkeypatch, clock, 299.0)
    ways(crossing, Deadline("5m", "it", clock=clock))()
    shutil.rmtree(crossing.base / ("pulled" if ways is pulling else "eu-store"))
    slow(monkeypatch, clock, 1.0)
    with pytest.raises(Inconclusive) as caught:
        ways(crossing, Deadline("5m", "it", clock=clock))()
    assert caught.value.data["slowest"] == LOOK
    assert f"the slowest step was {LOOK!r}, with 300.0 s" in str(caught.value.why)


def test_the_look_into_one_file_is_a_step_too(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossing.push()
    clock = Alarm()
    real = contents.of_some_files

    def look(*words: Any) -> contents.Contents:
        clock.now += 7.0
        return real(*words)

    monkeypatch.setattr(contents, "of_some_files", look)
    monkeypatch.setattr(movement, "_seconds", clock)
    done = crossing.json(
        *("pull", "churn/1.0.0", "--zone", "eu", "--file", "model.bin", "-o", "one")
    )
    took = {step["step"]: step["seconds"] for step in done["steps"]}
    assert {name: seconds for name, seconds in took.items() if seconds} == {LOOK: 7.0}


def test_the_look_is_a_step_of_what_is_told_too(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, Alarm(), 7.0)
    for done in (crossing.push(), crossing.pull(), crossing.pull()):
        took = {step["step"]: step["seconds"] for step in done["steps"]}
        assert {name for name, seconds in took.items() if seconds} == {LOOK}
        assert took[LOOK] == 7.0


class Alarm:
    """Progress at which the alarm rings, while the thread of the command is in the middle."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def ring(self, _: int) -> None:
        self.now = 3600.0
        signal.raise_signal(signal.SIGALRM)


class Ringing:
    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm

    def expect(self, total: int) -> None:
        pass

    def __call__(self, count: int) -> None:
        self._alarm.ring(count)


def test_an_alarm_ends_what_waits_and_is_written_down(crossing: Crossing) -> None:
    alarm, before = Alarm(), signal.getsignal(signal.SIGALRM)
    with (
        pytest.raises(Inconclusive) as caught,
        within("5m", "push", alarm) as deadline,
    ):
        options = Options(project=crossing.base, deadline=deadline, progress=Ringing(alarm))
        push(crossing.model, release=crossing.release, zone="home", to="eu", options=options)
    assert caught.value.data["stopped-at"] == "encrypt and send"
    assert crossing.objects("releases/") == []
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    found = crossing.json(
        "audit", "verify", "--zone", "home", code=14
    )  # no head of it is elsewhere
    assert [run["last"]["exit"] for log in found["logs"] for run in log["runs"]] == [14]
    crossing.push()
    crossing.pull()


def test_an_alarm_that_comes_early_ends_nothing(crossing: Crossing) -> None:
    alarm = Alarm()
    with within("5m", "push", alarm) as deadline:
        signal.raise_signal(signal.SIGALRM)
        assert deadline is not None
        assert not deadline.over


@pytest.mark.parametrize("more", [("--within", "5x"), ("--within", "0s")])
def test_a_time_that_is_none_is_said_before_anything_is_done(
    crossing: Crossing, more: tuple[str, ...]
) -> None:
    before = tree(crossing.base)
    assert crossing.push(*more, code=2)["error"]["reason"] == "bad-time"
    assert crossing.pull(*more, code=2)["error"]["reason"] == "bad-time"
    assert tree(crossing.base) == before


def test_a_run_that_ends_in_time_is_as_any_other(crossing: Crossing) -> None:
    crossing.push("--within", "2h")
    crossing.pull("--within", "2h")
    crossing.json(
        "pull", "churn/1.0.0", "--zone", "eu", "--file", "empty", "-o", "e", "--within", "2h"
    )
