"""Wrong input of every kind: one clear message, its fix, its exit code, and never a traceback."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import forked

ROOT = Path(__file__).parent.parent.parent

PROJECT = """version: 1
model: churn
zones:
  home:
    region: aws:us-east-1
    keys: {sign: "file:keys/home.pem"}
  eu:
    region: aws-eusc:eusc-de-east-1
    store: file:store-eu
    keys: {sign: "file:keys/eu.pem", encrypt: "file:keys/eu-enc.pem"}
    gitops: {repo: no-such.git, path: overlays/eu}
datasets:
  free: {stays-in: []}
border:
  weights: {allow: [home -> eu]}
  metadata: {allow: [home -> eu]}
"""


@dataclass(frozen=True)
class Ran:
    code: int
    error: dict[str, object]
    stderr: str


def sovgate(
    folder: Path, *words: str, form: str = "json", limit: int | None = None, **environ: str
) -> Ran:
    more = {"obeys_modes": True} if limit is None else {"obeys_modes": True, "file_size": limit}
    given = {"PATH": os.environ["PATH"], **environ}
    done = forked.SOVGATE.run(*words, "--format", form, cwd=folder, env=given, **more)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    document = json.loads(done.stdout) if form == "json" and done.stdout else {}
    return Ran(done.returncode, document.get("error", {}), done.stderr)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that works: signed model, its record, pushed once."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "sovgate.yaml").write_text(PROJECT)
    (folder / "keys").mkdir()
    for kind, name in (("sign", "home"), ("sign", "eu"), ("encrypt", "eu-enc"), ("sign", "evil")):
        assert sovgate(folder, "keys", "generate", kind, "-o", f"keys/{name}.pem").code == 0
    (folder / "m").mkdir()
    (folder / "m" / "weights.bin").write_bytes(b"w" * 5000)
    assert sovgate(folder, "sign", "m", "--key", "file:keys/home.pem").code == 0
    record = ("record", "m", "--dataset", "free", "--key", "file:keys/home.pem")
    assert sovgate(folder, *record).code == 0
    push = sovgate(folder, *PUSH)
    assert push.code == 0, push
    return folder


PUSH = ("push", "m", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu")


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "p", symlinks=True)
    return tmp_path / "p"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("sign", "none", "--key", "file:keys/home.pem"), 2),
        (("sign", "m", "--key", "file:keys/none.pem"), 2),
        (("sign", "m", "--key", "nokms://x"), 3),
        (("sign", "m", "--key", "awskms://user:pw@host/key"), 3),
        (("sign", "m", "--key", "file:m/weights.bin"), 3),
        (("sign", "m"), 2),
        (("sign",), 2),
        (("sign", "", "--key", "file:keys/home.pem"), 2),
        (("verify", "", "--key", "keys/home.pub.pem"), 2),
        (("sbom", "m", "-o", ""), 2),
        (("verify", "m", "--key", "keys/none.pem"), 2),
        (("verify", "m", "--key", "keys/evil.pub.pem"), 11),
        (("verify", "m", "--signature", "none.json", "--key", "keys/home.pub.pem"), 2),
        (("verify", "m", "--signature", "sovgate.yaml", "--key", "keys/home.pub.pem"), 11),
        (("record", "m", "--dataset", "fre"), 3),
        (("record", "m"), 2),
        (("check", "m", "--action", "transfer", "--zone", "home", "--to", "ue"), 3),
        (("check", "m", "--action", "fly", "--zone", "home", "--to", "eu"), 2),
        (("check", "m", "--action", "transfer", "--to", "eu"), 3),
        (("encrypt", "m", "--to", "eu", "-o", "m"), 2),
        (("encrypt", "m", "--to", "home", "-o", "out"), 3),
        (("encrypt", "m", "--to", "eu", "--release", "../x", "-o", "out"), 2),
        (("decrypt", "m", "--zone", "eu", "-o", "out"), 2),
        (("decrypt", "none", "--zone", "eu", "-o", "out"), 2),
        (("push", "m", "--release", "Churn/1", "--zone", "home", "--to", "eu"), 2),
        (("push", "m", "--release", "other/1", "--zone", "home", "--to", "eu"), 2),
        (("push", "m", "--release", "churn/1.0.1", "--to", "eu"), 3),
        (("push", "m", "--release", "churn/1.0.1", "--zone", "home", "--to", "mars"), 3),
        (("push", "m", "--release", "churn/1.0.1", "--zone", "eu", "--to", "home"), 3),
        (("pull", "churn/9.9.9", "--zone", "eu", "-o", "out"), 21),
        (("pull", "churn", "--zone", "eu", "-o", "out"), 2),
        (("pull", f"churn/1.0.0@sha256:{'0' * 64}", "--zone", "eu", "-o", "out"), 11),
        (("pull", "churn/1.0.0", "--zone", "home", "-o", "out"), 3),
        (("pull", "churn/1.0.0", "--zone", "eu", "-o", "keys"), 2),
        (("promote", "churn/9.9.9", "--zone", "eu"), 21),
        (("audit", "verify", "--zone", "mars"), 3),
        (("audit", "verify", "--zone", "eu", "--against", "xyz"), 2),
        (("lint", "none"), 2),
        (("regions", "show", "aws:mars-1"), 2),
        (("keys", "show", "keys/none.pem"), 2),
        (("keys", "generate", "sign", "-o", "keys/home.pem"), 2),
        (("keys", "generate", "sign", "-o", "k.pem", "--algorithm", "rsa-512"), 2),
        (("policy", "test", "none"), 2),
        (("nonsense",), 2),
        (("sign", "--nonsense"), 2),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else None,
)
def test_one_clear_message_with_its_exit_code(
    project: Path, words: tuple[str, ...], code: int
) -> None:
    ran = sovgate(project, *words)
    assert ran.code == code, ran
    assert ran.error["what"], ran
    assert ran.error["fix"] or ran.error["why"], ran
    text = sovgate(project, *words, form="text")
    assert text.code == code
    assert text.stderr.startswith("✗ ")
    assert len(text.stderr.splitlines()) <= 12
    assert "user:pw" not in text.stderr


def test_promote_without_its_remote_is_git(project: Path) -> None:
    assert sovgate(project, "pull", "churn/1.0.0", "--zone", "eu", "-o", "got").code == 0
    ran = sovgate(project, "promote", "churn/1.0.0", "--zone", "eu")
    assert ran.code in (3, 23), ran
    assert ran.error["fix"]


@pytest.mark.parametrize(
    "text", ["a: [", "version: 1\nversion: 1\n", "", "version: 3\n", "[1]", "\x00", "a: &x b\n"]
)
def test_bad_yaml_is_configuration_with_its_line(project: Path, text: str) -> None:
    (project / "sovgate.yaml").write_text(text)
    ran = sovgate(project, *PUSH)
    assert ran.code == 3, ran
    assert ran.error["where"]["path"].endswith("sovgate.yaml"), ran  # type: ignore[index]


def test_a_damaged_key_is_configuration_and_stays_out_of_the_message(project: Path) -> None:
    key = project / "keys" / "home.pem"
    lines = key.read_text().splitlines()
    key.write_text("\n".join([lines[0], lines[1][:-4], *lines[2:]]))
    for words in (("sign", "m", "--key", "file:keys/home.pem"), PUSH):
        ran = sovgate(project, *words)
        assert ran.code in (3, 20), ran
        assert lines[1][:20] not in json.dumps(ran.error) + ran.stderr


def test_another_zones_key_cannot_open_and_says_so(project: Path) -> None:
    assert sovgate(project, "keys", "generate", "encrypt", "-o", "keys/other.pem").code == 0
    text = PROJECT.replace("keys/eu-enc.pem", "keys/other.pem")
    (project / "sovgate.yaml").write_text(text)
    ran = sovgate(project, "pull", "churn/1.0.0", "--zone", "eu", "-o", "out")
    assert ran.code == 20, ran
    assert not (project / "out").exists()


def test_a_full_disk_is_24_and_leaves_nothing_half(project: Path) -> None:
    (project / "m" / "weights.bin").write_bytes(b"w" * 3_000_000)
    shutil.rmtree(project / "m.evidence")
    assert sovgate(project, "sign", "m", "--key", "file:keys/home.pem").code == 0
    ran = sovgate(project, "encrypt", "m", "--to", "eu", "-o", "out", limit=1_000_000)
    assert ran.code == 24, ran
    assert not (project / "out").exists()
    assert not [p for p in project.iterdir() if p.name.startswith(".out")]


@pytest.mark.parametrize("name", ["m/weights.bin", "m", "m.evidence/signature.sigstore.json"])
def test_no_permission_to_read_is_24(project: Path, name: str) -> None:
    path = project / name
    mode = path.stat().st_mode
    path.chmod(0)
    ran = sovgate(project, "verify", "m", "--key", "keys/home.pub.pem")
    path.chmod(mode)
    assert ran.code == 24, ran


@pytest.mark.parametrize("mode", [0o000, 0o666])
def test_a_zones_key_whose_mode_is_wrong_is_24_at_its_line(project: Path, mode: int) -> None:
    (project / "keys" / "home.pem").chmod(mode)
    ran = sovgate(project, "sign", "m", "--zone", "home")
    (project / "keys" / "home.pem").chmod(0o600)
    assert ran.code == 24, ran
    assert ran.error["where"] == {"path": "sovgate.yaml", "line": 6, "column": 12}


def test_no_permission_to_write_is_24_and_leaves_nothing(project: Path) -> None:
    project.chmod(0o500)
    ran = sovgate(project, "encrypt", "m", "--to", "eu", "-o", "out")
    project.chmod(0o700)
    assert ran.code == 24, ran
    assert not (project / "out").exists()


@pytest.mark.parametrize("words", [(*PUSH[:2], "--release", "churn/1.0.1", *PUSH[4:])])
def test_a_store_that_may_not_be_written_is_21(project: Path, words: tuple[str, ...]) -> None:
    for folder in [project / "store-eu", *(project / "store-eu").rglob("*")]:
        if folder.is_dir():
            folder.chmod(0o500)
    ran = sovgate(project, *words)
    for folder in [project / "store-eu", *(project / "store-eu").rglob("*")]:
        if folder.is_dir():
            folder.chmod(0o700)
    assert ran.code in (21, 24), ran
    assert not (project / "store-eu" / "releases" / "churn" / "1.0.1.json").exists()


def test_an_option_comes_from_the_environment_and_the_specific_name_wins(project: Path) -> None:
    words = ("push", "m", "--release", "churn/1.0.0", "--to", "eu")
    assert sovgate(project, *words, SOVGATE_ZONE="home").code == 0
    assert sovgate(project, *words, SOVGATE_ZONE="mars", SOVGATE_PUSH_ZONE="home").code == 0
    assert sovgate(project, *words, SOVGATE_PUSH_ZONE="mars", SOVGATE_ZONE="home").code == 3


def test_an_encrypted_copy_that_cannot_be_used_is_named_with_what_helps(project: Path) -> None:
    release = ("--release", "churn/1.0.5")
    assert sovgate(project, "encrypt", "m", "--to", "eu", *release, "-o", "sealed").code == 0
    inner = sovgate(project, "push", "sealed/eu", *release, "--zone", "home", "--to", "eu")
    assert inner.code == 2
    assert str(inner.error["fix"]).endswith("-o wrote: sealed")
    record = project / "sealed" / "eu" / "sealed.json"
    record.write_bytes(record.read_bytes() + b"x")
    damaged = sovgate(project, "decrypt", "sealed", "--zone", "eu", "-o", "out")
    assert damaged.code == 11
    assert "sealed/eu/sealed.json" in str(damaged.error["what"])
    assert damaged.error["fix"]
    assert sovgate(project, "push", "sealed", *release, "--zone", "home", "--to", "eu").code == 11


def test_a_fix_names_only_options_that_the_command_has(project: Path) -> None:
    by_key = sovgate(project, "verify", "m", "--key", "keys/evil.pub.pem")
    assert "--key" in str(by_key.error["fix"])
    shutil.rmtree(project / "m.evidence")
    unsigned = sovgate(project, "encrypt", "m", "--to", "eu", "-o", "out")
    assert str(unsigned.error["fix"]).startswith("sign it: sovgate sign m --key")
    (project / "m").rename(project / "my model")
    spaced = sovgate(project, "encrypt", "my model", "--to", "eu", "-o", "out")
    assert str(spaced.error["fix"]).startswith("sign it: sovgate sign 'my model' --key")
    (project / "my model").rename(project / "m")
    assert sovgate(project, "sign", "m", "--key", "keys/evil.pem").code == 0
    by_trust = sovgate(
        project, "push", "m", "--release", "churn/1.0.6", "--zone", "home", "--to", "eu"
    )
    assert by_trust.error["reason"] == "wrong-signer"
    assert "--key" not in str(by_trust.error["fix"])
