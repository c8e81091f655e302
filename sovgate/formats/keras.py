"""Layers of Keras that bring Python of their own, told by the configuration of a model. No I/O.

It stands in `config.json` of a `.keras` archive or folder, in the attribute `model_config` of an
HDF5 file, in `keras_metadata.pb`, or in a file of JSON by itself: each as `json.loads` takes it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Protocol

from sovgate.formats import calls

#: Classes that run what their configuration holds: bytecode, a pickle, a graph from any path.
CLASSES = frozenset({"Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer"})
#: Of Python's own functions those that a configuration would name to run something.
BUILTINS = frozenset({"eval", "exec", "compile", "open", "getattr", "setattr", "__import__"})
_TOLD = ("class_name", "registered_name", "module", "config", "name")
#: The attribute of an HDF5 file that holds it.
ATTRIBUTE = "model_config"


class Bytes(Protocol):
    """Random access to a file: `formats.tensors.Source`."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, count: int) -> bytes: ...


def _spelled(word: str) -> str:
    """A word in JSON, each of its characters as it is or by its number."""
    return "".join(rf"(?:{re.escape(one)}|(?i:\\u{ord(one):04x}))" for one in word)


_NAMES = "|".join(map(_spelled, sorted(CLASSES)))
#: Anywhere in bytes: such a class, up to the end of what was read. Then its name, where it is near.
_KEY = rf"\"(?:{_spelled('class_name')}|{_spelled('registered_name')})\"\s*"
_ANYWHERE = re.compile(
    (_KEY + rf"(?::\s*(?:\"(?:[^\"\\\s]{{0,80}}[.>])?(?:{_NAMES})\"|\Z)|\Z)").encode()
)
#: A letter that JSON may spell in this way.
_ESCAPED = re.compile(rb"\\u00[4-7]", re.IGNORECASE)
_CLASS = re.compile(_NAMES.encode())
_NEAR = re.compile(rb"\"config\"\s*:\s*\{\s*\"name\"\s*:\s*\"([^\"\\]{1,80})\"")
WINDOW, OVERLAP = 4 * 1024 * 1024, 64 * 1024


def may_ask(data: bytes) -> bool:
    """Most JSON holds no such word, and that is told soon."""
    return b"class_name" in data or b"registered_name" in data or _ESCAPED.search(data) is not None


def asked(data: bytes) -> str | None:
    """What the layers of a configuration bring, or None. Where it is no JSON, its words decide."""
    if not may_ask(data):
        return None
    found: set[str] = set()

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(items)
        told = {key: made[key] for key in _TOLD if key in made}
        if "config" in told:
            found.update(_layer(told))
            if len(made) != len(items):  # of a key that stands there twice readers take either
                for key, value in items:
                    found.update(_layer({**told, key: value}) if key in _TOLD else ())
        return made

    try:
        json.loads(data.decode("utf-8-sig"), object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return searched(data, last=True)
    return ", ".join(sorted(found)) or None


def _layer(one: dict[str, object]) -> Iterator[str]:
    names = [one.get("class_name"), one.get("registered_name")]
    plain = [re.split(r"[.>]", name)[-1] for name in names if isinstance(name, str)]
    known = next((name for name in plain if name in CLASSES), None)
    if known is not None:
        yield _told(known, _name(one))
    module = one.get("module")
    if isinstance(module, str) and "class_name" in one:
        what = one["config"] if one["class_name"] == "function" else one["class_name"]
        root = module.partition(".")[0]
        own = root in ("builtins", "__main__")
        if one["class_name"] == "function":
            code = what in BUILTINS if own else not calls.of_keras(module)
        else:  # a class must be one of Keras, or made to be
            code = root in sys.stdlib_module_names and (not own or what in BUILTINS)
        if code:
            yield f"{module}.{what}"[:80]


def _name(one: dict[str, object]) -> str | None:
    inner = one["config"]
    name = inner.get("name") if isinstance(inner, dict) else None
    name = one.get("name") if name is None else name
    return name if isinstance(name, str) else None


def _told(kind: str, name: str | None) -> str:
    if kind == "__lambda__":
        return "a function of Keras as bytecode (__lambda__)"
    return f"a {kind} layer of Keras" + (f" ({name[:60]})" if name else "")


def find(source: Bytes) -> str | None:
    """The same of a file that holds such a configuration somewhere."""
    for data, last in windows(source, OVERLAP):
        if found := searched(data, last=last):
            return found
    return None


def windows(source: Bytes, overlap: int) -> Iterator[tuple[bytes, bool]]:
    """All of a file, a piece at a time: (bytes, whether they are the last)."""
    at = 0
    while at < source.size:
        count = min(WINDOW + overlap, source.size - at)
        yield source.read(at, count), at + count == source.size
        at += WINDOW


def searched(data: bytes, *, last: bool) -> str | None:
    """The same of bytes that may hold such a configuration among others.

    `last` says that they go to the end of the file; else what begins in the last `OVERLAP` bytes is
    left to the next look.
    """
    for match in _ANYWHERE.finditer(data):
        word = _CLASS.search(match.group())
        if word is None and (last or match.start() >= len(data) - OVERLAP):
            continue
        near = _NEAR.search(data, match.end(), match.end() + 400)
        name = near.group(1).decode("utf-8", "replace") if near else None
        return _told("Lambda" if word is None else _unescaped(word.group()), name)
    return None


def _unescaped(word: bytes) -> str:
    return re.sub(rb"\\u00([0-9a-fA-F]{2})", lambda m: bytes.fromhex(m[1].decode()), word).decode()
