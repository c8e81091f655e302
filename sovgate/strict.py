"""Strict JSON, base64 and times: bytes <-> plain values, hostile input assumed.

Ground floor: standard library only, no I/O. RULES 3: duplicate keys, NaN, non-canonical base64,
integers from 2^53, excess depth and size are refused. Canonical form is a subset of RFC 8785.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

from sovgate.errors import InternalError, Malformed

JSON = Any  # None, bool, int, str, list[JSON], dict[str, JSON]; never float

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64
#: Lists, objects and what stands in them. One of a million files has six million; without a bound
#: 64 MiB of empty lists would become 2 GiB of memory.
MAX_VALUES = 8_000_000
MAX_INT = 2**53 - 1

_HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
_DIGITS = len(str(MAX_INT))


def _refuse(why: str, what: str = "invalid JSON") -> NoReturn:
    raise Malformed(what, why=why)


def _pairs(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        _refuse(f"duplicate key {twice[:80]!r}")
    return found


def _integer(text: str) -> int:
    if text == "-0" or len(text) > _DIGITS + 1 or abs(number := int(text)) > MAX_INT:
        _refuse(f"the number {text[:40]} is outside ±(2^53-1)")
    return number


def _fraction(text: str) -> NoReturn:
    _refuse(f"the number {text[:40]} is not an integer; fractions travel as strings")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        _refuse(f"the number {text[:40]} is out of range")
    return number


def _any_integer(text: str) -> int | str:
    """For foreign documents: what is no exact number everywhere stays the text that it was."""
    return int(text) if len(text) <= _DIGITS - 1 else text[:80]


def _any_float(text: str) -> float | str:
    number = float(text)
    return text if number in (float("inf"), float("-inf")) else number


def _no_number(name: str) -> NoReturn:
    _refuse(f"{name} is not a JSON number")


def _check_tree(root: JSON, max_depth: int, *, texts: bool = True) -> None:
    """Depth and lone surrogates, level by level: no recursion, so no RecursionError."""
    level = [root]
    for _ in range(max_depth):
        below: list[JSON] = []
        for value in level:
            kind = type(value)
            if kind is dict:
                for key in value if texts else ():
                    _check_text(key)
                below.extend(value.values())
            elif kind is list:
                below.extend(value)
            elif kind is str and texts:
                _check_text(value)
        if not below:
            return
        level = below
    _refuse(f"nested deeper than {max_depth}")


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            _refuse("a lone surrogate")


def loads(
    data: bytes,
    *,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    floats: bool = False,
    any_number: bool = False,
    lenient: bool = False,
) -> JSON:
    """Parse strict JSON.

    `floats` admits finite fractions (foreign formats such as SBOMs and safetensors headers); our
    own formats have none. `any_number` gives huge numbers, NaN and Infinity as text: there are
    tools that write them. `lenient` takes what Python's own reader takes besides: of a key that is
    there twice the last value, and lone surrogates. Raises Malformed.
    """
    if len(data) > max_bytes:
        _refuse(f"{len(data)} bytes, more than the {max_bytes} that are allowed")
    # Those inside of texts are counted too: there are no honest documents near the bound.
    if len(data) > MAX_VALUES and sum(data.count(mark) for mark in (b"[", b"{", b",")) > MAX_VALUES:
        _refuse(f"more than {MAX_VALUES} values")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(f"not UTF-8 at byte {error.start}")
    try:
        value = json.loads(
            text,
            object_pairs_hook=dict if lenient else _pairs,
            parse_int=_any_integer if any_number else _integer,
            parse_float=_any_float if any_number else _float if floats else _fraction,
            parse_constant=str if any_number else _no_number,
        )
    except RecursionError:
        _refuse(f"nested deeper than {max_depth}")
    except json.JSONDecodeError as error:
        _refuse(f"{error.msg} at line {error.lineno}, column {error.colno}")
    _check_tree(value, max_depth, texts=not lenient)
    return value


def _check_canonical(root: JSON) -> None:
    stack = [root]
    while stack:
        value = stack.pop()
        kind = type(value)
        if kind is dict:
            for key in value:
                if type(key) is not str or not key.isascii():
                    raise InternalError("a canonical key is not ASCII text", why=repr(key)[:80])
            stack.extend(value.values())
        elif kind is list or kind is tuple:
            stack.extend(value)
        elif kind is int:
            if abs(value) > MAX_INT:
                raise InternalError("a canonical integer is outside ±(2^53-1)")
        elif kind is str:
            _check_text(value)
        elif value is not None and kind is not bool:
            raise InternalError(f"a {kind.__name__} has no canonical form")


def canonical(value: JSON) -> bytes:
    """RFC 8785 bytes of a value without floats and with ASCII keys."""
    _check_canonical(value)
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


def loads_canonical(data: bytes, **limits: int) -> JSON:
    """Parse, and refuse any other spelling of the same value."""
    value = loads(data, **limits)  # type: ignore[arg-type]
    try:
        same = canonical(value) == data
    except InternalError as error:
        _refuse(error.why or error.what)
    if not same:
        _refuse("not in canonical form (RFC 8785)")
    return value


def b64encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def b64decode(text: str) -> bytes:
    """Canonical base64 only: padded, no stray bits, no white space. Raises Malformed."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("invalid base64") from None
    if base64.b64encode(data).decode("ascii") != text:
        raise Malformed("invalid base64", why="not the canonical spelling")
    return data


