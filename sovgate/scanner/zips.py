"""What lies in a zip archive: by its directory, which must agree with all the rest of it.

Runs in the child. Reads streams; standard library alone. Where two readers of a format would see
different files, it is UnreadableError: nobody knows which of them will load it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from sovgate.formats.containers import ends_as_zip
from sovgate.scanner.names import TAIL, ZIP, ZIP_END
from sovgate.scanner.streams import (
    Budget,
    Part,
    Stream,
    TooMuchError,
    Unpacked,
    UnreadableError,
    all_of,
    length,
    unpack,
)

MAX_DIRECTORY = 64 * 1024 * 1024
#: Between files of an archive: a data descriptor, and what aligns the next.
MAX_GAP = 64 * 1024
_METHODS = {8: "deflate", 12: "bzip2", 14: "lzma"}
_DIRECTORY, _DESCRIPTOR = b"PK\x01\x02", b"PK\x07\x08"
_ENTRY = struct.Struct("<4sHHHHHHIIIHHHHHII")
_LOCAL = struct.Struct("<4sHHHHHIIIHH")


class _Member(NamedTuple):
    name: bytes
    flags: int
    method: int
    stored: int
    size: int
    offset: int


def members(stream: Stream, head: bytes, budget: Budget) -> Iterator[tuple[str, Stream]] | None:
    """(name, content) of each file; None where it is no zip. Raises UnreadableError.

    `head` is how it begins. It is read to its end, so of what is unpacked this is asked last.
    """
    begins = head[:4] in (ZIP, ZIP_END)
    try:
        end = length(stream)
    except TooMuchError:
        if begins or not isinstance(stream, Unpacked) or stream.certain:
            raise
        return None
    tail_at = max(0, end - TAIL)
    tail = stream.read(tail_at, end - tail_at)
    last = tail.rfind(ZIP_END)
    if last < 0 or not (begins or ends_as_zip(stream.read, end)):
        if begins:
            raise UnreadableError("a zip archive without a directory")
        return None
    try:
        return _opened(stream, end, tail, tail_at, last, budget)
    except struct.error as error:
        raise UnreadableError("a zip archive with a wrong directory") from error


def _opened(
    stream: Stream, end: int, tail: bytes, tail_at: int, last: int, budget: Budget
) -> Iterator[tuple[str, Stream]]:
    if len(tail) - last < 22 or last + 22 + struct.unpack_from("<H", tail, last + 20)[0] != len(
        tail
    ):
        raise UnreadableError("a zip archive with bytes after its end")
    count, size, start = struct.unpack_from("<HII", tail, last + 10)
    finish = tail_at + last
    if last >= 20 and tail[last - 20 : last - 16] == b"PK\x06\x07":  # zip64
        # Right before what points to it: some readers look there, some follow it.
        record = stream.read(finish - 76, 56) if finish >= 76 else b""
        if record[:4] != b"PK\x06\x06" or struct.unpack_from("<Q", record, 4)[0] != 44:
            raise UnreadableError("a zip64 archive without its record")
        large = struct.unpack_from("<QQQ", record, 32)
        for narrow, wide, full in zip(
            (count, size, start), large, (0xFFFF, 2**32 - 1, 2**32 - 1), strict=True
        ):
            if narrow not in (full, wide):
                raise UnreadableError("a zip64 archive of two records")
        count, size, start = large
        finish -= 76
        if struct.unpack_from("<Q", tail, last - 12)[0] != start + size:
            raise UnreadableError("a zip64 archive of two records")
    if size > MAX_DIRECTORY or size > finish:
        raise UnreadableError("a zip archive with too large a directory")
    shift = finish - size - start  # bytes before the archive
    if shift < 0:
        raise UnreadableError("a zip archive with a wrong directory")
    listed = _directory(stream.read(finish - size, size), shift)
    if len(listed) != count:
        raise UnreadableError("a zip archive with a wrong directory")
    places = [_place(stream, member) for member in listed]
    _check_tiling(stream, listed, places, finish - size)
    return _contents(stream, listed, places, budget)


def _directory(data: bytes, shift: int) -> list[_Member]:
    found, at = [], 0
    while at < len(data):
        (
            sign,
            _,
            _,
            flags,
            method,
            _,
            _,
            _,
            stored,
            size,
            names,
            extras,
            comments,
            _,
            _,
            _,
            offset,
        ) = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        if sign != _DIRECTORY or at + names + extras + comments > len(data):
            raise UnreadableError("a zip archive with a wrong directory")
        name, extra = data[at : at + names], data[at + names : at + names + extras]
        at += names + extras + comments
        if 2**32 - 1 in (size, stored, offset):
            size, stored, offset = _large(extra, size, stored, offset)
        found.append(
            _Member(
                name=name,
                flags=flags,
                method=method,
                stored=stored,
                size=size,
                offset=offset + shift,
            )
        )
    return found


def _large(extra: bytes, *sizes: int) -> list[int]:
    """The zip64 field has, in order, what does not fit where it belongs."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{size // 8}Q", extra, at + 4))
            return [next(values, n) if n == 2**32 - 1 else n for n in sizes]
        at += 4 + size
    return list(sizes)


