"""Runs one program to its end, bounded in time and output. Ground floor: standard library only.

RULES 21, 24, 29: programs are found in fixed places, and what they print is made fit to be shown.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sovgate.errors import GitError
from sovgate.host import PROGRAM_DIRS as PROGRAM_DIRS
from sovgate.host import program

MAX_STDERR = 64 * 1024
#: A token for HTTPS, and the user name that goes with it (GitHub's and GitLab's takes any).
TOKEN, TOKEN_USER = "SOVGATE_GIT_TOKEN", "SOVGATE_GIT_USER"

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_USERINFO = re.compile(r"://[^/\s@]*@")


def printable(data: bytes | str, *, most: int = 2000, hide: Sequence[str] = ()) -> str:
    """Foreign output made fit for a message: no control characters, no credentials, bounded.

    Of a longer text the middle goes: a server speaks first, and what git makes of it stands last.
    `hide` are further secrets.
    """
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    text = _USERINFO.sub("://…@", _CONTROL.sub("", text.replace("\r", "\n")))
    for secret in (*_token(), *hide):
        text = text.replace(secret, "…")
    text = text.strip()
    if len(text) <= most:
        return text
    first = most // 4
    return f"{text[:first]}\n…\n{text[first - most :]}"


def _token() -> tuple[str, ...]:
    """The token as it is written, and as it goes over the wire, whence a server may echo it."""
    token = os.environ.get(TOKEN)
    if not token:
        return ()
    return token, base64.b64encode(f"{token_user()}:{token}".encode()).decode()


def token_user() -> str:
    return os.environ.get(TOKEN_USER) or "x-access-token"


def find_program(name: str) -> str:
    """The absolute path of a program in one of PROGRAM_DIRS. Raises GitError "git-missing"."""
    if (found := program(name)) is not None:
        return found
    raise GitError(
        f"{name} is not installed",
        why=f"looked in {', '.join(PROGRAM_DIRS)}; PATH is not used, because others can change it",
        fix=f"install {name} with the system's package manager",
        reason="git-missing",
    )


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a call of Git left. `stderr` is printable; `stdout` is raw, bounded."""

    code: int
    stdout: bytes
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`most` bytes on standard output, and `seconds` from start to end."""

    most: int
    seconds: float


def execute(
    command: Sequence[str],
    *,
    environment: dict[str, str],
    folder: Path,
    stdin: bytes,
    limits: Limits,
    hide: Sequence[str] = (),
) -> Done:
    """Run one program to its end, or kill its whole process group at the limits.

    `hide` are secrets that it must not show on its standard error.
    """
    with tempfile.TemporaryFile(dir=folder) as source:
        source.write(stdin)
        source.seek(0)
        try:
            process = subprocess.Popen(
                list(command),
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=folder,
                close_fds=True,
                start_new_session=True,
            )
        except OSError as error:
            raise GitError(
                "git could not be started", why=f"{command[0]}: {error.strerror}"
            ) from error
    try:
        with process:
            try:
                stdout, stderr = _collect(process, limits.most, time.monotonic() + limits.seconds)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
    except TimeoutError:
        raise GitError(
            "git did not finish in time",
            why=f"more than {limits.seconds:.0f} seconds",
            fix="check that the repository answers, and run it again",
            reason="git-timeout",
        ) from None
    if len(stderr) == MAX_STDERR:  # its first line was cut, and a secret in it perhaps with it
        stderr = stderr.partition(b"\n")[2]
    return Done(code=process.returncode, stdout=stdout, stderr=printable(stderr, hide=hide))


def _collect(process: subprocess.Popen[bytes], most: int, end: float) -> tuple[bytes, bytes]:
    out, err = process.stdout, process.stderr
    if out is None or err is None:
        raise ValueError("pipes")
    taken: dict[int, bytearray] = {out.fileno(): bytearray(), err.fileno(): bytearray()}
    with selectors.DefaultSelector() as selector:
        for descriptor in taken:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _ in selector.select(left):
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fd)
                elif key.fd == err.fileno():
                    # The last words are the telling ones.
                    taken[key.fd] = (taken[key.fd] + data)[-MAX_STDERR:]
                else:
                    taken[key.fd] += data
                    if len(taken[key.fd]) > most:
                        raise GitError(
                            "git's answer is larger than allowed",
                            why=f"more than {most} bytes",
                            reason="limits",
                        )
    try:
        process.wait(max(0.1, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return bytes(taken[out.fileno()]), bytes(taken[err.fileno()])
