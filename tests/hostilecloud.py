"""A real HTTP server on loopback that says to S3's and KMS's requests whatever a test wants said.

Unlike faultproxy there is no honest service behind it. Every connection carries one request.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests import pace


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`headers` replace what would be sent of that name; None: it is not sent. `body` may be
    pieces, and endless."""

    status: int = 200
    headers: tuple[tuple[str, str | None], ...] = ()
    body: bytes | Iterable[bytes] = b""


def xml(text: str, status: int = 200) -> Answer:
    return Answer(status=status, body=f'<?xml version="1.0"?>{text}'.encode())


def kms(value: object, status: int = 200) -> Answer:
    return Answer(status=status, body=json.dumps(value).encode())


@dataclass(frozen=True, kw_only=True)
class Asked:
    """`path` with its query; `operation` of KMS, "Sign"."""

    method: str
    path: str
    operation: str


class HostileCloud(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, answer: Callable[[Asked], Answer], tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self.scheme = "http" if tls is None else "https"
        self.answer = answer
        self.seen: list[Asked] = []

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that goes away is part of the play


class _Handler(BaseHTTPRequestHandler):
    server: HostileCloud
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _play(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        operation = self.headers.get("x-amz-target", "").rpartition(".")[2]
        asked = Asked(method=self.command, path=self.path, operation=operation)
        self.server.seen.append(asked)
        answer = self.server.answer(asked)
        pieces = [answer.body] if isinstance(answer.body, bytes) else answer.body
        headers: dict[str, str | None] = {"Connection": "close"}
        if isinstance(answer.body, bytes):
            headers["Content-Length"] = str(len(answer.body))
        headers.update(answer.headers)
        self.send_response_only(answer.status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        if self.command != "HEAD":
            for piece in pieces:
                self.wfile.write(piece)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_CONNECT = _play  # noqa: N815


@contextlib.contextmanager
def serving(
    answer: Callable[[Asked], Answer], tls: ssl.SSLContext | None = None
) -> Iterator[HostileCloud]:
    cloud = HostileCloud(answer, tls)
    thread = threading.Thread(target=cloud.serve_forever, args=(pace.SOON,), daemon=True)
    thread.start()
    try:
        yield cloud
    finally:
        cloud.shutdown()
        cloud.server_close()
        thread.join()
