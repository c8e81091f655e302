"""A vendor's whole cloud on loopback: a proxy that answers, over TLS, for whatever host is named.

Behind `--proxy` and `--ca` the product speaks to its real host names. Each request is kept, but for
hosts whose own server stands at a port of this machine.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sovgate.transport import authority, proxies
from tests import pace
from tests.integration.test_cloud_connections import tls_for
from tests.tunnel import relayed


@dataclass(frozen=True, kw_only=True)
class Asked:
    """`headers` have lower-case names."""

    host: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


#: Status, headers and body of an answer.
Said = tuple[int, dict[str, str], bytes]
Answers = Callable[[Asked], Said]


class Vendor(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext, answers: Answers) -> None:
        super().__init__(("127.0.0.1", 0), _Way)
        self.tls, self.answers = tls, answers
        self.seen: list[Asked] = []
        #: Hosts that a server of their own answers for, at a port of this machine, by its own TLS.
        self.leads: Mapping[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that goes away is part of the play

    def hosts(self) -> list[str]:
        return [asked.host for asked in self.seen]


class _Way(BaseHTTPRequestHandler):
    server: Vendor
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_CONNECT(self) -> None:
        self.close_connection = True
        self.send_response_only(200)
        self.end_headers()
        host = self.path.rpartition(":")[0]
        if host in self.server.leads:
            with socket.create_connection(("127.0.0.1", self.server.leads[host])) as upstream:
                relayed(self.connection, upstream)
            return
        with self.server.tls.wrap_socket(self.connection, server_side=True) as inner:
            made = type("_Inner", (_Inner,), {"host": host})
            made(inner, self.client_address, self.server)


class _Inner(BaseHTTPRequestHandler):
    server: Vendor
    protocol_version = "HTTP/1.1"
    host = ""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _play(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(
            host=self.host, method=self.command, path=self.path, headers=headers, body=body
        )
        self.server.seen.append(asked)
        status, extra, said = self.server.answers(asked)
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(said)), **extra}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _play  # noqa: N815


@contextlib.contextmanager
def vendor(folder: Path, hosts: list[str], answers: Answers) -> Iterator[Vendor]:
    """Within it these hosts answer so, to this process."""
    context, root = tls_for(*hosts, folder=folder)
    with (
        standing(context, answers) as server,
        authority.trusting(root),
        proxies.through(server.url),
    ):
        yield server


@contextlib.contextmanager
def standing(tls: ssl.SSLContext, answers: Answers) -> Iterator[Vendor]:
    """The proxy alone, for processes that are told of it."""
    server = Vendor(tls, answers)
    thread = threading.Thread(target=server.serve_forever, args=(pace.SOON,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
