"""What a value in a rule can look like, as far as its text tells: for `resolve`. Pure.

The case's own shapes come from `schemas/case.schema.json`, which is closed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from sovgate.formats import schema
from sovgate.formats.case import FACTS

JSON = Any
#: Parts of one shape, counted as a tree. The case has some 200.
MAX_SIZE = 4000


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Nothing is known of it (`ANYTHING`), or it is a plain value without parts (`VALUE`)."""

    name: str

    def __post_init__(self) -> None:
        size = 1 + sum(_size(one) for one in self.inner())
        if size > MAX_SIZE:
            raise Intricate
        object.__setattr__(self, "_size", size)

    def inner(self) -> tuple[Shape, ...]:
        """The shapes that it is made of."""
        return ()


def _size(shape: Shape) -> int:
    return int(getattr(shape, "_size", 1))


class Intricate(Exception):
    """A shape that only somebody who wants to exhaust us would write."""


ANYTHING, VALUE, UNBOUND = Shape(name="anything"), Shape(name="value"), Shape(name="unbound")


@dataclass(frozen=True, kw_only=True)
class Record(Shape):
    """An object. `closed`: it has these fields alone, so a name that is not there is a slip.

    `rest` is what every other field looks like, None where there is none.
    """

    fields: tuple[tuple[str, Shape], ...]
    rest: Shape | None = None
    closed: bool = True

    def inner(self) -> tuple[Shape, ...]:
        return (*(one for _, one in self.fields), *(() if self.rest is None else (self.rest,)))


@dataclass(frozen=True, kw_only=True)
class Many(Shape):
    """An array, or a set (`by_value`): `items` are an array's, where its text lists them."""

    item: Shape
    by_value: bool = False
    items: tuple[Shape, ...] = ()

    def inner(self) -> tuple[Shape, ...]:
        return (self.item, *self.items)


@dataclass(frozen=True, kw_only=True)
class Either(Shape):
    shapes: tuple[Shape, ...]

    def inner(self) -> tuple[Shape, ...]:
        return self.shapes


@dataclass(frozen=True, kw_only=True)
class Package(Shape):
    """Part of `data`: the packages and rules below it, each looked at when it is asked for."""

    names: tuple[str, ...]
    open: Callable[[str], Shape]


def either(*shapes: Shape) -> Shape:
    """One that is any of these. What is not bound yet adds nothing."""
    found: list[Shape] = []
    for shape in shapes:
        parts = shape.shapes if isinstance(shape, Either) else (shape,)
        found += [part for part in parts if part is not UNBOUND and part not in found]
    if not found:
        return UNBOUND
    return found[0] if len(found) == 1 else Either(name="either", shapes=tuple(found))


class Nowhere(Exception):
    """There is no such part. `fix` names the nearest one."""

    def __init__(self, why: str, fix: str | None = None) -> None:
        super().__init__(why)
        self.why, self.fix = why, fix


def part(shape: Shape, key: str | int | None) -> Shape:
    """What lies under a key; None is one that is computed. Raises Nowhere."""
    if isinstance(shape, Either):
        return _part_of_any(shape, key)
    if isinstance(shape, Many):
        if isinstance(key, str) and not shape.by_value:
            raise Nowhere("it is a list, which has numbers and no names", "some x in the list")
        if isinstance(key, int) and key < len(shape.items):
            return shape.items[key]
        return shape.item
    if isinstance(shape, (Record, Package)):
        return _named(shape, key)
    if shape is VALUE:
        raise Nowhere("it is one value, which has no parts")
    return ANYTHING


def _part_of_any(shape: Either, key: str | int | None) -> Shape:
    found: list[Shape] = []
    missing: Nowhere | None = None
    for one in shape.shapes:
        try:
            found.append(part(one, key))
        except Nowhere as error:
            missing = error if missing is None or error.fix else missing
    if missing is not None and all(one is ANYTHING for one in found):
        raise missing  # `object.get(x, "y", {}).z` is as good as its `x.y`
    return either(*found)


def _named(shape: Record | Package, key: str | int | None) -> Shape:
    if isinstance(shape, Package):
        names, rest, closed = shape.names, None, True
    else:
        names, rest, closed = tuple(name for name, _ in shape.fields), shape.rest, shape.closed
    if isinstance(key, str) and key in names:
        return shape.open(key) if isinstance(shape, Package) else dict(shape.fields)[key]
    near = get_close_matches(str(key), names, n=1, cutoff=0.75)
    if rest is not None and near and key is not None:
        raise Nowhere(f"it has no {str(key)[:80]!r}", f"did you mean {near[0]!r}?")
    if not closed or rest is not None:
        inner = [one for _, one in shape.fields] if isinstance(shape, Record) else []
        return (rest or ANYTHING) if closed else either(*inner, ANYTHING)
    if key is None:
        raise Nowhere(
            "the name is computed, so that nobody can say whether it exists",
            f"write the name itself; there are {', '.join(sorted(names)[:20])}",
        )
    near = get_close_matches(str(key), names, n=1, cutoff=0.5)
    there = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(names)[:20])}"
    raise Nowhere(f"it has no {str(key)[:80]!r}", there if names else None)


def items(shape: Shape) -> tuple[Shape, Shape]:
    """Keys and values of what is gone through, by `some k, v in …` or an index that is free."""
    if isinstance(shape, Either):
        pairs = [items(one) for one in shape.shapes]
        return either(*(key for key, _ in pairs)), either(*(value for _, value in pairs))
    if isinstance(shape, Many):
        return (shape.item if shape.by_value else VALUE), shape.item
    if isinstance(shape, Record):
        inner = either(*(one for _, one in shape.fields), shape.rest or UNBOUND)
        return VALUE, (ANYTHING if inner is UNBOUND or not shape.closed else inner)
    return VALUE, ANYTHING


def merged(one: Shape, two: Shape) -> Shape:
    """`object.union`: the fields of both."""
    if isinstance(one, Record) and isinstance(two, Record):
        fields = {**dict(one.fields), **dict(two.fields)}
        rest = either(one.rest or UNBOUND, two.rest or UNBOUND)
        return Record(
            name="record", fields=tuple(fields.items()), rest=None if rest is UNBOUND else rest
        )
    return one if two is ANYTHING else two if one is ANYTHING else either(one, two)


@cache
def case() -> Shape:
    """`input`: exactly what the closed schema has.

    It leaves the facts open; a name that is nearly that of one which sovgate gives is a slip.
    """
    root = json.loads(schema.load("case").text)
    known: dict[str, Shape] = {}

    def read(node: Mapping[str, JSON]) -> Shape:
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            if name not in known:
                known[name] = read(root["$defs"][name])
            return known[name]
        kinds = node.get("type", "string")
        kinds = {kinds} if isinstance(kinds, str) else set(kinds)
        if "object" in kinds:
            more = node.get("additionalProperties")
            fields = {name: read(one) for name, one in node.get("properties", {}).items()}
            rest = read(more) if isinstance(more, dict) else None
            return Record(name="record", fields=tuple(fields.items()), rest=rest)
        if "array" in kinds:
            return Many(name="many", item=read(node["items"]))
        return VALUE

    whole = read(root)
    assert isinstance(whole, Record)  # noqa: S101 - it is our own file
    given = tuple((name, VALUE) for name in FACTS)
    facts = Record(name="record", fields=given, rest=VALUE)
    return Record(name="record", fields=tuple((dict(whole.fields) | {"facts": facts}).items()))
