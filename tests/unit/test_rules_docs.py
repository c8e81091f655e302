"""docs/rules.md holds each rule that code and tests cite, and tests guard those it calls kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
_RULE = re.compile(
    r"^### (\d+)\. .+\n\n(.+)\n\n\*\*(Kept|Kept in part|Not yet)\*\*(: .+?|)\.(?: Tests: (.+)\.)?$",
    re.MULTILINE,
)
#: number -> (text, status, what is missing, test files)
RULES = {int(m[1]): m.groups()[1:] for m in _RULE.finditer(PAGE)}
_CITED = re.compile(r"\bRULES (\d+(?:(?:, | and )\d+)*)|\btest_rule_(\d+)_")
FOLDERS = ("sovgate", "tests", "policies", "demo", "scripts", "bench", ".github")
SUFFIXES = {".py", ".rego", ".sh", ".yml", ".yaml", ""}


def cited(path: Path) -> set[int]:
    text = path.read_text(encoding="utf-8", errors="replace")
    return {
        int(number)
        for several, one in _CITED.findall(text)
        for number in re.findall(r"\d+", several or one)
    }


def files(*folders: str) -> list[Path]:
    return [
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix in SUFFIXES
    ]


TESTS = {
    path.relative_to(ROOT / "tests").as_posix(): numbers
    for path in files("tests")
    if path.name.startswith("test_") and (numbers := cited(path))
}


def test_the_page_has_every_rule_once_and_in_order() -> None:
    assert list(RULES) == list(range(1, len(RULES) + 1))
    assert len(RULES) == len(re.findall(r"^### ", PAGE, re.MULTILINE)) == 44


def test_every_rule_that_is_cited_is_on_the_page() -> None:
    found = {path: cited(path) - set(RULES) for path in files(*FOLDERS)}
    assert {path: numbers for path, numbers in found.items() if numbers} == {}
    assert sum(len(cited(path)) for path in files("sovgate")) > 50  # the pattern still finds them


@pytest.mark.parametrize("number", RULES)
def test_a_rule_is_kept_as_far_as_the_page_says(number: int) -> None:
    _, status, missing, named = RULES[number]
    guarding = {path for path, numbers in TESTS.items() if number in numbers}
    if status == "Not yet":
        assert not guarding, f"{guarding} guard it: say how far it is kept"
        assert not missing
        assert not named
        return
    assert bool(missing) == (status == "Kept in part")
    listed = set(re.findall(r"`([^`]+)`", named or ""))
    assert listed
    assert listed <= guarding, "docs/rules.md names tests that do not cite the rule"


def test_where_readers_find_the_rules_is_said() -> None:
    assert "docs/rules.md" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_code_cites_nothing_that_readers_do_not_have() -> None:
    outside = re.compile(r"\b(?:DESIGN|FACTS|STYLE|COMPONENTS)(?:\.md| \d)")
    assert [
        path for path in files(*FOLDERS) if outside.search(path.read_text("utf-8", "replace"))
    ] == []
