"""`sovgate release`: the whole chain in one command, that passes over what is done already.

Run twenty times it is one release; killed at any step and run again it is the same one.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sovgate.formats.bundle import Bundle
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.transfer import chunk_name, object_name
from sovgate.keys.registry import open_signer
from sovgate.pipeline.look.keys import generate
from sovgate.pipeline.project import open_project
from sovgate.records import Release
from sovgate.stages import attest
from sovgate.stages.transfer import chunks_of, fetch_documents, read_record
from tests.crossing import Crossing, make_crossing, tree
from tests.desks import GITOPS, RELEASE_FILE
from tests.kill import ROOT, Killer
from tests.pace import finish
from tests.repositories import Repository

RELEASE = (
    "release",
    "model",
    "--release",
    "churn/1.0.0",
    "--zone",
    "home",
    "--to",
    "eu",
    "--dataset",
    "public",
)
PROMOTE = (*RELEASE, "--through", "promote")
SECRET = b"weights that nobody outside may see " * 300
EU_KEYS = "keys: {sign: keys/eu.pem, encrypt: keys/eu-enc.pem, encrypt-public: keys/eu-enc.pub.pem}"
EU_PUBLIC = "keys: {sign-public: keys/eu.pub.pem, encrypt-public: keys/eu-enc.pub.pem}"
SECOND_ZONE = """\
  ch:
    region: gcp:europe-west6
    store: ch-store
    keys: {sign-public: keys/ch.pub.pem, encrypt-public: keys/ch-enc.pub.pem}
