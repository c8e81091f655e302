"""Drafts that get signed, and legal words: real keys and files, and what `check` makes of them."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sovgate import strict
from sovgate.cli.make.attest import ROLES
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.pipeline.look.keys import generate
from sovgate.pipeline.make.attest import BY_HAND
from sovgate.stages import attest
from tests.crossing import Crossing, make_crossing
from tests.integration.test_gate_command import csv

TRUST = """
trust:
  - {name: ci, key: keys/home.pub.pem, may: [signature, provenance, sbom, gate]}
  - {name: dpo, key: keys/dpo.pub.pem, may: [legal]}
gates:
  accuracy: {at-least: 0.90, before: transfer}
  legal: {dataset: kyc, before: deploy}
"""
MANIFEST = """\
version: 1
id: kyc
category: personal
pointer: s3://kyc/2026
stays-in: [EU]
bytes: 0
"""


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    """A model trained in zone eu on personal data, signed there, not attested yet."""
    made = make_crossing(tmp_path)
    made.edit("region: aws:us-east-1", "region: aws:eu-central-1")
    generate("sign", out=tmp_path / "keys" / "dpo.pem", algorithm="ec-p256")
    made.edit("kyc: {category: personal, stays-in: [US]}", "kyc: {manifest: kyc.yaml}")
    (tmp_path / "kyc.yaml").write_text(MANIFEST)
    data(made, "names and births")
    path = tmp_path / "sovgate.yaml"
    path.write_text(path.read_text() + TRUST)
    csv(tmp_path / "good.csv", 960, 40)
    made.json("gate", "pin", "accuracy", "--predictions", "good.csv")
    retrain(made)
    return made


def data(crossing: Crossing, content: str, epoch: str = "2026-10") -> str:
    """The data changes, and the zone commits to it."""
    folder = crossing.base / "data"
    folder.mkdir(exist_ok=True)
    (folder / "people.csv").write_text(content)
    key = crossing.base / "kyc.key"
    if not key.exists():
        crossing.json("data", "key", "-o", key)
    made = crossing.json(
        "data", "commit", folder, "--dataset", "kyc", "--epoch", epoch, "--key", key
    )
    return str(made["commitment"])


def retrain(crossing: Crossing) -> None:
    crossing.sign("kyc")
    crossing.json(
        "gate", "accuracy", crossing.model, "--predictions", "good.csv", "--key", "keys/home.pem"
    )


def ask(crossing: Crossing, zone: str = "eu") -> set[str]:
    """The rules that deny the deployment in a zone."""
    _, text = crossing.run(
        "check", crossing.model, "--action", "deploy", "--zone", zone, "--format", "json"
    )
    return {deny["rule"] for deny in json.loads(text)["denies"]}


def word(crossing: Crossing, *more: str, zone: str = "eu", key: str = "dpo") -> dict[str, Any]:
    return crossing.json(
        "attest",
        crossing.model,
        "--legal",
        "--dataset",
        "kyc",
        "--zone",
        zone,
        "--key",
        f"keys/{key}.pem",
        *more,
    )


def legal_says(crossing: Crossing, **changes: Any) -> None:
    """A legal word that the command would not write, by the key that may say it."""
    from sovgate.keys.registry import open_signer

    said = word(crossing)
    path = crossing.base / said["signed"][0]["path"]
    predicate = json.loads(
        strict.b64decode(json.loads(path.read_bytes())["dsseEnvelope"]["payload"])
    )
    path.unlink()
    statement = Statement(
        subject_name="churn",
        subject_sha256=predicate["subject"][0]["digest"]["sha256"],
        predicate_type=PREDICATE_TYPES["legal"],
        predicate=predicate["predicate"] | changes,
    )
    signer = open_signer("keys/dpo.pem", crossing.base)
    attest.add(attest.evidence_dir(crossing.model), "legal", attest.seal(statement, signer))


def test_the_roles_of_the_option_are_those_that_may_be_signed() -> None:
    assert ROLES == BY_HAND


# Legal words


def test_a_zone_deploys_with_a_legal_word_and_not_without(crossing: Crossing) -> None:
    assert ask(crossing) == {"legal-before-deploy"}
    word(crossing, "--until", "2099-01-01", "--statement", "checked by the DPO")
    assert ask(crossing) == set()


def test_a_legal_word_by_ci_is_none(crossing: Crossing) -> None:
    word(crossing, key="home")
    assert ask(crossing) == {"legal-before-deploy"}


def test_a_legal_word_for_another_zone_is_none(crossing: Crossing) -> None:
    word(crossing, zone="home")
    assert ask(crossing) == {"legal-before-deploy"}


def test_a_legal_word_for_one_zone_does_not_travel_to_another(crossing: Crossing) -> None:
    word(crossing)
    assert ask(crossing) == set()
    assert ask(crossing, "home") == {"legal-before-deploy"}


def test_a_legal_word_about_another_model_is_none(crossing: Crossing) -> None:
    word(crossing)
    kept = {p.name: p.read_bytes() for p in attest.evidence_dir(crossing.model).glob("legal-*")}
    (crossing.model / "model.bin").write_bytes(b"retrained")
    retrain(crossing)
    for name, content in kept.items():
        (attest.evidence_dir(crossing.model) / name).write_bytes(content)
    assert ask(crossing) == {"legal-before-deploy"}


def test_a_legal_word_about_other_data_is_none(crossing: Crossing) -> None:
    """The data changed after training, and only then a lawyer looked at it."""
    data(crossing, "more names")
    word(crossing)
    assert ask(crossing) == {"legal-before-deploy"}
    retrain(crossing)
    word(crossing)
    assert ask(crossing) == set()


def test_a_legal_word_for_one_release_is_none_for_the_next(crossing: Crossing) -> None:
    word(crossing, "--release", "churn/1.0.0")
    for version, rules in (("1.0.0", set()), ("1.0.1", {"legal-before-deploy"})):
        _, text = crossing.run(
            "check",
            crossing.model,
            "--action",
            "deploy",
            "--zone",
            "eu",
            "--release",
            f"churn/{version}",
            "--format",
            "json",
        )
        assert {deny["rule"] for deny in json.loads(text)["denies"]} == rules


def test_a_legal_word_that_ended_is_none(crossing: Crossing) -> None:
    legal_says(crossing, until=strict.format_time(datetime(2026, 1, 1, tzinfo=UTC)))
    assert ask(crossing) == {"legal-before-deploy"}


@pytest.mark.parametrize(
    "changes",
    [
        {"commitment": "ab" * 32},
        {"commitment": None},
        {"dataset": "public"},
        {"zone": "us"},
        {"release": "churn"},
        {"zone": "EU"},
        {"until": 1},
        {"extra": "field"},
    ],
    ids=str,
)
def test_a_legal_word_that_says_something_else_is_none(
    crossing: Crossing, changes: dict[str, Any]
) -> None:
    legal_says(crossing, **changes)
    assert ask(crossing) == {"legal-before-deploy"}


def test_without_a_commitment_there_is_nothing_to_attest(crossing: Crossing) -> None:
    (crossing.base / "kyc.yaml").write_text(MANIFEST)
    said = crossing.json(
        "attest",
        crossing.model,
        "--legal",
        "--dataset",
        "kyc",
        "--zone",
        "eu",
        "--key",
        "keys/dpo.pem",
        code=3,
    )
    assert said["error"]["reason"] == "no-commitment"


# Drafts


def draft(
    crossing: Crossing, role: str, predicate: Any, *, about: str | None = None, name: str = "churn"
) -> Path:
    statement = Statement(
        subject_name=name,
        subject_sha256=about or crossing.manifest,
        predicate_type=PREDICATE_TYPES[role],
        predicate=predicate,
    )
    folder = attest.evidence_dir(crossing.model)
    return attest.add_unsigned(folder, role, statement.payload())


def sign_all(crossing: Crossing, *more: str, code: int = 0) -> dict[str, Any]:
    key = () if "--key" in more else ("--key", "keys/home.pem")
    return crossing.json("attest", crossing.model, "--all-unsigned", *key, *more, code=code)


def bundles(crossing: Crossing) -> set[str]:
    return {path.name for path in attest.evidence_dir(crossing.model).glob("*.sigstore.json")}


def test_a_job_without_a_key_measures_and_one_with_a_key_signs(crossing: Crossing) -> None:
    crossing.sign("kyc")
    crossing.json("gate", "accuracy", crossing.model, "--predictions", "good.csv")
    assert "gates-before-stage" in ask(crossing)
    said = sign_all(crossing)
    assert [item["role"] for item in said["signed"]] == ["gate"]
    assert ask(crossing) == {"legal-before-deploy"}


def test_where_nothing_is_to_be_signed_it_says_so(crossing: Crossing) -> None:
    code, said = crossing.run("attest", crossing.model, "--all-unsigned", "--key", "keys/home.pem")
    assert code == 0, said
    assert "signed 0 statements" in said
    assert f"no unsigned statement of these roles is in {crossing.model.name}.evidence" in said


def test_what_is_signed_already_is_left_alone(crossing: Crossing) -> None:
    crossing.json("record", crossing.model, "--dataset", "kyc", "--metric", "auc=0.9")
    draft(crossing, "sbom", {"bomFormat": "CycloneDX"})
    assert len(sign_all(crossing)["signed"]) == 2
    before = bundles(crossing)
    again = sign_all(crossing)
    assert again["signed"] == []
    assert {item["why"] for item in again["left"]} == {"signed by this key already"}
    assert bundles(crossing) == before


def test_a_forged_bundle_does_not_keep_a_draft_unsigned(crossing: Crossing) -> None:
    path = draft(crossing, "sbom", {"bomFormat": "CycloneDX"})
    sign_all(crossing)
    (signed,) = attest.evidence_dir(crossing.model).glob("sbom-*")
    bundle = json.loads(signed.read_bytes())
    signed.unlink()
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = strict.b64encode(b"no signature")
    signed.write_text(json.dumps(bundle))
    assert [item["source"] for item in sign_all(crossing)["signed"]] == [path.name]


@pytest.mark.parametrize("role", ["transfer", "receipt", "promotion", "audit", "decision"])
def test_words_of_sovgate_about_its_own_acts_are_not_signed_by_hand(
    crossing: Crossing, role: str
) -> None:
    draft(crossing, "sbom", {"bomFormat": "CycloneDX"})
    draft(crossing, role, {"release": "churn/1.0.0"})
    before = bundles(crossing)
    assert sign_all(crossing, code=11)["error"]["reason"] == "role-not-by-hand"
    assert bundles(crossing) == before, "all is checked before anything is signed"
    file = crossing.base / "p.json"
    file.write_text("{}")
    crossing.json("attest", crossing.model, file, "--type", role, "--key", "keys/home.pem", code=11)


def test_a_signature_is_made_by_sign_alone(crossing: Crossing) -> None:
    file = crossing.base / "p.json"
    file.write_text("{}")
    crossing.json(
        "attest", crossing.model, file, "--type", "signature", "--key", "keys/home.pem", code=11
    )


@pytest.mark.parametrize("changes", [{"about": "0" * 64}, {"name": "other"}])
def test_rule_06_a_draft_about_another_model_is_refused(
    crossing: Crossing, changes: dict[str, str]
) -> None:
    draft(crossing, "sbom", {"bomFormat": "CycloneDX"}, **changes)  # type: ignore[arg-type]
    before = bundles(crossing)
    assert sign_all(crossing, code=11)["error"]["reason"] == "other-model"
    assert bundles(crossing) == before


def test_a_planted_legal_word_is_not_signed_in_passing(crossing: Crossing) -> None:
    said = word(crossing)
    path = crossing.base / said["signed"][0]["path"]
    payload = strict.b64decode(json.loads(path.read_bytes())["dsseEnvelope"]["payload"])
    path.unlink()
    attest.add_unsigned(attest.evidence_dir(crossing.model), "legal", payload)
    assert sign_all(crossing)["signed"] == []
    signed = sign_all(crossing, "--role", "legal", "--key", "keys/dpo.pem")["signed"]
    assert [item["role"] for item in signed] == ["legal"]
    assert ask(crossing) == set()


def test_only_the_roles_asked_for_are_signed(crossing: Crossing) -> None:
    crossing.json("record", crossing.model, "--dataset", "kyc")
    draft(crossing, "sbom", {"bomFormat": "CycloneDX"})
    said = sign_all(crossing, "--role", "sbom")
    assert [item["role"] for item in said["signed"]] == ["sbom"]
    assert [item["role"] for item in said["left"]] == ["provenance"]
    sign_all(crossing, "--role", "audit", code=2)


@pytest.mark.parametrize(
    ("role", "predicate"),
    [
        ("gate", {"result": "PASSED"}),
        ("gate", {"result": "PASSED", "configuration": [], "https://sovgate.dev/gate/v0": {}}),
        ("provenance", {"buildDefinition": {}}),
        ("legal", {"dataset": "kyc"}),
    ],
)
def test_what_policy_could_not_read_is_not_signed(
    crossing: Crossing, role: str, predicate: Any
) -> None:
    draft(crossing, role, predicate)
    sign_all(crossing, "--role", role, code=11)


def test_garbage_among_the_drafts_is_named(crossing: Crossing) -> None:
    folder = attest.evidence_dir(crossing.model) / "unsigned"
    folder.mkdir(exist_ok=True)
    (folder / "gate-0000000000000000.json").write_bytes(b'{"a":1,"a":2}')
    assert "gate-0000000000000000.json" in sign_all(crossing, code=11)["error"]["what"]


def test_a_predicate_file_is_signed_as_what_it_is_said_to_be(crossing: Crossing) -> None:
    file = crossing.base / "bom.json"
    file.write_text('{"bomFormat": "CycloneDX"}')
    words = ("attest", crossing.model, file, "--key", "keys/home.pem")
    assert crossing.json(*words, code=2)["error"]["fix"].startswith("add --type")
    assert crossing.json(*words, "--type", "sbom")["signed"][0]["role"] == "sbom"
    assert crossing.json(*words, "--type", "https://cyclonedx.org/bom")["signed"] == []
    crossing.json(*words, "--type", "https://example.org/x", code=11)


@pytest.mark.parametrize("kind", ["sbom", "https://spdx.dev/Document"])
def test_what_is_no_sbom_is_not_signed_as_one(crossing: Crossing, kind: str) -> None:
    file = crossing.base / "bom.json"
    file.write_text('{"name": "no SBOM at all"}')
    words = ("attest", crossing.model, file, "--key", "keys/home.pem", "--type", kind)
    before = bundles(crossing)
    assert "not an SBOM" in crossing.json(*words, code=11)["error"]["what"]
    assert bundles(crossing) == before


def test_a_predicate_with_fractions_is_refused_with_the_way_out(crossing: Crossing) -> None:
    file = crossing.base / "bom.json"
    file.write_text('{"score": 0.5}')
    said = crossing.json(
        "attest", crossing.model, file, "--type", "sbom", "--key", "keys/home.pem", code=11
    )
    assert "fractions as text" in said["error"]["fix"]


def test_a_statement_file_is_signed_as_it_stands(crossing: Crossing) -> None:
    path = draft(crossing, "sbom", {"bomFormat": "CycloneDX"})
    moved = shutil.move(path, crossing.base / "statement.json")
    words = ("attest", crossing.model, moved, "--key", "keys/home.pem")
    crossing.json(*words, "--type", "gate", code=2)
    assert crossing.json(*words)["signed"][0]["role"] == "sbom"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("p.json", "--all-unsigned"),
        ("--legal", "--all-unsigned", "--dataset", "kyc", "--zone", "eu"),
        ("--legal", "--dataset", "kyc"),
        ("--legal", "--dataset", "kyc", "--zone", "eu", "--until", "soon"),
        ("--legal", "--dataset", "kyc", "--zone", "eu", "--until", "2020-01-31"),
        ("--all-unsigned", "--dataset", "kyc"),
    ],
)
def test_a_command_line_that_is_unclear_signs_nothing(
    crossing: Crossing, words: tuple[str, ...]
) -> None:
    before = bundles(crossing)
    crossing.json("attest", crossing.model, *words, "--key", "keys/home.pem", code=2)
    assert bundles(crossing) == before


def test_what_a_key_signs_cannot_be_chosen_from_the_environment(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft(crossing, "sbom", {"bomFormat": "CycloneDX"})
    for name in ("ROLE", "LEGAL", "TYPE"):
        monkeypatch.setenv(f"SOVGATE_{name}", "legal")
        monkeypatch.setenv(f"SOVGATE_ATTEST_{name}", "legal")
    assert [item["role"] for item in sign_all(crossing)["signed"]] == ["sbom"]


def test_each_state_of_the_data_behind_a_chain_needs_its_word(crossing: Crossing) -> None:
    """The base was trained on October's data, the model on November's."""
    base = crossing.base / "base"
    shutil.copytree(crossing.model, base)
    (base / "model.bin").write_bytes(b"base")
    Crossing(base=crossing.base, model=base).sign("kyc")
    october = (crossing.base / "kyc.yaml").read_text()
    data(crossing, "more names", "2026-11")
    november = (crossing.base / "kyc.yaml").read_text()
    for path in attest.evidence_dir(crossing.model).glob("provenance-*"):
        path.unlink()
    crossing.json(
        "record",
        crossing.model,
        "--dataset",
        "kyc",
        "--base-model",
        "base",
        "--key",
        "keys/home.pem",
    )
    word(crossing)
    assert ask(crossing) == {"legal-before-deploy"}, "nobody spoke of October's"
    (crossing.base / "kyc.yaml").write_text(october)
    word(crossing)
    (crossing.base / "kyc.yaml").write_text(november)
    assert ask(crossing) == set()
