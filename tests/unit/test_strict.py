"""Strict JSON: what a hostile writer may not get past the reader (RULES 3)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate import strict
from sovgate.errors import ExitCode, InternalError, Malformed

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-strict.MAX_INT, max_value=strict.MAX_INT)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="ascii"), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":2}', "duplicate key"),
        (b'{"a":{"b":1,"b":1}}', "duplicate key"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"-Infinity", "-Infinity"),
        (b"9007199254740992", "53"),
        (b"-9007199254740992", "53"),
        (b"9" * 5000, "53"),
        (b"-0", "53"),
        (b"1.0", "not an integer"),
        (b"1e400", "not an integer"),
        (b'"\xff"', "UTF-8"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udfff":1}', "surrogate"),
        (b"[" * 65 + b"1" + b"]" * 65, "deeper"),
        (b"[" * 200_000, "deeper"),
        (b'{"a":' * 100_000, "deeper"),
        (b"", "Expecting value"),
        (b"{} {}", "Extra data"),
        (b"\xef\xbb\xbf{}", "Expecting|BOM"),
        (b"{'a':1}", "Expecting"),
        (b"[" + b"[]," * 5_000_000 + b"0]", "values"),
        (b"[" + b"1," * 9_000_000 + b"0]", "values"),
        (b'{"a":1,}', "trailing comma|Expecting|Illegal"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_rule_03_hostile_json_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(Malformed) as caught:
        strict.loads(data)
    assert caught.value.exit_code is ExitCode.VERIFICATION
    import re

    assert re.search(why, caught.value.why or "")


def test_size_is_bounded_before_parsing() -> None:
    with pytest.raises(Malformed, match="invalid JSON"):
        strict.loads(b" " * 11, max_bytes=10)


def test_depth_up_to_the_limit_is_read() -> None:
    assert strict.loads(b"[" * 63 + b"1" + b"]" * 63)


def test_floats_only_where_asked_and_never_infinite() -> None:
    assert strict.loads(b"0.5", floats=True) == 0.5
    with pytest.raises(Malformed):
        strict.loads(b"1e400", floats=True)


@given(values)
def test_canonical_form_reads_back_and_is_unique(value: object) -> None:
    data = strict.canonical(value)
    assert strict.loads_canonical(data) == value
    assert strict.canonical(strict.loads(data)) == data


@given(values, st.integers(min_value=1, max_value=4))
def test_any_other_spelling_is_not_canonical(value: object, indent: int) -> None:
    spelled = json.dumps(value, indent=indent, ensure_ascii=False).encode()
    if spelled != strict.canonical(value):
        with pytest.raises(Malformed):
            strict.loads_canonical(spelled)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        strict.loads(data)
    except Malformed:
        return


@pytest.mark.parametrize("value", [1.5, {"é": 1}, {1: 2}, 2**53, b"x", {"a": {1, 2}}, "\ud800"])
def test_what_has_no_canonical_form_is_a_defect_of_the_writer(value: object) -> None:
    with pytest.raises((InternalError, Malformed)):
        strict.canonical(value)


def test_canonical_vector() -> None:
    # RFC 8785: sorted keys, no spaces, short escapes, everything else as UTF-8.
    value = {"b": [1, True, None], "a": 'é"\\\n\x01\x7f', "A": ""}
    assert (
        strict.canonical(value) == b'{"A":"","a":"\xc3\xa9\\"\\\\\\n\\u0001\x7f","b":[1,true,null]}'
    )


@pytest.mark.parametrize("text", ["QQ", "QQ=", "QR==", "QQ==\n", " QQ==", "Q Q=", "QQ=a", "-_=="])
def test_rule_03_base64_has_one_spelling(text: str) -> None:
    with pytest.raises(Malformed):
        strict.b64decode(text)


@given(st.binary(max_size=64))
def test_base64_reads_back(data: bytes) -> None:
    assert strict.b64decode(strict.b64encode(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T00:00:00Z",
        "2026-01-01T00:00:00+00:00",
        "2026-01-01 00:00:00Z",
        "",
        "2026-01-01T00:00:00.5Z",
        "2026-01-01T24:00:00Z",
        "２026-01-01T00:00:00Z",
    ],
)
def test_times_have_one_form(text: str) -> None:
    with pytest.raises(Malformed):
        strict.parse_time(text)


def test_fields_refuse_missing_extra_and_mistyped() -> None:
    with pytest.raises(Malformed, match=r"x\.a is missing"):
        strict.Fields({}, "x").text("a")
    with pytest.raises(Malformed, match="unknown fields: b"):
        fields = strict.Fields({"a": "1", "b": 2}, "x")
        fields.text("a")
        fields.done()
    for bad in (True, "1", -1, None):
        with pytest.raises(Malformed, match="not an integer"):
            strict.Fields({"a": bad}, "x").integer("a")
    with pytest.raises(Malformed, match="is 'True'"):
        strict.Fields({"a": True}, "x").exactly("a", 1)
