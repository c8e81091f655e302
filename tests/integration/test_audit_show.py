"""`sovgate audit show`: a release's whole story, and nothing in it that is not what it says.

Golden stories lie in tests/vectors/stories, digests and times taken out; UPDATE_STORIES=1 rewrites.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sovgate.formats import testresult
from sovgate.formats.bundle import Bundle
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.gates import accuracy
from sovgate.keys.registry import open_signer
from sovgate.stages import attest
from tests.crossing import Crossing, make_crossing
from tests.desks import GITOPS
from tests.repositories import Repository

STORIES = Path(__file__).parents[1] / "vectors" / "stories"
RELEASE = ("release", "model", "--zone", "home", "--to", "eu", "--dataset", "public")
MANIFEST = """\
version: 1
id: public
category: public
pointer: https://data.example/public
stays-in: []
commitment: {scheme: hmac-sha256/v0, epoch: "1", value: "%s"}
source: a test
date: 2026-11-24
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.0.0 with a gate's result, 1.1.0, both promoted; rolled back; 1.2.0 denied on its way."""
    folder = tmp_path_factory.mktemp("made")
    crossing = make_crossing(folder / "project", {"model.bin": b"0" * 999, "config.json": b"{}"})
    Repository(folder)
    crossing.edit("datasets:\n", GITOPS)
    crossing.edit("public: {category: public, stays-in: []}", "public: {manifest: public.yaml}")
    (crossing.base / "public.yaml").write_text(MANIFEST % ("c" * 64))
    for version in ("1.0.0", "1.1.0"):
        shutil.rmtree(attest.evidence_dir(crossing.model), ignore_errors=True)
        (crossing.model / "model.bin").write_bytes(version.encode() * 100)
        if version == "1.0.0":
            attest.evidence_dir(crossing.model).mkdir()
            crossing.evidence("gate", gate())
        crossing.json(*RELEASE, "--release", f"churn/{version}", "--through", "promote")
    crossing.json("rollback", "--zone", "eu", "--reason", "P95 at 240 ms")
    crossing.edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    crossing.json(*RELEASE, "--release", "churn/1.2.0", code=10)
    crossing.edit("weights: {allow: []}", "weights: {allow: [home -> eu]}")
    return folder


def gate() -> dict[str, Any]:
    measure = accuracy.again(
        testresult.Measure(metric="accuracy", n=500, confidence="0.95", counts={"right": 480})
    )
    return testresult.TestResult(
        gate="accuracy",
        measure=measure,
        bound="at-least",
        threshold="0.9",
        inputs={"predictions": "d" * 64},
    ).predicate()


@pytest.fixture
def crossing(made: Path, tmp_path: Path) -> Crossing:
    shutil.copytree(made / "project", tmp_path / "project", symlinks=True)
    return Crossing(base=tmp_path / "project", model=tmp_path / "project" / "model")


def show(crossing: Crossing, version: str, *more: object, code: int = 0) -> dict[str, Any]:
    return crossing.json("audit", "show", f"churn/{version}", *more, code=code)


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node["children"]:
        yield from nodes(child)


def with_status(said: dict[str, Any], status: str) -> list[dict[str, Any]]:
    return [node for node in nodes(said["story"]) if node["status"] == status]


