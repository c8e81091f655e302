"""An HTTP client that goes where it was told and nowhere else: one origin, no redirect, no cookie.

Ground floor: standard library only. Opens sockets. Reads no variable of the environment: roots and
a proxy come from `authority` and `proxies` (RULES 36). All that a server says is bounded.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import urlsplit

from sovgate import work
from sovgate.errors import ConfigError, InternalError, ResidencyMismatch
from sovgate.transport import authority, proxies
from sovgate.transport.wire import Failure, Wire, connect
from sovgate.uri import METADATA, is_loopback, split_url

Bytes = bytes | bytearray | memoryview

#: Requests of one `ask` in all, and seconds that lie between two of them at most.
ATTEMPTS, MAX_PAUSE = 4, 20.0
#: Answers after which the same request may go well.
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
#: A body is sent in such slices, so that each has the whole time limit. None is copied.
_SLICE = 256 * 1024
#: With a body of at most this, head and body leave in one packet.
_TOGETHER = 16 * 1024
#: Connections that are kept open when nobody uses them.
_KEPT = 16
_TARGET = re.compile(r"/[!-~]*", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_VALUE = re.compile(r"[ -~]*", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Request:
    """`target` is path and query, encoded. The pieces of `body` are sent one after another.

    again      whether it may be sent a second time where the first may have been heard; None: GET
               and HEAD may. A create-only write may, if its sender settles what came of the first
    redirects  whether the answer may be a redirect, which the caller looks at. None is followed
    """

    method: str
    target: str
    # In no repr: a header may be a credential, and a body a login (RULES 29).
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: tuple[Bytes, ...] = field(default=(), repr=False)
    again: bool | None = None
    redirects: bool = False

    @property
    def repeats(self) -> bool:
        return self.method in ("GET", "HEAD") if self.again is None else self.again


def origin(url: str, *, what: str, link_local: bool = False) -> str:
    """`https://host[:port]` that a person or a file wrote, in its one spelling. ConfigError.

    RULES 15: `http://` only to this machine; `link_local`: and to its own metadata service.
    """

    def refuse(why: str) -> NoReturn:
        raise ConfigError(
            f"the endpoint of the {what} cannot be used",
            why=why,
            fix="write https://HOST[:PORT]",
            reason="bad-endpoint",
        )

    found = split_url(url)
    if found is None:
        refuse("it is not a URL of a host, by name or by its whole address")
    parts, host, port = found
    if "@" in url:
        raise ConfigError(
            f"the endpoint of the {what} carries credentials",
            fix="remove them from the URI",
            reason="secret-in-uri",
        )
    written = f"[{host}]" if ":" in host else host
    if not host or parts.path not in ("", "/") or set(url) & {"?", "#"}:
        refuse("it is not a URL of a host only")
    if parts.scheme not in ("https", "http"):
        refuse("it begins with neither https:// nor http://")
    own = is_loopback(host) or (link_local and host == METADATA)
    if parts.scheme == "http" and not own:
        refuse("http:// can be read and changed by anyone on the way")
    return f"{parts.scheme}://{written}" + (f":{port}" if port is not None else "")


class Client:
    """Requests to one origin, from as many threads as like. Close it, or use it as a context."""

    def __init__(
        self,
        url: str,
        *,
        what: str = "store",
        wait: Callable[[float], object] = work.pause,
        attempts: int = ATTEMPTS,
        link_local: bool = False,
    ) -> None:
        """`url` as `origin` takes it. `wait` sleeps between two tries. Opens no connection.

        `attempts`: of one `ask` in all; 1 for a caller that tries again by itself.
        """
        self.url = origin(url, what=what, link_local=link_local)
        parts = urlsplit(self.url)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._wait, self._attempts = wait, attempts
        self._lock = threading.Lock()
        self._idle: list[Wire] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    @property
    def direct(self) -> bool:
        """Whether it goes straight there over TLS with the default roots alone (RULES 15)."""
        return self._tls and not authority.given() and proxies.named() is None

    def ask(self, request: Request) -> Response:
        """One request, tried again where that does no harm; the answer's head is read.

        Raises Failure where no answer came that can be read, and ResidencyMismatch, reason
        "redirected". Every status else is an answer. Read or close it.
        """
        head = self._head(request)
        heard = False
        for number in range(1, self._attempts + 1):
            last = number == self._attempts
            pause: float | None = None
            try:
                answer = self._once(request, head)
            except Failure as failure:
                heard = failure.heard = heard or failure.heard
                if last or failure.final or (failure.heard and not request.repeats):
                    raise
            else:
                answer.retried = heard
                if last or answer.status not in _BUSY or not request.repeats:
                    return self._checked(request, answer)
                heard = True
                pause = answer.pause()
                answer.close()
            self._wait(_pause(number) if pause is None else pause)
        raise AssertionError  # pragma: no cover - the last round returns or raises

    def close(self) -> None:
        """Close what nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for wire in idle:
            wire.hang_up()

    # -- one request

    def _head(self, request: Request) -> bytes:
        """The head as it is sent. Raises InternalError where it would not be one head."""
        size = sum(len(piece) for piece in request.body)
        default = 443 if self._tls else 80
        host = f"[{self._host}]" if ":" in self._host else self._host
        lines = {
            "Host": host if self._port == default else f"{host}:{self._port}",
            "Accept-Encoding": "identity",
            "User-Agent": "sovgate",
            **request.headers,
        }
        if request.body or request.method not in ("GET", "HEAD", "DELETE"):
            lines["Content-Length"] = str(size)
        well = _NAME.fullmatch(request.method) and _TARGET.fullmatch(request.target)
        if not well or not all(_well(*line) for line in lines.items()):
            # Not repeated: a header may be a credential (RULES 29).
            raise InternalError("a request would have been no request of HTTP")
        text = f"{request.method} {request.target} HTTP/1.1\r\n"
        text += "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{text}\r\n".encode("ascii")

    def _once(self, request: Request, head: bytes) -> Response:
        wire = self._kept() or connect(self._host, self._port, tls=self._tls)
        try:
            self._send(wire, request, head)
            return Response(self, wire, request.method)
        except BaseException:
            wire.hang_up()
            raise

    @staticmethod
    def _send(wire: Wire, request: Request, head: bytes) -> None:
        """A service that has heard enough may answer and hang up: then that answer is read."""
        pieces: list[Bytes] = [head, *request.body]
        if sum(map(len, request.body)) <= _TOGETHER:
            pieces = [b"".join(pieces)]
        with wire.sending():
            for piece in pieces:
                view = memoryview(piece).cast("B")
                for start in range(0, len(view), _SLICE):
                    work.go_on()
                    wire.send(view[start : start + _SLICE])

    def _checked(self, request: Request, answer: Response) -> Response:
        if 300 <= answer.status < 400 and answer.status != 304 and not request.redirects:
            answer.close()
            raise ResidencyMismatch(
                f"{self.url} redirects to another place",
                why=f"it answered with a redirect ({answer.status}), which is never followed",
                fix="name the endpoint where it really is, and check that policy allows it",
                reason="redirected",
            )
        return answer

    # -- connections

    def _kept(self) -> Wire | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                wire = self._idle.pop()
            if wire.quiet():
                return wire
            wire.hang_up()

    def keep(self, wire: Wire) -> None:
        """Takes back a connection whose answer was read to its end."""
        with self._lock:
            if len(self._idle) < _KEPT:
                self._idle.append(wire)
                return
        wire.hang_up()


