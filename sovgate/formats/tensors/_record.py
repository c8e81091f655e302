"""What a header says, whatever its format: tensors by name, and a few facts beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from sovgate.errors import Malformed

#: Tensors of one file. The largest models have some 150,000, over all their shards.
MAX_TENSORS = 100_000
MAX_RANK = 64
MAX_ELEMENTS = 2**63


class Tensor(NamedTuple):
    """`bytes` is None where the format does not say (ONNX initializers in typed fields)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int | None

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True, kw_only=True)
class External:
    """Bytes that a header says lie in another file, beside it: relative POSIX path, range."""

    location: str
    end: int


@dataclass(frozen=True, kw_only=True)
class TensorFile:
    """A header that was read.

    format    "safetensors", "gguf" or "onnx"
    version   the format's own, where it has one
    facts     name -> text: architecture, producer, opset and the like; short values only
    inputs    "name: dtype[shape]", of ONNX graphs
    header    bytes before those of the tensors; None where they are mixed
    unknown   what this version of sovgate does not know, e.g. "type 42"; no fault of the file
    """

    format: str
    version: str | None = None
    tensors: tuple[Tensor, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    externals: tuple[External, ...] = ()
    header: int | None = None
    unknown: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        return sum(tensor.elements for tensor in self.tensors)

    def by_dtype(self) -> dict[str, tuple[int, int]]:
        """dtype -> (tensors, elements), sorted by name."""
        found: dict[str, list[int]] = {}
        for tensor in self.tensors:
            entry = found.setdefault(tensor.dtype, [0, 0])
            entry[0] += 1
            entry[1] += tensor.elements
        return {name: (found[name][0], found[name][1]) for name in sorted(found)}


class NewerError(Exception):
    """A part of a header that this version cannot read past: newer than it, and not damaged."""


def refuse(format_: str, why: str) -> NoReturn:
    raise Malformed(
        f"this is not a valid {format_} file",
        why=why,
        fix="do not load this file; save the model again",
        reason="bad-header",
    )


def checked_elements(format_: str, shape: tuple[int, ...], name: str) -> int:
    """The product of a shape, refused where no memory could hold it."""
    if len(shape) > MAX_RANK:
        refuse(format_, f"tensor {name[:80]!r} has {len(shape)} dimensions")
    count = 1
    for size in shape:
        if size < 0:
            refuse(format_, f"tensor {name[:80]!r} has a negative dimension")
        count *= size
        if count >= MAX_ELEMENTS:
            refuse(format_, f"tensor {name[:80]!r} has 2^63 elements or more")
    return count
