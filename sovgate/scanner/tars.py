"""What lies in a tar archive, and in those that stand behind it, as Python's own reader sees it.

Runs in the child. Reads streams; standard library alone. What another reader would find where this
one stops is UnreadableError: nobody knows which of them will load it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Generator, Iterator
from typing import Any

from sovgate.scanner.streams import Budget, Part, Stream, TooMuchError, UnreadableError

#: After the end of a tar: the rest of its last record.
MAX_PADDING = 1024 * 1024


class _Opened:
    """A part of a stream as the file that tarfile reads."""

    def __init__(self, stream: Stream, start: int) -> None:
        self.stream, self.start, self.at = stream, start, 0

    def tell(self) -> int:
        return self.at

    def seek(self, at: int) -> int:
        self.at = at
        return at

    def read(self, count: int = -1) -> bytes:
        if count < 0 or count > 64 * 1024 * 1024:  # a long name, or the headers of one file
            raise TooMuchError
        data = self.stream.read(self.start + self.at, count)
        self.at += len(data)
        return data


def is_tar(stream: Stream, at: int = 0) -> bool:
    """Whether Python takes the block there for the head of a file."""
    try:
        tarfile.TarInfo.frombuf(stream.read(at, tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def members(stream: Stream, budget: Budget) -> Iterator[tuple[str, Stream]]:
    """(name, content) of each file, over all archives that stand one behind the other."""
    start = 0
    while True:
        end = yield from _one_tar(stream, start, budget)
        start = _next_tar(stream, end)
        if start < 0:
            return


def _one_tar(
    stream: Stream, start: int, budget: Budget
) -> Generator[tuple[str, Stream], None, int]:
    opened: Any = _Opened(stream, start)
    try:
        tar: Any = tarfile.open(fileobj=opened, mode="r:", errorlevel=2)  # noqa: SIM115 - no file of ours
        while (member := tar.next()) is not None:
            tar.members.clear()
            budget.member()
            if member.sparse is not None:
                raise UnreadableError("a tar archive with a sparse file")
            if member.isreg() or member.type not in tarfile.SUPPORTED_TYPES:
                yield member.name, Part(stream, start + member.offset_data, member.size)
        end: int = start + tar.offset
        return end
    except (tarfile.TarError, ValueError, OverflowError, MemoryError) as error:
        raise UnreadableError("a tar archive that cannot be read") from error


def _next_tar(stream: Stream, end: int) -> int:
    """Where another archive begins behind the end of one, -1 where nothing but zeros follows."""
    for at in range(end, end + MAX_PADDING, 512):
        block = stream.read(at, 512)
        if block.strip(b"\0"):
            if is_tar(stream, at):
                return at
            raise UnreadableError("a tar archive with bytes after its end")
        if len(block) < 512:
            return -1
    raise UnreadableError("a tar archive with bytes after its end")
