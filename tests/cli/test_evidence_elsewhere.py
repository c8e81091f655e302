"""Evidence in a folder that is named, on the command line or in the project file (RULES 40)."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import SovgateError
from sovgate.stages import attest
from tests.crossing import Crossing, make_crossing, tree

KEY = "keys/home.pem"
TO_EU = ("--zone", "home", "--to", "eu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("elsewhere") / "project"
    crossing = make_crossing(base)
    shutil.rmtree(attest.evidence_dir(crossing.model))
    return base


@pytest.fixture
def crossing(made: Path, tmp_path: Path) -> Crossing:
    shutil.copytree(made, tmp_path / "project")
    return Crossing(base=tmp_path / "project", model=tmp_path / "project" / "model")


def roles(folder: Path) -> set[str]:
    return {name.split("-", 1)[0].split(".", 1)[0] for name in tree(folder) if "/" not in name}


def make(crossing: Crossing, *more: object) -> None:
    crossing.json("sign", "model", "--key", KEY, *more)
    crossing.json("record", "model", "--dataset", "public", "--key", KEY, *more)
    crossing.json("sbom", "model", "--key", KEY, *more)


@pytest.mark.parametrize(
    ("more", "code", "what"),
    [
        (("-o", "/proc/sovgate/model"), 24, "write the model to '/proc/sovgate/model'"),
        (("-o", "sovgate.yaml/model"), 2, "write the model to 'sovgate.yaml/model'"),
        (("-o", "got", "--evidence", "/proc/evidence"), 24, "write the evidence to"),
    ],
)
def test_pull_says_first_that_a_place_cannot_be_written(
    crossing: Crossing, more: tuple[str, ...], code: int, what: str
) -> None:
    """Before a record is fetched, a key is used, or anything stands in the log."""
    make(crossing)
    crossing.push()
    before = tree(crossing.base)
    pull = ("pull", "churn/1.0.0", "--zone", "eu")
    error = crossing.json(*pull, *more, code=code)["error"]
    assert what in error["what"]
    assert error["fix"]
    assert tree(crossing.base) == before
    assert crossing.run(*pull, "-o", "new/folders/model")[0] == 0
    assert crossing.run(*pull, "-o", "new/folders/model")[0] == 0  # and what is there is looked at


def test_every_command_reads_and_writes_the_folder_that_is_named(crossing: Crossing) -> None:
    named = ("--evidence", "volume/evidence")
    make(crossing, *named)
    crossing.json("verify", "model", *named)
    asked = ("--release", "churn/1.0.0", "--save")
    assert crossing.json("check", "model", *TO_EU, *asked, *named)["allowed"]
    crossing.json("encrypt", "model", "--to", "eu", "-o", "sealed", *named)
    crossing.push(*named)
    crossing.pull("--evidence", "volume/pulled")
    crossing.json(
        "decrypt", "sealed", "--zone", "eu", "-o", "opened", "--evidence", "volume/opened"
    )
    folder = crossing.base / "volume"
    assert roles(folder / "evidence") == {"signature", "provenance", "sbom", "decision", "transfer"}
    assert {"signature", "provenance", "sbom", "receipt"} <= roles(folder / "pulled")
    assert {"signature", "provenance", "sbom"} <= roles(folder / "opened")
    assert not list(crossing.base.glob("*.evidence"))
    crossing.json("verify", "pulled", "--evidence", "volume/pulled")


def test_release_makes_all_of_it_there(crossing: Crossing) -> None:
    arguments = ("release", "model", "--release", "churn/1.0.0", "--dataset", "public", *TO_EU)
    crossing.json(*arguments, "--evidence", "ev")
    assert {"signature", "provenance", "sbom", "transfer"} <= roles(crossing.base / "ev")
    assert not list(crossing.base.glob("*.evidence"))
    again = crossing.json(*arguments, "--evidence", "ev")
    assert {step["outcome"] for step in again["steps"]} <= {"already", "done"}


def test_drafts_lie_and_are_signed_there(crossing: Crossing) -> None:
    crossing.json("record", "model", "--dataset", "public", "--evidence", "ev")
    assert len(list((crossing.base / "ev" / "unsigned").iterdir())) == 1
    crossing.json("attest", "model", "--all-unsigned", "--key", KEY, "--evidence", "ev")
    assert roles(crossing.base / "ev") == {"provenance"}


def test_the_project_file_names_a_folder_for_all_models(crossing: Crossing) -> None:
    crossing.edit("model: churn\n", "model: churn\nevidence: kept/evidence\n")
    make(crossing)
    crossing.json("verify", "model")
    crossing.push()
    crossing.pull()
    below = crossing.base / "kept" / "evidence"
    assert {path.name for path in below.iterdir()} == {"model.evidence", "pulled.evidence"}
    assert not list(crossing.base.glob("*.evidence"))
    crossing.json("sign", "model", "--key", KEY, "--evidence", "named")
    assert roles(crossing.base / "named") == {"signature"}


@pytest.mark.parametrize("value", ["''", "1", "[a]"])
def test_a_wrong_value_in_the_project_file_is_named(crossing: Crossing, value: str) -> None:
    crossing.edit("model: churn\n", f"model: churn\nevidence: {value}\n")
    code, text = crossing.run("sign", "model", "--zone", "home")
    assert code == 3
    assert "evidence" in text
    assert "sovgate.yaml:3" in text


def test_a_record_beside_the_model_binds_wherever_evidence_is_written(crossing: Crossing) -> None:
    crossing.json("record", "model", "--dataset", "kyc", "--key", KEY)
    make(crossing, "--evidence", "ev")
    code, text = crossing.run(
        "push", "model", "--release", "churn/1.0.0", *TO_EU, "--evidence", "ev"
    )
    assert code == 10
    assert "kyc" in text


def test_a_folder_in_the_model_is_refused(crossing: Crossing) -> None:
    before = tree(crossing.model)
    code, text = crossing.run("sign", "model", "--key", KEY, "--evidence", "model/ev")
    assert code == 2
    assert "inside the model" in text
    assert "--evidence" in text
    assert tree(crossing.model) == before


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_where_nothing_can_be_written_the_option_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(attest.os, "mkdir", refused)
    with pytest.raises(SovgateError) as raised:
        attest.add_signature(tmp_path / "model.evidence", b"{}")
    assert raised.value.exit_code == 24
    assert "--evidence DIR" in str(raised.value.fix)


# -- links


def linked(crossing: Crossing, name: str) -> Path:
    elsewhere = crossing.base / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (crossing.base / name).symlink_to(elsewhere)
    return elsewhere


@pytest.mark.parametrize(
    "command",
    [
        ("sign", "model", "--key", KEY),
        ("record", "model", "--dataset", "public", "--key", KEY),
        ("record", "model", "--dataset", "public"),
        ("sbom", "model", "--key", KEY),
        ("verify", "model"),
        ("check", "model", *TO_EU, "--release", "churn/1.0.0"),
        ("push", "model", *TO_EU, "--release", "churn/1.0.0"),
        ("release", "model", *TO_EU, "--release", "churn/1.0.0", "--dataset", "public"),
    ],
    ids=" ".join,
)
def test_rule_40_an_evidence_folder_that_is_a_link_is_not_used(
    crossing: Crossing, command: tuple[str, ...]
) -> None:
    elsewhere = linked(crossing, "model.evidence")
    code, text = crossing.run(*command)
    assert code == 11, text
    assert "is a link" in text
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["ev", "dangling"])
def test_rule_40_a_named_folder_that_is_a_link_is_not_used(crossing: Crossing, name: str) -> None:
    elsewhere = linked(crossing, "ev")
    (crossing.base / "dangling").symlink_to("nowhere")
    code, text = crossing.run("sign", "model", "--key", KEY, "--evidence", name)
    assert (code, "is a link" in text) == (11, True)
    assert list(elsewhere.iterdir()) == []
    assert not (crossing.base / "nowhere").exists()


def test_rule_40_a_folder_of_drafts_that_is_a_link_is_not_used(crossing: Crossing) -> None:
    (crossing.base / "model.evidence").mkdir()
    elsewhere = linked(crossing, "model.evidence/unsigned")
    code, text = crossing.run("record", "model", "--dataset", "public")
    assert (code, "is a link" in text) == (11, True)
    code, text = crossing.run("attest", "model", "--all-unsigned", "--key", KEY)
    assert (code, "is a link" in text) == (11, True)
    assert list(elsewhere.iterdir()) == []


def test_rule_40_evidence_as_kubernetes_mounts_it_is_read(crossing: Crossing) -> None:
    make(crossing, "--evidence", "mounted/..2026_11_28")
    mounted = crossing.base / "mounted"
    (mounted / "..data").symlink_to("..2026_11_28")
    for name in tree(mounted / "..2026_11_28"):
        (mounted / name).symlink_to(f"..data/{name}")
    crossing.json("verify", "model", "--evidence", "mounted")
    asked = ("--release", "churn/1.0.0")
    assert crossing.json("check", "model", *TO_EU, *asked, "--evidence", "mounted")["allowed"]


def test_rule_40_evidence_that_leads_out_of_its_folder_is_refused(crossing: Crossing) -> None:
    make(crossing, "--evidence", "ev")
    (crossing.base / "ev").rename(crossing.base / "real")
    (crossing.base / "ev").mkdir()
    for name in tree(crossing.base / "real"):
        (crossing.base / "ev" / name).symlink_to(f"../real/{name}")
    code, text = crossing.run("verify", "model", "--evidence", "ev")
    assert code == 11
    assert "out of its folder" in text


def test_evidence_of_a_model_that_is_a_link_lies_beside_the_link(crossing: Crossing) -> None:
    (crossing.base / "latest").symlink_to("model")
    make(crossing)
    crossing.json("verify", "latest")  # what lies beside its target is read too
    crossing.json("record", "latest", "--dataset", "public", "--key", KEY, "--evidence", "ev")
    shutil.rmtree(crossing.base / "model.evidence")
    crossing.json("sign", "latest", "--key", KEY)
    assert roles(crossing.base / "latest.evidence") == {"signature"}
    assert not (crossing.base / "model.evidence").exists()
