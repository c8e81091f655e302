"""What a training run wrote down, YAML or JSON -> record: for `record --from`. No I/O.

Parameters and metrics may nest; they come out flat, with dots. Numbers stay as they are written.
docs/records.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sovgate.formats.provenance import Environment
from sovgate.formats.sections import Section
from sovgate.formats.yaml12 import Decimal, load

MAX_BYTES = 4 * 1024 * 1024
MAX_VALUE = 4096


@dataclass(frozen=True, kw_only=True)
class TrainingFile:
    """What the file says; all of it may be left out. `bases` are paths, relative to the file."""

    datasets: tuple[str, ...]
    bases: tuple[str, ...]
    commit: str | None
    parameters: dict[str, str]
    metrics: dict[str, str]
    environment: Environment | None


def parse(data: bytes, name: str) -> TrainingFile:
    """Raises ConfigError with line and column; `name` is the file as errors show it."""
    top = Section(load(data, name))
    made = TrainingFile(
        datasets=top.texts("datasets") if top.has("datasets") else (),
        bases=top.texts("base-models") if top.has("base-models") else (),
        commit=top.optional_text("commit"),
        parameters=_values(top, "parameters"),
        metrics=_values(top, "metrics"),
        environment=_environment(top.section("environment")) if top.has("environment") else None,
    )
    top.done()
    return made


def _environment(section: Section) -> Environment:
    python = section.optional_text("python")
    packages = _values(section, "packages")
    section.done()
    return Environment(python=python, packages=packages)


def _values(top: Section, key: str) -> dict[str, str]:
    if not top.has(key):
        return {}
    section = top.section(key)
    found: dict[str, str] = {}
    for name, value in _flat(section.value, ""):
        text = _text(value)
        if text is None or len(text) > MAX_VALUE:
            section.refuse(None, f"{key}.{name[:80]} is not a number, text, truth value or list")
        if not name.isascii() or name in found:
            section.refuse(None, f"{key}.{name[:80]!r} is not ASCII, or is there twice")
        found[name] = text
    return found


def _flat(value: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, below in value.items():
        if type(below) is dict:
            yield from _flat(below, f"{above}{name}.")
        else:
            yield above + name, below


def _text(value: Any) -> str | None:
    if isinstance(value, Decimal):
        return value.text
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is list:
        parts = [_text(part) for part in value if type(part) is not list]
        known = [part for part in parts if part is not None]
        return f"[{', '.join(known)}]" if len(known) == len(value) else None
    return str(value) if type(value) in (int, str) and value != "" else None
