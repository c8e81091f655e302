"""Graphs of TensorFlow: which operations call Python or write files. Bounded; no library, no I/O.

The operation of a node is field 2 of a NodeDef. Bytes that look like one are searched first; only
where there are some is the message walked, to tell a node from the bytes of a weight.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from sovgate.errors import Malformed
from sovgate.formats import keras
from sovgate.formats.tensors import Cursor

#: `tf.py_function`, `tf.numpy_function` and `tf.py_func` of old.
_PYTHON = ("EagerPyFunc", "PyFunc", "PyFuncStateless")
#: What writes where the graph says: a file of Python, say. Checkpoints are written where a caller
#: says, by operations that are in every SavedModel.
_WRITE = (
    "DatasetToTFRecord",
    "DebugIdentity",
    "DebugIdentityV2",
    "DebugIdentityV3",
    "ExperimentalDatasetToTFRecord",
    "SaveDataset",
    "SaveDatasetV2",
    "WriteFile",
)
#: It writes a file where its attribute says so; to the log else, which harms nobody.
_PRINT, _TO_FILE = "PrintV2", "PrintV2, to a file"
OPS = frozenset({*_PYTHON, *_WRITE})
#: What is looked for in bytes, and what a node may then turn out to be.
_SEARCHED, _COUNTED = OPS | {_PRINT}, OPS | {_TO_FILE}
#: Of one attribute of a node.
_MAX_ATTRIBUTE = 64 * 1024
_STREAM, _FILE = b"output_stream", b"file:"
OVERLAP = 64
MAX_TEXT = 64 * 1024 * 1024
MAX_FIELDS = 4_000_000

#: Messages that lead to a node: (message, field) -> message. A node has a name and an operation.
_INTO = {
    ("SavedModel", 2): "MetaGraphDef",
    ("MetaGraphDef", 2): "GraphDef",
    ("GraphDef", 1): "NodeDef",
    ("GraphDef", 2): "FunctionDefLibrary",
    ("FunctionDefLibrary", 1): "FunctionDef",
    ("FunctionDef", 3): "NodeDef",
}
_ROOTS = ("SavedModel", "MetaGraphDef", "GraphDef")


def _varint(number: int) -> bytes:
    """Bytes of a number, also with zeros behind it that no reader minds."""
    low = re.escape(bytes([number]))
    return b"(?:%b|%b\\x80{0,8}\\x00)" % (low, re.escape(bytes([number | 0x80])))


_NODE = re.compile(
    _varint(2 << 3 | 2)
    + b"(?:"
    + b"|".join(_varint(len(op)) + op.encode() for op in _SEARCHED)
    + b")",
    re.DOTALL,
)
#: The same in a graph that was converted: operations of TensorFlow in TensorFlow Lite.
_LITE = re.compile(b"Flex(?:" + "|".join(sorted(_SEARCHED)).encode() + b")\\0")
_STRING = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'"
_TEXT_OP = re.compile(rf"\bop\s*:\s*((?:(?:{_STRING})\s*)+)", re.DOTALL)
_TEXT_STREAM = re.compile(
    rf"[\"']{_STREAM.decode()}[\"'][^\"']{{0,200}}((?:(?:{_STRING})\s*)+)", re.DOTALL
)
_STRINGS = re.compile(_STRING, re.DOTALL)


class Bytes(Protocol):
    """Random access to a file: `formats.tensors.Source`."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, count: int) -> bytes: ...


class _DoubtError(Exception):
    """More than is walked, or what no writer of today writes."""


def is_graph(name: str) -> bool:
    """SavedModels, frozen graphs, the graph beside a checkpoint, and what Keras wrote beside it."""
    return name.lower().endswith((".pb", ".pbtxt", ".cpb", ".meta", ".tflite"))


def asked(name: str, source: Bytes) -> str | None:
    """Which operation calls Python or writes files, or which layer of Keras brings code."""
    base = name.rpartition("/")[2].lower()
    if base.endswith(".cpb"):
        return "a graph in several chunks, which is not read"
    if base.endswith(".pbtxt"):
        return _in_text(source)
    if base.endswith(".tflite"):
        return _in_lite(source)
    if found := keras.find(source):
        return found
    if not any(_NODE.search(data) for data, _ in keras.windows(source, OVERLAP)):
        return None
    return _node(source, ("SavedModel",) if base == "saved_model.pb" else _ROOTS)


