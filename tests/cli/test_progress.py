"""How far a command is: who is told, what, and that nothing but standard error holds it."""

from __future__ import annotations

import io
import json
import sys
import threading

import pytest

from sovgate.cli import _progress
from sovgate.cli._emit import FORM, QUIET
from sovgate.cli._progress import Bar, Events, Lines, Meter, Zones, progress

MIB = 1024 * 1024


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


class Screen(io.StringIO):
    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def clock() -> Clock:
    return Clock()


def shown(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """In the test's own body: pytest puts its standard error in place after the fixtures."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_a_line_of_a_log_says_bytes_rate_and_time_left(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = shown(monkeypatch)
    lines = Lines("pushing", None, "eu", clock)
    lines.tick()
    lines.expect(100 * MIB)
    clock.now += 10
    lines(20 * MIB)
    lines.tick()
    clock.now += 10  # nothing moves, and one sees it
    lines.tick()
    clock.now += 1
    lines(80 * MIB)
    lines.tick()  # all is there: what comes now moves no bytes
    assert screen.getvalue().splitlines() == [
        "pushing (eu): 20.0 MiB of 100.0 MiB (20%), 2.0 MiB/s, 40.0 s left",
        "pushing (eu): 20.0 MiB of 100.0 MiB (20%), 1.0 MiB/s, 80.0 s left",
    ]


def test_an_event_is_a_json_document_a_line(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = shown(monkeypatch)
    events = Events("pulling", None, "eu", clock)
    events.tick()  # nothing is known yet
    events.expect(100)
    events.tick()
    clock.now += 4
    events(20)
    events.tick()
    clock.now += 4
    events(80)
    events.tick()
    first, second = map(json.loads, screen.getvalue().splitlines())
    assert first == {
        "event": "progress",
        "doing": "pulling",
        "zone": "eu",
        "bytes": 0,
        "total": 100,
        "bytes-per-second": 0,
        "seconds-left": None,
    }
    assert (second["bytes"], second["total"], second["seconds-left"]) == (20, 100, 16)


def test_a_bar_is_a_row_that_names_the_zone(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = shown(monkeypatch)
    bar = Bar("pushing", None, "eu", clock)
    bar.expect(100 * MIB)
    bar(1)  # within the first quarter of a second
    bar.tick()
    before = screen.getvalue()
    clock.now += 10
    bar(50 * MIB - 1)
    row = screen.getvalue()[len(before) :]
    assert row.startswith("\r\x1b[2Kpushing (eu)  ")
    assert row.endswith(" 50%  100.0 MiB  5.0 MiB/s  10.0 s left")
    assert "\n" not in screen.getvalue()
    bar.clear()
    assert screen.getvalue().endswith("\r\x1b[2K")


def test_several_zones_have_a_row_each(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn together, over and over: the cursor goes back to the first."""
    screen = shown(monkeypatch)
    both = Zones(Bar, "pushing", ("eu", "home"), clock)
    clock.now += 1
    both(7)  # the model is hashed before anything is sent
    assert screen.getvalue().endswith("pushing (eu, home)  7 B  7 B/s")
    both.expect(100 * MIB)
    rows = {zone: both.of_zone(zone) for zone in ("eu", "home")}
    for row in rows.values():
        row.expect(100 * MIB)
    clock.now += 10
    before = len(screen.getvalue())
    both(100 * MIB)  # what is read is no row's
    assert len(screen.getvalue()) == before
    rows["home"](50 * MIB)
    clock.now += 10
    rows["eu"](100 * MIB)
    first, second = screen.getvalue()[before:].split("\x1b[1A")[1].split("\n")
    assert first.startswith("\r\x1b[2Kpushing (eu)    ")
    assert "100%  100.0 MiB" in first
    assert second.startswith("\x1b[2Kpushing (home)  ")
    assert " 50%  100.0 MiB  2.5 MiB/s  20.0 s left" in second
    both.clear()
    assert screen.getvalue().endswith("\r\x1b[2K\n\x1b[2K\r\x1b[1A")


@pytest.mark.parametrize("kind", [Lines, Events])
def test_in_a_log_each_zone_has_a_line_of_its_own(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, kind: type[Meter]
) -> None:
    screen = shown(monkeypatch)
    both = Zones(kind, "pushing", ("eu", "ch"), clock)
    rows = [both.of_zone(zone) for zone in ("eu", "ch")]
    for row in rows:
        row.expect(100)
    clock.now += 1
    rows[0](20)
    rows[1](50)
    both.tick()
    first, second = screen.getvalue().splitlines()
    if kind is Events:
        told = [json.loads(line) for line in (first, second)]
        assert [(one["zone"], one["bytes"]) for one in told] == [("eu", 20), ("ch", 50)]
    else:
        assert first.startswith("pushing (eu): 20 B of 100 B")
        assert second.startswith("pushing (ch): 50 B of 100 B")


def test_what_was_counted_before_was_something_else(clock: Clock) -> None:
    """The model was verified first, and that was no part of what is sent."""
    meter = Meter("pushing", None, None, clock)
    meter(70)
    clock.now += 100
    meter.expect(10)
    clock.now += 1
    meter(5)
    assert (meter.done, meter.rate(clock()), meter.left(clock())) == (5, 5, 1)


@pytest.mark.parametrize(
    ("form", "terminal", "variables", "kind"),
    [
        ("text", True, {}, Bar),
        ("text", False, {}, Lines),
        ("text", True, {"TERM": "dumb"}, Lines),
        ("text", True, {"CI": "true"}, Lines),
        ("github", False, {"CI": "true"}, Lines),
        ("tekton", False, {}, Lines),
        ("json", True, {}, Events),
        ("json", False, {"CI": "true"}, Events),
    ],
)
def test_who_is_looking(
    form: str,
    terminal: bool,
    variables: dict[str, str],
    kind: type[Meter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", Screen(terminal=terminal))
    for name in ("CI", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    token = FORM.set(form)
    try:
        with progress("pushing", "eu") as meter:
            assert type(meter) is kind
    finally:
        FORM.reset(token)


def test_a_run_that_is_over_soon_says_nothing_and_leaves_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = shown(monkeypatch)
    before = threading.active_count()
    with progress("pushing", "eu") as meter:
        assert meter is not None
        meter(10)
    assert screen.getvalue() == ""
    assert threading.active_count() == before


def test_quiet_is_quiet() -> None:
    token = QUIET.set(True)
    try:
        with progress("pushing") as meter:
            assert meter is None
    finally:
        QUIET.reset(token)


def test_a_meter_is_looked_at_though_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()

    class Watched(Meter):
        every = 0.001

        def tick(self) -> None:
            looked.set()

    monkeypatch.setattr(_progress, "_kind", lambda: Watched)
    with progress("pushing"):
        assert looked.wait(60)


def test_a_stream_that_takes_nothing_does_not_end_the_run(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(Screen):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    Lines("pushing", 10, None, clock).tick()
    Events("pushing", 10, None, clock).tick()
