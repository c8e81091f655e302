"""An S3 service on this machine that costs next to nothing: what is measured is who sends to it.

Takes every bucket, every credential and every upload. It checks the SHA-256 of small bodies alone,
drops large ones in the kernel, and counts them. With `keep`, large bodies go into files, from which
they are read again.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from urllib.parse import parse_qsl, unquote, urlsplit

REGION = "eu-central-1"
#: Bodies up to this are kept, and compared with the checksum that they come with.
SMALL = 4 * 1024 * 1024
BLOCK = 16 * 1024 * 1024
REASONS = {200: "OK", 204: "No Content", 206: "Partial Content", 400: "Bad Request"}
REASONS |= {404: "Not Found", 412: "Precondition Failed", 501: "Not Implemented"}
SUM = "x-amz-checksum-sha256"


@dataclass
class Object:
    size: int
    etag: str
    body: bytes | None = None
    path: Path | None = None
    sum: str | None = None
    parts: dict[int, Object] = field(default_factory=dict)


class RefusedError(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class Service:
    """What lies in the buckets, by "/bucket/key"; uploads in parts, by id."""

    def __init__(self, keep: Path | None) -> None:
        self.keep = keep
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.objects: dict[str, Object] = {}
        self.uploads: dict[str, Object] = {}
        self.bytes = self.requests = 0

    def put(self, key: str, made: Object, *, only_new: bool) -> None:
        with self.lock:
            if only_new and key in self.objects:
                raise RefusedError(412, "PreconditionFailed")
            self.objects[key] = made

    def forget(self) -> None:
        """Of what was kept, too."""
        with self.lock:
            for made in [*self.objects.values(), *self.uploads.values()]:
                for one in (made, *made.parts.values()):
                    if one.path is not None:
                        one.path.unlink()
            self.objects, self.uploads = {}, {}
            self.bytes = self.requests = 0


class Connection:
    """One client: requests, one after another, until it goes."""

    def __init__(self, sock: socket.socket, service: Service) -> None:
        self.sock, self.service = sock, service
        self.read = bytearray()
        self.scratch = bytearray(BLOCK)  # of what is dropped, none of it is written to

    def serve(self) -> None:
        with self.sock:
            try:
                while True:
                    self.request()
            except OSError:
                return

    # -- bytes

    def line(self, end: bytes = b"\r\n") -> bytes:
        while (at := self.read.find(end)) < 0:
            more = self.sock.recv(1 << 16)
            if not more:
                raise ConnectionError
            self.read += more
        found = bytes(self.read[:at])
        del self.read[: at + len(end)]
        return found

    def take(self, size: int) -> bytes:
        while len(self.read) < size:
            more = self.sock.recv(min(1 << 20, size - len(self.read)))
            if not more:
                raise ConnectionError
            self.read += more
        found = bytes(self.read[:size])
        del self.read[:size]
        return found

    def body(self, size: int) -> Object:
        made = Object(size=size, etag=f'"{next(self.service.numbers):032x}"')
        if size <= SMALL:
            made.body = self.take(size)
            made.etag = f'"{hashlib.md5(made.body).hexdigest()}"'  # noqa: S324 (S3's own)
        elif self.service.keep is None:
            self.drop(size)
        else:
            made.path = self.service.keep / made.etag.strip('"')
            self.save(size, made.path)
        with self.service.lock:
            self.service.bytes += size
        return made

    def drop(self, size: int) -> None:
        """MSG_TRUNC: the kernel throws the bytes away, and nobody copies them."""
        here = min(size, len(self.read))
        del self.read[:here]
        size -= here
        while size:
            flags = socket.MSG_TRUNC | socket.MSG_WAITALL
            got = self.sock.recv_into(self.scratch, min(size, BLOCK), flags)
            if not got:
                raise ConnectionError
            size -= got

    def save(self, size: int, path: Path) -> None:
        with path.open("wb", buffering=0) as file:
            here = min(size, len(self.read))
            file.write(self.read[:here])
            del self.read[:here]
            size -= here
            while size:
                got = self.sock.recv_into(self.scratch, min(size, BLOCK))
                if not got:
                    raise ConnectionError
                file.write(memoryview(self.scratch)[:got])
                size -= got

    # -- requests

    def request(self) -> None:
        first, *lines = self.line(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {}
        for text in lines:
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        url = urlsplit(target)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        self.service.requests += 1
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        given = None
        if method in ("PUT", "POST"):
            given = self.body(int(headers.get("content-length", 0)))
        try:
            operation = getattr(self, f"do_{method.lower()}", None)
            if operation is None:
                raise RefusedError(501, "NotImplemented")
            operation(unquote(url.path), query, headers, given)
        except RefusedError as error:
            text = f"<Error><Code>{error.code}</Code><Message>{error.code}</Message></Error>"
            self.answer(error.status, text.encode(), head=method == "HEAD")

    def answer(
        self,
        status: int,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        head: bool = False,
    ) -> None:
        told = {"Content-Length": str(len(body)), **(headers or {})}
        lines = [f"HTTP/1.1 {status} {REASONS[status]}", *(f"{n}: {v}" for n, v in told.items())]
        sent = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self.sock.sendall(sent if head else sent + body)

    def do_put(
        self, key: str, query: dict[str, str], headers: dict[str, str], given: Object
    ) -> None:
        given.sum = headers.get(SUM)
        if given.body is not None and given.sum is not None:
            digest = hashlib.sha256(given.body).digest()
            if base64.b64encode(digest).decode() != given.sum:
                raise RefusedError(400, "BadDigest")
        if "uploadId" in query:
            self.service.uploads[query["uploadId"]].parts[int(query["partNumber"])] = given
        else:
            only_new = headers.get("if-none-match") == "*"
            self.service.put(key, given, only_new=only_new)
        self.answer(200, headers={"ETag": given.etag})

    def do_post(
        self, key: str, query: dict[str, str], headers: dict[str, str], given: Object
    ) -> None:
        if key == "/_reset":
            self.service.forget()
            self.answer(200)
            return
        if "uploads" in query:
            upload = f"upload-{next(self.service.numbers)}"
            self.service.uploads[upload] = Object(size=0, etag=f'"{upload}"')
            told = f"<UploadId>{upload}</UploadId>"
            xml = f"<InitiateMultipartUploadResult>{told}</InitiateMultipartUploadResult>"
        else:
            made = self.service.uploads.pop(query["uploadId"])
            made.size = sum(part.size for part in made.parts.values())
            self.service.put(key, made, only_new=headers.get("if-none-match") == "*")
            told = f"<ETag>{made.etag}</ETag>"
            xml = f"<CompleteMultipartUploadResult>{told}</CompleteMultipartUploadResult>"
        self.answer(200, xml.encode())

    def do_head(self, key: str, query: dict[str, str], headers: dict[str, str], _: None) -> None:
        if "/" not in key.strip("/"):
            self.answer(200, head=True)
            return
        found = self.found(key)
        sums = {SUM: found.sum, "x-amz-checksum-type": "FULL_OBJECT"} if found.sum else {}
        told = {"Content-Length": str(found.size), "ETag": found.etag, **sums}
        self.answer(200, headers={**told, "Last-Modified": NOW}, head=True)

    def do_get(self, key: str, query: dict[str, str], headers: dict[str, str], _: None) -> None:
        if key == "/_total":
            self.answer(200, f"{self.service.bytes} {self.service.requests}".encode())
        elif "location" in query:
            self.answer(200, f"<LocationConstraint>{REGION}</LocationConstraint>".encode())
        elif "/" not in key.strip("/"):
            self.answer(200, self.listing(key.strip("/"), query.get("prefix", "")))
        else:
            self.send(self.found(key), headers.get("range"))

    def found(self, key: str) -> Object:
        made = self.service.objects.get(key)
        if made is None:
            raise RefusedError(404, "NoSuchKey")
        return made

    def listing(self, bucket: str, prefix: str) -> bytes:
        start = f"/{bucket}/{prefix}"
        names = sorted(key for key in list(self.service.objects) if key.startswith(start))
        keys = "".join(f"<Contents><Key>{n[len(bucket) + 2 :]}</Key></Contents>" for n in names)
        return (
            f"<ListBucketResult><IsTruncated>false</IsTruncated>{keys}</ListBucketResult>".encode()
        )

    def send(self, made: Object, asked: str | None) -> None:
        """An object or a range of it; one that came in parts is sent part by part."""
        first, after = 0, made.size
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
        if match:
            first = int(match[1])
            after = min(after, int(match[2]) + 1) if match[2] else after
        told = {"Content-Length": str(after - first), "ETag": made.etag, "Last-Modified": NOW}
        if match:
            told["Content-Range"] = f"bytes {first}-{after - 1}/{made.size}"
        self.answer(206 if match else 200, headers=told)
        at = 0
        for _, part in sorted(made.parts.items()) or [(1, made)]:
            low, high = max(first, at), min(after, at + part.size)
            if low < high:
                self.send_part(part, low - at, high - at)
            at += part.size

    def send_part(self, part: Object, low: int, high: int) -> None:
        if part.body is not None:
            self.sock.sendall(part.body[low:high])
        elif part.path is None:
            raise ConnectionError("what was dropped cannot be read")
        else:
            with part.path.open("rb") as file:
                while low < high:
                    low += os.sendfile(self.sock.fileno(), file.fileno(), low, high - low)


NOW = "Tue, 01 Dec 2026 00:00:00 GMT"


def main() -> None:
    service = Service(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            sock, _ = server.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=Connection(sock, service).serve, daemon=True).start()


@contextmanager
def running(keep: Path | None = None) -> Iterator[str]:
    """The service in a process of its own; gives its address, "http://127.0.0.1:PORT"."""
    command = [sys.executable, "-m", "bench._sink", *([str(keep)] if keep else [])]
    with Popen(command, stdout=PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


if __name__ == "__main__":
    main()
