"""A proposal is no promotion: what drives a zone is what its target branch says (RULES 41, 14).

Four releases are pulled in zone eu, whose rollout is by pull request. People merge, squash, edit,
reject, revert; what the records say is what the branch said.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sovgate.pipeline.rollout.target import Candidate
from sovgate.stages.promote import past
from tests.crossing import tree
from tests.desks import (
    RELEASE_FILE,
    VERSIONS,
    Versions,
    make_versions,
)
from tests.kill import Killer
from tests.repositories import Repository, git

BY_REQUEST = ("path: overlays/eu}", "path: overlays/eu, via: pull-request}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_versions(tmp_path_factory.mktemp("made"), BY_REQUEST)


class Team(Versions):
    """A desk, and people who act on its proposals."""

    def merge(self, branch: str, *, keep: bool = False) -> str:
        """As `git merge --no-ff` by a person."""
        work = self.repository.work
        git("fetch", "-q", "origin", branch, cwd=work)
        git("merge", "-q", "--no-ff", "-m", f"Merge {branch}", "FETCH_HEAD", cwd=work)
        git("push", "-q", "origin", "HEAD:main", cwd=work)
        if not keep:
            self.reject(branch)
        return self.repository.tip()

    def squash(self, branch: str) -> str:
        work = self.repository.work
        git("fetch", "-q", "origin", branch, cwd=work)
        git("merge", "-q", "--squash", "FETCH_HEAD", cwd=work)
        git("commit", "-q", "-m", "Squashed", cwd=work)
        git("push", "-q", "origin", "HEAD:main", cwd=work)
        self.reject(branch)
        return self.repository.tip()

    def reject(self, branch: str) -> None:
        git("update-ref", "-d", f"refs/heads/{branch}", cwd=self.repository.path)

    def revert(self, commit: str = "HEAD") -> None:
        work = self.repository.work
        git("revert", "--no-edit", commit, cwd=work)
        git("push", "-q", "origin", "HEAD:main", cwd=work)

    def edit_branch(self, branch: str, old: str, new: str, name: str = RELEASE_FILE) -> None:
        """A reviewer pushes to the branch of a proposal."""
        work = self.repository.work
        git("fetch", "-q", "origin", branch, cwd=work)
        git("checkout", "-q", "--detach", "FETCH_HEAD", cwd=work)
        path = work / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        git("commit", "-q", "-am", "Edited", cwd=work)
        git("push", "-q", "origin", f"HEAD:refs/heads/{branch}", cwd=work)
        git("checkout", "-q", "main", cwd=work)

    def types(self, fix: str) -> None:
        """The commands of a fix, in a clone of the branch that follows it."""
        commands = re.search(r"git checkout [0-9a-f]{40} -- .* && git push(?=;)", fix)
        assert commands is not None, fix
        work = self.repository.work
        git("branch", "-q", "-u", "origin/main", cwd=work)
        for command in commands.group().split(" && "):
            git(*shlex.split(command)[1:], cwd=work)

    def told(self) -> list[tuple[str, str]]:
        """Kind and release of each promotion record."""
        said = [self.record(n) for n in range(1, len(self.records) + 1)]
        return [(one["kind"], one["release"].partition("/")[2]) for one in said]

    @property
    def proposals(self) -> list[str]:
        return self.crossing.objects("proposals/")

    def differs(
        self, version: str, *more: object, reason: str = "branch-differs"
    ) -> dict[str, Any]:
        """What a stop says that left all as it was."""
        before = (self.repository.tip(), self.records, self.proposals)
        error: dict[str, Any] = self.forward(version, *more, code=23)["error"]
        assert (self.repository.tip(), self.records, self.proposals) == before
        assert error["reason"] == reason
        return error


@pytest.fixture
def team(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    yield Team(made, tmp_path)
    left = [p for p in (tmp_path / "temporary").rglob("*") if p.name != f"sovgate-{os.getuid()}"]
    assert left == []


# --- what a proposal is -------------------------------------------------------------------------


def test_rule_41_a_proposal_that_was_turned_down_was_never_promoted(team: Team) -> None:
    team.merge(team.forward("1.0.0")["branch"])
    turned_down = team.forward("1.1.0")
    assert turned_down["previous"] == "churn/1.0.0"
    team.reject(turned_down["branch"])
    newest = team.forward("1.2.0")
    assert newest["previous"] == "churn/1.0.0"
    code, text = team.crossing.run("promote", "churn/1.2.0", "--zone", "eu")
    assert code == 0
    assert "churn/1.2.0 is proposed already for eu" in text
    assert "is promoted in" not in text
    team.merge(newest["branch"])
    made = team.back()
    assert (made["left"], made["release"]) == ("churn/1.2.0", team.pins["1.0.0"])
    assert team.told() == [("promote", "1.0.0"), ("promote", "1.2.0")]
    code, text = team.crossing.run("audit", "show", "churn/1.1.0", "--zone", "eu")
    assert code == 0, text
    assert (
        "proposal        ok      number 2 in eu: churn/1.1.0, after churn/1.0.0; not merged" in text
    )
    assert "promote         ok" not in text
    code, text = team.crossing.run("audit", "show", "churn/1.2.0", "--zone", "eu")
    assert "promote         ok      number 2 in eu: churn/1.2.0, after churn/1.0.0 " in text
    assert "merged as number 2" in text


def test_rule_41_a_proposal_writes_a_record_of_its_own_kind_and_no_other(team: Team) -> None:
    made = team.forward("1.0.0")
    assert (team.records, len(team.proposals)) == ([], 1)
    assert (made["promotion"], made["already"]) == (None, False)
    assert made["proposal"]
    data = team.crossing.store.get(team.proposals[0], most=10**6)
    assert b"proposal" in data or b'"payload"' in data
    head = team.verify_log(made["audit-head"])
    assert head["exit"] == 0


def test_what_the_branch_pins_can_be_promoted_after_another_was_turned_down(team: Team) -> None:
    team.merge(team.forward("1.1.0")["branch"])
    team.reject(team.forward("1.2.0")["branch"])
    again = team.forward("1.1.0")
    assert (again["already"], again["branch"]) == (True, "main")
    assert team.told() == [("promote", "1.1.0")]
    # And one below what drives the zone is a step back still.
    assert team.forward("1.0.0", code=10)["error"]["reason"] == "sequence-went-back"


def test_a_release_below_one_that_was_only_proposed_is_no_step_back(team: Team) -> None:
    team.reject(team.forward("1.2.0")["branch"])
    made = team.forward("1.1.0")
    assert (made["already"], made["previous"]) == (False, None)
    team.merge(made["branch"])
    assert team.forward("1.1.0")["already"]
    assert team.told() == [("promote", "1.1.0")]


# --- how people merge ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["merge", "squash", "forward"])
def test_a_second_run_after_the_merge_writes_the_promotion(team: Team, how: str) -> None:
    branch = team.forward("1.0.0")["branch"]
    if how == "forward":
        tip = team.repository.tip(branch)
        git("update-ref", "refs/heads/main", tip, cwd=team.repository.path)
        team.reject(branch)
    else:
        tip = getattr(team, how)(branch)
    team.repository.person_pushes({"README.md": "others go on\n"})
    code, text = team.crossing.run("promote", team.pins["1.0.0"], "--zone", "eu")
    assert code == 0
    assert "churn/1.0.0 is promoted in eu: its proposal was merged" in text
    record = team.record(1)
    assert (record["kind"], record["branch"], record["commit"]) == ("promote", "main", tip)
    code, text = team.crossing.run("promote", team.pins["1.0.0"], "--zone", "eu")
    assert "churn/1.0.0 is promoted in eu already" in text
    assert len(team.records) == 1


def test_merges_that_nobody_ran_after_are_found_in_their_order(team: Team) -> None:
    """Two were merged since the last run, and others committed; the last of them is no tip."""
    first, second = team.forward("1.0.0")["branch"], None
    team.squash(first)
    for n in range(60):
        team.repository.person_pushes({"overlays/us/x": f"{n}\n"})
    second = team.forward("1.1.0")
    assert second["settled"] == ["churn/1.0.0"]
    team.merge(second["branch"])
    third = team.forward("1.2.0")
    assert third["settled"] == ["churn/1.1.0"]
    shutil.rmtree(team.crossing.base / "eu-store/promotions")
    shutil.rmtree(team.crossing.base / "eu-store/proposals")
    shutil.rmtree(team.crossing.base / "eu-store/audit")


def test_both_of_two_merges_since_the_last_run_count(team: Team) -> None:
    first = team.forward("1.0.0")["branch"]
    tip = team.repository.tip()
    second = team.forward("1.1.0")["branch"]
    assert team.repository.tip() == tip
    team.squash(first)
    # The second one was made before, so a person resolves its conflict in its favour.
    work = team.repository.work
    git("fetch", "-q", "origin", second, cwd=work)
    git("merge", "-q", "--no-ff", "-X", "theirs", "-m", "Second", "FETCH_HEAD", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    for n in range(60):
        team.repository.person_pushes({"overlays/us/x": f"{n}\n"})
    before = tree(team.crossing.base)
    dry = team.back("--dry-run")
    assert (dry["left"], dry["release"]) == ("churn/1.1.0", team.pins["1.0.0"])
    assert dry["settled"] == ["churn/1.0.0", "churn/1.1.0"]
    assert tree(team.crossing.base) == before
    made = team.back()
    assert (made["left"], made["release"]) == ("churn/1.1.0", team.pins["1.0.0"])
    assert team.told() == [("promote", "1.0.0"), ("promote", "1.1.0")]


def test_what_was_merged_beside_the_branch_never_drove_the_zone(team: Team) -> None:
    """Somebody merges a proposal into a branch of theirs, takes it back there, and merges that."""
    team.merge(team.forward("1.0.0")["branch"])
    branch = team.forward("1.1.0")["branch"]
    work = team.repository.work
    git("fetch", "-q", "origin", branch, cwd=work)
    git("checkout", "-q", "-b", "side", cwd=work)
    git("merge", "-q", "--no-ff", "-m", "On a side", "FETCH_HEAD", cwd=work)
    git("revert", "--no-edit", "-m", "1", "HEAD", cwd=work)
    git("checkout", "-q", "main", cwd=work)
    git("merge", "-q", "--no-ff", "-m", "Side", "side", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    made = team.forward("1.2.0")
    assert (made["settled"], made["previous"]) == ([], "churn/1.0.0")


def test_a_history_that_is_too_long_denies_and_names_the_way_out(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.reject(team.forward("1.0.0")["branch"])
    monkeypatch.setattr(past, "DEPTHS", (1, 2))
    for n in range(3):
        team.repository.person_pushes({"overlays/us/x": f"{n}\n"})
    error = team.forward("1.1.0", code=23)["error"]
    assert error["reason"] == "history-too-long"
    assert "more than 2 commits" in error["why"]
    assert "--again" in error["fix"]
    made = team.forward("1.1.0", "--again")
    team.squash(made["branch"])
    assert team.forward("1.1.0", "--again")["already"]
    assert team.told() == [("promote", "1.1.0")]
    # From that record on nothing older is looked for.
    assert not team.forward("1.2.0")["already"]


def test_a_history_that_is_deep_is_looked_through(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.merge(team.forward("1.0.0")["branch"])
    assert team.forward("1.0.0")["already"]
    branch = team.forward("1.1.0")["branch"]
    team.merge(branch)
    team.revert("HEAD^2")
    monkeypatch.setattr(past, "DEPTHS", (1, 3, 50))
    for n in range(10):
        team.repository.person_pushes({"overlays/us/x": f"{n}\n"})
    # It was merged, and taken back by hand: both are true, so a person decides.
    error = team.forward("1.2.0", code=23)["error"]
    assert error["what"] == "the last promotion says churn/1.1.0, the branch main pins churn/1.0.0"
    assert team.told() == [("promote", "1.0.0"), ("promote", "1.1.0")]


# --- edited, closed, asked again ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name: "server"', 'name: "other"'),
        (
            "            - name: SOVGATE_ZONE",
            "            # by hand\n            - name: SOVGATE_ZONE",
        ),
    ],
)
def test_an_edited_proposal_is_not_overwritten(team: Team, old: str, new: str) -> None:
    """Neither on its branch nor, once it was merged, on the branch that drives the zone."""
    branch = team.forward("1.0.0")["branch"]
    team.edit_branch(branch, old, new)
    tip = team.repository.tip(branch)
    error = team.forward("1.0.0", code=23)["error"]
    assert error["reason"] == "branch-exists"
    # Merging what was edited would not help, so that is not said.
    assert "pins this release otherwise" in error["what"]
    assert error["fix"].startswith("close its pull request, ")
    assert team.repository.tip(branch) == tip
    team.merge(branch)
    code, text = team.crossing.run("promote", team.pins["1.0.0"], "--zone", "eu")
    assert code == 23, text
    assert "the branch main pins churn/1.0.0, but not as it was proposed" in text
    assert "--again" in text
    assert new.strip().splitlines()[0] in team.repository.show(RELEASE_FILE).decode()
    assert team.proposals == ["proposals/eu/churn/000001.json"]
    assert team.records == []


def test_rule_41_what_was_edited_before_its_merge_was_never_promoted(team: Team) -> None:
    """The pin is the proposed one; what else the file says is a reviewer's."""
    team.merge(team.forward("1.0.0")["branch"])
    branch = team.forward("1.1.0")["branch"]
    team.edit_branch(branch, 'name: "server"', 'name: "other"')
    team.merge(branch)
    for words in (("1.1.0",), ("1.2.0", "--dry-run")):
        error = team.differs(*words)
        assert error["what"] == "the branch main pins churn/1.1.0, but not as it was proposed"
        assert f"add --again, which promotes churn/{words[0]} all the same" in error["fix"]
    assert "keep churn/1.1.0: sovgate promote churn/1.1.0 --zone eu --again" in error["fix"]
    dry = team.back("--dry-run")
    assert (dry["settled"], dry["left"]) == ([], "churn/1.1.0")
    # Back to what was promoted, which is the last record still: once, and with its reason.
    made = team.back()
    assert (made["settled"], made["release"]) == ([], team.pins["1.0.0"])
    assert made["branch"] == dry["branch"]
    team.merge(made["branch"])
    assert team.back()["already"]
    assert team.told() == [("promote", "1.0.0"), ("rollback", "1.0.0")]


