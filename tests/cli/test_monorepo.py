"""Several projects in one repository: each file is judged by its own, and none is passed over."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = """\
version: 1
model: m{name}
zones: {{eu: {{region: "aws:eu-central-1"}}}}
datasets: {{kyc: {{manifest: data/kyc.yaml}}}}
policy: {{rules: policies/}}
"""
MANIFEST = "version: 1\nid: kyc\ncategory: personal\npointer: file:data/raw\nstays-in: [EU]\n"
RULE = """\
# METADATA
# title: Calm
# custom:
#   id: calm
package user.calm

import rego.v1

deny contains "storm" if not calm

calm if input.facts.calm == true
"""
TEST = """\
package user.calm_test

import rego.v1

import data.user.calm.deny

test_storm if count(deny) == 1 with input as {}
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def mono(tmp_path: Path) -> Path:
    """Two projects below `services`, none at the root; both have data that must not be in Git."""
    top = tmp_path / "mono"
    top.mkdir()
    git(top, "init", "-q", ".")
    for name in ("a", "b"):
        folder = top / "services" / name
        write(folder / "sovgate.yaml", PROJECT.format(name=name))
        write(folder / "data/kyc.yaml", MANIFEST)
        write(folder / "policies/calm.rego", RULE)
        write(folder / "policies/calm_test.rego", TEST)
    write(top / "README.md", "words\n")
    git(top, "add", "-A")
    return top


def run(folder: Path, *words: str, code: int = 0) -> dict[str, Any]:
    from sovgate.cli import main

    out = io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
        pytest.raises(SystemExit) as stop,
    ):
        main([*words[:1], "--format", "json", *words[1:]] if "--format" not in words else [*words])
    assert (stop.value.code or 0) == code, out.getvalue()
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def rules(folder: Path, *paths: str, code: int = 0) -> dict[str, Any]:
    return run(folder, "policy", "test", "--format", "json", "--", *paths, code=code)


def refused(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["path"], one["rule"]) for one in found["findings"]]


@pytest.mark.parametrize(
    ("here", "words", "path"),
    [
        (".", (), "services/a/data/raw/faces.bin"),
        (".", ("services/a/data/raw/faces.bin",), "services/a/data/raw/faces.bin"),
        (".", ("--project", "services/a"), "services/a/data/raw/faces.bin"),
        ("services/a", (), "data/raw/faces.bin"),
        ("services/b", ("../a/data/raw/faces.bin",), "../a/data/raw/faces.bin"),
    ],
)
def test_guard_knows_the_data_of_every_project(
    mono: Path, here: str, words: tuple[str, ...], path: str
) -> None:
    write(mono / "services/a/data/raw/faces.bin", "abc")
    git(mono, "add", "-A")
    assert refused(run(mono / here, "guard", *words, code=10)) == [(path, "declared-data")]


def test_guard_knows_a_project_that_git_does_not_track_yet(mono: Path) -> None:
    write(mono / "c/sovgate.yaml", PROJECT.format(name="c"))
    write(mono / "c/data/kyc.yaml", MANIFEST.replace("data/raw", "../shared"))
    write(mono / "shared/faces.bin", "abc")
    git(mono, "add", "shared")
    assert refused(run(mono, "guard", code=10)) == [("shared/faces.bin", "declared-data")]


def test_guard_says_where_no_project_belongs_to_a_file(mono: Path) -> None:
    found = run(mono, "guard", "README.md", "services/a/sovgate.yaml")
    assert found["unchecked"] == ["declared-data not checked: no project for README.md"]
    assert run(mono, "guard", "services/a/sovgate.yaml")["unchecked"] == []


@pytest.mark.parametrize("words", [(), ("README.md",), ("services/a/sovgate.yaml",)])
def test_guard_refuses_a_project_that_cannot_be_read(mono: Path, words: tuple[str, ...]) -> None:
    write(mono / "services/b/sovgate.yaml", "version: 1\nmodle: x\n")
    error = run(mono, "guard", *words, code=3)["error"]
    assert error["where"]["path"] == "services/b/sovgate.yaml"


def test_guard_says_that_a_manifest_could_not_be_read(mono: Path) -> None:
    write(mono / "services/b/data/kyc.yaml", "version: 1\n")
    (said,) = run(mono, "guard", "services/b/sovgate.yaml")["unchecked"]
    assert said.startswith("declared-data not checked: services/b/data/kyc.yaml, of kyc: ")


