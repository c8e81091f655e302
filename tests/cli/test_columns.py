"""What is printed for people fits a terminal of 80 columns, or can be copied whole."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from sovgate.cli import _layout, main
from tests.crossing import Crossing, make_crossing

KEY = ("--key", "keys/home.pem")
PUSH = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
#: What a person copies: the terminal breaks the line, and the copy is whole.
COPIED = re.compile(r"\b(?:sovgate|helm|aws|find) [a-z-]+")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def crossing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("CI", "1")  # no bar: it draws over itself
    monkeypatch.delenv("NO_COLOR", raising=False)
    return make_crossing(tmp_path / "project")


def seen(crossing: Crossing, *words: object, code: int = 0) -> list[str]:
    """The lines that a person sees, without colours."""
    screen = Terminal()
    with (
        contextlib.chdir(crossing.base),
        contextlib.redirect_stdout(screen),
        contextlib.redirect_stderr(screen),
        pytest.raises(SystemExit) as stop,
    ):
        main([str(word) for word in words])
    text = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert stop.value.code == code, text
    return text.split("\n")


def too_long(lines: list[str]) -> list[str]:
    """Lines that a terminal would break within a word that belongs to others."""
    long = [line for line in lines if len(line) > 80 and not COPIED.search(line)]
    # A label, and one word that is longer than the room beside it.
    lead = re.compile(r"^(?:[✓✗] |[ │├└─|`→]*[a-zA-Z -]*  |  → )")
    return [line for line in long if len(lead.sub("", line).split()) > 1]


@pytest.mark.parametrize("colour", [True, False])
def test_every_output_fits_80_columns_or_is_copied_whole(
    crossing: Crossing, colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    model = crossing.model
    story: list[tuple[tuple[object, ...], int]] = [
        (("sign", model, *KEY), 0),
        (("sbom", model, *KEY), 0),
        (("verify", model), 0),
        (("check", model, *PUSH), 0),
        (("push", model, *PUSH, "--dry-run"), 0),
        (("push", model, *PUSH), 0),
        (("push", model, *PUSH, "-v"), 0),
        (("pull", "churn/1.0.0", "--zone", "eu", "-o", "got"), 0),
        (("encrypt", model, "--to", "eu", "-o", "sealed"), 0),
        (("audit", "verify"), 0),
        (("audit", "show", "churn/1.0.0"), 0),
        (("policy", "list"), 0),
        (("regions", "show", "aws-eusc:eusc-de-east-1"), 0),
        (("keys", "show", "keys/eu.pem"), 0),
        (("lint",), 0),
        (("doctor", "--offline"), 0),
        (("report",), 2),
        (("pull", "churn/9.0.0", "--zone", "eu", "-o", "x"), 21),
        (("init", "new", "--pattern", "central", "--local"), 0),
    ]
    for words, code in story:
        assert too_long(seen(crossing, *words, code=code)) == [], words
    (model / "more").write_text("nobody signed this")
    assert too_long(seen(crossing, "verify", model, code=11)) == []


def test_what_few_need_comes_with_v(crossing: Crossing) -> None:
    labels = ("for key", "number", "took")

    def shown(*words: object) -> set[str]:
        lines = seen(crossing, *words)
        return {label for label in labels if any(line.startswith(f"  {label} ") for line in lines)}

    push = ("push", crossing.model, *PUSH)
    assert shown(*push) == set()
    assert shown(*push, "-v") == set(labels)
    pull = ("pull", "churn/1.0.0", "--zone", "eu", "-o", "got")
    assert shown(*pull) == set()
    assert shown(*pull, "-v") == {"took"}
    # Programs always have them.
    told = crossing.json(*push)
    assert told["recipient"]["key-id"]
    assert told["sequence"] == 1
    assert told["steps"]


@pytest.mark.parametrize(
    "text",
    [
        "run it again with: sovgate push build/model --release churn/1.0.0 --zone a --to b",
        "+    sovgate.dev/manifest: a b c d e f g h i j k l m n o p q r s t u v w x y z",
        "sha256:" + "ab" * 32,
    ],
)
def test_what_is_copied_is_never_broken(text: str) -> None:
    assert _layout.fold(text, 40) == [text]


def test_a_sentence_is_broken_between_words_alone() -> None:
    text = "sovgate and the zone's own-file say that this may not cross the border at all"
    lines = _layout.fold(text, 30)
    assert len(lines) > 2
    assert max(map(len, lines)) <= 30
    assert " ".join(lines) == text


def test_a_log_has_no_end_of_a_line() -> None:
    style = _layout.Style(io.StringIO())
    rows = (("why", "word " * 60 + "end"),)
    assert len(_layout.aligned(rows, style, str)) == 1
