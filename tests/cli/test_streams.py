"""What a command does where its output cannot go, and what a bar does on a narrow terminal."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from sovgate.cli._emit import Style
from sovgate.cli._progress import Bar

ROOT = Path(__file__).parent.parent.parent
LIST = ("regions", "list", "--country", "DE")
WRONG = ("regions", "show", "nowhere")

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def run(words: tuple[str, ...], redirect: str, form: str) -> tuple[int, str]:
    """Exit code and standard error of a command whose streams a shell redirected."""
    line = " ".join((sys.executable, "-m", "sovgate", *words, "--format", form, redirect))
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_reader_that_went_away_is_no_defect(form: str) -> None:
    assert run(LIST, "| true", form) == (141, "")


def test_help_that_nobody_reads_is_no_defect() -> None:
    assert run(("sign", "--help"), "| true", "text") == (141, "")


def test_an_error_that_nobody_reads_keeps_its_code() -> None:
    assert run(WRONG, "2>&1 | true", "text")[0] == 2
    assert run(WRONG, "| true", "json") == (2, "")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_full_disk_under_the_output_is_24_and_says_that_the_work_is_done(form: str) -> None:
    code, said = run(LIST, ">/dev/full", form)
    assert code == 24
    assert "standard output" in said
    assert "No space left" in said


def test_an_error_on_a_full_disk_keeps_its_code() -> None:
    assert run(WRONG, ">/dev/full", "json")[0] == 2
    assert run(WRONG, "2>/dev/full", "text")[0] == 2


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_a_closed_stream_changes_nothing_but_what_is_seen(closed: str, form: str) -> None:
    assert run(LIST, closed, form)[0] == 0
    assert run(WRONG, closed, form)[0] == 2


class Terminal(io.StringIO):
    """Text that claims to be a terminal; `fileno` is one of the given width."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.ours, self.theirs = os.openpty()
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, size)

    def fileno(self) -> int:
        return self.theirs


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_a_bar_never_wraps(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(columns)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("COLUMNS", raising=False)
    bar = Bar("verifying and decrypting", 5 << 40)
    bar.done = 3 << 40
    bar.draw(bar.started + 1000)
    (line,) = terminal.getvalue().split("\r\x1b[2K")[1:]
    assert len(line) < columns
    assert re.match(r"verifying", line)
    bar.total = None
    bar.draw(bar.started + 1000)
    assert len(terminal.getvalue().split("\r\x1b[2K")[-1]) < columns


def test_json_is_whole_where_the_other_stream_is_closed() -> None:
    line = f"{sys.executable} -m sovgate regions list --format json 2>&-"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=ROOT,
        capture_output=True,
        check=True,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
    )
    assert json.loads(done.stdout)["exit"] == 0


@pytest.mark.parametrize(("value", "coloured"), [(None, True), ("", True), ("1", False)])
def test_no_color_counts_where_it_is_not_empty(
    value: str | None, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    terminal = Terminal(80)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    assert Style(terminal).on is coloured


_LATE = """
import os, signal, sys
import sovgate.cli._failure as failure
from sovgate.cli import main, root

run = root.main

def end(*_):
    os.kill(os.getpid(), signal.SIGTERM)

class Out:
    flush = end

def late(*words, **more):
    code = run(*words, **more)
    sys.stdout = Out()
    return code

root.main, failure.render = late, end
main()
"""


@pytest.mark.parametrize("words", [LIST, WRONG], ids=["done", "failed"])
def test_a_signal_after_the_last_step_ends_it_without_a_traceback(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LATE, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")


_LOST = """
import os, signal, sys
from sovgate.cli import main, root

class Held:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):  # so that it is heard in here
            pass

def run(*_, **__):
    Held()
    while True:  # no error of Held's ends this
        signal.pause()

root.main = run
sys.argv = ["sovgate"]
main()
"""


def test_a_signal_that_a_finalizer_swallows_is_heard_all_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOST], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 143
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
