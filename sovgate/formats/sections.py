"""Reads a YAML document section by section into records, with the line of whatever is wrong.

Unknown keys are errors with a "did you mean"; so is a value of another type. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from sovgate.errors import ConfigError
from sovgate.formats.yaml12 import Decimal, Document, Path
from sovgate.records import RELEASE_PART, near_name

MAX_TEXT = 4096
#: What YAML would not read as text, or as another one.
_NO_TEXT = re.compile(r"[-+.0-9][-+.0-9eE_xo]*|0x.*|true|false|null|.*[^A-Za-z0-9._-].*", re.DOTALL)
#: A number as people write it where none is read: 90%, >= 0.9, 0,9.
_MEANT = re.compile(r"[<>=~ ]{0,4}([0-9]{1,9}(?:\.[0-9]{1,9})?|0,[0-9]{1,9}) ?(%?)", re.ASCII)
_KEYS = "write its keys with their values below it, as in key: value"
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)


def did_you_mean(word: str, known: Sequence[str]) -> str | None:
    """ "did you mean 'x'?", or the list of what there is."""
    from difflib import get_close_matches

    known = list(dict.fromkeys(known))
    folded = {one.casefold(): one for one in known}
    same = folded.get(word[:80].casefold())
    near = [same] if same else get_close_matches(word[:80], known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"write one of: {', '.join(sorted(known)[:20])}" if known else None


class Section:
    """A mapping of the document. Readers say which key they want; `done()` refuses the rest."""

    def __init__(self, document: Document, path: Path = (), *, empty: str | None = None) -> None:
        """`empty` is the fix where nothing is there."""
        value: Any = document.value
        for step in path:
            value = value[step]
        self.document, self.path = document, path
        if value is None:
            self.refuse(None, f"{self.title()} is empty", fix=empty or _KEYS)
        if type(value) is not dict:
            self.refuse(None, f"{self.title()} must be a mapping of keys to values", fix=_KEYS)
        self.value: dict[str, Any] = value
        self.known: list[str] = []

    def title(self, key: str | None = None) -> str:
        steps = self.path if key is None else (*self.path, key)
        text = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps)
        return text.lstrip(".") or "the file"

    def refuse(self, key: str | None, what: str, *, fix: str | None = None) -> NoReturn:
        where = self.document.where(self.path if key is None else (*self.path, key))
        fix = self.document.hidden.get(where.line or 0, fix)
        raise ConfigError(what, fix=fix, where=where, reason="bad-value")

    def has(self, key: str) -> bool:
        self.known.append(key)
        return key in self.value

    def raw(self, key: str) -> Any:
        if not self.has(key):
            self._misspelt(key)
            self.refuse(None, f"{self.title()} lacks the key {key!r}", fix=f"add {key}: …")
        return self.value[key]

    def _misspelt(self, key: str) -> None:
        """A key that is missing and one that is unknown and alike are one mistake, not two."""
        from difflib import get_close_matches

        for near in get_close_matches(key, [k for k in self.value if k not in self.known], n=1):
            self.refuse(
                near, f"{self.title()} has no key {near[:80]!r}", fix=f"did you mean {key!r}?"
            )

    def text(
        self,
        key: str,
        *,
        pattern: re.Pattern[str] | None = None,
        form: str = "of its form",
        example: str | None = None,
    ) -> str:
        """`form` says the pattern in words: a person is shown no pattern. `example` is one that
        fits it, as it is written in YAML."""
        value = self.raw(key)
        if type(value) is not str or not value or len(value) > MAX_TEXT:
            self.refuse(
                key,
                f"{self.title(key)} must be text, not {_kind(value)}",
                fix=_as_text(key, value, pattern, example),
            )
        if "\0" in value:
            self.refuse(key, f"{self.title(key)} holds a NUL, as no name and no path does")
        if pattern is not None and not pattern.fullmatch(value):
            self.refuse(
                key,
                f"{self.title(key)}: {value[:80]!r} is not {form}",
                fix=_nearest(key, value, pattern)
                or (f"write it as in {key}: {example}" if example else None),
            )
        return value

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if self.has(key) else None

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        if default is not None and not self.has(key):
            return default
        value = self.text(key)
        if value not in choices:
            self.refuse(
                key,
                f"{self.title(key)}: {value[:80]!r} is not one of the choices",
                fix=did_you_mean(value, choices),
            )
        return value

    def flag(self, key: str) -> bool:
        """`true` or `false`; where the key is absent it is false."""
        value = self.value[key] if self.has(key) else False
        if type(value) is not bool:
            self.refuse(
                key,
                f"{self.title(key)} must be true or false, not {_kind(value)}",
                fix=f"write {key}: true",
            )
        return value

    def integer(
        self, key: str, *, least: int = 0, most: int = 2**53 - 1, example: int | None = None
    ) -> int:
        value = self.raw(key)
        if type(value) is not int or not least <= value <= most:
            self.refuse(
                key,
                f"{self.title(key)} must be a whole number, not {_kind(value)}"
                if type(value) is not int
                else f"{self.title(key)} must be a whole number from {least} to {most}",
                fix=_whole(key, value, (least, most), example),
            )
        return value

    def decimal(self, key: str, *, example: str = "0") -> str:
        """A number as its text, so that no float enters a decision."""
        value = self.raw(key)
        if isinstance(value, Decimal):
            return value.text
        if type(value) is not int:
            self.refuse(
                key,
                f"{self.title(key)} must be a number, not {_kind(value)}",
                fix=_number(key, value, example),
            )
        return str(value)

    def texts(self, key: str, choices: Sequence[str] | None = None) -> tuple[str, ...]:
        values = self.raw(key)
        if type(values) is not list:
            self.refuse(
                key,
                f"{self.title(key)} must be a list, not {_kind(values)}",
                fix=f"write {key}: [a, b]",
            )
        for index, value in enumerate(values):
            if type(value) is not str or not value or len(value) > MAX_TEXT:
                self.refuse(key, f"{self.title(key)}[{index}] must be text, not {_kind(value)}")
            if choices is not None and value not in choices:
                self.refuse(
                    key,
                    f"{self.title(key)}: {value[:80]!r} is not known",
                    fix=did_you_mean(value, choices),
                )
        if len(set(values)) != len(values):
            self.refuse(key, f"{self.title(key)} names something twice")
        return tuple(values)

    def section(self, key: str) -> Section:
        self.raw(key)
        return Section(self.document, (*self.path, key))

    def sections(self, key: str) -> Iterator[tuple[str, Section]]:
        """A mapping of names to mappings; nothing where the key is absent."""
        if self.has(key):
            above = self.section(key)
            for name in above.value:
                yield name, Section(self.document, (*above.path, name))

    def rows(self, key: str) -> Iterator[Section]:
        """A list of mappings; nothing where the key is absent."""
        if not self.has(key):
            return
        values = self.value[key]
        if type(values) is not list:
            self.refuse(key, f"{self.title(key)} must be a list, not {_kind(values)}")
        for index in range(len(values)):
            yield Section(self.document, (*self.path, key, index))

    def done(self) -> None:
        for key in self.value:
            if key not in self.known:
                self.refuse(
                    key,
                    f"{self.title()} has no key {key[:80]!r}",
                    fix=did_you_mean(key, self.known),
                )


def _number(key: str, value: Any, example: str) -> str:
    if type(value) is str and _NUMBER.fullmatch(value):
        return f"take the quotes away: {key}: {value}"
    meant = _MEANT.fullmatch(value) if type(value) is str else None
    if meant is not None:
        number = meant[1].replace(",", ".")
        return f"write a number alone: {key}: {_hundredth(number) if meant[2] else number}"
    return f"write a number, e.g. {key}: {example}"


def _hundredth(text: str) -> str:
    whole, _, part = text.partition(".")
    whole = whole.rjust(3, "0")
    return f"{whole[:-2].lstrip('0') or '0'}.{whole[-2:]}{part}"


def _whole(key: str, value: Any, bounds: tuple[int, int], example: int | None) -> str:
    """The number that is meant where it is a whole one that can stand there."""
    text = value.text if isinstance(value, Decimal) else value
    match = (
        re.fullmatch(r"([0-9]{1,15})(\.0{1,15})?", text, re.ASCII) if type(text) is str else None
    )
    if match and example is None and bounds[0] <= int(match[1]) <= bounds[1]:
        if type(value) is str and value == str(int(match[1])):
            return f"take the quotes away: {key}: {value}"
        return f"write a whole number, without quotes: {key}: {int(match[1])}"
    return f"write a whole number, e.g. {key}: {bounds[0] if example is None else example}"


def _as_text(key: str, value: Any, pattern: re.Pattern[str] | None, example: str | None) -> str:
    """How a value that is no text is written as one: quotes help only a word that is another's."""
    if value is None or value == "":
        return f"write its value: {key}: {example or '…'}"
    if type(value) is list and len(value) == 1 and type(value[0]) is str:
        only = value[0][:80]
        if only and (pattern is None or pattern.fullmatch(only)):
            return f"write it without brackets: {key}: {_plain(only)}"
    if type(value) in (list, dict):
        return f"write one word or text: {key}: …"
    if type(value) is str:
        return f"write at most {MAX_TEXT} characters"
    if example is not None:  # in quotes it would be text, and still none that fits
        return f"write it as in {key}: {example}"
    return f'put it in quotes: {key}: "…"'


def _nearest(key: str, value: str, pattern: re.Pattern[str]) -> str | None:
    """The nearest name to one that cannot be; None where the text is no name, or none is near."""
    if pattern is not RELEASE_PART:
        return None
    near = near_name(value)
    return None if near is None else f"did you mean {key}: {_plain(near)}?"


def _plain(text: str) -> str:
    """As YAML reads it back as text."""
    return f'"{text}"' if _NO_TEXT.fullmatch(text) else text


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if value == "":
        return "empty text"
    names = {
        bool: "true/false",
        int: "a number",
        Decimal: "a number",
        str: "text",
        list: "a list",
        dict: "a mapping",
    }
    return names.get(type(value), type(value).__name__)
