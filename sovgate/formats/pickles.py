"""Tells a pickle by its content, in whatever wrapping; never loads one. No I/O of its own.

Loading a pickle runs whatever program is in it, so a model that holds one is named, and policy may
refuse it. Where the content does not decide, the name does: better one too many than one too few.
"""

from __future__ import annotations

import pickletools
import re
import struct
import zlib
from dataclasses import dataclass

from sovgate.errors import Malformed
from sovgate.formats.inflated import MAGIC, Inflated, TooMuchError
from sovgate.formats.tensors._source import Cursor, Source

HEAD = 64 * 1024
#: As many opcodes in a row are no accident: with the mark of a protocol, and without.
ENOUGH, MOST = 12, 100_000
MAX_LINE = 64 * 1024
MAX_SCAN = 256 * 1024 * 1024
MAX_MEMBERS = 100_000
MAX_DIRECTORY = 16 * 1024 * 1024
_MEMBER_HEAD = 16 * 1024

#: Endings that mean a pickle unless the content is known to be something else.
ENDINGS = frozenset({"pkl", "pickle", "pt", "pth", "ckpt", "joblib", "dill", "cloudpickle", "pt2"})
#: As a further ending: what the one before it says still counts.
_PACKED = frozenset({"gz", "bz2", "xz", "lzma", "z", "zst", "lz4"})
#: What joblib compresses with and we cannot unpack; and what its own old form begins with.
_LZ4, _ZFILE = b"\x04\x22\x4d\x18", b"ZF0x"
_HARMLESS = (b"GGUF", b"\x89HDF\r\n\x1a\n")
_NUMPY = b"\x93NUMPY"
#: No dtype of objects is spelled without one of these, and hardly any other with one: "|O",
#: "i4,O", "object", and by escapes, since a header is read as a literal of Python.
_OBJECT_DTYPE = re.compile(rb"O|object|\\")
_OPCODES = {ord(op.code): op for op in pickletools.opcodes}
#: What an unpickler takes in opcodes whose argument is a line; no form means any text.
_NAMES = re.compile(rb"[\w.]+ [\w.]+")
_NUMBER = re.compile(rb"\s*[-+]?[0-9_]+[lL]?\s*")
_LINES = {
    "GLOBAL": _NAMES,
    "INST": _NAMES,
    "INT": _NUMBER,
    "LONG": _NUMBER,
    "GET": _NUMBER,
    "PUT": _NUMBER,
    "FLOAT": re.compile(rb"\s*[-+0-9.eEinfaINFA_]+\s*"),
    "STRING": re.compile(rb"\s*(?:'.*|\".*)", re.DOTALL),
}
#: What runs code, once something was named that can be called.
_CALLS = frozenset({"INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
_CALLABLES = frozenset({"GLOBAL", "STACK_GLOBAL", "INST"})


def sniff(name: str, source: Source) -> str | None:
    """Why the file counts as a pickle, e.g. "a pickle of protocol 4", or None."""
    size = source.size
    head = source.read(0, min(size, HEAD))
    stem, _, ending = name.rpartition("/")[2].lower().rpartition(".")
    if ending in _PACKED and (inner := stem.rpartition(".")[2]) in ENDINGS:
        ending = inner
    named = ending in ENDINGS
    if head[:4] == b"PK\x03\x04" or (size >= 22 and source.read(size - 22, 4) == b"PK\x05\x06"):
        why = _in_zip(source)
    elif head.startswith(_NUMPY):
        why = "a NumPy array of Python objects" if _object_array(head) else None
        named = False
    else:
        why = (
            _raw(source, head, named=named)
            or _compressed(source, head, named=named)
            or _in_tar(source, head)
        )
    if why is None and ending == "joblib" and head.startswith(_LZ4):
        return "a compressed joblib pickle"
    if why is None and named and size and not head.startswith(_HARMLESS):
        return f"a file named .{ending}, which is loaded as a pickle"
    return why


def _raw(source: Source, head: bytes, *, named: bool) -> str | None:
    if len(head) < 2 or head[0] not in _OPCODES:
        return None
    marked = head[0] == 0x80  # PROTO
    if marked and head[1] > 5:
        return None
    seen = _scan(source, most=ENOUGH if marked else MOST)
    if marked:
        if seen.calls or seen.stopped or seen.right >= ENOUGH or (seen.cut and seen.right > 2):
            return f"a pickle of protocol {head[1]}"
    # Protocols 0 and 1 have no mark, and text may begin like them. What has called something by
    # then is one, even if nonsense follows: loading has run it.
    elif seen.calls or seen.right >= MOST or (named and seen.stopped):
        return "a pickle of protocol 0 or 1"
    return None


def _compressed(source: Source, head: bytes, *, named: bool) -> str | None:
    """joblib unpacks by the first bytes, under whatever name."""
    if head.startswith(_ZFILE):
        return "a compressed joblib pickle"
    for magic in MAGIC:
        if head.startswith(magic):
            inside = Inflated(source, magic)
            try:
                start = inside.read(0, 2)
            except TooMuchError:
                return "a compressed file that cannot be looked into, and may hold a pickle"
            why = _raw(inside, start, named=named)
            return why and f"{why}, compressed"
    return None


class _EndlessLineError(Exception):
    pass


@dataclass
class _Scan:
    """How far bytes make sense as a pickle.

    right    opcodes that were right, with enough on the stack for each
    calls    one of them runs code
    stopped  they came to STOP
    cut      the file ended inside an argument
    """

    right: int = 0
    calls: bool = False
    stopped: bool = False
    cut: bool = False


def _scan(source: Source, *, most: int) -> _Scan:
    """Walk opcodes from the beginning, through the whole file if need be; arguments are skipped."""
    seen, cursor = _Scan(), Cursor(source, 0, source.size)
    stack, named, marks = 0, False, list[int]()
    try:
        while seen.right < most and not seen.calls and not seen.stopped and cursor.left:
            opcode = _OPCODES.get(cursor.take(1)[0])
            if opcode is None or not _argument(cursor, opcode):
                break
            before = opcode.stack_before
            if pickletools.markobject in before:
                if not marks:
                    break
                stack = marks.pop() - before.index(pickletools.markobject)
            else:
                stack -= len(before)
            if stack < 0:
                break
            if opcode.name == "MARK":
                marks.append(stack)
            else:
                stack += len(opcode.stack_after)
            named = named or opcode.name in _CALLABLES
            seen.right += 1
            seen.calls = named and opcode.name in _CALLS
            seen.stopped = opcode.name == "STOP"
    except Malformed:
        seen.cut = True
    except (_EndlessLineError, TooMuchError):  # could not be looked through: counts as one
        seen.right = most
    return seen


def _argument(cursor: Cursor, opcode: pickletools.OpcodeInfo) -> bool:
    """Skip an opcode's argument; false where no unpickler would take it."""
    if opcode.arg is None:
        return True
    size = opcode.arg.n
    if size >= 0:
        cursor.skip(size)
    elif size == pickletools.UP_TO_NEWLINE:
        lines = 2 if opcode.name in _CALLABLES else 1
        form = _LINES.get(opcode.name)
        text = b" ".join(_line(cursor) for _ in range(lines))
        return form is None or form.fullmatch(text) is not None
    else:
        width = {
            pickletools.TAKEN_FROM_ARGUMENT1: 1,
            pickletools.TAKEN_FROM_ARGUMENT4: 4,
            pickletools.TAKEN_FROM_ARGUMENT4U: 4,
            pickletools.TAKEN_FROM_ARGUMENT8U: 8,
        }[size]
        cursor.skip(int.from_bytes(cursor.take(width), "little"))
    return True


def _line(cursor: Cursor) -> bytes:
    """Up to a line feed; of a long line the beginning, since no form here is that long."""
    kept, start = b"", cursor.position
    while True:
        if not cursor.fill():
            raise Malformed("a line without an end")
        end = cursor.buffer.find(b"\n", cursor.at)
        part = cursor.buffer[cursor.at : len(cursor.buffer) if end < 0 else end]
        kept += part[: MAX_LINE - len(kept)]
        cursor.at += len(part)
        if cursor.position - start > MAX_SCAN:
            raise _EndlessLineError
        if end >= 0:
            cursor.at += 1
            return kept


def _object_array(head: bytes) -> bool:
    """Whether it may be one: of a header that goes on behind `head`, nobody here knows."""
    if len(head) < 12:
        return False
    start = 10 if head[6] == 1 else 12
    end = start + int.from_bytes(head[8:start], "little")
    return end > len(head) or _OBJECT_DTYPE.search(head, start, end) is not None


# --- tar: torch.save of old, which torch.load still tells by its content --------------------------
_IN_TARS = frozenset({"storages", "tensors", "pickle"})
#: Where a checksum stands in a tar: all that Python takes for a number there.
_TAR_SUM = re.compile(rb"[\s+0-7_oO-]{0,8}(?:\x00.*)?|[\x80\xff].*", re.DOTALL)
#: Types of members that give the next another name or size.
_RENAMING = b"xgXLKS"


def _in_tar(source: Source, head: bytes) -> str | None:
    """By its members' headers; one whose names stand elsewhere cannot be told, and counts."""
    if not _TAR_SUM.fullmatch(head, 148, 156):  # most files end here, and quickly
        return None
    import tarfile

    block, at, count = tarfile.BLOCKSIZE, 0, 0
    while at + block <= source.size:
        try:
            member = tarfile.TarInfo.frombuf(source.read(at, block), "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            return None  # readers stop here too
        count += 1
        name = member.name.rstrip("/").rpartition("/")[2]
        if member.type in (bytes([kind]) for kind in _RENAMING) or count > MAX_MEMBERS:
            return "a tar archive that cannot be looked through, and may hold a pickle"
        if name in _IN_TARS or name.lower().rpartition(".")[2] in ENDINGS:
            return f"a tar archive with {name[:80]!r}"
        at += block
        if member.isreg() or member.type not in tarfile.SUPPORTED_TYPES:
            at += -(-member.size // block) * block
        if member.size < 0:
            return None
    return None


# --- zip: torch.save, numpy.savez ---------------------------------------------------------------
def _in_zip(source: Source) -> str | None:
    """Goes through the archive's directory. One that cannot be read counts as a pickle."""
    try:
        for name, method, offset, stored in _members(source):
            ending = name.rpartition(b".")[2].lower()
            if ending in (b"pkl", b"pickle"):
                return f"a zip archive with {name[:80].decode('utf-8', 'replace')!r}"
            # NumPy looks at what a member begins with, not at how it is called.
            if _member(source, method, offset, stored, len(_NUMPY)) == _NUMPY and _object_array(
                _member(source, method, offset, stored, _MEMBER_HEAD)
            ):
                return "a zip archive with a NumPy array of Python objects"
    except (Malformed, struct.error, zlib.error):
        return "a zip archive that cannot be read, and may hold a pickle"
    return None


def _members(source: Source) -> list[tuple[bytes, int, int, int]]:
    """(name, compression, offset of the local header, stored size) by the central directory."""
    tail_size = min(source.size, 65_557)
    tail = source.read(source.size - tail_size, tail_size)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise Malformed("a zip archive without a directory")
    count, size, start = struct.unpack_from("<HII", tail, at + 10)
    end = source.size - tail_size + at
    if at >= 20 and tail[at - 20 : at - 16] == b"PK\x06\x07":  # zip64
        record = at - 76  # right before what points to it: some readers look there, some follow it
        if record < 0 or tail[record : record + 4] != b"PK\x06\x06":
            raise Malformed("a zip64 archive without its record")
        count, size, start = struct.unpack_from("<QQQ", tail, record + 32)
        end = source.size - tail_size + record
        if struct.unpack_from("<Q", tail, at - 12)[0] != start + size:
            raise Malformed("a zip64 archive of two records")
    if count > MAX_MEMBERS or size > MAX_DIRECTORY or size > end:
        raise Malformed("a zip archive of too many files")
    directory = source.read(end - size, size)
    shift = end - size - start  # bytes before the archive
    found, at = [], 0
    while at + 46 <= len(directory):
        if directory[at : at + 4] != b"PK\x01\x02":
            raise Malformed("a zip archive with a wrong directory")
        method, _, _, _, stored, size, name_len, extra_len, comment_len, _, _, _, offset = (
            struct.unpack_from("<HHHIIIHHHHHII", directory, at + 10)
        )
        name = directory[at + 46 : at + 46 + name_len]
        if 0xFFFFFFFF in (size, stored, offset):
            extra = directory[at + 46 + name_len : at + 46 + name_len + extra_len]
            size, stored, offset = _large(extra, size, stored, offset)
        found.append((name, method, offset + shift, stored))
        at += 46 + name_len + extra_len + comment_len
    if len(found) != count and count != 0xFFFF:
        raise Malformed("a zip archive with a wrong directory")
    return found


def _large(extra: bytes, *sizes: int) -> list[int]:
    """The zip64 field has, in order, what does not fit where it belongs."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            return [next(values, n) if n == 0xFFFFFFFF else n for n in sizes]
        at += 4 + length
    return list(sizes)


def _member(source: Source, method: int, offset: int, stored: int, most: int) -> bytes:
    """The first `most` bytes of a member, or all of it."""
    name_len, extra_len = struct.unpack("<HH", source.read(offset + 26, 4))
    start = offset + 30 + name_len + extra_len
    # Packed, even a few bytes may follow a table; empty blocks without end may stand before them.
    count = min(stored, most if method == 0 else _MEMBER_HEAD, max(0, source.size - start))
    data = source.read(start, count)
    if method == 0:
        return data
    if method == 8:
        unpacker = zlib.decompressobj(-15)
        found = unpacker.decompress(data, most)
        if len(found) < min(most, len(_NUMPY)) and count < stored and not unpacker.eof:
            raise Malformed("a zip member that begins with nothing")
        return found
    raise Malformed("a zip member compressed in an unknown way")
