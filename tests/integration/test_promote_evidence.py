"""What a zone adds to a release after it crossed: its own gate, and its lawyer's word."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sovgate.pipeline.look.keys import generate
from sovgate.stages import attest
from tests.crossing import Crossing, make_crossing
from tests.integration.test_attest_command import data
from tests.integration.test_gate_command import csv
from tests.repositories import Repository

TRUST = """
trust:
  - {name: home-ci, key: keys/home.pub.pem, may: [signature, provenance, transfer], from: home}
  - {name: eu-ci, key: keys/eu.pub.pem, may: [gate, receipt], from: eu}
  - {name: dpo, key: keys/dpo.pub.pem, may: [legal]}
gates:
  accuracy: {at-least: 0.90, before: deploy}
  legal: {dataset: kyc, before: deploy}
"""
MANIFEST = """\
version: 1
id: kyc
category: personal
pointer: s3://kyc/2026
stays-in: [EU, US]
"""


@pytest.fixture
def crossing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crossing:
    """A model that was trained at home and pulled into zone eu, where nobody has looked at it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = make_crossing(tmp_path / "project")
    generate("sign", out=made.base / "keys" / "dpo.pem", algorithm="ec-p256")
    made.edit("kyc: {category: personal, stays-in: [US]}", "kyc: {manifest: kyc.yaml}")
    made.edit("datasets:\n", "    gitops: {repo: ../serving.git, path: overlays/eu}\ndatasets:\n")
    (made.base / "kyc.yaml").write_text(MANIFEST)
    data(made, "names and births")
    path = made.base / "sovgate.yaml"
    path.write_text(path.read_text() + TRUST)
    csv(made.base / "local.csv", 960, 40)
    made.json("gate", "pin", "accuracy", "--predictions", "local.csv")
    made.sign("kyc")
    made.push()
    made.pull()
    Repository(tmp_path)
    return made


def promote(crossing: Crossing, *more: str, code: int = 0) -> dict[str, Any]:
    release = f"churn/1.0.0@sha256:{crossing.manifest}"
    return crossing.json("promote", release, "--zone", "eu", *more, code=code)


def look_at_it(crossing: Crossing, zone: str = "eu", dpo: str = "dpo") -> None:
    """In zone eu: a gate on local data, and a lawyer's word."""
    crossing.json(
        "gate", "accuracy", "pulled", "--predictions", "local.csv", "--key", "keys/eu.pem"
    )
    crossing.json(
        "attest",
        "pulled",
        "--legal",
        "--dataset",
        "kyc",
        "--zone",
        zone,
        "--key",
        f"keys/{dpo}.pem",
    )


def test_a_zone_deploys_by_its_own_gate_and_its_lawyers_word(crossing: Crossing) -> None:
    said = promote(crossing, code=10)["error"]
    told = [said["why"], *said["details"]]
    assert any("legal-before-deploy" in line for line in told)
    assert any("gates-before-stage" in line for line in told)
    look_at_it(crossing)
    promote(crossing, code=10)  # what lies beside some folder is not looked for
    assert crossing.objects("evidence/") == []
    promote(crossing, "--model", "pulled", "--dry-run")
    assert crossing.objects("evidence/") == [], "a dry run writes nothing"
    promote(crossing, "--model", "pulled")
    assert len(crossing.objects("evidence/churn/1.0.0/")) == 2


def test_rule_28_evidence_that_a_rollout_rests_on_is_missed(crossing: Crossing) -> None:
    look_at_it(crossing)
    promote(crossing, "--model", "pulled")
    code, said = crossing.run("audit", "verify", "--zone", "eu")
    assert code == 0, said
    shutil.rmtree(crossing.base / "eu-store/evidence")
    error = crossing.json("audit", "verify", "--zone", "eu", code=11)["error"]
    assert error["reason"] == "audit-missing"
    assert error["why"].startswith("the evidence sha256:")
    assert "the decision of promotions/eu/churn/000001.json of zone eu rests on it" in error["why"]
    assert len(error["details"]) == 1


