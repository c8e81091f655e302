"""The child that looks into files: started at the first file that needs it, and bounded.

Starts a process without environment, descriptors or standard streams of ours, and hands it one
file at a time. What it answers is hostile too.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sovgate.errors import DiskError
from sovgate.scanner import names

#: Seconds of wall clock for one file, and for so many bytes of it one second more. The child's
#: own bounds are of processor time, and end it earlier where the disk is not what takes long.
TIMEOUT, BYTES_A_SECOND = 60, 1024 * 1024
MAX_ANSWER = 64 * 1024
#: So many children may one scan use up; every further file that needs a look counts.
MAX_CHILDREN = 4


@dataclass(frozen=True, kw_only=True)
class Found:
    """Why a file counts as a pickle, and the way to it: names of what lies in what.

    `by_name`: its content did not decide, and its name says that it is loaded as one.
    """

    why: str
    inside: tuple[str, ...] = ()
    by_name: bool = False

    def way(self, name: str) -> str:
        return " > ".join((name, *self.inside))

    def __str__(self) -> str:
        return f"{self.why}, in {' > '.join(self.inside)}" if self.inside else self.why


_LIMITS = Found(why="a file that could not be looked through within its limits")


class Scanner:
    """Use as a context manager: leaving it ends the child."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._started = 0

    def __enter__(self) -> Scanner:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._end()

    def scan(self, name: str, descriptor: int) -> Found | None:
        """Whether the open file counts as a pickle. `name` is what it is called, with `/`.

        Raises DiskError where no child can be started, OSError where the file cannot be read.
        """
        size = os.fstat(descriptor).st_size
        head = os.pread(descriptor, names.HEAD, 0)
        tail_at = max(0, size - names.TAIL)
        tail = head if size <= len(head) else os.pread(descriptor, names.TAIL, tail_at)
        if not names.needs_look(name, head, tail):
            return None
        if self._process is None:
            if self._started >= MAX_CHILDREN:
                return _LIMITS
            self._start()
        try:
            return self._ask(name, descriptor, size)
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            self._end()
            return _LIMITS

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._started += 1
        folder = Path(__file__).resolve().parent
        command = [sys.executable, "-I", "-S", str(folder / "worker.py"), str(folder.parent.parent)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                close_fds=True,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise DiskError(
                "the process that looks for pickles could not be started", why=str(error)
            ) from error
        finally:
            theirs.close()
        self._channel = ours

    def _ask(self, name: str, descriptor: int, size: int) -> Found | None:
        assert self._channel is not None  # noqa: S101 - `_start` made it
        channel = self._channel
        channel.settimeout(TIMEOUT + size / BYTES_A_SECOND)
        request = json.dumps({"name": name[-4096:]}).encode()
        socket.send_fds(channel, [len(request).to_bytes(4, "big") + request], [descriptor])
        length = int.from_bytes(self._take(4), "big")
        if length > MAX_ANSWER:
            raise ValueError(length)
        answer = json.loads(self._take(length))
        if answer is None:
            return None
        inside = tuple(str(part)[:256] for part in answer["inside"])
        return Found(
            why=str(answer["why"])[:500], inside=inside[:16], by_name=answer["by_name"] is True
        )

    def _take(self, count: int) -> bytes:
        assert self._channel is not None  # noqa: S101 - `_start` made it
        data = b""
        while len(data) < count:
            more = self._channel.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def _end(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.kill()
            self._process.wait()
            self._process = None
