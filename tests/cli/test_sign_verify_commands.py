"""`sovgate sign` and `sovgate verify` as a user runs them: what they print, write and refuse."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests import forked
from tests.signers import KeySigner

ROOT = Path(__file__).resolve().parents[2]
SIGNER, OTHER = KeySigner(), KeySigner()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, keys and a project, as the working directory."""
    (tmp_path / "churn" / "weights").mkdir(parents=True)
    (tmp_path / "churn" / "config.json").write_bytes(b"{}")
    (tmp_path / "churn" / "weights" / "a.bin").write_bytes(bytes(1000))
    for name, signer in (("sign", SIGNER), ("other", OTHER)):
        key = tmp_path / f"{name}.pem"
        key.touch(mode=0o600)
        key.write_bytes(signer.private_pem)
        (tmp_path / f"{name}.pub.pem").write_bytes(signer.public_key.pem)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "sovgate.yaml").write_text(
        "version: 1\nmodel: churn\nzones:\n"
        '  home: {region: "aws:us-east-1", keys: {sign: "file:../sign.pem"}}\n',
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return forked.SOVGATE.run(*arguments, env={**os.environ, **environment})


def ok(*arguments: str, **environment: str) -> str:
    done = run(*arguments, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(code: int, *arguments: str, **environment: str) -> str:
    done = run(*arguments, **environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_model_is_signed_beside_itself_and_verified(place: Path) -> None:
    text = ok("sign", "churn", "--key", "file:sign.pem")
    bundle = place / "churn.evidence" / "signature.sigstore.json"
    assert "signed churn" in text and str(bundle) in text
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o644
    assert sorted(p.name for p in (place / "churn").rglob("*")) == [
        "a.bin",
        "config.json",
        "weights",
    ]
    found = json.loads(ok("verify", "churn", "--key", "sign.pub.pem", "--format", "json"))
    assert (found["files"], found["bytes"]) == (2, 1002)
    assert found["manifest"] in text
    assert found["signer"]["key-id"] == SIGNER.public_key.key_id


def test_the_project_says_who_signs_and_who_is_trusted(place: Path) -> None:
    ok("sign", "churn", "--zone", "home", "--project", "project")
    assert "zone home" in ok("verify", "churn", "--project", "project")
    assert "no trusted signer" in refused(11, "verify", "churn", "--key", "other.pub.pem")


def test_a_changed_model_is_refused_by_name(place: Path) -> None:
    ok("sign", "churn", "--key", "sign.pem")
    (place / "churn" / "config.json").write_bytes(b"[ ]")
    (place / "churn" / "new").write_bytes(b"")
    text = refused(11, "verify", "churn", "--key", "sign.pub.pem")
    assert "changed: 'config.json'" in text and "not signed: 'new'" in text and "fix" in text


def test_signing_again_replaces_the_signature_and_nothing_else(place: Path) -> None:
    ok("sign", "churn", "--key", "sign.pem")
    (place / "churn" / "new").write_bytes(b"")
    assert "replaced" in ok("sign", "churn", "--key", "sign.pem")
    ok("verify", "churn", "--key", "sign.pub.pem")
    before = (place / "churn" / "config.json").read_bytes()
    text = refused(2, "sign", "churn", "--key", "sign.pem", "--signature", "churn/config.json")
    assert "is not the signature of a model" in text
    assert (place / "churn" / "config.json").read_bytes() == before
    # Evidence is a bundle too, and is not replaced.
    ok("sbom", "churn", "--key", "sign.pem")
    (evidence,) = (place / "churn.evidence").glob("sbom-*")
    before = evidence.read_bytes()
    text = refused(2, "sign", "churn", "--key", "sign.pem", "--signature", str(evidence))
    assert "signed statement of role sbom" in text
    assert evidence.read_bytes() == before


def test_a_failed_sign_leaves_nothing(place: Path) -> None:
    (place / "churn" / "link").symlink_to("config.json")
    refused(11, "sign", "churn", "--key", "sign.pem")
    refused(2, "sign", "churn", "--key", "nothing.pem")
    refused(2, "sign", "churn")
    refused(2, "sign", "nothing", "--key", "sign.pem")
    refused(3, "sign", "churn", "--key", "sign.pub.pem")
    assert sorted(path.name for path in place.iterdir()) == [
        "churn",
        "other.pem",
        "other.pub.pem",
        "project",
        "sign.pem",
        "sign.pub.pem",
    ]


def test_a_key_for_encryption_verifies_nothing(place: Path) -> None:
    ok("sign", "churn", "--key", "sign.pem")
    public = rsa.generate_private_key(65537, 3072).public_key()
    (place / "rsa.pem").write_bytes(
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    assert "rsa-3072" in refused(2, "verify", "churn", "--key", "rsa.pem")


def test_what_is_missing_is_said_with_its_fix(place: Path) -> None:
    assert "sovgate sign churn" in refused(2, "verify", "churn", "--key", "sign.pub.pem")
    ok("sign", "churn", "--key", "sign.pem")
    assert "--key" in refused(2, "verify", "churn")
    damaged = place / "churn.evidence" / "signature.sigstore.json"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert "get it again" in refused(11, "verify", "churn", "--key", "sign.pub.pem")


def test_the_key_to_sign_with_may_come_from_the_environment_the_trusted_one_never(
    place: Path,
) -> None:
    ok("sign", "churn", SOVGATE_SIGN_KEY="file:sign.pem")
    refused(2, "verify", "churn", SOVGATE_VERIFY_KEY="sign.pub.pem", SOVGATE_KEY="sign.pub.pem")


def test_rule_24_names_of_files_do_not_reach_the_terminal_raw(place: Path) -> None:
    (place / "churn" / "a\x1b[31mred").write_bytes(b"")
    text = refused(11, "sign", "churn", "--key", "sign.pem")
    assert "\x1b" not in text and "x1b[31mred" in text


def test_rule_29_a_private_key_is_never_repeated(place: Path) -> None:
    secret = (place / "sign.pem").read_text().splitlines()[1]
    ok("sign", "churn", "--key", "sign.pem")
    for verb in ("sign", "verify"):
        done = run(verb, "churn", "--key", "sign.pem", "-v")
        assert secret not in done.stdout + done.stderr


def test_rule_36_no_variable_names_another_project(place: Path) -> None:
    """One line in GITHUB_ENV must not replace everything that is trusted."""
    evil = place / "evil"
    evil.mkdir()
    (evil / "sovgate.yaml").write_text(
        "version: 1\nmodel: churn\nzones:\n"
        '  home: {region: "aws:us-east-1", keys: {sign: "file:../other.pem"}}\n',
        encoding="utf-8",
    )
    (place / "project" / "sovgate.yaml").rename(place / "sovgate.yaml")
    text = (place / "sovgate.yaml").read_text(encoding="utf-8")
    (place / "sovgate.yaml").write_text(text.replace("../sign.pem", "sign.pem"), encoding="utf-8")
    ok("sign", "churn", "--key", "file:other.pem")
    variables = {"SOVGATE_PROJECT": str(evil), "SOVGATE_VERIFY_PROJECT": str(evil)}
    refused(11, "verify", "churn")
    refused(11, "verify", "churn", **variables)
    ok("verify", "churn", "--project", str(evil))
    # Nor does one stand in where no project is here at all.
    (place / "sovgate.yaml").unlink()
    refused(2, "verify", "churn", **variables)