def _place(stream: Stream, member: _Member) -> int:
    """Where a member's bytes begin. Its own header must say what the directory says."""
    head = stream.read(member.offset, _LOCAL.size)
    sign, _, flags, method, _, _, _, stored, _, names, extras = _LOCAL.unpack(head)
    name = stream.read(member.offset + _LOCAL.size, names)
    told = stored in (member.stored, 2**32 - 1) or flags & 8
    if sign != ZIP or name != member.name or method != member.method or not told:
        raise UnreadableError("a zip archive whose directory names other files than it holds")
    if (flags | member.flags) & 0x2041:
        raise UnreadableError("an encrypted zip archive")
    start: int = member.offset + _LOCAL.size + names + extras
    return start


def _check_tiling(stream: Stream, listed: list[_Member], places: list[int], end: int) -> None:
    """No two files share bytes, and no file lies where the directory names none."""
    at = 0
    spans = sorted((m.offset, place + m.stored) for m, place in zip(listed, places, strict=True))
    for begin, after in [*spans, (end, end)]:
        if begin < at:
            raise UnreadableError("a zip archive whose files overlap")
        _check_gap(stream, at, begin)
        at = after


def _check_gap(stream: Stream, begin: int, end: int) -> None:
    """A reader that goes from file to file would find what lies there."""
    if end - begin > 256 * MAX_GAP:
        raise UnreadableError("a zip archive with bytes that its directory does not name")
    gap = stream.read(begin, end - begin)
    if ZIP in gap or _DIRECTORY in gap or ZIP_END in gap:
        raise UnreadableError("a zip archive with files that its directory does not name")


def _contents(
    stream: Stream, listed: list[_Member], places: list[int], budget: Budget
) -> Iterator[tuple[str, Stream]]:
    for member, place in zip(listed, places, strict=True):
        budget.member()
        name = member.name.decode("utf-8", "replace")
        packed = Part(stream, place, member.stored)
        if member.method == 0:
            if member.size != member.stored:
                raise UnreadableError("a zip archive with two sizes of one file")
            yield name, packed
        elif member.method in _METHODS:
            budget.add(member.stored)
            yield name, Unpacked(partial(_inflate, member, packed), budget)
        else:
            raise UnreadableError(f"a zip archive packed in an unknown way ({member.method})")


def _inflate(member: _Member, packed: Part) -> Iterator[bytes]:
    if member.method != 14:
        return unpack(_METHODS[member.method], packed, raw=True)
    return _zip_lzma(packed)


def _zip_lzma(packed: Part) -> Iterator[bytes]:
    """LZMA as zip has it: two bytes of version, the length of the properties, they, the stream."""
    import lzma

    head = packed.read(0, 9)
    if len(head) < 9 or head[2:4] != b"\x05\x00":
        raise UnreadableError("a zip archive packed in an unknown way (14)")
    known, size = head[4], struct.unpack_from("<I", head, 5)[0]
    filters = {
        "id": lzma.FILTER_LZMA1,
        "dict_size": size,
        "lc": known % 9,
        "lp": known // 9 % 5,
        "pb": known // 45,
    }
    if size > 64 * 1024 * 1024:
        raise TooMuchError
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[filters])
        for data in all_of(packed, 9):
            yield unpacker.decompress(data, 1 << 20)
            while not unpacker.needs_input and not unpacker.eof:
                yield unpacker.decompress(b"", 1 << 20)
            if unpacker.eof:
                return
    except (lzma.LZMAError, ValueError) as error:
        raise UnreadableError("a zip archive that is damaged") from error
