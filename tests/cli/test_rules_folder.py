"""A project's folder of rules: every file in it is accounted for, or it is refused by its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sovgate.engines._api import PolicySet
from sovgate.errors import ConfigError
from sovgate.pipeline.decide.policies import load_policies
from tests.cli.test_check_command import EU, PROJECT, US, made, said

NEVER = 'package user.never\n\nimport rego.v1\n\ndeny contains "never" if true\n'
TEST = (
    "package user.never_test\n\nimport rego.v1\n\nimport data.user.never.deny\n\n"
    "test_never if count(deny) == 1 with input as {}\n"
)
CHECK = ("check", "model", "--zone", "us-train", "--to", "eu")


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def load(base: Path, rules: str = "policies") -> PolicySet:
    return load_policies(presets=(), rules=base / rules, engine="regorus", base=base)


def refused(base: Path, rules: str = "policies") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(base, rules)
    error = caught.value
    assert error.exit_code == 3 and error.fix
    return error


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("ab_test.rego", NEVER, "policy-test"),
        ("pen_test.rego", NEVER.replace("user.never", "user.pen_test"), "policy-test"),
        ("b_test.rego", NEVER.replace("deny contains", "denny contains"), "policy-test"),
        ("c_test.rego", NEVER.replace("never", "c_test").replace("deny", "dny"), "policy-test"),
        ("d_test.rego", TEST + "\ndeny := set()\n", "policy-test"),
        ("e_test.rego", TEST + "\ndefault deny := set()\n", "policy-test"),
        ("f_test.rego", TEST + '\ndeny["x"].y contains 1\n', "policy-test"),
        ("other.REGO", NEVER, "policy-file"),
        ("other.Rego", NEVER, "policy-file"),
        ("other.rego.txt", NEVER, "policy-file"),
        ("other.rego.disabled", NEVER, "policy-file"),
        ("other.rego.bak", NEVER, "policy-file"),
        ("other.rego.md", NEVER, "policy-file"),
        ("other.Rego.MD", NEVER, "policy-file"),
        ("other_test.rego.md", TEST, "policy-file"),
        ("deep/.rego.md", NEVER, "policy-file"),
        ("other.rego-old.md", NEVER, "policy-file"),
        ("README.rego.txt", NEVER, "policy-file"),
        ("other.rego~", NEVER, "policy-file"),
        (".other.rego.swp", NEVER, "policy-file"),
        ("other.reg", NEVER, "policy-file"),
        ("other.rego ", NEVER, "policy-file"),
        ("other", NEVER, "policy-file"),
        ("deep/er/other.REGO", NEVER, "policy-file"),
        (".hidden/other.txt", NEVER, "policy-file"),
        ("data.json", "{}", "policy-file"),
        ("bundle.tar.gz", b"\x1f\x8b", "policy-file"),
        ("README.md.rego.bak", "", "policy-file"),
        ("bom.rego", b"\xef\xbb\xbf" + NEVER.encode(), "policy-syntax"),
        ("latin.rego", NEVER.encode() + "# gr\xfc\xdfe\n".encode("latin-1"), "policy-syntax"),
        ("wide.rego", NEVER.encode("utf-16"), "policy-syntax"),
        ("broken_test.rego", "package user.broken_test\ntest_x if {", "policy-syntax"),
        ("nothing.rego", "package user.nothing\n", "policy-no-deny"),
    ],
)
def test_rule_35_a_file_that_is_no_rule_is_refused_by_its_name(
    tmp_path: Path, name: str, text: str | bytes, reason: str
) -> None:
    write(tmp_path / "policies", {"never.rego": NEVER})
    assert [rule.id for rule in load(tmp_path).rules][-1] == "user.never"
    write(tmp_path / "policies", {name: text})
    error = refused(tmp_path)
    assert (error.reason, error.where and error.where.path) == (reason, f"policies/{name}")
    assert name.strip() in error.what


def test_rule_35_rules_tests_and_companions_may_lie_there(tmp_path: Path) -> None:
    companions = (
        "README.md",
        "LICENSE",
        "licence.txt",
        "NOTICE",
        "CODEOWNERS",
        "notes/why.md",
        ".git",
        ".gitignore",
        ".gitattributes",
        "empty/.gitkeep",
        ".keep",
        ".editorconfig",
        ".manifest",
        ".regal.yaml",
        ".regal/config.yaml",
        ".DS_Store",
    )
    folder = write(tmp_path / "policies", dict.fromkeys(companions, "x"))
    write(folder, {"a/.never.rego": NEVER, "a/never_test.rego": TEST})
    shared = "package user.shared_test\n\nimport rego.v1\n\ncase := {}\n"
    using = TEST.replace("import rego.v1", "import rego.v1\nimport data.user.shared_test.case")
    write(folder, {"a/never_test.rego": using, "shared_test.rego": shared})
    assert [rule.id for rule in load(tmp_path).rules if not rule.module.ours] == ["user.never"]
    (folder / "a" / "never_test.rego").write_text(TEST)
    assert refused(tmp_path).reason == "policy-test"  # nobody imports it any more


def test_a_clones_own_folder_is_passed_over(tmp_path: Path) -> None:
    folder = write(tmp_path / "policies", {"never.rego": NEVER, ".git/config": "x"})
    write(folder, {"sub/.git/HEAD": "x", "sub/other.rego": NEVER.replace("never", "other")})
    assert len([rule for rule in load(tmp_path).rules if not rule.module.ours]) == 2


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"README.md": "x"},
        {".git": "gitdir: ../.git/modules/policies"},
        {"never_test.rego": TEST.replace("import data.user.never.deny", "deny_ := 1")},
        {"deep/never_test.rego": TEST},
    ],
    ids=["empty", "readme", "submodule", "test", "deep-test"],
)
def test_rule_35_a_source_of_rules_yields_a_rule(
    tmp_path: Path, files: dict[str, str | bytes]
) -> None:
    (tmp_path / "policies").mkdir()
    write(tmp_path / "policies", files)
    error = refused(tmp_path)
    assert error.reason == "policy-no-rule"
    assert "policies" in error.what and "submodule" in str(error.why)


def test_rule_35_two_libraries_of_each_other_are_no_rule(tmp_path: Path) -> None:
    def library(name: str, other: str) -> str:
        return (
            f"package user.{name}\n\nimport rego.v1\n\nimport data.user.{other}\n\n"
            f"x if 1 == 1\n\ny if {other}.x\n"
        )

    write(tmp_path / "policies", {"a.rego": library("a", "b"), "b.rego": library("b", "a")})
    assert refused(tmp_path).reason in ("policy-no-rule", "policy-recursion")


def test_rule_35_an_empty_folder_among_rules_is_named(tmp_path: Path) -> None:
    write(tmp_path / "policies", {"never.rego": NEVER})
    (tmp_path / "policies" / "of-the-bank" / "eu").mkdir(parents=True)
    error = refused(tmp_path)
    assert error.reason == "policy-folder"
    assert "policies/of-the-bank/eu" in error.what and "submodule" in str(error.why)


def test_rule_35_links_among_rules_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"policies/never.rego": NEVER, "elsewhere/other.rego": NEVER})
    for name, target in (("other.rego", "elsewhere/other.rego"), ("more", "elsewhere")):
        link = tmp_path / "policies" / name
        link.symlink_to(tmp_path / target)
        assert refused(tmp_path).reason == "policy-folder"
        link.unlink()
    assert load(tmp_path)


def test_rules_may_be_one_file(tmp_path: Path) -> None:
    write(tmp_path, {"r/never.rego": NEVER, "r/other.REGO": "x", "r/n_test.rego": TEST})
    found = [rule for rule in load(tmp_path, "r/never.rego").rules if not rule.module.ours]
    assert [(rule.id, rule.module.name) for rule in found] == [("user.never", "r/never.rego")]
    assert refused(tmp_path, "r/other.REGO").reason == "policy-file"
    assert refused(tmp_path, "r/n_test.rego").reason == "policy-file"
    helper = "package user.help\n\nimport rego.v1\n\nfrozen if input.action\n"
    write(tmp_path, {"r/help.rego": helper})
    assert refused(tmp_path, "r/help.rego").reason == "policy-no-deny"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that may cross, in a project whose rules are in policies/."""
    write(tmp_path, {"model/a.bin": bytes(1000), "policies/never.rego": NEVER})
    for name, signer in (("us", US), ("eu", EU)):
        (tmp_path / f"{name}.pem").touch(mode=0o600)
        (tmp_path / f"{name}.pem").write_bytes(signer.private_pem)
    (tmp_path / "sovgate.yaml").write_text(PROJECT + "policy: {rules: policies/}\n")
    monkeypatch.chdir(tmp_path)
    made("open")
    return tmp_path


