"""The one door for secrets: where they come from, in which order, and what is never told."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from sovgate import notices
from sovgate.errors import KeyServiceError
from sovgate.keys import _secret
from sovgate.transport.client import Request
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
    for path in (named, other):
        path.chmod(0o600)
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


@pytest.mark.parametrize(
    "how", ["folder", "empty", "huge", "binary", "public", "group's", "gone", "itself"]
)
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
    if how == "group's":
        path.chmod(0o660)
        monkeypatch.setattr(os, "getegid", lambda: path.stat().st_gid + 1)
        os.chown(path, -1, path.stat().st_gid or 1)
    monkeypatch.setenv(f"{NAME}_FILE", CANARY * 200 if how == "itself" else str(path))
    with pytest.raises(KeyServiceError) as caught:
        _secret.secret("the token", NAME)
    error = caught.value
    assert error.reason == "secret-file"
    assert CANARY not in f"{error.what}{error.why}{error.fix}{error.__cause__}"
    if how in ("public", "group's"):
        assert f"chmod 600 {path}" in str(error.fix)


def test_a_file_that_others_can_read_is_used_and_told_with_the_command_that_ends_it(
    tmp_path: Path,
) -> None:
    """A refusal would make people copy secrets: mounted ones are 0644, and cannot be changed."""
    path = tmp_path / "a pin"
    path.write_text(CANARY)
    for mode in (0o644, 0o640, 0o604):
        path.chmod(mode)
        said: list[str] = []
        with notices.listening(said.append):
            assert _secret.secret("the PIN", NAME, file=path) == CANARY
        (told,) = said
        assert CANARY not in told
        subprocess.run(told.rpartition(": ")[2], shell=True, check=True)  # noqa: S602 (our own)
    assert path.stat().st_mode & 0o777 == 0o600
    with notices.listening(said.append):
        assert _secret.secret("the PIN", NAME, file=path) == CANARY
    assert len(said) == 1


def test_a_mounted_secret_is_not_complained_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's, and in a container that is not: or on a file system that is read-only."""
    with tempfile.NamedTemporaryFile("w") as mounted:
        mounted.write(CANARY)
        mounted.flush()
        os.fchmod(mounted.fileno(), 0o644)
        with notices.listening(pytest.fail):
            with monkeypatch.context() as as_another:
                as_another.setattr(os, "geteuid", lambda: 12345)
                assert _secret.secret("the PIN", NAME, file=Path(mounted.name)) == CANARY
            fixed = os.statvfs_result((*os.statvfs("/")[:8], os.ST_RDONLY, 255))
            monkeypatch.setattr(os, "fstatvfs", lambda _: fixed)
            assert _secret.secret("the PIN", NAME, file=Path(mounted.name)) == CANARY


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


def test_rule_29_a_request_shows_no_credential_that_it_carries() -> None:
    asked = Request(method="POST", target="/x", headers={"Authorization": "Bearer s3cr3t"})
    assert "s3cr3t" not in repr(replace(asked, body=(b"jwt=s3cr3t",)))
