"""RULES 32: done already means by the identity that would sign now, and with equal content.

What another trusted signer says stays beside it, and both bind.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sovgate.stages import attest
from tests.crossing import Crossing, make_crossing, tree
from tests.integration.test_attest_command import data

RELEASE = ("release", "model", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
TRUST = """
trust:
  - name: home-ci
    key: keys/home.pub.pem
    may: [signature, provenance, sbom, gate, transfer]
    from: home
  - {name: other, key: keys/eu.pub.pem, may: [signature, provenance, sbom, receipt], from: eu}
"""
MANIFEST = """\
version: 1
id: kyc
category: personal
pointer: s3://kyc/2026
stays-in: [EU, US]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crossing = make_crossing(tmp_path_factory.mktemp("made") / "project")
    shutil.rmtree(attest.evidence_dir(crossing.model))
    crossing.edit("kyc: {category: personal, stays-in: [US]}", "kyc: {manifest: kyc.yaml}")
    (crossing.base / "kyc.yaml").write_text(MANIFEST)
    data(crossing, "names and births")
    path = crossing.base / "sovgate.yaml"
    path.write_text(path.read_text() + TRUST)
    crossing.json("sign", "model", "--zone", "home")
    return crossing.base


@pytest.fixture
def crossing(made: Path, tmp_path: Path) -> Crossing:
    shutil.copytree(made, tmp_path / "project")
    return Crossing(base=tmp_path / "project", model=tmp_path / "project" / "model")


def release(crossing: Crossing, *words: str, code: int = 0) -> dict[str, str]:
    said = crossing.json(*RELEASE, *words, code=code)
    return {step["name"]: step["outcome"] for step in said["steps"]}


def statements(crossing: Crossing, role: str) -> list[Path]:
    return sorted(attest.evidence_dir(crossing.model).glob(f"{role}-*"))


def test_rule_32_another_signers_record_is_not_ones_own(crossing: Crossing) -> None:
    crossing.json("record", "model", "--dataset", "kyc", "--key", "keys/eu.pem")
    assert release(crossing, "--dataset", "kyc")["record"] == "done"
    assert len(statements(crossing, "provenance")) == 2
    again = release(crossing, "--dataset", "kyc")
    assert (again["record"], again["sbom"]) == ("already", "already")


def test_rule_32_a_record_of_another_state_of_the_data_is_another_record(
    crossing: Crossing,
) -> None:
    crossing.json("record", "model", "--dataset", "kyc", "--key", "keys/home.pem")
    data(crossing, "names, births and addresses", epoch="2026-12")
    assert release(crossing, "--dataset", "kyc")["record"] == "done"
    assert len(statements(crossing, "provenance")) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [("stays-in: [EU, US]", "stays-in: [EU, US, CH]"), ("category: personal", "category: secret")],
)
def test_rule_32_so_is_one_of_other_demands(crossing: Crossing, old: str, new: str) -> None:
    crossing.json("record", "model", "--dataset", "kyc", "--key", "keys/home.pem")
    path = crossing.base / "kyc.yaml"
    path.write_text(path.read_text().replace(old, new))
    assert release(crossing, "--dataset", "kyc")["record"] == "done"


def test_a_record_that_says_more_stands(crossing: Crossing) -> None:
    words = ("--dataset", "kyc", "--dataset", "public", "--metric", "auc=0.9")
    crossing.json("record", "model", *words, "--key", "keys/home.pem")
    assert release(crossing, "--dataset", "kyc")["record"] == "already"


def test_rule_32_another_signers_sbom_is_not_ones_own(crossing: Crossing) -> None:
    crossing.json("sbom", "model", "--key", "keys/eu.pem")
    assert release(crossing, "--dataset", "public")["sbom"] == "done"
    assert len(statements(crossing, "sbom")) == 2


def test_rule_32_an_sbom_of_before_the_record_is_written_again(crossing: Crossing) -> None:
    crossing.json("sbom", "model", "--key", "keys/home.pem")
    assert release(crossing, "--dataset", "public")["sbom"] == "done"