def _well(name: str, value: str) -> bool:
    return bool(_NAME.fullmatch(name) and _VALUE.fullmatch(value))


def _pause(number: int) -> float:
    """Seconds after the `number`-th try: longer each time, and not the same for everybody."""
    return min(MAX_PAUSE, 0.25 * 2.0**number) * (0.5 + random.random() / 2)  # noqa: S311


class Response:
    """An answer whose head was read. `headers` have lower-case names.

    length   bytes of the body as it says (of HEAD: that GET would have); None: it does not say
    retried  whether an earlier try may have been heard: then "it is there already" may be our own
    """

    def __init__(self, client: Client, wire: Wire, method: str) -> None:
        """Reads the head. Raises Failure."""
        self._client, self._wire = client, wire
        self.retried = False
        self._open = True
        with wire.reading(head=True):
            self._http = http.client.HTTPResponse(wire, method=method)  # type: ignore[arg-type]
            self._http.begin()
        self.status = self._http.status
        self.headers: dict[str, str] = {}
        for name, value in self._http.getheaders():
            key = name.lower()
            self.headers[key] = f"{self.headers[key]}, {value}" if key in self.headers else value
        self.length = self._measured()
        self._none = method == "HEAD" or self.status in (204, 304)
        self._left = 0 if self._none else self.length

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _measured(self) -> int | None:
        """How long the body is. What two readers could read in two ways is refused."""
        said = self.headers.get("content-length")
        coding = self.headers.get("transfer-encoding")
        if self.status < 200 or (coding is not None and (said or coding.lower() != "chunked")):
            self._refuse("its head cannot be told apart from another")
        if said is None:
            return None
        each = {part.strip() for part in said.split(",")}
        if len(each) != 1 or not _LENGTH.fullmatch(said := each.pop()):
            self._refuse("it does not say one length")
        return int(said)

    def _refuse(self, why: str) -> NoReturn:
        self._open = False
        self._wire.hang_up()
        raise Failure("bad-answer", why, heard=True)

    def pause(self) -> float | None:
        """Seconds that it asks to wait, if not more than we would; None: it does not say."""
        said = self.headers.get("retry-after", "")
        return min(MAX_PAUSE, float(said)) if re.fullmatch(r"[0-9]{1,6}", said) else None

    def read(self, most: int) -> bytes:
        """The whole body, and the connection is free again. Raises Failure, "too-large" or
        "broken-off"."""
        if self._left is None and "transfer-encoding" not in self.headers and self.status < 400:
            self._refuse("it does not say where it ends")
        if (self._left or 0) > most:
            self.close()
            raise Failure("too-large", f"its answer is larger than {most} bytes", heard=True)
        with self._reading(2 * most):
            data = self._http.read(most + 1) if self._left is None else self._http.read()
        if len(data) > most:
            self.close()
            raise Failure("too-large", f"its answer is larger than {most} bytes", heard=True)
        if self._left is not None and len(data) != self._left:
            self._refuse("it is shorter than it said")
        self._done()
        return data

    def readinto(self, into: memoryview) -> int:
        """Some next bytes of a body whose length is known; 0 after its end. Raises Failure."""
        if self._left is None:
            self._refuse("it does not say how long it is")
        if not self._left or not len(into):
            return 0
        with self._reading(self._left):
            count = self._http.readinto(into[: self._left])
        if not count:
            self._refuse("it is shorter than it said")
        self._left -= count
        if not self._left:
            self._done()
        return count

    @contextlib.contextmanager
    def _reading(self, most: int) -> Iterator[None]:
        try:
            with self._wire.reading(most=most):
                yield
        except BaseException:
            self._open = False
            self._wire.hang_up()
            raise

    def _done(self) -> None:
        """The connection serves the next request, if both sides may go on using it."""
        if self._open:
            self._open = False
            over = self._http.will_close or not self._wire.whole or not self._http.isclosed()
            self._wire.hang_up() if over else self._client.keep(self._wire)

    def close(self) -> None:
        """What was not read is not read any more, and the connection goes with it."""
        if self._open and self._left == 0:
            if not self._http.isclosed():
                self._http.close()
            self._done()
        elif self._open:
            self._open = False
            self._wire.hang_up()
