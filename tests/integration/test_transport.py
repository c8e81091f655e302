"""The HTTP client of stores without an SDK, against a server that says what it likes.

Every limit has a test in which a server goes past it. Talks to loopback alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import socket
import threading
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from sovgate.errors import ConfigError, InternalError, ResidencyMismatch, StoreError
from sovgate.transport import authority, proxies, wire
from sovgate.transport.client import ATTEMPTS, Client, Request, origin
from sovgate.transport.wire import Failure, Wire, explain
from tests.integration.test_cloud_connections import tls_for
from tests.talker import Talker, ok, talking
from tests.tunnel import tunnel

GET = Request(method="GET", target="/x")
MOST = 1000


def client(talker: Talker, waits: list[float] | None = None) -> Client:
    return Client(talker.url, wait=(waits if waits is not None else []).append)


def failure(answer: bytes | Iterable[bytes], request: Request = GET) -> Failure:
    """How the reading of this answer fails; the request is made once alone."""
    with talking([answer]) as talker, client(talker) as one:
        answered = None
        with pytest.raises(Failure) as caught:
            answered = one.ask(Request(method="POST", target="/x"))
            answered.read(MOST)
        assert talker.connections == 1
        assert one._idle == []
        return caught.value


# -- what goes well


def test_requests_share_a_connection_and_say_who_is_asked() -> None:
    with talking([ok(b"one"), ok(), ok(b"two", "X-A: 1", "x-a: 2")]) as talker, client(talker) as c:
        assert c.ask(GET).read(MOST) == b"one"
        with c.ask(Request(method="HEAD", target="/x?a=%20")) as head:
            assert head.read(MOST) == b""
        answer = c.ask(Request(method="GET", target="/y", headers={"X-B": "b"}))
        assert answer.read(3) == b"two"
    assert talker.connections == 1
    assert answer.headers["x-a"] == "1, 2"
    assert talker.heads[2].split("\r\n") == [
        "GET /y HTTP/1.1",
        f"Host: 127.0.0.1:{talker.port}",
        "Accept-Encoding: identity",
        "User-Agent: sovgate",
        "X-B: b",
    ]


def test_a_head_request_tells_the_length_that_a_get_would_have() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 16777244\r\n\r\n"
    with talking([said, ok(b"y")]) as talker, client(talker) as one:
        with one.ask(Request(method="HEAD", target="/x")) as answer:
            assert answer.length == 16777244
        assert one.ask(GET).read(MOST) == b"y"
    assert talker.connections == 1


def test_a_large_body_in_pieces_is_sent_whole_and_never_copied() -> None:
    buffer = bytearray(b"0123456789abcdef" * (8 * 1024 * 64))
    view = memoryview(buffer)[: len(buffer) - 5]
    whole = hashlib.sha256(b"before" + bytes(view) + b"after").hexdigest()
    body = (b"before", view, b"after")
    with talking([ok()]) as talker, client(talker) as one:
        tracemalloc.start()
        one.ask(Request(method="PUT", target="/x", body=body)).read(MOST)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert talker.bodies == [(len(view) + 11, whole)]
    assert peak < len(buffer) // 8


def test_a_body_is_read_into_a_buffer_up_to_its_end() -> None:
    data = bytes(range(256)) * 1000
    with talking([ok(data), ok(b"next")]) as talker, client(talker) as one:
        into, done = memoryview(bytearray(len(data) + 10)), 0
        with one.ask(GET) as answer:
            assert answer.length == len(data)
            while count := answer.readinto(into[done:]):
                done += count
        assert into[:done] == data
        assert one.ask(GET).read(MOST) == b"next"
    assert talker.connections == 1


@pytest.mark.parametrize("pieces", [(b"ab", b"c"), (b"",), (b"x" * 400, b"y" * 600)])
def test_a_chunked_answer_is_read(pieces: tuple[bytes, ...]) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces if p) + b"0\r\n\r\n"
    with talking([head + body, ok(b"next")]) as talker, client(talker) as one:
        assert one.ask(GET).read(MOST) == b"".join(pieces)
        assert one.ask(GET).read(MOST) == b"next"
    assert talker.connections == 1


def test_many_threads_ask_at_once() -> None:
    answers = [[ok(b"x" * 10) for _ in range(40)] for _ in range(40)]
    with talking(*answers) as talker, client(talker) as one:
        read: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: read.append(one.ask(GET).read(MOST))) for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert read == [b"x" * 10] * 20


# -- RULES 15: nothing leads it elsewhere


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "POST"])
def test_rule_15_no_redirect_is_followed(status: int, method: str) -> None:
    with talking([ok()]) as other:
        moved = ok(b"", f"Location: {other.url}/x", status=f"{status} Moved")
        with talking([moved, moved]) as talker, client(talker) as one:
            request = Request(method=method, target="/x", headers={"Authorization": "Bearer t"})
            with pytest.raises(ResidencyMismatch) as caught:
                one.ask(request)
        assert caught.value.reason == "redirected"
        assert (talker.connections, other.connections) == (1, 0)


def test_whoever_asks_for_a_redirect_sees_it_and_nothing_follows_it() -> None:
    with talking([ok()]) as other:
        moved = ok(b"", f"Location: {other.url}/blob", status="307 Moved")
        with talking([moved]) as talker, client(talker) as one:
            answer = one.ask(Request(method="GET", target="/x", redirects=True))
            assert (answer.status, answer.headers["location"]) == (307, f"{other.url}/blob")
            answer.close()
        assert other.connections == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://store.example", "bad-endpoint"),
        ("ftp://127.0.0.1", "bad-endpoint"),
        ("https://store.example/path", "bad-endpoint"),
        ("https://store.example?x=1", "bad-endpoint"),
        ("https://store.example/#x", "bad-endpoint"),
        ("https://user:secret@store.example", "secret-in-uri"),
        ("https://store_.example", "bad-endpoint"),
        ("https://", "bad-endpoint"),
        ("https://store.example:99999", "bad-endpoint"),
        ("store.example", "bad-endpoint"),
    ],
)
def test_an_origin_is_a_host_over_tls_or_this_machine(url: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        origin(url, what="store")
    assert caught.value.reason == reason
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("https://Store.Example/", "https://store.example"),
        ("http://127.0.0.1:4443", "http://127.0.0.1:4443"),
        ("http://[::1]:1", "http://[::1]:1"),
        ("http://localhost:1", "http://localhost:1"),
    ],
)
def test_an_origin_is_written_in_one_way(url: str, written: str) -> None:
    assert origin(url, what="store") == written


@pytest.mark.parametrize(
    "request_",
    [
        Request(method="GET", target="/x", headers={"Authorization": "Bearer t0k\r\nX: y"}),
        Request(method="GET", target="/x", headers={"Authorization": "Bearer t0k\u20ac"}),
        Request(method="GET", target="/x", headers={"Bad: t0k": "y"}),
        Request(method="GET", target="/x t0k"),
        Request(method="GET", target="//t0k\n"),
        Request(method="GET", target="x/t0k"),
        Request(method="GET /t0k", target="/x"),
    ],
)
def test_rule_29_what_would_make_two_requests_is_neither_sent_nor_told(request_: Request) -> None:
    with talking([ok()]) as talker, client(talker) as one:
        with pytest.raises(InternalError) as caught:
            one.ask(request_)
        assert talker.connections == 0
    assert "t0k" not in str(caught.value)


# -- answers that are none


def endless(piece: bytes, first: bytes = b"") -> Iterable[bytes]:
    return itertools.chain([first], itertools.repeat(piece * 64))


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BAD: dict[str, tuple[bytes | Iterable[bytes], str]] = {
    "nothing": (b"", "broken-off"),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le", "bad-answer"),
    "no HTTP": (b"hello\r\n\r\n", "bad-answer"),
    "another protocol": (b"SSH-2.0-x\r\n", "bad-answer"),
    "a status of letters": (b"HTTP/1.1 abc OK\r\n\r\n", "bad-answer"),
    "an endless status line": (endless(b"x", b"HTTP/1.1 200 "), "bad-answer"),
    "an endless header": (endless(b"x", HEAD + b"A: "), "bad-answer"),
    "endless headers": (endless(b"A: b\r\n", HEAD), "bad-answer"),
    "endless continuations": (endless(b"HTTP/1.1 100 Continue\r\n\r\n"), "too-large"),
    "a hint and no answer": (b"HTTP/1.1 103 Early Hints\r\n\r\n", "bad-answer"),
    "another protocol after it": (b"HTTP/1.1 101 Switching\r\n\r\n", "bad-answer"),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "bad-answer"),
    "length and pieces": (
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "bad-answer",
    ),
    "a coding of pieces": (
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "bad-answer",
    ),
    "a negative length": (HEAD + b"Content-Length: -1\r\n\r\nx", "bad-answer"),
    "a length of words": (HEAD + b"Content-Length: 1_0\r\n\r\n0123456789", "bad-answer"),
    "no end": (HEAD + b"\r\nbody", "bad-answer"),
    "shorter than it said": (HEAD + b"Content-Length: 10\r\n\r\nshort", "broken-off"),
    "longer than any": (HEAD + b"Content-Length: 1001\r\n\r\n" + b"x" * 1001, "too-large"),
    "longer than the world": (HEAD + b"Content-Length: 999999999999999\r\n\r\n", "too-large"),
    "endless pieces": (endless(b"1\r\nx\r\n", CHUNKED), "too-large"),
    "one endless piece": (endless(b"x", CHUNKED + b"ffffffff\r\n"), "too-large"),
    "a negative piece": (endless(b"x", CHUNKED + b"-1\r\n"), "too-large"),
    "a piece of words": (CHUNKED + b"zz\r\nabc", "broken-off"),
    "pieces that break off": (CHUNKED + b"5\r\nab", "broken-off"),
    "endless trailers": (endless(b"A: b\r\n", CHUNKED + b"1\r\nx\r\n0\r\n"), "too-large"),
    "an endless error": (endless(b"x", b"HTTP/1.1 403 No\r\n\r\n"), "too-large"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_answer_that_is_none_is_a_failure_and_bounded(name: str) -> None:
    answer, reason = BAD[name]
    found = failure(answer)
    assert (found.reason, found.heard) == (reason, True)


def test_an_error_without_a_length_can_be_read() -> None:
    with talking([b"HTTP/1.1 403 No\r\n\r\nwhy"]) as talker, client(talker) as one:
        answer = one.ask(GET)
        assert (answer.status, answer.read(MOST)) == (403, b"why")


def test_what_came_unasked_is_not_the_next_answer() -> None:
    with talking([ok(b"one") + ok(b"planted")], [ok(b"two")]) as talker, client(talker) as one:
        assert one.ask(GET).read(MOST) == b"one"
        assert one.ask(GET).read(MOST) == b"two"
    assert talker.connections == 2


def test_an_answer_that_is_not_read_takes_its_connection_with_it() -> None:
    with talking([ok(b"one")], [ok(b"two")]) as talker, client(talker) as one:
        one.ask(GET).close()
        assert one.ask(GET).read(MOST) == b"two"
    assert talker.connections == 2


# -- time


class Clock:
    """Each look costs so many seconds."""

    def __init__(self, step: float) -> None:
        self.step, self.now = step, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.mark.parametrize(("step", "slow"), [(0.5, False), (wire.READ_TIMEOUT / 3, True)])
def test_a_server_that_trickles_does_not_hold_us(step: float, slow: bool) -> None:
    """Each byte comes within the time of one read. What is waited for in all is bounded too."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        one = Wire(ours, Clock(step))
        theirs.sendall(b"abcdefgh")
        raw = one._limited
        read = bytearray()
        expected = pytest.raises(Failure, match="too slowly") if slow else contextlib.nullcontext()
        with expected, one.reading(head=True):
            for _ in range(8):
                byte = bytearray(1)
                raw.readinto(byte)
                read += byte
        assert (read == b"abcdefgh") is not slow


