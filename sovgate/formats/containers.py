"""What packs one file, told by its first bytes, and how it is unpacked. Pure; no I/O.

One list for who looks for pickles (`scanner`) and who looks for secrets (`formats.archives`), so
that nothing is opened by the one and not by the other. As the readers of Python take these
formats, which take more than the tools that write them. Standard library alone.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

CHUNK = 256 * 1024
#: Of memory for xz, whose own header says how much it wants: its highest preset wants 65.
MEMORY = 128 * 1024 * 1024
#: An LZMA file says how far back it may refer; it is not believed, but for so much.
_DICTIONARY = 64 * 1024 * 1024
ZIP = b"PK\x03\x04"
ZIP_END, _DIRECTORY = b"PK\x05\x06", b"PK\x01\x02"
#: Python looks for the end of a zip archive within so many bytes of a file's end.
ZIP_TAIL = 65_558
#: So many ends of an archive are followed, from the last one back.
MAX_ENDS = 16
#: What a file of any of these formats takes at least.
_SHORTEST = 14
#: What begins a block of bzip2, and ends one that holds nothing.
_BLOCK = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")


class BrokenError(Exception):
    """It is damaged, or ends too early: readers differ in what they still give."""


class MemoryLimitError(Exception):
    """It wants more memory than anybody gives it."""


def kind_of(head: bytes) -> str | None:
    """Which of them it is. Of "zlib" and "lzma" nobody is certain: other files begin so as well."""
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if re.match(rb"BZh[1-9]", head):
        return "bzip2"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if _is_zlib(head):
        return "zlib"
    return "lzma" if _is_lzma(head) else None


def certain(head: bytes) -> bool:
    """Whether a file that begins so is one, so that it is damaged where it does not open."""
    if len(head) < _SHORTEST:
        return False
    if head.startswith((b"\x1f\x8b\x08", b"\xfd7zXZ\0")):
        return True
    if head.startswith(b"BZh"):
        return head[4:10] in _BLOCK
    return head.startswith(b"\x5d\0\0") and head[5:13] == b"\xff" * 8 and _is_lzma(head)


def _is_zlib(head: bytes) -> bool:
    """With any window, and without a dictionary that only its reader has."""
    if len(head) < 3:
        return False
    return head[0] & 0x8F == 8 and int.from_bytes(head[:2], "big") % 31 == 0 and not head[1] & 0x20


def _is_lzma(head: bytes) -> bool:
    """What liblzma takes for LZMA alone where it is not told what it reads."""
    if len(head) < 18 or head[0] >= 225 or head[13] != 0:
        return False
    if head[0] % 9 + head[0] // 9 % 5 > 4:
        return False
    back, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    if size == 0 or 2**38 <= size < 2**64 - 1:
        return False
    # Two to some power, or that and a half of it.
    rest = back & (back - 1)
    return back == 2**32 - 1 or rest == 0 or back == rest + rest // 2


class _Inflate:
    """DEFLATE as it is, or in zlib."""

    def __init__(self, bits: int) -> None:
        import zlib

        self._inner, self._given = zlib.decompressobj(bits), b""
        self.wrong: type[Exception] = zlib.error

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._given

    def decompress(self, data: bytes, most: int) -> bytes:
        out = self._inner.decompress(self._given + data, most)
        self._given = self._inner.unconsumed_tail
        return out


class _Gunzip:
    """gzip as Python reads it: flags that nobody knows, and sums that are wrong, stop nothing."""

    def __init__(self) -> None:
        self._inner = _Inflate(-15)
        self._head: bytes | None = b""
        self._ended, self._end = False, b""

    @property
    def eof(self) -> bool:
        return len(self._end) >= 8

    @property
    def unused_data(self) -> bytes:
        return self._end[8:]

    @property
    def needs_input(self) -> bool:
        return self._head is not None or self._inner.eof or self._inner.needs_input

    def decompress(self, data: bytes, most: int) -> bytes:
        if self._head is not None:
            self._head += data
            start = _gzip_start(self._head)
            if start < 0:
                if len(self._head) > 16 * 1024 * 1024:
                    raise BrokenError
                return b""
            data, self._head = self._head[start:], None
        if self._ended:
            self._end += data
            return b""
        out = self._inner.decompress(data, most)
        self._ended = self._inner.eof
        if self._ended:
            self._end = self._inner.unused_data
        return out


def _gzip_start(head: bytes) -> int:
    """Where what is packed begins; -1 where that is not there yet."""
    if len(head) < 10:
        return -1
    flags, at = head[3], 10
    if flags & 4:
        at += 2 + int.from_bytes(head[at : at + 2], "little")
    for flag in (8, 16):
        if flags & flag:
            at = head.find(b"\0", at) + 1 if at <= len(head) else 0
            if at == 0:
                return -1
    at += flags & 2
    return at if at <= len(head) else -1


def _unpacker(kind: str) -> tuple[Any, tuple[type[Exception], ...]]:
    if kind == "bzip2":
        import bz2

        return bz2.BZ2Decompressor(), (OSError, EOFError, ValueError)
    if kind in ("xz", "lzma"):
        import lzma

        return lzma.LZMADecompressor(memlimit=MEMORY), (lzma.LZMAError, EOFError)
    if kind == "gzip":
        gzip = _Gunzip()
        return gzip, (gzip._inner.wrong, BrokenError)
    inflate = _Inflate(-15 if kind == "deflate" else 15)
    return inflate, (inflate.wrong,)


def unpack(kind: str, source: Iterator[bytes], *, raw: bool = False) -> Iterator[bytes]:
    """What is packed, in pieces. One stream after another, as Python's readers do, unless `raw`.

    Raises BrokenError where it is damaged, once all before that was given, and MemoryLimitError.
    """
    given, streams = next(source, b""), 0
    while True:
        if streams and kind == "gzip" and kind_of(given) != "gzip":
            return  # what stands behind an archive belongs to nobody
        if kind in ("xz", "lzma") and _is_lzma(given):
            back = min(int.from_bytes(given[1:5], "little"), _DICTIONARY)
            given = given[:1] + back.to_bytes(4, "little") + given[5:]
        (unpacker, wrong), gave = _unpacker(kind), False
        while not unpacker.eof:
            if not given and unpacker.needs_input:
                given = next(source, b"")
                if not given:
                    if streams and not gave:
                        return
                    raise BrokenError
            try:
                out = unpacker.decompress(given, CHUNK)
            except wrong as error:
                if "emory usage limit" in str(error):
                    raise MemoryLimitError from error
                if streams and not gave:
                    return
                raise BrokenError from error
            given = b""
            if out:
                gave = True
                yield out
        if raw:
            return
        # Zeros may lie between two streams, as far as the readers of these formats let them.
        given, streams = unpacker.unused_data.lstrip(b"\0"), streams + 1
        while not given:
            given = next(source, b"")
            if not given:
                return
            given = given.lstrip(b"\0")
        if len(given) < 18:
            given += next(source, b"")


def ends_as_zip(read: Callable[[int, int], bytes], size: int) -> bool:
    """Whether the end of a zip archive leads to a directory, whatever the file begins with."""
    tail_at = max(0, size - ZIP_TAIL)
    tail = read(tail_at, size - tail_at)
    if ZIP_END not in tail:
        return False
    if _DIRECTORY in tail or b"PK\x06\x07" in tail:
        return True
    ends, at = [len(tail) - 22], len(tail)
    while len(ends) < MAX_ENDS and (at := tail.rfind(ZIP_END, 0, at)) >= 0:
        ends.append(at)
    for end in ends:
        if end < 0 or tail[end : end + 4] != ZIP_END or end + 22 > len(tail):
            continue
        length, start = struct.unpack_from("<II", tail, end + 12)
        finish = tail_at + end
        for place in {start, finish - length}:
            if 0 <= place < finish and read(place, 4) == _DIRECTORY:
                return True
    return False
