"""Names of functions in settings of YAML and JSON that a library would call. Bounded; no I/O.

YAML is read by the events of its real parser: whatever spells a name, by escapes, anchors, tags or
over several lines, is the name that a loader gets. Nothing is built, no tag is followed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sovgate.formats import calls

MAX_EVENTS, MAX_DEPTH = 2_000_000, 100
UNREAD = "settings that cannot be read"
#: Under these keys hydra, and others that are like it, name what they call.
_TARGETS = frozenset({"_target_", "class_path"})
#: Latent diffusion does so too, with `params` beside it. Many files name other things under it.
_TARGET, _PARAMS = "target", "params"
#: What MLflow runs or brings into Python's path when it loads a model: its own files, by MLmodel.
_MLFLOW = frozenset({"model_code_path", "code", "loader_module"})
_NONE = frozenset({"", "null", "Null", "NULL", "~"})
_PYTHON = "tag:yaml.org,2002:python/"
_PLAIN_TAGS = frozenset(
    [
        "bool",
        "bytes",
        "complex",
        "dict",
        "float",
        "int",
        "list",
        "long",
        "none",
        "str",
        "tuple",
        "unicode",
    ]
)
#: Tags of HyperPyYAML, from which SpeechBrain takes its models.
_HYPER = re.compile(r"!(?:new|name|apply|applyref|module):(.*)", re.DOTALL)
#: jsonpickle: what it calls, and what it makes an object of.
_PICKLED = frozenset({"py/object", "py/type", "py/class", "py/function", "py/newobj"})
_WORDS = (b"_target_", b"class_path", b"target", b"pyref", b'"py/')
#: An ASCII character that is written by its number.
_ESCAPED = re.compile(rb"\\(?:x|u00|U000000)[2-7]", re.IGNORECASE)
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+", re.ASCII)


class _Found:
    """What was named, in the order of the file. Expressions count where hydra's key is."""

    def __init__(self, *, mlflow: bool = False) -> None:
        self.mlflow, self.targets = mlflow, False
        self.names: list[str] = []
        self.expressions: list[str] = []

    def pair(self, key: str, value: str | None) -> None:
        """A key and its text: "" where it is null, None where it is no text."""
        if key in _TARGETS:
            self.targets = True
            if value != "" and (value is None or not calls.harmless(value)):
                self.names.append(value or UNREAD)
        elif self.mlflow and key in _MLFLOW and value != "":
            installed = key == "loader_module" and (value or "").split(".")[0] == "mlflow"
            if not installed:
                self.names.append(f"{key}: {value or '?'}")

    def target(self, value: str, *, called: bool) -> None:
        """What stands under that word; `called`: `params` are there too."""
        if _DOTTED.fullmatch(value) and (calls.runs(value) or called) and not calls.harmless(value):
            self.names.append(value)

    def text(self, value: str) -> None:
        if value.startswith("$") and not value.startswith("${"):  # MONAI evaluates it
            self.expressions.append(f"the expression {value[1:]}")

    def tag(self, tag: str) -> None:
        if tag.startswith(_PYTHON):
            kind, _, name = tag.removeprefix(_PYTHON).partition(":")
            if kind not in _PLAIN_TAGS and not calls.harmless(name):
                self.names.append(f"!!python/{kind}:{name}")
        elif (match := _HYPER.fullmatch(tag)) and not calls.harmless(match[1]):
            self.names.append(tag)

    def told(self) -> list[str]:
        found = self.names + (self.expressions[:3] if self.targets else [])
        return [name[:80] for name in dict.fromkeys(found)]


@dataclass
class _Mapping:
    """One that is being read: the key whose value is awaited, and what is kept of it."""

    key: str | None = None
    target: str | None = None
    params: bool = False


def of_yaml(data: bytes, *, mlflow: bool = False) -> list[str]:
    """What YAML names. What does not parse counts where it may hold such a name."""
    worth = (b"_target_", b"target", b"class_path", b"!", b"\\", b"%TAG")
    if not mlflow and not any(word in data for word in worth):
        return []
    found = _Found(mlflow=mlflow)
    if not _walk(data, found):
        named = b"_target_" in data or b"python/" in data or _ESCAPED.search(data)
        if mlflow or named:
            found.names.append(UNREAD)
    return found.told()


def _walk(data: bytes, found: _Found) -> bool:
    """Whether it could be read to its end."""
    import yaml

    loader: Any = getattr(yaml, "CLoader", yaml.Loader)  # only its parser is used: no constructor
    stack: list[_Mapping | None] = []  # None for a list
    anchors: dict[str, str] = {}
    try:
        events: Any = yaml.parse(data.decode("utf-8-sig"), Loader=loader)
        for count, event in enumerate(events):
            if count > MAX_EVENTS or len(stack) > MAX_DEPTH:
                return False
            if getattr(event, "tag", None):
                found.tag(event.tag)
            if isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                ended = stack.pop()
                if ended is not None and ended.target is not None:
                    found.target(ended.target, called=ended.params)
            elif isinstance(event, yaml.ScalarEvent):
                if event.anchor:
                    anchors[event.anchor] = event.value
                _value(stack, found, event.value, quoted=bool(event.style))
            elif isinstance(event, yaml.AliasEvent):
                _value(stack, found, anchors.get(str(event.anchor)))
            elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
                _value(stack, found, None)
                stack.append(_Mapping() if isinstance(event, yaml.MappingStartEvent) else None)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _value(
    stack: list[_Mapping | None], found: _Found, value: str | None, *, quoted: bool = False
) -> None:
    """A scalar, or a container that begins: a key, or what stands under one."""
    here = stack[-1] if stack else None
    if here is not None and here.key is None:
        here.key = value or "?"
        here.params |= value == _PARAMS
        return
    if here is not None and here.key is not None:
        key, here.key = here.key, None
        found.pair(key, value if quoted or value not in _NONE else "")
        if key == _TARGET and value is not None:
            here.target = value
    if value is not None:
        found.text(value)


def of_json(data: bytes) -> list[str]:
    """What JSON names: as YAML does, as fiddle writes it for NeMo, or for jsonpickle."""
    if not any(word in data for word in _WORDS) and not _ESCAPED.search(data):
        return []
    found = _Found()

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        for key, value in items:
            found.pair(key, value if isinstance(value, str) else "" if value is None else None)
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str):
                    found.text(text)
            if key == _TARGET and isinstance(value, str):
                found.target(value, called=any(name == _PARAMS for name, _ in items))
            if key == "py/reduce":
                found.names.append(_pickled(value))
            elif key in _PICKLED and isinstance(value, str) and calls.runs(value):
                found.names.append(value)
        made = dict(items)
        if made.get("type") == "pyref":
            path = f"{made.get('module')}.{made.get('name')}"
            if not calls.harmless(path):
                found.names.append(path)
        return made

    try:
        json.loads(data.decode("utf-8-sig"), object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        if b"_target_" in data:
            found.names.append(UNREAD)
    return found.told()


def _pickled(value: object) -> str:
    return next((f"py/reduce: {text}" for text in _texts(value)), "py/reduce")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)