def _in_lite(source: Bytes) -> str | None:
    """Of TensorFlow Lite, where no node is walked: a print counts where a file is named at all."""
    found: set[str] = set()
    to_file = False
    for data, _ in keras.windows(source, OVERLAP):
        found.update(match.group()[4:-1].decode() for match in _LITE.finditer(data))
        to_file = to_file or _FILE in data
    names = sorted(found & OPS) or ([_TO_FILE] if _PRINT in found and to_file else [])
    return f"the operation {names[0]}" if names else None


def _in_text(source: Bytes) -> str | None:
    if source.size > MAX_TEXT:
        return "a graph that is too large to be read"
    text = source.read(0, source.size).decode("utf-8", "replace")
    prints = False
    for match in _TEXT_OP.finditer(text):
        spelled = "".join(one[1:-1] for one in _STRINGS.findall(match.group(1)))
        if "\\" in spelled:
            return "an operation in a spelling that is not read"
        if spelled in OPS:
            return f"the operation {spelled}"
        prints = prints or spelled == _PRINT
    for match in _TEXT_STREAM.finditer(text) if prints else ():
        spelled = "".join(one[1:-1] for one in _STRINGS.findall(match.group(1)))
        if "\\" in spelled or spelled.startswith(_FILE.decode()):
            return f"the operation {_TO_FILE}"
    return keras.searched(text.replace('\\"', '"').encode(), last=True)


def _node(source: Bytes, roots: tuple[str, ...]) -> str | None:
    """Of bytes that look like such an operation: the node that has it; None if they are none."""
    read = 0
    for root in roots:
        try:
            walk = _Walk(source)
            for name, op in walk.nodes(root, source.size):
                if op in _COUNTED:
                    node = f" (node {name[:60]})" if name else ""
                    return f"the operation {op}{node}"
            read += 1
        except Malformed:
            continue  # not of this kind: no reader takes it for one
        except _DoubtError:
            return "a graph that may call Python, and cannot be read"
    return None if read else "a graph that may call Python, and cannot be read"


def assets(source: Bytes) -> tuple[str, ...]:
    """Files of `assets/` that a SavedModel names, vocabularies mostly. Never raises."""
    found: list[str] = []
    try:
        walk = _Walk(source)
        for graph in walk.inside(source.size, 2):
            for asset in walk.inside(graph, 6):
                for end in walk.inside(asset, 2):
                    length = end - walk.cursor.position
                    found.append(walk.cursor.take(length)[:1024].decode("utf-8", "replace"))
    except (Malformed, _DoubtError):
        pass
    return tuple(dict.fromkeys(found))


class _Walk:
    """Fields of nested messages; those that lead to no node are skipped."""

    def __init__(self, source: Bytes) -> None:
        self.cursor = Cursor(source, 0, source.size)
        self.left = MAX_FIELDS

    def nodes(self, message: str, end: int) -> Iterator[tuple[str, str]]:
        """(name, operation) of each node. Of an operation that is given twice each counts."""
        name = ""
        for field, length in self.fields(end):
            inner = _INTO.get((message, field))
            if inner is not None:
                yield from self.nodes(inner, self.cursor.position + length)
            elif message == "NodeDef" and field == 1:
                name = self.cursor.take(length)[:256].decode("utf-8", "replace")
            elif message == "NodeDef" and field == 2:
                yield name, self.cursor.take(length)[:64].decode("utf-8", "replace")
            elif message == "NodeDef" and field == 5 and length <= _MAX_ATTRIBUTE:
                attribute = self.cursor.take(length)
                if _STREAM in attribute and _FILE in attribute:
                    yield name, _TO_FILE
            else:
                self.cursor.skip(length)

    def inside(self, end: int, wanted: int) -> Iterator[int]:
        """The end of each such field, with the cursor at its beginning; others are skipped."""
        for field, length in self.fields(end):
            if field == wanted:
                yield self.cursor.position + length
            else:
                self.cursor.skip(length)

    def fields(self, end: int) -> Iterator[tuple[int, int]]:
        """(field, length) of each that has a length; its bytes are the reader's to take."""
        while self.cursor.position < end:
            self.left -= 1
            if self.left < 0:
                raise _DoubtError
            tag = self.number()
            wire = tag & 7
            if wire == 2:
                length = self.number()
                if self.cursor.position + length > end:
                    raise Malformed("a message reaches beyond its end")
                yield tag >> 3, length
            elif wire == 0:
                self.number()
            elif wire in (1, 5):
                self.cursor.skip(8 if wire == 1 else 4)
            elif wire in (3, 4):
                raise _DoubtError  # a group: nobody writes one
            else:
                raise Malformed("an unknown wire type")
        if self.cursor.position != end:
            raise Malformed("a message reaches beyond its end")

    def number(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.cursor.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF
        raise Malformed("a number has no end")
