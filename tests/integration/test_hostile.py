"""Attacks from the command line, each a story of what somebody could plant or spoil."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sovgate.formats.bundle import Bundle
from sovgate.formats.oms import Item, Oms, root_of
from sovgate.formats.statement import PREDICATE_TYPES
from sovgate.keys import registry
from sovgate.pipeline.decide import check as decide
from sovgate.stages import attest, inventory
from sovgate.stages.sign import sign
from tests.crossing import Crossing, Statement, make_crossing, tree
from tests.repositories import Repository


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    return make_crossing(tmp_path / "project")


def evidence_of_another_model(crossing: Crossing, role: str) -> bytes:
    """Signed by the very hand that signs for this one."""
    signer = registry.open_signer("keys/home.pem", crossing.base)
    if role == "signature":
        path = crossing.base / "other"
        path.mkdir()
        (path / "x.bin").write_bytes(b"other")
        return sign(inventory.take(path), signer)
    statement = Statement(
        subject_name="churn",
        subject_sha256="0" * 64,
        predicate={"x": 1},
        predicate_type=PREDICATE_TYPES[role],
    )
    return attest.seal(statement, signer)


def reference(role: str, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    return {
        "role": role,
        "predicateType": PREDICATE_TYPES[role],
        "sha256": digest,
        "size": len(data),
    }


def overwrite(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # objects are read-only
    path.write_bytes(data)


def test_rule_14_a_push_again_does_not_call_a_swapped_chunk_whole(crossing: Crossing) -> None:
    """Whoever can write to the store replaced a chunk by as many other bytes: size is nothing."""
    crossing.push()
    chunks = (crossing.base / "eu-store/chunks/sha256").iterdir()
    largest = max(chunks, key=lambda path: path.stat().st_size)
    overwrite(largest, bytes(largest.stat().st_size))
    error = crossing.push(code=21)["error"]
    assert error["reason"] == "damaged-object"
    assert "under a new version" in error["fix"]


def test_what_a_pull_of_a_damaged_release_says_to_do_works(crossing: Crossing) -> None:
    """To push it again cannot help: a release is written once, and its old bytes stay."""
    crossing.push()
    chunks = (crossing.base / "eu-store/chunks/sha256").iterdir()
    largest = max(chunks, key=lambda path: path.stat().st_size)
    overwrite(largest, bytes(largest.stat().st_size))
    error = crossing.pull(code=11)["error"]
    assert error["reason"] == "damaged"
    assert error["fix"].startswith("have it pushed under a new version")
    assert not (crossing.base / "pulled").exists()
    crossing.push(release="churn/1.0.1")
    crossing.pull(release="churn/1.0.1")


def test_a_model_that_holds_an_encrypted_copy_is_not_pushed_as_that_copy(
    crossing: Crossing,
) -> None:
    """A model's author put an older release, encrypted for eu, into the new model's folder."""
    code, said = crossing.run(
        "encrypt", crossing.model, "--to", "eu", "--release", "churn/1.0.0", "-o", "sealed"
    )
    assert code == 0, said
    shutil.copytree(crossing.base / "sealed/eu", crossing.model / "eu")
    (crossing.model / "model.bin").write_bytes(b"new weights")
    crossing.sign()
    assert crossing.push(code=2)["error"]["reason"] == "ambiguous-source"
    assert crossing.objects("releases/") == []


def test_an_encrypted_copy_is_pushed_only_if_its_signature_tells_what_is_in_it(
    crossing: Crossing,
) -> None:
    """BLAKE2 digests cannot be compared without the files: other files could be in the copy."""
    taken = inventory.take(crossing.model).manifest
    items = tuple(
        Item(
            name=resource.name,
            digest=hashlib.blake2b((crossing.model / resource.name).read_bytes()).hexdigest(),
            size=None,
        )
        for resource in taken.resources
    )
    oms = dataclasses.replace(
        Oms.of(taken, subject_name="model"),
        algorithm="blake2b",
        items=items,
        root=root_of(item.digest for item in items),
    )
    signer = registry.open_signer("keys/home.pem", crossing.base)
    attest.signature_path(crossing.model).write_bytes(attest.seal(oms.statement(), signer))
    code, said = crossing.run(
        "encrypt", crossing.model, "--to", "eu", "--release", "churn/1.0.0", "-o", "sealed"
    )
    assert code == 0, said
    arguments = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    error = crossing.json("push", "sealed", *arguments, code=11)["error"]
    assert error["reason"] == "unsupported"
    crossing.push()  # the model itself can be compared


@pytest.mark.parametrize("role", ["gate", "signature", "legal"])
def test_rule_06_a_source_cannot_send_evidence_of_another_model(
    crossing: Crossing, role: str
) -> None:
    """All is signed by the right keys, but a statement is about another model."""
    crossing.push()
    data = evidence_of_another_model(crossing, role)
    objects = crossing.base / "eu-store/objects/sha256"
    (objects / hashlib.sha256(data).hexdigest()).write_bytes(data)
    item = {**reference(role, data), "confidential": False, "plaintext-sha256": None}
    say_otherwise(crossing, lambda said: said["evidence"].append(item))
    before = tree(crossing.base)
    assert crossing.pull(code=11)["error"]["reason"] == "evidence-subject"
    assert tree(crossing.base) == before


def say_otherwise(crossing: Crossing, change: Callable[[dict[str, Any]], None]) -> None:
    """The source signs its record once more, changed."""
    record = crossing.base / "eu-store/releases/churn/1.0.0.json"
    said = Statement.parse(Bundle.parse(record.read_bytes()).payload)
    change(said.predicate)
    overwrite(record, attest.seal(said, registry.open_signer("keys/home.pem", crossing.base)))


def test_rule_06_a_source_cannot_send_a_model_under_the_signature_of_another(
    crossing: Crossing,
) -> None:
    """Whoever may push need not be who may sign: an old signature does not cover new weights."""
    crossing.push()
    data = evidence_of_another_model(crossing, "signature")
    digest = hashlib.sha256(data).hexdigest()
    (crossing.base / "eu-store/objects/sha256" / digest).write_bytes(data)
    say_otherwise(
        crossing, lambda said: said.update(signature={"sha256": digest, "size": len(data)})
    )
    before = tree(crossing.base)
    assert crossing.pull(code=11)["error"]["reason"] == "wrong-manifest"
    assert tree(crossing.base) == before


def test_where_a_release_came_from_is_told_by_the_zones_own_catalogue(crossing: Crossing) -> None:
    crossing.push()
    say_otherwise(
        crossing, lambda said: said["source"].update(country="DE", operator="us", grade=3)
    )
    found = crossing.pull()["from"]
    assert (found["country"], found["operator"], found["grade"]) == ("US", "aws", 1)


def test_rule_03_a_source_cannot_call_one_statement_another(crossing: Crossing) -> None:
    """The record says that its training record is a passed gate."""
    crossing.push()

    def change(said: dict[str, Any]) -> None:
        (item,) = [item for item in said["evidence"] if item["role"] == "provenance"]
        item.update(role="gate", predicateType=PREDICATE_TYPES["gate"])

    say_otherwise(crossing, change)
    before = tree(crossing.base)
    assert crossing.pull(code=11)["error"]["reason"] == "wrong-role"
    assert tree(crossing.base) == before


@pytest.mark.parametrize("role", ["gate", "signature"])
def test_rule_06_an_encrypted_copy_cannot_bring_evidence_of_another_model(
    crossing: Crossing, role: str
) -> None:
    """Nobody signs `sealed.json`: whoever carries it may add to it."""
    from sovgate import strict

    assert crossing.run("encrypt", crossing.model, "--to", "eu", "-o", "sealed")[0] == 0
    path = crossing.base / "sealed/eu/sealed.json"
    sealed = strict.loads(path.read_bytes())
    data = evidence_of_another_model(crossing, role)
    sealed["evidence"].append(reference(role, data))
    overwrite(path, strict.canonical(sealed))
    (path.parent / "objects/sha256" / hashlib.sha256(data).hexdigest()).write_bytes(data)
    error = crossing.json("decrypt", "sealed", "--zone", "eu", "-o", "opened", code=11)["error"]
    assert error["reason"] == "evidence-subject"
    assert not (crossing.base / "opened").exists()
    assert not (crossing.base / "opened.evidence").exists()


def test_one_key_may_speak_for_several_zones(crossing: Crossing) -> None:
    """A desk with one key for both: each statement counts for the zone that it names."""
    crossing.edit("keys/eu.pem", "keys/home.pem")
    heads = [crossing.push()["audit-head"], crossing.pull()["audit-head"]]
    first = crossing.pull()["receipt"]
    assert crossing.pull()["receipt"] == first  # the receipt there was found, and counts
    code, said = crossing.run("audit", "verify", *(f"--against={head}" for head in heads))
    assert code == 0, said  # nothing is foreign
    assert "the last run ends without an anchor" in said


@pytest.mark.parametrize("category", ["Personal", "pii", "personal-data", "PERSONAL", "persönlich"])
def test_rule_18_a_category_that_is_no_known_word_counts_as_personal(
    crossing: Crossing, category: str
) -> None:
    crossing.edit("{category: personal, stays-in: [US]}", f"{{category: {category}, stays-in: []}}")
    crossing.edit("border:\n", "policy: {presets: [eu-personal-data]}\nborder:\n")
    crossing.sign("kyc")
    assert crossing.push(code=10)["error"]["reason"] == "eu-personal-data"


def test_rule_18_a_category_is_not_made_harmless_by_one_of_two_words(crossing: Crossing) -> None:
    """First its manifest says personal, the project public. Then both public, but a base's record
    knew more.
    """
    path = crossing.base / "kyc.yaml"
    path.write_text("version: 1\nid: kyc\ncategory: personal\npointer: s3://kyc/\nstays-in: []\n")
    crossing.edit(
        "{category: personal, stays-in: [US]}", "{manifest: kyc.yaml, category: personal}"
    )
    crossing.edit("border:\n", "policy: {presets: [eu-personal-data]}\nborder:\n")
    base = Crossing(base=crossing.base, model=crossing.base / "base")
    shutil.copytree(crossing.model, base.model)
    base.sign("kyc")
    crossing.edit("category: personal}", "category: public}")
    crossing.sign("kyc")
    assert crossing.push(code=10)["error"]["reason"] == "eu-personal-data"
    path.write_text(path.read_text().replace("personal", "public"))
    crossing.sign("kyc")
    more = ("--dataset", "kyc", "--base-model", "base", "--key", "keys/home.pem")
    crossing.json("record", crossing.model, *more)
    for provenance in attest.evidence_dir(crossing.model).glob("provenance-*"):
        said = Statement.parse(Bundle.parse(provenance.read_bytes()).payload).predicate
        if len(said["buildDefinition"]["resolvedDependencies"]) == 1:
            provenance.unlink()  # the record without the base
    assert crossing.push(code=10)["error"]["reason"] == "eu-personal-data"


def test_rule_25_what_a_release_verified_is_what_it_moves(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another model by the same hand is put in its place after it was asked about."""
    evidence = attest.evidence_dir(crossing.model)
    kept = [
        shutil.copytree(path, crossing.base / f"kept{path.suffix}")
        for path in (crossing.model, evidence)
    ]
    (crossing.model / "model.bin").write_bytes(b"another model")
    crossing.sign()
    check = decide.check

    def then_swap(*arguments: Any, **named: Any) -> Any:
        done = check(*arguments, **named)
        if arguments[1].cls != "metadata":  # the last question
            return done
        for path, other in zip((crossing.model, evidence), kept, strict=True):
            shutil.rmtree(path)
            other.rename(path)
        return done

    monkeypatch.setattr(decide, "check", then_swap)
    error = crossing.json(
        "release",
        crossing.model,
        "--release",
        "churn/1.0.0",
        "--zone",
        "home",
        "--to",
        "eu",
        code=2,
    )["error"]
    assert error["reason"] == "wrong-pin"
    assert crossing.objects("releases/") == []