def test_rule_42_what_was_merged_with_an_edit_that_undoes_it_was_never_promoted(team: Team) -> None:
    """The release file is as it was proposed, but a patch behind it has the last word."""
    team.merge(team.forward("1.0.0")["branch"])
    branch = team.forward("1.1.0")["branch"]
    patch = "- {target: {kind: Deployment}, patch: '[{op: remove, path: /spec/template/spec}]'}\n"
    ours = "- path: sovgate-release.yaml\n"
    team.edit_branch(branch, ours, ours + patch, "overlays/eu/kustomization.yaml")
    team.squash(branch)
    for words in (("promote", team.pins["1.1.0"]), ("rollback", "--reason", "incident")):
        code, text = team.crossing.run(*words, "--zone", "eu")
        assert code == 3, text
        assert "a patch after sovgate-release.yaml would have the last word" in text
    assert team.told() == [("promote", "1.0.0")]


def test_rule_41_what_was_edited_is_promoted_once_it_is_as_it_was_proposed(team: Team) -> None:
    branch = team.forward("1.0.0")["branch"]
    team.edit_branch(branch, "# Written by", "#  Written by")
    team.squash(branch)
    assert "sovgate rollback" not in team.differs("1.0.0")["fix"]
    made = team.forward("1.0.0", "--again")
    tip = team.squash(made["branch"])
    assert team.forward("1.0.0")["settled"] == ["churn/1.0.0"]
    assert team.record(1)["commit"] == tip


