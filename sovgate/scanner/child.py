"""The child that looks into files: started at the first file that needs it, and bounded.

Starts a process without environment, descriptors or standard streams of ours, and hands it files,
which it looks at one after the other while we read on. What it answers is hostile too.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sovgate.blocks import Blocks, Reader
from sovgate.errors import DiskError
from sovgate.scanner import names

#: Seconds of wall clock for one file, and for so many bytes of it one second more. The child's
#: own bounds are of processor time, and end it earlier where the disk is not what takes long.
TIMEOUT, BYTES_A_SECOND = 60, 1024 * 1024
MAX_ANSWER = 64 * 1024
#: So many children may one scan use up; every further file that needs a look counts.
MAX_CHILDREN = 4
#: So many files may wait for their answers. What they take of a socket's room is a few KiB each.
AHEAD = 8


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


class Look:
    """A file that was handed over; `found` is its answer, once `Scanner.answer` gave it out."""

    def __init__(self, name: str, file: Reader) -> None:
        self.name, self.file = name, file
        self.found: Found | None = None
        self.waits, self.handed = True, False


def _parts(name: str) -> list[str]:
    """Whatever of a file's way can be imported, with any of its folders on the path."""
    return name.split("/") if name.endswith((".py", ".pyc", ".pyw", ".so", ".pyd")) else []


class Scanner:
    """Use as a context manager: leaving it ends the child. `files` are those of the model."""

    def __init__(self, files: Iterable[str] = ()) -> None:
        self._own = {part.partition(".")[0] for name in files for part in _parts(name)}
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._started, self._broken = 0, False
        self._waiting: deque[Look] = deque()

    def __enter__(self) -> Scanner:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._waiting.clear()
        self._end()

    def scan(self, name: str, descriptor: int) -> Found | None:
        """Whether the open file counts as a pickle. `name` is what it is called, with `/`.

        Raises DiskError where no child can be started, OSError where the file cannot be read.
        """
        return self.answer(self.begin(name, Reader.of(descriptor)))

    def begin(self, name: str, file: Reader) -> Look:
        """Hand a file over, and go on: as `scan`, with `answer` after it.

        The file stays open until its answer was asked for; at most `AHEAD` wait. What the child
        reads of it joins what this `file` has read.
        """
        head = file.read(0, names.HEAD)
        tail_at = max(0, file.size - names.TAIL)
        tail = head if file.size <= len(head) else file.read(tail_at, names.TAIL)
        look = Look(name, file)
        if not names.needs_look(name, head, tail):
            look.waits = False
            return look
        while len(self._waiting) >= AHEAD:
            self.answer(self._waiting[0])
        self._waiting.append(look)
        self._hand()
        return look

    def answer(self, look: Look) -> Found | None:
        """What was found in it, waiting for that if need be. Raises DiskError as `scan`."""
        while look.waits:
            first = self._waiting[0]
            if not first.handed:
                self._end()
                self._hand()
            try:
                # No child is left for one that is not handed over even now.
                first.found = self._hear(first) if first.handed else _LIMITS
            except (OSError, EOFError, ValueError, KeyError, TypeError):
                # It took the others with it; they are no worse for that, and are handed over anew.
                first.found = _LIMITS
                self._end()
            first.waits = False
            self._waiting.popleft()
        return look.found

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

    def _hand(self) -> None:
        """Hand over what waits, in order. After one that failed none follows to this child.

        Answers carry no name: one that came in another's place would be taken for its own.
        """
        for look in self._waiting:
            if look.handed:
                continue
            if self._process is None:
                if self._started >= MAX_CHILDREN:
                    return
                self._start()
            if self._channel is None or self._broken:
                return
            self._channel.settimeout(TIMEOUT)
            told = {"name": look.name[-4096:], "size": look.file.size}
            request = json.dumps(told).encode()
            message = len(request).to_bytes(4, "big") + request
            try:
                sent = socket.send_fds(self._channel, [message], [look.file.descriptor])
                self._channel.sendall(message[sent:])
            except OSError:
                self._broken = True
                return
            look.handed = True

    def _hear(self, look: Look) -> Found | None:
        assert self._channel is not None  # noqa: S101 - `_start` made it
        self._channel.settimeout(TIMEOUT + look.file.size / BYTES_A_SECOND)
        answer = json.loads(self._part(MAX_ANSWER))
        blocks = look.file.blocks
        blocks.merge(Blocks.unpacked(self._part(blocks.most), blocks.size))
        if answer is None:
            return None
        if "modules" in answer:
            own = self._own.intersection(map(str, answer["modules"]))
            why = "a text that is a pickle where its folder is on the path: it asks for "
            return Found(why=why + min(own)[:80]) if own else None
        inside = tuple(str(part)[:256] for part in answer["inside"])
        return Found(
            why=str(answer["why"])[:500], inside=inside[:16], by_name=answer["by_name"] is True
        )

    def _part(self, most: int) -> bytes:
        length = int.from_bytes(self._take(4), "big")
        if length > most:
            raise ValueError(length)
        return self._take(length)

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
        self._broken = False
        for look in self._waiting:
            look.handed = False
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.kill()
            self._process.wait()
            self._process = None
