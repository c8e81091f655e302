"""Just before what commits, all is asked again: what has changed since the decision stops it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sovgate.errors import ConfigError, Inconclusive, PolicyDenied, ResidencyMismatch
from sovgate.pipeline.decide import contents
from sovgate.pipeline.decide.judge import (
    Judged,
    confirm,
    judge,
    known_with_signature,
    transfer_questions,
)
from sovgate.pipeline.project import open_project
from sovgate.pipeline.rollout.target import Candidate, Rollout
from sovgate.records import Release
from sovgate.stages import attest, audit
from sovgate.stages.transfer import Located
from tests.crossing import Crossing, make_crossing

DECLARED = Located(value="aws-eusc:eusc-de-east-1", grade=1, source="project file")


@pytest.fixture(scope="module")
def crossing(tmp_path_factory: pytest.TempPathFactory) -> Crossing:
    made = make_crossing(tmp_path_factory.mktemp("desk") / "project")
    made.edit("datasets:\n", "    gitops: {repo: ../serving.git, path: overlays/eu}\ndatasets:\n")
    made.push()
    made.pull()
    return made


def ask(crossing: Crossing, located: Located = DECLARED) -> Judged:
    opened = open_project(crossing.base)
    questions = transfer_questions(
        crossing.release, crossing.manifest, source="home", destination="eu"
    )
    known = known_with_signature(
        attest.signature_path(crossing.model).read_bytes(),
        attest.read(attest.evidence_dir(crossing.model)),
        trusted=opened.trusted("home"),
        locations={"eu": located},
        contents=contents.CLEAN,
    )
    return judge(opened, questions, known).signed(opened.signer("home"))


def candidate(crossing: Crossing) -> Candidate:
    asked = Rollout(open_project(crossing.base), "eu")
    received = asked.read(Release.parse("churn/1.0.0"))
    return Candidate(rollout=asked, received=received, ledger=asked.read_ledger())


def test_a_decision_that_holds_is_acted_on(crossing: Crossing) -> None:
    judged = ask(crossing)
    assert judged.denial is None
    found, _ = confirm(judged, DECLARED, lambda: pytest.fail("asked again"))
    assert found is judged


def test_a_store_that_moved_since_is_judged_anew_and_may_be_denied(crossing: Crossing) -> None:
    judged = ask(crossing)
    moved = Located(value=None, grade=0, source="nobody knows any more")
    with pytest.raises(PolicyDenied) as caught:
        confirm(judged, moved, lambda: ask(crossing, moved))
    assert caught.value.reason == "location-known"


def test_a_policy_that_changed_since_stops_it(crossing: Crossing, tmp_path: Path) -> None:
    judged = ask(crossing)
    better = dataclasses.replace(DECLARED, grade=2)
    other = make_crossing(tmp_path / "other")
    other.edit("border:\n", "policy: {presets: [eu-personal-data]}\nborder:\n")
    with pytest.raises(ConfigError) as caught:
        confirm(judged, better, lambda: ask(other, better))
    assert caught.value.reason == "policy-changed"


def test_rule_19_a_promotion_does_not_act_on_a_decision_that_ran_out(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = candidate(crossing)
    decision = work.decide()
    work.ask_again(decision)
    for moved in (timedelta(minutes=16), timedelta(minutes=-1)):
        moment = datetime.now(UTC) + moved
        monkeypatch.setattr(audit, "utc_now", lambda moment=moment: moment)
        with pytest.raises(Inconclusive) as caught:
            work.ask_again(decision)
        assert caught.value.reason == "decision-expired"


def test_a_promotion_stops_where_the_store_moved(crossing: Crossing) -> None:
    work = candidate(crossing)
    decision = work.decide()
    moved = dataclasses.replace(DECLARED, grade=2)
    received = dataclasses.replace(work.received, located=moved)
    with pytest.raises(ResidencyMismatch) as caught:
        dataclasses.replace(work, received=received).ask_again(decision)
    assert caught.value.reason == "location-changed"
