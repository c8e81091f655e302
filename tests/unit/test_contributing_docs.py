"""CONTRIBUTING.md: what it sends a stranger to is there, under the name that it gives.

Reads tracked files only.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
QUOTED = re.compile(r"`([^`]+)`")
ROWS = {
    cells[0]: cells[1:]
    for cells in (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.split("| to add |")[1].split("\n\n")[0].splitlines()[2:]
    )
}


def test_the_table_has_the_tasks_of_a_stranger() -> None:
    assert {"a key service", "a store", "a gate", "a policy rule", "a command"} <= set(ROWS)


@pytest.mark.parametrize("task", ROWS)
def test_each_file_is_there_and_holds_what_is_named(task: str) -> None:
    for cell in ROWS[task]:
        for path in (word for word in QUOTED.findall(cell) if "/" in word):
            folder = re.split(r"/(?:HEADING|NAME)\b|/NAME_", path)[0]
            assert (ROOT / folder).exists(), path
        for name, path in re.findall(r"`([A-Z_]+)` in `([^`]+)`", cell):
            text = (ROOT / path).read_text(encoding="utf-8")
            assert re.search(rf"^{name}\b.*= ", text, re.MULTILINE), f"{name} in {path}"


def test_every_other_file_that_it_names_is_there() -> None:
    words = (word.rstrip(":") for word in QUOTED.findall(PAGE))
    for word in words:
        if re.fullmatch(r"[\w./-]+/[\w./-]+\.(py|md|svg|toml|rego)", word) and "NAME" not in word:
            assert (ROOT / word).exists(), word


def test_each_page_stands_once_in_the_navigation() -> None:
    def pages(part: object) -> list[str]:
        if isinstance(part, str):
            return [part]
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
        return [page for one in inner for page in pages(one)]

    named = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert len(named) > 20
    assert sorted(named) == sorted(set(named))
    for page in named:
        assert (ROOT / "docs" / page).exists(), page
