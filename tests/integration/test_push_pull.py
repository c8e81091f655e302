"""A model across a border and back into use, by the commands; and all that must stop it."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from sovgate.errors import Inconclusive, StoreError
from sovgate.formats.bundle import Bundle
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.transfer import Claim
from sovgate.keys import registry
from sovgate.pipeline.decide import contents
from sovgate.pipeline.decide.contents import Contents
from sovgate.pipeline.move.pull import pull
from sovgate.pipeline.move.push import push
from sovgate.records import Options
from sovgate.stages import attest, audit, inventory
from tests.certificates import issue
from tests.crossing import FILES, Crossing, make_crossing, tree
from tests.signers import KeySigner

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Crossing:
    return make_crossing(tmp_path_factory.mktemp("made") / "project")


@pytest.fixture
def crossing(made: Crossing, tmp_path: Path) -> Crossing:
    return copy_of(made, tmp_path)


def copy_of(crossing: Crossing, folder: Path) -> Crossing:
    shutil.copytree(crossing.base, folder / "project")
    return Crossing(base=folder / "project", model=folder / "project" / "model")


def predicate(path: Path) -> dict[str, object]:
    return Statement.parse(Bundle.parse(path.read_bytes()).payload).predicate


# -- the way that works


def test_a_model_crosses_and_is_the_same_there(crossing: Crossing) -> None:
    pushed = crossing.push()
    pulled = crossing.pull(release=f"churn/1.0.0@sha256:{pushed['manifest']}")
    assert tree(crossing.base / "pulled") == tree(crossing.model)
    assert pulled["manifest"] == pushed["manifest"] == crossing.manifest
    assert pulled["record"] == pushed["record"]
    evidence = {path.name.split("-")[0] for path in (crossing.base / "pulled.evidence").iterdir()}
    assert evidence == {"signature.sigstore.json", "provenance", "decision", "transfer", "receipt"}


def test_a_model_that_is_one_file_crosses(tmp_path: Path) -> None:
    crossing = make_crossing(tmp_path / "project", b"one file " * 1000)
    crossing.push()
    crossing.pull()
    assert (crossing.base / "pulled").read_bytes() == b"one file " * 1000


def test_what_was_encrypted_before_is_pushed_as_it_is(crossing: Crossing) -> None:
    crossing.sbom()
    code, said = crossing.run(
        "encrypt", crossing.model, "--to", "eu", "--release", "churn/1.0.0", "-o", "sealed"
    )
    assert code == 0, said
    crossing.json("push", "sealed", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    copy, store = crossing.base / "sealed/eu", crossing.base / "eu-store"
    for kind in ("chunks", "objects"):
        made = tree(copy / kind)
        assert made
        assert made.items() <= tree(store / kind).items()
    assert tree(copy / "chunks") == tree(store / "chunks")
    crossing.pull()
    assert tree(crossing.base / "pulled") == tree(crossing.model)


def test_what_was_encrypted_as_another_release_is_not_pushed(crossing: Crossing) -> None:
    crossing.run("encrypt", crossing.model, "--to", "eu", "--release", "churn/9", "-o", "sealed")
    found = crossing.json(
        "push", "sealed", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu", code=2
    )
    assert found["error"]["reason"] == "wrong-release"


def test_a_changed_object_of_what_was_encrypted_never_becomes_visible(crossing: Crossing) -> None:
    crossing.sbom()
    crossing.run(
        "encrypt", crossing.model, "--to", "eu", "--release", "churn/1.0.0", "-o", "sealed"
    )
    words = ("push", "sealed", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    for path in [p for p in (crossing.base / "sealed/eu").rglob("*/sha256/*") if p.is_file()]:
        data = path.read_bytes()
        path.chmod(0o644)
        for spoilt in (data[:-1], data + b"x", data[:-1] + bytes([data[-1] ^ 1])):
            path.write_bytes(spoilt)
            assert crossing.json(*words, code=11)["error"]["reason"] == "damaged", path
        path.unlink()
        assert crossing.json(*words, code=11)["error"]["reason"] == "missing-object", path
        path.write_bytes(data)
        assert crossing.objects("releases/") == []
        shutil.rmtree(crossing.base / "eu-store/chunks", ignore_errors=True)
    crossing.json(*words)


def test_a_dry_run_says_all_and_writes_nothing_anywhere(crossing: Crossing) -> None:
    before = tree(crossing.base)
    folders = sorted(str(p) for p in crossing.base.rglob("*"))
    said = crossing.push("--dry-run")
    assert tree(crossing.base) == before
    assert sorted(str(p) for p in crossing.base.rglob("*")) == folders
    assert said["to"]["zone"] == "eu"
    assert said["recipient"]["algorithm"] == "hpke-p256-hkdf-sha256-aes256gcm"
    assert said["crossed"] > said["bytes"] > 0
    assert said["record"] is None


def test_a_second_push_is_success_and_the_record_stays(crossing: Crossing) -> None:
    first = crossing.push()
    path = crossing.base / "eu-store/releases/churn/1.0.0.json"
    before = path.read_bytes()
    again = crossing.push()
    assert (again["already"], again["record"]) == (True, first["record"])
    assert path.read_bytes() == before


def test_a_second_pull_is_success_with_the_same_receipt(crossing: Crossing) -> None:
    crossing.push()
    first = crossing.pull()
    again = crossing.pull()
    assert (again["already"], again["receipt"]) == (True, first["receipt"])
    assert len(crossing.objects("receipts/")) == 1


def test_rule_27_an_unpinned_pull_says_so(crossing: Crossing) -> None:
    pushed = crossing.push()
    _, said = crossing.run("pull", "churn/1.0.0", "--zone", "eu", "-o", "a")
    assert "not pinned" in said
    pinned = f"churn/1.0.0@sha256:{pushed['manifest']}"
    _, said = crossing.run("pull", pinned, "--zone", "eu", "-o", "b")
    assert "not pinned" not in said
    found = crossing.pull(release="churn/1.0.0@sha256:" + "0" * 64, code=11)
    assert found["error"]["reason"] == "wrong-manifest"


def test_a_version_that_sounds_as_if_it_moved_is_told_before_it_is_there(
    crossing: Crossing,
) -> None:
    release = ("--zone", "home", "--to", "eu", "--release", "churn/latest")
    told = "the store takes no other model as churn/latest. Number each release, e.g. churn/1.0.0"
    for command in ("check", "encrypt", "push", "release"):
        dry = () if command == "check" else ("--dry-run",)
        more = ("-o", "sealed") if command == "encrypt" else ()
        code, said = crossing.run(command, crossing.model, *release, *dry, *more)
        assert (code, said.count(told)) == (0, 1), said
    code, said = crossing.run("push", crossing.model, *release)
    assert (code, told in said) == (0, True)
    # And so it is.
    (crossing.model / "model.bin").write_bytes(b"better")
    crossing.sign()
    assert crossing.run("push", crossing.model, *release)[0] == 21


def test_the_fix_of_a_push_without_a_record_signs_the_draft(crossing: Crossing) -> None:
    (record,) = attest.evidence_dir(crossing.model).glob("provenance-*")
    record.unlink()
    crossing.json("record", crossing.model, "--dataset", "public")
    asked = ("push", crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    for dry in ((), ("--dry-run",)):
        error = crossing.json(*asked, *dry, code=10)["error"]
        said, command = error["fix"].split(": sovgate ")
        assert said.startswith(
            "an unsigned record beside it names the data public; if that is right"
        )
    assert crossing.run(*shlex.split(command))[0] == 0
    assert crossing.run(*asked)[0] == 0


def test_an_older_release_says_that_there_is_a_newer_one(crossing: Crossing) -> None:
    crossing.push()
    (crossing.model / "model.bin").write_bytes(b"better")
    crossing.sign()
    crossing.json(
        "push", crossing.model, "--release", "churn/1.1.0", "--zone", "home", "--to", "eu"
    )
    assert crossing.pull()["newer"] == ["churn/1.1.0"]


def test_the_record_says_who_where_and_why(crossing: Crossing) -> None:
    crossing.push()
    said = predicate(crossing.base / "eu-store/releases/churn/1.0.0.json")
    assert said["source"] == {
        "zone": "home",
        "provider-region": "aws:us-east-1",
        "country": "US",
        "operator": "aws",
        "grade": 1,
    }
    decisions = {path.name for path in attest.evidence_dir(crossing.model).glob("decision-*")}
    assert f"decision-{said['decision']['sha256'][:16]}.sigstore.json" in decisions  # type: ignore[index]


def test_the_receipt_is_the_zones_own_word(crossing: Crossing) -> None:
    crossing.push()
    pulled = crossing.pull()
    path = crossing.base / f"eu-store/receipts/churn/1.0.0/{pulled['receipt']}.json"
    said = predicate(path)
    assert said["zone"] == "eu"
    assert said["record"] == {"sha256": pulled["record"]}
    assert {check["result"] for check in said["checks"]} == {"PASSED"}  # type: ignore[attr-defined,index]


TRUST = """\
trust:
  - {name: central-ci, key: keys/home.pub.pem, may: [signature, provenance, gate, transfer], from: home}
  - {name: eu-ci, key: keys/eu.pub.pem, may: [receipt], from: eu}