def plain(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"\b[0-9a-f]{40,64}\b", "#", text)
    text = re.sub(r"\b[0-9a-f]{16}(?=…|\\u2026)", "#", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(r"file://\S*/(?=eu-store|serving)", "file:///", text)
    text = re.sub(r"\d+ bytes of ciphertext", "N bytes of ciphertext", text)
    return text.replace("\\u2713", "✓").replace("\\u2717", "✗").replace("\\u2026", "…")


@pytest.mark.parametrize(
    ("version", "name"),
    [("1.0.0", "released-and-gone-back-to"), ("1.1.0", "rolled-back"), ("1.2.0", "denied")],
)
def test_golden_stories(crossing: Crossing, version: str, name: str) -> None:
    code, text = crossing.run("audit", "show", f"churn/{version}")
    assert code == 0, text
    path = STORIES / f"{name}.txt"
    if os.environ.get("UPDATE_STORIES"):
        path.write_text(plain(text))
    assert plain(text) == path.read_text()


def test_the_story_as_json_tells_who_what_when_and_why(crossing: Crossing) -> None:
    said = show(crossing, "1.0.0")
    told = {node["kind"]: node for node in nodes(said["story"])}
    assert said["failed"] == said["missing"] == 0
    assert told["transfer"]["by"] == "zone home"
    assert told["transfer"]["when"].endswith("Z")
    assert told["receipt"]["by"] == told["promote"]["by"] == told["rollback"]["by"] == "zone eu"
    assert told["rollback"]["what"].endswith("churn/1.1.0 to churn/1.0.0: P95 at 240 ms")
    assert told["data set"]["sha256"] == "c" * 64
    assert told["gate"]["what"].startswith("accuracy at-least 0.9: pass")
    signed = [node for node in nodes(said["story"]) if node["status"] == "verified"]
    assert all(node["by"] for node in signed)


def test_a_denial_tells_which_rule_it_was(crossing: Crossing) -> None:
    said = show(crossing, "1.2.0")
    decisions = [n for n in nodes(said["story"]) if n["kind"] == "decision"]
    assert "transfer of weights from home to eu: denied by" in decisions[0]["what"]
    assert all(n["status"] == "verified" for n in decisions)


def test_data_that_changed_since_is_told_apart(crossing: Crossing) -> None:
    (crossing.base / "public.yaml").write_text(MANIFEST % ("d" * 64))
    told = {node["kind"]: node for node in nodes(show(crossing, "1.0.0")["story"])}
    assert "which is not that of today" in told["data set"]["what"]


def test_nothing_is_known_of_it(crossing: Crossing) -> None:
    assert show(crossing, "7.0.0", code=21)["error"]["reason"] == "no-release"
    show(crossing, "1.0.0", "--zone", "mars", code=3)
    crossing.json("audit", "show", "churn", code=2)


def test_a_pin_of_another_model_fails(crossing: Crossing) -> None:
    said = show(crossing, "1.0.0@sha256:" + "0" * 64, code=11)
    (bad,) = with_status(said, "failed")
    assert bad["what"] == "of another model than was asked for"


def test_one_zone_can_be_asked_for(crossing: Crossing) -> None:
    said = show(crossing, "1.0.0", "--zone", "eu")
    assert [n["kind"] for n in said["story"]["children"]] == ["zone", "log"]


# --- what cannot be verified is shown as such ---------------------------------------------------


def store(crossing: Crossing) -> Path:
    return crossing.base / "eu-store"


def record(crossing: Crossing, version: str = "1.0.0") -> dict[str, Any]:
    path = store(crossing) / f"releases/churn/{version}.json"
    return dict(Statement.parse(Bundle.parse(path.read_bytes()).payload).predicate)


def blob(crossing: Crossing, role: str) -> Path:
    (ref,) = [e for e in record(crossing)["evidence"] if e["role"] == role]
    return store(crossing) / "objects/sha256" / ref["sha256"]


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize("role", ["provenance", "sbom", "gate"])
def test_evidence_that_is_gone_or_changed_is_a_node_all_the_same(
    crossing: Crossing, role: str
) -> None:
    path = blob(crossing, role)
    overwrite(path, path.read_bytes()[:-1] + b" ")
    (bad,) = with_status(show(crossing, "1.0.0", code=11), "failed")
    assert (bad["kind"], bad["by"]) == (role, None)
    path.unlink()
    (gone,) = with_status(show(crossing, "1.0.0", code=14), "missing")
    assert gone["kind"] == role
    code, text = crossing.run("audit", "show", "churn/1.0.0")
    assert code == 14
    assert "MISSING" in text
    assert "1 is missing" in text


def test_a_store_that_does_not_answer_hides_nothing_of_the_others(crossing: Crossing) -> None:
    zone = "  ch: {region: 'gcp:europe-west6', store: model/model.bin/below}\ndatasets:\n"
    crossing.edit("datasets:\n", zone)
    said = show(crossing, "1.0.0", code=14)
    (silent,) = with_status(said, "missing")
    assert silent["what"] == "ch, whose store cannot be read"
    assert silent["why"]
    assert said["verified"] > 20
    show(crossing, "1.0.0", "--zone", "eu")


def test_weights_that_are_gone_are_missed(crossing: Crossing) -> None:
    for path in (chunk(crossing), listed(crossing), table(crossing)):
        data = path.read_bytes()
        path.unlink()
        (gone,) = with_status(show(crossing, "1.0.0", code=14), "missing")
        assert gone["kind"] == "weights"
        path.write_bytes(data)
    overwrite(listed(crossing), bytes(32))
    (bad,) = with_status(show(crossing, "1.0.0", code=11), "failed")
    assert bad["kind"] == "weights"


def listed(crossing: Crossing) -> Path:
    return store(crossing) / "objects/sha256" / record(crossing)["parts"][0]["list"]["sha256"]


def table(crossing: Crossing) -> Path:
    return store(crossing) / "objects/sha256" / record(crossing)["parts"][0]["keytable"]["sha256"]


def chunk(crossing: Crossing) -> Path:
    return store(crossing) / "chunks/sha256" / listed(crossing).read_bytes()[:32].hex()


def test_a_record_that_was_changed_fails_and_so_does_what_names_it(crossing: Crossing) -> None:
    path = store(crossing) / "releases/churn/1.0.0.json"
    overwrite(path, path.read_bytes().replace(b"A", b"B", 1))
    kinds = {node["kind"] for node in with_status(show(crossing, "1.0.0", code=11), "failed")}
    assert kinds == {"transfer", "receipt", "promote", "rollback"}


def test_rule_28_a_log_that_was_cut_is_seen_by_the_heads_that_documents_name(
    crossing: Crossing,
) -> None:
    promoted = store(crossing) / "promotions/eu/churn/000001.json"
    head = Statement.parse(Bundle.parse(promoted.read_bytes()).payload).predicate["audit-head"]
    (path,) = [
        p
        for p in (store(crossing) / "audit").rglob("*.json")
        if hashlib.sha256(p.read_bytes()).hexdigest() == head
    ]
    shutil.rmtree(path.parent)
    said = show(crossing, "1.0.0", code=11)
    (gone,) = with_status(said, "missing")
    assert (gone["kind"], gone["sha256"]) == ("log", head)
    (cut,) = with_status(said, "failed")
    assert cut["why"].startswith("audit-cut")


def test_rule_28_a_log_that_was_removed_whole_is_missed(crossing: Crossing) -> None:
    shutil.rmtree(store(crossing) / "audit")
    gone = with_status(show(crossing, "1.0.0", code=14), "missing")
    assert {node["why"] for node in gone if node["kind"] == "log"} == {
        "the log of zone eu is empty: it was removed"
    }


def test_rule_28_the_log_of_a_zone_that_was_not_asked_for_is_not_missed(
    crossing: Crossing,
) -> None:
    shutil.rmtree(crossing.base / ".sovgate/home/audit")
    show(crossing, "1.0.0", "--zone", "eu")
    show(crossing, "1.0.0", code=14)


@pytest.mark.parametrize(
    ("planted", "kind"),
    [
        ("promotions/eu/churn/000009.json", "zone"),
        ("receipts/churn/1.0.0/x.json", "zone"),
        ("audit/x.json", "log"),
        ("chunks", "weights"),
        ("large", "promotion"),
    ],
)
def test_what_was_planted_in_a_store_is_a_node_and_hides_nothing_of_the_others(
    crossing: Crossing, planted: str, kind: str
) -> None:
    if planted == "large":
        (store(crossing) / "promotions/eu/churn/000009.json").write_bytes(b"x" * (2 << 20))
    else:
        if planted == "chunks":
            planted = chunk(crossing).relative_to(store(crossing)).as_posix()
            (store(crossing) / planted).unlink()
        (store(crossing) / planted).symlink_to("/etc/passwd")
    said = show(crossing, "1.0.0", code=11)
    assert kind in {node["kind"] for node in with_status(said, "failed")}
    assert "log" in {node["kind"] for node in with_status(said, "stated")}


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("eu-store/promotions", "promotions/eu/churn/ lacks the record sha256:"),
        ("eu-store/promotions/eu/churn/000003.json", "promotions/eu/churn/ lacks the record"),
        ("eu-store/receipts", "receipts/churn/1.0.0/"),
        ("eu-store/releases", "releases/churn/1.0.0.json is missing"),
        ("eu-store/releases/churn/1.1.0.json", "releases/churn/1.1.0.json is missing"),
        ("eu-store/objects", "objects/sha256/"),
        ("eu-store/chunks", "chunks/sha256/"),
        ("eu-store/sequences", "sequences/churn/000000000001.json is missing"),
        ("eu-store/audit", "is not in the log"),
        (".sovgate/home/audit", "is not in the log"),
        (".sovgate/home/objects", "objects/sha256/"),
        ("eu-store/*", "is missing in the store of zone eu"),
    ],
)
def test_rule_28_what_a_signed_record_names_is_there(
    crossing: Crossing, gone: str, told: str
) -> None:
    """Each folder of a store and of a log at home: the records that stay know what is missing."""
    for place in crossing.base.glob(gone):
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    error = crossing.json("audit", "verify", code=11)["error"]
    assert error["reason"] in ("audit-missing", "audit-cut")
    assert told in error["why"]


