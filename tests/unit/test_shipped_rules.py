"""Our own rules are vetted when they are written; a run takes what was written down of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sovgate import files
from sovgate.engines import shipped, vet
from sovgate.errors import ConfigError
from sovgate.pipeline.decide.policies import shipped_sources


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the rules, as if it were installed."""
    copy = tmp_path / "policies"
    shutil.copytree(files.resource_dir("policies"), copy)
    monkeypatch.setattr(files, "resource_dir", lambda name: tmp_path / name)
    return copy


@pytest.fixture
def vetting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how often rules are really vetted."""
    times: list[int] = []
    real = vet.vet

    def counted(*args: Any, **more: Any) -> Any:
        times.append(len(args[0]))
        return real(*args, **more)

    monkeypatch.setattr(vet, "vet", counted)
    return times


def test_what_is_written_down_is_what_vetting_says(folder: Path, vetting: list[int]) -> None:
    read = shipped_sources()
    assert shipped.vetted(read) == shipped.vet_anew(read)
    assert vetting == [len(read)]  # by the second of the two alone


def test_a_rule_that_was_changed_is_vetted(folder: Path, vetting: list[int]) -> None:
    rule = folder / "classes.rego"
    rule.write_text(rule.read_text() + "\n# a word more\n")
    found = shipped.vetted(shipped_sources())
    assert len(vetting) == 1
    assert found == shipped.vet_anew(shipped_sources())
    rule.write_text(rule.read_text() + '\ncalls if http.send({"method": "get", "url": "x"})\n')
    with pytest.raises(ConfigError):
        shipped.vetted(shipped_sources())


def test_a_rule_that_was_added_or_taken_away_has_all_of_them_vetted(
    folder: Path, vetting: list[int]
) -> None:
    (folder / "classes.rego").unlink()
    shipped.vetted(shipped_sources())
    (folder / "another.rego").write_text("package user.another\n")
    with pytest.raises(ConfigError):
        shipped.vetted(shipped_sources())
    assert len(vetting) == 2


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "rules": [{}]})),
        lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "format": "x"})),
        lambda path: path.write_text(path.read_text().replace('"module"', '"modules"')),
    ],
)
def test_without_what_is_written_down_they_are_vetted(
    folder: Path, vetting: list[int], harm: Any
) -> None:
    harm(folder / shipped.VETTED)
    read = shipped_sources()
    assert shipped.vetted(read) == shipped.vet_anew(read)
    assert len(vetting) == 2
