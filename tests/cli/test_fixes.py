"""A fix that is followed to the letter makes it better; and each reason is said once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.crossing import Crossing, make_crossing


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    return make_crossing(tmp_path / "project")


def refused(crossing: Crossing, *words: object, code: int) -> dict[str, str]:
    error: dict[str, str] = crossing.json(*words, code=code)["error"]
    return error


@pytest.mark.parametrize(
    ("written", "what", "fix"),
    [
        ("home -> EU", "there is no zone 'EU'", "did you mean 'eu'?"),
        ("HOME -> eu", "there is no zone 'HOME'", "did you mean 'home'?"),
        ("home->e.u", "there is no zone 'e.u'", "did you mean 'eu'?"),
        ("home -> mars", "there is no zone 'mars'", "write one of: eu, home"),
        ("home => eu", "'home => eu' is not a crossing", "write: home -> eu"),
        ("home to eu", "'home to eu' is not a crossing", "write: home -> eu"),
        ("home", "'home' is not a crossing", "write: from -> to"),
    ],
)
def test_a_crossing_that_is_spelt_wrongly(
    crossing: Crossing, written: str, what: str, fix: str
) -> None:
    crossing.edit("weights: {allow: [home -> eu]}", f'weights: {{allow: ["{written}"]}}')
    (finding,) = crossing.json("lint", code=3)["findings"]
    assert (finding["message"], finding["fix"]) == (what, fix)


def test_the_fix_of_a_border_that_is_missing_lets_it_pass(crossing: Crossing) -> None:
    crossing.edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    words = ("check", crossing.model, "--zone", "home", "--to", "eu", "--release", "churn/1.0.0")
    denied = crossing.json(*words, code=10)
    (fix,) = [deny["fix"] for deny in denied["denies"]]
    entry = re.search(r"add `([^`]+)`", fix)
    assert entry is not None
    crossing.edit("weights: {allow: []}", f"weights: {{allow: [{entry[1]}]}}")
    crossing.json(*words)


def test_a_release_names_the_step_that_stopped_it_and_each_reason_once(crossing: Crossing) -> None:
    crossing.edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    crossing.edit("public: {category: public, stays-in: []}", "public: {stays-in: [US]}")
    words = ("release", crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    found = crossing.json(*words, "--dataset", "public", code=10)
    assert found["stopped-at"] == "check"
    assert [step["outcome"] for step in found["steps"] if step["name"] == "check"] == ["denied"]
    code, said = crossing.run(*words, "--dataset", "public")
    assert code == 10
    assert "stopped at: check in eu; done before: " in said
    assert "check" not in said.partition("done before: ")[2].partition("\n")[0]
    for rule in ("weights-inherit: ", "border: "):
        assert said.count(rule) == 1, said
    assert crossing.objects("releases/") == []
    # The refusal is in the log of the zone that asked.
    code, said = crossing.run("audit", "verify", "--zone", "home", "--strict")
    assert "denied" in said


@pytest.mark.parametrize(
    "words",
    [
        ("push", "model", "--release", "other/1.0.0", "--zone", "home", "--to", "eu"),
        ("check", "model", "--release", "other/1.0.0", "--zone", "home", "--to", "eu"),
        ("encrypt", "model", "--release", "other/1.0.0", "--to", "eu", "-o", "out"),
        ("release", "model", "--release", "other/1.0.0", "--zone", "home", "--to", "eu"),
    ],
    ids=lambda words: words[0],
)
def test_a_release_of_another_model_may_be_of_another_project(
    crossing: Crossing, words: tuple[str, ...]
) -> None:
    """Following "--release churn/1.0.0" would publish one model under the name of another."""
    error = refused(crossing, *words, code=2)
    assert error["reason"] == "wrong-model"
    assert "sovgate.yaml is the project of 'churn'" in error["why"]
    assert error["fix"].startswith("if you mean 'other', name the folder of its project")


def test_a_key_that_is_not_there_can_be_made(crossing: Crossing) -> None:
    error = refused(crossing, "sign", crossing.model, "--key", "file:keys/no.pem", code=2)
    assert "sovgate keys generate sign -o " in error["fix"]
    crossing.json("keys", "generate", "sign", "-o", "keys/no.pem")
    crossing.json("sign", crossing.model, "--key", "file:keys/no.pem")


def test_in_a_clone_a_key_that_is_elsewhere_is_to_be_restored(crossing: Crossing) -> None:
    """Where its public half is, `keys generate` writes nothing, and a new key is another signer."""
    crossing.json("keys", "generate", "sign", "-o", "keys/own.pem")
    (crossing.base / "keys/own.pem").rename(crossing.base / "own.pem")
    error = refused(crossing, "sign", crossing.model, "--key", "file:keys/own.pem", code=2)
    assert error["fix"] == (
        "restore the key that belongs to keys/own.pub.pem: a new key is another signer"
    )
    (crossing.base / "own.pem").rename(crossing.base / "keys/own.pem")
    crossing.json("sign", crossing.model, "--key", "file:keys/own.pem")
