"""A connection under limits: TLS with the roots of this run, the proxy of this run, bytes and time.

Ground floor: standard library only. Opens sockets. What `client` speaks HTTP over.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import select
import socket
import ssl
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from sovgate import work
from sovgate.errors import ConfigError, SovgateError
from sovgate.transport import authority, proxies
from sovgate.uri import METADATA, is_loopback

#: Seconds to connect to one address, and without a byte.
CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 60.0
#: Bytes a second below which a server is not slow but holds us. Only time spent waiting counts.
FLOOR = 1024
#: Bytes of one head, continuations of it included, and what may stand around a body.
MAX_HEAD = 256 * 1024
#: Seconds that a service which hung up on our body has to have said why.
_LAST_WORDS = 2.0


class Failure(Exception):
    """No answer came that can be used. Its text is ours: nothing in it was sent or received.

    reason  "tls", "no-connection", "broken-off", "too-slow", "bad-answer" or "too-large"
    heard   whether the service may have had the whole request, and so may have done it
    final   whether another try cannot help
    """

    def __init__(self, reason: str, text: str, *, heard: bool, final: bool = False) -> None:
        super().__init__(text)
        self.reason, self.heard, self.final = reason, heard, final


def explain(failure: Failure, doing: str, kind: type[SovgateError]) -> SovgateError:
    """A failure in the words of an error; `doing` completes "could not …"."""
    what = f"could not {doing}"
    if failure.reason == "tls":
        return kind(
            what,
            why="no root in use vouches for its TLS certificate",
            fix="check the endpoint; if it has a certificate of your own CA, name it: --ca FILE",
            details=authority.ignored(),
            reason="tls",
        )
    return kind(
        what,
        why=str(failure),
        fix="check the network and the endpoint, and run it again",
        details=proxies.ignored(),
        reason="no-answer",
    )


def connect(host: str, port: int, *, tls: bool) -> Wire:
    """A connection to a host, straight or through the proxy of this run. Raises Failure."""
    way = None if is_loopback(host) or host == METADATA else proxies.named()
    there = (host, port)
    if way is not None:
        parts = urlsplit(way)
        there = (parts.hostname or "", parts.port or 80)
    try:
        plain = socket.create_connection(there, CONNECT_TIMEOUT)
    except (OSError, UnicodeError) as error:
        whom = "the proxy" if way is not None else "it"
        raise Failure(
            "no-connection", f"{whom} cannot be reached ({_kind(error)})", heard=False
        ) from None
    try:
        # Send what there is at once: a small body would wait for the acknowledgement of its head.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if way is not None:
            _tunnel(Wire(plain, owned=False), host, port)
        return Wire(_tls(plain, host) if tls else plain)
    except BaseException:
        plain.close()
        raise


def _tunnel(wire: Wire, host: str, port: int) -> None:
    """Have the proxy connect us. What it says beside that is dropped with this reader."""
    name = f"[{host}]" if ":" in host else host
    try:
        with wire.sending():
            wire.send(
                memoryview(
                    f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n".encode()
                )
            )
        with wire.reading(head=True):
            answer = http.client.HTTPResponse(wire, method="CONNECT")  # type: ignore[arg-type]
            answer.begin()
    except Failure as failure:
        raise Failure(
            "no-connection", f"the proxy gave no answer ({failure})", heard=False
        ) from None
    if answer.status != 200:
        raise Failure("no-connection", f"the proxy answered {answer.status}", heard=False)


def _tls(plain: socket.socket, host: str) -> ssl.SSLSocket:
    context = _context()
    try:
        # Its handshake is not begun here: a server that says nothing in it is waited for as others.
        made = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        _shake_hands(made)
        return made
    except ssl.SSLCertVerificationError:
        why = "its certificate is not vouched for"
        raise Failure("tls", why, heard=False, final=True) from None
    except OSError as error:
        raise Failure("no-connection", f"TLS failed ({_kind(error)})", heard=False) from None


def _shake_hands(made: ssl.SSLSocket) -> None:
    def step() -> int:
        made.do_handshake()
        return 0

    try:
        unbroken(step, made, READ_TIMEOUT)
    except BaseException:
        made.close()
        raise


def _context() -> ssl.SSLContext:
    """TLS with the system's roots and those of --ca. No variable chooses them (RULES 36)."""
    default = authority.system_roots()
    roots = authority.bundle(default) or default
    if roots is None:
        raise ConfigError(
            "this system has no roots for TLS",
            why="no file of CAs lies where systems keep it",
            fix="install the package ca-certificates",
            reason="no-roots",
        )
    return _made(str(roots))


