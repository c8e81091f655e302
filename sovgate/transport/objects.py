"""What is read by `client`: an answer whole, and an object, on after a break.

Ground floor: standard library only. Opens no connection by itself.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sovgate.errors import StoreError
from sovgate.transport.client import Response
from sovgate.transport.wire import Failure

#: Times that a read goes on after a break before it gives up; a byte that came resets the count.
_RESUMES = 4


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer that was read whole. `retried` as in `Response`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    retried: bool


def whole(response: Response, most: int) -> Answer:
    """Reads an answer of at most `most` bytes. Raises Failure."""
    return Answer(
        status=response.status,
        headers=response.headers,
        body=response.read(most),
        retried=response.retried,
    )


class ObjectReader(io.RawIOBase):
    """A raw stream over one object, on after a break. `size` is what the service said first."""

    size: int

    def fill(self, into: memoryview) -> None:
        """The next `len(into)` bytes, which must be there. Raises StoreError, "broken-off"."""
        raise NotImplementedError


class Reader(ObjectReader):
    """An object over one client.

    It is one and the same object throughout: after a break it goes on with the object's tag.
    """

    def __init__(
        self,
        fetch: Callable[[int, str | None], Response],
        tag: Callable[[Response], str | None],
        what: str,
    ) -> None:
        super().__init__()
        self._fetch, self._what = fetch, what
        self._offset = 0
        self._body: Response | None = None  # closed too where the service has no answer for us
        self._body = fetch(0, None)
        self._tag = tag(self._body)
        if self._body.length is None or self._body.status != 200:
            self.close()
            raise self._broken("the service does not say how long it is")
        self.size = self._body.length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        tries = 0
        while self._body is not None and self._offset < self.size and len(view):
            try:
                count = self._body.readinto(view[: self.size - self._offset])
            except Failure as failure:
                if tries >= _RESUMES:
                    why = f"{self._offset} of {self.size} bytes came, and then no more"
                    raise self._broken(why) from failure
                tries += 1
                self._again()
            else:
                self._offset += count
                return count
        return 0

    def fill(self, into: memoryview) -> None:
        """The next `len(into)` bytes, which must be there. Raises StoreError, "broken-off"."""
        while into and (count := self.readinto(into)):
            into = into[count:]
        if into:
            raise self._broken("it is shorter than was asked for")

    def _again(self) -> None:
        body = self._fetch(self._offset, self._tag)
        if body.status != 206 or body.length != self.size - self._offset:
            body.close()
            raise self._broken("the service gave another range than the one that was asked for")
        self._body = body

    def _broken(self, why: str) -> StoreError:
        return StoreError(
            f"{self._what} could not be read to its end",
            why=why,
            fix="check the network, and run it again",
            reason="broken-off",
        )

    def close(self) -> None:
        if not self.closed and self._body is not None:
            self._body.close()
        super().close()
