"""Git's own HTTP server program behind a loopback server that asks for a name and a token.

Real `git http-backend`; binds 127.0.0.1 on a free port. Remembers what it was asked.
"""

from __future__ import annotations

import base64
import contextlib
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests import pace


class GitServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root: Path, token: str, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self.scheme = "http" if tls is None else "https"
        self.root = root
        self.expected = token
        self.users: list[str] = []
        self.redirect_to: str | None = None
        #: Says no with these words, if there are any; `{authorization}` is what it was sent.
        self.refusal: str | None = None

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that does not like the certificate is part of the play

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: GitServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _answer(self, code: int, headers: list[tuple[str, str]], body: bytes = b"") -> None:
        self.send_response(code)
        for name, value in [*headers, ("Content-Length", str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _allowed(self) -> bool:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            return False
        user, _, token = base64.b64decode(value).decode().partition(":")
        self.server.users.append(user)
        return token == self.server.expected

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self._body()
        if self.server.redirect_to:
            self._answer(302, [("Location", self.server.redirect_to + self.path)])
            return
        if not self._allowed():
            self._answer(401, [("WWW-Authenticate", 'Basic realm="x"')])
            return
        if self.server.refusal:
            sent = self.headers.get("Authorization", "")
            words = self.server.refusal.replace("{authorization}", sent)
            self._answer(403, [("Content-Type", "text/plain")], words.encode())
            return
        path, _, query = self.path.partition("?")
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            check=True,
            env={
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(self.server.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_GLOBAL": os.devnull,
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_USER": "x",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            },
        ).stdout
        head, _, content = done.partition(b"\r\n\r\n")
        code, headers = 200, []
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "Status":
                code = int(value.split()[0])
            else:
                headers.append((name, value))
        self._answer(code, headers, content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found


@contextlib.contextmanager
def git_server(root: Path, token: str, tls: ssl.SSLContext | None = None) -> Iterator[GitServer]:
    """All bare repositories below `root`, for whoever has the token."""
    with GitServer(root, token, tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(pace.SOON,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
