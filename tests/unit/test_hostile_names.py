"""Names that nobody can tell apart, and names that Git acts on elsewhere (RULES 2 and 4)."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from sovgate.errors import UsageError, VerificationFailed
from sovgate.files import check_name
from sovgate.names import is_git_name
from sovgate.records import Release
from sovgate.stages import inventory

UNSEEN = [
    "\u200b",
    "\ufeff",
    "\u00ad",
    "\u2060",
    "\u034f",
    "\u115f",
    "\u17b4",
    "\u180e",
    "\u3164",
    "\uffa0",
    "\ufe0f",
    "\U000e0020",
    "\U000e0100",
    "\U0001d173",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\u2800",
    "\ufff9",
]
ORDINARY = [
    "été.txt",
    "模型.bin",
    "модель",
    "나",
    "हिन्दी",
    "100% #+&.txt",
    "-rf",
    "~",
    "a b",
    "ｆｕｌｌ",
]
GIT = [
    ".git",
    ".GIT",
    ".g\u200cit",
    ".gi\ufefft",
    ".\u202egit",
    ".ｇｉｔ",
    ".g\u0131t",
    ".git ",
    ".git.",
    ".git...",
    " .git",
    ".git::$INDEX_ALLOCATION",
    "git~1",
    "GIT~2",
    "gitmod~1",
    "gi7eba~1",
    ".gitmodules",
    ".gitignore",
    ".github",
]
NOT_GIT = ["git", "gitlab", "a.git", "config~1", "legit~1", "git-lfs", "digit~", "gi~1", "~1"]


@pytest.mark.parametrize("code", UNSEEN, ids=lambda code: f"U+{ord(code):04X}")
@pytest.mark.parametrize("name", ["a{}", "{}a", "sub{}/a", "a{}b.bin"])
def test_rule_04_what_nobody_sees_is_refused_with_its_code_point(code: str, name: str) -> None:
    with pytest.raises(VerificationFailed) as raised:
        check_name(name.format(code))
    assert raised.value.exit_code == 11
    assert f"U+{ord(code):04X}" in str(raised.value.why)
    assert unicodedata.name(code, "no name") in str(raised.value.why)
    assert code not in raised.value.what


@pytest.mark.parametrize(
    "name", ["COM\u00b9", "a/lpt\u00b3.bin", "CONIN$", "conout$.txt", "Aux.json"]
)
def test_rule_04_devices_of_windows_are_refused_in_every_spelling(name: str) -> None:
    with pytest.raises(VerificationFailed) as raised:
        check_name(name)
    assert (raised.value.exit_code, raised.value.reason) == (11, "unsafe-name")
    assert "reserved on some systems" in str(raised.value.why)


@pytest.mark.parametrize("name", ["com\u2074", "console", "coming.bin", "lpt", "CON$"])
def test_names_near_those_of_devices_stay(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_names_stay(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("part", GIT, ids=ascii)
def test_rule_02_a_name_is_compared_as_every_file_system_folds_it(part: str) -> None:
    assert is_git_name(part)
    with pytest.raises(VerificationFailed) as raised:
        inventory.refuse_git(["config.json", f"a/{part}/config"])
    assert (raised.value.exit_code, raised.value.reason) == (11, "git-name")


@pytest.mark.parametrize("part", NOT_GIT)
def test_names_that_git_does_not_act_on_stay(part: str) -> None:
    assert not is_git_name(part)
    inventory.refuse_git([f"a/{part}/config", part])


@pytest.mark.parametrize("name", ["git~1/config", "sub/GIT~1", "a/gi7eba~1"])
def test_rule_02_a_short_name_is_refused_where_the_model_is_signed(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "model" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    with pytest.raises(VerificationFailed) as raised:
        inventory.take(tmp_path / "model", strict_git=True)
    assert raised.value.reason == "git-name"


def test_rule_02_all_such_names_are_told_at_once() -> None:
    with pytest.raises(VerificationFailed) as raised:
        inventory.refuse_git(["a/.gitignore", "b", "c/.git attributes"])
    error = raised.value
    assert "a/.gitignore" in error.what
    assert any("c/.git attributes" in line for line in error.details)
    assert "rm -- a/.gitignore 'c/.git attributes'" in str(error.fix)


@pytest.mark.parametrize(
    ("told", "valid"),
    [
        ("Llama-3.1-8B/1.0.0", "llama-3.1-8b/1.0.0"),
        ("churn/1.0.0+cu121", "churn/1.0.0-cu121"),
        ("My Model/V1", "my-model/v1"),
        ("_a/.1", "a/1"),
    ],
)
def test_a_release_name_that_is_refused_comes_with_one_that_is_not(told: str, valid: str) -> None:
    with pytest.raises(UsageError) as raised:
        Release.parse(told)
    assert str(raised.value.fix).endswith(f": {valid}")
    assert str(Release.parse(valid)) == valid


@pytest.mark.parametrize(
    ("told", "right"),
    [
        ("churn/1.0.0@f02d", "churn/1.0.0@sha256:…"),
        ("churn/1.0.0@", "churn/1.0.0@sha256:…"),
        ("churn/1.0.0@sha256:f02d…", "churn/1.0.0@sha256:…"),
        (f"churn/1.0.0@sha512:{'a' * 64}", "churn/1.0.0@sha256:…"),
        ("My Model/1@latest", "my-model/1@sha256:…"),
        ("@f02d", "kyc-risk/1.0.0@sha256:…"),
        (f"churn/1.0.0@sha256:{'AB' * 32}", f"churn/1.0.0@sha256:{'ab' * 32}"),
        (f"churn/1.0.0@{'ab' * 32}", f"churn/1.0.0@sha256:{'ab' * 32}"),
        (f"Churn/1.0.0@sha256:{'ab' * 32}", f"churn/1.0.0@sha256:{'ab' * 32}"),
    ],
)
def test_the_fix_of_a_release_that_was_pinned_keeps_the_pin(told: str, right: str) -> None:
    """A release without its pin is whatever bytes the store has."""
    with pytest.raises(UsageError) as raised:
        Release.parse(told)
    fix = str(raised.value.fix)
    assert fix.endswith(right)
    if right.endswith("…"):
        assert right.startswith("kyc-risk") or "64 hex digits; push printed it" in fix
    else:
        assert str(Release.parse(right).pin) == "ab" * 32


@pytest.mark.parametrize(
    "version", ["latest", "main", "stable", "current", "head", "prod-eu", "vlatest"]
)
def test_a_version_that_moves_elsewhere_is_known(version: str) -> None:
    assert f"no other model as kyc/{version}." in str(Release.parse(f"kyc/{version}").moving)


@pytest.mark.parametrize("version", ["1.0.0", "v1", "main-20261128", "latest.2", "mainz", "blue"])
def test_a_version_that_is_one_thing_for_ever_is_taken_without_a_word(version: str) -> None:
    assert Release.parse(f"kyc/{version}").moving is None


def test_a_process_that_reads_names_as_ascii_is_told_so() -> None:
    """The bytes of the name are UTF-8: it is Python's setting that is wrong."""
    name = "été.txt".encode().decode("ascii", "surrogateescape")
    with pytest.raises(VerificationFailed) as raised:
        check_name(name)
    assert "read names as ASCII" in str(raised.value.why)
    assert "PYTHONUTF8=1" in str(raised.value.fix)
    with pytest.raises(VerificationFailed) as raised:
        check_name(b"\xe9t\xe9.txt".decode("utf-8", "surrogateescape"))
    assert raised.value.why == "it is not UTF-8"
    assert "rename" in str(raised.value.fix)
