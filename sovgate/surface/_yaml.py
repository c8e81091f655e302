"""Writes YAML: the little that generated files need, the same bytes each time, with comments.

`{"a": {"b": "c"}, "#": "…"}`: a key "#" (or "#1", "#2") is a comment above what follows it.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"[A-Za-z/$.][A-Za-z0-9 ./_$(){}-]*(?<! )")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"}


class Block(str):
    """Text that is written as a literal block."""

    __slots__ = ()


def scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS and "  " not in text:
        return text
    if '"' in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=not text.isprintable())


def dump(value: Any, indent: int = 0) -> str:
    return "".join(f"{line}\n" if line else "\n" for line in _lines(value, indent))


def _lines(value: Any, indent: int) -> list[str]:
    pad = " " * indent
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key.startswith("#"):
                lines += [f"{pad}# {part}" for part in textwrap.wrap(item, 98 - indent)]
            else:
                lines += _entry(f"{pad}{scalar(key)}:", item, indent)
        return lines
    for item in value:
        if isinstance(item, Mapping) and item:
            inner = _lines(item, indent + 2)
            comments = [n for n, line in enumerate(inner) if not line.lstrip().startswith("#")]
            first = comments[0]
            lines += [line[2:] for line in inner[:first]]
            lines += [f"{pad}- {inner[first][indent + 2 :]}", *inner[first + 1 :]]
        else:
            lines.append(f"{pad}- {_flow(item)}")
    return lines


def _entry(head: str, item: Any, indent: int) -> list[str]:
    if isinstance(item, Block):
        pad = " " * (indent + 2)
        return [f"{head} |", *(f"{pad}{line}" if line else "" for line in item.splitlines())]
    if isinstance(item, (Mapping, Sequence)) and not isinstance(item, str) and item:
        return [head, *_lines(item, indent + 2)]
    return [f"{head} {_flow(item)}"]


def _flow(item: Any) -> str:
    if isinstance(item, Mapping):
        return "{}"
    if isinstance(item, Sequence) and not isinstance(item, str):
        return "[]"
    return scalar(item)