def test_an_sbom_that_lists_libraries_stands(crossing: Crossing) -> None:
    lock = crossing.base / "requirements.lock"
    lock.write_text("numpy==2.4.6 --hash=sha256:" + "ab" * 32 + "\n")
    crossing.json("record", "model", "--dataset", "public", "--key", "keys/home.pem")
    crossing.json("sbom", "model", "--requirements", lock, "--key", "keys/home.pem")
    assert release(crossing, "--dataset", "public")["sbom"] == "already"


def test_rule_32_a_model_that_another_signed_is_signed_by_who_says_its_data(
    crossing: Crossing,
) -> None:
    crossing.json("sign", "model", "--key", "keys/eu.pem")
    before = attest.signature_path(crossing.model).read_bytes()
    found = release(crossing, "--dataset", "public")
    assert found["sign"] == "done"
    kept = [path.read_bytes() for path in statements(crossing, "signature")]
    assert before in kept, "nothing is lost"
    assert "sign" not in release(crossing, "--dataset", "public")


def test_rule_32_a_dry_run_says_so_and_writes_nothing(crossing: Crossing) -> None:
    crossing.json("record", "model", "--dataset", "kyc", "--key", "keys/eu.pem")
    before = sorted(path.name for path in attest.evidence_dir(crossing.model).iterdir())
    assert release(crossing, "--dataset", "kyc", "--dry-run")["record"] == "would"
    assert sorted(p.name for p in attest.evidence_dir(crossing.model).iterdir()) == before


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["real", "dry"])
def test_a_key_that_may_not_sign_replaces_nobodys_signature(
    crossing: Crossing, dry: tuple[str, ...]
) -> None:
    """The model is signed already, by a key that is trusted for it: it stays so."""
    before = tree(attest.evidence_dir(crossing.model))
    words = (*RELEASE, "--key", "keys/eu-enc.pem")
    error = crossing.json(*words, *dry, code=3)["error"]
    assert error["reason"] == "own-role"
    assert error["what"] == "the key 'keys/eu-enc.pem' may not say signature"
    assert tree(attest.evidence_dir(crossing.model)) == before


def push(crossing: Crossing, code: int = 0) -> dict[str, Any]:
    return crossing.push(code=code)


def test_rule_32_a_release_without_a_record_that_binds_is_another_one(crossing: Crossing) -> None:
    crossing.json("record", "model", "--dataset", "public", "--key", "keys/home.pem")
    push(crossing)
    old = crossing.store.get("releases/churn/1.0.0.json", most=10**7)
    crossing.json("record", "model", "--dataset", "kyc", "--key", "keys/home.pem")
    error = push(crossing, code=21)["error"]
    assert error["reason"] == "release-differs"
    assert error["why"] == "it lacks a training record of the model"
    assert crossing.store.get("releases/churn/1.0.0.json", most=10**7) == old


def test_rule_32_a_release_for_another_key_is_another_one(crossing: Crossing) -> None:
    crossing.json("record", "model", "--dataset", "public", "--key", "keys/home.pem")
    push(crossing)
    for path in (crossing.base / "keys").glob("eu-enc*"):
        path.unlink()
    crossing.json("keys", "generate", "encrypt", "-o", "keys/eu-enc.pem")
    assert push(crossing, code=21)["error"]["reason"] == "release-differs"


def test_rule_32_a_receipt_by_an_earlier_key_of_the_zone_is_written_anew(
    crossing: Crossing,
) -> None:
    crossing.json("record", "model", "--dataset", "public", "--key", "keys/home.pem")
    push(crossing)
    crossing.pull()
    assert len(crossing.objects("receipts/")) == 1
    crossing.json("keys", "generate", "sign", "-o", "keys/new.pem")
    crossing.edit("keys: {sign: keys/eu.pem", "keys: {sign: keys/new.pem")
    path = crossing.base / "sovgate.yaml"
    entry = "  - {name: new, key: keys/new.pub.pem, may: [receipt], from: eu}\n"
    path.write_text(path.read_text() + entry)
    crossing.pull()
    assert len(crossing.objects("receipts/")) == 2