def test_a_proposal_that_was_edited_and_merged_is_not_called_unmerged(team: Team) -> None:
    branch = team.forward("1.0.0")["branch"]
    team.edit_branch(branch, 'name: "server"', 'name: "other"')
    team.merge(branch)
    show = ("audit", "show", "churn/1.0.0", "--zone", "eu")
    edited = "not merged as it was proposed: it waits, was closed, or was edited before"
    assert edited in team.crossing.run(*show)[1]
    team.crossing.edit(*reversed(BY_REQUEST))
    team.forward("1.0.0", "--again")
    code, text = team.crossing.run(*show)
    assert code == 0
    assert f"{edited}; the release was promoted as number 1 later" in text


def test_a_dry_run_says_that_it_is_proposed_already(team: Team) -> None:
    first = team.forward("1.0.0", "--dry-run")
    made = team.forward("1.0.0")
    assert (first["already"], first["branch"], first["commit"]) == (False, made["branch"], None)
    before = (team.records, team.proposals, team.crossing.objects("audit/"))
    said = team.forward("1.0.0", "--dry-run")
    assert (said["already"], said["branch"]) == (True, made["branch"])
    assert said["commit"] == made["commit"]
    code, text = team.crossing.run("promote", team.pins["1.0.0"], "--zone", "eu", "--dry-run")
    assert (code, "churn/1.0.0 is proposed already for eu" in text) == (0, True), text
    assert "open a pull request from" in text
    team.edit_branch(made["branch"], 'name: "server"', 'name: "other"')
    assert team.forward("1.0.0", "--dry-run", code=23)["error"]["reason"] == "branch-exists"
    assert (team.records, team.proposals, team.crossing.objects("audit/")) == before