def test_whoever_hangs_up_on_a_body_may_have_said_why() -> None:
    """A socket pair keeps what was said before the end; over TCP it may be lost."""
    ours, theirs = socket.socketpair()
    with ours:
        one = Wire(ours)
        theirs.sendall(ok(b"taken", status="412 Precondition Failed"))
        theirs.close()
        with one.sending():
            one.send(memoryview(bytes(1 << 20)))
        assert not one.whole
        with one.reading(head=True):
            assert one.makefile().readline() == b"HTTP/1.1 412 Precondition Failed\r\n"


# -- further tries


def test_a_busy_service_is_asked_again_after_the_time_that_it_names() -> None:
    waits: list[float] = []
    busy = [
        ok(b"", "Retry-After: 3", status="503 Busy"),
        ok(b"", "Retry-After: 999999", status="429 Busy"),
        ok(b"", "Retry-After: soon", status="500 Busy"),
    ]
    with talking([*busy, ok(b"x")], [ok(b"x")]) as talker, client(talker, waits) as one:
        answer = one.ask(GET)
        assert answer.read(MOST) == b"x"
    assert answer.retried
    assert waits[:2] == [3.0, 20.0]
    assert 0 < waits[2] <= 20.0


def test_it_gives_up_after_some_tries() -> None:
    waits: list[float] = []
    busy = ok(status="503 Busy")
    with talking([busy] * 9) as talker, client(talker, waits) as one, one.ask(GET) as answer:
        assert answer.status == 503
    assert len(talker.heads) == ATTEMPTS
    assert len(waits) == ATTEMPTS - 1


