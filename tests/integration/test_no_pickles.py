"""A model with a pickle goes nowhere: not out, not in, nor as an encrypted copy."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from sovgate.pipeline.decide import contents
from sovgate.pipeline.move import pull
from sovgate.pipeline.project import open_project
from sovgate.stages import attest
from tests.crossing import FILES, Crossing, make_crossing, tree
from tests.desks import GITOPS, Desk
from tests.desks import pull as pull_to_desk
from tests.desks import push as push_to_desk
from tests.effort import effort
from tests.repositories import Repository

PICKLE = {**FILES, "weights.bin": pickle.dumps({"layer": [1.0, 2.0]})}
ALLOW = "\npolicy: {pickles: allow}\n"


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    return make_crossing(tmp_path / "project", PICKLE)


def allow(crossing: Crossing) -> None:
    path = crossing.base / "sovgate.yaml"
    path.write_text(path.read_text() + ALLOW)


def refuse(crossing: Crossing) -> None:
    crossing.edit(ALLOW, "")


def test_a_pickle_under_another_name_is_named_and_does_not_cross(crossing: Crossing) -> None:
    error = crossing.push(code=10)["error"]
    assert error["reason"] == "no-pickles"
    assert "a pickle, weights.bin" in error["why"]
    assert crossing.objects("releases/") == crossing.objects("chunks/") == []
    assert crossing.push("--dry-run", code=10)["error"]["reason"] == "no-pickles"


def test_check_says_what_push_would(crossing: Crossing) -> None:
    said = crossing.json("check", crossing.model, "--zone", "home", "--to", "eu", code=10)
    (deny,) = said["denies"]
    assert deny["rule"] == "no-pickles"
    assert "safetensors" in deny["fix"]


def test_the_projects_word_lets_it_cross_and_each_zone_has_its_own(crossing: Crossing) -> None:
    allow(crossing)
    crossing.push()
    refuse(crossing)
    error = crossing.pull(code=10)["error"]
    assert error["reason"] == "no-pickles"
    assert "a pickle, weights.bin" in error["why"]
    assert not (crossing.base / "pulled").exists()
    assert not (crossing.base / "pulled.evidence").exists()
    assert crossing.objects("receipts/") == []
    left = {path.name for path in crossing.base.iterdir()}
    assert not [name for name in left if "staging" in name or name.startswith(".pulled")]
    allow(crossing)
    crossing.pull()
    assert tree(crossing.base / "pulled") == tree(crossing.model)


def test_a_pull_again_looks_again(crossing: Crossing) -> None:
    allow(crossing)
    crossing.push()
    crossing.pull()
    refuse(crossing)
    assert crossing.pull(code=10)["error"]["reason"] == "no-pickles"


def receipt_checks(crossing: Crossing) -> list[str]:
    (name,) = crossing.objects("receipts/")
    from tests.integration.test_push_pull import predicate

    return [check["id"] for check in predicate(crossing.base / "eu-store" / name)["checks"]]  # type: ignore[attr-defined]


def test_the_receipt_says_that_there_was_none_only_where_there_was_none(tmp_path: Path) -> None:
    clean = make_crossing(tmp_path / "clean")
    clean.push()
    clean.pull()
    assert receipt_checks(clean) == [*pull.CHECKS, contents.NO_PICKLES, contents.NO_REMOTE_CODE]
    held = make_crossing(tmp_path / "held", PICKLE)
    allow(held)
    held.push()
    held.pull()
    assert receipt_checks(held) == [*pull.CHECKS, contents.NO_REMOTE_CODE]


def sealed(crossing: Crossing) -> None:
    crossing.json(
        "encrypt", crossing.model, "--to", "eu", "--release", "churn/1.0.0", "-o", "sealed"
    )


def push_sealed(crossing: Crossing, code: int = 0) -> dict[str, object]:
    return crossing.json(
        "push", "sealed", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu", code=code
    )


def test_of_an_encrypted_copy_whoever_encrypted_it_has_said_it(tmp_path: Path) -> None:
    """It was looked into then, and what was found is signed."""
    clean = make_crossing(tmp_path / "clean")
    sealed(clean)
    push_sealed(clean)
    held = make_crossing(tmp_path / "held", PICKLE)
    sealed(held)
    error = push_sealed(held, code=10)["error"]
    assert error["reason"] == "no-pickles"  # type: ignore[index]
    assert "it holds a pickle" in str(error["why"])  # type: ignore[index]


def test_an_sbom_that_names_a_pickle_stops_the_encrypted_copy(crossing: Crossing) -> None:
    crossing.sbom()
    sealed(crossing)
    assert push_sealed(crossing, code=10)["error"]["reason"] == "no-pickles"  # type: ignore[index]


@pytest.mark.parametrize(
    "told",
    [[], ["0", "0"], ["-1"], ["0x0"], ["٣"], [" 0"], [0], ["9" * 40], None],
    ids=["none", "twice", "negative", "hex", "arabic", "space", "number", "huge", "no list"],
)
def test_an_sbom_that_does_not_say_it_plainly_says_nothing(tmp_path: Path, told: object) -> None:
    crossing = make_crossing(tmp_path / "project")
    rows = told
    if isinstance(told, list):
        rows = [{"name": "sovgate:pickles", "value": value} for value in told]
    crossing.evidence("sbom", {"metadata": {"component": {"properties": rows}}})
    found = contents.of_evidence(
        attest.read(attest.evidence_dir(crossing.model)), trusted(crossing), crossing.manifest
    )
    assert found["pickles"] is None


def test_of_several_sboms_the_worst_counts(tmp_path: Path) -> None:
    crossing = make_crossing(tmp_path / "project")
    for value in ("0", "2", "1"):
        rows = [{"name": "sovgate:pickles", "value": value}]
        crossing.evidence("sbom", {"metadata": {"component": {"properties": rows}}})
    raw = attest.read(attest.evidence_dir(crossing.model))
    assert contents.of_evidence(raw, trusted(crossing), crossing.manifest)["pickles"] == 2
    assert contents.of_evidence(raw, (), crossing.manifest)["pickles"] is None
    assert contents.of_evidence(raw, trusted(crossing), "0" * 64)["pickles"] is None


def trusted(crossing: Crossing):  # type: ignore[no-untyped-def]
    return open_project(crossing.base).trusted("home")


def test_a_model_that_is_one_pickle_is_named_by_its_file(tmp_path: Path) -> None:
    crossing = make_crossing(tmp_path / "project", pickle.dumps(print))
    assert "a pickle, model," in crossing.push(code=10)["error"]["why"]


def test_a_thousand_files_are_looked_through_by_little_work(tmp_path: Path) -> None:
    from sovgate.stages import inventory

    folder = tmp_path / "m"
    folder.mkdir()
    for number in range(1000):
        (folder / f"{number}.json").write_text(json.dumps({"n": number}))
    manifest = inventory.take(folder).manifest
    opened = open_project(make_crossing(tmp_path / "project").base)
    with effort(most=500_000):  # some 400 calls a file: for each kind of what it may be
        assert contents.look_into(folder, manifest, opened).contents == contents.CLEAN


def test_what_was_let_in_is_not_deployed_once_the_zone_no_longer_allows_it(tmp_path: Path) -> None:
    """promote cannot look into the files, and goes by the receipt, which says nothing of them."""
    folder = tmp_path / "made"
    crossing = make_crossing(folder / "project", PICKLE)
    crossing.edit("datasets:\n", GITOPS)
    allow(crossing)
    pull_to_desk(crossing, push_to_desk(crossing, "1.0.0"))
    Repository(folder)
    desk = Desk(folder, tmp_path)
    refuse(desk.crossing)
    assert desk.refused("1.0.0", 10)["reason"] == "no-pickles"
    allow(desk.crossing)
    assert desk.promote("1.0.0")["commit"]


def test_release_stops_at_a_pickle_too(crossing: Crossing) -> None:
    shutil.rmtree(attest.evidence_dir(crossing.model))
    found = crossing.json(
        "release",
        crossing.model,
        "--release",
        "churn/1.0.0",
        "--zone",
        "home",
        "--to",
        "eu",
        "--dataset",
        "public",
        code=10,
    )
    assert found["error"]["reason"] == "no-pickles"
    assert crossing.objects("releases/") == []