def test_a_dry_run_says_so_of_a_rollback_too(team: Team) -> None:
    for version in ("1.0.0", "1.1.0"):
        team.merge(team.forward(version)["branch"])
    made = team.back()
    said = team.back("--dry-run")
    assert (said["already"], said["branch"]) == (True, made["branch"])
    assert said["commit"] == made["commit"]


def test_a_proposal_that_does_not_say_its_bytes_is_recorded_by_its_own_run_alone(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an earlier version: what was merged may be another file, so nobody records it unasked."""
    whole = Candidate._promotion
    with monkeypatch.context() as patch:
        patch.setattr(
            Candidate, "_promotion", lambda *said: replace(whole(*said), release_file=None)
        )
        team.merge(team.forward("1.0.0")["branch"])
    error = team.differs("1.1.0")
    assert error["what"] == "the branch main pins churn/1.0.0, and no promotion record says so"
    assert "keep churn/1.0.0: sovgate promote churn/1.0.0 --zone eu" in error["fix"]
    assert team.forward("1.0.0")["already"]
    assert team.told() == [("promote", "1.0.0")]


def test_rule_28_a_proposal_that_was_removed_stops_what_would_pass_over_it(team: Team) -> None:
    team.forward("1.0.0")
    (team.crossing.base / "eu-store" / team.proposals[0]).unlink()
    error = team.forward("1.1.0", code=11)["error"]
    assert (error["reason"], error["what"]) == ("promotion-cut", "a proposal record was removed")
    assert "audit/" in error["why"]
    assert (team.proposals, team.records) == ([], [])


def test_a_proposal_whose_pin_was_edited_is_none_of_ours(team: Team) -> None:
    """The annotation says one release, the server would load another."""
    branch = team.forward("1.0.0")["branch"]
    pinned = team.pins["1.0.0"]
    team.edit_branch(
        branch,
        f'MODEL_RELEASE\n              value: "{pinned}"',
        f'MODEL_RELEASE\n              value: "{team.pins["1.3.0"]}"',
    )
    team.merge(branch)
    for version in ("1.0.0", "1.1.0"):
        assert team.differs(version, reason="overlay-taken")["fix"]
    assert team.told() == []


def test_rule_41_a_proposal_that_lost_its_variables_was_never_promoted(team: Team) -> None:
    """The annotations alone say the release: no container would load it, so nothing is signed."""
    team.merge(team.forward("1.0.0")["branch"])
    branch = team.forward("1.1.0")["branch"]
    before = team.repository.show(RELEASE_FILE)
    text = team.repository.show(RELEASE_FILE, branch).decode()
    team.edit_branch(branch, text, text[: text.index("    spec:\n")])
    team.merge(branch)
    stops = [team.forward(version, code=23) for version in ("1.1.0", "1.2.0")]
    stops.append(team.back(code=23))
    assert team.told() == [("promote", "1.0.0")]
    for stop in stops:
        assert stop["error"]["reason"] == "overlay-taken"
        assert "put back what the last promotion wrote" in stop["error"]["fix"]
    # As an incident goes: the commands of the last one, to the letter.
    fix = stops[-1]["error"]["fix"]
    assert fix.endswith("that brings churn/1.0.0 back; run this again only to go back further")
    team.types(fix)
    assert team.repository.show(RELEASE_FILE) == before
    again = team.forward("1.0.0")
    assert (again["already"], again["settled"]) == (True, [])


def test_a_pin_that_a_reviewer_moved_to_another_container_has_a_way_back(team: Team) -> None:
    base = team.repository.show("base/deployment.yaml").decode()
    more = "        - {name: sidecar, image: 'registry.example/s@sha256:0000'}\n"
    team.repository.person_pushes({"base/deployment.yaml": base + more})
    team.crossing.edit("path: overlays/eu,", "path: overlays/eu, container: server,")
    team.merge(team.forward("1.0.0")["branch"])
    branch = team.forward("1.1.0")["branch"]
    before = team.repository.show(RELEASE_FILE)
    team.edit_branch(branch, 'name: "server"', 'name: "sidecar"')
    team.merge(branch)
    error = team.differs("1.1.0", reason="overlay-taken")
    assert error["fix"].endswith("; run this again")
    team.types(error["fix"])
    assert team.repository.show(RELEASE_FILE) == before
    # What the project names otherwise than before is nobody's edit, and stays told as it was.
    team.crossing.edit("container: server,", "container: sidecar,")
    error = team.differs("1.1.0", reason="overlay-taken")
    assert "containers: [NAME, NAME]" in error["fix"]
    assert team.told() == [("promote", "1.0.0")]


def test_what_was_closed_can_be_proposed_again_and_a_merged_branch_is_not_used_twice(
    team: Team,
) -> None:
    branch = team.forward("1.0.0")["branch"]
    team.reject(branch)
    again = team.forward("1.0.0")
    assert (again["already"], again["branch"]) == (False, branch)
    team.merge(branch, keep=True)
    team.merge(team.forward("1.1.0")["branch"], keep=True)
    team.merge(team.back()["branch"], keep=True)
    assert team.back()["already"]
    made = team.forward("1.1.0")
    assert not made["already"]
    assert made["branch"] != "sovgate/eu/churn-1.1.0"
    assert team.told() == [("promote", "1.0.0"), ("promote", "1.1.0"), ("rollback", "1.0.0")]


def test_a_rollback_that_is_asked_again_after_another_merge_is_a_new_one(team: Team) -> None:
    for version in ("1.0.0", "1.1.0"):
        team.merge(team.forward(version)["branch"])
    first = team.back()
    assert first["release"] == team.pins["1.0.0"]
    assert team.back()["already"]
    assert len(team.proposals) == 3
    team.merge(team.forward("1.2.0")["branch"])
    second = team.back()
    assert (second["already"], second["left"]) == (False, "churn/1.2.0")
    assert second["release"] == team.pins["1.1.0"]
    assert second["branch"] != first["branch"]
    team.merge(second["branch"])
    assert team.back()["already"]
    assert team.told()[-1] == ("rollback", "1.1.0")
    # The branch of the first one, merged late, is a step back that was signed as one.
    assert team.forward("1.0.0", code=10)["error"]["reason"] == "sequence-went-back"


def test_a_proposal_that_is_merged_after_a_newer_one_is_a_step_back_that_nobody_signed(
    team: Team,
) -> None:
    old, new = team.forward("1.0.0")["branch"], team.forward("1.1.0")["branch"]
    team.squash(new)
    assert team.forward("1.1.0")["already"]
    work = team.repository.work
    git("fetch", "-q", "origin", old, cwd=work)
    git("merge", "-q", "--no-ff", "-X", "theirs", "-m", "Late", "FETCH_HEAD", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    error = team.differs("1.2.0")
    assert error["what"] == "the last promotion says churn/1.1.0, the branch main pins churn/1.0.0"
    assert team.told() == [("promote", "1.1.0")]
    assert not team.forward("1.2.0", "--again")["already"]


# --- what people do to the branch ---------------------------------------------------------------


@pytest.fixture
def pushed(team: Team) -> Team:
    """The same by push: 1.0.0 and 1.1.0 are promoted."""
    team.crossing.edit(*reversed(BY_REQUEST))
    for version in VERSIONS[:2]:
        team.forward(version)
    return team


def test_a_revert_by_a_person_stops_the_next_run(pushed: Team) -> None:
    pushed.revert()
    for version in ("1.1.0", "1.0.0", "1.2.0"):
        error = pushed.differs(version)
        assert error["what"] == (
            "the last promotion says churn/1.1.0, the branch main pins churn/1.0.0"
        )
        assert "--again" in error["fix"]
        assert "sovgate rollback --zone eu --to-release churn/1.0.0" in error["fix"]
    pushed.differs("1.1.0", "--dry-run")
    # One way: keep what the person did.
    made = pushed.back("--to-release", "churn/1.0.0", reason="taken back by hand")
    assert made["commit"] == pushed.repository.tip()
    assert pushed.told()[-1] == ("rollback", "1.0.0")
    assert pushed.forward("1.0.0")["commit"] == pushed.repository.tip()
    pushed.forward("1.2.0")


def test_the_other_way_is_to_promote_again(pushed: Team) -> None:
    pushed.revert()
    assert pushed.forward("1.0.0", "--again", code=10)["error"]["reason"] == "sequence-went-back"
    assert not pushed.forward("1.1.0", "--again")["already"]
    assert pushed.told()[-2:] == [("promote", "1.1.0"), ("promote", "1.1.0")]
    assert pushed.forward("1.1.0")["already"]


@pytest.mark.parametrize("what", ["entry", "file", "value", "newer"])
def test_other_hands_on_the_overlay_stop_it_too(pushed: Team, what: str) -> None:
    """The entry is taken out, the file is removed, a value or the pin is changed."""
    work = pushed.repository.work
    text = pushed.repository.show(RELEASE_FILE).decode()
    if what in ("entry", "file"):
        path = work / "overlays/eu/kustomization.yaml"
        path.write_text(path.read_text().replace("patches:\n- path: sovgate-release.yaml\n", ""))
        if what == "file":
            (work / RELEASE_FILE).unlink()
        pushed.repository.person_pushes_index(add=True)
    elif what == "value":
        pushed.repository.person_pushes({RELEASE_FILE: text.replace("keys/eu-enc.pem", "x.pem")})
    else:
        changed = text.replace(pushed.pins["1.1.0"], pushed.pins["1.3.0"])
        pushed.repository.person_pushes({RELEASE_FILE: changed})
    pushed.repository.person_pushes({"README.md": "others go on\n"})
    assert "--again" in pushed.differs("1.1.0")["fix"]
    pushed.forward("1.1.0", "--again")
    assert pushed.told()[-1] == ("promote", "1.1.0")


def test_a_change_of_the_project_file_is_no_hand_on_the_overlay(pushed: Team) -> None:
    """The release file is as sovgate left it, so it may be written anew for the same release."""
    pushed.repository.person_pushes({"README.md": "others go on\n"})
    shutil.copy(pushed.crossing.base / "keys/eu-enc.pem", pushed.crossing.base / "keys/moved.pem")
    pushed.crossing.edit("encrypt: keys/eu-enc.pem", "encrypt: keys/moved.pem")
    assert not pushed.forward("1.1.0")["already"]
    assert b"keys/moved.pem" in pushed.repository.show(RELEASE_FILE)


def test_an_overlay_that_is_new_is_no_revert(pushed: Team, tmp_path: Path) -> None:
    """Another folder of the repository, or a repository made anew, never pinned anything."""
    files = {"overlays/two/kustomization.yaml": "resources: [../../base]\n"}
    pushed.repository.person_pushes(dict(files))
    pushed.crossing.edit("path: overlays/eu}", "path: overlays/two}")
    assert pushed.forward("1.1.0")["commit"] == pushed.repository.tip()
    pushed.crossing.edit("path: overlays/two}", "path: overlays/eu}")
    shutil.rmtree(pushed.repository.path)
    shutil.rmtree(pushed.repository._work)
    Repository(tmp_path)
    assert pushed.forward("1.1.0")["commit"] == pushed.repository.tip()
    assert pushed.forward("1.2.0")["commit"] == pushed.repository.tip()


def test_a_proposal_counts_though_the_repository_is_spelt_otherwise_since(team: Team) -> None:
    made = team.forward("1.0.0")
    link = team.crossing.base.parent / "other.git"
    link.symlink_to("serving.git")
    team.crossing.edit("repo: ../serving.git", "repo: ../other.git")
    assert team.forward("1.0.0")["branch"] == made["branch"]
    team.merge(made["branch"])
    again = team.forward("1.0.0")
    assert again["already"] and again["settled"] == ["churn/1.0.0"]
    assert team.told() == [("promote", "1.0.0")]
    assert team.record(1)["repo"] == f"file://{link}"
    team.crossing.edit("repo: ../other.git", "repo: ../serving.git")
    assert team.forward("1.0.0")["settled"] == []
    assert team.told() == [("promote", "1.0.0")]


# --- killed -------------------------------------------------------------------------------------


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("code", [130, 1, 24, None])
def test_a_run_that_died_before_its_record_is_recorded_by_the_next(
    team: Team, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    """By push: it ends between its push and its record, then another release is promoted.

    The first one by a signal, a defect or a full disk, with an outcome in the log; the second is
    killed.
    """
    team.crossing.edit(*reversed(BY_REQUEST))
    number = 2 if code is None else 1
    if code is not None:
        how = {130: KeyboardInterrupt(), 1: RuntimeError("a defect"), 24: OSError(28, "no space")}

        def ended(*_: object) -> None:
            raise how[code]

        with monkeypatch.context() as patch:
            patch.setattr(Candidate, "_write", ended)
            found, said = team.crossing.run("promote", team.pins["1.1.0"], "--zone", "eu")
        assert found == code, said
        team.crossing.json("audit", "verify", "--zone", "eu")
    else:
        team.forward("1.0.0")
        before = set(team.crossing.objects("audit/"))
        team.forward("1.1.0")
        (team.crossing.base / f"eu-store/promotions/eu/churn/{number:06}.json").unlink()
        for name in set(team.crossing.objects("audit/")) - before:
            if name.endswith("/0001.json"):
                (team.crossing.base / "eu-store" / name).unlink()
    commit = team.repository.tip()
    made = team.forward("1.2.0")
    assert (made["settled"], made["previous"]) == (["churn/1.1.0"], "churn/1.1.0")
    assert team.record(number)["commit"] == commit
    assert team.told()[-2:] == [("promote", "1.1.0"), ("promote", "1.2.0")]
    assert team.back()["release"] == team.pins["1.1.0"]


def test_a_pin_that_no_run_of_ours_meant_is_named(team: Team) -> None:
    """Without the log's word nobody can tell who pinned it."""
    team.crossing.edit(*reversed(BY_REQUEST))
    team.forward("1.1.0")
    for name in ("promotions", "audit"):
        shutil.rmtree(team.crossing.base / "eu-store" / name)
    error = team.differs("1.2.0")
    assert error["what"] == "the branch main pins churn/1.1.0, and no promotion record says so"
    assert "sovgate promote churn/1.1.0 --zone eu" in error["fix"]
    assert team.forward("1.1.0")["already"]
    team.forward("1.2.0")
    assert team.told() == [("promote", "1.1.0"), ("promote", "1.2.0")]


def test_rule_41_what_somebody_edited_after_a_run_died_is_not_what_it_pushed(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.crossing.edit(*reversed(BY_REQUEST))
    team.forward("1.0.0")
    with monkeypatch.context() as patch:
        patch.setattr(Candidate, "_write", _interrupted)
        assert team.crossing.run("promote", team.pins["1.1.0"], "--zone", "eu")[0] == 130
    text = team.repository.show(RELEASE_FILE).decode()
    edited = text.replace('name: "server"', 'name: "other"')
    team.repository.person_pushes({RELEASE_FILE: edited})
    for words in (("1.1.0",), ("1.2.0", "--dry-run")):
        team.differs(*words)
    # Put back, it is what the run pushed.
    tip = team.repository.person_pushes({RELEASE_FILE: text})
    assert team.forward("1.2.0")["settled"] == ["churn/1.1.0"]
    assert team.record(2)["commit"] == tip


#: Each named step has several file-system steps, so every second one meets all of them.
STRIDE = 2


@pytest.mark.thorough
@pytest.mark.parametrize("merged", [False, True])
def test_killed_before_any_step_a_proposal_is_made_once(
    made: Path, tmp_path: Path, merged: bool
) -> None:
    """The proposal itself, and the run that finds it merged and proposes the next."""
    temporary = {"TMPDIR": str(tmp_path / "temporary")}
    Path(temporary["TMPDIR"]).mkdir()
    start, folder = made, tmp_path / "work"
    if merged:
        folder.mkdir()
        before = Team(made, folder)
        before.merge(before.forward("1.0.0")["branch"])
        # Where it was made: a repository elsewhere would be another one.
        start = folder.rename(tmp_path / "start")
    version = "1.1.0" if merged else "1.0.0"
    wanted = [("promote", "1.0.0")] if merged else []
    seen: set[tuple[object, ...]] = set()
    with Killer(imports=["sovgate.pipeline.rollout.promote"]) as killer:
        for step in range(1, 2000, STRIDE):
            folder.mkdir()
            team = Team(start, folder)
            base, tip = team.crossing.base, team.repository.tip()
            arguments = ["promote", team.pins[version], "--zone", "eu"]
            done = killer.run(arguments, cwd=base, before=step, env=temporary)
            if done.steps < step:
                assert done.code == 0, done
                break
            assert done.killed, done
            assert team.repository.tip() == tip
            state = (
                bool(team.repository.tip(f"sovgate/eu/churn-{version}")),
                len(team.crossing.objects("audit/")),
                len(team.proposals),
                len(team.records),
            )
            if state not in seen:
                seen.add(state)
                again = killer.run(arguments, cwd=base, env=temporary)
                assert again.code == 0, again
                assert team.told() == wanted
                assert len(team.proposals) == 1 + merged
                assert team.repository.tip() == tip
                assert team.crossing.json("audit", "show", f"churn/{version}", "--zone", "eu")
            shutil.rmtree(folder)
    assert len(seen) > 3
