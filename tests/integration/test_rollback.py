"""`sovgate rollback`: back to what still stands, by signed records alone; and what must stop it.

Four releases with weights of their own are pulled in zone eu, and three of them promoted.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import SovgateError
from sovgate.formats.bundle import Bundle
from sovgate.formats.promotion import Promotion
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.keys.registry import open_signer
from sovgate.stages.promote import open_promotion
from sovgate.stages.seal import seal
from tests.crossing import tree
from tests.desks import (
    ANY_ZONE,
    RELEASE_FILE,
    VERSIONS,
    WHY,
    Versions,
    make_versions,
)
from tests.kill import ROOT, Killer
from tests.pace import finish
from tests.repositories import git


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_versions(tmp_path_factory.mktemp("made"))
    first = folder / "first"
    first.mkdir()
    desk = At(folder, first)
    for version in VERSIONS[:3]:
        desk.forward(version)
    return first


class At(Versions):
    """A desk whose releases have names and pins."""

    def stuck(self, code: int, *more: object, reason: str = WHY) -> dict[str, Any]:
        """What a refusal says. It left nothing in Git and no promotion record."""
        before, records = self.repository.tip(), self.records
        said = self.back(*more, reason=reason, code=code)
        assert (self.repository.tip(), self.records) == (before, records)
        assert said["error"]["fix"]
        return said

    @property
    def pinned(self) -> str:
        text = self.repository.show(RELEASE_FILE).decode()
        return next(v for v in VERSIONS if f"churn/{v}@sha256:" in text)

    def path(self, number: int) -> Path:
        return self.crossing.base / f"eu-store/promotions/eu/churn/{number:06}.json"

    def promotion(self, number: int) -> Promotion:
        from sovgate.pipeline.project import open_project

        return open_promotion(
            self.path(number).read_bytes(), open_project(self.crossing.base).trusted("eu")
        )

    def forge(
        self, at: int, key: str = "keys/eu.pem", role: str = "promotion", **changes: Any
    ) -> None:
        """Put a record there that one of the zone's keys signed."""
        made = dataclasses.replace(self.promotion(at), **changes)
        data = seal(
            Statement(
                subject_name=made.release.model,
                subject_sha256=made.manifest,
                predicate_type=PREDICATE_TYPES[role],
                predicate=made.predicate(),
            ),
            open_signer(key, self.crossing.base),
        )
        self.path(at).chmod(0o644)
        self.path(at).write_bytes(data)

    def refit(self, at: int) -> None:
        """Let a record name the one before it as that is now."""
        before = self.promotion(at).previous
        assert before is not None
        digest = hashlib.sha256(self.path(at - 1).read_bytes()).hexdigest()
        self.forge(at, previous=dataclasses.replace(before, sha256=digest))

    def forget_log(self) -> None:
        """As if the log had never heard of the promotions."""
        shutil.rmtree(self.crossing.base / "eu-store/audit")


