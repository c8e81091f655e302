"""`sovgate promote`, from a pulled release to a commit; and all that must stop it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sovgate.formats.bundle import Bundle
from sovgate.formats.receipt import Check, Receipt
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.keys.registry import open_signer
from sovgate.records import Release
from sovgate.stages.seal import seal
from sovgate.stages.transfer import put_receipt, receipt_statement
from tests.crossing import make_crossing, tree
from tests.desks import ANY_ZONE, GITOPS, RELEASE_FILE, Desk, pull, push
from tests.kill import Killer, every_step
from tests.pace import finish
from tests.repositories import Repository, git

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project, whose zone eu has pulled churn/1.0.0 and 1.1.0, and a repository."""
    folder = tmp_path_factory.mktemp("made")
    crossing = make_crossing(folder / "project")
    crossing.edit("datasets:\n", GITOPS)
    for version in ("1.0.0", "1.1.0"):
        pull(crossing, push(crossing, version))
    Repository(folder)
    return folder


@pytest.fixture
def desk(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    yield Desk(made, tmp_path)
    left = [p for p in (tmp_path / "temporary").rglob("*") if p.name != f"sovgate-{os.getuid()}"]
    assert left == []


# --- the way that works -------------------------------------------------------------------------


def test_a_pulled_release_becomes_a_commit_and_a_signed_record(desk: Desk, kubectl: Path) -> None:
    made = desk.promote("1.0.0")
    pinned = f"churn/1.0.0@sha256:{desk.crossing.manifest}"
    assert made["release"] == pinned
    assert made["commit"] == desk.repository.tip()
    record = desk.record(1)
    trailers = dict(
        line.split(": ", 1)
        for line in git(
            "log", "-1", "--format=%(trailers:only)", "main", cwd=desk.repository.path
        ).split("\n")
        if line
    )
    assert trailers == {
        "Sovgate-Release": pinned,
        "Sovgate-Manifest": f"sha256:{made['manifest']}",
        "Sovgate-Record": f"sha256:{made['record']}",
        "Sovgate-Zone": "eu",
        "Sovgate-Audit-Head": record["audit-head"],
    }
    assert record["release"] == "churn/1.0.0"
    assert record["commit"] == made["commit"]
    assert record["record"] == {"sha256": made["record"]}
    assert record["receipt"] == {"sha256": made["receipt"]}
    assert record["decision"] == {"sha256": made["decision"]}
    assert (record["kind"], record["branch"], record["path"]) == ("promote", "main", "overlays/eu")
    assert record["previous"] is None
    # The decision that it names lies in the store, signed, and says deploy.
    data = desk.crossing.store.get(f"objects/sha256/{made['decision']}", most=10**6)
    decision = Statement.parse(Bundle.parse(data).payload).predicate
    ours = decision["https://sovgate.dev/decision/v0"]
    assert (ours["action"], ours["from"], ours["to"]) == ("deploy", "eu", "eu")
    assert decision["verificationResult"] == "PASSED"
    desk.verify_log(made["audit-head"])
    rendered = subprocess.run(
        [str(kubectl), "kustomize", str(desk.repository.work / "overlays/eu")],
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert f"value: {pinned}" in rendered
    assert "value: keys/eu-enc.pem" in rendered


def test_rule_32_a_promotion_under_an_earlier_key_of_the_zone_is_recorded_anew(desk: Desk) -> None:
    """Done is what the identity says that would sign now. The branch is left as it is."""
    desk.promote("1.0.0")
    desk.crossing.json("keys", "generate", "sign", "-o", "keys/new.pem")
    desk.crossing.edit("keys: {sign: keys/eu.pem", "keys: {sign: keys/new.pem")
    desk.crossing.edit("border:\n", TWO_KEYS)
    tip = desk.repository.tip()
    made = desk.promote("1.0.0")
    assert made["already"] and made["decision"]
    assert (desk.repository.tip(), len(desk.records)) == (tip, 2)
    data = desk.crossing.store.get(desk.records[-1], most=10**6)
    assert open_signer("keys/new.pem", desk.crossing.base).public_key.oms_hint.encode() in data
    assert desk.record(2)["previous"]["release"] == "churn/1.0.0"
    assert desk.promote("1.0.0")["decision"] is None
    assert len(desk.records) == 2
    desk.crossing.json("audit", "verify")


def test_rule_28_what_a_former_key_wrote_down_is_missed_too(desk: Desk) -> None:
    """The key was replaced since, and the last record that it signed is removed."""
    desk.promote("1.0.0")
    desk.promote("1.1.0")
    (desk.crossing.base / "eu-store/promotions/eu/churn/000002.json").unlink()
    desk.crossing.json("keys", "generate", "sign", "-o", "keys/new.pem")
    desk.crossing.edit("keys: {sign: keys/eu.pem", "keys: {sign: keys/new.pem")
    former = 'from: eu, former: true, until: "2099-01-01"}\n  - {name: new'
    desk.crossing.edit("border:\n", TWO_KEYS.replace("from: eu}\n  - {name: new", former))
    words = ("rollback", "--zone", "eu", "--reason", "slow", "--dry-run")
    error = desk.crossing.json(*words, code=11)["error"]
    assert error["reason"] == "promotion-cut"


TWO_KEYS = """\
trust:
  - {name: home, key: keys/home.pub.pem, may: [signature, provenance, transfer], from: home}
  - {name: old, key: keys/eu.pub.pem, may: [receipt, promotion, decision, audit], from: eu}
  - {name: new, key: keys/new.pub.pem, may: [receipt], from: eu}
border:
"""


def test_rule_28_a_promotion_anchors_the_log_of_its_run(desk: Desk) -> None:
    made = desk.promote("1.0.0")
    desk.promote("1.1.0")  # saw the first run's end
    entries = desk.crossing.base / "eu-store/audit"
    head = desk.record(1)["audit-head"]
    (intent,) = [
        p for p in entries.rglob("*.json") if hashlib.sha256(p.read_bytes()).hexdigest() == head
    ]
    shutil.rmtree(intent.parent)
    for run in entries.iterdir():  # nor does any run remain that saw it
        if "promote" in (run / "0000.json").read_text() or made["audit-head"] in "".join(
            _said(p) for p in run.iterdir()
        ):
            shutil.rmtree(run)
    error = desk.crossing.json("audit", "verify", "--zone", "eu", code=11)["error"]
    assert error["reason"] == "audit-cut"


def _said(path: Path) -> str:
    return Bundle.parse(path.read_bytes()).payload.decode()


def test_a_person_is_told_what_happened(desk: Desk) -> None:
    code, text = desk.crossing.run("promote", "churn/1.0.0", "--zone", "eu")
    assert code == 0
    assert "promoted churn/1.0.0 in eu in" in text
    assert desk.repository.tip() in text
    assert "the name was not pinned" in text


def test_the_next_release_follows_and_names_the_one_before(desk: Desk) -> None:
    desk.promote("1.0.0")
    made = desk.promote("1.1.0")
    assert made["previous"] == "churn/1.0.0"
    assert desk.record(2)["previous"]["release"] == "churn/1.0.0"
    assert b"churn/1.1.0@" in desk.repository.show(RELEASE_FILE)
    assert desk.repository.log() == [
        "Promote churn/1.1.0 in eu",
        "Promote churn/1.0.0 in eu",
        "Begin",
    ]


def test_again_is_success_and_writes_nothing(desk: Desk) -> None:
    first = desk.promote("1.0.0")
    before = tree(desk.crossing.base)
    again = desk.promote("1.0.0")
    assert again["already"]
    assert again["previous"] is None  # and not itself
    assert (again["commit"], again["promotion"]) == (first["commit"], first["promotion"])
    assert tree(desk.crossing.base) == before
    assert len(desk.repository.log()) == 2


def test_a_dry_run_shows_the_change_and_writes_nothing(desk: Desk) -> None:
    before, tip = tree(desk.crossing.base), desk.repository.tip()
    made = desk.promote("1.0.0", "--dry-run")
    assert made["commit"] is None
    assert "+- path: sovgate-release.yaml" in made["diff"]
    assert (tree(desk.crossing.base), desk.repository.tip()) == (before, tip)
    code, text = desk.crossing.run("promote", "churn/1.0.0", "--zone", "eu", "--dry-run")
    assert code == 0
    assert "would promote churn/1.0.0 in eu; nothing was written" in text
    assert "+- path: sovgate-release.yaml" in text


def test_a_pull_request_is_pushed_and_recorded_once(desk: Desk) -> None:
    desk.crossing.edit("path: overlays/eu}", "path: overlays/eu, via: pull-request}")
    tip = desk.repository.tip()
    code, text = desk.crossing.run("promote", "churn/1.0.0", "--zone", "eu", "--dry-run")
    assert "would propose churn/1.0.0 for eu; nothing was written" in text
    assert "sovgate/eu/churn-1.0.0" in text
    assert "open a pull request" not in text
    dry = desk.promote("1.0.0", "--dry-run")
    assert (dry["branch"], dry["onto"]) == ("sovgate/eu/churn-1.0.0", "main")
    code, text = desk.crossing.run("promote", "churn/1.0.0", "--zone", "eu")
    assert code == 0, text
    assert "open a pull request from sovgate/eu/churn-1.0.0 to main" in text
    assert desk.repository.tip() == tip
    again = desk.promote("1.0.0")
    assert again["already"]
    assert (len(desk.crossing.objects("proposals/")), desk.records) == (1, [])
    # Merged by a person: nothing is left to do but to say so.
    git(
        "update-ref",
        "refs/heads/main",
        desk.repository.tip("sovgate/eu/churn-1.0.0"),
        cwd=desk.repository.path,
    )
    assert desk.promote("1.0.0")["already"]
    assert desk.promote("1.0.0")["already"]
    assert len(desk.records) == 1


@pytest.mark.parametrize("via", ["push", "pull-request"])
def test_the_project_says_how_commits_look(desk: Desk, via: str) -> None:
    """A server that wants a ticket and a known author takes them, also on a proposal's branch."""
    desk.repository.hook(
        "pre-receive",
        "while read o n r; do git log -1 --format='%B%an%ae%cn%ce' $n | tr -d '\\n' | "
        "grep -q '^OPS-17: Promote.*Botbot@bank.exampleBotbot@bank.example$' || exit 1; done",
    )
    assert desk.refused("1.0.0", 23)["reason"] == "push-refused"
    desk.crossing.edit(
        "path: overlays/eu}",
        f"path: overlays/eu, via: {via}, "
        'commit: {message: "OPS-17: {subject}", author: "Bot <bot@bank.example>"}}',
    )
    made = desk.promote("1.0.0")
    trailers = git(
        "log", "-1", "--format=%(trailers:only)", made["branch"], cwd=desk.repository.path
    )
    assert f"Sovgate-Release: {made['release']}" in trailers
    code, text = desk.crossing.run("doctor", "--zone", "eu", "--offline")
    assert "by Bot <bot@bank.example>, as 'OPS-17: {subject}', not signed" in text
    desk.crossing.edit('commit: {message: "OPS-17: {subject}"', "commit: {sign: keys/eu.pem")
    for words in (("lint",), ("promote", "churn/1.1.0", "--zone", "eu")):
        code, text = desk.crossing.run(*words)
        assert code == 3, text
        assert "gitops.commit.sign is not supported" in text


def test_a_reverted_overlay_is_promoted_to_again_only_where_a_person_says_so(desk: Desk) -> None:
    desk.promote("1.0.0")
    work = desk.repository.work
    git("revert", "--no-edit", "HEAD", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    error = desk.refused("1.0.0", 23)
    assert error["reason"] == "branch-differs"
    assert "the last promotion says churn/1.0.0, the branch main pins nothing" in error["what"]
    made = desk.promote("1.0.0", "--again")
    assert not made["already"]
    assert desk.record(2)["commit"] == made["commit"]


# --- what must stop it --------------------------------------------------------------------------


def test_rule_27_an_older_release_is_denied(desk: Desk) -> None:
    desk.promote("1.1.0")
    error = desk.refused("1.0.0", 10)
    assert error["reason"] == "sequence-went-back"
    assert "signed rollback" in error["fix"]


def test_rule_26_a_record_that_was_not_written_yet_still_counts(desk: Desk) -> None:
    """A run pushed 1.1.0 and died before its record: the overlay's word raises the bar."""
    desk.promote("1.0.0")
    desk.promote("1.1.0")
    desk.forget_record(2)
    assert desk.promote("1.0.0", code=10)["error"]["reason"] == "sequence-went-back"
    again = desk.promote("1.1.0")
    assert again["already"]
    assert desk.record(2)["commit"] == desk.repository.tip() == again["commit"]
    assert len(desk.repository.log()) == 3


def test_rule_26_what_somebody_wrote_into_the_overlay_gives_no_right(desk: Desk) -> None:
    desk.promote("1.1.0")
    text = desk.repository.show(RELEASE_FILE).decode().replace("churn/1.1.0@", "churn/0.0.1@")
    desk.repository.person_pushes({RELEASE_FILE: text})
    assert desk.refused("1.0.0", 10)["reason"] == "sequence-went-back"
    # A trailer that lies changes nothing either.
    git(
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "x\n\nSovgate-Release: churn/1.0.0",
        cwd=desk.repository.work,
    )
    git("push", "-q", "origin", "HEAD:main", cwd=desk.repository._work)
    assert desk.refused("1.0.0", 10)["reason"] == "sequence-went-back"
    assert desk.refused("1.1.0", 23)["reason"] == "branch-differs"
    desk.promote("1.1.0", "--again")
    assert b"churn/1.1.0@" in desk.repository.show(RELEASE_FILE)


def test_without_its_own_receipt_a_zone_does_not_roll_out(desk: Desk) -> None:
    release = push(desk.crossing, "1.2.0")
    error = desk.refused(release.removeprefix("churn/"), 11)
    assert error["reason"] == "no-receipt"
    assert error["fix"].startswith(f"sovgate pull {release} --zone eu")
    pull(desk.crossing, release)
    desk.promote("1.2.0")


@pytest.mark.parametrize(("key", "code"), [("keys/home.pem", 11), ("keys/eu.pem", 0)])
def test_only_the_zone_itself_says_that_it_opened_a_release(
    desk: Desk, key: str, code: int
) -> None:
    """Its receipt stands for its own policy's word on what crossed, which `promote` asks no more.

    So a key that may speak for any zone cannot write it in the zone's place.
    """
    crossing = desk.crossing
    pushed = push(crossing, "1.2.0")
    crossing.edit("border:\n", ANY_ZONE)
    crossing.edit("allow: [home -> eu]", "allow: []")
    crossing.pull(release="churn/1.2.0", code=10)
    record = crossing.store.get("releases/churn/1.2.0.json", most=10**6)
    receipt = Receipt(
        release=Release.parse("churn/1.2.0"),
        record=hashlib.sha256(record).hexdigest(),
        manifest=pushed.rpartition(":")[2],
        zone="eu",
        location=None,
        grade=1,
        checks=(Check(id="no-pickles", passed=True),),
        decision="0" * 64,
        opened=datetime.now(UTC).replace(microsecond=0),
        audit_head="0" * 64,
    )
    statement = receipt_statement(receipt, PREDICATE_TYPES["receipt"])
    put_receipt(crossing.store, receipt.release, seal(statement, open_signer(key, crossing.base)))
    if code:
        assert desk.refused("1.2.0", code)["reason"] == "no-receipt"
    else:
        desk.promote("1.2.0")


def test_a_receipt_that_was_changed_is_none(desk: Desk) -> None:
    (path,) = (desk.crossing.base / "eu-store/receipts/churn/1.0.0").iterdir()
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    assert desk.refused("1.0.0", 11)["reason"] == "no-receipt"


def test_a_pin_that_does_not_fit_is_refused(desk: Desk) -> None:
    assert desk.refused("1.0.0@sha256:" + "0" * 64, 11)["reason"] == "wrong-manifest"


def test_a_release_that_is_not_there(desk: Desk) -> None:
    assert desk.refused("9.9.9", 21)["reason"] == "no-release"
    desk.crossing.json("promote", "Churn/1", "--zone", "eu", code=2)


def test_policy_that_denies_is_asked_and_written_down(desk: Desk) -> None:
    desk.crossing.edit(
        "border:\n", "gates:\n  accuracy: {at-least: 0.9, before: deploy}\nborder:\n"
    )
    before = len(desk.crossing.objects("audit/"))
    error = desk.refused("1.0.0", 10)
    assert error["reason"] == "gates-before-stage"
    assert len(desk.crossing.objects("audit/")) == before + 1
    heads = desk.crossing.base / "heads.txt"
    dry = desk.promote("1.0.0", "--dry-run", "--heads", heads, code=10)
    assert dry["error"]["reason"] == "gates-before-stage"
    assert len(desk.crossing.objects("audit/")) == before + 1
    desk.promote("1.0.0", "--heads", heads, code=10)
    assert [line.split()[1:] for line in heads.read_text().splitlines()] == [["eu", "promote"]]


def test_another_key_of_the_zone_could_not_open_it(desk: Desk) -> None:
    code, said = desk.crossing.run("keys", "generate", "encrypt", "-o", "keys/new.pem")
    assert code == 0, said
    desk.crossing.edit(
        "encrypt: keys/eu-enc.pem, encrypt-public: keys/eu-enc.pub.pem",
        "encrypt: keys/new.pem, encrypt-public: keys/new.pub.pem",
    )
    assert desk.refused("1.0.0", 20)["reason"] == "wrong-key"


@pytest.mark.parametrize(
    ("old", "new", "code", "reason"),
    [
        (GITOPS, "datasets:\n", 3, "no-gitops"),
        ("path: overlays/eu}", "path: overlays/us}", 3, "no-overlay"),
        ("path: overlays/eu}", "path: ../eu}", 3, None),
        ("path: overlays/eu}", "path: .git}", 3, "bad-value"),
        ("path: overlays/eu}", "path: overlays/eu, branch: prod}", 23, "no-branch"),
        ("path: overlays/eu}", "path: overlays/eu, branch: -x}", 3, None),
        ("../serving.git", "../nothing.git", 23, "no-repository"),
        ("../serving.git", "'ext::sh -c x'", 3, None),
        ("../serving.git", "https://u:hunter2@x.example/y", 3, None),
        ("../serving.git", "ssh://u:hunter2@x.example/y", 3, None),
        ("../serving.git", "http://x.example/y", 3, None),
        ("path: overlays/eu}", "path: overlays/eu, deployment: other}", 3, "no-deployment"),
    ],
)
def test_what_is_wrong_in_the_project_file_is_named_with_its_line(
    desk: Desk, old: str, new: str, code: int, reason: str | None
) -> None:
    desk.crossing.edit(old, new)
    error = desk.refused("1.0.0", code)
    assert reason in (None, error["reason"])
    assert error["fix"]
    assert "hunter2" not in json.dumps(error)
    assert "sovgate.yaml" in json.dumps(error)


def test_rule_42_an_overlay_of_another_model_gets_neither_commit_nor_record(desk: Desk) -> None:
    desk.promote("1.0.0")
    text = desk.repository.show(RELEASE_FILE).decode().replace("churn/1.0.0@", "fraud/7.0.0@")
    desk.repository.person_pushes({RELEASE_FILE: text})
    entries = desk.crossing.objects("audit/")
    error = desk.refused("1.1.0", 23)
    assert error["reason"] == "overlay-taken"
    assert "fraud/7.0.0" in error["why"]
    assert "churn/1.1.0" in error["why"]
    assert desk.crossing.objects("audit/") == entries
    desk.promote("1.1.0", "--dry-run", code=23)


def test_rule_42_a_project_whose_model_has_the_same_name_is_not_passed_over(desk: Desk) -> None:
    """Two projects of two repositories may have one folder in a third, and know nothing of it."""
    desk.promote("1.0.0")
    text = desk.repository.show(RELEASE_FILE).decode().replace("churn/1.0.0@", "churn/7.0.0@")
    desk.repository.person_pushes({RELEASE_FILE: text})
    for name in ("promotions", "audit"):  # those are in the other project's store
        shutil.rmtree(desk.crossing.base / "eu-store" / name)
    tip = desk.repository.tip()
    error = desk.refused("1.1.0", 23)
    assert error["reason"] == "branch-differs"
    assert "a project with a model of the same name promoted it" in error["why"]
    first, again = error["fix"].split("; or, if no other project uses it, ")
    assert "zones.eu.gitops.path" in first
    assert "--again" in again
    assert (desk.crossing.objects("promotions/"), desk.repository.tip()) == ([], tip)


def test_rule_42_a_zone_whose_overlay_builds_on_this_one_stops_it(desk: Desk) -> None:
    sign = "    keys: {sign: keys/home.pem}\n"
    theirs = "    gitops: {repo: ../serving.git/, path: overlays/home/}\n"
    desk.crossing.edit(sign, sign + theirs)
    file = "overlays/home/kustomization.yaml"
    desk.repository.person_pushes({file: "resources: [../eu]\n"})
    entries, tip = desk.crossing.objects("audit/"), desk.repository.tip()
    error = desk.refused("1.0.0", 23)
    assert error["reason"] == "overlay-taken"
    assert "zone home would run this release too" in error["why"]
    desk.promote("1.0.0", "--dry-run", code=23)
    assert (desk.crossing.objects("audit/"), desk.repository.tip()) == (entries, tip)
    desk.repository.person_pushes({file: "resources: [../../base]\n"})  # as the fix says
    desk.promote("1.0.0")


def test_the_pods_may_name_the_key_in_their_own_way(desk: Desk) -> None:
    desk.crossing.edit("path: overlays/eu}", "path: overlays/eu, key: 'file:/keys/eu.pem'}")
    desk.promote("1.0.0")
    assert b'value: "file:/keys/eu.pem"' in desk.repository.show(RELEASE_FILE)


def test_a_zone_must_be_named(desk: Desk) -> None:
    error = desk.crossing.json("promote", "churn/1.0.0", code=3)["error"]
    assert error["reason"] == "no-zone"


def test_records_of_promotions_that_were_changed_stop_it(desk: Desk) -> None:
    desk.promote("1.0.0")
    path = desk.crossing.base / "eu-store/promotions/eu/churn/000001.json"
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data.replace(b"sovgate", b"sovgatf", 1) if b"sovgate" in data else data[1:])
    desk.promote("1.1.0", code=11)


# --- at once, and killed ------------------------------------------------------------------------


def start(desk: Desk, version: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "sovgate",
            "promote",
            f"churn/{version}",
            "--zone",
            "eu",
            "--format",
            "json",
        ],
        cwd=desk.crossing.base,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def outcome(process: subprocess.Popen[bytes]) -> tuple[int, dict[str, Any]]:
    out, err = finish(process)
    assert b"Traceback" not in err, err.decode()
    return process.returncode, json.loads(out)


def test_two_promotions_at_once_have_one_consistent_outcome(desk: Desk) -> None:
    results = [outcome(p) for p in [start(desk, "1.0.0"), start(desk, "1.1.0")]]
    codes = sorted(code for code, _ in results)
    # One wins and the other stops (23, or 10 where it came second and is the older), or the newer
    # one follows the older.
    assert codes in ([0, 23], [0, 10], [0, 0])
    data = desk.repository.show(RELEASE_FILE)
    won = [found for code, found in results if code == 0]
    if codes == [0, 0]:
        assert b"churn/1.1.0@" in data
    else:
        assert won[0]["release"].encode() in data
    numbers = range(1, len(desk.records) + 1)
    assert {desk.record(n)["commit"] for n in numbers} == {found["commit"] for found in won}
    assert desk.promote("1.1.0")["commit"] == desk.repository.tip()


def test_the_same_promotion_many_times_at_once_is_one_commit(desk: Desk) -> None:
    results = [outcome(p) for p in [start(desk, "1.0.0") for _ in range(4)]]
    assert [code for code, _ in results] == [0, 0, 0, 0], results
    assert len(set(desk.repository.log(form="%s"))) == 2
    assert desk.promote("1.0.0")["already"]


@pytest.mark.thorough
def test_killed_before_any_step_it_leaves_old_or_new_and_finishes_when_run_again(
    made: Path, tmp_path: Path
) -> None:
    desks: list[Desk] = []

    def fresh() -> Path:
        folder = tmp_path / str(len(desks))
        (folder / "temporary").mkdir(parents=True)
        desks.append(Desk(made, folder))
        return desks[-1].crossing.base

    temporary = str(tmp_path / "temporary")
    Path(temporary).mkdir()
    states: set[tuple[int, int]] = set()
    seen: set[tuple[object, ...]] = set()
    with Killer(imports=["sovgate.pipeline.rollout.promote"]) as killer:
        arguments = ["promote", "churn/1.0.0", "--zone", "eu"]
        for base, step, _ in every_step(
            killer, fresh, lambda _: arguments, env={"TMPDIR": temporary}
        ):
            desk = desks[-1]
            log = desk.repository.log()
            assert log in (["Begin"], ["Promote churn/1.0.0 in eu", "Begin"]), step
            assert len(desk.records) <= len(log) - 1
            states.add((len(log), len(desk.records)))
            # What a second run does depends on what is there, so each such state is tried once.
            state = (
                len(log),
                *sorted(len(n.parts) for n in base.rglob("*")),
                *desk.records,
                any(Path(temporary).rglob("*.sovgate-staging")),
            )
            if state in seen:
                shutil.rmtree(base.parent)
                continue
            seen.add(state)
            again = killer.run(arguments, cwd=base, env={"TMPDIR": temporary})
            assert again.code == 0, again
            assert desk.repository.log() == ["Promote churn/1.0.0 in eu", "Begin"], step
            assert desk.record(1)["commit"] == desk.repository.tip()
            assert len(desk.records) == 1
            left = [p for p in Path(temporary).rglob("*") if not p.name.startswith("sovgate-")]
            assert left == []
            shutil.rmtree(base.parent)
    assert states == {(1, 0), (2, 0), (2, 1)}


@pytest.mark.thorough
def test_a_disk_that_fails_at_any_step_is_one_clear_message(made: Path, tmp_path: Path) -> None:
    """From its nth step on nothing more can be written here: 24, and Git has the old or the new."""
    desks: list[Desk] = []

    def fresh() -> Path:
        folder = tmp_path / str(len(desks))
        (folder / "temporary").mkdir(parents=True)
        desks.append(Desk(made, folder))
        return desks[-1].crossing.base

    temporary = str(tmp_path / "temporary")
    Path(temporary).mkdir()
    with Killer(imports=["sovgate.pipeline.rollout.promote"]) as killer:
        arguments = ["promote", "churn/1.0.0", "--zone", "eu", "--format", "json"]
        for base, step, done in every_step(
            killer, fresh, lambda _: arguments, fault=errno.ENOSPC, env={"TMPDIR": temporary}
        ):
            assert "Traceback" not in done.err, (step, done)
            assert done.code in (0, 24), (step, done)
            if done.code:
                error = json.loads(done.out)["error"]
                assert error["fix"], error
            log = desks[-1].repository.log()
            assert log in (["Begin"], ["Promote churn/1.0.0 in eu", "Begin"]), step
            shutil.rmtree(base.parent)


@pytest.mark.thorough
def test_twenty_teams_promote_at_once_and_none_is_lost_or_mixed(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty projects, each with its store and overlay; one repository, twenty processes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    overlays = [f"team-{n:02}" for n in range(20)]
    (tmp_path / "shared").mkdir()
    repository = Repository(tmp_path / "shared", tuple(overlays))
    desks = []
    for n, name in enumerate(overlays):
        (tmp_path / name).mkdir()
        desk = Desk(made, tmp_path / name)
        desk.crossing.edit(
            "../serving.git, path: overlays/eu", f"{repository.path}, path: overlays/{name}"
        )
        desks.append((desk, name, f"1.{n % 2}.0"))
    running = [start(desk, version) for desk, _, version in desks]
    results = [outcome(process) for process in running]
    assert [found for code, found in results if code != 0] == []
    log = repository.log(form="%H %P")
    assert len(log) == 21
    assert {found["commit"] for _, found in results} == {line.split()[0] for line in log[:-1]}
    for (desk, name, version), (_, found) in zip(desks, results, strict=True):
        data = repository.show(f"overlays/{name}/sovgate-release.yaml")
        assert data.count(f"churn/{version}@sha256:".encode()) == 3
        assert data.count(b"churn/") == 3
        assert desk.record(1)["commit"] == found["commit"]
        touched = git("show", "--format=", "--name-only", found["commit"], cwd=repository.path)
        assert {line.split("/")[1] for line in touched.split("\n")} == {name}
    git("fsck", "--strict", cwd=repository.path)