def test_rule_16_no_declaration_and_no_provider_is_an_attestation(crossing: Crossing) -> None:
    """Nothing here attests where a runner is yet: a zone that asks for it gets nothing."""
    crossing.edit("store: eu-store", "store: eu-store\n    require: attested")
    assert crossing.push(code=10)["error"]["reason"] == "location-known"
    assert crossing.objects("releases/") == []


@pytest.mark.parametrize("rule", ["weights-inherit", "record-required", "*"])
def test_rule_20_a_waiver_sets_no_rule_aside(crossing: Crossing, rule: str) -> None:
    """Nothing reads waivers yet, not even one by a key that may sign them."""
    home = "{name: ci, key: keys/home.pem, may: [signature, provenance, transfer, audit, waiver]}"
    crossing.edit("border:\n", f"trust: [{home}]\nborder:\n")
    crossing.sign("kyc")
    crossing.evidence(
        "waiver",
        {
            "rule": rule,
            "manifest": crossing.manifest,
            "zone": "eu",
            "expires": "2099-01-01T00:00:00Z",
        },
    )
    assert crossing.push(code=10)["error"]["reason"] == "weights-inherit"


# --- whatever is done to a store or to evidence, no turns into no yes ----------------------------


def spoilt(path: Path, others: list[Path]) -> Iterator[tuple[str, bytes | None]]:
    """What an attacker may make of a file: nothing, a part, or another of its kind."""
    data = path.read_bytes()
    yield "removed", None
    yield "truncated", data[: len(data) // 2]
    yield "emptied", b""
    for other in others:
        if other != path and other.read_bytes() != data:
            yield f"swapped with {other.name}", other.read_bytes()


def apply(path: Path, data: bytes | None) -> None:
    path.unlink(missing_ok=True)
    if data is not None:
        path.write_bytes(data)


def clear(crossing: Crossing, keep: dict[str, bytes]) -> None:
    """Take away what a pull made, and the log entries that it wrote."""
    for name in ("pulled", "pulled.evidence"):
        shutil.rmtree(crossing.base / name, ignore_errors=True)
    store = crossing.base / "eu-store"
    for name in set(tree(store)) - set(keep):
        (store / name).unlink()


def test_a_spoilt_store_is_refused_or_changes_nothing(crossing: Crossing) -> None:
    """Each object of a release removed, cut, or swapped with one of its kind of another release."""
    pinned = crossing.push()["manifest"]
    mine = set(tree(crossing.base / "eu-store"))
    model = tree(crossing.model)
    (crossing.model / "model.bin").write_bytes(b"another release" * 700)
    crossing.sign()
    crossing.json(
        "push", crossing.model, "--release", "churn/1.1.0", "--zone", "home", "--to", "eu"
    )
    store = crossing.base / "eu-store"
    whole = tree(store)
    allowed = refused = 0
    for name in sorted(mine):
        path = store / name
        kin = sorted(p for p in path.parent.iterdir() if str(p.relative_to(store)) not in mine)
        # Of objects, which differ by content alone, one of another release stands for all.
        for what, data in spoilt(path, kin[:1]):
            apply(path, data)
            code, said = crossing.run("pull", "churn/1.0.0", "--zone", "eu", "-o", "pulled")
            if code == 0:
                allowed += 1
                assert tree(crossing.base / "pulled") == model, (name, what)
                assert f"@sha256:{pinned}" in said, (name, what)
            else:
                refused += 1
                assert code in (11, 14, 21), (name, what, said)
                assert not (crossing.base / "pulled").exists(), (name, what)
                assert not (crossing.base / "pulled.evidence").exists(), (name, what)
            apply(path, whole[name])
            clear(crossing, whole)
    assert refused > 3 * allowed


GITOPS = "    gitops: {repo: ../serving.git, path: overlays/eu}\ndatasets:\n"


def test_a_spoilt_store_lets_nothing_be_promoted_that_was_denied(
    crossing: Crossing, tmp_path: Path
) -> None:
    """1.1.0 was promoted, so 1.0.0 may not be; no loss or swap of one object changes that."""
    repository = Repository(tmp_path)
    crossing.edit("datasets:\n", GITOPS)
    for version in ("1.0.0", "1.1.0"):
        crossing.json(
            "push", crossing.model, "--release", f"churn/{version}", "--zone", "home", "--to", "eu"
        )
        crossing.pull(release=f"churn/{version}")
        for name in ("pulled", "pulled.evidence"):
            shutil.rmtree(crossing.base / name)
    crossing.json("promote", "churn/1.1.0", "--zone", "eu")
    crossing.json("promote", "churn/1.0.0", "--zone", "eu", "--dry-run", code=10)
    tip = repository.tip()
    store = crossing.base / "eu-store"
    whole = tree(store)
    for name in sorted(whole):
        if name.startswith(("audit/", "chunks/", "objects/")):
            continue  # of objects it reads what records name by digest, of the log what stops it
        path = store / name
        kin = sorted(store.glob(f"{name.split('/')[0]}/**/*.json"))
        for what, data in spoilt(path, kin):
            apply(path, data)
            code, said = crossing.run("promote", "churn/1.0.0", "--zone", "eu", "--dry-run")
            assert code in (10, 11, 21), (name, what, said)
            apply(path, whole[name])
    assert repository.tip() == tip


def test_spoilt_evidence_allows_nothing_that_was_denied(crossing: Crossing) -> None:
    """Weights from kyc may not leave: not without their record, nor with another model's."""
    crossing.sign("public")
    free = {p.name: p.read_bytes() for p in attest.evidence_dir(crossing.model).iterdir()}
    (crossing.model / "model.bin").write_bytes(b"trained on kyc")
    crossing.sign("kyc")
    folder = attest.evidence_dir(crossing.model)
    kept = crossing.base / "kept"
    kept.mkdir()
    for name, data in free.items():
        (kept / name).write_bytes(data)
    arguments = ("check", crossing.model, "--action", "transfer", "--zone", "home", "--to", "eu")
    assert crossing.run(*arguments)[0] == 10
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        role = path.name.split("-")[0].split(".")[0]
        kin = [p for p in kept.iterdir() if p.name.split("-")[0].split(".")[0] == role]
        for what, other in spoilt(path, kin):
            apply(path, other)
            code, said = crossing.run(*arguments)
            assert code in (10, 11), (path.name, what, said)
            apply(path, data)
    for name, data in free.items():  # added beside its own
        path = folder / f"added-{name}"
        path.write_bytes(data)
        assert crossing.run(*arguments)[0] == 10, name
        path.unlink()