"""  # noqa: E501


def test_each_zone_has_a_file_of_its_own_and_knows_no_secret_of_the_other(
    crossing: Crossing, tmp_path: Path
) -> None:
    there = copy_of(crossing, tmp_path / "there")
    crossing.edit("sign: keys/eu.pem, encrypt: keys/eu-enc.pem, ", "")
    there.edit("{sign: keys/home.pem}", "{sign-public: keys/home.pub.pem}")
    for one in (crossing, there):
        path = one.base / "sovgate.yaml"
        path.write_text(path.read_text() + TRUST)
    for secret in ("eu.pem", "eu-enc.pem"):
        (crossing.base / "keys" / secret).unlink()
    (there.base / "keys/home.pem").unlink()
    shutil.rmtree(there.model)
    shutil.rmtree(there.base / "model.evidence")
    pushed = crossing.push()
    shutil.move(crossing.base / "eu-store", there.base / "eu-store")
    pulled = there.pull()
    assert tree(there.base / "pulled") == tree(crossing.model)
    assert there.pull()["receipt"] == pulled["receipt"]
    assert pulled["signers"] == {"transfer": "central-ci", "signature": "central-ci"}
    there.json("audit", "verify", "--zone", "eu", "--strict", code=14)
    there.json("audit", "verify", "--zone", "eu")
    noted = ("audit", "verify", "--against", pushed["audit-head"])
    assert crossing.json(*noted, code=14)["error"]["reason"] == "store-away"  # on its way
    shutil.copytree(there.base / "eu-store", crossing.base / "eu-store")
    crossing.json(*noted, "--zone", "home")


@pytest.mark.parametrize("role", ["transfer", "receipt"])
def test_a_key_that_its_own_file_does_not_trust_stops_before_anything(
    crossing: Crossing, role: str
) -> None:
    trust = TRUST.replace(", transfer", "") if role == "transfer" else TRUST
    path = crossing.base / "sovgate.yaml"
    if role == "receipt":
        crossing.push()
        trust = TRUST.replace("[receipt]", "[gate]")
    path.write_text(path.read_text() + trust)
    before = crossing.objects("audit/")
    found = crossing.push(code=3) if role == "transfer" else crossing.pull(code=3)
    assert found["error"]["reason"] == "own-role"
    assert crossing.objects("audit/") == before


# -- the audit log


def test_the_log_verifies_against_the_heads_that_were_printed(crossing: Crossing) -> None:
    pushed = crossing.push()
    pulled = crossing.pull()
    crossing.json("audit", "verify", "--strict", code=14)
    crossing.json("audit", "verify")
    found = crossing.json(
        "audit", "verify", "--against", pushed["audit-head"], "--against", pulled["audit-head"]
    )
    assert {log["zone"]: log["entries"] for log in found["logs"]} == {"home": 2, "eu": 2}
    crossing.json("audit", "verify", "--zone", "eu", "--against", pulled["audit-head"])


@pytest.mark.parametrize("whole", [False, True])
def test_rule_28_records_and_receipts_betray_a_removed_log(crossing: Crossing, whole: bool) -> None:
    """A push's announcement is named by the record, in the other zone's store."""
    crossing.push()
    crossing.pull()
    for log in (crossing.base / ".sovgate/home/audit", crossing.base / "eu-store/audit"):
        kept = shutil.copytree(log, crossing.base / "kept")
        run = next(iter(log.iterdir()))
        if whole:
            shutil.rmtree(log)
            log.mkdir()
        else:
            (run / "0001.json").unlink()
        zone = "home" if "home" in str(log) else "eu"
        found = crossing.json("audit", "verify", "--zone", zone, code=11 if whole else 14)
        assert found["error"]["reason"] == ("audit-cut" if whole else "no-anchor")
        shutil.rmtree(log)
        shutil.move(kept, log)


@pytest.mark.parametrize("log", [".sovgate/home/audit", "eu-store/audit"])
def test_rule_28_a_log_removed_whole_is_missed_though_nobody_names_its_zone(
    crossing: Crossing, log: str
) -> None:
    """Records and receipts know of it, so it is no zone without a log."""
    heads = [crossing.push()["audit-head"], crossing.pull()["audit-head"]]
    named = [f"--against={head}" for head in heads]
    crossing.json("audit", "verify", *named)
    shutil.rmtree(crossing.base / log)
    left = heads[1] if "home" in log else heads[0]
    found = crossing.json("audit", "verify", "--against", left, code=11)
    assert found["error"]["reason"] == "audit-cut"


def test_rule_28_a_log_that_is_kept_elsewhere_is_named(crossing: Crossing) -> None:
    """The destination has neither the source's log nor its key: it says that it did not look."""
    crossing.push()
    head = crossing.pull()["audit-head"]
    shutil.rmtree(crossing.base / ".sovgate")
    crossing.edit("{sign: keys/home.pem}", "{sign-public: keys/home.pub.pem}")
    found = crossing.json("audit", "verify", "--against", head)
    assert [log["zone"] for log in found["logs"]] == ["eu"]
    assert [line.split(",")[0] for line in found["elsewhere"]] == ["zone home"]


