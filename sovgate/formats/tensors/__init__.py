"""Readers of tensor file headers: safetensors, GGUF, ONNX. Bytes -> records, bounded, no I/O.

Each reads what it needs through a `Source`, never the tensors, and raises Malformed alone.
"""

from __future__ import annotations

from sovgate.formats.tensors import gguf, onnx, safetensors
from sovgate.formats.tensors._record import External, Tensor, TensorFile
from sovgate.formats.tensors._source import BytesSource, Cursor, Source
from sovgate.formats.tensors.gguf import Split
from sovgate.formats.tensors.gguf import is_untold as gguf_untold
from sovgate.formats.tensors.gguf import split as gguf_split

__all__ = [
    "BytesSource",
    "Cursor",
    "External",
    "Source",
    "Split",
    "Tensor",
    "TensorFile",
    "gguf_split",
    "gguf_untold",
    "kind_of",
    "read",
]

_READERS = {"safetensors": safetensors.read, "gguf": gguf.read, "onnx": onnx.read}


def kind_of(name: str, head: bytes) -> str | None:
    """Which reader a file is for: GGUF by content, the others by name (they have no magic)."""
    ending = name.rpartition(".")[2].lower()
    if head.startswith(gguf.MAGIC) or ending == "gguf":
        return "gguf"
    return ending if ending in _READERS else None


def read(kind: str, source: Source) -> TensorFile:
    """Raises Malformed, reasons "malformed", "bad-header", "unsafe-path"."""
    return _READERS[kind](source)
