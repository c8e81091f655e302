"""Our own rules are vetted when they are written; a run takes what was written down of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sovgate import files
from sovgate.engines import vet
from sovgate.errors import ConfigError
from sovgate.pipeline.decide import policies


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
    read = policies.shipped_sources()
    assert policies._shipped() == policies.vet_shipped(read)
    assert vetting == [len(read)]  # by the second of the two alone


def test_a_rule_that_was_changed_is_vetted(folder: Path, vetting: list[int]) -> None:
    rule = folder / "classes.rego"
    rule.write_text(rule.read_text() + "\n# a word more\n")
    found = policies._shipped()
    assert len(vetting) == 1
    assert found == policies.vet_shipped(policies.shipped_sources())
    rule.write_text(rule.read_text() + '\ncalls if http.send({"method": "get", "url": "x"})\n')
    with pytest.raises(ConfigError):
        policies._shipped()


def test_a_rule_that_was_added_or_taken_away_has_all_of_them_vetted(
    folder: Path, vetting: list[int]
) -> None:
    (folder / "classes.rego").unlink()
    policies._shipped()
    (folder / "another.rego").write_text("package user.another\n")
    with pytest.raises(ConfigError):
        policies._shipped()
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
    harm(folder / policies.VETTED)
    read = policies.shipped_sources()
    assert policies._shipped() == policies.vet_shipped(read)
    assert len(vetting) == 2
