"""Secrets are looked for where long words are: none is lost by that, and none is found later."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import Any

import pytest

from sovgate.formats import long_words, secrets
from sovgate.formats.long_words import BEFORE, LETTERS, LONG, near
from sovgate.formats.secret_forms import SPACED
from tests.effort import effort, examples

PATTERNS = [*secrets.PATTERNS, secrets._AWS, ("a token", secrets._JWT)]
WORDS = [b"is", b"the", b"of", b"characteristics", b"0.123456", b"{", b"\n", b"'s", b"a_b-c", b"="]


def parsed(pattern: re.Pattern[bytes]) -> list[Any]:
    return list(re._parser.parse(pattern.pattern, pattern.flags))  # type: ignore[attr-defined]


def choices(options: Iterable[Any]) -> set[int]:
    """The letters that a class has."""
    found: set[int] = set()
    for kind, value in options:
        if str(kind) == "LITERAL":
            found.add(value)
        elif str(kind) == "RANGE":
            found |= set(range(value[0], value[1] + 1))
        else:
            assert str(kind) == "CATEGORY", kind
            text = {"CATEGORY_WORD": rb"\w", "CATEGORY_SPACE": rb"\s", "CATEGORY_NOT_SPACE": rb"\S"}
            found |= {n for n in range(128) if re.match(text[str(value)], bytes([n]))}
    return found


def letters_of(kind: str, value: Any) -> set[int]:
    if kind == "LITERAL":
        return {value}
    if kind in ("NOT_LITERAL", "ANY"):
        return set(range(256)) - {value}
    if str(value[0][0]) == "NEGATE":
        return set(range(128)) - choices(value[1:])
    return choices(value)


def example(tree: list[Any], dice: random.Random) -> bytes:
    """Something that the pattern may find: of each repetition the fewest, or a few more."""
    made = b""
    for kind, value in tree:
        name = str(kind)
        if name in ("LITERAL", "NOT_LITERAL", "IN", "ANY"):
            made += bytes([dice.choice(sorted(letters_of(name, value)))])
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, inner = value
            count = dice.choice([least, least, min(most, least + 3)])
            made += b"".join(example(list(inner), dice) for _ in range(count))
        elif name == "SUBPATTERN":
            made += example(list(value[-1]), dice)
        elif name == "BRANCH":
            made += example(list(dice.choice(value[1])), dice)
        else:
            assert name in ("ASSERT_NOT", "AT"), name
    return made


def sure(tree: list[Any]) -> list[tuple[int, int, int]]:
    """A pattern as pieces: (letters at least that all are LETTERS, or 0; width at most; whether
    nothing but letters may stand there)."""
    pieces: list[tuple[int, int, int]] = []
    for kind, value in tree:
        name = str(kind)
        if name in ("LITERAL", "NOT_LITERAL", "IN", "ANY"):
            only = letters_of(name, value) <= set(LETTERS)
            pieces.append((int(only), 1, int(only)))
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, inner = value
            within = sure(list(inner))
            only = all(piece[2] for piece in within)
            fewest = sum(piece[0] for piece in within) * least if only else 0
            pieces.append((fewest, sum(piece[1] for piece in within) * int(most), int(only)))
        elif name == "SUBPATTERN":
            pieces += sure(list(value[-1]))
        elif name == "BRANCH":
            ways = [sure(list(way)) for way in value[1]]
            only = all(piece[2] for way in ways for piece in way)
            fewest = min(sum(piece[0] for piece in way) for way in ways) if only else 0
            widest = max(sum(piece[1] for piece in way) for way in ways)
            pieces.append((fewest, widest, int(only)))
    return pieces


def long_word_at(pattern: re.Pattern[bytes]) -> int | None:
    """How far from its beginning a match has a long word, at most; None where it may have none."""
    before = run = begun = 0
    for least, most, only in sure(parsed(pattern)):
        if only:
            run += least
            if run >= LONG:
                return begun
        else:
            run = 0
        before += min(most, LONG) if only else most  # one that is longer is a long word itself
        if not only:
            begun = before
    return None


@pytest.mark.parametrize("number", range(len(PATTERNS)))
def test_whatever_a_pattern_finds_has_a_long_word_near_its_beginning(number: int) -> None:
    what, pattern = PATTERNS[number]
    at = long_word_at(pattern)
    if what in SPACED:
        return
    assert at is not None, what
    assert at <= BEFORE


def test_what_is_looked_for_everywhere_is_what_has_none() -> None:
    """Each kind that is spared the short way has a pattern that needs it."""
    none = {what for what, pattern in secrets.PATTERNS if long_word_at(pattern) is None}
    assert none == SPACED


def prose(dice: random.Random, size: int) -> bytes:
    return b" ".join(dice.choices(WORDS, k=size // 5))


def slowly(data: bytes, monkeypatch: pytest.MonkeyPatch) -> object:
    """What is found where all of it is looked through for each word."""
    with monkeypatch.context() as patch:
        patch.setattr(long_words, "near", lambda data: data)
        patch.setattr(secrets, "_MARKED", [(b"", *rest) for _, *rest in secrets._MARKED])
        return secrets._find(data, 0)


@pytest.mark.parametrize("number", range(len(PATTERNS)))
def test_a_secret_is_found_wherever_it_stands_in_prose(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    what, pattern = PATTERNS[number]
    dice, seen = random.Random(number), 0
    for _ in range(40):
        made = example(parsed(pattern), dice)
        if pattern.fullmatch(made) is None:
            continue
        data = prose(dice, dice.choice([0, 900, 1100, 5000])) + b" " + made + b" "
        data += prose(dice, dice.choice([0, 5000]))
        expected = slowly(data, monkeypatch)
        assert secrets._find(data, 0) == expected
        seen += expected is not None
        if seen >= 3:
            break
    assert seen or what in ("an AWS secret key", "a token"), what


@pytest.mark.parametrize("seed", range(examples(60)))
def test_the_short_way_finds_what_the_long_way_finds(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beginnings, halves and whole ones of secrets, in words long and short, all mixed."""
    dice = random.Random(seed)
    pieces = []
    for _ in range(dice.choice([1, 5, 30])):
        pieces.append(prose(dice, dice.choice([5, 500, 3000])))
        made = example(parsed(dice.choice(PATTERNS)[1]), dice)
        pieces.append(made[: dice.choice([len(made), len(made) // 2, 12])])
        pieces.append(bytes(dice.choices(LETTERS, k=dice.choice([5, 19, 20, 21, 2000]))))
    for joint in (b" ", b"", b"\n"):
        data = joint.join(pieces)
        assert secrets._find(data, 0) == slowly(data, monkeypatch)


@pytest.mark.parametrize("seed", range(examples(60)))
def test_what_is_near_has_each_long_word_and_what_is_before_it(seed: int) -> None:
    dice = random.Random(seed)
    gaps = [0, 1, 19, 20, 21, 1003, 1004, 1005, BEFORE, BEFORE + 1, BEFORE + 20]
    data = b""
    for _ in range(20):
        data += b"." * dice.choice([*gaps, 20_000])
        data += bytes(dice.choices(LETTERS, k=dice.choice([20, 21, 40, dice.choice(gaps)])))
    found = near(data + b"." * 200_000)
    assert len(found) < 200_000
    for match in re.finditer(b"[" + re.escape(LETTERS) + b"]{%d,}" % LONG, data):
        assert data[max(0, match.start() - BEFORE) : match.end()] in found


def test_a_text_without_long_words_is_near_nothing() -> None:
    assert near(prose(random.Random(0), 100_000)) == b""
    assert near(b"a" * 19 + b" " + b"b" * 19) == b""
    assert near(b"a" * 20) == b"a" * 20


def test_no_text_makes_it_slow() -> None:
    for word in (b"a" * 20 + b" ", b"a" * 20 + b"." * 1100, b"a", b"a" * 19 + b" ", b"."):
        data = word * (2_000_000 // len(word))
        with effort(most=20_000):
            near(data)