def test_every_command_says_which_file_is_no_rule(place: Path) -> None:
    assert "user.never: never" in said(10, *CHECK)
    policies = place / "policies"
    for name in ("ab_test.rego", "never.REGO"):
        (policies / "never.rego").rename(policies / name)
        wanted = f"policies/{name}"
        for line in (CHECK, ("lint",), ("policy", "test", "policies")):
            assert wanted in said(3, *line), line
        assert wanted in said(3, "doctor", "--zone", "us-train", "--offline")
        (policies / name).rename(policies / "never.rego")
    (policies / "never.rego").unlink()
    for line in (CHECK, ("lint",), ("doctor", "--zone", "us-train", "--offline")):
        assert "'policies', which holds no rule" in said(3, *line)


def test_check_and_doctor_count_the_projects_own_rules(place: Path) -> None:
    (place / "policies" / "never.rego").write_text(NEVER.replace("if true", "if 1 == 2"))
    assert ", 1 of them the project's own" in said(0, *CHECK)
    assert ", 1 of them the project's own" in said(3, "doctor", "--zone", "us-train", "--offline")
    (place / "sovgate.yaml").write_text(PROJECT)
    assert ", 0 of them the project's own" in said(0, *CHECK)


def test_a_project_can_name_the_rules_that_it_expects(place: Path) -> None:
    project = (place / "sovgate.yaml").read_text()
    rules = "policy: {rules: policies/"
    for ids in ("[never]", "[user.never]"):
        (place / "sovgate.yaml").write_text(project.replace(rules, f"{rules}, expect: {ids}"))
        assert "user.never" in said(10, *CHECK)
        assert "policy-expect" not in said(3, "lint")
    (place / "sovgate.yaml").write_text(project.replace(rules, f"{rules}, expect: [newer]"))
    for line in (CHECK, ("lint",), ("doctor", "--zone", "us-train", "--offline")):
        text = said(3, *line)
        assert "'newer'" in text and "did you mean 'never'?" in text
    (place / "sovgate.yaml").write_text(project.replace("rules: policies/", "expect: [never]"))
    assert "policy.rules" in said(3, "lint")


def test_lint_of_a_folder_names_all_that_a_project_would_refuse(place: Path) -> None:
    write(place / "policies", {"other.rego.bak": NEVER})
    document = json.loads(said(3, "lint", "policies", "--format", "json").split("\n\n")[0])
    found = [(one["rule"], one["path"]) for one in document["findings"]]
    assert found == [("policy-file", "policies/other.rego.bak")]
    document = json.loads(said(3, "lint", ".", "--format", "json").split("\n\n")[0])
    assert found[0] in [(one["rule"], one["path"]) for one in document["findings"]]