def test_a_receipts_decision_that_is_gone_is_told_for_earlier_versions_kept_none(
    crossing: Crossing,
) -> None:
    receipt = next((crossing.base / "eu-store/receipts/churn/1.0.0").iterdir())
    said = json.loads(base64.b64decode(json.loads(receipt.read_bytes())["dsseEnvelope"]["payload"]))
    digest = said["predicate"]["decision"]["sha256"]
    decision = crossing.base / "eu-store/objects/sha256" / digest
    data = decision.read_bytes()
    decision.unlink()
    (told,) = crossing.json("audit", "verify")["passed-over"]
    assert digest in told and receipt.name in told
    decision.write_bytes(data + b" ")
    error = crossing.json("audit", "verify", code=11)["error"]
    assert f"objects/sha256/{digest} has other bytes" in error["why"]


def test_rule_28_a_kept_document_that_was_exchanged_is_told(crossing: Crossing) -> None:
    code, said = crossing.run("audit", "verify")
    assert code == 0, said
    receipt = next((crossing.base / "eu-store/receipts/churn/1.0.0").iterdir())
    receipt.chmod(0o644)
    receipt.write_bytes(receipt.read_bytes() + b" ")
    error = crossing.json("audit", "verify", code=11)["error"]
    assert error["why"].startswith(f"receipts/churn/1.0.0/{receipt.name} has other bytes")
    assert "names it" in error["why"]


