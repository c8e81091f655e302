"""`sovgate check` and `sovgate policy` as a user runs them: verdict, reasons, lines, fixes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from sovgate.formats.decision import parse_decision
from sovgate.stages.trust import open_statement
from tests.commands import run
from tests.signers import KeySigner

ROOT = Path(__file__).resolve().parents[2]
US, EU = KeySigner(), KeySigner()
PROJECT = """\
version: 1
model: kyc-risk
zones:
  us-train: {region: "aws:us-east-1", keys: {sign: "file:us.pem"}}
  eu: {region: "aws-eusc:eusc-de-east-1", keys: {sign: "file:eu.pem"}}
datasets:
  open: {category: public, stays-in: []}
  kyc-eu:
    category: personal
    stays-in: [EU]
border:
  weights: {allow: [us-train -> eu]}
"""


def said(code: int, *arguments: str, **environment: str) -> str:
    done = run(*arguments, **environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.bin").write_bytes(bytes(1000))
    for name, signer in (("us", US), ("eu", EU)):
        (tmp_path / f"{name}.pem").touch(mode=0o600)
        (tmp_path / f"{name}.pem").write_bytes(signer.private_pem)
    (tmp_path / "sovgate.yaml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(*datasets: str, key: str | None = None) -> None:
    """Signed and recorded by the zone in which that data may be."""
    key = key or ("file:eu.pem" if "kyc-eu" in datasets else "file:us.pem")
    names = [part for name in datasets for part in ("--dataset", name)]
    said(0, "record", "model", *names, "--key", key)
    said(0, "sign", "model", "--key", key)


def test_an_allowed_transfer_says_by_which_line(place: Path) -> None:
    made("open")
    text = said(0, "check", "model", "--action", "transfer", "--zone", "us-train", "--to", "eu")
    assert "allowed: transfer weights of kyc-risk from us-train to eu" in text
    assert "border (sovgate.yaml:12)" in text


def test_a_denial_names_rule_data_set_line_and_what_would_fix_it(place: Path) -> None:
    made("kyc-eu")
    (place / "sovgate.yaml").write_text(
        PROJECT.replace("[us-train -> eu]", "[us-train -> eu, eu -> us-train]")
    )
    text = said(10, "check", "model", "--zone", "eu", "--to", "us-train")
    assert "denied: transfer weights of kyc-risk from eu to us-train" in text
    assert "weights-inherit: kyc-eu may go only to EU, and us-train is in US" in text
    assert "sovgate.yaml:10" in text
    assert "fix: if the law lets kyc-eu go to US, say so in its stays-in (sovgate.yaml:10)" in text


def test_a_fix_that_would_not_suffice_alone_is_not_called_one(place: Path) -> None:
    made("open", "kyc-eu")
    text = said(10, "check", "model", "--zone", "eu", "--to", "us-train")
    assert "denied by" in text and "fix:" not in text
    assert "no single change would allow it" in text
    assert "add `eu -> us-train` to border.weights.allow, line sovgate.yaml:12" in text


def test_a_model_that_nobody_signed_or_recorded_goes_nowhere(place: Path) -> None:
    text = said(10, "check", "model", "--zone", "us-train", "--to", "eu")
    assert "record-required" in text and "signature-required" in text


# --- drafts of records that nobody signed ---------------------------------------------------------

ASK = ("check", "model", "--zone", "us-train", "--to", "eu")
RECORD = "sovgate record MODEL"


def drafted(*datasets: str, key: str | None = "file:us.pem") -> None:
    """Recorded as a training job does it, without a key; the model is signed with `key`."""
    said(0, "record", "model", *(part for name in datasets for part in ("--dataset", name)))
    if key is not None:
        said(0, "sign", "model", "--key", key)


def attests(text: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in re.findall(r"sovgate attest [^\n]*", text)]


@pytest.mark.parametrize("here", [".", "deep"])
def test_the_fix_for_a_missing_record_signs_the_draft_that_is_there(
    place: Path, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafted("open")
    (place / "deep").mkdir()
    monkeypatch.chdir(place / here)
    asked = ASK if here == "." else ("check", "../model", *ASK[2:], "--project", "..")
    text = said(10, *asked)
    assert "fix: an unsigned record beside it names the data open; if that is right, sign" in text
    assert RECORD not in text
    (command,) = attests(text)
    said(0, *command)
    said(0, *asked)


def test_what_a_hostile_draft_names_is_quoted_and_said_before_the_command(place: Path) -> None:
    drafted("open")
    (draft,) = (place / "model.evidence/unsigned").iterdir()
    name = "open\n; sovgate keys show"
    draft.write_text(
        draft.read_text()
        .replace('"open"', json.dumps(name))
        .replace("dataset:open", json.dumps(f"dataset:{name}")[1:-1])
    )
    text = said(10, *ASK)
    told = f"names the data {name!r}; if that is right, sign it: sovgate attest model"
    assert told in text
    assert len(attests(text)) == 1


def test_a_draft_and_a_signature_are_asked_for_together(place: Path) -> None:
    drafted("open", key=None)
    text = said(10, *ASK)
    assert "all of these together would" in text and RECORD not in text
    (command,) = attests(text)
    said(0, *command)
    said(0, "sign", "model", "--key", "file:us.pem")
    said(0, *ASK)


@pytest.mark.parametrize(
    ("datasets", "key", "asked", "told"),
    [
        # What the draft says is in the way, and the fix is not to record something else.
        (["kyc-eu"], "eu", "--zone eu --to us-train", "weights-inherit: kyc-eu may go only to EU"),
        (["open", "kyc-eu"], "us", "--zone us-train --to eu", "trained-in-place: "),
        # The record of whoever signed the model is missing then (RULES 30).
        (["open"], "eu", "--zone us-train --to eu", "who signed the model"),
    ],
)
def test_a_draft_that_would_not_do_is_named_and_no_command_offered(
    place: Path, datasets: list[str], key: str, asked: str, told: str
) -> None:
    text = PROJECT.replace("[us-train -> eu]", "[us-train -> eu, eu -> us-train]")
    (place / "sovgate.yaml").write_text(text)
    drafted(*datasets, key=f"file:{key}.pem")
    text = said(10, "check", "model", *asked.split())
    (line,) = [line for line in text.splitlines() if "is a draft that nobody has signed" in line]
    assert told in line
    assert re.search(r"unsigned/provenance-[0-9a-f]{16}\.json", line)
    assert attests(text) == []


def test_what_is_no_draft_of_this_model_is_not_offered(place: Path) -> None:
    drafted("open", key=None)
    (draft,) = (place / "model.evidence/unsigned").iterdir()
    (place / "model/a.bin").write_bytes(b"trained again")
    said(0, "sign", "model", "--key", "file:us.pem")
    text = said(10, *ASK)
    assert (attests(text), RECORD in text) == ([], True)
    # What cannot be read may be a record, and binds: `attest` would sign nothing (RULES 30).
    draft.parent.mkdir(exist_ok=True)
    (draft.parent / draft.name).write_bytes(b"{")
    text = said(10, *ASK)
    assert (attests(text), "cannot be counted" in text) == ([], True), text


def test_json_says_everything(place: Path) -> None:
    made("kyc-eu")
    done = run("check", "model", "--zone", "eu", "--to", "us-train", "--format", "json")
    assert done.returncode == 10
    value = json.loads(done.stdout)
    assert (value["exit"], value["allowed"]) == (10, False)
    assert value["denies"][0]["rule"] == "weights-inherit"
    assert value["denies"][0]["dataset"] == "kyc-eu"
    assert {rule["answer"] for rule in value["rules"]} == {"allow", "deny"}
    assert len(value["case"]["sha256"]) == len(value["policy"]["sha256"]) == 64


def test_a_saved_decision_is_signed_by_the_zone(place: Path) -> None:
    made("open")
    said(
        0,
        "check",
        "model",
        "--zone",
        "us-train",
        "--to",
        "eu",
        "--save",
        "--release",
        "kyc-risk/1.0.0",
    )
    (path,) = (place / "model.evidence").glob("decision-*.sigstore.json")
    verified = open_statement(path.read_bytes(), [US.trusted("decision")])
    decision = parse_decision(verified.statement)
    assert decision.passed
    assert decision.release == "kyc-risk/1.0.0"
    assert (decision.source, decision.destination) == ("us-train", "eu")
    # the next question is not disturbed by the answer to the last
    said(0, "check", "model", "--zone", "us-train", "--to", "eu")


def test_a_denial_can_be_saved_too(place: Path) -> None:
    made("kyc-eu")
    said(10, "check", "model", "--zone", "eu", "--to", "us-train", "--key", "file:eu.pem")
    (path,) = (place / "model.evidence").glob("decision-*.sigstore.json")
    verified = open_statement(path.read_bytes(), [EU.trusted("decision")])
    assert not parse_decision(verified.statement).passed


def test_a_deployment_in_ones_own_zone_needs_no_border(place: Path) -> None:
    made("kyc-eu")
    text = said(0, "check", "model", "--action", "deploy", "--zone", "eu")
    assert "same-zone" in text


def test_the_zone_comes_from_the_environment(place: Path) -> None:
    made("open")
    said(0, "check", "model", SOVGATE_ZONE="us-train", SOVGATE_TO="eu")


def test_a_signature_that_does_not_verify_is_no_question_of_policy(place: Path) -> None:
    made("open")
    (place / "model" / "a.bin").write_bytes(bytes(999))
    said(11, "check", "model", "--zone", "us-train", "--to", "eu")


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (3, ["model", "--to", "eu"]),
        (3, ["model", "--zone", "us-trian", "--to", "eu"]),
        (3, ["model", "--zone", "us-train", "--to", "ue"]),
        (2, ["nowhere", "--zone", "us-train", "--to", "eu"]),
        (2, ["model", "--zone", "us-train", "--action", "teleport"]),
        (2, ["model", "--zone", "us-train", "--to", "eu", "--release", "other/1"]),
        (2, ["model", "--zone", "us-train", "--to", "eu", "--release", "x"]),
        (2, ["model", "--zone", "us-train", "--to", "eu", "--class", "No Class"]),
    ],
)
def test_wrong_questions_have_their_codes(place: Path, code: int, arguments: list[str]) -> None:
    said(code, "check", *arguments)


def test_a_projects_own_rule_is_asked_and_a_broken_one_denies(place: Path) -> None:
    made("open")
    (place / "rules").mkdir()
    (place / "sovgate.yaml").write_text(PROJECT + "policy: {rules: rules}\n")
    rule = place / "rules" / "weekend.rego"
    head = "# METADATA\n# title: No\n# custom: {fix: wait}\npackage user.weekend\nimport rego.v1\n"
    rule.write_text(head + 'deny contains "not at weekends" if input.now.epoch > 0\n')
    text = said(10, "check", "model", "--zone", "us-train", "--to", "eu")
    assert "user.weekend: not at weekends" in text
    assert "fix: wait" in text
    rule.write_text(head + 'deny contains "x" if to_number(input.action) > 1\n')
    assert "user.weekend" in said(22, "check", "model", "--zone", "us-train", "--to", "eu")
    rule.write_text(head + 'deny contains "x" if http.send({"url": "x"})\n')
    text = said(3, "check", "model", "--zone", "us-train", "--to", "eu")
    assert "rules/weekend.rego:6" in text and "http.send" in text


def test_the_rules_that_come_with_sovgate_pass_their_tests(place: Path) -> None:
    value = json.loads(said(0, "policy", "test", "--format", "json"))
    assert value["failed"] == 0 and value["passed"] > 100


def test_a_failing_test_of_a_rule_is_shown(place: Path) -> None:
    (place / "rules").mkdir()
    (place / "rules" / "a.rego").write_text(
        'package user.a\nimport rego.v1\ndeny contains "x" if input.b\n'
    )
    (place / "rules" / "a_test.rego").write_text(
        "package user.a_test\nimport rego.v1\nimport data.user.a.deny\n"
        'test_good if count(deny) == 1 with input as {"b": true}\n'
        'test_bad if count(deny) == 2 with input as {"b": true}\n'
    )
    text = said(3, "policy", "test", "rules")
    assert "1 passed, 1 failed" in text and "test_bad" in text
    said(2, "policy", "test", "model")


def test_rules_are_listed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = json.loads(said(0, "policy", "list", "--format", "json"))
    assert "weights-inherit" in {rule["id"] for rule in value["rules"]}
    assert value["presets"] == ["default"]
    monkeypatch.chdir("/")
    assert "eu-personal-data" in said(0, "policy", "list")
