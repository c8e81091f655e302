"""Requests to one registry, logged in, and what its answers mean.

Goes to one host, and for the read of a blob once to another that is named, without credentials
(RULES 15). Uploads follow no redirect and no `Location` to another host.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn
from urllib.parse import urlsplit

from sovgate import strict
from sovgate.errors import ConfigError, Malformed, ResidencyMismatch, StoreError
from sovgate.formats import ociimage
from sovgate.stores._api import Bytes
from sovgate.stores.oci.login import Login
from sovgate.transport.client import Client, Request, Response, origin
from sovgate.transport.wire import Failure, explain
from sovgate.uri import split_url

_MOVED = (301, 302, 303, 307, 308)
_MAX_ERROR = 64 * 1024
_NEXT = re.compile(r'<([^<>]{1,4000})>\s*;\s*rel="?next"?', re.IGNORECASE)
_CODE = re.compile(r"[A-Z_]{1,60}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer that was read."""

    status: int
    headers: Mapping[str, str]
    data: bytes
    retried: bool = False


class Connection:
    """`redirects`: whether a host, "name[:port]", may be read from in the registry's place."""

    def __init__(
        self, client: Client, repository: str, login: Login, redirects: Callable[[str], bool]
    ) -> None:
        self._client, self.repository, self._login = client, repository, login
        self._redirects = redirects
        self._others: dict[str, Client] = {}
        weakref.finalize(self, _close, client, self._others)

    @property
    def uri(self) -> str:
        return f"oci://{urlsplit(self._client.url).netloc}/{self.repository}"

    def get(
        self,
        target: str | None,
        doing: str,
        headers: Mapping[str, str] | None = None,
        *,
        most: int = ociimage.MAX_BYTES,
    ) -> Answer:
        request = Request(method="GET", target=target or "/", headers=headers or {})
        with self.ask(request, doing, writing=False) as answer:
            return self._answer(answer, most, doing)

    def write(
        self, method: str, target: str, doing: str, *, body: Bytes = b"", media: str = ""
    ) -> Answer:
        request = Request(
            method=method,
            target=target,
            headers={"Content-Type": media} if media else {},
            body=(body,) if len(body) else (),
            again=True,
        )
        with self.ask(request, doing, writing=True) as answer:
            return self._answer(answer, _MAX_ERROR, doing)

    def read(self, method: str, sha256: str, doing: str) -> Response:
        """A read of a blob; redirected once at most, to a host that is named."""
        target = f"/v2/{self.repository}/blobs/{ociimage.digest(sha256)}"
        answer = self.ask(
            Request(method=method, target=target, redirects=True), doing, writing=False
        )
        if answer.status not in _MOVED:
            return answer
        location = answer.headers.get("location", "")
        answer.close()
        client, target = self._elsewhere(location)
        try:
            return client.ask(Request(method=method, target=target))
        except Failure as failure:
            raise explain(failure, doing, StoreError) from failure

    def _elsewhere(self, location: str) -> tuple[Client, str]:
        if location.startswith("/") and not location.startswith("//"):
            return self._client, location
        found = split_url(location)
        host = "" if found is None else found[0].netloc.rpartition("@")[2].lower()
        own = urlsplit(self._client.url).netloc
        try:
            if found is None or (host != own and not self._redirects(host)):
                raise ConfigError("not named")
            parts = found[0]
            url = origin(f"{parts.scheme}://{parts.netloc}", what="registry")
        except ConfigError:
            raise ResidencyMismatch(
                f"the registry of {self.uri} redirects a read to another place",
                why=f"to {host[:200]!r}, which neither the catalogue nor the store's URI names",
                fix=f"if that host belongs to the registry, and lies where policy allows it, name "
                f"it in the store's URI: ?redirects={host[:200]}",
                reason="redirected",
            ) from None
        if url not in self._others:
            self._others[url] = Client(url)
        return self._others[url], f"{parts.path or '/'}" + (
            f"?{parts.query}" if parts.query else ""
        )

    def ask(self, request: Request, doing: str, *, writing: bool) -> Response:
        """The answer; after a 401 that of a second request, with what the registry wants."""
        for last in (False, True):
            login = self._login.headers(writing=writing)
            try:
                answer = self._client.ask(replace(request, headers={**request.headers, **login}))
            except Failure as failure:
                raise explain(failure, doing, StoreError) from failure
            if answer.status != 401 or last:
                return answer
            challenge = answer.headers.get("www-authenticate", "")
            answer.close()
            self._login.answer(challenge, login, writing=writing)
        raise AssertionError  # pragma: no cover - the last round returns

    def _answer(self, answer: Response, most: int, doing: str) -> Answer:
        data = self.body(answer, most, doing)
        return Answer(
            status=answer.status, headers=answer.headers, data=data, retried=answer.retried
        )

    @staticmethod
    def body(answer: Response, most: int, doing: str) -> bytes:
        try:
            return answer.read(most)
        except Failure as failure:
            raise explain(failure, doing, StoreError) from failure

    def refuse(self, answer: Response, doing: str) -> NoReturn:
        self.refused(self._answer(answer, _MAX_ERROR, doing), doing)

    def refused(self, answer: Answer, doing: str) -> NoReturn:
        """What a status means. A registry's own words are not repeated, but for its code."""
        if answer.status == 401:
            self._login.refuse()
        code = _code(answer.data)
        said = f"the registry answered {answer.status}" + (f" {code}" if code else "")
        name = self.repository
        if answer.status == 403 or code == "DENIED":
            reason = "access-denied"
            why = f"{said}: the account may not do that, or the repository does not exist"
            fix = f"give the account the right to pull from {name}, and to push to it where "
            fix += "releases or receipts are written"
        elif code == "NAME_UNKNOWN":
            reason = "unknown-repository"
            why = f"{said}: there is no repository {name}"
            fix = "create the repository, or correct the store's URI"
        elif code == "DIGEST_INVALID":
            reason = "wrong-bytes"
            why = f"{said}: the bytes are not those of the digest that they were announced with"
            fix = "run it again; the source changed while it was read"
        elif code in ("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"):
            reason = "missing-object"
            why = f"{said}: it no longer has, or never kept, a part that it had taken"
            fix = "run it again; if the error stays, have the registry keep blobs that no manifest "
            fix += "names yet for longer than a push takes"
        else:
            reason, why = "no-answer", said
            fix = "run it again; if the error stays, ask the registry's operator"
        raise StoreError(f"could not {doing}", why=why, fix=fix, reason=reason)

    def upload(self, location: str) -> str:
        """Where an upload goes on: at the registry itself, or nowhere."""
        if location.startswith("/") and not location.startswith("//"):
            return location
        found = split_url(location)
        if found is not None and _origin(*found) == _origin(*_split(self._client.url)):
            parts = found[0]
            return f"{parts.path}?{parts.query}" if parts.query else parts.path
        host = "" if found is None else found[0].netloc.rpartition("@")[2]
        raise ResidencyMismatch(
            f"the registry of {self.uri} sends uploads to another place",
            why=f"its Location names {host[:200]!r}",
            fix="name the registry where it really is, and check that policy allows it",
            reason="redirected",
        )

    def following(self, link: str, below: str) -> str | None:
        match = _NEXT.search(link[:8192])
        if match is None:
            return None
        found = split_url(match.group(1))
        parts = None if found is None else found[0]
        target = "" if parts is None else f"{parts.path}?{parts.query}"
        other = parts is None or (
            parts.netloc and _origin(*_split(match.group(1))) != _origin(*_split(self._client.url))
        )
        if other or not target.startswith(below):
            raise StoreError(
                f"could not list {self.uri} to its end",
                why="the registry says that the list goes on at another place",
                fix="ask the registry's operator",
                reason="broken-off",
            )
        return target


def _close(client: Client, others: Mapping[str, Client]) -> None:
    for each in (client, *others.values()):
        each.close()


def _split(url: str) -> tuple[object, str, int | None]:
    found = split_url(url)
    return ("", "", None) if found is None else found


def _origin(parts: object, host: str, port: int | None) -> tuple[str, str, int]:
    scheme = str(getattr(parts, "scheme", ""))
    return scheme, host, port or (443 if scheme == "https" else 80)


def _code(data: bytes) -> str:
    try:
        rows = strict.Fields(strict.loads(data, max_bytes=_MAX_ERROR, lenient=True), "answer")
        code = next(iter(rows.objects("errors"))).text("code")
    except (Malformed, StopIteration):
        return ""
    return code if _CODE.fullmatch(code) else ""
