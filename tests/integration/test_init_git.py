"""No secret that sovgate writes gets into Git, whatever the repository around it says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.test_init import sovgate

LOCAL = ("--pattern", "central", "--local")


def git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def repository(folder: Path, ignore: str | None = "build/\n") -> Path:
    folder.mkdir()
    git(folder, "init", "-q", ".")
    if ignore is not None:
        (folder / ".gitignore").write_text(ignore)
    return folder


def staged(folder: Path) -> set[str]:
    git(folder, "add", "-A")
    return {
        name for name in git(folder, "diff", "--cached", "--name-only", "-z").split("\0") if name
    }


def checks(folder: Path, code: int = 0) -> list[str]:
    found = sovgate("doctor", "--offline", cwd=folder, code=code)
    return [
        f"{check['status']}: {check['detail']}"
        for check in found["checks"]  # type: ignore[index]
        if check["name"] == "keys and Git"
    ]


@pytest.mark.parametrize("ignore", [None, "build/\n!*.pem\n!/keys/\n!/keys/*\n"])
@pytest.mark.parametrize("below", [".", "services/a"])
def test_no_secret_key_is_staged(tmp_path: Path, ignore: str | None, below: str) -> None:
    top = repository(tmp_path / "ex", ignore)
    sovgate("init", below, "--model", "ex", *LOCAL, cwd=top)
    names = {Path(name).name for name in staged(top) if "keys/" in name}
    assert names == {
        ".gitignore",
        "README.md",
        *(f"{key}.pub.pem" for key in ("eu", "eu-sign", "us-train", "us-train-sign")),
    }
    assert checks(top / below) == ["ok: 4 secret files, all ignored by Git"]


def test_what_a_gitignore_lacks_can_be_copied(tmp_path: Path) -> None:
    top = repository(tmp_path / "ex")
    said = str(sovgate("init", ".", *LOCAL, cwd=top, text=True)).splitlines()
    start = said.index("Add to .gitignore:") + 1
    block = said[start : said.index("  → .gitignore is left as it is; it lacks the lines above")]
    assert block[1:] == ["/.sovgate/", "/build/", "*.evidence/", "/stores/"]
    with (top / ".gitignore").open("a") as file:
        file.write("\n".join([*block, ""]))
    assert sovgate("init", ".", *LOCAL, cwd=top)["differ"] == {}  # type: ignore[index]


def test_what_a_pre_commit_file_lacks_is_a_whole_entry(tmp_path: Path) -> None:
    top = repository(tmp_path / "ex")
    before = "repos:\n  - repo: local\n    hooks:\n      - id: mine\n"
    (top / ".pre-commit-config.yaml").write_text(before)
    found = sovgate("init", ".", *LOCAL, cwd=top)
    block = found["differ"][".pre-commit-config.yaml"]  # type: ignore[index]
    assert block[0] == "  - repo: https://github.com/org/sovgate"
    assert next(line.strip() for line in block[2:]) == "hooks:"


def test_doctor_names_each_secret_that_git_would_take(tmp_path: Path) -> None:
    top = repository(tmp_path / "ex")
    sovgate("init", ".", *LOCAL, cwd=top)
    (top / "keys/.gitignore").write_text("*\n!*.pub.pem\n!eu.pem\n")
    assert checks(top, 3) == ["missing: keys/eu.pem is not ignored by Git"]
    found = sovgate("doctor", "--offline", cwd=top, code=3)
    (fix,) = (c["fix"] for c in found["checks"] if "not ignored" in c["detail"])  # type: ignore[index]
    subprocess.run(["/bin/sh", "-c", fix], cwd=top, check=True)
    assert checks(top) == ["ok: 4 secret files, all ignored by Git"]
    text = (top / "sovgate.yaml").read_text()
    (top / "other.pem").write_bytes((top / "keys/eu-sign.pem").read_bytes())
    trust = "trust:\n  - {name: ci, key: other.pem, may: [legal]}\n"
    assert "\ntrust:" not in text
    (top / "sovgate.yaml").write_text(text + trust)
    assert checks(top, 3) == ["missing: other.pem is not ignored by Git"]


def test_doctor_says_more_of_a_secret_that_git_has(tmp_path: Path) -> None:
    top = repository(tmp_path / "ex")
    sovgate("init", ".", *LOCAL, cwd=top)
    git(top, "add", "-f", "keys/eu-sign.pem")
    assert checks(top, 3) == ["missing: keys/eu-sign.pem is not ignored by Git"]
    found = sovgate("doctor", "--offline", cwd=top, code=3)
    (fix,) = (c["fix"] for c in found["checks"] if "not ignored" in c["detail"])  # type: ignore[index]
    assert fix.startswith("git rm --cached keys/eu-sign.pem, and make another key")


def test_where_there_is_no_repository_there_is_nothing_to_ask(tmp_path: Path) -> None:
    sovgate("init", "ex", *LOCAL, cwd=tmp_path)
    assert checks(tmp_path / "ex") == []


@pytest.mark.parametrize("words", [("keys", "generate", "sign"), ("data", "key")])
@pytest.mark.parametrize("name", ["keys/a.pem", "a.pem", "b/c [1]*#.pem", "file:keys/a.pem"])
def test_a_key_that_is_made_alone_is_ignored(
    tmp_path: Path, words: tuple[str, ...], name: str
) -> None:
    top = repository(tmp_path / "ex", None)
    (top / "keys").mkdir()
    (top / "b").mkdir()
    (top / "b/train.py").write_text("")
    sovgate(*words, "-o", name, cwd=top)
    assert name not in staged(top)
    assert not list(top.glob("file:*"))
    assert all(path.endswith((".pub.pem", ".gitignore", "train.py")) for path in staged(top))
    again = name.replace(".pem", "2.pem")
    sovgate(*words, "-o", again, cwd=top)
    assert all(path.endswith((".pub.pem", ".gitignore", "train.py")) for path in staged(top))


def test_a_key_that_is_older_than_the_repository_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "sovgate.yaml").write_text(
        'version: 1\nmodel: m\nzones:\n  eu: {region: "aws-eusc:eusc-de-east-1"}\n'
    )
    names = ["a.key", "keys/a.key", "new/b.pub.pem", "keys/a.pub.pem"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        sovgate("data", "key", "-o", f"file:{name}", cwd=tmp_path)
    sovgate("keys", "generate", "sign", "-o", f"file://{tmp_path}/own/c.pem", cwd=tmp_path)
    git(tmp_path, "init", "-q", ".")
    there = {"sovgate.yaml", "own/c.pub.pem"}
    assert {name for name in staged(tmp_path) if not name.endswith(".gitignore")} == there
    assert not list(tmp_path.glob("file:*"))
    assert checks(tmp_path) == []
    git(tmp_path, "add", "-f", "a.key")
    (tmp_path / "keys/.gitignore").unlink()
    assert sorted(checks(tmp_path, 3)) == [
        f"missing: {name}, a commitment key, is not ignored by Git"
        for name in (names[0], *sorted(names[1::2]))
    ]


@pytest.mark.parametrize("first", ["git", "keys"])
def test_what_a_clone_needs_to_trust_and_to_encrypt_is_staged(tmp_path: Path, first: str) -> None:
    """`keys/.gitignore` keeps all but public halves out; an exported half is one."""
    top = tmp_path / "ex"
    top.mkdir()
    if first == "git":
        git(top, "init", "-q", ".")
    (top / "sovgate.yaml").write_text(
        "version: 1\nmodel: ex\nzones:\n  eu:\n    region: aws-eusc:eusc-de-east-1\n"
        "    keys: {sign: keys/s.pem, encrypt: keys/e.pem, encrypt-public: keys/e.json}\n"
    )
    for use in ("sign", "encrypt"):
        sovgate("keys", "generate", use, "-o", f"keys/{use[0]}.pem", cwd=top)
    sovgate("keys", "export", "encrypt", "--zone", "eu", "-o", "keys/e.json", cwd=top)
    for name in ("trusted_root.json", "signing_config.json", "cloud-credentials.json"):
        (top / "keys" / name).write_text("{}")
    git(top, "init", "-q", ".")
    public = {"s.pub.pem", "e.pub.pem", "e.json", "trusted_root.json", "signing_config.json"}
    there = {name for name in staged(top) if name.startswith("keys/")}
    assert there == {"keys/.gitignore", *(f"keys/{name}" for name in public)}
    assert checks(top) == ["ok: 2 secret files, all ignored by Git"]


def test_a_half_that_git_ignores_by_anothers_rule_is_named(tmp_path: Path) -> None:
    top = repository(tmp_path / "ex", "*.json\n*.pem\n!*.pub.pem\n")
    sovgate("keys", "generate", "sign", "-o", "s.pem", cwd=top)
    (top / "sovgate.yaml").write_text(
        "version: 1\nmodel: ex\nzones:\n  eu:\n    region: aws-eusc:eusc-de-east-1\n"
        "    keys: {sign: s.pem, sign-public: s.json}\n"
    )
    words = ("keys", "export", "sign", "--zone", "eu", "-o", "s.json")
    said = str(sovgate(*words, cwd=top, text=True))
    assert "Git ignores s.json: add this line to .gitignore, and commit it: !/s.json" in said
    assert "warn: s.json is ignored by Git, and a clone of the project needs it" in checks(top)
    with (top / ".gitignore").open("a") as rules:
        rules.write("!/s.json\n")
    assert checks(top) == ["ok: 1 secret files, all ignored by Git"]


def test_another_ones_gitignore_is_not_changed_but_spoken_of(tmp_path: Path) -> None:
    top = repository(tmp_path / "ex", "build/\n")
    said = str(sovgate("keys", "generate", "sign", "-o", "a.pem", cwd=top, text=True))
    assert "Git does not ignore a.pem: add this line to .gitignore, and commit it: /a.pem" in said
    assert (top / ".gitignore").read_text() == "build/\n"


def test_a_name_that_git_tracks_already_is_said(tmp_path: Path) -> None:
    top = repository(tmp_path / "ex", None)
    (top / "a.pem").write_text("")
    git(top, "add", "a.pem")
    (top / "a.pem").unlink()
    said = str(sovgate("keys", "generate", "sign", "-o", "a.pem", cwd=top, text=True))
    assert "Git tracks a.pem: git rm --cached it" in said


def test_what_sovgate_keeps_for_itself_is_ignored_without_any_gitignore(tmp_path: Path) -> None:
    top = repository(tmp_path / "ex", "build/\n*.evidence/\nstores/\n")
    sovgate("init", ".", *LOCAL, cwd=top)
    (top / "build/model").mkdir(parents=True)
    (top / "build/model/weights.bin").write_bytes(b"weights")
    sovgate(
        "release",
        "build/model",
        "--release",
        "ex/1.0.0",
        "--dataset",
        "public-train",
        "--zone",
        "us-train",
        "--to",
        "eu",
        cwd=top,
    )
    assert (top / ".sovgate").is_dir()
    assert [name for name in staged(top) if name.startswith(".sovgate/")] == []
