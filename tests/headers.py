"""Builds hostile and valid headers byte by byte, without the libraries that write them.

`python -m tests.headers` writes the vectors of tests/vectors/headers anew.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

FOLDER = Path(__file__).parent / "vectors" / "headers"


# --- safetensors --------------------------------------------------------------------------------
def safetensors(header: bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(name: str, begin: int, end: int, *, dtype: str = "U8", shape: str | None = None) -> str:
    shape = f"[{end - begin}]" if shape is None else shape
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}'


def tensors(*entries: str, data: bytes = b"") -> bytes:
    return safetensors(("{" + ",".join(entries) + "}").encode(), data)


# --- GGUF ---------------------------------------------------------------------------------------
def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


ARCHITECTURE = text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")


def gguf(
    rest: bytes = b"", *, tensors: int = 0, keys: int = 1, version: int = 3, more: int = 0
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, keys + more)
    return head + (ARCHITECTURE if keys else b"") + rest


def split(number: int, count: int) -> bytes:
    told = {b"split.no": number, b"split.count": count}
    return b"".join(text(key) + struct.pack("<IH", 2, value) for key, value in told.items())


def info(name: bytes, shape: list[int], kind: int, offset: int) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + sizes + struct.pack("<IQ", kind, offset)


def array(key: bytes, kind: int, count: int, items: bytes = b"") -> bytes:
    return text(key) + struct.pack("<IIQ", 9, kind, count) + items


def padded(data: bytes, alignment: int = 32) -> bytes:
    return data + bytes(-len(data) % alignment)


# --- ONNX ---------------------------------------------------------------------------------------
def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name: bytes, *dims: int, kind: int = 2, raw: bytes | None = None) -> bytes:
    made = b"".join(field(1, dim) for dim in dims) + field(2, kind) + field(8, name)
    return made if raw is None else made + field(9, raw)


def external(name: bytes, location: bytes, *dims: int, **more: bytes) -> bytes:
    entries = {b"location": location} | {key.encode(): value for key, value in more.items()}
    stored = b"".join(field(13, field(1, k) + field(2, v)) for k, v in entries.items())
    return tensor(name, *dims) + stored + field(14, 1)


def onnx(graph: bytes, *, version: int = 10) -> bytes:
    return field(1, version) + field(7, graph)


def nested(graph: bytes, depth: int) -> bytes:
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))
    return graph


def vectors() -> dict[str, bytes]:
    """File name -> bytes; each is refused with exit 11, those named `good-` are read."""
    one = entry("a", 0, 4)
    a = tensor(b"a", 4, raw=bytes(4))
    return {
        "good-small.safetensors": tensors(one, data=bytes(4)),
        "good-spaced.safetensors": safetensors(
            b' { "b" : { "shape" : [ ] , "data_offsets" : [ 0 , 4 ] , "dtype" : "F32" } } '[1:],
            bytes(4),
        ),
        "good-metadata.safetensors": safetensors(
            ('{"__metadata__":{"k":"a \\"\\u00e9\\" }{"},' + one + "}   ").encode(), bytes(4)
        ),
        "empty.safetensors": b"",
        "short.safetensors": b"\x01\x00",
        "length-2-63.safetensors": safetensors(b"{}", length=2**63),
        "length-over-file.safetensors": safetensors(b"{}", length=3),
        "no-object.safetensors": safetensors(b"[]"),
        "cut.safetensors": safetensors(b'{"a":{"dtype":"U8","shape":[4],"data_off'),
        "overlap.safetensors": tensors(one, entry("b", 2, 6), data=bytes(6)),
        "same-range.safetensors": tensors(one, entry("b", 0, 4), data=bytes(4)),
        "hole.safetensors": tensors(one, entry("b", 8, 12), data=bytes(12)),
        "hole-at-end.safetensors": tensors(one, data=bytes(5)),
        "outside.safetensors": tensors(entry("a", 0, 400), data=bytes(4)),
        "backwards.safetensors": tensors(entry("a", 4, 0), data=bytes(4)),
        "negative.safetensors": tensors(entry("a", -4, 0), data=bytes(4)),
        "huge-offset.safetensors": tensors(entry("a", 0, 2**64), data=bytes(4)),
        "huge-shape.safetensors": tensors(
            entry("a", 0, 0, shape="[" + ",".join(["4294967296"] * 8) + "]")
        ),
        "wrong-size.safetensors": tensors(entry("a", 0, 4, shape="[5]"), data=bytes(4)),
        "fraction.safetensors": tensors(entry("a", 0, 4, shape="[4.0]"), data=bytes(4)),
        "good-new-dtype.safetensors": tensors(entry("a", 0, 4, dtype="Q4_9"), data=bytes(4)),
        "bad-dtype.safetensors": tensors(entry("a", 0, 4, dtype="a b"), data=bytes(4)),
        "new-dtype-hole.safetensors": tensors(
            entry("a", 0, 4, dtype="Q4_9"), entry("b", 5, 6), data=bytes(6)
        ),
        "new-dtype-outside.safetensors": tensors(entry("a", 0, 9, dtype="Q4_9"), data=bytes(4)),
        "good-metadata-null.safetensors": safetensors(
            ('{"__metadata__": null ,' + one + "}").encode(), bytes(4)
        ),
        "metadata-nul.safetensors": safetensors(b'{"__metadata__":nul}'),
        "metadata-list.safetensors": safetensors(b'{"__metadata__":[]}'),
        "good-list.safetensors": safetensors(b'{"a":["U8",[4],[0,4]]}', bytes(4)),
        "short-list.safetensors": safetensors(b'{"a":["U8",[4]]}', bytes(4)),
        "duplicate.safetensors": tensors(one, entry("a", 4, 8), data=bytes(8)),
        "duplicate-escaped.safetensors": tensors(one, entry("\\u0061", 4, 8), data=bytes(8)),
        "duplicate-field.safetensors": tensors(one[:-1] + ',"dtype":"U8"}', data=bytes(4)),
        "good-extra-field.safetensors": tensors(one[:-1] + ',"x":{"y":["}"]}}', data=bytes(4)),
        "extra-field-open.safetensors": tensors(one[:-1] + ',"x":{"y":["}"]}', data=bytes(4)),
        "deep.safetensors": safetensors(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
        "deep-objects.safetensors": safetensors(b'{"a":' * 5000 + b"1" + b"}" * 5000),
        "metadata-number.safetensors": safetensors(b'{"__metadata__":{"a":1}}'),
        "metadata-twice.safetensors": safetensors(b'{"__metadata__":{},"__metadata__":{}}'),
        "metadata-duplicate.safetensors": safetensors(b'{"__metadata__":{"a":"1","a":"2"}}'),
        "not-utf8.safetensors": safetensors(b'{"__metadata__":{"a":"\xff"}}'),
        "control.safetensors": safetensors(b'{"__metadata__":{"a":"\x00"}}'),
        "bad-escape.safetensors": safetensors(b'{"__metadata__":{"a":"\\x"}}'),
        "lone-surrogate.safetensors": safetensors(b'{"\\ud800":1}'),
        "trailing.safetensors": safetensors(b"{}{}"),
        "trailing-comma.safetensors": safetensors(b'{"__metadata__":{},}'),
        "good-empty.gguf": gguf(),
        "good-tensors.gguf": padded(
            gguf(info(b"a", [8], 0, 0) + info(b"b", [32], 2, 32), tensors=2)
        )
        + bytes(64),
        "good-words.gguf": gguf(array(b"words", 8, 3, text(b"x") * 3), keys=2),
        "magic-only.gguf": b"GGUF",
        "not-gguf.gguf": b"GGML" + bytes(40),
        "good-version-1.gguf": gguf(version=1),
        "good-version-4.gguf": gguf(version=4),
        "version-0.gguf": gguf(version=0),
        "version-100.gguf": gguf(version=100),
        "tensors-2-63.gguf": gguf(tensors=2**63),
        "keys-2-63.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63),
        "good-no-architecture.gguf": gguf(keys=0),
        "text-2-63.gguf": gguf(struct.pack("<Q", 2**63) + b"x", keys=2),
        "text-over-file.gguf": gguf(struct.pack("<Q", 5000) + b"x", keys=2),
        "array-2-63.gguf": gguf(array(b"k", 8, 2**63), keys=2),
        "array-of-numbers-2-63.gguf": gguf(array(b"k", 10, 2**63), keys=2),
        "array-of-arrays.gguf": gguf(array(b"k", 9, 1, struct.pack("<IQ", 4, 0)), keys=2),
        "array-text-2-63.gguf": gguf(
            array(b"k", 8, 2, text(b"x") + struct.pack("<Q", 2**63)), keys=2
        ),
        "good-new-value.gguf": gguf(text(b"k") + struct.pack("<I", 13), keys=2),
        "duplicate-key.gguf": gguf(ARCHITECTURE, keys=2),
        "alignment-float.gguf": gguf(
            text(b"general.alignment") + struct.pack("<If", 6, 32.0), keys=2
        ),
        "alignment-0.gguf": gguf(text(b"general.alignment") + struct.pack("<II", 4, 0), keys=2),
        "alignment-odd.gguf": gguf(text(b"general.alignment") + struct.pack("<II", 4, 33), keys=2),
        "dimensions.gguf": gguf(text(b"a") + struct.pack("<I", 2**31), tensors=1),
        "huge-shape.gguf": gguf(info(b"a", [2**62, 2**62], 0, 0), tensors=1),
        "good-new-type.gguf": padded(gguf(info(b"a", [8], 42, 0), tensors=1)) + bytes(32),
        "good-new-type-between.gguf": padded(
            gguf(
                b"".join(info(b"abc"[i : i + 1], [8], k, 32 * i) for i, k in enumerate((0, 42, 0))),
                tensors=3,
            )
        )
        + bytes(96),
        "new-type-empty.gguf": padded(gguf(info(b"a", [8], 42, 0), tensors=1)),
        "new-type-outside.gguf": padded(gguf(info(b"a", [8], 42, 64), tensors=1)) + bytes(96),
        "new-type-overlap.gguf": padded(
            gguf(info(b"a", [8], 42, 0) + info(b"b", [8], 0, 0), tensors=2)
        )
        + bytes(64),
        "new-type-unaligned.gguf": padded(
            gguf(info(b"a", [8], 42, 0) + info(b"b", [8], 0, 33), tensors=2)
        )
        + bytes(96),
        "no-type.gguf": padded(gguf(info(b"a", [8], 10**6, 0), tensors=1)) + bytes(32),
        "good-later-part.gguf": gguf(split(1, 2), keys=0, more=2),
        "good-first-part-no-architecture.gguf": gguf(split(0, 2), keys=0, more=2),
        "part-of-fewer.gguf": gguf(split(2, 2), keys=0, more=2),
        "broken-block.gguf": padded(gguf(info(b"a", [8], 2, 0), tensors=1)) + bytes(32),
        "overlap.gguf": padded(gguf(info(b"a", [8], 0, 0) + info(b"b", [8], 0, 0), tensors=2))
        + bytes(64),
        "hole.gguf": padded(gguf(info(b"a", [8], 0, 0) + info(b"b", [8], 0, 64), tensors=2))
        + bytes(96),
        "outside.gguf": padded(gguf(info(b"a", [4096], 0, 0), tensors=1)) + bytes(32),
        "trailing.gguf": padded(gguf(info(b"a", [8], 0, 0), tensors=1)) + bytes(4096),
        "duplicate-tensor.gguf": padded(
            gguf(info(b"a", [8], 0, 0) + info(b"a", [8], 0, 32), tensors=2)
        )
        + bytes(64),
        "good-small.onnx": onnx(field(2, b"g") + field(5, a)),
        "good-nested.onnx": onnx(nested(field(2, b"g"), 5)),
        "empty.onnx": b"",
        "not-protobuf.onnx": b"\xff" * 64,
        "no-graph.onnx": field(1, 10),
        "two-graphs.onnx": onnx(b"") + field(7, b""),
        "length-2-63.onnx": field(1, 10) + varint(7 << 3 | 2) + varint(2**63),
        "length-over-parent.onnx": onnx(varint(5 << 3 | 2) + varint(90) + b"x"),
        "endless-varint.onnx": field(1, 10) + b"\x80" * 50,
        "group.onnx": onnx(varint(5 << 3 | 3)),
        "field-0.onnx": onnx(b"\x00\x00"),
        "deep.onnx": onnx(nested(b"", 2000)),
        "good-new-type.onnx": onnx(field(5, tensor(b"a", 4, kind=99, raw=bytes(4)))),
        "no-type.onnx": onnx(field(5, tensor(b"a", 4, kind=0, raw=bytes(4)))),
        "no-type-either.onnx": onnx(field(5, tensor(b"a", 4, kind=1000, raw=bytes(4)))),
        "wrong-size.onnx": onnx(field(5, tensor(b"a", 5, raw=bytes(4)))),
        "negative.onnx": onnx(field(5, tensor(b"a", 2**64 - 1, raw=b""))),
        "huge-shape.onnx": onnx(field(5, tensor(b"a", 2**62, 2**62, raw=b""))),
        "many-dims.onnx": onnx(field(5, tensor(b"a", *[1] * 5000, raw=b"x"))),
        "duplicate.onnx": onnx(field(5, a) + field(5, a)),
        "nameless.onnx": onnx(field(5, tensor(b"", 4, raw=bytes(4)))),
        "external-above.onnx": onnx(field(5, external(b"a", b"../../etc/passwd", 4))),
        "external-absolute.onnx": onnx(field(5, external(b"a", b"/etc/passwd", 4))),
        "external-nameless.onnx": onnx(field(5, external(b"a", b"", 4))),
        "external-in-node.onnx": onnx(
            field(1, field(5, field(5, external(b"a", b"../secret", 4))))
        ),
        "external-in-subgraph.onnx": onnx(
            nested(field(5, external(b"a", b"x/../../secret", 4)), 3)
        ),
        "external-negative.onnx": onnx(field(5, external(b"a", b"w", 4, offset=b"-8"))),
        "external-wrong-size.onnx": onnx(field(5, external(b"a", b"w", 4, length=b"9"))),
        "index-no-map.safetensors.index.json": b"{}",
        "index-above.safetensors.index.json": json.dumps(
            {"weight_map": {"a": "../model.safetensors"}}
        ).encode(),
        "index-deep.safetensors.index.json": b'{"weight_map":' + b"[" * 5000 + b"]" * 5000 + b"}",
        "index-number.safetensors.index.json": b'{"weight_map":{"a":1}}',
    }


#: Reasons of those that are refused for another one than "bad-header".
REASONS = {
    "malformed": (
        "array-text-2-63.gguf",
        "lone-surrogate.safetensors",
        "index-deep.safetensors.index.json",
        "index-no-map.safetensors.index.json",
        "index-number.safetensors.index.json",
    ),
    "unsafe-path": (
        "external-above.onnx",
        "external-absolute.onnx",
        "external-nameless.onnx",
        "external-in-node.onnx",
        "external-in-subgraph.onnx",
        "index-above.safetensors.index.json",
    ),
}


def expected() -> dict[str, dict[str, object]]:
    """File name -> exit code and reason; 0 and null for those that are read."""
    reasons = {name: reason for reason, names in REASONS.items() for name in names}
    return {
        name: {"exit": 0, "reason": None}
        if name.startswith("good-")
        else {"exit": 11, "reason": reasons.get(name, "bad-header")}
        for name in vectors()
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for name, data in vectors().items():
        (FOLDER / name).write_bytes(data)
    text = json.dumps(expected(), indent=1, sort_keys=True) + "\n"
    (FOLDER / "expected.json").write_text(text, encoding="utf-8")