def errors(found: dict[str, Any]) -> set[str]:
    return {one["path"] for one in found["findings"] if one["severity"] == "error"}


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("tracked", [True, False])
def test_lint_from_the_root_sees_every_project(mono: Path, root: bool, tracked: bool) -> None:
    if root:
        write(mono / "sovgate.yaml", PROJECT.format(name="r"))
        write(mono / "data/kyc.yaml", MANIFEST)
        write(mono / "policies/calm.rego", RULE)
    write(mono / "services/c/sovgate.yaml", PROJECT.format(name="c") + "nonsense: 1\n")
    if tracked:
        git(mono, "add", "-A")
    found = run(mono, "lint", code=3)
    assert errors(found) == {"services/c/sovgate.yaml"}
    assert {"services/a/sovgate.yaml", "services/b/sovgate.yaml"} <= set(found["files"])


@pytest.mark.parametrize(
    "named", ["sovgate.yaml", "data/kyc.yaml", "policies/calm.rego", "data/other.yaml"]
)
def test_lint_of_a_file_is_lint_of_its_project(mono: Path, named: str) -> None:
    """What pre-commit passes is what changed: its project says whether it still holds."""
    write(mono / "services/b/data/other.yaml", "a: 1\n")
    write(mono / "services/b/sovgate.yaml", PROJECT.format(name="b") + "nonsense: 1\n")
    found = run(mono, "lint", "--", f"services/b/{named}", "services/a/data/kyc.yaml", code=3)
    assert errors(found) == {"services/b/sovgate.yaml"}
    assert "services/a/sovgate.yaml" in found["files"]
    run(mono, "lint", "--", "services/a/data/kyc.yaml")


def test_lint_lets_a_file_be_that_is_nobodys(mono: Path) -> None:
    write(mono / "data/other.yaml", "a: 1\n")
    assert run(mono, "lint", "--", "data/other.yaml")["files"] == []


def test_a_named_project_is_linted_alone(mono: Path) -> None:
    write(mono / "services/b/sovgate.yaml", "version: 1\nmodle: x\n")
    assert errors(run(mono, "lint", "--project", "services/a")) == set()


def test_policy_test_runs_the_rules_of_each_project_once(mono: Path) -> None:
    a, b = "services/a/policies/calm.rego", "services/b/policies/calm_test.rego"
    assert rules(mono, a)["passed"] == 1
    assert rules(mono, a, a.replace(".rego", "_test.rego"))["passed"] == 1
    assert rules(mono, a, b)["passed"] == 2
    write(mono / b, TEST.replace("== 1", "== 2"))
    found = rules(mono, a, b, code=3)
    assert (found["passed"], found["failed"]) == (1, 1)
    assert [one["file"] for one in found["tests"] if not one["passed"]] == [b]


def test_the_nearest_project_is_the_one_even_below_another(mono: Path) -> None:
    write(mono / "sovgate.yaml", "version: 1\nmodle: x\n")
    assert rules(mono, "services/a/policies/calm.rego")["passed"] == 1
    assert errors(run(mono, "lint", "--", "services/a/sovgate.yaml")) == set()


def test_a_project_above_the_repository_is_no_project_of_it(mono: Path) -> None:
    write(mono.parent / "sovgate.yaml", "version: 1\nmodle: x\n")
    found = run(mono, "guard", "README.md")
    assert found["unchecked"] == ["declared-data not checked: no project for README.md"]


def test_what_git_ignores_is_no_project(mono: Path) -> None:
    write(mono / ".gitignore", "/build/\n")
    write(mono / "build/sovgate.yaml", "version: 1\nmodle: x\n")
    run(mono, "guard")
    run(mono, "lint")


def test_no_hook_loses_the_options_that_it_is_given() -> None:
    """pre-commit runs entry, then args, then names: what ends the options is among the args."""
    for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()):
        assert "--" not in hook["entry"].split()
        assert hook["args"] == ["--"]
        assert hook.get("pass_filenames", True)


def test_a_hook_takes_options(mono: Path) -> None:
    write(mono / "services/a/data/raw/faces.bin", "abc")
    words = ("guard", "--project", "services/a", "--", "services/a/data/raw/faces.bin")
    assert len(run(mono, *words, code=10)["findings"]) == 1
    assert run(mono, words[0], "--project", "services/b", *words[3:])["findings"] == []


def test_a_project_left_by_another_user_above_is_refused(mono: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(mono / "services/a/sovgate.yaml", 12345, 12345)
    error = run(mono, "guard", "services/a/data/kyc.yaml", code=3)["error"]
    assert error["reason"] == "project-owner"