def test_rule_28_a_head_that_was_noted_betrays_a_cut(crossing: Crossing) -> None:
    pushed = crossing.push()
    run = next((crossing.base / ".sovgate/home/audit").iterdir())
    (run / "0001.json").unlink()
    found = crossing.json("audit", "verify", "--against", pushed["audit-head"], code=11)
    assert found["error"]["reason"] == "audit-cut"


def test_a_head_that_is_none_is_a_usage_error(crossing: Crossing) -> None:
    assert crossing.json("audit", "verify", "--against", "HEAD", code=2)["error"]["fix"]


# -- what must not cross


def test_a_denied_push_leaves_nothing_there_and_is_written_down(crossing: Crossing) -> None:
    crossing.sign("kyc")
    found = crossing.push(code=10)
    assert "kyc" in found["error"]["why"]
    assert found["error"]["where"]["path"] == "sovgate.yaml"
    assert {name.split("/")[0] for name in tree(crossing.base / "eu-store")} <= {".incoming"}
    (entry,) = (crossing.base / ".sovgate/home/audit").rglob("*.json")
    said = predicate(entry)
    assert (said["kind"], said["exit"], said["to"]) == ("denied", 10, "eu")
    head = hashlib.sha256(entry.read_bytes()).hexdigest()
    assert found["audit-head"] == head
    crossing.json("audit", "verify", "--against", head)


