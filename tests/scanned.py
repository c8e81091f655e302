"""What the scanner says of bytes that lie in no file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from sovgate.scanner.child import Found, Scanner


@contextmanager
def opened(data: bytes, size: int | None = None) -> Iterator[int]:
    """A descriptor of `data`, up to `size` followed by zeros that take no room."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        if size is not None:
            os.truncate(file.fileno(), size)
        yield file.fileno()


def found(name: str, data: bytes, scanner: Scanner | None = None) -> Found | None:
    with opened(data) as descriptor:
        if scanner is not None:
            return scanner.scan(name, descriptor)
        with Scanner() as own:
            return own.scan(name, descriptor)
