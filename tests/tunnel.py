"""A forward proxy on loopback: takes CONNECT alone, and leads every name to this machine.

Remembers whom it was asked for, and with what login.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests import pace


class Tunnel(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.asked: list[str] = []
        self.logins: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # either side may go away


class _Handler(BaseHTTPRequestHandler):
    server: Tunnel
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_CONNECT(self) -> None:
        self.server.asked.append(self.path)
        self.server.logins.append(self.headers.get("Proxy-Authorization"))
        self.close_connection = True
        self.send_response_only(self.server.status)
        self.end_headers()
        if self.server.status != 200:
            return
        port = int(self.path.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            relayed(self.connection, upstream)


def relayed(one: socket.socket, other: socket.socket) -> None:
    """Hands on what each says, until both have ended."""
    back = threading.Thread(target=_relay, args=(other, one), daemon=True)
    back.start()
    _relay(one, other)
    back.join()


def _relay(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def tunnel(status: int = 200) -> Iterator[Tunnel]:
    """`status`: what it answers to CONNECT; 200 opens the way."""
    server = Tunnel(status)
    thread = threading.Thread(target=server.serve_forever, args=(pace.SOON,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
