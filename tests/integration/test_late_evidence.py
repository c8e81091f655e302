"""Evidence that comes after the push: each answer says what was read, and what would help."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crossing import Crossing, make_crossing
from tests.integration.test_gate_command import csv
from tests.repositories import Repository

GATES = """
gates:
  accuracy: {at-least: 0.90, before: deploy}
"""


@pytest.fixture
def crossing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    """A model that was pushed and pulled, and then measured."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = make_crossing(tmp_path / "project")
    made.edit("datasets:\n", "    gitops: {repo: ../serving.git, path: overlays/eu}\ndatasets:\n")
    path = made.base / "sovgate.yaml"
    path.write_text(path.read_text() + GATES)
    csv(made.base / "good.csv", 960, 40)
    csv(made.base / "few.csv", 19, 1)
    made.json("gate", "pin", "accuracy", "--predictions", "good.csv")
    made.sign("public")
    return made


def gate(crossing: Crossing, model: str, rows: str, code: int = 0) -> None:
    words = ("gate", "accuracy", model, "--predictions", rows)
    crossing.json(*words, "--key", "keys/home.pem", code=code)


def promote(crossing: Crossing, *more: str, code: int = 0) -> str:
    code_, text = crossing.run("promote", "churn/1.0.0", "--zone", "eu", *more)
    assert code_ == code, text
    return " ".join(text.split())


def test_a_second_push_lists_what_is_there_and_names_what_is_later(crossing: Crossing) -> None:
    crossing.push()
    gate(crossing, "model", "good.csv")
    _, text = crossing.run(
        "push", "model", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"
    )
    said = " ".join(text.split())
    assert "is in zone eu already, the same and whole" in said
    assert "evidence provenance" in said
    assert "1 newer statement here is not part of it (gate): push a new version" in said
    assert "sovgate promote --model" in said
    again = crossing.push()
    assert [one["role"] for one in again["evidence"]] == ["provenance"]
    assert [one["role"] for one in again["later"]] == ["gate"]


def test_a_dry_run_says_it_too(crossing: Crossing) -> None:
    crossing.push()
    gate(crossing, "model", "good.csv")
    again = crossing.push("--dry-run")
    assert (again["already"], [one["role"] for one in again["later"]]) == (True, ["gate"])


def test_a_push_of_a_new_release_has_nothing_that_is_later(crossing: Crossing) -> None:
    gate(crossing, "model", "good.csv")
    assert crossing.push()["later"] == []
    assert crossing.push()["later"] == []


def test_promote_says_that_no_result_came_along_and_takes_it_from_beside_the_model(
    crossing: Crossing,
) -> None:
    crossing.push()
    crossing.pull()
    Repository(crossing.base.parent)
    gate(crossing, "pulled", "good.csv")
    said = promote(crossing, code=10)
    assert "no signed result of the gate accuracy is in the evidence that was read" in said
    assert "--model PATH" in said
    promote(crossing, "--model", "pulled")


def test_promote_names_the_result_that_it_saw_its_numbers_and_why_it_does_not_count(
    crossing: Crossing,
) -> None:
    crossing.json("gate", "pin", "accuracy", "--predictions", "few.csv")
    gate(crossing, "model", "few.csv", code=14)
    crossing.push()
    crossing.pull()
    Repository(crossing.base.parent)
    said = promote(crossing, code=10)
    assert "19 of 20 right, 0.95" in said
    assert "which is inconclusive" in said
    assert "no signed result" not in said
