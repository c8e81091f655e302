"""ONNX model -> graph inputs, outputs and initializers. An own bounded protobuf walker. No I/O.

Goes through nodes and subgraphs too, since tensors there may name external files; skips all
payloads. A path that leaves the model's folder is Malformed.
"""

from __future__ import annotations

from collections.abc import Iterator

from sovgate.errors import Malformed, VerificationFailed
from sovgate.files import check_name
from sovgate.formats.tensors._record import (
    MAX_TENSORS,
    External,
    Tensor,
    TensorFile,
    checked_elements,
    refuse,
)
from sovgate.formats.tensors._source import Cursor, Source

FORMAT = "ONNX"
#: Fields of all messages together: what bounds the time.
MAX_FIELDS = 400_000
MAX_NESTED = 16
MAX_TEXT = 4096
MAX_PORTS = 10_000
MAX_EXTERNALS = 10_000
MAX_OFFSET = 2**53
#: What is kept of what the exporter says.
MAX_KEPT, MAX_KEPT_LENGTH = 256, 1024

#: TensorProto.DataType: (name, bits an element; None: no fixed size).
TYPES: dict[int, tuple[str, int | None]] = {
    1: ("FLOAT", 32),
    2: ("UINT8", 8),
    3: ("INT8", 8),
    4: ("UINT16", 16),
    5: ("INT16", 16),
    6: ("INT32", 32),
    7: ("INT64", 64),
    8: ("STRING", None),
    9: ("BOOL", 8),
    10: ("FLOAT16", 16),
    11: ("DOUBLE", 64),
    12: ("UINT32", 32),
    13: ("UINT64", 64),
    14: ("COMPLEX64", 64),
    15: ("COMPLEX128", 128),
    16: ("BFLOAT16", 16),
    17: ("FLOAT8E4M3FN", 8),
    18: ("FLOAT8E4M3FNUZ", 8),
    19: ("FLOAT8E5M2", 8),
    20: ("FLOAT8E5M2FNUZ", 8),
    21: ("UINT4", 4),
    22: ("INT4", 4),
    23: ("FLOAT4E2M1", 4),
    24: ("FLOAT8E8M0", 8),
    25: ("UINT2", 2),
    26: ("INT2", 2),
    27: ("FLOAT6E2M3", None),
    28: ("FLOAT6E3M2", None),
}

#: The standard's own numbers are below 40: beyond this it is none.
MAX_TYPE = 999

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read(source: Source) -> TensorFile:
    """Raises Malformed, reasons "bad-header", "unsafe-path"."""
    return _Reader(source).model()


class _Wire:
    """Fields of nested protobuf messages over one cursor."""

    def __init__(self, source: Source) -> None:
        self.cursor = Cursor(source, 0, source.size)
        self.fields_left = MAX_FIELDS

    def varint(self) -> int:
        cursor = self.cursor
        if len(cursor.buffer) - cursor.at < 10:
            cursor.fill(10)
        buffer, at = cursor.buffer, cursor.at
        value = shift = 0
        for byte in buffer[at : at + 10]:
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                cursor.at = at
                return value & 0xFFFF_FFFF_FFFF_FFFF
            shift += 7
        return refuse(FORMAT, "a number has no end")

    def fields(self, end: int) -> Iterator[tuple[int, int, int]]:
        """(field, wire type, value) up to the absolute `end`; for bytes the value is their length.

        The caller may read such bytes from the cursor; it need not.
        """
        cursor = self.cursor
        while cursor.base + cursor.at < end:
            self.fields_left -= 1
            if self.fields_left < 0:
                refuse(FORMAT, f"more than {MAX_FIELDS} fields")
            tag = self.varint()
            field, wire = tag >> 3, tag & 7
            if not 0 < field < 2**29:
                refuse(FORMAT, f"field number {field}")
            if wire == _VARINT:
                yield field, wire, self.varint()
            elif wire == _BYTES:
                length = self.varint()
                after = cursor.base + cursor.at + length
                if after > end:
                    refuse(FORMAT, f"field {field} claims {length} bytes")
                yield field, wire, length
                cursor.seek(after)
            elif wire in (_FIXED64, _FIXED32):
                size = 8 if wire == _FIXED64 else 4
                yield field, wire, int.from_bytes(cursor.take(size), "little")
            else:
                refuse(FORMAT, f"field {field} has the unknown wire type {wire}")
        if cursor.base + cursor.at != end:
            refuse(FORMAT, "a message reaches beyond its end")

    def within(self, length: int) -> int:
        return self.cursor.position + length

    def text(self, length: int, most: int = MAX_TEXT) -> str:
        if length > most:
            refuse(FORMAT, f"a text claims {length} bytes; {most} are allowed")
        try:
            return self.cursor.take(length).decode("utf-8")
        except UnicodeDecodeError:
            refuse(FORMAT, "a text is not UTF-8")