def test_a_dry_run_of_what_is_denied_is_denied_and_writes_nothing(crossing: Crossing) -> None:
    crossing.sign("kyc")
    before = tree(crossing.base)
    crossing.push("--dry-run", code=10)
    assert tree(crossing.base) == before


def test_rule_17_metadata_is_judged_too(crossing: Crossing) -> None:
    crossing.edit("  metadata: {allow: [home -> eu]}\n", "")
    found = crossing.push(code=10)
    assert "metadata" in found["error"]["what"]
    assert crossing.objects("chunks/") == crossing.objects("objects/") == []


def test_a_destination_decides_again_by_its_own_policy(crossing: Crossing) -> None:
    crossing.push()
    crossing.edit("weights: {allow: [home -> eu]}", "weights: {allow: [eu -> home]}")
    crossing.pull(code=10)
    assert not (crossing.base / "pulled").exists()
    assert not (crossing.base / "pulled.evidence").exists()
    entries = [predicate(path) for path in (crossing.base / "eu-store/audit").rglob("*.json")]
    assert [entry["kind"] for entry in entries] == ["denied"]


def test_a_changed_model_does_not_cross(crossing: Crossing) -> None:
    data = (crossing.model / "model.bin").read_bytes()
    (crossing.model / "model.bin").write_bytes(data[:-1] + b"X")
    crossing.push(code=11)
    # Bytes of a file of that name and size may have left: encrypted, under a key that is gone.
    assert crossing.objects("objects/") == []
    assert crossing.objects("releases/") == []


def test_a_model_that_nobody_signed_does_not_cross(crossing: Crossing) -> None:
    attest.signature_path(crossing.model).unlink()
    found = crossing.push(code=2)
    assert "sovgate sign" in found["error"]["fix"]


def test_rule_6_evidence_of_another_model_does_not_cross(crossing: Crossing) -> None:
    crossing.evidence("gate", {"result": "PASSED"}, about="0" * 64)
    assert crossing.push(code=11)["error"]["reason"] == "evidence-subject"
    assert crossing.objects("releases/") == []
    question = ("check", crossing.model, "--action", "transfer", "--zone", "home", "--to", "eu")
    assert crossing.json(*question, code=11)["error"]["reason"] == "evidence-subject"


def test_evidence_by_a_stranger_stays_behind_and_is_named(crossing: Crossing) -> None:
    name = "gate-0123456789abcdef.sigstore.json"
    folder = attest.evidence_dir(crossing.model)
    (folder / name).write_bytes(b"{}")
    said = crossing.push()
    assert any(name in line for line in said["left-behind"])


def test_rule_13_two_contents_under_one_version(crossing: Crossing) -> None:
    crossing.push()
    path = crossing.base / "eu-store/releases/churn/1.0.0.json"
    before = path.read_bytes()
    (crossing.model / "model.bin").write_bytes(b"other")
    crossing.sign()
    found = crossing.push(code=21)
    assert found["error"]["reason"] == "release-differs"
    assert path.read_bytes() == before


def test_a_zone_that_is_not_known_stops(crossing: Crossing) -> None:
    arguments = ("push", crossing.model, "--release", "churn/1.0.0", "--to", "eu")
    assert crossing.json(*arguments, code=3)["error"]["reason"] == "no-zone"
    found = crossing.json(*arguments, "--zone", "hime", code=3)
    assert found["error"]["reason"] == "unknown-zone"
    assert "home" in found["error"]["fix"]


def test_what_is_made_in_a_zone_is_released_in_it(crossing: Crossing) -> None:
    """Tuned where the data lies, served there: no border, so no line of it is needed."""
    crossing.edit(
        "kyc: {category: personal, stays-in: [US]}", "kyc: {category: personal, stays-in: [EU]}"
    )
    crossing.edit("allow: [home -> eu]", "allow: []")
    shutil.rmtree(attest.evidence_dir(crossing.model))
    crossing.json("sign", crossing.model, "--key", "keys/eu.pem")
    crossing.json("record", crossing.model, "--dataset", "kyc", "--key", "keys/eu.pem")
    words = ("--release", "churn/1.0.0", "--zone", "eu", "--to", "eu")
    made = crossing.json("push", crossing.model, *words)
    assert made["from"] == made["to"]
    assert crossing.pull()["manifest"] == made["manifest"]
    assert tree(crossing.base / "pulled") == FILES


@pytest.mark.parametrize("release", ["churn", "churn/", "churn/..", "churn/1/2", "CHURN/1", "x/1"])
def test_rule_26_strange_releases_are_refused(crossing: Crossing, release: str) -> None:
    crossing.json(
        "push", crossing.model, "--release", release, "--zone", "home", "--to", "eu", code=2
    )


def test_an_output_that_holds_something_else_is_refused_before_anything_is_written(
    crossing: Crossing,
) -> None:
    crossing.push()
    (crossing.base / "pulled").mkdir()
    (crossing.base / "pulled" / "mine.txt").write_text("mine")
    before = tree(crossing.base)
    assert crossing.pull(code=2)["error"]["reason"] == "output-exists"
    assert tree(crossing.base) == before