@functools.cache
def _made(roots: str) -> ssl.SSLContext:
    """Not ssl.create_default_context: it takes roots and a log of keys from the environment."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_verify_locations(cafile=roots)
    return context


def _kind(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return type(error).__name__


def unbroken(step: Callable[[], int], connection: socket.socket, seconds: float) -> int:
    """One receiving or sending, which may wait so long, and not longer than anybody waits for it.

    In short waits: TLS goes on after one as a plain socket does. Raises TimeoutError, BrokenOff.
    """
    while True:
        wait = min(work.LOOK, seconds)
        connection.settimeout(wait)
        try:
            return step()
        except TimeoutError:
            seconds -= wait
            if seconds <= 0:
                raise
        work.go_on()


def send_all(connection: socket.socket, data: memoryview, seconds: float) -> None:
    """Each piece that the network takes may take so long. Raises as `unbroken`."""
    sent = 0
    while sent < len(data):
        sent += unbroken(functools.partial(connection.send, data[sent:]), connection, seconds)


class _Reader(io.BufferedReader):
    """One reader a connection: HTTPResponse closes what it reads from after each answer."""

    def close(self) -> None:
        pass


class _Limited(io.RawIOBase):
    """What comes, with the bytes counted and the time that they were waited for."""

    def __init__(self, connection: socket.socket, clock: Callable[[], float]) -> None:
        super().__init__()
        self.connection, self._clock = connection, clock
        self.timeout = READ_TIMEOUT
        self.waited, self.got, self.left = 0.0, 0, 0
        #: Only what was read ahead is given out.
        self.held = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.held:
            return None
        work.go_on()
        if self.left <= 0:
            raise Failure("too-large", "its answer is larger than any that is expected", heard=True)
        left = self.timeout + self.got / FLOOR - self.waited
        if left <= 0:
            raise TimeoutError
        begun = self._clock()
        try:
            count = unbroken(
                lambda: self.connection.recv_into(memoryview(buffer)[: self.left]),
                self.connection,
                min(left, self.timeout),
            )
        finally:
            self.waited += self._clock() - begun
        self.got += count
        self.left -= count
        return count


class Wire:
    """One connection, and what HTTPResponse needs of a socket. If it is `owned`, it is
    closed when nobody holds it any more.

    `whole` is false once the other side hung up on a request.
    """

    def __init__(
        self,
        connection: socket.socket,
        clock: Callable[[], float] = time.monotonic,
        *,
        owned: bool = True,
    ) -> None:
        self._connection = connection
        # Not __del__: of a circle that is collected, the socket may be asked first, and complain.
        self._close = weakref.finalize(self, _hang_up, connection) if owned else lambda: None
        self._limited = _Limited(connection, clock)
        self._reader = _Reader(self._limited, 64 * 1024)
        self.whole = True

    def makefile(self, *_: object) -> io.BufferedReader:
        return self._reader

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Within it one request is sent. Ends quietly where the other side hung up: an answer may
        have come before that, and whoever reads finds it or fails."""
        try:
            yield
        except TimeoutError:
            raise Failure("too-slow", "it takes no more bytes", heard=False) from None
        except OSError:
            self.whole = False
            self._limited.timeout = _LAST_WORDS

    def send(self, data: memoryview) -> None:
        send_all(self._connection, data, READ_TIMEOUT)

    @contextlib.contextmanager
    def reading(self, *, most: int = 0, head: bool = False) -> Iterator[None]:
        """Within it at most `most` bytes and what stands around them come. Raises Failure only."""
        self._limited.left = most + MAX_HEAD
        if head:
            self._limited.waited, self._limited.got = 0.0, 0
        try:
            yield
        except TimeoutError:
            raise Failure("too-slow", "its answer comes too slowly", heard=self.whole) from None
        except OSError:
            raise Failure("broken-off", "the connection broke off", heard=self.whole) from None
        except (http.client.HTTPException, ValueError) as error:
            short = isinstance(error, http.client.IncompleteRead)
            why = "it is shorter than it said" if short else "its answer is none of HTTP"
            raise Failure("broken-off" if short else "bad-answer", why, heard=self.whole) from None

    def quiet(self) -> bool:
        """Whether it is open and nothing came since the last answer: only then is it used again."""
        self._limited.held = True
        try:
            if self._reader.peek(1):
                return False
        finally:
            self._limited.held = False
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return not poll.poll(0)

    def hang_up(self) -> None:
        self._close()


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.close()
