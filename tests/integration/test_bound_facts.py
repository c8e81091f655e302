"""RULES 33, 44: what is said of a model's content, from the look to policy's last word."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import EngineError
from sovgate.formats.bundle import Bundle
from sovgate.formats.decision import parse_decision
from sovgate.formats.oms import Item, Oms, root_of
from sovgate.formats.statement import Statement
from sovgate.keys import registry
from sovgate.pipeline.decide import contents
from sovgate.pipeline.decide.contents import Contents, Seen
from sovgate.pipeline.move import movement
from sovgate.stages import attest, audit, inventory
from tests.crossing import Crossing, make_crossing


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("ready") / "project"
    make_crossing(base)
    return base


@pytest.fixture
def crossing(ready: Path, tmp_path: Path) -> Crossing:
    base = tmp_path / "project"
    shutil.copytree(ready, base)
    return Crossing(base=base, model=base / "model")


def statement(path: Path) -> Statement:
    return Statement.parse(Bundle.parse(path.read_bytes()).payload)


def entries(crossing: Crossing) -> list[dict[str, Any]]:
    found = (crossing.base / ".sovgate/home/audit").rglob("*.json")
    return sorted((statement(path).predicate for path in found), key=lambda one: one["index"])


# --- policy's last word ---
def told_late(monkeypatch: pytest.MonkeyPatch, **facts: object) -> None:
    """The look finds nothing; once all is known there is more."""
    asked: list[Contents] = []
    real = contents.of_admitted

    def found(*words: Any) -> Contents:
        asked.append(real(*words))
        late = len(asked) > 1
        return Contents({**asked[0].facts, **facts}) if late else asked[0]  # type: ignore[arg-type]

    monkeypatch.setattr(contents, "of_admitted", found)


def test_the_decision_of_a_denial_at_the_end_is_kept_beside_the_log(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_late(monkeypatch, pickles=1, pickle="model.bin")
    said = crossing.push(code=10)
    intent, denied = entries(crossing)
    assert (intent["kind"], denied["kind"], denied["exit"]) == ("intent", "denied", 10)
    kept = [ref["sha256"] for ref in denied["refs"]]
    assert [ref["role"] for ref in denied["refs"]] == ["decision", "decision"]
    for digest in kept:
        path = crossing.base / ".sovgate/home/objects/sha256" / digest
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
        about = parse_decision(statement(path))
        assert about.passed == (about.cls != "weights")
        assert (b"model.bin" in Bundle.parse(path.read_bytes()).payload) != about.passed
    first = {ref["sha256"] for ref in intent["refs"]}
    assert first.isdisjoint(kept)  # what it began with was a yes
    crossing.json("audit", "verify", "--zone", "home", "--against", said["audit-head"])


def test_a_rule_that_has_no_answer_at_the_end_is_a_denial_that_is_kept_too(
    crossing: Crossing,
) -> None:
    signer = registry.open_signer("keys/home.pem", crossing.base)
    log = audit.Log(crossing.store, signer, trusted=())
    run = log.begin()
    about = movement.About(
        action="push",
        model="churn",
        release=crossing.release,
        manifest=crossing.manifest,
        source="home",
        destination="eu",
    )
    error = EngineError("no answer")
    error.signed = (b"a decision", b"another")
    with pytest.raises(EngineError), movement.announced(run, about, ()):
        raise error
    (last,) = (
        p
        for p in (crossing.base / "eu-store/audit").rglob("*.json")
        if statement(p).predicate["kind"] != "intent"
    )
    said = statement(last).predicate
    assert (said["kind"], said["exit"]) == ("denied", 22)
    for data in error.signed:
        digest = hashlib.sha256(data).hexdigest()
        assert {"role": "decision", "sha256": digest} in said["refs"]
        assert (crossing.base / "eu-store/objects/sha256" / digest).read_bytes() == data


# --- pull: what lies there already, others can write to ---
def test_what_is_there_already_is_looked_into_and_hashed_as_one(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossing.push()
    crossing.pull()
    path = crossing.base / "pulled/model.bin"
    data = path.read_bytes()
    real = contents.look_into

    def look(*words: Any) -> Seen:
        path.write_bytes(bytes(len(data)))
        seen = real(*words)
        path.write_bytes(data)
        return seen

    monkeypatch.setattr(contents, "look_into", look)
    assert crossing.pull(code=11)["error"]["reason"] == "changed-while-reading"
    monkeypatch.undo()
    crossing.pull()


# --- push --verify-first ---
def changed(crossing: Crossing) -> None:
    path = crossing.model / "model.bin"
    path.write_bytes(bytes(path.stat().st_size))


def test_other_bytes_of_the_signed_size_are_opened_by_nobody(crossing: Crossing) -> None:
    """A chunk may have left before their digest was known; no key table did."""
    changed(crossing)
    assert crossing.push(code=11)["error"]["reason"] == "digest-mismatch"
    assert crossing.objects("objects/") == crossing.objects("releases/") == []


@pytest.mark.parametrize("how", ["--verify-first", "from", "to"])
def test_with_verify_first_nothing_leaves_before_all_is_hashed(
    crossing: Crossing, how: str
) -> None:
    lines = {"from": "  home:\n", "to": "  eu:\n"}
    more = () if how in lines else (how,)
    if how in lines:
        crossing.edit(lines[how], f"{lines[how]}    verify-first: true\n")
    data = (crossing.model / "model.bin").read_bytes()
    changed(crossing)
    assert crossing.push(*more, code=11)["error"]["reason"] == "changed-file"
    assert crossing.objects("chunks/") == []
    (crossing.model / "model.bin").write_bytes(data)
    crossing.push(*more)
    crossing.pull()


def test_a_signature_that_tells_no_sha256_costs_a_read_before_anything_leaves(
    crossing: Crossing,
) -> None:
    taken = inventory.take(crossing.model).manifest
    items = tuple(
        Item(
            name=one.name,
            digest=hashlib.blake2b((crossing.model / one.name).read_bytes()).hexdigest(),
            size=None,
        )
        for one in taken.resources
    )
    oms = dataclasses.replace(
        Oms.of(taken, subject_name="model"),
        algorithm="blake2b",
        items=items,
        root=root_of(item.digest for item in items),
    )
    signer = registry.open_signer("keys/home.pem", crossing.base)
    attest.signature_path(crossing.model).write_bytes(attest.seal(oms.statement(), signer))
    changed(crossing)
    assert crossing.push(code=11)["error"]["reason"] == "changed-file"
    assert crossing.objects("chunks/") == []


@pytest.mark.parametrize("value", ["yes", "1", "null", '"true"', "[true]"])
def test_verify_first_is_true_or_false_and_nothing_else(crossing: Crossing, value: str) -> None:
    crossing.edit("  home:\n", f"  home:\n    verify-first: {value}\n")
    error = crossing.push(code=3)["error"]
    assert "verify-first must be true or false" in error["what"]
    assert error["fix"] == "write verify-first: true"


def test_verify_first_may_be_false(crossing: Crossing) -> None:
    crossing.edit("  home:\n", "  home:\n    verify-first: false\n")
    crossing.push()
