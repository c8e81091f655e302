"""GGUF header (versions 2 and 3, either byte order) -> tensors and short metadata. No I/O.

Bounds every count and length before it is used. Layout as strict as llama.cpp's own reader: each
tensor begins where the one before ends, padded. After a type that is not known here, which has no
size to compare, the next begins somewhere behind it, and all of it lies in the file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from sovgate.formats.tensors._record import (
    MAX_TENSORS,
    NewerError,
    Tensor,
    TensorFile,
    checked_elements,
    refuse,
)
from sovgate.formats.tensors._source import WINDOW, Cursor, Source

FORMAT = "GGUF"
MAGIC = b"GGUF"
VERSIONS = (2, 3)
#: No writer has come near it: beyond, the number is no version.
MAX_VERSION = 99
MAX_KEYS = 65_536
MAX_KEY = 65_535
MAX_TEXT = 16 * 1024 * 1024
#: Texts in all arrays together (a vocabulary has some 250,000 tokens, and merges).
MAX_TEXTS = 1_500_000
MAX_NAME = 1024
MAX_DIMENSIONS = 8
MAX_ALIGNMENT = 1 << 20
MAX_KEPT, MAX_KEPT_LENGTH = 512, 1024

#: Value types: struct letter.
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "B",
    10: "Q",
    11: "q",
    12: "d",
}
_BOOL, _TEXT, _ARRAY = 7, 8, 9
#: Keys that this reader acts on, with the type that each must have.
_NEEDED = {"general.architecture": _TEXT, "general.alignment": 4}

_ALWAYS = ("general.", "split.")
_TYPE = "general.type"

#: ggml type: (name, elements a block, bytes a block).
TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}

#: ggml's own numbers are below 50, and it keeps them in 32 bits.
MAX_TYPE = 9999


def read(source: Source) -> TensorFile:
    """Raises Malformed, reason "bad-header"."""
    if source.size < 24 or source.read(0, 4) != MAGIC:
        refuse(FORMAT, "it does not begin with GGUF and a header")
    return _Reader(source).parse()


@dataclass(frozen=True, kw_only=True)
class Split:
    """What a part says of the set that it is of. `tensors` are those of all parts together."""

    number: int
    count: int
    tensors: int | None


def split(read: TensorFile) -> Split | None:
    """None where the file is a whole model. Raises Malformed, reason "bad-header"."""
    return _split(read.facts)


def _split(facts: Mapping[str, str]) -> Split | None:
    told = {}
    for key in ("split.no", "split.count", "split.tensors.count"):
        text = facts.get(key)
        if text is not None and not (text.isascii() and text.isdigit()):
            refuse(FORMAT, f"{key} is {text[:40]!r}")
        told[key] = None if text is None else int(text)
    number, count = told["split.no"] or 0, told["split.count"] or 0
    if count < 2:  # llama.cpp writes 0 into what it merged
        return None
    if number >= count:
        refuse(FORMAT, f"it is part {number} of {count}, counted from 0")
    return Split(number=number, count=count, tensors=told["split.tensors.count"])


def is_untold(facts: Mapping[str, str], part: str | None) -> bool:
    """Whether a model does not tell its architecture, as what stable-diffusion.cpp writes.

    Only the first part of a set tells it, and what is no model has none: llama.cpp's importance
    matrix says "imatrix".
    """
    first = part is None or part.startswith(("0 ", "1 "))
    return first and "general.architecture" not in facts and facts.get(_TYPE, "model") == "model"


class _Reader:
    def __init__(self, source: Source) -> None:
        self.cursor = Cursor(source, 4, source.size)
        version = int.from_bytes(self.cursor.take(4), "little")
        self.order = "<"
        if version & 0xFFFF == 0:
            version, self.order = int.from_bytes(version.to_bytes(4, "little"), "big"), ">"
        if not 0 < version <= MAX_VERSION:
            refuse(FORMAT, f"its version is {version}")
        self.version = version
        self.forms = {k: struct.Struct(self.order + letter) for k, letter in _SCALARS.items()}
        self.u32, self.u64 = self.forms[4], self.forms[10]
        self.texts_left = MAX_TEXTS
        self.keys: set[str] = set()
        self.facts: dict[str, str] = {}
        self.alignment = 32
        self.unknown: set[str] = set()
        self.unread = False

    def parse(self) -> TensorFile:
        tensors: tuple[Tensor, ...] = ()
        try:
            tensors = self.header()
        except NewerError as error:
            self.unknown.add(str(error))
            self.unread = True
        return TensorFile(
            format="gguf",
            version=str(self.version),
            tensors=tensors,
            facts=self.facts,
            header=None if self.unread else self.cursor.position,
            unknown=tuple(sorted(self.unknown)),
        )

    def header(self) -> tuple[Tensor, ...]:
        if self.version not in VERSIONS:
            raise NewerError(f"version {self.version}")
        tensor_count, key_count = self.number(self.u64), self.number(self.u64)
        if tensor_count > MAX_TENSORS:
            refuse(FORMAT, f"it claims {tensor_count} tensors; {MAX_TENSORS} are allowed")
        if key_count > MAX_KEYS:
            refuse(FORMAT, f"it claims {key_count} keys; {MAX_KEYS} are allowed")
        for _ in range(key_count):
            self.pair()
        _split(self.facts)
        return self.tensors(tensor_count)

    def number(self, form: struct.Struct) -> int:
        return self.cursor.number(form)

    def text(self, most: int) -> str:
        length = self.number(self.u64)
        if length > most or length > self.cursor.left:
            refuse(FORMAT, f"a text claims {length} bytes")
        try:
            return self.cursor.take(length).decode("utf-8")
        except UnicodeDecodeError:
            refuse(FORMAT, "a text is not UTF-8")

    def pair(self) -> None:
        key = self.text(MAX_KEY)
        if not key or key in self.keys:
            refuse(FORMAT, f"empty or duplicate key {key[:80]!r}")
        self.keys.add(key)
        kind = self.number(self.u32)
        if kind != _NEEDED.get(key, kind):
            refuse(FORMAT, f"{key[:80]!r} has the wrong type {kind}")
        if kind == _TEXT:
            value = self.text(MAX_TEXT)
        elif kind == _ARRAY:
            value = self.array(key)
        elif kind in self.forms:
            value = self.scalar(key, kind)
        else:
            raise NewerError(f"value type {kind}")
        if len(key) + len(value) <= MAX_KEPT_LENGTH and (
            len(self.facts) < MAX_KEPT or key.startswith(_ALWAYS)
        ):
            self.facts[key] = value

    def scalar(self, key: str, kind: int) -> str:
        value = self.number(self.forms[kind])
        if kind == _BOOL:
            if value > 1:
                refuse(FORMAT, f"{key[:80]!r} is neither true nor false")
            return "true" if value else "false"
        if key == "general.alignment":
            if value & (value - 1) or not 0 < value <= MAX_ALIGNMENT:
                refuse(FORMAT, f"the alignment {value} is no power of two up to {MAX_ALIGNMENT}")
            self.alignment = value
        return repr(value)

    def array(self, key: str) -> str:
        kind, count = self.number(self.u32), self.number(self.u64)
        if kind == _TEXT:
            if count > self.texts_left:
                refuse(FORMAT, f"{key[:80]!r} claims {count} texts")
            self.texts_left -= count
            self.skip_texts(count)
        elif kind in self.forms:
            if count > self.cursor.left:
                refuse(FORMAT, f"{key[:80]!r} claims {count} numbers")
            self.cursor.skip(count * self.forms[kind].size)
        elif kind == _ARRAY:  # llama.cpp reads none
            refuse(FORMAT, f"{key[:80]!r} is an array of arrays")
        else:
            raise NewerError(f"value type {kind}")
        return f"[{count}]"

    def skip_texts(self, count: int) -> None:
        """A vocabulary: the one place where a loop must be quick."""
        cursor, unpack = self.cursor, self.u64.unpack_from
        while count:
            if cursor.fill(WINDOW) < 8:
                refuse(FORMAT, "a list of texts ends too early")
            buffer, at = cursor.buffer, cursor.at
            stop = len(buffer) - 8
            while count and at <= stop:
                at += 8 + unpack(buffer, at)[0]
                count -= 1
            cursor.seek(cursor.base + at)  # refuses what reaches beyond the file

    def tensors(self, count: int) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        names: set[str] = set()
        expected, open_end = 0, False
        for _ in range(count):
            name = self.text(MAX_NAME)
            if name in names:
                refuse(FORMAT, f"duplicate tensor {name[:80]!r}")
            names.add(name)
            dimensions = self.number(self.u32)
            if dimensions > MAX_DIMENSIONS:
                refuse(FORMAT, f"tensor {name[:80]!r} claims {dimensions} dimensions")
            shape = tuple(self.number(self.u64) for _ in range(dimensions))
            dtype, size = self.size(name, shape, self.number(self.u32))
            offset = self.number(self.u64)
            behind = open_end and offset >= expected and offset == self.padded(offset)
            if offset != expected and not behind:
                refuse(FORMAT, f"tensor {name[:80]!r} lies at {offset}, expected at {expected}")
            open_end = size is None
            expected = offset + 1 if size is None else self.padded(offset + size)
            found.append(Tensor(name, dtype, shape, size))
        if found:
            # The last tensor's own padding may be left out.
            last = found[-1].bytes if found[-1].bytes is not None else 1
            start = self.padded(self.cursor.position)
            held = self.cursor.end - start
            if not offset + last <= held or (held > expected and not open_end):
                refuse(FORMAT, f"the tensors take {expected} bytes, the file has {held}")
        elif self.cursor.left > MAX_ALIGNMENT:
            refuse(FORMAT, "something follows the header, but no tensor")
        return tuple(found)

    def size(self, name: str, shape: tuple[int, ...], kind: int) -> tuple[str, int | None]:
        elements = checked_elements(FORMAT, shape, name)
        if kind not in TYPES:
            if kind > MAX_TYPE:
                refuse(FORMAT, f"tensor {name[:80]!r} has the type {kind}")
            self.unknown.add(f"type {kind}")
            return f"type-{kind}", None
        dtype, block, size = TYPES[kind]
        if (shape[0] if shape else 1) % block:
            refuse(FORMAT, f"a row of tensor {name[:80]!r} is not whole blocks of {dtype}")
        return dtype, elements // block * size

    def padded(self, position: int) -> int:
        return -(-position // self.alignment) * self.alignment
