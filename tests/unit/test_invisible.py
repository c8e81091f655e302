"""Whatever a person cannot see in a file that they wrote, the error names and tells how to mend."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate.errors import ConfigError
from sovgate.formats import invisible
from sovgate.formats.sections import Section
from sovgate.formats.yaml12 import load

WANTED = "border"


def read(data: bytes) -> None:
    """A file with one key, and what a reader of it says."""
    section = Section(load(data, "sovgate.yaml"))
    section.integer("version", least=1, most=1)
    section.choice("mode", ("enforce", "warn"), "enforce")
    section.done()


@pytest.mark.parametrize(
    ("data", "line", "what", "fix"),
    [
        (b"version: 1\nx:\n\ty: 1\n", 3, "a tab", "blanks"),
        (b"version: 1\nx:\n-\ty\n-\t\tz: [\n", None, "a tab", "blanks"),
        ("version: 1\nmode\xa0: warn\n".encode(), 2, "mode", "U+00A0 (no-break space)"),
        ("version: 1\nmode: “warn”\n".encode(), 2, "mode", "U+201C (left double quotation"),
        ("version: 1\nmode： warn\n".encode(), 3, "U+FF1A (fullwidth colon)", "plain :"),
        ("version: 1\nmode: warn\u200b\n".encode(), 2, "mode", "U+200B (zero width space)"),
        ("version: 1\n\ufeffmode: warn\n".encode(), 2, "U+FEFF", "delete it"),
        ("version: 1\nmode: ｛warn｝\n".encode(), 2, "mode", "plain {"),
        ("version: 1\nmode: wa\u00adrn\n".encode(), 2, "mode", "U+00AD (soft hyphen)"),
        ("version: 1\nmode: warn\u3164\n".encode(), 2, "mode", "U+3164 (hangul filler)"),
        (b"version: 1\nmode: \x01\n", 2, "U+0001", "delete it"),
        (b"version: 1\nmode: caf\xe9\n", None, "line 2 is not UTF-8: byte 0xe9", "iconv"),
        ("version: 1\n".encode("utf-16"), None, "it is UTF-16", "iconv -f UTF-16"),
        (b'version: "1"\n', 1, "whole number, not text", "take the quotes away: version: 1"),
        (b"version: 1.0\n", 1, "whole number", "version: 1"),
        (b"version: true\n", 1, "whole number, not true/false", "version: 1"),
        (b"version: one\n", 1, "whole number, not text", "version: 1"),
        (b"version: 2\n", 1, "from 1 to 1", "version: 1"),
    ],
)
def test_the_character_is_named_with_what_to_do(
    data: bytes, line: int | None, what: str, fix: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(data)
    error = caught.value
    said = f"{error.what} | {error.fix}"
    assert what in said
    assert fix in said
    assert "cannot start any token" not in error.what
    if line is not None:
        assert error.where is not None
        assert error.where.line == line


def test_text_of_any_language_is_no_fault() -> None:
    for text in ("naïve", "数据", "данные", "données", "über", "日本語", "ข้อมูล", "עברית"):
        assert invisible.in_line(f"title: {text}") is None
        read(f"version: 1\n# {text}\n".encode())
    assert invisible.hidden("a: 1\r\nb: 2\r\n") == {}
    assert invisible.hidden("\ufeffa: 1\n") == {}


def test_a_mistake_elsewhere_keeps_its_own_fix() -> None:
    with pytest.raises(ConfigError) as caught:
        read("version: 1\n# “quoted”\nmode: wran\n".encode())
    assert caught.value.fix == "did you mean 'warn'?"


@given(st.text())
def test_any_text_is_looked_through(text: str) -> None:
    for number, said in invisible.hidden(text).items():
        assert number >= 1
        assert ": " in said
        assert said.isprintable()