@pytest.mark.parametrize(
    ("method", "again", "tries"),
    [
        ("GET", None, ATTEMPTS),
        ("HEAD", None, ATTEMPTS),
        ("PUT", None, 1),
        ("POST", None, 1),
        ("PUT", True, ATTEMPTS),
        ("GET", False, 1),
    ],
)
def test_only_what_may_be_sent_twice_is(method: str, again: bool | None, tries: int) -> None:
    request = Request(method=method, target="/x", again=again)
    with talking(*[[b""]] * 9) as talker, client(talker) as one:
        with pytest.raises(Failure) as caught:
            one.ask(request)
        assert caught.value.heard
    assert talker.connections == tries


def test_whoever_settles_a_write_hears_that_an_earlier_try_may_have_gone_through() -> None:
    request = Request(method="PUT", target="/x", body=(b"data",), again=True)
    taken = ok(status="412 Precondition Failed")
    with talking([b""], [taken]) as talker, client(talker) as one, one.ask(request) as answer:
        assert (answer.status, answer.retried) == (412, True)
    with talking([taken]) as talker, client(talker) as one, one.ask(request) as answer:
        assert (answer.status, answer.retried) == (412, False)


def test_a_request_that_nobody_heard_is_sent_again_whatever_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    waits: list[float] = []
    one = Client(f"http://127.0.0.1:{port}", wait=waits.append)
    with pytest.raises(Failure) as caught:
        one.ask(Request(method="POST", target="/x"))
    assert (caught.value.reason, caught.value.heard) == ("no-connection", False)
    assert len(waits) == ATTEMPTS - 1