def test_a_new_version_into_the_old_folder_names_model_and_evidence_at_once(
    crossing: Crossing,
) -> None:
    crossing.push()
    crossing.pull()
    (crossing.model / "config.json").write_text('{"layers": 3}')
    crossing.sign()
    crossing.push(release="churn/1.1.0")
    before = tree(crossing.base)
    said = crossing.pull(release="churn/1.1.0", code=2)["error"]
    assert said["reason"] == "output-exists"
    assert said["what"] == "'pulled' already exists, and is not churn/1.1.0"
    assert said["why"].startswith("it holds churn/1.0.0, by its evidence in ")
    assert "pulled.evidence" in said["why"]
    assert said["fix"] == (
        "pull it to another place: -o pulled-1.1.0; what is there stays as it is"
    )
    assert tree(crossing.base) == before
    # Evidence that was named does not follow -o.
    words = ("--evidence", "pulled.evidence")
    fix = crossing.pull(*words, release="churn/1.1.0", code=2)["error"]["fix"]
    assert fix.startswith("pull it to another place: -o pulled-1.1.0, with another --evidence; ")
    # A place that is taken too is not advised, and the one that is advised works.
    (crossing.base / "pulled-1.1.0.evidence").mkdir()
    fix = crossing.pull(release="churn/1.1.0", code=2)["error"]["fix"]
    assert "-o pulled-1.1.0-2;" in fix
    crossing.json("pull", "churn/1.1.0", "--zone", "eu", "-o", "pulled-1.1.0-2")
    assert tree(crossing.base / "pulled.evidence") == {
        name.removeprefix("pulled.evidence/"): data
        for name, data in before.items()
        if name.startswith("pulled.evidence/")
    }
    # Where the model was removed, its evidence is named with what it is about.
    shutil.rmtree(crossing.base / "pulled")
    said = crossing.pull(release="churn/1.1.0", code=2)["error"]
    assert said["what"].endswith("pulled.evidence' holds the evidence of churn/1.0.0")
    assert "remove" not in said["fix"]


def test_a_wrong_key_is_20_and_leaves_no_plaintext(crossing: Crossing) -> None:
    crossing.push()
    crossing.run("keys", "generate", "encrypt", "-o", "keys/other.pem")
    crossing.edit("encrypt: keys/eu-enc.pem", "encrypt: keys/other.pem")
    assert crossing.pull(code=20)["error"]["reason"] == "wrong-key"
    left = {path.name for path in crossing.base.iterdir()}
    assert "pulled" not in left
    assert not [name for name in left if name.endswith(".sovgate-staging")]


# -- a hostile store


def test_a_swapped_signature_bundle_is_refused(crossing: Crossing) -> None:
    """Another model's good signature under the digest that the record names."""
    crossing.push()
    said = predicate(crossing.base / "eu-store/releases/churn/1.0.0.json")
    sha256 = said["signature"]["sha256"]  # type: ignore[index]
    blob = crossing.base / "eu-store/objects/sha256" / sha256
    (crossing.model / "model.bin").write_bytes(b"other")
    crossing.sign()
    blob.unlink()
    shutil.copy(attest.signature_path(crossing.model), blob)
    found = crossing.pull(code=11)
    assert found["error"]["reason"] in ("digest-mismatch", "limits")
    assert not (crossing.base / "pulled").exists()


def test_rule_4_a_trusted_source_cannot_write_outside_of_the_model(crossing: Crossing) -> None:
    """All is signed by the right keys, but a file of the model is named `../evil`."""
    crossing.push()
    record = crossing.base / "eu-store/releases/churn/1.0.0.json"
    said = predicate(record)
    signer = registry.open_signer("keys/home.pem", crossing.base)
    name = "../evil"
    manifest = (
        inventory.take(crossing.model)
        .manifest.canonical()
        .replace(b'"model.bin"', f'"{name}"'.encode())
    )
    oms = Statement.parse(Bundle.parse(attest.signature_path(crossing.model).read_bytes()).payload)
    for resource in oms.predicate["resources"]:
        resource["name"] = resource["name"].replace("model.bin", name)
    for field, data in (("manifest", manifest), ("signature", attest.seal(oms, signer))):
        digest = hashlib.sha256(data).hexdigest()
        said[field] = {"sha256": digest, "size": len(data)}
        (crossing.base / "eu-store/objects/sha256" / digest).write_bytes(data)
    subject = said["manifest"]["sha256"]  # type: ignore[index]
    claim = crossing.base / "eu-store/sequences/churn/000000000001.json"
    claim.chmod(0o644)
    claim.write_bytes(Claim(release=crossing.release, manifest=subject, sequence=1).emit())
    statement = Statement(
        subject_name="churn",
        subject_sha256=subject,
        predicate=said,
        predicate_type=PREDICATE_TYPES["transfer"],
    )
    record.chmod(0o644)
    record.write_bytes(attest.seal(statement, signer))
    before = tree(crossing.base)
    found = crossing.pull(code=11)
    assert found["error"]["reason"] == "unsafe-name"
    assert tree(crossing.base) == before


