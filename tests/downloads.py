"""Models as hubs and trainers write them, byte by byte: parts, indices, adapters, stand-ins."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def safetensors(path: Path, names: Sequence[str], **metadata: str) -> None:
    """One number a tensor."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    for index_, name in enumerate(names):
        offsets = [4 * index_, 4 * index_ + 4]
        header[name] = {"dtype": "F32", "shape": [1], "data_offsets": offsets}
    text = json.dumps(header).encode()
    _write(path, struct.pack("<Q", len(text)) + text + bytes(4 * len(names)))


def index(path: Path, weight_map: Mapping[str, str]) -> None:
    data = {"metadata": {"total_size": 8}, "weight_map": dict(weight_map)}
    _write(path, json.dumps(data).encode())


def gguf(path: Path, told: Mapping[str, str | int], tensors: int, kind: int = 0) -> None:
    """As llama.cpp writes it: 32 numbers a tensor, `split.no` and `split.count` in 16 bits."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    made = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(told))
    for key, value in told.items():
        if isinstance(value, str):
            made += text(key) + struct.pack("<I", 8) + text(value)
        elif key in ("split.no", "split.count"):
            made += text(key) + struct.pack("<IH", 2, value)
        else:
            made += text(key) + struct.pack("<Ii", 5, value)
    for number in range(tensors):
        made += text(f"blk.{number}.w") + struct.pack("<IQIQ", 1, 32, kind, 128 * number)
    _write(path, made + bytes(-len(made) % 32) + bytes(128 * tensors))


def lfs_pointer(path: Path) -> None:
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{7:064d}\nsize 4976698672\n"
    _write(path, text.encode())


def checkpoint(prefix: Path, shards: int = 1) -> list[Path]:
    """As TensorFlow writes one: a table with an index and its files of data, which are returned."""
    entry = b"\x08" + bytes([shards]) + b"\x1a\x02\x08\x01"
    block = b"\0\0" + bytes([len(entry)]) + entry + struct.pack("<II", 0, 1)
    footer = bytes(40) + 0xDB4775248B80FB57.to_bytes(8, "little")
    _write(prefix.with_name(f"{prefix.name}.index"), block + bytes(5) + footer)
    made = []
    for number in range(shards):
        made.append(prefix.with_name(f"{prefix.name}.data-{number:05d}-of-{shards:05d}"))
        _write(made[-1], bytes(16))
    return made


def openvino(path: Path, *weights: tuple[int, int]) -> None:
    """A graph with constants at these places of the weights: (offset, size)."""
    layers = "".join(
        f'<layer id="{number}" name="w{number}" type="Const" version="opset1">\n'
        f'<data element_type="f32" shape="{size}" offset="{offset}" size="{size}" />\n'
        '<output><port id="0" precision="FP32" /></output></layer>\n'
        for number, (offset, size) in enumerate(weights)
    )
    text = f'<?xml version="1.0"?>\n<net name="m" version="11">\n<layers>{layers}</layers></net>\n'
    _write(path, text.encode())