def is_sha256(text: object) -> bool:
    return isinstance(text, str) and _HEX64.fullmatch(text) is not None


def format_time(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """`YYYY-MM-DDTHH:MM:SSZ` and nothing else. Raises Malformed."""
    if _TIME.fullmatch(text):
        try:
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            pass
    raise Malformed("invalid time", why=f"{text[:40]!r} is not YYYY-MM-DDTHH:MM:SSZ")


T = TypeVar("T")


class Fields:
    """Reads a closed JSON object field by field; missing, extra or of another type is Malformed.

    `path` names the object in messages, e.g. "predicate.recipient". Call `done()` last: it refuses
    fields that were not asked for.
    """

    def __init__(self, value: JSON, path: str) -> None:
        if type(value) is not dict:
            raise Malformed(f"{path} is not an object")
        self._value: dict[str, JSON] = value
        self._left = set(value)
        self.path = path

    def _refuse(self, name: str, why: str) -> NoReturn:
        raise Malformed(f"{self.path}.{name} {why}")

    def raw(self, name: str) -> JSON:
        if name not in self._value:
            self._refuse(name, "is missing")
        self._left.discard(name)
        return self._value[name]

    def has(self, name: str) -> bool:
        return name in self._value

    def names(self) -> tuple[str, ...]:
        """Field names, where they are not fixed (hyper-parameters, metrics)."""
        return tuple(self._value)

    def text(
        self, name: str, *, max_length: int = 4096, pattern: re.Pattern[str] | None = None
    ) -> str:
        value = self.raw(name)
        if type(value) is not str:
            self._refuse(name, "is not text")
        if len(value) > max_length:
            self._refuse(name, f"is longer than {max_length}")
        if pattern is not None and not pattern.fullmatch(value):
            self._refuse(name, f"is not of its form: {value[:80]!r}")
        return value

    def integer(self, name: str, *, least: int = 0, most: int = MAX_INT) -> int:
        value = self.raw(name)
        if type(value) is not int or not least <= value <= most:
            self._refuse(name, f"is not an integer from {least} to {most}")
        return value

    def boolean(self, name: str) -> bool:
        value = self.raw(name)
        if type(value) is not bool:
            self._refuse(name, "is not true or false")
        return value

    def sha256(self, name: str) -> str:
        value = self.raw(name)
        if not is_sha256(value):
            self._refuse(name, "is not a SHA-256 in lower-case hex")
        return str(value)

    def base64(self, name: str, *, max_bytes: int = MAX_BYTES) -> bytes:
        data = b64decode(self.text(name, max_length=max_bytes * 4 // 3 + 4))
        if len(data) > max_bytes:
            self._refuse(name, f"is longer than {max_bytes} bytes")
        return data

    def time(self, name: str) -> datetime:
        return parse_time(self.text(name))

    def exactly(self, name: str, expected: JSON) -> None:
        value = self.raw(name)
        if type(value) is not type(expected) or value != expected:
            self._refuse(name, f"is {str(value)[:80]!r}, not {expected!r}")

    def object(self, name: str) -> Fields:
        return Fields(self.raw(name), f"{self.path}.{name}")

    def list(self, name: str, *, most: int = 1_000_000) -> list[JSON]:
        value = self.raw(name)
        if type(value) is not list:
            self._refuse(name, "is not a list")
        if len(value) > most:
            self._refuse(name, f"has more than {most} entries")
        return value

    def objects(self, name: str, *, most: int = 1_000_000) -> Iterable[Fields]:
        for index, value in enumerate(self.list(name, most=most)):
            yield Fields(value, f"{self.path}.{name}[{index}]")

    def texts(self, name: str, *, most: int = 10_000) -> tuple[str, ...]:
        values = self.list(name, most=most)
        if any(type(value) is not str for value in values):
            self._refuse(name, "is not a list of text")
        return tuple(values)

    def nullable(self, name: str, read: Callable[[str], T]) -> T | None:
        """`fields.nullable("release", fields.text)`: null, or what `read` makes of it."""
        if self.raw(name) is None:
            return None
        return read(name)

    def done(self) -> None:
        if self._left:
            raise Malformed(
                f"{self.path} has unknown fields: {', '.join(sorted(self._left))[:200]}"
            )
