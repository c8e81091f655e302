"""A registry in this process that speaks the OCI distribution API, for what Debian's cannot do.

It checks digests and references as a real one does. Made with `immutable` its tags do not move,
with `referrers` it has that interface. A fault is a `Rule`: the first that matches answers instead.
Listens on 127.0.0.1 until the test ends.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from sovgate.formats import ociimage


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A request as it came, the body aside."""

    method: str
    target: str
    headers: dict[str, str]
    size: int


@dataclass(frozen=True, kw_only=True)
class Said:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Rule = Callable[[Heard], Said | None]


@dataclass
class Repo:
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    uploads: set[str] = field(default_factory=set)


@dataclass
class Registry:
    immutable: bool = False
    referrers: bool = False
    rules: list[Rule] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    repos: dict[str, Repo] = field(default_factory=dict)
    host: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def answer(self, heard: Heard, body: bytes) -> Said:
        with self._lock:
            self.heard.append(heard)
            for rule in self.rules:
                if (said := rule(heard)) is not None:
                    return said
            parts = urlsplit(heard.target)
            match = re.fullmatch(
                r"/v2/(?P<name>.+?)/(?P<kind>blobs/uploads|blobs|manifests|tags|referrers)/(?P<ref>.*)",
                parts.path,
            )
            if match is None:
                return Said(status=200, body=b"{}")
            repo = self.repos.setdefault(match["name"], Repo())
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            how = getattr(self, f"_{match['kind'].replace('/', '_')}")
            said: Said = how(repo, heard, match["ref"], query, body)
            return said

    def _blobs_uploads(
        self, repo: Repo, heard: Heard, ref: str, query: dict[str, str], body: bytes
    ) -> Said:
        if heard.method == "POST":
            made = secrets.token_hex(8)
            repo.uploads.add(made)
            return Said(status=202, headers={"Location": f"{urlsplit(heard.target).path}{made}"})
        if ref not in repo.uploads:
            return _error(404, "BLOB_UPLOAD_UNKNOWN")
        found = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if query.get("digest") != found:
            return _error(400, "DIGEST_INVALID")
        repo.uploads.discard(ref)
        repo.blobs[found] = body
        return Said(status=201, headers={"Docker-Content-Digest": found})

    def _blobs(
        self, repo: Repo, heard: Heard, ref: str, query: dict[str, str], body: bytes
    ) -> Said:
        del heard, query, body
        if ref not in repo.blobs:
            return _error(404, "BLOB_UNKNOWN")
        return Said(status=200, body=repo.blobs[ref])

    def _manifests(
        self, repo: Repo, heard: Heard, ref: str, query: dict[str, str], body: bytes
    ) -> Said:
        del query
        if heard.method in ("GET", "HEAD"):
            found = repo.manifests.get(repo.tags.get(ref, ref))
            if found is None:
                return _error(404, "MANIFEST_UNKNOWN")
            return Said(status=200, headers={"Content-Type": found[0]}, body=found[1])
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if ref.startswith("sha256:") and ref != digest:
            return _error(400, "DIGEST_INVALID")
        try:
            value = json.loads(body)
        except ValueError:
            return _error(400, "MANIFEST_INVALID")
        named = [value["config"], *value["layers"]] if "layers" in value else []
        there = all(one["digest"] in repo.blobs for one in named)
        if not there or any(o["digest"] not in repo.manifests for o in value.get("manifests", ())):
            return _error(400, "MANIFEST_BLOB_UNKNOWN")
        if self.immutable and repo.tags.get(ref, digest) != digest:
            return _error(409, "TAG_IMMUTABLE")
        repo.manifests[digest] = (heard.headers["content-type"], body)
        if not ref.startswith("sha256:"):
            repo.tags[ref] = digest
        about = value.get("subject", {}).get("digest") if self.referrers else None
        return Said(status=201, headers={"OCI-Subject": about} if about else {})

    def _tags(self, repo: Repo, heard: Heard, ref: str, query: dict[str, str], body: bytes) -> Said:
        """Three at a time, whatever is asked for."""
        del ref, body
        names = sorted(tag for tag in repo.tags if tag > query.get("last", ""))
        path = urlsplit(heard.target).path
        more = {"Link": f'<{path}?last={names[2]}>; rel="next"'} if len(names) > 3 else {}
        return Said(status=200, headers=more, body=json.dumps({"tags": names[:3]}).encode())

    def _referrers(
        self, repo: Repo, heard: Heard, ref: str, query: dict[str, str], body: bytes
    ) -> Said:
        del heard, query, body
        if not self.referrers:
            return _error(404, "UNSUPPORTED")
        rows = []
        for digest, (_, data) in sorted(repo.manifests.items()):
            value = json.loads(data)
            if value.get("subject", {}).get("digest") == ref:
                row = {"mediaType": ociimage.MANIFEST, "digest": digest, "size": len(data)}
                rows.append({**row, "artifactType": value["artifactType"]})
        value = {"schemaVersion": 2, "mediaType": ociimage.INDEX, "manifests": rows}
        return Said(status=200, body=json.dumps(value).encode())


def _error(status: int, code: str) -> Said:
    return Said(status=status, body=json.dumps({"errors": [{"code": code}]}).encode())


def _listen(registry: Registry) -> http.server.ThreadingHTTPServer:
    """Starts a server whose threads end with this process."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            size = int(self.headers.get("content-length", "0"))
            body = self.rfile.read(size)
            heard = Heard(
                method=self.command,
                target=self.path,
                headers={name.lower(): value for name, value in self.headers.items()},
                size=size,
            )
            said = registry.answer(heard, body)
            length = said.headers.get("Content-Length", str(len(said.body)))
            head = {**said.headers, "Content-Length": length}
            lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            sent = b"" if self.command == "HEAD" else said.body
            self.wfile.write(f"HTTP/1.1 {said.status} -\r\n{lines}\r\n".encode() + sent)

        do_GET = do_HEAD = do_POST = do_PUT = _do  # noqa: N815 (the library's names)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    registry.host = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@contextmanager
def serving(registry: Registry) -> Iterator[Registry]:
    """The registry behind a port of 127.0.0.1, which is in its `host`."""
    server = _listen(registry)
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()


@functools.cache
def shared() -> tuple[Registry, object]:
    """One for the whole session, whose tags do not move; each test has a repository of its own."""
    registry = Registry(immutable=True, referrers=True)
    return registry, _listen(registry)
