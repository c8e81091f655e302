"""A server on loopback that says exactly the bytes of a script, whatever it is asked.

For clients of HTTP: an answer may be cut, endless, doubled or none of HTTP at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator, Sequence

#: What is said to one request: bytes, or pieces of them, which may be endless.
Said = bytes | Iterable[bytes]


class Talker:
    """Connection n follows script n, an answer a request, and then hangs up."""

    def __init__(self, scripts: Sequence[Sequence[Said]], tls: ssl.SSLContext | None) -> None:
        self._scripts, self._tls = scripts, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.connections = 0
        #: Of each request its head, the size of its body and the SHA-256 of that.
        self.heads: list[str] = []
        self.bodies: list[tuple[int, str]] = []
        self._threads: list[threading.Thread] = []

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            number, self.connections = self.connections, self.connections + 1
            script = self._scripts[number] if number < len(self._scripts) else ()
            thread = threading.Thread(target=self._talk, args=(connection, script), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _talk(self, connection: socket.socket, script: Sequence[Said]) -> None:
        with contextlib.suppress(OSError), connection:
            if self._tls is None:
                self._say(connection, script)
            else:
                with self._tls.wrap_socket(connection, server_side=True) as inner:
                    self._say(inner, script)

    def _say(self, connection: socket.socket, script: Sequence[Said]) -> None:
        for said in script:
            if not self._hear(connection):
                return
            for piece in [said] if isinstance(said, bytes) else said:
                connection.sendall(piece)

    def _hear(self, connection: socket.socket) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        text = head.decode("latin-1")
        left = 0
        for line in text.split("\r\n")[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                left = int(value)
        size, digest, buffer = len(body), hashlib.sha256(body), bytearray(65536)
        while size < left and (count := connection.recv_into(buffer)):
            digest.update(memoryview(buffer)[:count])
            size += count
        self.heads.append(text)
        self.bodies.append((size, digest.hexdigest()))
        return True

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def talking(*scripts: Sequence[Said], tls: ssl.SSLContext | None = None) -> Iterator[Talker]:
    talker = Talker(scripts, tls)
    thread = threading.Thread(target=talker.serve, daemon=True)
    thread.start()
    try:
        yield talker
    finally:
        talker.stop()
        thread.join()
        for one in talker._threads:
            one.join()


def ok(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer, which leaves the connection open."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body
