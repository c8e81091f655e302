"""RULES 34: headers of NumPy arrays are read as NumPy reads them, or count."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from sovgate.scanner import arrays
from sovgate.scanner.names import HEAD
from tests.effort import effort


def array(header: str) -> bytes:
    text = header.encode("latin-1") + b"\n"
    return arrays.MAGIC + b"\1\0" + struct.pack("<H", len(text)) + text


def saved(*fields: tuple[object, ...]) -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(3, dtype=list(fields)))
    return out.getvalue()


def read(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[np.void]]:
    """As NumPy does it."""
    found: tuple[tuple[int, ...], bool, np.dtype[np.void]]
    found = np.lib.format.read_array_header_1_0(io.BytesIO(data[8:]))
    return found


@pytest.mark.parametrize(
    "fields",
    [
        (("Open", "<f8"), ("Offset", "<i4")),
        (("object_id", "<i8"), ("score", "<f4")),
        (("O", "<f4"), ("x", "<U4", (2, 3))),
        (("a", [("O2", "<f4"), ("b", "<i2")]), ("c", "|b1")),
        (("O", "<f4"),),
    ],
)
def test_a_field_may_be_called_like_an_object(fields: tuple[tuple[object, ...], ...]) -> None:
    data = saved(*fields)
    assert not arrays.may_hold_objects(data)
    assert arrays.size(data) == len(data)


FIRST, LAST = "'fortran_order': False, 'shape': (1,)", "'shape': (1,), 'fortran_order': False}"
#: Of each Python reads another type or shape than JSON would.
TWO_WAYS = (
    f"{{'descr': '|O', 'shape': \"', 'descr': '<f4', 'z': '\", {LAST}",
    f"{{'descr': '<f4', 'shape': (0,), 'fortran_order': \"', 'shape': (99,), 'z': '\", {LAST}",
    f"{{'descr': '|\\x4f', {FIRST}}}",
    f"{{'descr': '|' 'O', {FIRST}}}",
    f"{{'descr': 'i4,O', {FIRST}}}",
    f"{{'descr': 'object', {FIRST}}}",
    f"{{'descr': [('a', '<f4'), ('b', '|O')], {FIRST}}}",
    f"{{'descr': [('a', ('|O', (2,)))], {FIRST}}}",
    f"{{'descr': (('a', '<f4'), ('b', '|O')), {FIRST}}}",
    f"{{'descr': {{'xO': 1, 'xa': 2, 'xb': 3}}, {FIRST}}}",
    f"{{'descr': {{'names': ['a'], 'formats': ['O']}}, {FIRST}}}",
)


@pytest.mark.parametrize("header", TWO_WAYS)
def test_rule_34_a_header_that_reads_in_two_ways_counts(header: str) -> None:
    data = array(header)
    assert arrays.may_hold_objects(data) or arrays.size(data) is None


def test_some_of_them_are_arrays_of_objects_to_numpy() -> None:
    kinds = [read(array(header))[2].hasobject for header in (TWO_WAYS[0], *TWO_WAYS[2:7])]
    assert kinds == [True] * 6


def test_endless_shapes_cost_little() -> None:
    for shape in ("1," * 20_000, "9223372036854775807," * 2_000, "[" * 20_000):
        data = array(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}")
        with effort(most=1000):
            assert arrays.size(data[:HEAD]) is None
    shape = "4," * 20
    data = array(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}")
    assert arrays.size(data) == len(data) + 4 * 4**20
