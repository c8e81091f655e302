"""Data that may not be where a model is trained: no command records that, and none moves it on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sovgate.formats.provenance import RecordedDataset, TrainingRecord
from tests.crossing import Crossing, make_crossing

HOME = "keys/home.pem"


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    """Trained in the US, served in the EU; `customers` may be only in the EU."""
    made = make_crossing(tmp_path / "project")
    made.edit("datasets:", "datasets:\n  customers: {category: personal, stays-in: [EU]}")
    return made


def record(*names: str, stays_in: tuple[tuple[str, ...], ...] = (("EU",),)) -> TrainingRecord:
    return TrainingRecord(
        datasets=tuple(
            RecordedDataset(
                name=name,
                category="personal",
                stays_in=stays_in,
                pointer=None,
                manifest_sha256=None,
                commitment=None,
            )
            for name in names
        ),
        finished=datetime(2026, 11, 1, tzinfo=UTC),
    )


def signed_in_the_us(crossing: Crossing) -> None:
    """A record as an older sovgate, or another tool, would have signed it."""
    for old in (crossing.base / "model.evidence").glob("provenance*"):
        old.unlink()
    crossing.evidence("provenance", record("customers").predicate())


def test_record_refuses_by_the_zone_of_its_key(crossing: Crossing) -> None:
    before = sorted((crossing.base / "model.evidence").iterdir())
    words = ("record", "model", "--dataset", "public", "--dataset", "customers", "--key")
    error = crossing.json(*words, HOME, code=10)["error"]
    assert error["reason"] == "data-not-here"
    assert error["what"] == "customers may not be in home"
    assert error["where"]["path"] == "sovgate.yaml"
    assert sorted((crossing.base / "model.evidence").iterdir()) == before
    crossing.json(*words, "keys/eu.pem")


@pytest.mark.parametrize(
    "trust", ["{name: ci, key: keys/ci.pub.pem, from: home, may: [provenance]}"]
)
def test_a_key_that_trust_names_for_a_zone_is_held_to_it_too(
    crossing: Crossing, trust: str
) -> None:
    crossing.json("keys", "generate", "sign", "-o", "keys/ci.pem")
    with (crossing.base / "sovgate.yaml").open("a") as file:
        file.write(f"trust:\n  - {trust}\n")
    words = ("record", "model", "--dataset", "customers", "--key", "keys/ci.pem")
    assert crossing.json(*words, code=10)["error"]["reason"] == "data-not-here"
    crossing.edit("from: home", "from: eu")
    crossing.json(*words)


def test_a_draft_is_not_signed_there_either(crossing: Crossing) -> None:
    crossing.json("record", "model", "--dataset", "customers")
    unsigned = crossing.base / "model.evidence/unsigned"
    assert len(list(unsigned.iterdir())) == 1
    signed = len(list((crossing.base / "model.evidence").glob("provenance*")))
    error = crossing.json("attest", "model", "--all-unsigned", "--key", HOME, code=10)["error"]
    assert error["reason"] == "data-not-here"
    assert len(list((crossing.base / "model.evidence").glob("provenance*"))) == signed
    crossing.json("attest", "model", "--all-unsigned", "--key", "keys/eu.pem")


def test_release_stops_at_the_record(crossing: Crossing) -> None:
    error = crossing.json(
        "release",
        "model",
        "--release",
        "churn/1.0.0",
        "--dataset",
        "customers",
        "--zone",
        "home",
        "--to",
        "eu",
        code=10,
    )["error"]
    assert "customers" in str(error)
    assert crossing.objects("releases/") == []


def test_a_record_that_was_signed_there_all_the_same_does_not_cross(crossing: Crossing) -> None:
    signed_in_the_us(crossing)
    words = ("check", "model", "--zone", "home", "--to", "eu", "--release", "churn/1.0.0")
    denied = crossing.json(*words, code=10)
    assert {deny["rule"] for deny in denied["denies"]} == {"trained-in-place"}
    (deny,) = denied["denies"]
    assert deny["message"] == (
        "customers may be only in EU, and home, which recorded a training on it, is in US"
    )
    crossing.push(code=10)
    assert crossing.objects("releases/") == []


def test_a_training_is_asked_about_before_there_is_a_model(crossing: Crossing) -> None:
    words = ("check", "--action", "train", "--zone", "home", "--dataset", "public")
    assert crossing.json(*words)["allowed"] is True
    denied = crossing.json(*words, "--dataset", "customers", code=10)
    (deny,) = denied["denies"]
    assert deny["message"] == "customers may go only to EU, and home is in US"
    assert "record the model again" not in str(deny["fix"])
    assert crossing.json(*words[:4], "eu", *words[5:], "--dataset", "customers")["allowed"] is True


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("--action", "train", "--zone", "home", "--dataset", "nowhere"), 3, "unknown-dataset"),
        (("--action", "train", "--dataset", "public"), 3, "no-zone"),
        (("--action", "train", "--zone", "home"), 2, "no-model"),
        (("--zone", "home", "--to", "eu", "--dataset", "public"), 2, "no-model"),
        (("--action", "deploy", "--zone", "eu", "--dataset", "public"), 2, "no-model"),
        (("model", "--action", "train", "--zone", "home", "--dataset", "public"), 2, "no-model"),
        (
            ("--action", "train", "--zone", "home", "--dataset", "public", "--key", HOME),
            2,
            "no-model",
        ),
    ],
)
def test_a_question_that_names_too_little_or_too_much(
    crossing: Crossing, words: tuple[str, ...], code: int, reason: str
) -> None:
    assert crossing.json("check", *words, code=code)["error"]["reason"] == reason


def test_data_of_unknown_residence_is_trained_on_nowhere(crossing: Crossing) -> None:
    crossing.edit("datasets:", "datasets:\n  odd: {category: personal, stays-in: null}")
    words = ("check", "--action", "train", "--zone", "eu", "--dataset", "odd")
    assert crossing.json(*words, code=10)["allowed"] is False


def test_what_freed_the_weights_of_a_base_is_no_data_here(crossing: Crossing) -> None:
    """A base that was trained elsewhere brings its demands along, and not its data."""
    crossing.edit("datasets:", "datasets:\n  freed: {stays-in: [EU], lifts: [mia]}")
    made = record("freed")
    unsigned = crossing.base / "model.evidence/unsigned"
    unsigned.mkdir()
    from sovgate.formats.provenance import BaseModel
    from sovgate.formats.statement import PREDICATE_TYPES, Statement

    base = BaseModel(name="base", manifest="ab" * 32, records=("cd" * 32,))
    statement = Statement(
        subject_name="churn",
        subject_sha256=crossing.manifest,
        predicate_type=PREDICATE_TYPES["provenance"],
        predicate=TrainingRecord(
            datasets=made.datasets, base_models=(base,), finished=made.finished
        ).predicate(),
    )
    (unsigned / "provenance.json").write_bytes(statement.payload())
    found = crossing.json("attest", "model", "--all-unsigned", "--key", HOME)
    assert [item["role"] for item in found["signed"]] == ["provenance"]


def test_a_fix_leaves_out_what_holds_already(crossing: Crossing) -> None:
    """Two files and the record say where the data may be: each is named while it is in the way."""
    crossing.edit(
        "customers: {category: personal, stays-in: [EU]}",
        "customers: {manifest: c.yaml, category: personal, stays-in: [EU]}",
    )
    crossing.edit("allow: [home -> eu]", "allow: [home -> eu, eu -> home]")
    manifest = crossing.base / "c.yaml"
    manifest.write_text(
        "version: 1\nid: customers\ncategory: personal\npointer: s3://c/\nstays-in: [EU]\n"
    )
    for old in (crossing.base / "model.evidence").glob("*"):
        old.unlink()
    crossing.json("sign", "model", "--key", "keys/eu.pem")
    crossing.json("record", "model", "--dataset", "customers", "--key", "keys/eu.pem")
    words = ("check", "model", "--zone", "eu", "--to", "home")

    def fix() -> str:
        (deny,) = crossing.json(*words, code=10)["denies"]
        assert deny["rule"] == "weights-inherit"
        return str(deny["fix"])

    assert "stays-in (c.yaml:5, sovgate.yaml:" in fix()
    crossing.edit("personal, stays-in: [EU]}", "personal, stays-in: [EU, US]}")
    assert "stays-in (c.yaml:5)" in fix()
    manifest.write_text(manifest.read_text().replace("[EU]", "[EU, US]"))
    assert fix().startswith("the project lets customers go to US, its record does not: remove the ")
    for old in (crossing.base / "model.evidence").glob("provenance*"):
        old.unlink()
    crossing.json("record", "model", "--dataset", "customers", "--key", "keys/eu.pem")
    assert crossing.json(*words)["allowed"] is True
