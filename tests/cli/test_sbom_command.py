"""`sovgate sbom` as a user runs it: what it prints, writes, signs and refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sovgate.formats.statement import Statement
from sovgate.stages import attest, inventory
from sovgate.stages.trust import open_statement
from tests import headers, models
from tests.commands import run
from tests.signers import KeySigner

ROOT = Path(__file__).resolve().parents[2]
SIGNER, OTHER = KeySigner(), KeySigner()
PROJECT = """\
version: 1
model: kyc-risk
zones:
  home: {region: "aws:eu-central-1", keys: {sign: "file:sign.pem"}}
datasets:
  public: {category: public, stays-in: []}
  kyc-eu: {category: personal, stays-in: [EU]}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a project, its key, and a model, as the working directory."""
    shutil.copytree(models.FOLDER / "transformer" / "model", tmp_path / "model")
    for name, signer in (("sign", SIGNER), ("other", OTHER)):
        key = tmp_path / f"{name}.pem"
        key.touch(mode=0o600)
        key.write_bytes(signer.private_pem)
    (tmp_path / "sovgate.yaml").write_text(PROJECT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return tmp_path


def ok(*arguments: str) -> str:
    done = run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def predicates(place: Path) -> list[dict[str, object]]:
    drafts = attest.read_unsigned(place / "model.evidence")
    statements = [Statement.parse(draft.data) for draft in drafts]
    return [s.predicate for s in statements if s.role == "sbom"]


def record_word(document: dict[str, object]) -> str:
    top = document["metadata"]["component"]  # type: ignore[index]
    return next(p["value"] for p in top["properties"] if p["name"] == "sovgate:training-record")


def test_a_signed_sbom_names_the_model_that_was_signed(place: Path) -> None:
    ok("sign", "model", "--key", "file:sign.pem")
    text = ok("sbom", "model", "--key", "file:sign.pem", "-o", "bom.json")
    assert "wrote the SBOM of kyc-risk" in text
    assert "bert, BertForSequenceClassification" in text
    assert "parameters  58 (F16, F32)" in text
    assert "no training record" in text
    (raw,) = [r for r in attest.read(place / "model.evidence") if r.name.startswith("sbom-")]
    verified = open_statement(raw.data, [SIGNER.trusted()], role="sbom")
    assert verified.statement.subject_name == "kyc-risk"
    digest = inventory.take(place / "model").manifest.digest
    assert verified.statement.subject_sha256 == digest
    assert verified.statement.predicate == json.loads((place / "bom.json").read_bytes())
    assert not (place / "model.evidence" / "unsigned").exists()
    ok("verify", "model")


def test_it_takes_data_sets_and_metrics_from_the_record(place: Path) -> None:
    ok(
        "record",
        "model",
        "--dataset",
        "kyc-eu",
        "--metric",
        "accuracy=0.93",
        "--parameter",
        "epochs=3",
        "--key",
        "file:sign.pem",
    )
    text = ok("sbom", "model", "-o", "bom.json")
    assert "data sets   kyc-eu" in text
    document = json.loads((place / "bom.json").read_bytes())
    assert record_word(document) == f"signed by sha256:{SIGNER.public_key.key_id}"
    card = document["metadata"]["component"]["modelCard"]
    assert card["modelParameters"]["datasets"] == [{"ref": "data:kyc-eu"}]
    assert {"name": "sovgate:hyper-parameter:epochs", "value": "3"} in card["properties"]


def test_a_record_that_no_trusted_key_signed_is_passed_over(place: Path) -> None:
    """Neither a stranger's record nor a draft stands before one that a trusted key signed."""
    ok("record", "model", "--dataset", "public", "--key", "file:other.pem")
    text = ok("sbom", "model")
    assert "passed over 1 other or unverified training records" in text
    (document,) = predicates(place)
    assert record_word(document) == "none"
    ok("record", "model", "--dataset", "kyc-eu", "--key", "file:sign.pem")
    ok("record", "model", "--dataset", "public")
    text = ok("sbom", "model", "-o", "bom.json")
    assert "data sets   kyc-eu" in text
    assert record_word(json.loads((place / "bom.json").read_bytes())).startswith("signed by")


def test_a_draft_of_a_record_is_said_to_be_unsigned(place: Path) -> None:
    ok("record", "model", "--dataset", "kyc-eu")
    ok("sbom", "model")
    (document,) = predicates(place)
    assert record_word(document) == "unsigned"


def test_a_record_of_another_state_of_the_model_does_not_count(place: Path) -> None:
    ok("record", "model", "--dataset", "kyc-eu", "--key", "file:sign.pem")
    (place / "model" / "README.md").write_text("changed")
    assert "passed over 1" in ok("sbom", "model")
    (document,) = predicates(place)
    assert record_word(document) == "none"


def test_it_needs_no_project(place: Path) -> None:
    (place / "sovgate.yaml").unlink()
    assert "wrote the SBOM of model" in ok("sbom", "model", "--license", "eupl-1.2")
    (document,) = predicates(place)
    licences = document["metadata"]["component"]["licenses"]  # type: ignore[index]
    assert [entry["license"]["id"] for entry in licences] == ["EUPL-1.2"]


def test_a_pickle_is_named_for_people_and_programs(place: Path) -> None:
    shutil.copy(models.FOLDER / "legacy" / "model" / "weights.bin", place / "model" / "w.bin")
    assert "a pickle runs code when it is loaded" in ok("sbom", "model")
    data = json.loads(ok("sbom", "model", "--format", "json"))
    assert data["pickles"] == {"w.bin": "a pickle of protocol 4"}


def test_a_hostile_header_is_exit_11_and_leaves_nothing(place: Path) -> None:
    bad = headers.vectors()["length-2-63.safetensors"]
    (place / "model" / "evil.safetensors").write_bytes(bad)
    done = run("sbom", "model", "-o", "bom.json", "--spdx", "spdx.json")
    assert done.returncode == 11
    assert "evil.safetensors" in done.stderr and "Traceback" not in done.stderr
    assert not (place / "bom.json").exists()
    assert not (place / "spdx.json").exists()
    assert not (place / "model.evidence").exists()


def test_a_wrong_command_line_is_exit_2(place: Path) -> None:
    assert run("sbom", "nowhere").returncode == 2
    assert run("sbom", "model", "--requirements", "nowhere.txt").returncode == 2
    assert run("sbom", "model", "--environment", "model").returncode == 2
    assert run("sbom", "model", "-o", "model/bom.json").returncode == 2
    assert run("sbom", "model", "--project", "model").returncode == 2
    assert not (place / "model.evidence").exists()


def test_a_key_that_does_not_open_leaves_nothing(place: Path) -> None:
    done = run("sbom", "model", "--key", "file:nowhere.pem", "-o", "bom.json")
    assert done.returncode in (2, 20)
    assert not (place / "bom.json").exists()
    assert not (place / "model.evidence").exists()


def test_rule_19_source_date_epoch_moves_nothing_else(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The times of a record are the clock's, whatever the variable says."""
    done = subprocess.run(
        [sys.executable, "-m", "sovgate", "record", "model", "--dataset", "public"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SOURCE_DATE_EPOCH": "1"},
    )
    assert done.returncode == 0
    (draft,) = attest.read_unsigned(place / "model.evidence")
    assert b"1970" not in draft.data
