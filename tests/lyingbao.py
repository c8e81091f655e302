"""Stands before the real OpenBao, hears all that is sent there, and may change what it answers.

Behind it are real keys: what a test does not change is true.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests import pace


@dataclass(frozen=True, kw_only=True)
class Asked:
    """`path` below /v1/; `headers` with names in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body or b"{}")
        return found


@dataclass(frozen=True, kw_only=True)
class Told:
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def with_data(self, **fields: Any) -> Told:
        """The same with other fields in `data`; None takes one away."""
        whole = self.json
        data = {**whole["data"], **fields}
        whole["data"] = {name: value for name, value in data.items() if value is not None}
        return replace(self, body=json.dumps(whole).encode())


Lie = Callable[[Asked, Told], Told]


def refusal(status: int, *errors: str) -> Told:
    return Told(status=status, body=json.dumps({"errors": errors}).encode())


class LyingBao(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: str, lie: Lie) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.lie = upstream, lie
        self.seen: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self, part: str) -> list[Asked]:
        return [one for one in self.seen if part in one.path]

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that goes away is part of the play


class _Handler(BaseHTTPRequestHandler):
    server: LyingBao
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _play(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(
            method=self.command,
            path=self.path.removeprefix("/v1/"),
            headers=headers,
            body=body,
        )
        self.server.seen.append(asked)
        told = self.server.lie(asked, self._true(asked))
        self.send_response(told.status)
        for name, value in told.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(told.body)))
        self.end_headers()
        self.wfile.write(told.body)

    def _true(self, asked: Asked) -> Told:
        there = http.client.HTTPConnection(urlsplit(self.server.upstream).netloc, timeout=pace.HANG)
        with contextlib.closing(there):
            there.request(asked.method, f"/v1/{asked.path}", asked.body or None, asked.headers)
            answer = there.getresponse()
            return Told(status=answer.status, body=answer.read())

    do_GET = do_POST = _play  # noqa: N815 (as the library calls them)


@contextlib.contextmanager
def lying(upstream: str, lie: Lie = lambda _, told: told) -> Iterator[LyingBao]:
    server = LyingBao(upstream, lie)
    thread = threading.Thread(target=server.serve_forever, args=(pace.SOON,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
