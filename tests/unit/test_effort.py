"""What `make test` does of what is exhaustive: a part, never nothing, and in time all of it."""

from __future__ import annotations

import pytest

from tests import effort


def test_without_some_all_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort._Asked, "one_of", 1)
    assert effort.some("abc", by=7) == "abc"
    assert effort.examples(7) == 7


@pytest.mark.parametrize("length", [1, 2, effort.PART, 3 * effort.PART + 1])
def test_each_part_is_something_and_all_parts_are_all(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(effort._Asked, "one_of", effort.PART)
    items = range(length)
    parts = [effort.some(items, by=name) for name in range(99)]
    assert all(0 < len(part) <= length // effort.PART + 1 for part in parts)
    assert set().union(*parts) == set(items)
    assert effort.some([]) == []
    assert 0 < effort.examples(3) < 3