@pytest.fixture
def desk(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[At]:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    yield At(made, tmp_path)
    left = [p for p in (tmp_path / "temporary").rglob("*") if p.name != f"sovgate-{os.getuid()}"]
    assert left == []


# --- the way that works -------------------------------------------------------------------------


def test_a_bad_release_is_left_for_the_one_before(desk: At) -> None:
    made = desk.back()
    assert made["release"] == desk.pins["1.1.0"]
    assert made["left"] == "churn/1.2.0"
    assert desk.pinned == "1.1.0"
    assert made["commit"] == desk.repository.tip()
    assert desk.repository.log()[0] == "Roll back to churn/1.1.0 in eu"
    record = desk.record(4)
    assert (record["kind"], record["reason"], record["sequence"]) == ("rollback", WHY, 2)
    assert record["previous"]["release"] == "churn/1.2.0"
    assert record["decision"] == {"sha256": made["decision"]}
    trailers = git("log", "-1", "--format=%(trailers:only)", "main", cwd=desk.repository.path)
    assert f"Sovgate-Release: {desk.pins['1.1.0']}" in trailers
    assert f"Sovgate-Audit-Head: {record['audit-head']}" in trailers
    assert f"Sovgate-Rollback: {WHY}" in trailers
    log = desk.verify_log(made["audit-head"])["logs"][0]["runs"]
    assert {"kind": "outcome", "action": "rollback", "release": "churn/1.1.0", "exit": 0} in [
        run["last"] for run in log
    ]


def test_rule_27_after_a_rollback_only_forward_works(desk: At) -> None:
    desk.back()
    error = desk.forward("1.0.0", code=10)["error"]
    assert error["reason"] == "sequence-went-back"
    assert "sovgate rollback --zone eu --to-release churn/1.0.0" in error["fix"]
    # The one that was left can be promoted again, and so can a newer one.
    assert desk.forward("1.2.0")["previous"] == "churn/1.1.0"
    desk.forward("1.3.0")
    assert desk.forward("1.1.0", code=10)["error"]["reason"] == "sequence-went-back"
    assert desk.repository.log()[:3] == [
        "Promote churn/1.3.0 in eu",
        "Promote churn/1.2.0 in eu",
        "Roll back to churn/1.1.0 in eu",
    ]


def test_the_same_rollback_again_is_done_already_and_writes_nothing(desk: At) -> None:
    first = desk.back()
    before = tree(desk.crossing.base)
    again = desk.back()
    assert again["already"]
    assert (again["release"], again["promotion"], again["commit"]) == (
        first["release"],
        first["promotion"],
        first["commit"],
    )
    assert tree(desk.crossing.base) == before
    code, text = desk.crossing.run("rollback", "--zone", "eu", "--reason", WHY)
    assert code == 0
    assert "rolled back to churn/1.1.0 for this reason already" in text
    assert "to go back further, give another reason" in text


@pytest.mark.parametrize("what", ["value", "key", "end of line"])
def test_a_rollback_whose_overlay_was_edited_since_is_not_done_already(desk: At, what: str) -> None:
    """The annotation says the release still; what the container gets is another one, or may be."""
    desk.back()
    text = desk.repository.show(RELEASE_FILE).decode()
    pin = desk.pins["1.1.0"]
    value = next(line for line in text.splitlines() if "value: " in line and pin in line)
    edited = {
        "value": text.replace(value, value.replace(pin, desk.pins["1.2.0"])),
        "key": text.replace("keys/eu-enc.pem", "keys/other.pem"),
        "end of line": text + "\n",
    }[what]
    assert edited != text
    desk.repository.person_pushes({RELEASE_FILE: edited}, "Try 1.2.0 again")
    error = desk.stuck(23)["error"]
    assert error["reason"] == "branch-differs"
    assert "pins churn/1.1.0, but not as it was rolled back to" in error["what"]
    # The fix, followed to the letter.
    command = re.search(r"git (checkout [0-9a-f]{40} -- \S+);", error["fix"])
    assert command is not None
    git(*command.group(1).split(), cwd=desk.repository.work)
    desk.repository.person_pushes_index("As it was")
    assert desk.repository.show(RELEASE_FILE).decode() == text
    assert desk.back()["already"]


def test_another_reason_goes_back_further_and_never_to_what_was_left(desk: At) -> None:
    desk.back()
    made = desk.back(reason="1.1.0 drifts too")
    assert made["release"] == desk.pins["1.0.0"]
    said = desk.stuck(10, reason="and 1.0.0 as well")
    assert said["error"]["reason"] == "no-way-back"
    assert "was promoted to nothing older" in said["error"]["why"]


def test_after_a_new_release_a_rollback_passes_over_what_was_left(desk: At) -> None:
    desk.back("--to-release", "churn/1.0.0", reason="1.2.0 is slow")
    desk.forward("1.3.0")
    made = desk.back(reason="1.3.0 is wrong")
    assert made["release"] == desk.pins["1.0.0"]
    assert made["skipped"] == []
    desk.forward("1.3.0")
    # 1.0.0 no longer stands, 1.2.0 was left for a reason: 1.1.0 it is.
    shutil.rmtree(desk.crossing.base / "eu-store/receipts/churn/1.0.0")
    made = desk.back(reason="1.3.0 is wrong again")
    assert made["release"] == desk.pins["1.1.0"]
    skipped = {s["release"]: s["why"] for s in made["skipped"]}
    assert set(skipped) == {"churn/1.0.0", "churn/1.2.0"}
    assert "1.2.0 is slow" in skipped["churn/1.2.0"]
    assert "no receipt" in skipped["churn/1.0.0"]


def test_one_can_be_named_even_if_it_was_left(desk: At) -> None:
    desk.back("--to-release", "churn/1.0.0")
    desk.forward("1.3.0")
    made = desk.back("--to-release", desk.pins["1.2.0"], reason="better than 1.3.0 at least")
    assert made["release"] == desk.pins["1.2.0"]


def test_a_dry_run_shows_the_way_and_writes_nothing(desk: At) -> None:
    before, tip = tree(desk.crossing.base), desk.repository.tip()
    code, text = desk.crossing.run("rollback", "--zone", "eu", "--reason", WHY, "--dry-run")
    assert code == 0, text
    assert "would roll eu back from churn/1.2.0 to churn/1.1.0; nothing was written" in text
    assert "+              value: " in text
    assert (tree(desk.crossing.base), desk.repository.tip()) == (before, tip)


def test_by_pull_request_it_is_proposed_under_a_branch_of_its_own(desk: At) -> None:
    desk.crossing.edit("path: overlays/eu}", "path: overlays/eu, via: pull-request}")
    tip = desk.repository.tip()
    dry = desk.back("--dry-run")
    made = desk.back()
    assert made["branch"] == dry["branch"] == "sovgate/eu/churn-1.1.0-again-4"
    assert desk.repository.tip() == tip
    assert desk.back()["already"]
    merge(desk, made["branch"])
    assert desk.pinned == "1.1.0"
    assert desk.back()["already"]
    # Forward again by a pull request: 1.2.0 was promoted by a push before, so the name is free.
    forward = desk.forward("1.2.0")
    merge(desk, forward["branch"])
    again = desk.back(reason="still slow")
    merge(desk, again["branch"])
    assert desk.pinned == "1.1.0"
    # And once more: the merged branches are there still, and are not taken for new ones.
    forward = desk.forward("1.2.0")
    assert forward["branch"] == "sovgate/eu/churn-1.2.0-again-7"
    assert desk.forward("1.2.0")["already"]
    merge(desk, forward["branch"])
    assert desk.pinned == "1.2.0"


def merge(desk: At, branch: str) -> None:
    tip = desk.repository.tip(branch)
    git("update-ref", "refs/heads/main", tip, cwd=desk.repository.path)


def test_a_person_who_reverted_in_git_gets_a_record_of_it(desk: At) -> None:
    work = desk.repository.work
    git("revert", "--no-edit", "HEAD", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    tip = desk.repository.tip()
    made = desk.back()
    assert (made["release"], made["commit"], desk.repository.tip()) == (
        desk.pins["1.1.0"],
        tip,
        tip,
    )
    assert desk.record(4)["kind"] == "rollback"


def test_rule_26_a_promotion_that_died_before_its_record_can_be_rolled_back(desk: At) -> None:
    """The overlay is ahead of the records: what they say last is where to go back to."""
    desk.forward("1.3.0")
    desk.forget_record(4)
    made = desk.back()
    assert (made["left"], made["release"]) == ("churn/1.3.0", desk.pins["1.2.0"])
    assert desk.pinned == "1.2.0"


# --- what must stop it --------------------------------------------------------------------------


def test_policy_of_today_decides_whatever_it_said_then(desk: At) -> None:
    """A decision that was made then, expired or not, gives no right now. RULES 18, 19."""
    rule = "  accuracy: {at-least: 0.9, before: deploy}\n"
    desk.crossing.edit("border:\n", f"gates:\n{rule}border:\n")
    entries = len(desk.crossing.objects("audit/"))
    said = desk.stuck(10)
    assert said["error"]["reason"] == "no-way-back"
    assert [c["release"] for c in said["candidates"]] == ["churn/1.1.0", "churn/1.0.0"]
    assert {c["reason"] for c in said["candidates"]} == {"gates-before-stage"}
    assert len(desk.crossing.objects("audit/")) == entries + 2  # both denials are written down
    one = desk.stuck(10, "--to-release", "churn/1.0.0")
    assert one["error"]["reason"] == "gates-before-stage"
    desk.back("--dry-run", code=10)
    assert len(desk.crossing.objects("audit/")) == entries + 3


def test_what_no_longer_verifies_is_passed_over_and_said(desk: At) -> None:
    path = desk.crossing.base / "eu-store/releases/churn/1.1.0.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-20])
    made = desk.back()
    assert made["release"] == desk.pins["1.0.0"]
    ((skipped),) = made["skipped"]
    assert skipped["release"] == "churn/1.1.0"


@pytest.mark.parametrize("what", ["record", "receipt", "signature", "evidence", "decision"])
def test_each_thing_that_a_candidate_needs_is_missed(desk: At, what: str) -> None:
    store = desk.crossing.base / "eu-store"
    record = json.loads(_payload(store / "releases/churn/1.1.0.json"))["predicate"]
    names = {
        "record": "releases/churn/1.1.0.json",
        "receipt": "receipts/churn/1.1.0",
        "signature": f"objects/sha256/{record['signature']['sha256']}",
        "evidence": f"objects/sha256/{record['evidence'][0]['sha256']}",
        "decision": f"objects/sha256/{desk.record(2)['decision']['sha256']}",
    }
    path = store / names[what]
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = desk.stuck(
        21 if what in ("record", "signature", "evidence") else 11, "--to-release", "churn/1.1.0"
    )
    assert "cannot go back to churn/1.1.0" in json.dumps(said["error"]["details"])


def _payload(path: Path) -> bytes:
    from sovgate.formats.bundle import Bundle

    return Bundle.parse(path.read_bytes()).payload


def test_a_zone_without_promotions_has_nothing_to_go_back_to(desk: At) -> None:
    shutil.rmtree(desk.crossing.base / "eu-store/promotions")
    assert desk.stuck(11)["error"]["reason"] == "promotion-cut"  # the log remembers
    desk.forget_log()
    assert desk.stuck(10)["error"]["reason"] == "no-way-back"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("churn/1.2.0", "it is what the zone has now"),
        ("churn/1.3.0", "was never promoted to it"),
        ("churn/9.9.9", "was never promoted to it"),
    ],
)
def test_only_what_was_promoted_before_can_be_named(desk: At, name: str, words: str) -> None:
    said = desk.stuck(10, "--to-release", name)
    assert words in said["error"]["why"]


