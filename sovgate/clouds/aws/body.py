"""What a request carries: a buffer that the SDK takes for a stream, and that is sent as it is.

The SDK knows no memoryview; it would have the caller copy each, or read a stream in small blocks.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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


@contextmanager
def as_it_is(request: Any) -> Iterator[None]:
    """While a request is sent, its body is the buffer itself: one call for all of it.

    Without a wait for "100 Continue", which the SDK asks for before each stream.
    """
    body = request.body
    if not isinstance(body, Body):
        yield
        return
    request.headers.pop("Expect", None)
    request.body = body.view
    try:
        yield
    finally:
        request.body = body  # before another try the SDK rewinds it
