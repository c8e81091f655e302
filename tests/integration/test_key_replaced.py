"""A zone's signing key is replaced: by the page's own words, and by others."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_init import sovgate, tree

PAGE = (Path(__file__).resolve().parents[2] / "docs/keys.md").read_text(encoding="utf-8")
REPLACED = PAGE.split("## Replace or take back a key")[1]
TRUST, KEYS = re.findall(r"(?ms)^```yaml\n(.*?)^```", REPLACED)
NEXT = ("--release", "churn/1.1.0", "--zone", "us-train", "--to", "eu")
DATA = ("--dataset", "public-train")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one release by the old key, a model for the next, and the new keys."""
    folder = tmp_path_factory.mktemp("made")
    sovgate("init", "churn", "--pattern", "central", "--local", cwd=folder)
    base = folder / "churn"
    for name in ("old", "new"):
        (base / "build" / name).mkdir(parents=True)
        (base / "build" / name / "weights.bin").write_text(name)
    first = ("--release", "churn/1.0.0", *NEXT[2:])
    sovgate("release", "build/old", *first, *DATA, cwd=base)
    for name in ("us-train-2", "eu-2"):
        sovgate("keys", "generate", "sign", "-o", f"keys/{name}.pem", cwd=base)
    return base


@pytest.fixture
def base(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "churn")
    return tmp_path / "churn"


def edit(base: Path, trust: str = "", keys: str = KEYS, zone: str = "us-train") -> None:
    """Write the zone's keys, and `trust`, into the project file as a reader of the page does."""
    path = base / "sovgate.yaml"
    text = path.read_text()
    for line in keys.splitlines():
        name = line.split(":")[0]
        text, count = re.subn(rf'(?m)^{name}: "?(file:)?keys/{zone}-sign.*$', line, text)
        assert count == 1, line
    path.write_text(text + trust)


def refused(base: Path, *words: str) -> Any:
    """Ends with 3 for this reason, and leaves everything as it was."""
    before = tree(base)
    error: Any = sovgate(*words, cwd=base, code=3)
    assert error["error"]["reason"] == "own-role"
    after = tree(base)
    assert {name: data for name, data in after.items() if name in before} == before
    assert not [name for name in set(after) - set(before) if not name.endswith(".lock")]
    return error["error"]


def without(role: str, name: str) -> str:
    """The page's entries, of which that of `name` lacks a role."""
    entries = TRUST.split("  - name: ")
    changed = [
        re.sub(rf", {role}\b|\b{role}, ", "", e) if e.startswith(f"{name}\n") else e
        for e in entries
    ]
    assert changed != entries
    return "  - name: ".join(changed)


def test_a_key_is_replaced_by_the_entries_of_the_page(base: Path) -> None:
    edit(base, TRUST)
    found: Any = sovgate("lint", cwd=base)
    assert found["findings"] == []
    sovgate("verify", "build/old", cwd=base)  # by the old key
    sovgate("release", "build/new", *NEXT, *DATA, cwd=base)
    sovgate("audit", "verify", cwd=base)
    for version in ("1.0.0", "1.1.0"):
        words = ("pull", f"churn/{version}", "--zone", "eu", "-o", f"build/{version}")
        sovgate(*words, cwd=base)
    sovgate("audit", "verify", cwd=base)


def test_rule_07_what_a_key_that_was_taken_back_began_goes_on(base: Path) -> None:
    """Its log verifies, and the next release follows the one that it signed."""
    edit(base, TRUST)
    sovgate("release", "build/new", *NEXT, *DATA, cwd=base)
    path = base / "sovgate.yaml"
    old = "  - name: us-train\n"
    text = path.read_text().replace(old, f'{old}    former: true\n    until: "2099-01-01"\n')
    path.write_text(text)
    sovgate("lint", cwd=base)
    sovgate("audit", "verify", cwd=base)
    sovgate("push", "build/new", "--release", "churn/1.2.0", *NEXT[2:], cwd=base)
    for version in ("1.1.0", "1.2.0"):
        sovgate("pull", f"churn/{version}", "--zone", "eu", "-o", f"build/{version}", cwd=base)
    sovgate("audit", "verify", cwd=base)
    # What the key itself says now counts for nothing, and nor does what it said after its end.
    words = ("pull", "churn/1.0.0", "--zone", "eu", "-o", "build/1.0.0")
    error: Any = sovgate(*words, cwd=base, code=11)
    assert error["error"]["reason"] == "wrong-signer"
    path.write_text(text.replace("2099-01-01", "2020-01-01"))
    again = ("pull", "churn/1.1.0", "--zone", "eu", "-o", "build/again")
    for late in (("audit", "verify"), again):
        error = sovgate(*late, cwd=base, code=11)
        assert error["error"]["reason"] == "former-signer"


