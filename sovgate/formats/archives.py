"""The beginnings of the files in an archive: zip, tar, and what gzip, bzip2 or xz packed. No I/O.

To search for secrets in, not to judge: what does not read yields nothing. Bounded in members and in
bytes, packed and unpacked; nothing is written.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, Protocol, cast

MAX_MEMBERS, MEMBER, BUDGET = 10_000, 256 * 1024, 64 * 1024 * 1024
_ZIP, _GZIP, _BZIP2, _XZ = (b"PK\3\4", b"PK\5\6"), b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"


class Bytes(Protocol):
    """Random access to a file: `formats.tensors._source.Source`."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, count: int) -> bytes: ...


class _OverError(OSError):
    """The budget is spent."""


class _Raw(io.RawIOBase):
    """A source as a file."""

    def __init__(self, source: Bytes) -> None:
        self.source, self.at = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(0, offset + (0, self.at, self.source.size)[whence])
        return self.at

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        count = max(0, min(len(view), self.source.size - self.at))
        view[:count] = self.source.read(self.at, count)
        self.at += count
        return count


class _Limited:
    """Reads forward, and stops where the budget is spent."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.left = file, BUDGET

    def read(self, count: int = -1) -> bytes:
        if self.left <= 0:
            raise _OverError
        data = self.file.read(min(count, self.left) if count >= 0 else self.left)
        self.left -= len(data)
        return data


def read(source: Bytes, name: str, most: int) -> bytes | None:
    """One file of a zip archive as Python's own reader gives it; None where there is none.

    Raises ValueError where it cannot be read, or is larger than `most`.
    """
    import zipfile
    import zlib

    try:
        with (
            zipfile.ZipFile(io.BufferedReader(_Raw(source))) as archive,
            archive.open(name) as member,
        ):
            data = member.read(most + 1)
    except KeyError:
        return None
    except (OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(str(error)) from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(str(error)) from error
    if len(data) > most:
        raise ValueError(f"more than {most} bytes")
    return data


def is_archive(head: bytes) -> bool:
    return head.startswith((*_ZIP, _GZIP, _BZIP2, _XZ)) or head[257:262] == b"ustar"


def members(source: Bytes, head: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, beginning) of each file, "" for what is packed alone. Ends early where it is wrong."""
    import lzma
    import tarfile
    import zipfile
    import zlib

    wrong = (OSError, EOFError, ValueError, RuntimeError, tarfile.TarError, zipfile.BadZipFile)
    try:
        yield from _zip(source) if head.startswith(_ZIP) else _packed(source, head)
    except (*wrong, lzma.LZMAError, zlib.error, NotImplementedError):
        return


def _zip(source: Bytes) -> Iterator[tuple[str, bytes]]:
    import zipfile

    left = BUDGET
    with zipfile.ZipFile(io.BufferedReader(_Raw(source))) as archive:
        for info in archive.infolist()[:MAX_MEMBERS]:
            if info.is_dir() or info.flag_bits & 1 or left <= 0:
                continue
            with archive.open(info) as member:
                data = member.read(MEMBER)
            left -= len(data)
            yield info.filename, data


def _unpacked(source: Bytes, head: bytes) -> IO[bytes]:
    import bz2
    import gzip
    import lzma

    file = io.BufferedReader(_Raw(source))
    if head.startswith(_GZIP):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if head.startswith(_BZIP2):
        return bz2.BZ2File(file)
    if head.startswith(_XZ):
        return lzma.LZMAFile(file)
    return file


def _packed(source: Bytes, head: bytes) -> Iterator[tuple[str, bytes]]:
    import tarfile

    start = _unpacked(source, head).read(MEMBER)
    if start[257:262] != b"ustar":
        yield "", start
        return
    limited = cast("IO[bytes]", _Limited(_unpacked(source, head)))
    with tarfile.open(fileobj=limited, mode="r|") as archive:
        for number, info in enumerate(archive):
            if number >= MAX_MEMBERS:
                return
            file = archive.extractfile(info) if info.isreg() else None
            if file is not None:
                yield info.name, file.read(MEMBER)
