"""Which project file a command takes: found here or above, or named; and none in its place."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from sovgate.config import MAX_BYTES
from tests.crossing import Crossing, make_crossing
from tests.repositories import git


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    return make_crossing(tmp_path / "project")


def below(crossing: Crossing) -> Crossing:
    """The same project, at a desk in a folder below it, with the model there."""
    folder = crossing.base / "services"
    folder.mkdir()
    for name in ("model", "model.evidence"):
        shutil.copytree(crossing.base / name, folder / name)
    return Crossing(base=folder, model=folder / "model")


def large(path: Path) -> None:
    path.write_text("version: 1\n" + "#" * MAX_BYTES)


def broken(path: Path) -> None:
    path.write_text("version: 1\nnonsense: true\n")


IN_THE_WAY = {
    "folder": lambda path: path.mkdir(),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "round": lambda path: path.symlink_to("sovgate.yaml"),
    "folder-link": lambda path: path.symlink_to(".."),
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/null"),
    "large": large,
}
ASKING = ("verify", "sign", "sbom", "check", "lint", "guard", "policy list", "doctor", "audit show")


def words(crossing: Crossing, command: str) -> list[str]:
    return {
        "sbom": ["model", "-o", "sbom.json"],
        "sign": ["model", "--key", f"file:{crossing.base.parent}/keys/home.pem"],
        "check": ["model", "--zone", "home", "--to", "eu"],
        "verify": ["model"],
        "guard": ["model/config.json"],
        "audit show": ["churn/1.0.0"],
    }.get(command, [])


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_rule_40_what_has_the_name_and_is_no_project_file_is_not_passed_over(
    crossing: Crossing, kind: str
) -> None:
    """The file further up would say whom to trust, and which folders hold people's data."""
    desk = below(crossing)
    assert desk.run("verify", "model")[0] == 0
    IN_THE_WAY[kind](desk.base / "sovgate.yaml")
    files = sorted(desk.base.rglob("*"))
    for command in ASKING:
        code, said = desk.run(*command.split(), *words(desk, command))
        assert code == 3, (command, said)
        assert "sovgate.yaml" in said
        assert "here or above" not in said, (command, said)
        assert sorted(desk.base.rglob("*")) == files
    assert desk.run("verify", "model", "--project", ".")[0] == 3
    # A key on the command line asks no project.
    assert desk.run("verify", "model", "--key", crossing.base / "keys/home.pem")[0] == 0


def test_a_project_that_does_not_read_frees_nobody_who_signs(crossing: Crossing) -> None:
    """It would have named keys, which may not lie in a model."""
    desk = below(crossing)
    shutil.copy(crossing.base / "keys/eu.pem", desk.model / "notes.txt")
    assert desk.run("sign", *words(desk, "sign"))[0] == 10
    broken(desk.base / "sovgate.yaml")
    before = (desk.base / "model.evidence/signature.sigstore.json").read_bytes()
    code, said = desk.run("sign", *words(desk, "sign"))
    assert (code, "sovgate.yaml:1" in said) == (3, True), said
    assert (desk.base / "model.evidence/signature.sigstore.json").read_bytes() == before


@pytest.mark.parametrize("kind", ["large", "folder"])
def test_verify_says_why_the_file_counts_for_nothing(crossing: Crossing, kind: str) -> None:
    (crossing.base / "sovgate.yaml").unlink()
    IN_THE_WAY[kind](crossing.base / "sovgate.yaml")
    error = crossing.json("verify", "model", code=3)["error"]
    assert error["reason"] == "project-unreadable"
    assert ("larger than" in error["what"]) is (kind == "large")
    assert error["fix"]


def test_without_any_it_is_2_and_says_so(crossing: Crossing) -> None:
    (crossing.base / "sovgate.yaml").unlink()
    error = crossing.json("verify", "model", code=2)["error"]
    assert error["reason"] == "no-key"
    assert "no sovgate.yaml here or above" in error["why"]


def above(top: Path, *folders: str) -> Crossing:
    """At a desk in a folder above projects: whether they read is nobody's question yet."""
    top.mkdir(exist_ok=True)
    for name in folders:
        (top / name).mkdir(parents=True)
        (top / name / "sovgate.yaml").write_text("version: 1\n")
    return Crossing(base=top, model=top / "model")


NONE = "name its folder with --project"


