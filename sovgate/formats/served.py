"""Layouts in which the usual servers and hubs run Python that lies beside the weights. No I/O.

SageMaker runs `code/inference.py`, transformers `custom_generate/generate.py`, torch.hub
`hubconf.py`, an Inference Endpoint `handler.py`. TorchServe and Triton are told what to run by
their settings.
"""

from __future__ import annotations

import json
import re
from typing import Protocol

MAX_FILE = 4 * 1024 * 1024
UNREAD = "settings that cannot be read"
#: In a model, and in an archive of one: whatever SAGEMAKER_PROGRAM names lies in `code/` there.
_RUN = re.compile(
    r"(?:(?:.*/)?(?:code/inference|custom_generate/generate|[0-9]{1,20}/model)|hubconf)\.py"
)
_IN_ARCHIVE = re.compile(r"code/[^/]+\.py")
_HANDLER, _ENDPOINT = "handler.py", b"EndpointHandler"
#: TorchServe's own handlers.
_MANIFEST = "mar-inf/manifest.json"
_OWN = frozenset({"image_classifier", "image_segmenter", "object_detector", "text_classifier"})
#: Triton's settings of a model, and its own backends that run no code of the model.
_TRITON = re.compile(r"(?:.*/)?(?:config|configs/[^/]+)\.pbtxt")
_BACKENDS = re.compile(
    r"|dali|fil|identity|libtorch|onnxruntime(?:_onnx)?|openvino\w*|pytorch(?:_libtorch)?|repeat"
    r"|square|tensorflow[12]?|tensorrt(?:_plan)?|tensorrtllm|vllm",
    re.ASCII,
)
#: What a model without a backend names instead. Custom ones are a library of the model's own.
_PLATFORMS = re.compile(
    rf"(?:{_BACKENDS.pattern})|caffe2_netdef|ensemble|tensorflow_(?:graphdef|savedmodel)", re.ASCII
)
_STRING = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'"
_NO_COMMENT = re.compile(rf"({_STRING})|#[^\n]*")
_FIELD = re.compile(rf"\b(backend|platform|runtime)\s*:\s*((?:(?:{_STRING})\s*)+)")
_STRINGS = re.compile(_STRING)


class Bytes(Protocol):
    """Random access to a file: `formats.tensors.Source`."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, count: int) -> bytes: ...


def may_ask(name: str) -> bool:
    """Whether a file of that name is one that `find` looks at."""
    return _plain(name).endswith((".py", ".pbtxt", _MANIFEST))


def find(name: str, source: Bytes, *, archived: bool) -> str | None:
    """What a server would run of this file, or by it; None where it is nothing to a server."""
    plain = _plain(name)
    if _RUN.fullmatch(plain) or (archived and _IN_ARCHIVE.fullmatch(plain)):
        return f"a server runs {plain}"[:200]
    if plain == _HANDLER:
        data = source.read(0, min(source.size, MAX_FILE))
        return f"a server runs {plain}" if _ENDPOINT in data else None
    if plain == _MANIFEST or plain.endswith(f"/{_MANIFEST}"):
        return _manifest(source.read(0, min(source.size, MAX_FILE)))
    return _triton(source) if _TRITON.fullmatch(plain) else None


def _plain(name: str) -> str:
    """As file systems that do not tell capitals apart take it, and tools that pack "./code"."""
    return name.replace("\\", "/").lower().removeprefix("./")


def _manifest(data: bytes) -> str | None:
    """Of an archive of TorchServe: a handler, or the class of a model, from its own files."""
    found: list[str] = []

    def pairs(items: list[tuple[str, object]]) -> None:
        for key, value in items:
            if (key == "handler" and value not in _OWN) or (key == "modelFile" and value):
                found.append(f"{key}: {value}"[:80])

    try:
        json.loads(data.decode("utf-8-sig"), object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        found.append(UNREAD)
    return ", ".join(found)[:200] or None


def _triton(source: Bytes) -> str | None:
    """The backend `python`, and any other that is not one of Triton's own."""
    if source.size > MAX_FILE:
        return UNREAD
    text = source.read(0, source.size).decode("utf-8", "replace")
    text = _NO_COMMENT.sub(lambda match: match[1] or " ", text)
    for field, spelled in _FIELD.findall(text):
        value = "".join(one[1:-1] for one in _STRINGS.findall(spelled))
        if "\\" in value:
            return f"a {field} in a spelling that is not read"
        if field == "backend" and not _BACKENDS.fullmatch(value):
            return f"the backend {value[:80]} of Triton"
        if field == "platform" and not _PLATFORMS.fullmatch(value):
            return f"the platform {value[:80]} of Triton"
        if field == "runtime" and value.endswith(".py"):
            return f"the runtime {value[:80]} of Triton"
    return None