datasets:
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an unsigned model, keys of both zones, and a repository."""
    folder = tmp_path_factory.mktemp("made")
    crossing = make_crossing(folder / "project", {"model.bin": SECRET, "config.json": b"{}"})
    shutil.rmtree(attest.evidence_dir(crossing.model))
    crossing.edit("datasets:\n", GITOPS)
    Repository(folder)
    return folder


class Shop:
    """A copy of it."""

    def __init__(self, made: Path, folder: Path) -> None:
        shutil.copytree(made / "project", folder / "project", symlinks=True)
        shutil.copytree(made / "serving.git", folder / "serving.git")
        base = folder / "project"
        self.crossing = Crossing(base=base, model=base / "model")
        self.repository = Repository.__new__(Repository)
        self.repository.path = folder / "serving.git"

    def run(self, *words: object, code: int = 0) -> dict[str, Any]:
        return self.crossing.json(*words, code=code)

    @property
    def done(self) -> dict[str, int]:
        """How many there are of what there must be one of."""
        kinds = ("releases", "sequences", "receipts", "promotions")
        counts = {kind: len(self.crossing.objects(f"{kind}/")) for kind in kinds}
        roles = [self.role(path) for path in self.evidence]
        counts |= {role: roles.count(role) for role in ("provenance", "sbom", "signature")}
        return counts | {"commits": len(self.repository.log()) - 1}

    @property
    def evidence(self) -> list[Path]:
        folder = self.crossing.base / "model.evidence"
        return sorted(folder.glob("*.sigstore.json")) if folder.exists() else []

    @staticmethod
    def role(path: Path) -> str:
        return Statement.parse(Bundle.parse(path.read_bytes()).payload).role

    def whole_or_absent(self) -> None:
        trusted = open_project(self.crossing.base).trusted()
        found = read_record(self.crossing.store, Release(model="churn", version="1.0.0"), trusted)
        if found is not None:
            fetch_documents(self.crossing.store, found.transfer)
            for part in found.transfer.parts:
                assert self.crossing.store.stat(object_name(part.keytable.sha256)) is not None
            for one in chunks_of(self.crossing.store, found.transfer):
                assert self.crossing.store.stat(chunk_name(one.sha256)) is not None

    def no_plaintext(self) -> None:
        """Neither in the store nor in what is kept here, nor in evidence."""
        for where in ("eu-store", ".sovgate/home", "model.evidence"):
            folder = self.crossing.base / where
            if folder.exists():
                assert not [n for n, data in tree(folder).items() if SECRET[:64] in data], where

    def finished(self) -> None:
        assert self.done == ONE_OF_EACH
        opened = self.crossing.base / ".sovgate/pulled/eu/churn-1.0.0"
        assert tree(opened) == tree(self.crossing.model)
        assert b"churn/1.0.0@" in self.repository.show(RELEASE_FILE)
        code, said = self.crossing.run("audit", "verify")
        assert code in (0, 14), said


ONE_OF_EACH = {
    "releases": 1,
    "sequences": 1,
    "receipts": 1,
    "promotions": 1,
    "provenance": 1,
    "sbom": 1,
    "signature": 1,
    "commits": 1,
}


@pytest.fixture
def shop(made: Path, tmp_path: Path) -> Shop:
    return Shop(made, tmp_path)


def outcomes(said: dict[str, Any]) -> list[tuple[str, str | None, str]]:
    return [(step["name"], step["zone"], step["outcome"]) for step in said["steps"]]


# --- the way that works -------------------------------------------------------------------------


def test_an_unsigned_model_is_released_in_one_command(shop: Shop) -> None:
    made = shop.run(*RELEASE)
    assert outcomes(made) == [
        ("sign", None, "done"),
        ("record", None, "done"),
        ("sbom", None, "done"),
        ("check", "eu", "done"),
        ("push", "eu", "done"),
    ]
    assert made["release"] == f"churn/1.0.0@sha256:{made['manifest']}"
    assert all(step["seconds"] for step in made["steps"])
    for cls, said in zip(("weights", "metadata"), made["steps"][3]["decisions"], strict=True):
        assert said.startswith(f"allowed: {cls} of churn/1.0.0 from home to eu, by sovgate.yaml:")
    assert len(made["steps"][4]["decisions"]) == 2
    record = read_record(
        shop.crossing.store,
        Release.parse("churn/1.0.0"),
        open_project(shop.crossing.base).trusted(),
    )
    assert record is not None
    assert {item.role for item in record.transfer.evidence} >= {"provenance", "sbom", "decision"}
    assert shop.done["receipts"] == 0
    # The destination takes it from there as it takes any release.
    shop.crossing.pull(release=made["release"])


def test_through_promote_goes_on_where_the_keys_are(shop: Shop) -> None:
    made = shop.run(*PROMOTE)
    assert outcomes(made)[-2:] == [("pull", "eu", "done"), ("promote", "eu", "done")]
    assert [entry["zone"] for entry in made["audit-heads"]] == ["home", "eu", "eu"]
    assert shop.repository.log() == ["Promote churn/1.0.0 in eu", "Begin"]
    shop.finished()


@pytest.mark.thorough
def test_twenty_times_is_once(shop: Shop) -> None:
    first = shop.run(*PROMOTE)
    before = {
        path: data
        for path, data in tree(shop.crossing.base / "eu-store").items()
        if not path.startswith("audit/")
    }
    for _ in range(19):
        again = shop.run(*PROMOTE)
        assert {o for name, _, o in outcomes(again) if name != "check"} == {"already"}
        assert (again["release"], again["manifest"]) == (first["release"], first["manifest"])
    after = {
        path: data
        for path, data in tree(shop.crossing.base / "eu-store").items()
        if not path.startswith("audit/")
    }
    assert after == before
    shop.finished()
    code, text = shop.crossing.run(*PROMOTE)
    assert code == 0
    assert "churn/1.0.0 is released to eu already" in text


def test_what_was_done_by_hand_is_passed_over(shop: Shop) -> None:
    shop.run("sign", "model", "--zone", "home")
    shop.run("record", "model", "--dataset", "public", "--key", "keys/home.pem")
    made = shop.run(*RELEASE)
    assert outcomes(made)[:3] == [
        ("verify", None, "already"),
        ("record", None, "already"),
        ("sbom", None, "done"),
    ]


def test_where_keys_are_not_here_the_zones_own_job_goes_on_with_these_commands(shop: Shop) -> None:
    shop.crossing.edit(EU_KEYS, EU_PUBLIC)
    made = shop.run(*PROMOTE)
    assert outcomes(made)[-1] == ("pull", "eu", "left")
    ((left),) = made["left"]
    assert left["commands"] == [
        f"sovgate pull {made['release']} --zone eu -o model",
        f"sovgate promote {made['release']} --zone eu",
    ]
    code, text = shop.crossing.run(*PROMOTE)
    assert code == 0
    assert "zone eu goes on in its own job, since this project names no sign key of zone eu" in text
    # There, with its keys, the very commands that it was told.
    shop.crossing.edit(EU_PUBLIC, EU_KEYS)
    for command in left["commands"]:
        shop.run(*command.split()[1:])
    assert shop.done["promotions"] == 1


def test_a_key_that_is_named_but_not_there_is_left_to_the_zone_too(shop: Shop) -> None:
    (shop.crossing.base / "keys/eu-enc.pem").unlink()
    made = shop.run(*PROMOTE)
    assert outcomes(made)[-1] == ("pull", "eu", "left")


def test_a_zone_without_a_repository_is_pulled_and_its_promotion_is_left(shop: Shop) -> None:
    shop.crossing.edit(GITOPS, "datasets:\n")
    made = shop.run(*PROMOTE)
    assert outcomes(made)[-2:] == [("pull", "eu", "done"), ("promote", "eu", "left")]
    assert made["left"][0]["commands"] == [f"sovgate promote {made['release']} --zone eu"]


def test_a_model_that_was_opened_where_nobody_said_is_named_and_can_be_removed(
    shop: Shop, tmp_path: Path
) -> None:
    shop.crossing.edit(GITOPS, "datasets:\n")
    (kept,) = shop.run(*PROMOTE)["kept"]
    assert kept == ".sovgate/pulled/eu/churn-1.0.0"
    code, said = shop.crossing.run(*PROMOTE)
    assert code == 0
    assert "It is not encrypted, and it stays there" in said
    (command,) = [line.partition("rm -r")[2] for line in said.splitlines() if "rm -r" in line]
    checks = shop.crossing.json("doctor", "--offline")["checks"]
    (warned,) = [check for check in checks if check["name"] == "opened models"]
    assert warned["status"] == "warn"
    assert ".sovgate/pulled holds 1 of them, not encrypted" in warned["detail"]
    subprocess.run(["/bin/sh", "-c", f"rm -r{command}"], cwd=shop.crossing.base, check=True)
    assert list((shop.crossing.base / ".sovgate/pulled/eu").iterdir()) == []
    checks = shop.crossing.json("doctor", "--offline")["checks"]
    assert "opened models" not in [check["name"] for check in checks]
    # Where somebody said, nothing needs to be told.
    assert shop.run(*PROMOTE, "-o", tmp_path / "served")["kept"] == []


def test_a_dry_run_writes_nothing(shop: Shop) -> None:
    before = tree(shop.crossing.base)
    assert outcomes(shop.run(*RELEASE, "--dry-run")) == [
        ("sign", None, "would"),
        ("record", None, "would"),
        ("sbom", None, "would"),
        ("check", "eu", "done"),
    ]
    assert tree(shop.crossing.base) == before
    _, said = shop.crossing.run(*RELEASE, "--dry-run")
    assert "nothing was written, and push was not asked: the model is not signed" in " ".join(
        said.split()
    )
    shop.run(*RELEASE)
    before = tree(shop.crossing.base)
    later = [word if word != "churn/1.0.0" else "churn/1.1.0" for word in RELEASE]
    assert outcomes(shop.run(*later, "--dry-run"))[-1] == ("push", "eu", "would")
    assert tree(shop.crossing.base) == before


DENIED = {
    # Data that may not be where the key speaks for.
    "data-not-here": ("stays-in: []", "stays-in: [EU]", 10),
    # Data that may not go there, whatever key records it.
    "weights-inherit": ("stays-in: []", "stays-in: [US]", 10),
    "border": ("weights: {allow: [home -> eu]}", "weights: {allow: []}", 10),
    "unknown-dataset": ("public: {category", "other: {category", 3),
}


@pytest.mark.parametrize("reason", DENIED)
def test_a_dry_run_before_anything_is_signed_ends_as_the_real_run_does(
    shop: Shop, reason: str
) -> None:
    old, new, code = DENIED[reason]
    shop.crossing.edit(old, new)
    before = tree(shop.crossing.base)
    dry = shop.run(*RELEASE, "--dry-run", code=code)["error"]
    assert tree(shop.crossing.base) == before
    real = shop.run(*RELEASE, code=code)["error"]
    assert (dry["reason"], dry["what"]) == (real["reason"], real["what"])


def test_a_dry_run_believes_no_key_for_what_it_may_not_say(shop: Shop) -> None:
    trust = "trust: [{name: eu, key: keys/eu.pub.pem, may: [signature, provenance]}]\n"
    shop.crossing.edit("datasets:\n", trust + "datasets:\n")
    assert shop.run(*RELEASE, "--dry-run", code=3)["error"]["reason"] == "own-role"
    assert shop.run(*RELEASE, code=3)["error"]["reason"] == "own-role"
    assert shop.evidence == []  # nothing was signed


def test_a_dry_run_says_that_the_store_has_another_model_of_that_name(shop: Shop) -> None:
    shop.run(*RELEASE)
    shutil.rmtree(shop.crossing.base / "model.evidence")
    # The same bytes with a new record are another release too: what binds it is part of it.
    said = shop.run(*RELEASE, "--dry-run", code=21)["error"]
    assert (said["reason"], said["why"]) == (
        "release-differs",
        "it lacks a training record of the model",
    )
    (shop.crossing.model / "config.json").write_text('{"other": 1}')
    said = shop.run(*RELEASE, "--dry-run", code=21)["error"]
    assert said["reason"] == "release-differs"
    assert said["why"].startswith("its manifest is ")
    assert not (shop.crossing.base / "model.evidence").exists()


def test_several_zones_are_all_asked_about_before_anything_goes_to_one(shop: Shop) -> None:
    shop.crossing.edit("datasets:\n", SECOND_ZONE)
    generate("sign", out=shop.crossing.base / "keys/ch.pem")
    generate("encrypt", out=shop.crossing.base / "keys/ch-enc.pem", algorithm="ec-p256")
    said = shop.run(*RELEASE, "--to", "ch", code=10)
    assert said["stopped-at"] == "check"
    assert [(s["name"], s["zone"]) for s in said["steps"]][-2:] == [
        ("check", "eu"),
        ("check", "ch"),
    ]
    assert "ch" in said["error"]["what"]
    assert shop.crossing.objects("releases/") == []
    for cls in ("weights", "metadata"):
        # What is denied of the metadata alone is no less denied (rule 17).
        assert shop.run(*RELEASE, "--to", "ch", code=10)["error"]["reason"] == "border"
        assert shop.crossing.objects("releases/") == []
        shop.crossing.edit(
            f"{cls}: {{allow: [home -> eu", f"{cls}: {{allow: [home -> ch, home -> eu"
        )
    made = shop.run(*RELEASE, "--to", "ch", "--to", "eu")
    assert outcomes(made)[-4:] == [
        ("check", "eu", "done"),
        ("check", "ch", "done"),
        ("push", "eu", "done"),
        ("push", "ch", "done"),
    ]
    assert made["to"] == ["eu", "ch"]


# --- what must stop it --------------------------------------------------------------------------


def test_a_denied_release_leaves_nothing_there_and_is_written_down(shop: Shop) -> None:
    shop.crossing.edit("weights: {allow: [home -> eu]}", "weights: {allow: []}")
    said = shop.run(*PROMOTE, code=10)
    assert said["error"]["reason"] == "border"
    assert [step["name"] for step in said["steps"]] == ["sign", "record", "sbom", "check"]
    assert [n for n in tree(shop.crossing.base / "eu-store") if not n.startswith("audit/")] == []
    home = shop.crossing.base / ".sovgate/home/audit"
    (entry,) = home.rglob("*.json")
    assert b'"kind":"denied"' in Bundle.parse(entry.read_bytes()).payload
    # Allowed later, the same command goes on where it stopped.
    shop.crossing.edit("weights: {allow: []}", "weights: {allow: [home -> eu]}")
    shop.run(*PROMOTE)
    shop.finished()


def test_a_model_that_changed_since_it_was_signed_is_never_signed_again(shop: Shop) -> None:
    shop.run(*RELEASE)
    (shop.crossing.model / "config.json").write_bytes(b'{"x": 1}')
    signature = (shop.crossing.base / "model.evidence/signature.sigstore.json").read_bytes()
    said = shop.run(*RELEASE, code=11)
    assert said["stopped-at"] == "verify"
    assert (shop.crossing.base / "model.evidence/signature.sigstore.json").read_bytes() == signature


def test_data_that_must_stay_stays_though_the_whole_chain_is_asked_for(shop: Shop) -> None:
    said = shop.run(*[word if word != "public" else "kyc" for word in PROMOTE], code=10)
    assert "kyc" in said["error"]["why"]
    assert shop.crossing.objects("releases/") == []


@pytest.mark.parametrize("role", ["provenance", "sbom"])
def test_rule_06_evidence_of_another_model_or_signer_counts_for_nothing(
    shop: Shop, role: str
) -> None:
    """What lies there must be about this model and by somebody trusted, or it is made anew."""
    shop.run("sign", "model", "--zone", "home")
    shop.crossing.run("keys", "generate", "sign", "-o", "keys/nobody.pem")
    signer = open_signer("keys/nobody.pem", shop.crossing.base)
    statement = Statement(
        subject_name="churn",
        subject_sha256=shop.crossing.manifest,
        predicate_type=PREDICATE_TYPES[role],
        predicate={"made": "by nobody"},
    )
    folder = shop.crossing.base / "model.evidence"
    attest.add(folder, role, attest.seal(statement, signer))
    made = shop.run(*RELEASE)
    assert (role, None, "done") in [
        (name.replace("record", "provenance"), zone, o) for name, zone, o in outcomes(made)
    ]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--to", "mars"), 3),
        (("--to", "home"), 3),
        (("--dataset", "unknown"), 3),
        (("--release", "fraud/1.0.0"), 2),
        (("--release", "churn/1.0.0@sha256:" + "0" * 64), 2),
        (("--key", "keys/missing.pem"), 2),
        (("--through", "heaven"), 2),
    ],
)
def test_what_is_asked_for_wrongly(shop: Shop, words: tuple[str, str], code: int) -> None:
    said = shop.run(*RELEASE, *words, code=code)
    assert said["error"]["fix"]
    assert shop.crossing.objects("releases/") == []


def test_another_model_under_the_same_version_is_refused_and_the_old_one_stays(shop: Shop) -> None:
    shop.run(*RELEASE)
    before = tree(shop.crossing.base / "eu-store/releases")
    shutil.rmtree(shop.crossing.base / "model.evidence")
    (shop.crossing.model / "config.json").write_bytes(b'{"x": 1}')
    said = shop.run(*RELEASE, code=21)
    assert said["stopped-at"] == "push"
    assert tree(shop.crossing.base / "eu-store/releases") == before


def test_four_at_once_are_one_release(shop: Shop) -> None:
    command = [sys.executable, "-m", "sovgate", *PROMOTE, "--format", "json"]
    running = [
        subprocess.Popen(
            command,
            cwd=shop.crossing.base,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(4)
    ]
    said = [finish(process) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0, 0], said
    shop.finished()


# --- killed, and the disk full ------------------------------------------------------------------


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    names = (
        "move.push",
        "move.pull",
        "move.verify",
        "rollout.promote",
        "decide.check",
        "release",
        "make.sign",
        "make.record",
        "make.sbom",
    )
    imports = [f"sovgate.pipeline.{name}" for name in names]
    imports += ["sovgate.stages.encrypt", "sovgate.cli._emit", "sovgate.stages.sbom.cyclonedx"]
    with Killer(imports=imports) as running:
        yield running


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where that is to be had: what a kill leaves is the same."""
    memory = Path("/dev/shm")
    where = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path))
    (where / "temporary").mkdir()
    yield where
    shutil.rmtree(where)


