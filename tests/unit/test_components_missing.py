"""A component that is not there is a skip with its reason, and in CI a failure."""

from __future__ import annotations

import pytest

from tests import components


def test_a_missing_program_says_how_to_get_it() -> None:
    with pytest.raises(components.MissingError, match=r"no such-tool: .*to get it: make peers"):
        components.program("such-tool")


def test_a_missing_component_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOVGATE_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such-tool"):
        components.absent(components.MissingError("no such-tool", get="make such-tool"))


def test_a_missing_component_fails_where_all_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOVGATE_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="no such-tool"):
        components.absent(components.MissingError("no such-tool", get="make such-tool"))