def test_a_pin_that_is_not_that_of_then_is_refused(desk: At) -> None:
    other = desk.pins["1.0.0"].partition("@")[2]
    said = desk.stuck(11, "--to-release", f"churn/1.1.0@{other}")
    assert said["error"]["reason"] == "wrong-manifest"


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "x" * 1025, "bidi \u202e", "\x1b[1m"])
def test_a_reason_is_one_line_of_text(desk: At, reason: str) -> None:
    assert desk.stuck(2, reason=reason)["error"]["reason"] in ("bad-reason", "usage")


def test_another_projects_release_cannot_be_named(desk: At) -> None:
    assert desk.stuck(2, "--to-release", "fraud/1.0.0")["error"]["reason"] == "wrong-model"


# --- hostile evidence ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"zone": "home"}, "wrong-source"),
        ({"release": "fraud/1.2.0"}, "promotion-foreign"),
        ({"kind": "rollback", "reason": "I say so"}, "promotion-rollback"),
        ({"number": 2}, "promotion-foreign"),
    ],
)
def test_rule_26_a_record_of_something_else_in_its_place(
    desk: At, changes: dict[str, Any], reason: str
) -> None:
    from sovgate.records import Release

    desk.forget_log()
    if "release" in changes:
        previous = dataclasses.replace(
            desk.promotion(3).previous, release=Release.parse("fraud/1.0.0")
        )
        changes = {"release": Release.parse(changes["release"]), "previous": previous}
    desk.forge(3, **changes)
    assert desk.stuck(11)["error"]["reason"] == reason


