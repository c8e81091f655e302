"""Names of functions in settings of YAML and JSON that a library would call. Bounded; no I/O.

YAML is read by the events of its real parser: whatever spells a name, by escapes, anchors, tags or
over several lines, is the name that a loader gets. Nothing is built, no tag is followed.
"""

from __future__ import annotations

import base64
import json
import pickle
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sovgate.formats import calls, containers

MAX_EVENTS, MAX_DEPTH = 2_000_000, 100
UNREAD = "settings that cannot be read"
#: Values within what jsonpickle would call, for the name of it.
_LOOKED_AT = 20
#: Under these keys hydra, and others that are like it, name what they call.
_TARGETS = frozenset({"_target_", "class_path"})
#: Latent diffusion does so too, with `params` beside it. Many files name other things under it.
_TARGET, _PARAMS = "target", "params"
#: What MLflow runs or brings into Python's path when it loads a model: its own files, by MLmodel.
_MLFLOW = frozenset({"model_code_path", "code", "loader_module"})
_NONE = frozenset({"", "null", "Null", "NULL", "~"})
_PYTHON, _BINARY = "tag:yaml.org,2002:python/", "tag:yaml.org,2002:binary"
#: A class that a pickle of protocol 0 or 1 asks for, what makes something of it, and the end;
#: later ones begin with their number.
_ASKS = re.compile(rb"(?:\A|[(\n])[ci][A-Za-z_][\w.]*\n[A-Za-z_]\w*\n[^Rbo]*+[Rbo][^.]*+\.")
#: So much of what is in base64 is looked at.
_HEAD = 64 * 1024
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
#: Those of them that no other JSON holds, lines of JSON among it.
_PLAIN_WORDS = (b'"_target_"', b'"class_path"', b'"pyref"', b'"py/')
#: A name of what is called and its text, also where the name is not spelled as it is read.
_IN_LARGE = re.compile(
    rb"\"(?:_target_|class_path|[a-z/_]{0,12}\\u00[2-7][0-9a-fA-F](?:[a-z/_]|\\u00..){0,12})\""
    rb"\s{0,99}:\s{0,99}\""
    rb"|\"py/(?:reduce|object|type|class|function|newobj)\"\s{0,99}:\s{0,99}[\"{\[]"
    rb"|\"target\"\s{0,99}:\s{0,99}\"[A-Za-z_]\w{0,80}\.[A-Za-z_][\w.]{0,200}\""
    rb"|\"type\"\s{0,99}:\s{0,99}\"pyref\""
)
#: An ASCII character that is written by its number.
_ESCAPED = re.compile(rb"\\(?:x|u00|U000000)[2-7]", re.IGNORECASE)
#: What names something to be called in YAML that is not read, or not to its end.
_NAMED = re.compile(
    rb"_target_|class_path|python/|%TAG|!<|!(?:new|name|apply|applyref|module):|!!?binary"
    rb"|\btarget[\"']?\s{0,20}:\s{0,20}[\"']?[A-Za-z_]\w{0,80}\.[A-Za-z_]"
)
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

    def binary(self, text: str) -> None:
        """Bytes, which somebody may unpickle."""
        if (what := _pickled_in(text)) is not None:
            self.names.append(f"{what} in !!binary")

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
    if not _walk(data, found) and (mlflow or _NAMED.search(data) or _ESCAPED.search(data)):
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
                if event.tag == _BINARY:
                    found.binary(event.value)
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


def _pickled_in(text: str) -> str | None:
    """What a pickle in base64 is, as it lies there or packed; None where none is in it."""
    begin = _decoded(text[:_HEAD])
    kind = containers.kind_of(begin)
    if kind is not None:
        try:
            begin = next(containers.unpack(kind, iter([_decoded(text)])), b"")[:_HEAD]
        except containers.MemoryLimitError:
            return "packed bytes that are not opened, and perhaps a pickle,"
        except containers.BrokenError:
            begin = b""
    if begin.startswith((containers.ZIP, b"\x93NUMPY")):
        return "an archive or an array, which may hold a pickle,"
    protocol = len(begin) > 2 and begin[0] == 0x80 and begin[1] <= pickle.HIGHEST_PROTOCOL
    return "a pickle" if protocol or _ASKS.search(begin) else None


def _decoded(text: str) -> bytes:
    """As the readers of YAML do it, which pass over all that is no base64."""
    plain = re.sub(r"[^A-Za-z0-9+/]", "", text)
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4))
    except ValueError:
        return base64.b64decode(plain[: len(plain) // 4 * 4])


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
    except RecursionError:  # how deep a reader goes, each decides for itself
        found.names.append(UNREAD)
    except ValueError:
        if any(word in data for word in _PLAIN_WORDS):
            found.names.append(UNREAD)
    return found.told()


def is_worth_reading(windows: Iterable[bytes], *, yaml: bool) -> bool:
    """Whether settings that are too large to be read may name what is to be called.

    Words of a vocabulary, which have numbers, are no settings.
    """
    pattern = _NAMED if yaml else _IN_LARGE
    return any(pattern.search(data.replace(b"\0", b"")) for data in windows)


def _pickled(value: object) -> str:
    """The first text of it, if it is among the first values: one may lie in the other, often."""
    waiting = [value]
    for _ in range(_LOOKED_AT):
        one = waiting.pop() if waiting else None
        if isinstance(one, str):
            return f"py/reduce: {one}"
        if isinstance(one, (list, dict)):
            inner = islice(one.values() if isinstance(one, dict) else one, _LOOKED_AT)
            waiting += reversed(list(inner))
    return "py/reduce"