def test_every_damaged_object_is_refused_and_nothing_appears(crossing: Crossing) -> None:
    crossing.push()
    kinds = ("chunks/", "objects/", "releases/")
    for name in [name for kind in kinds for name in crossing.objects(kind)]:
        path = crossing.base / "eu-store" / name
        data = path.read_bytes()
        path.chmod(0o644)
        for spoilt in (data[:-1], data + b"\x00", bytes([data[0] ^ 1]) + data[1:]):
            path.write_bytes(spoilt)
            crossing.pull(code=11)
            assert not (crossing.base / "pulled").exists(), name
        path.unlink()
        crossing.pull(code=21)
        path.write_bytes(data)
    assert not [p.name for p in crossing.base.iterdir() if p.name.endswith(".sovgate-staging")]
    crossing.pull()
    assert tree(crossing.base / "pulled") == tree(crossing.model)


def test_rule_29_no_secret_is_printed_or_kept(crossing: Crossing) -> None:
    keys = [
        line
        for path in (crossing.base / "keys").glob("*.pem")
        if ".pub" not in path.name
        for line in path.read_text().splitlines()
        if len(line) > 40
    ]
    _, pushed = crossing.run(
        "push", crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu", "-v"
    )
    _, pulled = crossing.run("pull", "churn/1.0.0", "--zone", "eu", "-o", "pulled", "-v")
    kept = {n: d for n, d in tree(crossing.base).items() if not n.startswith("keys/")}
    for secret in keys:
        assert secret not in pushed + pulled
        assert not [name for name, data in kept.items() if secret.encode() in data]
    stored = tree(crossing.base / "eu-store")
    plain = (crossing.model / "model.bin").read_bytes()
    assert not [name for name, data in stored.items() if plain[:64] in data]


# -- keys, time, and company


@pytest.mark.parametrize("kept", [True, False])
def test_rule_9_a_run_has_the_keys_of_the_one_before_or_keys_of_its_own(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: bool
) -> None:
    """A run that died had sent a chunk: where its key is gone, no run has it again."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def dies(*_: object, **__: object) -> None:
        raise StoreError("the network is gone", reason="no-answer")

    with monkeypatch.context() as patch:
        patch.setattr("sovgate.stages.transfer.publish", dies)
        crossing.push(code=21)
    left = set(crossing.objects("chunks/"))
    assert len(left) == 1
    assert crossing.objects("objects/") == crossing.objects("releases/") == []
    if not kept:  # as a runner that is gone
        shutil.rmtree(tmp_path / "state")
    crossing.push()
    assert len(crossing.objects("chunks/")) == (1 if kept else 2)
    lists = [part["list"]["sha256"] for part in transferred(crossing)["parts"]]
    (named,) = [(crossing.base / f"eu-store/objects/sha256/{one}").read_bytes() for one in lists]
    assert (f"chunks/sha256/{named.hex()}" in left) == kept
    assert not (crossing.base / ".sovgate/outbox").exists()
    crossing.pull()


def transferred(crossing: Crossing) -> Any:
    return predicate(crossing.base / "eu-store/releases/churn/1.0.0.json")


def test_rule_44_a_denial_after_the_last_byte_leaves_nothing_that_opens(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Policy says yes to the manifest, and no once all is known: keys and lists stay here."""
    asked: list[Contents] = []
    real = contents.of_admitted

    def found(*words: Any) -> Contents:
        asked.append(real(*words))
        if len(asked) == 1:
            return asked[0]
        return Contents({**asked[0].facts, "pickles": 1, "pickle": "model.bin"})

    monkeypatch.setattr(contents, "of_admitted", found)
    error = crossing.push(code=10)["error"]
    assert "pickle" in json.dumps(error)
    assert len(crossing.objects("chunks/")) == 1
    assert crossing.objects("objects/") == crossing.objects("releases/") == []
    kinds = [predicate(p)["kind"] for p in (crossing.base / ".sovgate/home/audit").rglob("*.json")]
    assert sorted(kinds) == ["denied", "intent"]


