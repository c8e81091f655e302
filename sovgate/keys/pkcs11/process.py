"""The process that holds a PKCS#11 module, seen from here: started, asked, ended.

A module is foreign native code. In a process of its own it cannot end ours, nor read what it holds;
it gets no environment but the one variable that its key names, and no descriptor of ours. What it
answers is hostile too.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

from sovgate import strict
from sovgate.errors import ConfigError, KeyServiceError, Malformed
from sovgate.keys._answers import timed_out

_clock = time.monotonic
#: Seconds for one answer. An HSM behind a network takes one; nothing here makes a key.
TIMEOUT = 30.0
#: The same, where a person types a PIN at the token's own keys.
PATIENCE = 120.0
#: Facts of eight objects; a certificate is the largest.
MAX_ANSWER = 256 * 1024
_ENDS = 2.0


class FailedError(Exception):
    """The module refused: `name` is python-pkcs11's name of the return value, CKR_… in camel case.

    `said`: the dynamic loader's words, where it could not be loaded.
    """

    def __init__(self, name: str, said: str = "") -> None:
        super().__init__(name)
        self.name, self.said = name, said


class Process:
    """One module, loaded. Ends with the last one that holds it. Asked by one thread at a time."""

    def __init__(self, module: str, variable: tuple[str, str] | None, key: str) -> None:
        self._key, self._module = key, module
        self._lock, self._owner = threading.Lock(), os.getpid()
        self._channel, theirs = socket.socketpair()
        worker = Path(__file__).with_name("worker.py")
        command = [sys.executable, "-I", "-S", "-B", str(worker), module, _packages()]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict([variable] if variable else []),
                # A module may read its settings from where it runs (YubiHSM's does).
                cwd="/",
                close_fds=True,
                start_new_session=True,
            )
        except OSError as error:
            self._channel.close()
            raise KeyServiceError(
                "the process for the PKCS#11 module could not be started",
                why=error.strerror,
                fix="free memory and processes here, and run it again",
                reason="no-answer",
            ) from error
        finally:
            theirs.close()
        self._finish = weakref.finalize(self, _end, self._channel, self._process, self._owner)
        try:
            self._hear("load the module for")
        except BaseException:
            self.end()
            raise

    def ask(
        self, do: str, doing: str, *, seconds: float | None = None, **parameters: Any
    ) -> dict[str, Any]:
        """One answer. `doing` completes "could not … KEY"; `seconds` in place of TIMEOUT.

        Raises FailedError; KeyServiceError "timed-out", "no-answer" where the module hung or ended
        its process: then nothing more is asked of it.
        """
        with self._lock:
            if not self.alive:
                raise self._ended(doing)
            body = json.dumps({"do": do, **parameters}).encode()
            with contextlib.suppress(OSError):  # told when it is heard
                self._channel.settimeout(TIMEOUT)
                self._channel.sendall(len(body).to_bytes(4, "big") + body)
            try:
                return self._hear(doing, seconds)
            except FailedError:
                raise
            except BaseException:  # an answer that nobody waited for would be taken for the next
                self.end()
                raise

    @property
    def alive(self) -> bool:
        """Whether it can be asked, by the process that started it."""
        return self._finish.alive and self._owner == os.getpid()

    def end(self) -> None:
        self._finish()

    def _hear(self, doing: str, seconds: float | None = None) -> dict[str, Any]:
        within = TIMEOUT if seconds is None else seconds
        try:
            ends = _clock() + within
            length = int.from_bytes(self._take(4, ends), "big")
            if length > MAX_ANSWER:
                raise ValueError
            answer = strict.loads(self._take(length, ends))
            if not isinstance(answer, dict):
                raise ValueError
        except TimeoutError:
            raise timed_out(self._key, doing, within) from None
        except (OSError, EOFError, ValueError, Malformed):
            raise self._ended(doing) from None
        if "error" in answer:
            name, said = answer["error"], answer.get("said", "")
            raise FailedError(str(name)[:60], str(said)[:400])
        return answer

    def _take(self, count: int, ends: float) -> bytes:
        """One that comes byte by byte is not waited for longer: `ends` is of the whole answer."""
        data = b""
        while len(data) < count:
            left = ends - _clock()
            if left <= 0:
                raise TimeoutError
            self._channel.settimeout(left)
            more = self._channel.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def _ended(self, doing: str) -> KeyServiceError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDS)
        code = self._process.poll()
        how = "gave no valid answer" if code is None else f"ended with {code}"
        if code is not None and code < 0:
            how = f"crashed (signal {-code})"
        return KeyServiceError(
            f"could not {doing} {self._key[:200]}",
            why=f"the process that holds the module {self._module!r} {how}; nothing was done "
            "with what it had not answered",
            fix="try the module with pkcs11-tool --module PATH --list-slots, and ask its vendor",
            reason="no-answer",
        )


def _end(channel: socket.socket, process: subprocess.Popen[bytes], owner: int) -> None:
    """The end of its requests lets it close its session and the module; else it is killed."""
    channel.close()
    if owner != os.getpid():  # forked: it is not ours to end
        return
    try:
        process.wait(_ENDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _packages() -> str:
    """The folder of python-pkcs11, which is imported there and not here."""
    found = importlib.util.find_spec("pkcs11")
    if found is None or found.origin is None:
        raise ConfigError(
            "a pkcs11: key needs a package that is not installed",
            why="No module named 'pkcs11'",
            fix="pip install 'sovgate[hsm]'",
            reason="missing-package",
        )
    return str(Path(found.origin).parent.parent)
