"""Safetensors header -> tensors. Streaming: neither time nor memory grows with what it claims.

As strict as the format's own library, and no stricter, but for names that stand there twice: data
without holes, sizes that agree with dtype and shape. A dtype that is not known here has no size to
compare; its offsets still bound it. No I/O.
"""

from __future__ import annotations

import codecs
import re
import struct

from sovgate import strict
from sovgate.errors import Malformed
from sovgate.formats.tensors._record import (
    MAX_RANK,
    MAX_TENSORS,
    Tensor,
    TensorFile,
    checked_elements,
    refuse,
)
from sovgate.formats.tensors._source import Cursor, Source

FORMAT = "safetensors"
#: The format's own limit.
MAX_HEADER = 100_000_000
MAX_NAME = 4096
MAX_ENTRY = 4096
MAX_METADATA = 20_000
#: What is kept of the metadata; the rest is only checked.
MAX_KEPT, MAX_KEPT_LENGTH = 256, 1024

#: Bits an element.
DTYPES = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "U32": 32,
    "I32": 32,
    "U64": 64,
    "I64": 64,
    "F16": 16,
    "BF16": 16,
    "F32": 32,
    "F64": 64,
    "C64": 64,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}

_SPACE = re.compile(rb"[ \t\n\r]*+")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*+(?:\\["\\/bfnrtu][^"\\\x00-\x1f]*+)*+')
_MARK = re.compile(rb"[ \t\n\r]*+([,}])")
#: What matters on the way to the end of a value: strings, which may hold brackets, and brackets.
_STEPS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
#: A dtype of a version to come, as they are all spelled.
_DTYPE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,15}", re.ASCII)
_NUMBER = rb"(?:0|[1-9][0-9]{0,15})"
#: An entry as all writers spell it, with what follows: name, dtype, shape, begin, end, mark.
_USUAL = re.compile(
    rb'"([^"\\\x00-\x1f]{1,%d}+)":\{"dtype":"([A-Z0-9_]{1,16})",'
    rb'"shape":\[((?:%b(?:,%b){0,31})?)\],"data_offsets":\[(%b),(%b)\]\}([,}])'
    % (MAX_NAME, _NUMBER, _NUMBER, _NUMBER, _NUMBER)
)
#: Longer than any usual entry.
_AHEAD = 16 * 1024


def read(source: Source) -> TensorFile:
    """Raises Malformed, reason "bad-header"."""
    if source.size < 8:
        refuse(FORMAT, "it is shorter than the length of a header")
    (length,) = struct.unpack("<Q", source.read(0, 8))
    if length > MAX_HEADER:
        refuse(FORMAT, f"the header claims {length} bytes; {MAX_HEADER} are allowed")
    if 8 + length > source.size:
        refuse(FORMAT, f"the header claims {length} bytes; the file has {source.size}")
    header = _Header(Cursor(source, 8, 8 + length))
    header.parse()
    _check_layout(header.ranges, source.size - 8 - length)
    return TensorFile(
        format=FORMAT,
        tensors=tuple(header.tensors),
        facts=header.metadata,
        header=8 + length,
        unknown=tuple(sorted(header.unknown)),
    )


def _check_layout(ranges: list[tuple[int, int, str]], size: int) -> None:
    reached = 0
    for begin, end, name in sorted(ranges):
        if begin != reached:
            what = "overlaps another" if begin < reached else "leaves a hole before it"
            refuse(FORMAT, f"tensor {name[:80]!r} {what} at byte {begin}")
        reached = end
    if reached != size:
        refuse(FORMAT, f"the tensors take {reached} bytes, the file has {size}")