def test_a_file_that_is_swapped_behind_the_look_leaves_nothing_that_opens(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer shows one file to the look and another to the cipher, of equal name and size."""
    path = crossing.model / "model.bin"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"X")
    real = contents.look_into

    def look(*words: Any) -> contents.Seen:
        seen = real(*words)
        path.write_bytes(data)  # what was signed; the look saw something else
        return seen

    monkeypatch.setattr(contents, "look_into", look)
    error = crossing.push(code=11)["error"]
    assert error["reason"] == "changed-while-reading"
    assert crossing.objects("objects/") == crossing.objects("releases/") == []


def test_two_pushes_at_once_make_one_release(crossing: Crossing) -> None:
    arguments = [
        sys.executable,
        "-m",
        "sovgate",
        "push",
        str(crossing.model),
        "--release",
        "churn/1.0.0",
        "--zone",
        "home",
        "--to",
        "eu",
        "--format",
        "json",
        "--project",
        str(crossing.base),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment) for _ in range(3)
    ]
    said = [json.loads(process.communicate()[0]) for process in running]
    assert [one["exit"] for one in said] == [0, 0, 0], said
    assert sorted(one["already"] for one in said) == [False, True, True]
    assert len({one["record"] for one in said}) == 1
    crossing.pull()


def test_two_pushes_from_two_machines_make_one_release(crossing: Crossing, tmp_path: Path) -> None:
    """Nothing in common: the second encrypts with keys of its own, and loses the name."""
    other = copy_of(crossing, tmp_path / "other")
    (crossing.base / "eu-store").mkdir()
    (other.base / "eu-store").symlink_to(crossing.base / "eu-store")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "sovgate",
                "push",
                str(one.model),
                "--release",
                "churn/1.0.0",
                "--zone",
                "home",
                "--to",
                "eu",
                "--format",
                "json",
                "--project",
                str(one.base),
            ],
            stdout=subprocess.PIPE,
            env=environment,
        )
        for one in (crossing, other)
    ]
    said = [json.loads(process.communicate()[0]) for process in running]
    assert [one["exit"] for one in said] == [0, 0], said
    assert len({one["record"] for one in said}) == 1
    crossing.pull()
    assert tree(crossing.base / "pulled") == tree(crossing.model)


def test_rule_19_a_clock_set_back_stops_a_push_before_the_record(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    monkeypatch.setattr(audit, "utc_now", lambda: past)
    with pytest.raises(Inconclusive) as caught:
        push(
            crossing.model,
            release=crossing.release,
            zone="home",
            to="eu",
            options=Options(project=crossing.base),
        )
    assert caught.value.reason == "clock"
    assert crossing.objects("releases/") == []


def test_a_decision_that_has_run_out_is_taken_again(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = datetime.now(UTC) + timedelta(minutes=16)
    monkeypatch.setattr(audit, "utc_now", lambda: later)
    push(
        crossing.model,
        release=crossing.release,
        zone="home",
        to="eu",
        options=Options(project=crossing.base),
    )
    said = predicate(crossing.base / "eu-store/releases/churn/1.0.0.json")
    entries = (crossing.base / ".sovgate/home/audit").rglob("*.json")
    first, last = sorted((predicate(path) for path in entries), key=lambda e: str(e["index"]))
    decisions = [
        {ref["sha256"] for ref in entry["refs"] if ref["role"] == "decision"}  # type: ignore[attr-defined]
        for entry in (first, last)
    ]
    assert not decisions[0] & decisions[1]
    assert said["decision"]["sha256"] in decisions[1]  # type: ignore[index]


def test_a_pull_takes_its_decision_again_too(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossing.push()
    later = datetime.now(UTC) + timedelta(minutes=16)
    monkeypatch.setattr(audit, "utc_now", lambda: later)
    done = pull(
        crossing.release,
        zone="eu",
        output=crossing.base / "pulled",
        options=Options(project=crossing.base),
    )
    said = predicate(crossing.base / f"eu-store/receipts/churn/1.0.0/{done.proof.receipt}.json")
    entries = [predicate(path) for path in (crossing.base / "eu-store/audit").rglob("*.json")]
    decisions = {
        entry["kind"]: {ref["sha256"] for ref in entry["refs"] if ref["role"] == "decision"}  # type: ignore[attr-defined]
        for entry in entries
    }
    assert not decisions["intent"] & decisions["outcome"]
    assert said["decision"]["sha256"] in decisions["outcome"]  # type: ignore[index]


def test_rule_19_a_clock_set_back_stops_a_pull_before_the_model_has_its_name(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossing.push()
    past = datetime.now(UTC) - timedelta(minutes=2)
    monkeypatch.setattr(audit, "utc_now", lambda: past)
    with pytest.raises(Inconclusive) as caught:
        pull(
            crossing.release,
            zone="eu",
            output=crossing.base / "pulled",
            options=Options(project=crossing.base),
        )
    assert caught.value.reason == "clock"
    assert not (crossing.base / "pulled").exists()
    assert crossing.objects("receipts/") == []


def test_rule_6_a_place_with_another_models_evidence_is_refused(crossing: Crossing) -> None:
    crossing.push()
    crossing.pull()
    shutil.rmtree(crossing.base / "pulled")
    (crossing.model / "model.bin").write_bytes(b"better")
    crossing.sign()
    crossing.json(
        "push", crossing.model, "--release", "churn/1.1.0", "--zone", "home", "--to", "eu"
    )
    before = tree(crossing.base)
    found = crossing.pull(release="churn/1.1.0", code=2)
    assert "pulled.evidence" in found["error"]["what"]
    assert tree(crossing.base) == before


def test_rule_19_source_date_epoch_moves_nothing_here(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    crossing.push()
    said = predicate(crossing.base / "eu-store/releases/churn/1.0.0.json")
    assert str(said["created"])[:4] >= "2026"


def test_identity_is_kept_across_the_border(crossing: Crossing) -> None:
    crossing.push()
    crossing.pull()
    assert inventory.take(crossing.base / "pulled").manifest.digest == crossing.manifest
    code, said = crossing.run("verify", "pulled")
    assert code == 0, said


@pytest.mark.parametrize(("place", "code"), [("", 11), (", from: eu", 0)])
def test_only_a_zones_own_signer_says_that_nothing_crossed(
    crossing: Crossing, place: str, code: int
) -> None:
    """A key trusted for any zone may not dress what crossed as made in the zone itself.

    Within a zone no line of `border` is asked for, so that word is believed of its own signer only.
    """
    crossing.edit("{sign: keys/home.pem}", "{sign: keys/eu.pem}")  # the central job's own file
    crossing.edit("{sign: keys/eu.pem,", "{sign: keys/home.pem,")
    crossing.edit("allow: [home -> eu]", "allow: []")
    crossing.json("push", crossing.model, "--release", "churn/1.0.0", "--zone", "eu", "--to", "eu")
    crossing.edit("{sign: keys/home.pem, encrypt:", "{sign: keys/eu.pem, encrypt:")  # eu's file
    crossing.edit("{sign: keys/eu.pem}", "{sign: keys/home.pem}")
    crossing.edit(
        "border:",
        f"trust:\n  - {{name: central, key: keys/home.pem, may: [signature, provenance, transfer]"
        f"{place}}}\n  - {{name: eu-ci, key: keys/eu.pem, may: [receipt, transfer], from: eu}}\n"
        "border:",
    )
    found = crossing.pull(code=code)
    if code:
        assert found["error"]["reason"] == "wrong-source"
        assert not (crossing.base / "pulled").exists()


def test_a_zone_that_would_not_be_believed_within_itself_is_told_before_anything_is_written(
    crossing: Crossing,
) -> None:
    crossing.edit(
        "border:",
        "trust:\n  - {name: ci, key: keys/eu.pem, may: [signature, provenance, transfer]}\nborder:",
    )
    shutil.rmtree(attest.evidence_dir(crossing.model))
    crossing.json("sign", crossing.model, "--key", "keys/eu.pem")
    crossing.json("record", crossing.model, "--dataset", "public", "--key", "keys/eu.pem")
    words = ("push", crossing.model, "--release", "churn/1.0.0", "--zone", "eu", "--to", "eu")
    error = crossing.json(*words, code=3)["error"]
    assert (error["reason"], "from: eu" in error["fix"]) == ("own-role", True)
    assert [crossing.objects(f"{kind}/") for kind in ("chunks", "sequences", "audit")] == [[]] * 3
    crossing.edit("transfer]}", "transfer], from: eu}")
    crossing.json(*words)


def test_a_zone_that_is_trusted_by_its_certificate_pushes(crossing: Crossing) -> None:
    """Its own file knows its key too, for words about itself; that takes nothing from it."""
    root = KeySigner("p256")
    path = crossing.base / "keys/home.pem"
    home = KeySigner("p256", load_pem_private_key(path.read_bytes(), None))
    above = issue("Bank", root, "Bank", root, ca=True)
    leaf = issue("Training", home, "Bank", root, san="ci@bank.example")
    (crossing.base / "keys/bank.pem").write_bytes(above.public_bytes(Encoding.PEM))
    path.write_bytes(path.read_bytes() + leaf.public_bytes(Encoding.PEM))
    crossing.edit(
        "border:\n",
        "trust:\n  - {name: training, certificate: {root: keys/bank.pem, san: ci@bank.example}, "
        "may: [signature, provenance, transfer], from: home}\n"
        "  - {name: eu-ci, key: keys/eu.pem, may: [receipt], from: eu}\nborder:\n",
    )
    shutil.rmtree(attest.evidence_dir(crossing.model))
    words = ("release", crossing.model, *("--release", "churn/1.0.0", "--zone", "home"))
    words += ("--to", "eu", "--dataset", "public")
    planned = crossing.json(*words, "--dry-run")
    assert [step["name"] for step in planned["steps"]] == ["sign", "record", "sbom", "check"]
    crossing.json(*words)
    assert crossing.pull()["signers"]["transfer"] == "training"
    crossing.edit("ci@bank.example", "dpo@bank.example")
    # A certificate that nobody admits signs nothing, and no dry run takes it for one that may.
    shutil.rmtree(attest.evidence_dir(crossing.model))
    move = (crossing.model, "--release", "churn/2.0.0", "--zone", "home", "--to", "eu")
    for words in (("push", *move), ("release", *move, "--dataset", "public")):
        for more in ((), ("--dry-run",)):
            error = crossing.json(*words, *more, code=3)["error"]
            assert (error["reason"], error["what"][:20]) == ("own-role", "the key of zone home")
    assert not attest.evidence_dir(crossing.model).exists()


def test_a_model_that_was_pushed_under_two_versions_may_be_asked_about_without_one(
    crossing: Crossing,
) -> None:
    crossing.push()
    crossing.json(
        "push", crossing.model, "--release", "churn/1.1.0", "--zone", "home", "--to", "eu"
    )
    question = ("check", crossing.model, "--action", "transfer", "--zone", "home", "--to", "eu")
    assert crossing.json(*question)["allowed"]


def test_a_release_before_whose_signer_is_not_trusted_here_is_named(crossing: Crossing) -> None:
    """The zone released within itself; the source's file must know whose word that was."""
    crossing.json("push", crossing.model, "--release", "churn/1.0.0", "--zone", "eu", "--to", "eu")
    crossing.edit(
        "border:",
        "trust:\n  - {name: central, key: keys/home.pem, may: [signature, provenance, transfer], "
        "from: home}\n  - {name: eu-ci, key: keys/eu.pem, may: [receipt], from: eu}\nborder:",
    )
    words = ("push", crossing.model, "--release", "churn/1.1.0", "--zone", "home", "--to", "eu")
    error = crossing.json(*words, code=11)["error"]
    assert error["reason"] == "untrusted-role"
    assert "churn/1.0.0" in error["what"]
    assert "eu-ci" in error["why"]
    crossing.edit("may: [receipt]", "may: [receipt, transfer]")
    crossing.json(*words)
