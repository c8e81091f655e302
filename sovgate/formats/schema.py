"""A small, fast reader of our own JSON Schemas: values against `schemas/*.schema.json`.

Stands with the formats: reads only the package's own schema files, once. It knows the keywords
that our schemas use and refuses to load any other, so that none is silently ignored. jsonschema
would cost 80 ms of start-up; tests hold the two equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from sovgate.errors import InternalError
from sovgate.files import resource_dir

JSON = Any

_KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
_TEXTS = {"$schema", "$id", "$defs", "title", "description"}
_LIMITS: dict[str, tuple[type, Callable[[Any, int], bool]]] = {
    "maxItems": (list, lambda value, limit: len(value) <= limit),
    "minItems": (list, lambda value, limit: len(value) >= limit),
    "maxLength": (str, lambda value, limit: len(value) <= limit),
    "minLength": (str, lambda value, limit: len(value) >= limit),
    "maxProperties": (dict, lambda value, limit: len(value) <= limit),
    "minimum": (int, lambda value, limit: value >= limit),
    "maximum": (int, lambda value, limit: value <= limit),
}

#: Says what is wrong with a value at a path, or None.
Check = Callable[[JSON, str], str | None]


@dataclass(frozen=True, kw_only=True)
class Schema:
    """One schema file, ready to check values. `text` is what jsonschema would be given."""

    name: str
    text: str
    _check: Check

    def problem(self, value: JSON) -> str | None:
        """The first thing wrong, e.g. "subject.manifest is not …"; None where all is well."""
        return self._check(value, "")


@cache
def load(name: str) -> Schema:
    """`schemas/NAME.schema.json` of the package."""
    text = (resource_dir("schemas") / f"{name}.schema.json").read_text(encoding="utf-8")
    root = json.loads(text)
    return Schema(name=name, text=text, _check=_Compiler(root).compile(root))


def _at(path: str, what: str) -> str:
    return f"{path or 'the whole'} {what}"


class _Compiler:
    """Turns a schema into nested functions; every `$ref` is compiled once."""

    def __init__(self, root: dict[str, JSON]) -> None:
        self._root = root
        self._named: dict[str, Check] = {}

    def compile(self, schema: dict[str, JSON]) -> Check:
        checks = [check for key in schema if (check := self._keyword(key, schema)) is not None]
        if len(checks) == 1:
            return checks[0]

        def all_of(value: JSON, path: str) -> str | None:
            for check in checks:
                if (problem := check(value, path)) is not None:
                    return problem
            return None

        return all_of

    def _keyword(self, key: str, schema: dict[str, JSON]) -> Check | None:
        rule = schema[key]
        if key in _TEXTS:
            return None
        if key == "$ref":
            return self._ref(rule)
        if key == "type":
            return _type([rule] if isinstance(rule, str) else rule)
        if key == "const":
            return _one_of([rule])
        if key == "enum":
            return _one_of(rule)
        if key == "pattern":
            return _pattern(rule)
        if key == "required":
            return _required(rule)
        if key == "items":
            return _items(self.compile(rule))
        if key == "propertyNames":
            return _names(self.compile(rule))
        if key == "properties":
            return _properties({name: self.compile(below) for name, below in rule.items()})
        if key == "additionalProperties":
            known = frozenset(schema.get("properties", ()))
            return _others(known, None if rule is False else self.compile(rule))
        if key in _LIMITS:
            return _limit(key, rule)
        raise InternalError(f"a schema uses the keyword {key!r}, which our reader does not know")

    def _ref(self, ref: str) -> Check:
        if ref not in self._named:
            target = self._root
            for part in ref.removeprefix("#/").split("/"):
                target = target[part]
            # Recursive schemas would not end here; ours are trees.
            self._named[ref] = self.compile(target)
        return self._named[ref]


def _type(names: list[str]) -> Check:
    kinds = frozenset(kind for name in names for kind in _KINDS[name])
    words = " or ".join(names)

    def check(value: JSON, path: str) -> str | None:
        # type(), not isinstance(): true is no integer.
        return None if type(value) in kinds else _at(path, f"is not {words}")

    return check


def _one_of(values: list[JSON]) -> Check:
    allowed = {(type(value), value) for value in values}
    words = ", ".join(json.dumps(value) for value in values)

    def check(value: JSON, path: str) -> str | None:
        if type(value) in (dict, list) or (type(value), value) not in allowed:
            return _at(path, f"is not one of {words}")
        return None

    return check


def _pattern(rule: str) -> Check:
    if not (rule.startswith("^") and rule.endswith("$")):
        raise InternalError(f"a schema's pattern is not anchored: {rule}")
    # fullmatch: Python's `$` also matches before a last newline.
    form = re.compile(rule[1:-1], re.ASCII)

    def check(value: JSON, path: str) -> str | None:
        if type(value) is str and form.fullmatch(value) is None:
            return _at(path, f"is not of its form {rule}: {value[:80]!r}")
        return None

    return check


def _required(names: list[str]) -> Check:
    wanted = tuple(names)

    def check(value: JSON, path: str) -> str | None:
        if type(value) is dict:
            for name in wanted:
                if name not in value:
                    return _at(path, f"lacks the field {name!r}")
        return None

    return check


def _items(below: Check) -> Check:
    def check(value: JSON, path: str) -> str | None:
        if type(value) is list:
            for index, item in enumerate(value):
                if (problem := below(item, f"{path}[{index}]")) is not None:
                    return problem
        return None

    return check


def _names(below: Check) -> Check:
    def check(value: JSON, path: str) -> str | None:
        if type(value) is dict:
            for name in value:
                if (problem := below(name, f"{path}: the name {name[:80]!r}")) is not None:
                    return problem
        return None

    return check


def _properties(below: dict[str, Check]) -> Check:
    def check(value: JSON, path: str) -> str | None:
        if type(value) is dict:
            for name, inner in below.items():
                if name in value:
                    problem = inner(value[name], f"{path}.{name}" if path else name)
                    if problem is not None:
                        return problem
        return None

    return check


def _others(known: frozenset[str], below: Check | None) -> Check:
    def check(value: JSON, path: str) -> str | None:
        if type(value) is dict:
            for name in value:
                if name in known:
                    continue
                if below is None:
                    return _at(path, f"has an unknown field {name[:80]!r}")
                problem = below(value[name], f"{path}.{name}" if path else name)
                if problem is not None:
                    return problem
        return None

    return check


def _limit(key: str, limit: int) -> Check:
    kind, holds = _LIMITS[key]

    def check(value: JSON, path: str) -> str | None:
        if type(value) is kind and not holds(value, limit):
            return _at(path, f"breaks {key} {limit}")
        return None

    return check