class _Header:
    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.names: set[str] = set()
        self.tensors: list[Tensor] = []
        self.ranges: list[tuple[int, int, str]] = []
        self.shapes: dict[bytes, tuple[int, ...]] = {}
        self.metadata: dict[str, str] = {}
        self.unknown: set[str] = set()

    def parse(self) -> None:
        self.cursor.fill()
        if self.byte() != b"{":
            refuse(FORMAT, "the header is not a JSON object")
        self.space()
        if self.peek() == b"}":
            self.byte()
        else:
            while self.entries() == b",":
                pass
        self.space()
        if self.cursor.left:
            refuse(FORMAT, "something follows the header's object")

    def entries(self) -> bytes:
        """As many entries as are spelled in the usual way, or one that is not.

        Gives the comma or brace that follows the last.
        """
        cursor, match_at = self.cursor, _USUAL.match
        mark = b""
        while True:
            if len(cursor.buffer) - cursor.at < _AHEAD:
                cursor.fill()
            match = match_at(cursor.buffer, cursor.at)
            if match is None:
                return mark if mark == b"}" else self.entry()
            name, dtype, shape, begin, end, mark = match.groups()
            if name == b"__metadata__":
                return self.entry()
            cursor.at = match.end()
            sizes = self.shapes.get(shape)
            if sizes is None:
                sizes = self.shapes[shape] = tuple(map(int, shape.split(b","))) if shape else ()
            self.tensor(self.name(name), dtype.decode(), sizes, int(begin), int(end))
            if mark == b"}":
                return mark

    def name(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            refuse(FORMAT, "a name is not UTF-8")

    def entry(self) -> bytes:
        """One name and its value, in any spelling that JSON allows."""
        self.space()
        name = self.text(MAX_NAME)
        self.space()
        if self.byte() != b":":
            refuse(FORMAT, "a name without a value")
        if name == "__metadata__":
            self.once(name)
            return self.meta()
        self.space()
        self.cursor.fill()
        buffer, at = self.cursor.buffer, self.cursor.at
        end = _value_end(buffer, at)
        match = _MARK.match(buffer, end) if end else None
        if match is None:
            refuse(FORMAT, f"the entry of {name[:80]!r} is not an object of three fields")
        self.cursor.at = match.end()
        self.tensor(name, *_slowly(name, buffer[at:end]))
        return match.group(1)

    def once(self, name: str) -> None:
        if name in self.names:
            refuse(FORMAT, f"duplicate name {name[:80]!r}")
        self.names.add(name)

    def tensor(self, name: str, dtype: str, shape: tuple[int, ...], begin: int, end: int) -> None:
        self.once(name)
        if len(self.tensors) >= MAX_TENSORS:
            refuse(FORMAT, f"more than {MAX_TENSORS} tensors")
        bits = DTYPES.get(dtype)
        elements = checked_elements(FORMAT, shape, name)
        if bits is None:
            if not _DTYPE.fullmatch(dtype):
                refuse(FORMAT, f"tensor {name[:80]!r} has the dtype {dtype[:40]!r}, which is none")
            self.unknown.add(f"dtype {dtype}")
        needed = None if bits is None else elements * bits
        if begin > end or needed not in (None, (end - begin) * 8):
            takes = "" if needed is None else f" needs {needed // 8} bytes, and"
            refuse(FORMAT, f"tensor {name[:80]!r}{takes} has {end - begin}")
        self.tensors.append(Tensor(name, dtype, shape, end - begin))
        self.ranges.append((begin, end, name))

    def meta(self) -> bytes:
        self.space()
        if self.peek() == b"n":  # null is none, as the format's own library reads it
            if any(self.byte() != bytes([letter]) for letter in b"null"):
                refuse(FORMAT, "__metadata__ is not an object")
            self.space()
            return self.byte()
        if self.byte() != b"{":
            refuse(FORMAT, "__metadata__ is not an object")
        self.space()
        if self.peek() == b"}":
            self.byte()
        else:
            self.pairs()
        self.space()
        return self.byte()

    def pairs(self) -> None:
        seen: set[str] = set()
        while True:
            self.space()
            key = self.text(MAX_NAME)
            if key in seen or len(seen) >= MAX_METADATA:
                refuse(FORMAT, f"duplicate or too many keys in __metadata__: {key[:80]!r}")
            seen.add(key)
            self.space()
            if self.byte() != b":":
                refuse(FORMAT, "a name without a value")
            self.space()
            value = self.text(None)
            if len(value) <= MAX_KEPT_LENGTH and len(self.metadata) < MAX_KEPT:
                self.metadata[key] = value
            self.space()
            mark = self.byte()
            if mark == b"}":
                return
            if mark != b",":
                refuse(FORMAT, "__metadata__ is not a list of texts by name")

    # --- the little of JSON that there is, over a moving window -----------------------------------
    def peek(self) -> bytes:
        self.cursor.fill(1)
        return self.cursor.buffer[self.cursor.at : self.cursor.at + 1]

    def byte(self) -> bytes:
        found = self.peek()
        self.cursor.at += len(found)
        return found

    def space(self) -> None:
        cursor = self.cursor
        while True:
            match = _SPACE.match(cursor.buffer, cursor.at)
            if match is not None:
                cursor.at = match.end()
            if cursor.at < len(cursor.buffer) or not cursor.fill():
                return

    def text(self, most: int | None) -> str:
        """A JSON string. Without `most`, a long one is checked, and its beginning is given."""
        if self.byte() != b'"':
            refuse(FORMAT, "a name or text is missing")
        cursor, decoder = self.cursor, codecs.getincrementaldecoder("utf-8")()
        kept, length = b"", 0
        while True:
            if cursor.fill() == 0:
                refuse(FORMAT, "a text without an end")
            match = _PLAIN.match(cursor.buffer, cursor.at)
            end = match.end() if match else cursor.at
            part = cursor.buffer[cursor.at : end]
            length += len(part)
            if most is not None and length > most:
                refuse(FORMAT, f"a name is longer than {most} bytes")
            if len(kept) <= 8 * MAX_KEPT_LENGTH:
                kept += part
            try:
                decoder.decode(part)
            except UnicodeDecodeError:
                refuse(FORMAT, "a text is not UTF-8")
            cursor.at = end
            stop = cursor.buffer[end : end + 1]
            if stop == b'"':
                cursor.at += 1
                break
            # A backslash may be cut off by the window's end: it is whole in the next one. Where
            # nothing moved, it is wrong.
            if stop and not part:
                refuse(FORMAT, "a text holds a control character or a wrong escape")
        return _decoded(kept if length <= 8 * MAX_KEPT_LENGTH else b"~" * (MAX_KEPT_LENGTH + 1))


def _decoded(raw: bytes) -> str:
    try:
        text: str = strict.loads(b'["%b"]' % raw)[0]
    except Malformed as error:
        raise Malformed("a text in the safetensors header is wrong", why=error.why) from error
    return text


def _value_end(buffer: bytes, at: int) -> int | None:
    """Where the object or list that begins at `at` ends; None where that is not near."""
    if buffer[at : at + 1] not in (b"{", b"["):
        return None
    depth = 0
    for step in _STEPS.finditer(buffer, at, at + MAX_ENTRY):
        if (mark := step.group()) in (b"{", b"["):
            depth += 1
        elif mark in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return step.end()
    return None


def _slowly(name: str, raw: bytes) -> tuple[str, tuple[int, ...], int, int]:
    """In another order, with white space, or with fields that the format does not know (yet)."""
    try:
        value = strict.loads(raw)
        if type(value) is list and len(value) == 3:
            value = dict(zip(("dtype", "shape", "data_offsets"), value, strict=True))
        fields = strict.Fields(value, "tensor")
        dtype = fields.text("dtype", max_length=16)
        shape = fields.list("shape", most=MAX_RANK)
        offsets = fields.list("data_offsets", most=2)
    except Malformed as error:
        refuse(FORMAT, f"the entry of {name[:80]!r}: {error.why or error.what}")
    if any(type(n) is not int or n < 0 for n in (*shape, *offsets)) or len(offsets) != 2:
        refuse(FORMAT, f"the entry of {name[:80]!r} has wrong numbers")
    return dtype, tuple(shape), offsets[0], offsets[1]
