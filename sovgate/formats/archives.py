"""The files in an archive and in those within it: zip, tar, and what is packed (`containers`).

No I/O of its own. To search in, not to judge: what does not read is BrokenError, after all that
does. One budget holds for all that is opened, as for pickles, and what is beyond it is TooMuchError
(RULES 34). Memory is bounded, and nothing is written.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, Protocol, cast

from sovgate.errors import Malformed
from sovgate.formats import containers
from sovgate.formats.budget import Budget
from sovgate.formats.budget import TooMuchError as TooMuchError

HEAD, CHUNK = 64 * 1024, 256 * 1024
#: Of what is unpacked, so much can be gone back to without unpacking it again.
KEEP = 4 * 1024 * 1024
#: At once: a directory of a zip archive with as many names as are opened, a long name in a tar.
MAX_READ = 16 * 1024 * 1024
_ZIP = (b"PK\3\4", b"PK\5\6")
#: Where a checksum stands in a tar.
_SUM = re.compile(rb"[ 0-7]{6}[\0 ]", re.DOTALL)


class Bytes(Protocol):
    """Random access to a file: `formats.tensors.Source`."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, count: int) -> bytes: ...


class BrokenError(Exception):
    """It begins as an archive, and cannot be opened, or not to its end."""


@dataclass(frozen=True)
class Whole:
    """What lies in an archive as a source of bytes. Its size is known once it was read through."""

    content: Content

    @property
    def size(self) -> int:
        return self.content.length()

    def read(self, offset: int, count: int) -> bytes:
        self.content.seek(offset)
        data = self.content.read(count)
        if len(data) < count:
            raise Malformed("the file ends too early")
        return data


class Content:
    """What the readers of archives take for a file; no read is larger than `MAX_READ`."""

    at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(0, offset + (0, self.at, self.length() if whence == 2 else 0)[whence])
        return self.at

    def read(self, count: int = -1) -> bytes:
        """All that is asked for, but at the end."""
        if count > MAX_READ:
            raise TooMuchError
        data = self.take(MAX_READ + 1 if count < 0 else count)
        if len(data) > MAX_READ:
            raise TooMuchError
        self.at += len(data)
        return data

    def length(self) -> int:
        raise NotImplementedError

    def take(self, count: int) -> bytes:
        raise NotImplementedError


@dataclass(frozen=True)
class _Held:
    """Bytes in memory as a source."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]


class _Top(Content):
    """The file itself."""

    def __init__(self, source: Bytes) -> None:
        self.source = source

    def length(self) -> int:
        return self.source.size

    def take(self, count: int) -> bytes:
        left = min(count, self.source.size - self.at)
        return self.source.read(self.at, left) if left > 0 else b""


class _Member(Content):
    """What lies in an archive: unpacked as it is read, and again where somebody goes far back."""

    def __init__(self, begin: Callable[[], IO[bytes]], budget: Budget) -> None:
        self.begin, self.budget = begin, budget
        self.opened: IO[bytes] | None = None
        self.base, self.kept = 0, bytearray()
        self.ended: int | None = None
        self.broken = False

    def length(self) -> int:
        while self.ended is None:
            self.more()
        return self.ended

    def take(self, count: int) -> bytes:
        if self.at < self.base:
            self.opened, self.base, self.kept, self.ended = None, 0, bytearray(), None
        parts, at, left = [], self.at, count
        while left > 0:
            start = at - self.base
            here = bytes(self.kept[start : start + left])
            if not here:
                if self.ended is not None:
                    break
                self.more()
                continue
            parts.append(here)
            at, left = at + len(here), left - len(here)
        return b"".join(parts)

    def more(self) -> None:
        """One piece on. Where it is broken, it ends."""
        try:
            if self.opened is None:
                self.opened = self.begin()
            data = self.opened.read(CHUNK)
        except _wrong():
            data, self.broken = b"", True
        if not data:
            self.ended = self.base + len(self.kept)
            return
        self.budget.spend(len(data))
        self.kept += data
        if len(self.kept) > 2 * KEEP:
            gone = len(self.kept) - KEEP
            del self.kept[:gone]
            self.base += gone


def _wrong() -> tuple[type[Exception], ...]:
    """What Python's readers raise where an archive is broken."""
    import lzma
    import struct
    import zipfile
    import zlib

    wrong = (OSError, EOFError, ValueError, RuntimeError, LookupError, ArithmeticError)
    own = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error)
    return (*wrong, *own, containers.BrokenError)