def test_what_it_rested_on_is_there_when_it_is_asked_again(crossing: Crossing) -> None:
    """A rollback decides again; the pulled folder may be long gone."""
    look_at_it(crossing)
    promote(crossing, "--model", "pulled")
    shutil.rmtree(crossing.base / "pulled")
    shutil.rmtree(crossing.base / "pulled.evidence")
    shutil.rmtree(crossing.base.parent / "serving.git")
    shutil.rmtree(crossing.base.parent / "person", ignore_errors=True)
    Repository(crossing.base.parent)
    assert promote(crossing)["commit"]


@pytest.mark.parametrize("how", ["other-zone", "no-role", "other-model"])
def test_a_word_that_does_not_fit_is_not_kept_and_does_not_count(
    crossing: Crossing, how: str
) -> None:
    if how == "other-model":
        (crossing.base / "pulled" / "model.bin").write_bytes(b"something else")
    look_at_it(
        crossing,
        zone="home" if how == "other-zone" else "eu",
        dpo="eu" if how == "no-role" else "dpo",
    )
    said = promote(crossing, "--model", "pulled", code=10)["error"]
    assert "legal-before-deploy" in str(said)
    assert crossing.objects("evidence/") == []


def test_what_was_put_into_the_store_by_others_gives_no_right(crossing: Crossing) -> None:
    look_at_it(crossing, dpo="eu")
    folder = crossing.base / "eu-store" / "evidence" / "churn" / "1.0.0"
    folder.mkdir(parents=True)
    for raw in attest.read(crossing.base / "pulled.evidence"):
        (folder / f"{raw.sha256}.json").write_bytes(raw.data)
    assert "legal-before-deploy" in str(promote(crossing, code=10))
    path = next(folder.iterdir())
    path.write_bytes(path.read_bytes() + b" ")
    assert promote(crossing, code=11)["error"]["reason"] == "digest-mismatch"


def test_a_rollback_finds_the_word_that_the_older_release_was_deployed_by(
    crossing: Crossing,
) -> None:
    look_at_it(crossing)
    promote(crossing, "--model", "pulled")
    (crossing.model / "model.bin").write_bytes(b"a second version")
    crossing.sign("kyc")
    crossing.json(
        "push", crossing.model, "--release", "churn/1.1.0", "--zone", "home", "--to", "eu"
    )
    for left in ("pulled", "pulled.evidence"):
        shutil.rmtree(crossing.base / left)
    crossing.pull(release="churn/1.1.0")
    second = f"churn/1.1.0@sha256:{crossing.manifest}"
    crossing.json("promote", second, "--zone", "eu", "--model", "pulled", code=10)
    look_at_it(crossing)
    crossing.json("promote", second, "--zone", "eu", "--model", "pulled")
    said = crossing.json("rollback", "--zone", "eu", "--reason", "worse than the first")
    assert str(said["release"]).startswith("churn/1.0.0@")


def test_a_rollback_is_denied_once_nobody_stands_by_the_word(crossing: Crossing) -> None:
    """Nothing is rolled back to what may no longer run."""
    look_at_it(crossing)
    promote(crossing, "--model", "pulled")
    (crossing.model / "model.bin").write_bytes(b"a second version")
    crossing.sign("kyc")
    crossing.json(
        "push", crossing.model, "--release", "churn/1.1.0", "--zone", "home", "--to", "eu"
    )
    for left in ("pulled", "pulled.evidence"):
        shutil.rmtree(crossing.base / left)
    crossing.pull(release="churn/1.1.0")
    look_at_it(crossing)
    crossing.json(
        "promote", f"churn/1.1.0@sha256:{crossing.manifest}", "--zone", "eu", "--model", "pulled"
    )
    crossing.edit("  - {name: dpo, key: keys/dpo.pub.pem, may: [legal]}\n", "")
    code, _ = crossing.run("rollback", "--zone", "eu", "--reason", "worse than the first")
    assert code == 10
