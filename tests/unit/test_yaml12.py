"""YAML 1.2, strictly: what a person reads is what we read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate.errors import ConfigError
from sovgate.formats.yaml12 import Decimal, load


def test_no_is_norway_and_on_is_a_word() -> None:
    value = load(b"places: [DE, NO, SE, yes, off]\non: push\n", "f").value
    assert value == {"places": ["DE", "NO", "SE", "yes", "off"], "on": "push"}


def test_the_core_schema() -> None:
    text = b"[null, ~, , true, FALSE, 12, -3, 0o17, 0x1F, 1.5, 1e3, '1', \"true\", 1_000, 0777]"
    value = load(text.replace(b", ,", b","), "f").value
    assert value == [
        None,
        None,
        True,
        False,
        12,
        -3,
        15,
        31,
        Decimal("1.5"),
        Decimal("1e3"),
        "1",
        "true",
        "1_000",
        777,
    ]


def test_every_value_knows_its_line() -> None:
    document = load(b"a: 1\nb:\n  - x\n  - c: 2\n", "dir/f.yaml")
    assert str(document.where(("b", 1, "c"))) == "dir/f.yaml:4:5"
    assert str(document.where(("b", 7, "nothing"))) == "dir/f.yaml:2:1"


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        (b"a: 1\nb: 2\na: 3\n", "there twice", 3),
        (b"a: &x [1]\n", "anchors", 1),
        (b"a: 1\nb: *x\n", "aliases|undefined", 2),
        (b"a: !!python/object/apply:os.system [x]\n", "tags", 1),
        (b"a: !local x\n", "tags", 1),
        (b"<<: {a: 1}\n", "merge keys", 1),
        (b"--- 1\n--- 2\n", "more than one document", 2),
        (b"%YAML 1.1\n---\na: 1\n", "YAML 1.2", 1),
        (b"? [a]\n: b\n", "a key must be a word", 1),
        (b"a: .nan\n", "usable number", 1),
        (b"a: [1\n", "invalid YAML", 2),
        (b"a: \x00\n", "invalid YAML", None),
        (b"\xff\xfe", "UTF-8", None),
        (b"[" * 100_000, "nested deeper", 1),
        (b"- " * 100_000, "nested deeper", 1),
        (b"a: [" + b"x," * 200_001 + b"]", "more than 200000", 1),
        (b"#" * (5 * 1024 * 1024), "larger than", None),
    ],
)
def test_hostile_yaml_is_refused_with_its_line(text: bytes, what: str, line: int | None) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        load(text, "f.yaml")
    assert caught.value.where is not None
    if line is not None:
        assert caught.value.where.line == line


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (b"a:\n\tb: 1\n", "type blanks"),
        (b"a: 1\n \tb: 1\n", "type blanks"),
        (b'a: "x\n', "missing quote"),
        (b"a: [1\n", "bracket"),
        (b"a: \x00\n", "delete it"),
        (b"a: 'x\xc2\x85\r\r", "missing quote"),
    ],
)
def test_what_is_no_yaml_has_a_hint(text: bytes, hint: str) -> None:
    with pytest.raises(ConfigError, match="invalid YAML") as caught:
        load(text, "f.yaml")
    assert hint in str(caught.value.fix)


@given(
    st.binary(max_size=200)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=200).map(str.encode)
)
def test_arbitrary_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        load(data, "f")
    except ConfigError:
        return