# -- TLS and proxies


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment that names roots, a log of keys and a proxy."""
    (tmp_path / "log").mkdir()
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "log" / "keys"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    return tmp_path / "log"


def test_rule_36_the_environment_vouches_for_nobody(
    tmp_path: Path, surroundings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, root = tls_for("localhost", folder=tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(root))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with talking([ok()], tls=context) as talker:
        one = Client(f"https://localhost:{talker.port}", wait=pytest.fail)
        assert one.direct
        with pytest.raises(Failure) as caught:
            one.ask(GET)
    assert (caught.value.reason, caught.value.heard, caught.value.final) == ("tls", False, True)
    told = explain(caught.value, "read x", StoreError)
    assert (told.reason, told.exit_code) == ("tls", 21)
    assert "--ca FILE" in str(told.fix)
    assert "SSL_CERT_DIR" in told.details[0]
    assert talker.heads == []


def test_roots_that_the_command_line_names_are_used(tmp_path: Path, surroundings: Path) -> None:
    context, root = tls_for("localhost", folder=tmp_path)
    with talking([ok(b"x")], tls=context) as talker, authority.trusting(root):
        with Client(f"https://localhost:{talker.port}") as one:
            assert one.ask(GET).read(MOST) == b"x"
            assert not one.direct
        with pytest.raises(Failure) as caught:
            Client(f"https://127.0.0.1:{talker.port}").ask(GET)  # the certificate names another
        assert caught.value.reason == "tls"
    assert list(surroundings.iterdir()) == []


def test_the_proxy_of_the_command_line_is_used_and_tls_goes_through_it(tmp_path: Path) -> None:
    context, root = tls_for("store.example", folder=tmp_path)
    with (
        talking([ok(b"x")], tls=context) as talker,
        tunnel() as way,
        authority.trusting(root),
        proxies.through(way.url),
        Client(f"https://store.example:{talker.port}") as one,
    ):
        assert one.ask(GET).read(MOST) == b"x"
        assert not one.direct
    assert way.asked == [f"store.example:{talker.port}"]
    assert way.logins == [None]


def test_a_proxy_that_refuses_is_named(tmp_path: Path) -> None:
    with tunnel(status=407) as way, proxies.through(way.url), pytest.raises(Failure) as caught:
        Client("https://store.example", wait=lambda _: None).ask(GET)
    assert caught.value.reason == "no-connection"
    assert "the proxy answered 407" in str(explain(caught.value, "read x", StoreError).why)


def test_this_machine_is_never_reached_through_a_proxy() -> None:
    with talking([ok(b"x")]) as talker, tunnel() as way, proxies.through(way.url):
        assert client(talker).ask(GET).read(MOST) == b"x"
    assert way.asked == []