class _Packed:
    """What is packed, as a file to read on in. Of what nobody is certain, no damage is told."""

    def __init__(self, file: Content, head: bytes) -> None:
        self.sure, self.left = containers.certain(head), b""
        file.seek(0)
        pieces = iter(lambda: file.read(CHUNK), b"")
        self.source = containers.unpack(str(containers.kind_of(head)), pieces)

    def read(self, count: int) -> bytes:
        try:
            piece = self.left or next(self.source, b"")
            self.left = piece[count:]
            return piece[:count]
        except containers.MemoryLimitError as error:
            raise TooMuchError from error
        except containers.BrokenError:
            if self.sure:
                raise
            return b""


def is_archive(head: bytes, source: Bytes) -> bool:
    return _may_begin(head) or _is_zip(_Top(source))


def _may_begin(head: bytes) -> bool:
    return head.startswith(_ZIP) or containers.kind_of(head) is not None or _is_tar(head)


def _is_zip(file: Content) -> bool:
    """Whether its end says so, whatever it begins with."""

    def read(offset: int, count: int) -> bytes:
        file.seek(offset)
        return file.read(count)

    return containers.ends_as_zip(read, file.length())


def _is_tar(head: bytes) -> bool:
    if _SUM.fullmatch(head, 148, 155) is None:
        return False
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def walk(source: Bytes) -> Iterator[tuple[tuple[str, ...], Content]]:
    """(the way to it, content) of each file at any depth; "" for what is packed alone.

    Of an archive in it, its files and then its own beginning. The content may be read until the
    next one is asked for. Raises TooMuchError, here or when it is read, and at the end
    BrokenError where something did not open.
    """
    yield from _within((), _Top(source), Budget(source.size))


def _within(
    way: tuple[str, ...], file: Content, budget: Budget
) -> Iterator[tuple[tuple[str, ...], Content]]:
    if len(way) >= Budget.DEPTH:
        raise TooMuchError
    broken = False
    try:
        for name, begin in _members(file):
            budget.member()
            one, inner = _Member(begin, budget), (*way, name)
            head = one.read(CHUNK)
            if _may_begin(head) or (_is_short(one, head) and _is_zip(one)):
                try:
                    yield from _within(inner, one, budget)
                except BrokenError:
                    broken = True
                yield inner, _Top(_Held(head))  # to go back in it may cost all of it again
            else:
                one.seek(0)
                yield inner, one
            broken = broken or one.broken
    except _wrong() as error:
        raise BrokenError from error
    if broken:
        raise BrokenError


def _is_short(file: _Member, head: bytes) -> bool:
    """Whether all of it is at hand, so that its end costs nothing to look at."""
    while len(head) == CHUNK and file.ended is None and len(file.kept) <= KEEP:
        file.more()
    return file.ended is not None and file.base == 0


def _members(file: Content) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    file.seek(0)
    head = file.read(HEAD)
    opened = cast("IO[bytes]", file)
    kind = containers.kind_of(head)
    if head.startswith(_ZIP) or (not _is_tar(head) and kind is None):
        import zipfile

        with zipfile.ZipFile(opened) as archive:
            for info in archive.infolist():
                if not info.is_dir() and not info.flag_bits & 1:
                    yield info.filename, partial(_zipped, archive, info)
    elif _is_tar(head):
        file.seek(0)
        with tarfile.open(fileobj=opened, mode="r:") as tar:
            while (member := tar.next()) is not None:
                cast("Any", tar).members.clear()
                if member.isreg():
                    yield member.name, cast("Any", partial(tar.extractfile, member))
    else:
        yield "", partial(_packed, file, head)


def _zipped(archive: Any, info: Any) -> IO[bytes]:
    """A file of a zip archive. Its sum is not asked: torch may leave it out."""
    opened = archive.open(info)
    opened._expected_crc = None
    return cast("IO[bytes]", opened)


def _packed(file: Content, head: bytes) -> IO[bytes]:
    return cast("IO[bytes]", _Packed(file, head))


def read(source: Bytes, name: str, most: int) -> bytes | None:
    """One file of a zip archive as Python's own reader gives it; None where there is none.

    Raises ValueError where it cannot be read, or is larger than `most`.
    """
    import zipfile

    try:
        with (
            zipfile.ZipFile(cast("IO[bytes]", _Top(source))) as archive,
            archive.open(name) as member,
        ):
            data = member.read(most + 1)
    except KeyError:
        return None
    except TooMuchError as error:
        raise ValueError("more than is looked through") from error
    except _wrong() as error:
        raise ValueError(str(error)) from error
    if len(data) > most:
        raise ValueError(f"more than {most} bytes")
    return data