def test_rule_28_a_promotion_record_that_was_removed_is_missed(crossing: Crossing) -> None:
    (store(crossing) / "promotions/eu/churn/000003.json").unlink()
    for version in ("1.0.0", "1.1.0"):
        (gone,) = with_status(show(crossing, version, code=14), "missing")
        assert gone["what"] == "a record that was removed"
        assert "audit/" in gone["why"]


def forge(crossing: Crossing, path: Path, key: str, **changes: Any) -> None:
    """The statement at `path` with other fields, signed again by a key of the project."""
    old = Statement.parse(Bundle.parse(path.read_bytes()).payload)
    made = Statement(
        subject_name=old.subject_name,
        subject_sha256=changes.get("manifest", old.subject_sha256),
        predicate_type=PREDICATE_TYPES[changes.pop("role", old.role)],
        predicate={**old.predicate, **changes},
    )
    overwrite(path, attest.seal(made, open_signer(key, crossing.base)))


def test_rule_06_a_receipt_of_another_release_counts_for_nothing(crossing: Crossing) -> None:
    (path,) = (store(crossing) / "receipts/churn/1.0.0").iterdir()
    (other,) = (store(crossing) / "receipts/churn/1.1.0").iterdir()
    overwrite(path, other.read_bytes())
    (bad,) = with_status(show(crossing, "1.0.0", code=11), "failed")
    assert bad["why"] == "it is about churn/1.1.0"


@pytest.mark.parametrize("key", ["keys/home.pem", "keys/nobody.pem"])
def test_a_receipt_by_another_zone_or_by_nobody(crossing: Crossing, key: str) -> None:
    crossing.run("keys", "generate", "sign", "-o", "keys/nobody.pem")
    (path,) = (store(crossing) / "receipts/churn/1.0.0").iterdir()
    forge(crossing, path, key)
    (bad,) = with_status(show(crossing, "1.0.0", code=11), "failed")
    assert bad["kind"] == "receipt"
    assert bad["why"].startswith(("wrong-source", "wrong-signer"))


def test_a_promotion_with_a_replayed_or_expired_decision(crossing: Crossing) -> None:
    path = store(crossing) / "promotions/eu/churn/000003.json"
    other = Statement.parse(
        Bundle.parse((store(crossing) / "promotions/eu/churn/000002.json").read_bytes()).payload
    ).predicate
    good = path.read_bytes()
    forge(crossing, path, "keys/eu.pem", decision=other["decision"])
    bad = with_status(show(crossing, "1.0.0", code=11), "failed")
    assert [n["kind"] for n in bad] == ["decision"]
    assert bad[0]["why"].startswith("wrong-decision")
    overwrite(path, good)
    forge(crossing, path, "keys/eu.pem", created="2031-01-01T00:00:00Z")
    bad = with_status(show(crossing, "1.0.0", code=11), "failed")
    assert bad[0]["why"].startswith("decision-expired")


def test_hostile_text_in_a_story_stays_text(crossing: Crossing) -> None:
    """A reason with no control characters can still look like a log command."""
    path = store(crossing) / "promotions/eu/churn/000003.json"
    forge(crossing, path, "keys/eu.pem", reason="::error::pwned <b>##[x]")
    code, text = crossing.run("audit", "show", "churn/1.0.0", "--format", "github")
    assert "::error::pwned" not in text
    assert json.loads(crossing.run("audit", "show", "churn/1.0.0", "--format", "json")[1])
    assert code in (0, 14)
