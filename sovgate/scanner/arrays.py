"""Where a NumPy array ends, and whether it may hold Python objects, by its header.

Runs in the child. Pure; standard library alone. The header is a literal of Python; compiling
anything is forbidden here, so it is read as the JSON that it nearly is.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

MAGIC = b"\x93NUMPY"
#: No dtype of objects is spelled without one of these: "|O", "i4,O", "object", and by escapes,
#: since a header is read as a literal of Python. Names of fields may have them too.
_OBJECT_DTYPE = re.compile(rb"O|object|\\")
_DTYPE = re.compile(r"[<>|=]?([?a-zA-Z])(\d{0,9})(?:\[[\w/]*\])?", re.ASCII)
_SIZES = {"?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "l": 8, "L": 8, "q": 8, "Q": 8}
_SIZES |= {"e": 2, "f": 4, "d": 8, "F": 8, "D": 16, "m": 8, "M": 8, "U": 0, "S": 0, "V": 0, "a": 0}
#: NumPy has 64 dimensions at most.
_DIMENSIONS, _DEPTH = 64, 16
_TO_JSON = str.maketrans("()'", '[]"')


def _bounds(head: bytes) -> tuple[int, int] | None:
    """Where its header begins and ends; None where it goes on behind `head`."""
    start = 10 if head[6:7] == b"\1" else 12
    end = start + int.from_bytes(head[8:start], "little")
    return None if len(head) < 12 or end > len(head) else (start, end)


def may_hold_objects(head: bytes) -> bool:
    """Of a header that goes on behind `head`, nobody here knows."""
    if len(head) < 12:
        return False
    bounds = _bounds(head)
    if bounds is None:
        return True
    # Where each type is a known one, it was the name of a field.
    return _OBJECT_DTYPE.search(head, *bounds) is not None and size(head) is None


def size(head: bytes) -> int | None:
    """Of the whole array, with its header; None where that does not read."""
    if len(head) < 12:
        return len(head)
    bounds = _bounds(head)
    if bounds is None:
        return None
    text = head[bounds[0] : bounds[1]].decode("latin-1")
    if '"' in text or "\\" in text:  # then a literal of Python and this JSON may differ
        return None
    text = text.translate(_TO_JSON)
    text = re.sub(r"(\d)L\b", r"\1", text)  # a number of Python 2
    text = re.sub(r",\s*([\]}])", r"\1", text).replace("True", "true").replace("False", "false")
    try:
        header = json.loads(text)
        count = math.prod(_numbers(header["shape"]))
        return bounds[1] + count * _item(header["descr"], 0)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _numbers(shape: Any) -> list[int]:
    numbers = shape if isinstance(shape, list) else [shape]
    if len(numbers) > _DIMENSIONS or not all(
        type(number) is int and 0 <= number < 2**63 for number in numbers
    ):
        raise ValueError(shape)
    return numbers


def _item(descr: Any, depth: int) -> int:
    """Of one item: a name of a dtype, one with a shape, or a list of fields."""
    if depth > _DEPTH:
        raise ValueError
    if isinstance(descr, str):
        known = _DTYPE.fullmatch(descr)
        if known is None:
            raise ValueError(descr)
        letter, digits = known.groups()
        if not digits:
            return _SIZES[letter]
        if letter in "mM":
            return 8
        if letter not in "?biufcUSVa":
            raise ValueError(descr)
        return int(digits) * (4 if letter == "U" else 1)
    if not isinstance(descr, list):  # NumPy takes the keys of a dictionary for fields
        raise ValueError(descr)
    if len(descr) == 2 and not isinstance(descr[0], list):
        return _item(descr[0], depth + 1) * math.prod(_numbers(descr[1]))
    total = 0
    for field in descr:
        if not isinstance(field, list) or len(field) not in (2, 3):
            raise ValueError(field)
        shape = _numbers(field[2]) if len(field) == 3 else []
        total += _item(field[1], depth + 1) * math.prod(shape)
    return total