def test_rule_26_a_kind_that_was_forged_outside_of_the_signature(desk: At) -> None:
    path = desk.path(3)
    data = json.loads(path.read_bytes())
    payload = base64.b64decode(data["dsseEnvelope"]["payload"])
    changed = payload.replace(b'"kind":"promote"', b'"kind":"rollback"').replace(
        b'"reason":null', b'"reason":"x"'
    )
    assert changed != payload
    data["dsseEnvelope"]["payload"] = base64.b64encode(changed).decode()
    path.chmod(0o644)
    path.write_text(json.dumps(data))
    assert desk.stuck(11)["error"]["reason"] in ("bad-signature", "malformed", "not-canonical")


@pytest.mark.parametrize("key", ["keys/home.pem", "keys/eu-enc.pem"])
def test_rule_26_a_record_by_another_key(desk: At, key: str) -> None:
    if key == "keys/eu-enc.pem":
        code, said = desk.crossing.run("keys", "generate", "sign", "-o", "keys/nobody.pem")
        assert code == 0, said
        key = "keys/nobody.pem"
    desk.forge(3, key=key)
    assert desk.stuck(11)["error"]["reason"] in ("wrong-source", "wrong-signer")


def test_a_key_that_may_speak_for_any_zone_writes_no_record_in_the_place_of_this_one(
    desk: At,
) -> None:
    """Where a zone stands only the zone can say. Its own key needs no `from:` for that."""
    desk.crossing.edit("border:\n", ANY_ZONE)
    desk.back()
    desk.forge(4, key="keys/home.pem")
    desk.forget_log()
    assert desk.stuck(11)["error"]["reason"] == "wrong-source"