class _Reader(_Wire):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.tensors: list[Tensor] = []
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.externals: dict[str, int] = {}
        self.facts: dict[str, str] = {}
        self.unknown: set[str] = set()

    def model(self) -> TensorFile:
        version, graphs, opsets = None, 0, {}
        for field, wire, value in self.fields(self.cursor.end):
            if field == 1 and wire == _VARINT:
                version = value
            elif field in (2, 3, 4) and wire == _BYTES:
                name = {2: "producer", 3: "producer-version", 4: "domain"}[field]
                if text := self.text(value):
                    self.facts[name] = text
            elif field == 7 and wire == _BYTES:
                graphs += 1
                self.graph(value, top=True, depth=0)
            elif field == 8 and wire == _BYTES:
                domain, opset = self.opset(value)
                opsets[domain] = opset
            elif field == 14 and wire == _BYTES:  # metadata_props
                self.metadata(value)
            elif field == 20 and wire == _BYTES:  # training_info: initialization, algorithm
                self.descend(value, {1: self.graph, 2: self.graph}, 0)
            elif field == 25 and wire == _BYTES:  # functions: node
                self.descend(value, {7: self.node}, 0)
        if not version or version >= 2**31 or graphs != 1:
            refuse(FORMAT, f"it has {graphs} graphs, and IR version {version}")
        for domain, opset in sorted(opsets.items())[:64]:
            self.facts[f"opset:{domain or 'ai.onnx'}"] = str(opset)
        externals = (External(location=n, end=e) for n, e in sorted(self.externals.items()))
        return TensorFile(
            format="onnx",
            version=str(version),
            tensors=tuple(self.tensors),
            facts=self.facts,
            inputs=tuple(self.inputs),
            outputs=tuple(self.outputs),
            externals=tuple(externals),
            unknown=tuple(sorted(self.unknown)),
        )

    def descend(self, length: int, into: dict[int, object], depth: int) -> None:
        """Walk a message, and hand some of its messages on."""
        for field, wire, value in self.fields(self.within(length)):
            visit = into.get(field)
            if visit is not None and wire == _BYTES:
                visit(value, depth=depth + 1)  # type: ignore[operator]

    def opset(self, length: int) -> tuple[str, int]:
        domain, version = "", 0
        for field, wire, value in self.fields(self.within(length)):
            if field == 1 and wire == _BYTES:
                domain = self.text(value, 256)
            elif field == 2 and wire == _VARINT:
                version = value
        return domain, version

    def graph(self, length: int, *, depth: int, top: bool = False) -> None:
        if depth > MAX_NESTED:
            refuse(FORMAT, f"graphs nest deeper than {MAX_NESTED}")
        names: set[str] = set()
        for field, wire, value in self.fields(self.within(length)):
            if wire != _BYTES:
                continue
            if field == 1:
                self.node(value, depth=depth)
            elif field == 2 and top:
                self.facts["graph"] = self.text(value)
            elif field == 5:
                self.initializer(value, names, top=top)
            elif field == 15:  # sparse_initializer: values, indices
                self.descend(value, {1: self.tensor, 2: self.tensor}, depth)
            elif field in (11, 12) and top:
                ports = self.inputs if field == 11 else self.outputs
                if len(ports) >= MAX_PORTS:
                    refuse(FORMAT, f"more than {MAX_PORTS} inputs or outputs")
                ports.append(self.port(value))

    def initializer(self, length: int, names: set[str], *, top: bool) -> None:
        tensor = self.tensor(length)
        if tensor.name in names or not tensor.name:
            refuse(FORMAT, f"an initializer without a name of its own: {tensor.name[:80]!r}")
        names.add(tensor.name)
        if len(self.tensors) >= MAX_TENSORS:
            refuse(FORMAT, f"more than {MAX_TENSORS} initializers")
        if top:
            self.tensors.append(tensor)

    def node(self, length: int, *, depth: int) -> None:
        self.descend(length, {5: self.attribute}, depth)

    def attribute(self, length: int, *, depth: int) -> None:
        sparse = self.sparse
        tensor, graph = self.tensor, self.graph
        into: dict[int, object] = {5: tensor, 10: tensor, 6: graph, 11: graph}
        self.descend(length, into | {22: sparse, 23: sparse}, depth)

    def sparse(self, length: int, *, depth: int) -> None:
        self.descend(length, {1: self.tensor, 2: self.tensor}, depth)

    def tensor(self, length: int, *, depth: int = 0) -> Tensor:
        name, kind, dims, raw = "", 0, [], None
        stored: dict[str, str] = {}
        for field, wire, value in self.fields(self.within(length)):
            if field == 1 and wire == _VARINT:
                dims.append(_signed(value))
            elif field == 1 and wire == _BYTES:
                end = self.within(value)
                while self.cursor.position < end:
                    dims.append(_signed(self.varint()))
                    if len(dims) > 64:
                        refuse(FORMAT, "a tensor has more than 64 dimensions")
            elif field == 2 and wire == _VARINT:
                kind = value
            elif field == 8 and wire == _BYTES:
                name = self.text(value)
            elif field == 9 and wire == _BYTES:
                raw = value
            elif field == 13 and wire == _BYTES:
                key, text = self.entry(value)
                stored[key] = text
        elements = checked_elements(FORMAT, tuple(dims), name)
        if kind not in TYPES:
            if not 0 < kind <= MAX_TYPE:
                refuse(FORMAT, f"tensor {name[:80]!r} has the type {kind}")
            self.unknown.add(f"type {kind}")
        dtype, bits = TYPES.get(kind, (f"type-{kind}", None))
        needed = None if bits is None else -(-elements * bits // 8)
        if stored:
            raw = self.external(name, stored, needed)
        elif raw is not None and needed is not None and raw != needed:
            refuse(FORMAT, f"tensor {name[:80]!r} needs {needed} bytes, and has {raw}")
        return Tensor(name, dtype, tuple(dims), raw)

    def metadata(self, length: int) -> None:
        """What the exporter says of the model, in any words; longer values are passed over."""
        told = {1: "", 2: ""}
        for field, wire, value in self.fields(self.within(length)):
            if field in told and wire == _BYTES and value <= MAX_KEPT_LENGTH:
                told[field] = self.text(value)
        if told[1] and len(self.facts) < MAX_KEPT:
            self.facts[f"metadata.{told[1]}"] = told[2]

    def entry(self, length: int) -> tuple[str, str]:
        key = text = ""
        for field, wire, value in self.fields(self.within(length)):
            if field == 1 and wire == _BYTES:
                key = self.text(value, 64)
            elif field == 2 and wire == _BYTES:
                text = self.text(value)
        return key, text

    def external(self, name: str, stored: dict[str, str], needed: int | None) -> int | None:
        location = stored.get("location", "").removeprefix("./")
        try:
            check_name(location)
        except VerificationFailed as error:
            raise Malformed(
                f"tensor {name[:80]!r} names an external file outside the model",
                why=f"{location[:160]!r}: {error.why}",
                fix="do not load this model",
                reason="unsafe-path",
            ) from error
        numbers = {}
        for key in ("offset", "length"):
            text = stored.get(key, "0")
            if not (text.isascii() and text.isdigit() and len(text) <= 16):
                refuse(FORMAT, f"tensor {name[:80]!r} has a wrong {key} in its external file")
            numbers[key] = int(text)
        if "length" in stored and needed is not None and numbers["length"] != needed:
            refuse(FORMAT, f"tensor {name[:80]!r} needs {needed} bytes, not {numbers['length']}")
        end = numbers["offset"] + (needed or numbers["length"])
        if end > MAX_OFFSET or len(self.externals) > MAX_EXTERNALS:
            refuse(FORMAT, f"tensor {name[:80]!r} reaches to byte {end} of an external file")
        self.externals[location] = max(end, self.externals.get(location, 0))
        return needed

    def port(self, length: int) -> str:
        """ValueInfoProto as "name: dtype[shape]"."""
        name, described = "", "?"
        for field, wire, value in self.fields(self.within(length)):
            if field == 1 and wire == _BYTES:
                name = self.text(value)
            elif field == 2 and wire == _BYTES:
                described = self.type_of(value)
        return f"{name}: {described}"

    def type_of(self, length: int) -> str:
        described = "?"
        for field, wire, value in self.fields(self.within(length)):
            if field == 1 and wire == _BYTES:
                described = self.tensor_type(value)
            elif field in (4, 5, 8, 9) and wire == _BYTES:
                described = {4: "sequence", 5: "map", 8: "sparse tensor", 9: "optional"}[field]
        return described

    def tensor_type(self, length: int) -> str:
        dtype, dims = "?", None
        for field, wire, value in self.fields(self.within(length)):
            if field == 1 and wire == _VARINT:
                dtype = TYPES[value][0] if value in TYPES else "?"
            elif field == 2 and wire == _BYTES:
                dims = [
                    self.dimension(n) if w == _BYTES else "?"
                    for f, w, n in self.fields(self.within(value))
                    if f == 1
                ]
                if len(dims) > 64:
                    refuse(FORMAT, "a type has more than 64 dimensions")
        return dtype if dims is None else f"{dtype}[{','.join(dims)}]"

    def dimension(self, length: int) -> str:
        text = "?"
        for field, wire, value in self.fields(self.within(length)):
            if field == 1 and wire == _VARINT:
                text = str(_signed(value))
            elif field == 2 and wire == _BYTES:
                text = self.text(value, 256)
        return text


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