#: What is done after each named step; a test meets every one of these states.
STATES = (
    "nothing",
    "signature",
    "provenance",
    "sbom",
    "sequences",
    "releases",
    "receipts",
    "commits",
    "promotions",
)


def state(done: dict[str, int]) -> str:
    assert all(count in (0, 1) for count in done.values()), done
    reached = [name for name in STATES[1:] if done[name]]
    assert reached == list(STATES[1 : len(reached) + 1]), done
    return reached[-1] if reached else "nothing"


def sampled(total: int) -> list[int]:
    """Every second step of sign, record and SBOM, and each of the end, which leave most to be seen.
    Every twelfth of push and pull, whose own tests walk all of theirs.
    """
    return sorted({*range(1, 28, 2), *range(28, total, 12), *range(total - 24, total + 1)})


@pytest.mark.thorough
def test_killed_at_any_step_it_finishes_when_run_again(
    made: Path, killer: Killer, in_memory: Path
) -> None:
    env = {"TMPDIR": str(in_memory / "temporary")}
    seen: dict[str, int] = {}
    (in_memory / "whole").mkdir()
    whole = Shop(made, in_memory / "whole")
    total = killer.run(PROMOTE, cwd=whole.crossing.base, env=env).steps
    whole.finished()
    for step in sampled(total):
        folder = in_memory / str(step)
        folder.mkdir()
        shop = Shop(made, folder)
        killed = killer.run(PROMOTE, cwd=shop.crossing.base, before=step, env=env)
        if killed.steps < step:  # files that happen to be there already save a step
            assert killed.code == 0, killed
            continue
        assert killed.killed, (step, killed)
        reached = state(shop.done)
        shop.whole_or_absent()
        shop.no_plaintext()
        # Where nothing more can be seen only every fourth kill is run again.
        if seen.get(reached, 0) % 4 == 0:
            again = killer.run(PROMOTE, cwd=shop.crossing.base, env=env)
            assert again.code == 0, (step, again)
            shop.no_plaintext()
            shop.finished()
            assert not list((in_memory / "temporary").rglob("*.sovgate-staging"))
        seen[reached] = seen.get(reached, 0) + 1
        shutil.rmtree(folder)
    assert set(seen) >= set(STATES)


@pytest.mark.thorough
def test_a_disk_that_fills_up_at_any_step_is_one_clear_message(
    made: Path, killer: Killer, in_memory: Path
) -> None:
    env = {"TMPDIR": str(in_memory / "temporary")}
    for step in range(1, 3000, 17):
        folder = in_memory / str(step)
        folder.mkdir()
        shop = Shop(made, folder)
        words = [*PROMOTE, "--format", "json"]
        done = killer.run(words, cwd=shop.crossing.base, before=step, fault=errno.ENOSPC, env=env)
        if done.steps < step:
            break
        assert "Traceback" not in done.err, (step, done)
        assert done.code in (0, 24), (step, done)
        if done.code:
            error = json.loads(done.out)
            assert error["error"]["fix"], error
            assert error.get("stopped-at") or step == 1, error  # 1: nothing was begun
        state(shop.done)
        shop.whole_or_absent()
        shutil.rmtree(folder)
