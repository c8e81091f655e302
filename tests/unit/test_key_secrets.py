"""The one door for secrets: where they come from, in which order, and what is never told."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sovgate.errors import KeyServiceError
from sovgate.keys import _secret
from tests.pace import HANG, until

CANARY = "canary-4711-correct-horse"
NAME = "SOVGATE_TEST_SECRET"


@pytest.fixture(autouse=True)
def nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")


def test_a_file_of_the_uri_comes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, other = tmp_path / "pin", tmp_path / "other"
    named.write_text("one\n")
    other.write_text("two\r\n")
    monkeypatch.setenv(f"{NAME}_FILE", str(other))
    assert _secret.secret("the PIN", NAME) == "two"
    monkeypatch.setenv(NAME, "three")
    assert _secret.secret("the PIN", NAME) == "three"
    assert _secret.secret("the PIN", NAME, file=named) == "one"


def test_without_one_the_error_says_which_variables_to_set() -> None:
    with pytest.raises(KeyServiceError) as caught:
        _secret.secret("the PIN of token eu", NAME, reason="pin-missing")
    assert caught.value.reason == "pin-missing"
    assert caught.value.exit_code == 20
    assert NAME in str(caught.value.fix)
    assert f"{NAME}_FILE" in str(caught.value.fix)
    assert _secret.maybe("the PIN", NAME) is None


@pytest.mark.parametrize("how", ["folder", "empty", "huge", "binary", "public", "gone", "itself"])
def test_rule_29_a_file_that_cannot_be_used_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = tmp_path / "secret"
    content = {"empty": b"\n", "huge": b"x" * 20_000, "binary": b"\xff\xfe" + CANARY.encode()}
    if how == "folder":
        path.mkdir()
    elif how not in ("gone", "itself"):
        path.write_bytes(content.get(how, CANARY.encode()))
    if how == "public":
        path.chmod(0o666)
    monkeypatch.setenv(f"{NAME}_FILE", CANARY * 200 if how == "itself" else str(path))
    with pytest.raises(KeyServiceError) as caught:
        _secret.secret("the token", NAME)
    error = caught.value
    assert error.reason == "secret-file"
    assert CANARY not in f"{error.what}{error.why}{error.fix}{error.__cause__}"


_ASK = f"""
from sovgate.keys._secret import secret
print("the same" if secret("the PIN of token eu", "{NAME}") == {CANARY!r} else "another")
"""


def test_a_person_at_a_terminal_is_asked_and_it_is_not_echoed() -> None:
    """Started anew: the terminal is that of a process, and so is where it reads and writes."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    process = subprocess.Popen(
        [sys.executable, "-c", _ASK],
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    said: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # its end
            while part := os.read(ours, 1024):
                said.append(part)

    threading.Thread(target=read, daemon=True).start()
    until(lambda: b"the PIN of token eu: " in b"".join(said), what="the prompt")
    os.write(ours, CANARY.encode() + b"\n")
    assert process.communicate(timeout=HANG)[0] == b"the same\n"
    assert CANARY.encode() not in b"".join(said)
    os.close(ours)
