"""Reads an object from its start, and goes on where a connection broke; lists keys to an end.

Makes the requests that it is given, GetObject and ListObjectsV2.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from sovgate import work
from sovgate.clouds.aws import answers
from sovgate.errors import StoreError, VerificationFailed
from sovgate.files import MAX_ENTRIES
from sovgate.transport.objects import ObjectReader

_Errors = Callable[[], contextlib.AbstractContextManager[None]]
#: Pages without a key in a listing that goes on: more is a service that plays with us.
MAX_EMPTY = 100

#: The SDK makes a copy of what it reads, which need not be as large as what is read into.
_READ = 1024 * 1024
#: Times that a read goes on after a break before it gives up; a byte that came resets the count.
_RESUMES = 4
#: Bytes that are read before it is asked whether anybody still waits for them.
_SLICE = 1024 * 1024


class Reader(ObjectReader):
    """An object by GetObject.

    It is one and the same object throughout: after a break it goes on with If-Match.
    """

    def __init__(
        self,
        fetch: Callable[..., Any],
        errors: _Errors,
        what: str,
    ) -> None:
        super().__init__()
        self._fetch, self._errors, self._what = fetch, errors, what
        self._offset = 0
        self._body: Any = None  # closed too where the service has no answer for us
        with errors():
            answer = fetch()
        self._body = answer["Body"]
        self._etag = answer.get("ETag")
        self.size = int(answer["ContentLength"])

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        tries = 0
        while self._offset < self.size and len(view):
            with self._errors():
                try:
                    data = self._body.read(min(len(view), _READ, self.size - self._offset))
                except answers.failures():
                    data = b""
                if data:
                    view[: len(data)] = data
                    self._offset += len(data)
                    return len(data)
                if tries >= _RESUMES:
                    break
                tries += 1
                self._again()
        if self._offset < self.size and len(view):
            raise StoreError(
                f"{self._what} could not be read to its end",
                why=f"{self._offset} of {self.size} bytes came, and then no more",
                fix="check the network, and run it again",
                reason="broken-off",
            )
        return 0

    def fill(self, into: memoryview) -> None:
        """The next `len(into)` bytes, which must be there. Raises StoreError, "broken-off"."""
        while into:
            work.go_on()
            into = into[self.readinto(into[:_SLICE]) :]

    def _again(self) -> None:
        self._body.close()
        match = {"IfMatch": self._etag} if self._etag else {}
        answer = self._fetch(Range=f"bytes={self._offset}-", **match)
        status = answer["ResponseMetadata"]["HTTPStatusCode"]
        left = int(answer["ContentLength"])
        if status != 206 or left != self.size - self._offset:
            answer["Body"].close()
            raise StoreError(
                f"{self._what} could not be read on after a break",
                why="the service gave another range than the one that was asked for",
                fix="run it again",
                reason="broken-off",
            )
        self._body = answer["Body"]

    def close(self) -> None:
        if not self.closed and self._body is not None:
            self._body.close()
        super().close()


def keys_below(fetch: Callable[..., Any], errors: _Errors, what: str) -> Iterator[dict[str, Any]]:
    """What the service says of each key, page by page, in its order. Raises VerificationFailed,
    reason "limits".
    """
    token, count, empty = "", 0, 0
    while True:
        with errors():
            page = fetch(**({"ContinuationToken": token} if token else {}))
        found = list(page.get("Contents", ()))
        count, empty = count + len(found), empty + (not found)
        following = str(page.get("NextContinuationToken") or "")
        ended = not page.get("IsTruncated")
        if not ended and not following:
            raise StoreError(
                f"the listing of {what} breaks off",
                why="the service says that there is more, and not how to ask for it",
                fix="run it again; if the error stays, ask the service's operator",
                reason="broken-off",
            )
        if count > MAX_ENTRIES or (not ended and (following == token or empty > MAX_EMPTY)):
            raise VerificationFailed(
                f"the listing of {what} does not end",
                why=f"{count} objects so far; {MAX_ENTRIES} is the limit",
                reason="limits",
            )
        yield from found
        if ended:
            return
        token = following