@pytest.mark.parametrize(
    ("folders", "fix"),
    [
        (["b", "a"], "name the one that you mean: --project a or --project b"),
        (["services/kyc"], "name it: --project services/kyc"),
        (["a/b/c/d"], "name it: --project a/b/c/d"),
        (["my model"], "name it: --project 'my model'"),
        ([f"m{number}" for number in range(7)], None),
        ([], NONE),
        (["a/b/c/d/e"], NONE),
        ([".hidden/a", "node_modules/a"], NONE),
    ],
)
def test_above_projects_a_command_names_them(
    tmp_path: Path, folders: list[str], fix: str | None
) -> None:
    desk = above(tmp_path / "top", *folders)
    (tmp_path / "top/linked").symlink_to(tmp_path)
    error = desk.json("check", ".", "--zone", "home", code=3)["error"]
    assert (error["reason"], error["what"]) == (
        "no-project",
        "there is no sovgate.yaml here or above",
    )
    assert error["fix"] == fix or (fix is None and error["fix"].endswith("m3, or one of 3 more"))
    checks = desk.json("doctor", code=3)["checks"]
    (told,) = [one["fix"] for one in checks if one["name"] == "project file"]
    assert told == ("sovgate init, or name its folder: --project" if fix == NONE else error["fix"])


def test_a_folder_that_was_named_and_lies_above_projects(tmp_path: Path) -> None:
    desk = above(tmp_path, "top/a", "top/b")
    told = "name the one that you mean: --project top/a or --project top/b"
    assert told in desk.run("doctor", "--project", "top")[1]
    error = desk.json("check", ".", "--zone", "home", "--project", "top", code=2)["error"]
    assert error["fix"] == told


READING = ("verify", "sign", "sbom", "check", "lint", "policy list", "doctor", "audit verify")


@pytest.mark.parametrize("command", READING)
def test_rule_36_a_command_says_which_project_file_it_read(
    crossing: Crossing, command: str
) -> None:
    desk = below(crossing)
    asked = [*command.split(), *words(desk, command)]
    text = desk.run(*asked)[1]
    assert "../sovgate.yaml" in text
    if command == "sbom":
        (desk.base / "sbom.json").unlink()
    _, said = desk.run(*asked, "--format", "json")
    assert json.loads(said)["project"] == "../sovgate.yaml"
    # Here it is no news, and a person named what --project names.
    assert "  project" not in desk.run(*asked, "--project", "..", "-q")[1]


def test_rule_36_an_error_says_which_project_file_was_read(crossing: Crossing) -> None:
    desk = below(crossing)
    (desk.model / "more.txt").write_text("more")
    code, said = desk.run("verify", "model")
    assert (code, said.splitlines()[-1]) == (11, "  project  ../sovgate.yaml")
    assert desk.json("verify", "model", code=11)["project"] == "../sovgate.yaml"
    # It stands where the error lies, and is not said twice.
    (crossing.base / "sovgate.yaml").write_text("version: 2\n")
    code, said = desk.run("verify", "model")
    assert (code, said.count("sovgate.yaml")) == (3, 1), said


def test_rule_36_what_reads_none_names_none(crossing: Crossing) -> None:
    asked = ("verify", "model", "--key", "keys/home.pem")
    assert crossing.json(*asked)["project"] is None
    assert crossing.json("verify", "model")["project"] == "sovgate.yaml"
    assert "  project" not in crossing.run("verify", "model")[1]
    assert crossing.json("regions", "show", "aws:us-east-1")["project"] is None


def test_rule_36_several_project_files_are_all_named(tmp_path: Path) -> None:
    git("init", "-q", ".", cwd=tmp_path)
    first, second = (make_crossing(tmp_path / name) for name in ("a", "b"))
    root = Crossing(base=tmp_path, model=first.model)
    found = ["a/sovgate.yaml", "b/sovgate.yaml"]
    assert root.json("guard", first.base / "sovgate.yaml")["project"] == found
    assert root.json("lint", "a/sovgate.yaml", "b/sovgate.yaml")["project"] == found
    text = root.run("guard", "a/sovgate.yaml")[1]
    assert text.splitlines()[-1] == "  projects  a/sovgate.yaml, b/sovgate.yaml"
    assert second.json("guard", "sovgate.yaml")["project"][0] == "sovgate.yaml"