def test_a_decision_by_a_key_that_may_speak_for_any_zone_carries_no_promotion(desk: At) -> None:
    """The same words as the zone's own, signed by another."""
    desk.crossing.edit("border:\n", ANY_ZONE)
    desk.forget_log()
    there = desk.crossing.base / "eu-store/objects/sha256"
    said = Statement.parse(Bundle.parse((there / desk.promotion(2).decision).read_bytes()).payload)
    data = seal(said, open_signer("keys/home.pem", desk.crossing.base))
    digest = hashlib.sha256(data).hexdigest()
    (there / digest).write_bytes(data)
    desk.forge(2, decision=digest)
    desk.refit(3)
    found = desk.stuck(11, "--to-release", "churn/1.1.0")
    assert found["error"]["reason"] == "wrong-decision"


def test_rule_06_a_decision_of_another_zone_or_release_carries_no_promotion(desk: At) -> None:
    """The newest candidate's record names a decision that was about something else: passed over."""
    other = desk.promotion(1)
    desk.forget_log()
    desk.forge(2, decision=other.decision)
    desk.refit(3)
    said = desk.stuck(11, "--to-release", "churn/1.1.0")
    assert said["error"]["reason"] == "wrong-decision"
    assert desk.back()["release"] == desk.pins["1.0.0"]


