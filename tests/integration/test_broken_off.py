"""Whoever waits for a server is told that nobody waits for it: after Ctrl-C, after `--within`.

The server of each test is silent for as long as it lasts. Where the word did not come through, the
time-out would end the wait, with another error.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sovgate.clouds.aws import body
from sovgate.errors import Terminated
from sovgate.stores.registry import open_store
from sovgate.transport import authority
from sovgate.transport.client import Client, Request
from sovgate.transport.wire import READ_TIMEOUT
from sovgate.work import BrokenOff, Workers, pause
from tests.integration.test_cloud_connections import tls_for
from tests.talker import Said, talking

LARGE = bytes(32 * 1024 * 1024)


class Silence:
    """What a server says after which nothing comes any more."""

    def __init__(self, first: bytes = b"") -> None:
        self.begun, self.over, self._first = threading.Event(), threading.Event(), first

    def __iter__(self) -> Iterator[bytes]:
        if self._first:
            yield self._first
        self.begun.set()
        self.over.wait()


def ended(step: Callable[[], object], silence: Silence) -> list[str]:
    """How the step ends that waits for this silence when somebody presses Ctrl-C."""
    seen: list[str] = []

    def noted() -> None:
        try:
            step()
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    try:
        with contextlib.suppress(Terminated), Workers(1) as workers:
            workers.submit(noted)
            silence.begun.wait()
            raise Terminated
    finally:
        silence.over.set()
    return seen


@contextlib.contextmanager
def silent(silence: Silence, *, tls: bool, folder: Path) -> Iterator[Client]:
    context, root = tls_for("localhost", folder=folder) if tls else (None, None)
    script: list[Said] = [silence]
    with talking(script, tls=context) as talker, contextlib.ExitStack() as stack:
        if root is not None:
            stack.enter_context(authority.trusting(root))
        yield Client(f"{'https' if tls else 'http'}://localhost:{talker.port}", attempts=1)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx"])
def test_a_wait_for_an_answer_ends(first: bytes, tls: bool, tmp_path: Path) -> None:
    silence = Silence(first)
    with silent(silence, tls=tls, folder=tmp_path) as client:
        asked = Request(method="GET", target="/x")
        assert ended(lambda: client.ask(asked).read(1000), silence) == [BrokenOff.__name__]


def test_a_wait_for_who_says_nothing_in_tls_ends() -> None:
    """The system takes the connection; nobody there answers the first word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silence = Silence()
        client = Client(f"https://127.0.0.1:{listener.getsockname()[1]}", attempts=1)

        def step() -> None:
            silence.begun.set()
            client.ask(Request(method="GET", target="/x"))

        assert ended(step, silence) == [BrokenOff.__name__]


def test_sending_to_who_takes_nothing_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silence = Silence()
        client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", attempts=1)

        def step() -> None:
            silence.begun.set()
            client.ask(Request(method="PUT", target="/x", body=(LARGE,), again=False))

        assert ended(step, silence) == [BrokenOff.__name__]


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b'HTTP/1.1 200 OK\r\nContent-Length: 9000\r\nETag: "a"\r\n\r\nx',
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_wait_for_s3_ends(monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    silence = Silence(first)
    with talking([silence]) as talker:
        store = open_store(f"s3://models?endpoint={talker.url}", Path())
        got = ended(lambda: store.get("chunks/x", most=9000), silence)
        assert got == [BrokenOff.__name__]


def test_sending_to_an_s3_that_takes_nothing_ends() -> None:
    from botocore.httpsession import URLLib3Session  # type: ignore[import-untyped]

    session: Any = URLLib3Session()
    body.patient(session, READ_TIMEOUT)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silence, place = Silence(), listener.getsockname()
        connection = session._pool_classes_by_scheme["http"].ConnectionCls(*place)

        def step() -> None:
            connection.connect()
            silence.begun.set()
            connection.send(LARGE)

        assert ended(step, silence) == [BrokenOff.__name__]
        connection.close()


def test_a_pause_before_another_try_ends() -> None:
    silence = Silence()

    def step() -> None:
        silence.begun.set()
        pause(3600)

    assert ended(step, silence) == [BrokenOff.__name__]


def test_an_s3_that_gives_a_byte_a_minute_holds_nobody_for_ever() -> None:
    """By a clock of the test's: each byte takes 59 seconds of it."""
    ours, theirs = socket.socketpair()
    ticks = itertools.count(0, 59)
    with ours, theirs:
        theirs.sendall(bytes(100))
        answer = body._Awaited(io.BytesIO(), ours, 60, clock=lambda: float(next(ticks)))
        with pytest.raises(TimeoutError):
            for _ in range(100):
                answer.readinto(bytearray(1))
        assert len(ours.recv(200)) > 90


def test_an_s3_may_be_as_slow_as_a_link_that_moves() -> None:
    ours, theirs = socket.socketpair()
    ticks = itertools.count(0, 10)
    with ours, theirs:
        theirs.sendall(bytes(64 * 1024))
        answer = body._Awaited(io.BytesIO(), ours, 60, clock=lambda: float(next(ticks)))
        assert sum(answer.readinto(bytearray(16 * 1024)) for _ in range(4)) == 64 * 1024
