"""Strict YAML 1.2 (core schema): text <-> plain values with the place of each. No I/O.

libyaml's parser crashes the process on deep nesting, so depth, size and aliases are judged on the
event stream before any node is built. `NO` is Norway and `on` is a word. Anchors, tags,
merge keys, several documents and duplicate keys are refused: what a person reads is what we read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from sovgate.errors import ConfigError, Where
from sovgate.formats import invisible

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 200_000

# YAML 1.2.2, section 10.3.2
_NULL = re.compile(r"|~|null|Null|NULL", re.ASCII)
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE", re.ASCII)
_INT = re.compile(r"[-+]?[0-9]{1,17}", re.ASCII)
_OCT_HEX = re.compile(r"0o[0-7]{1,18}|0x[0-9a-fA-F]{1,14}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?", re.ASCII)
_INF_NAN = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)

#: A path into the document: mapping keys and list indices.
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Decimal:
    """A number with a fraction, kept as its text: no float ever enters a decision."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Document:
    """The value (None, bool, int, Decimal, str, list, dict) and where each part of it stands.

    `hidden`: lines with a character that nobody sees, each with what to do: for messages.
    """

    name: str
    value: Any
    places: dict[Path, tuple[int, int]] = field(repr=False)
    hidden: dict[int, str] = field(default_factory=dict, repr=False)

    def where(self, path: Path = ()) -> Where:
        """The place of a value; of the nearest one above it where it has none of its own."""
        for length in range(len(path), -1, -1):
            if place := self.places.get(path[:length]):
                return Where(path=self.name, line=place[0], column=place[1])
        return Where(path=self.name)


def _refuse(name: str, mark: Any, what: str, fix: str | None = None) -> ConfigError:
    where = Where(path=name)
    if mark is not None:
        where = Where(path=name, line=mark.line + 1, column=mark.column + 1)
    return ConfigError(f"{name}: {what}", fix=fix, where=where, reason="bad-yaml")


def _scalar(name: str, event: Any) -> Any:
    text: str = event.value
    if event.style or not event.implicit[0]:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _OCT_HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return Decimal(text)
    if _INF_NAN.fullmatch(text):
        raise _refuse(name, event.start_mark, f"{text} is not a usable number")
    return text


#: The parser's own words name the state that it was in.
_LOOK = "look at this line and the one above: indentation, or a missing quote, bracket or colon"


class _Builder:
    """Builds the value from events; its own stack, so depth costs no recursion."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.places: dict[Path, tuple[int, int]] = {}
        self.stack: list[tuple[Any, Path]] = []  # (container, its path)
        self.keys: list[str | None] = []  # the pending key of each mapping
        self.root: Any = None
        self.nodes = 0

    def _place(self, path: Path, mark: Any) -> None:
        self.places[path] = (mark.line + 1, mark.column + 1)

    def add(self, value: Any, event: Any) -> None:
        """A finished scalar, or a container just begun."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _refuse(self.name, event.start_mark, f"more than {MAX_NODES} values")
        path: Path = ()
        if not self.stack:
            self.root = value
        else:
            container, above = self.stack[-1]
            if isinstance(container, list):
                path = (*above, len(container))
                container.append(value)
            elif self.keys[-1] is None:
                self._key(container, value, above, event)
                return
            else:
                path = (*above, self.keys[-1])
                container[self.keys[-1]] = value
                self.keys[-1] = None
        if path not in self.places:  # a mapping's value keeps the place of its key
            self._place(path, event.start_mark)
        if isinstance(value, (list, dict)):
            self.stack.append((value, path))
            self.keys.append(None)
            if len(self.stack) > MAX_DEPTH:
                raise _refuse(self.name, event.start_mark, f"nested deeper than {MAX_DEPTH}")

    def _key(self, container: dict[str, Any], value: Any, above: Path, event: Any) -> None:
        if isinstance(value, (list, dict)):
            raise _refuse(self.name, event.start_mark, "a key must be a word")
        key = event.value  # as written: the key `NO` is the text "NO", `1` is "1"
        if key == "<<" and not event.style:
            raise _refuse(
                self.name, event.start_mark, "merge keys are not supported", "write the keys out"
            )
        if key in container:
            raise _refuse(
                self.name,
                event.start_mark,
                f"the key {key[:80]!r} is there twice",
                "remove one of the two",
            )
        self.keys[-1] = key
        self._place((*above, key), event.start_mark)

    def end(self) -> None:
        self.stack.pop()
        self.keys.pop()


def load(data: bytes, name: str) -> Document:
    """Parse one YAML document; `name` is the file as errors show it.

    Raises ConfigError (reason "bad-yaml") with line and column.
    """
    import yaml

    if len(data) > MAX_BYTES:
        raise _refuse(name, None, f"larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        what, fix = invisible.encoding(data, error.start)
        raise _refuse(name, None, what, fix) from error
    loader: Any = getattr(yaml, "CLoader", yaml.Loader)  # only its parser is used: no constructor
    builder = _Builder(name)
    try:
        for event in yaml.parse(text, Loader=loader):
            _feed(builder, event, yaml)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        if mark is None and (lines := invisible.hidden(text)):
            number, said = next(iter(lines.items()))
            where = Where(path=name, line=number)
            raise ConfigError(
                f"{name}: invalid YAML", fix=said, where=where, reason="bad-yaml"
            ) from error
        what, fix = _explained(text, mark) or (problem, _LOOK)
        raise _refuse(name, mark, f"invalid YAML: {what}", fix) from error
    except RecursionError as error:
        raise _refuse(name, None, f"nested deeper than {MAX_DEPTH}") from error
    return Document(
        name=name, value=builder.root, places=builder.places, hidden=invisible.hidden(text)
    )


def _explained(text: str, mark: Any) -> tuple[str, str] | None:
    """A character that a person does not see, there or in the line above, is a likely cause."""
    lines = text.split("\n")
    if mark is None or mark.line >= len(lines):
        return None
    if said := invisible.in_line(lines[mark.line]):
        return said
    if mark.line and (said := invisible.in_line(lines[mark.line - 1])):
        return f"in the line above, {said[0]}", said[1]
    return None


def _feed(builder: _Builder, event: Any, yaml: Any) -> None:
    name = builder.name
    if isinstance(event, yaml.AliasEvent):
        raise _refuse(name, event.start_mark, "aliases are not supported", "write the value out")
    if getattr(event, "anchor", None):
        raise _refuse(name, event.start_mark, "anchors are not supported", "write the value out")
    if getattr(event, "tag", None) not in (None, "!"):
        raise _refuse(name, event.start_mark, "tags are not supported", "remove the tag")
    if isinstance(event, yaml.DocumentStartEvent):
        if event.version and event.version != (1, 2):
            raise _refuse(name, event.start_mark, "files are read as YAML 1.2")
        if builder.nodes:
            raise _refuse(name, event.start_mark, "more than one document")
    elif isinstance(event, yaml.ScalarEvent):
        builder.add(_scalar(name, event), event)
    elif isinstance(event, yaml.SequenceStartEvent):
        builder.add([], event)
    elif isinstance(event, yaml.MappingStartEvent):
        builder.add({}, event)
    elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
        builder.end()