def test_rule_19_a_decision_that_had_run_out_carries_no_promotion(desk: At) -> None:
    desk.forget_log()
    late = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    desk.forge(2, created=late)
    desk.refit(3)
    said = desk.stuck(11, "--to-release", "churn/1.1.0")
    assert said["error"]["reason"] == "decision-expired"


def test_rule_28_the_newest_record_was_removed_but_the_log_remembers(desk: At) -> None:
    desk.path(3).unlink()
    for error in (
        desk.stuck(11)["error"],
        desk.forward("1.3.0", code=11)["error"],
        desk.forward("1.2.0", "--dry-run", code=11)["error"],
        desk.forward("1.1.0", "--again", code=11)["error"],
    ):
        assert error["reason"] == "promotion-cut"
        assert error["what"] == "a promotion record was removed"
        assert "audit/" in error["why"]
    assert len(desk.records) == 2


def test_rule_28_with_the_log_cut_too_the_overlay_still_leads_to_the_right_place(desk: At) -> None:
    desk.path(3).unlink()
    desk.forget_log()
    assert desk.back()["release"] == desk.pins["1.1.0"]


def test_rule_26_what_the_overlay_claims_gives_no_way_forward(desk: At) -> None:
    """Somebody pins 1.3.0 by hand: a rollback returns to what was signed, never further."""
    text = (
        desk.repository.show(RELEASE_FILE).decode().replace(desk.pins["1.2.0"], desk.pins["1.3.0"])
    )
    desk.repository.person_pushes({RELEASE_FILE: text})
    made = desk.back()
    assert (made["left"], made["release"]) == ("churn/1.3.0", desk.pins["1.2.0"])


def test_a_trailer_that_lies_changes_nothing(desk: At) -> None:
    git(
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        f"x\n\nSovgate-Release: {desk.pins['1.3.0']}",
        cwd=desk.repository.work,
    )
    git("push", "-q", "origin", "HEAD:main", cwd=desk.repository._work)
    assert desk.back()["release"] == desk.pins["1.1.0"]


# --- at once, and killed ------------------------------------------------------------------------


def start(desk: At, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "sovgate", *words, "--zone", "eu", "--format", "json"],
        cwd=desk.crossing.base,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def outcome(process: subprocess.Popen[bytes]) -> tuple[int, dict[str, Any]]:
    out, err = finish(process)
    assert b"Traceback" not in err, err.decode()
    return process.returncode, json.loads(out)


def test_the_same_rollback_many_times_at_once_is_one_commit_and_one_record(desk: At) -> None:
    results = [outcome(p) for p in [start(desk, "rollback", "--reason", WHY) for _ in range(4)]]
    assert [code for code, _ in results] == [0, 0, 0, 0], results
    assert desk.repository.log()[:2] == [
        "Roll back to churn/1.1.0 in eu",
        "Promote churn/1.2.0 in eu",
    ]
    assert len(desk.records) == 4


def test_a_rollback_and_a_promotion_at_once_have_one_consistent_outcome(desk: At) -> None:
    back, forward = (
        outcome(p)
        for p in [start(desk, "rollback", "--reason", WHY), start(desk, "promote", "churn/1.3.0")]
    )
    assert 0 in (back[0], forward[0])
    assert {back[0], forward[0]} <= {0, 23}, (back, forward)
    last = desk.promotion(len(desk.records))
    # Whatever came first, the last record is what the overlay pins, or its run was refused.
    if (back[0], forward[0]) == (0, 0):
        assert desk.pinned == last.release.version
    else:
        assert desk.pinned == {0: "1.3.0", 23: "1.1.0"}[forward[0]] or back[0] == 0


