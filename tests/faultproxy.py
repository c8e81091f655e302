"""A real HTTP proxy on loopback that stands between sovgate and a service, and misbehaves on cue.

Passes every request on as it came (the Host header too, which is signed) but for those that a
`Fault` picks: those lose their answer, are cut, changed, redirected or refused.
"""

from __future__ import annotations

import contextlib
import enum
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests import pace


class What(enum.Enum):
    LOSE_REQUEST = "the connection breaks before the service hears of it"
    CUT_REQUEST = "the service hears the half of it, and then the connection breaks"
    LOSE_REPLY = "the service does it, and its answer never comes"
    CUT_REPLY = "the answer breaks off half way"
    FLIP_REQUEST = "a bit of what was sent is flipped on the way"
    FLIP_REPLY = "a bit of the answer is flipped on the way"
    IGNORE_CONDITION = "the service does not know If-None-Match, nor Google's precondition"
    REDIRECT = "301 to a bucket of another region"
    EDIT_REPLY = "the answer is changed on the way, as `edit` says"
    BUSY = "503 SlowDown"
    IGNORE_KEY = "the service passes over the key that it was asked to encrypt under"
    DENY = "403 AccessDenied"
    EXPIRED = "400 ExpiredToken, as S3 says it"
    TWICE = "the service hears it twice, and the second answer comes"
    TRICKLE = "the answer comes in small pieces"


_SSE = "x-amz-server-side-encryption"
#: Headers of a request that the service does not hear of.
_PASSED_OVER: dict[What | None, set[str]] = {
    What.IGNORE_CONDITION: {"if-none-match"},
    What.IGNORE_KEY: {_SSE, f"{_SSE}-aws-kms-key-id", f"{_SSE}-bucket-key-enabled"},
}


@dataclass
class Fault:
    """Strikes requests whose method and path with query `hits` picks, `times` times."""

    what: What
    hits: Callable[[str, str], bool]
    times: int = 1
    edit: Callable[[bytes], bytes] = bytes
    struck: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def strikes(self, method: str, path: str) -> bool:
        with self.lock:
            if self.struck >= self.times or not self.hits(method, path):
                return False
            self.struck += 1
            return True


class FaultProxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: str, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tls = tls
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.upstream = urlsplit(upstream).netloc
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, str]] = []
        self.owners: list[str | None] = []
        self.headers: list[dict[str, str]] = []
        self.targets: list[str] = []
        #: (method, path with query, bytes of the body) of what reached the service, and was heard.
        self.heard: list[tuple[str, str, int]] = []
        #: What no request may hold; the paths of those that do.
        self.secret: bytes | None = None
        self.leaks: list[str] = []
        #: Asked about each request that no fault strikes.
        self.chooses: Callable[[str, str], What | None] = lambda _method, _path: None
        #: Headers that the answer to a request has besides.
        self.adds: Callable[[str, str, What | None], list[tuple[str, str]]] = lambda *_: []
        self._busy = self._connected = 0
        self._accepted: set[int] = set()
        self._changed = threading.Condition()

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.server_port}"

    def fault(self, what: What, method: str, part: str = "", times: int = 1) -> Fault:
        """`part`: what the path with its query must hold."""
        made = Fault(what, lambda m, p: m == method and part in p, times)
        self.faults.append(made)
        return made

    def edits(self, method: str, edit: Callable[[bytes], bytes]) -> None:
        """Every answer to `method` goes through `edit`."""
        fault = self.fault(What.EDIT_REPLY, method, "", 1_000_000)
        fault.edit = edit

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        with self._changed:
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def rest(self) -> None:
        """Returns when no request is under way: one outlives the client that was killed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)

    def forsaken(self) -> None:
        """The same, of all that a client sent before it was killed, where there is no other."""
        with socket.create_connection(self.server_address[:2]) as last:
            port = last.getsockname()[1]
            with self._changed:  # whoever came before it was let in before it
                self._changed.wait_for(lambda: port in self._accepted)
        with self._changed:
            self._changed.wait_for(lambda: not self._connected)

    def process_request(self, request: object, client_address: tuple[str, int]) -> None:
        with self._changed:
            self._connected += 1
            self._accepted.add(client_address[1])
            self._changed.notify_all()
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: tuple[str, int]) -> None:
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            with self._changed:
                self._connected -= 1
                self._changed.notify_all()

    def sent(self, part: str, method: str = "PUT") -> list[int]:
        """Bytes of each body that reached the service at such a path."""
        return [size for m, path, size in self.heard if m == method and part in path]

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that goes away is part of the play


class _Handler(BaseHTTPRequestHandler):
    server: FaultProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _pass(self) -> None:
        with self.server.working():
            self._take()

    def _take(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client is gone
            self._cut(body)
            return
        if self.server.secret is not None and self.server.secret in body:
            self.server.leaks.append(self.path)
        self.server.seen.append((self.command, self.path))
        self.server.headers.append({k.lower(): v for k, v in self.headers.items()})
        self.server.targets.append(self.headers.get("x-amz-target", ""))
        self.server.owners.append(self.headers.get("x-amz-expected-bucket-owner"))
        fault = next((f for f in self.server.faults if f.strikes(self.command, self.path)), None)
        what = fault.what if fault else self.server.chooses(self.command, self.path)
        if what is What.LOSE_REQUEST:
            self._hang_up()
        elif what is What.REDIRECT:
            self._answer(
                301,
                [("x-amz-bucket-region", "us-east-1")],
                b"<Error><Code>PermanentRedirect</Code></Error>",
            )
        elif what is What.BUSY:
            self._answer(503, [], b"<Error><Code>SlowDown</Code></Error>")
        elif what is What.DENY:
            self._answer(403, [], b"<Error><Code>AccessDenied</Code></Error>")
        elif what is What.EXPIRED:
            self._answer(400, [], b"<Error><Code>ExpiredToken</Code></Error>")
        elif what is What.CUT_REQUEST and len(body) > 1:
            self._cut(body)
        else:
            self._forward(body, what, fault.edit if fault else bytes)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815

    def _cut(self, body: bytes) -> None:
        there = http.client.HTTPConnection(self.server.upstream)
        with contextlib.closing(there):
            there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    there.putheader(name, value)
            there.endheaders(body[: len(body) // 2])
        self._hang_up()

    def _forward(self, body: bytes, what: What | None, edit: Callable[[bytes], bytes]) -> None:
        if what is What.FLIP_REQUEST and body:
            middle = len(body) // 2  # in what is sent, where something stands around it
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        drop = {"expect", "connection"} | _PASSED_OVER.get(what, set())
        headers = {k: v for k, v in self.headers.items() if k.lower() not in drop}
        there = http.client.HTTPConnection(self.server.upstream)
        with contextlib.closing(there):
            path = self.path
            if what is What.IGNORE_CONDITION:
                path = path.replace("ifGenerationMatch=0", "x=0")
            for _ in range(2 if what is What.TWICE else 1):
                there.request(self.command, path, body=body, headers=headers)
                reply = there.getresponse()
                data = reply.read()
                self.server.heard.append((self.command, path, len(body)))
        if what is What.LOSE_REPLY:
            self._hang_up()
            return
        if what is What.EDIT_REPLY:
            data = edit(data)
        if what is What.FLIP_REPLY and data:
            data = data[:-1] + bytes([data[-1] ^ 1])
        dropped = {"transfer-encoding", "connection", "content-length", "date", "server"}
        kept = [(k, v) for k, v in reply.getheaders() if k.lower() not in dropped]
        kept += self.server.adds(self.command, self.path, what)
        length = reply.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self._answer(reply.status, kept, data, length or "0", what)

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        data: bytes,
        length: str | None = None,
        what: What | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if what is What.TRICKLE:
            for at in range(0, len(data), len(data) // 50 + 1):
                self.wfile.write(data[at : at + len(data) // 50 + 1])
            return
        self.wfile.write(data[: len(data) // 2] if what is What.CUT_REPLY else data)
        if what is What.CUT_REPLY:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def between(upstream: str, tls: ssl.SSLContext | None = None) -> Iterator[FaultProxy]:
    proxy = FaultProxy(upstream, tls)
    thread = threading.Thread(target=proxy.serve_forever, args=(pace.SOON,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
