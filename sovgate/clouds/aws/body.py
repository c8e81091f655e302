"""What a request carries: a buffer that the SDK takes for a stream, and that is sent as it is.

The SDK knows no memoryview; it would have the caller copy each, or read a stream in small blocks.
A time limit is one for each slice: a slow link is no hanging one.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sovgate import work
from sovgate.transport.wire import FLOOR, send_all, unbroken

_BYTES = (bytes, bytearray, memoryview)
#: A body is sent in such slices, so that each has the whole time limit. None is copied.
SLICE = 256 * 1024


class Body(io.RawIOBase):
    """`view` as a stream that can be read again. The caller keeps the buffer as it is meanwhile."""

    def __init__(self, view: memoryview) -> None:
        super().__init__()
        self.view, self._at = view, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self.view)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self.view[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


class _Slices:
    """For each try the same slices."""

    def __init__(self, view: memoryview) -> None:
        self._view = view

    def __iter__(self) -> Iterator[memoryview]:
        for start in range(0, len(self._view), SLICE):
            work.go_on()
            yield self._view[start : start + SLICE]


@contextmanager
def as_it_is(request: Any) -> Iterator[None]:
    """While a request is sent, its body is slices of the buffer itself.

    Without a wait for "100 Continue", which the SDK asks for before each stream.
    """
    body = request.body
    if not isinstance(body, Body):
        yield
        return
    request.headers.pop("Expect", None)
    request.body = _Slices(body.view)
    try:
        yield
    finally:
        request.body = body  # before another try the SDK rewinds it


class _Awaited(io.RawIOBase):
    """What comes on a connection, each piece within `seconds`, and all of it no slower than
    `FLOOR`. `plain` holds the connection open, as an answer does that outlives it."""

    def __init__(
        self,
        plain: Any,
        connection: Any,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._plain, self._connection, self._seconds = plain, connection, seconds
        self._clock, self._waited, self._got = clock, 0.0, 0
        connection.settimeout(work.LOOK)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._seconds + self._got / FLOOR - self._waited
        if left <= 0:
            raise TimeoutError
        begun = self._clock()
        try:
            count: int = self._connection.recv_into(buffer)
        except TimeoutError:  # seldom: what comes in a stream is there before it is asked for
            work.go_on()
            if (left := min(left, self._seconds) - work.LOOK) <= 0:
                raise
            count = self._later(buffer, left)
        finally:
            self._waited += self._clock() - begun
        self._got += count
        return count

    def _later(self, buffer: Any, seconds: float) -> int:
        try:
            return unbroken(
                lambda: int(self._connection.recv_into(buffer)), self._connection, seconds
            )
        finally:
            self._connection.settimeout(work.LOOK)

    def close(self) -> None:
        self._plain.close()
        super().close()


def patient(session: Any, seconds: float) -> None:
    """Each slice of a body, and each piece of an answer, may take this long, and an answer no
    longer than anybody waits for it. The SDK allows a body what connecting may take, since its HTTP
    library knows a time to connect and one to read, and none to write."""
    pools = session._pool_classes_by_scheme
    for scheme, pool in list(pools.items()):
        plain = pool.ConnectionCls

        def send(self: Any, data: Any, plain: Any = plain) -> None:
            answered = getattr(self, "_response_received", False)  # then it sends nothing more
            if self.sock is None or answered or not isinstance(data, _BYTES):
                plain.send(self, data)
            else:
                send_all(self.sock, memoryview(data), seconds)

        def begin(self: Any, sock: Any, *more: Any, plain: Any = plain, **named: Any) -> None:
            plain.response_class.__init__(self, sock, *more, **named)
            self.fp = io.BufferedReader(_Awaited(self.fp, sock, seconds))

        answer = type("Answer", (plain.response_class,), {"__init__": begin})
        connection = type(plain.__name__, (plain,), {"send": send, "response_class": answer})
        pools[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": connection})