def test_a_zone_that_went_away_and_back_meanwhile_stops_a_promotion(desk: At) -> None:
    """The overlay is the very one that it looked at, yet somebody went back from a newer one."""
    desk.back(reason="to 1.1.0")
    desk.back(reason="to 1.0.0")
    base, marker = desk.crossing.base, desk.crossing.base.parent / "once"
    run = (
        f"env -i PYTHONPATH={ROOT} TMPDIR={os.environ['TMPDIR']} PATH=/usr/bin:/bin "
        f"{sys.executable} -m sovgate"
    )
    desk.repository.hook(
        "pre-receive",
        f"mkdir {marker} || exit 0; cd {base} && {run} promote {desk.pins['1.3.0']} --zone eu && "
        f"{run} rollback --zone eu --reason third",
    )
    error = desk.forward("1.2.0", code=23)["error"]
    assert error["reason"] == "release-changed"
    assert desk.repository.log()[0] == "Roll back to churn/1.0.0 in eu"
    assert (desk.pinned, len(desk.records)) == ("1.0.0", 7)
    desk.forward("1.2.0")
    assert (desk.pinned, len(desk.records)) == ("1.2.0", 8)


#: Each named step has several file-system steps, so every second one meets all of them.
STRIDE = 2


@pytest.mark.thorough
def test_killed_before_any_step_a_rollback_goes_back_once(made: Path, in_memory: Path) -> None:
    temporary = {"TMPDIR": str(in_memory / "temporary")}
    Path(temporary["TMPDIR"]).mkdir()
    arguments = ["rollback", "--zone", "eu", "--reason", WHY]
    states: set[tuple[int, int]] = set()
    seen: set[tuple[object, ...]] = set()
    with Killer(
        imports=["sovgate.pipeline.rollout.rollback", "sovgate.pipeline.decide.check"]
    ) as killer:
        for step in range(1, 2000, STRIDE):
            folder = in_memory / str(step)
            folder.mkdir()
            desk = At(made, folder)
            base = desk.crossing.base
            done = killer.run(arguments, cwd=base, before=step, env=temporary)
            if done.steps < step:
                assert done.code == 0, done
                break
            assert done.killed, done
            log, records = desk.repository.log(), desk.records
            assert desk.pinned == ("1.2.0" if len(log) == 4 else "1.1.0"), step
            states.add((len(log), len(records)))
            # What a second run does depends on what is there, so each such state is tried once.
            state = (
                len(log),
                *sorted(len(n.parts) for n in base.rglob("*")),
                *records,
                any(Path(temporary["TMPDIR"]).rglob("*.sovgate-staging")),
            )
            if state not in seen:
                seen.add(state)
                again = killer.run(arguments, cwd=base, env=temporary)
                assert again.code == 0, again
                assert desk.pinned == "1.1.0", step
                assert len(desk.repository.log()) == 5
                assert [desk.record(4)["kind"], len(desk.records)] == ["rollback", 4]
                desk.forward("1.3.0")
            shutil.rmtree(folder)
    assert states == {(4, 3), (5, 3), (5, 4)}


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where that is to be had: what a kill leaves is the same."""
    memory = Path("/dev/shm")
    where = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path))
    yield where
    shutil.rmtree(where)


def test_an_error_is_an_error_of_ours(desk: At, monkeypatch: pytest.MonkeyPatch) -> None:
    """From Python: the same refusals as exceptions."""
    from sovgate.pipeline.rollout.rollback import rollback
    from sovgate.records import Options

    with pytest.raises(SovgateError) as caught:
        rollback(zone=None, reason=WHY, options=Options(project=desk.crossing.base))
    assert caught.value.reason == "no-zone"


def test_rule_42_a_rollback_leaves_the_pin_of_another_model_alone(desk: At) -> None:
    text = desk.repository.show(RELEASE_FILE).decode()
    desk.repository.person_pushes({RELEASE_FILE: text.replace("churn/", "fraud/")})
    said = desk.stuck(23)
    assert said["error"]["reason"] == "overlay-taken"
    assert "fraud/" in said["error"]["why"]