def test_a_key_that_nobody_was_told_of_signs_nothing(base: Path) -> None:
    edit(base, keys=KEYS.splitlines()[0])  # keys.sign alone
    error = refused(base, "release", "build/new", *NEXT, *DATA)
    assert "sign-public is the public half of another key" in error["why"]
    assert "docs/keys.md#replace" in error["fix"]
    refused(base, "push", "build/old", *NEXT)
    found: Any = sovgate("lint", cwd=base, code=None)
    assert [(one["rule"], one["severity"]) for one in found["findings"]] == [("own-role", "error")]


@pytest.mark.parametrize("role", ["audit", "decision", "transfer", "signature", "provenance"])
def test_a_new_key_that_lacks_a_role_signs_nothing(base: Path, role: str) -> None:
    """Its public half is named nowhere else, so its entry is all that it has."""
    edit(base, without(role, "us-train-2"), KEYS.splitlines()[0])
    error = refused(base, "release", "build/new", *NEXT, *DATA)
    assert f"may not say {role}" in error["what"]
    assert error["fix"] == f"add {role} to `may` of us-train-2, with from: us-train"
    if role in ("audit", "decision", "transfer"):
        refused(base, "push", "build/old", *NEXT)
    if role in ("audit", "decision"):
        found: Any = sovgate("lint", cwd=base, code=None)
        assert f"may not say {role}" in found["findings"][0]["message"]


@pytest.mark.parametrize("role", ["audit", "decision", "receipt"])
def test_where_a_model_arrives_the_key_is_asked_for_too(base: Path, role: str) -> None:
    keys = KEYS.splitlines()[0].replace("us-train", "eu")
    entry = TRUST.split("  - name: ")[-1].replace("eu-sign", "eu-2").replace("eu\n", "eu-2\n", 1)
    entry = re.sub(rf", {role}\b", "", entry)
    edit(base, f"{TRUST}  - name: {entry}", keys, zone="eu")
    error = refused(base, "pull", "churn/1.0.0", "--zone", "eu", "-o", "build/x")
    assert f"add {role} to `may` of eu-2" in error["fix"]


@pytest.mark.parametrize("role", ["audit", "promotion"])
def test_a_key_that_may_not_promote_is_told_before_git_is_asked(base: Path, role: str) -> None:
    keys = KEYS.splitlines()[0].replace("us-train", "eu")
    entry = TRUST.split("  - name: ")[-1].replace("eu-sign", "eu-2").replace("eu\n", "eu-2\n", 1)
    edit(base, f"{TRUST}  - name: {re.sub(rf', {role}', '', entry)}", keys, zone="eu")
    path = base / "sovgate.yaml"
    path.write_text(
        path.read_text().replace(
            "    # gitops: {repo: https://git.example/ml/serving.git", "    gitops: {repo: no-repo"
        )
    )
    for words in (("promote", "churn/1.0.0"), ("rollback", "--reason", "it is slow")):
        assert role in refused(base, *words, "--zone", "eu")["what"]


def test_an_old_entry_that_lacks_audit_is_named_by_lint_and_by_the_log(base: Path) -> None:
    edit(base, without("audit", "us-train"))
    found: Any = sovgate("lint", cwd=base)
    assert [one["severity"] for one in found["findings"]] == ["warning"]
    assert (
        "us-train speaks for zone us-train, and may not say audit"
        in found["findings"][0]["message"]
    )
    error: Any = sovgate("audit", "verify", cwd=base, code=11)
    assert error["error"]["reason"] == "untrusted-role"
    fix = error["error"]["fix"]
    assert "the key is trusted, but not for audit" in fix
    assert "add audit to `may`" in fix and "find out who changed the log" in fix


def test_a_log_by_a_key_that_has_no_entry_names_both_cases(base: Path) -> None:
    edit(base)
    error: Any = sovgate("audit", "verify", cwd=base, code=11)
    assert error["error"]["reason"] == "wrong-signer"
    fix = error["error"]["fix"]
    assert "add an entry for that key under trust" in fix
    assert "find out who changed the log" in fix
