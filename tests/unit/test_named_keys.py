"""What the project file calls a key is looked at before a run: kind, half, and whose it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sovgate.config import read
from sovgate.errors import ConfigError
from sovgate.formats.spki import PublicKey
from sovgate.pipeline.named_keys import misused, refuse_misused
from tests import commands
from tests.crossing import Crossing, make_crossing
from tests.signers import KeySigner

PROJECT = """\
version: 1
model: churn
zones:
  us:
    region: aws:us-east-1
    keys: {sign-public: us-sign, encrypt-public: us}
  eu:
    region: aws-eusc:eusc-de-east-1
    keys: {sign-public: eu-sign, encrypt-public: eu}
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Public halves of four keys, with one in DER's other clothes, and of kinds that do not fit."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("us-sign", "us", "eu-sign", "eu"):
        (folder / name).write_bytes(KeySigner().public_key.pem)
    (folder / "copy-of-us").write_bytes(b"# us\n" + (folder / "us").read_bytes())
    (folder / "p384").write_bytes(KeySigner(curve="p384").public_key.pem)
    private = rsa.generate_private_key(65537, 2048)
    der = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "rsa").write_bytes(PublicKey.from_der(der).pem)
    (folder / "secret.pem").touch(mode=0o600)
    (folder / "secret.pem").write_bytes(KeySigner().private_pem)
    (folder / "junk").write_text("-----BEGIN PUBLIC KEY-----\n")
    return folder


def told(keys: Path, *changes: tuple[str, str], more: str = "") -> list[tuple[str, int | None]]:
    text = PROJECT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (keys / "sovgate.yaml").write_text(text + more)
    found = list(misused(read(keys / "sovgate.yaml")))
    assert all(error.what and error.why and error.fix for error in found)
    return [(error.reason, error.where and error.where.line) for error in found]


@pytest.mark.parametrize(
    ("old", "new", "reason", "line"),
    [
        ("sign-public: eu-sign", "sign-public: rsa", "unsupported-key-use", 9),
        ("sign-public: us-sign", "sign-public: secret.pem", "private-half", 6),
        ("sign-public: us-sign", "sign-public: junk", "bad-key", 6),
        ("encrypt-public: eu}", "encrypt-public: p384}", "unsupported-key-use", 9),
        ("encrypt-public: eu}", "encrypt-public: eu-sign}", "shared-key", 9),
        ("encrypt-public: eu}", "encrypt-public: us-sign}", "shared-key", 9),
        ("encrypt-public: eu}", 'encrypt-public: "file:copy-of-us"}', "shared-key", 9),
        ("encrypt-public: eu}", "encrypt-public: secret.pem}", "private-half", 9),
        ("sign-public: us-sign, encrypt-public: us", "sign: rsa", "unsupported-key-use", 6),
    ],
)
def test_a_key_that_cannot_work_where_it_is_named(
    keys: Path, old: str, new: str, reason: str, line: int
) -> None:
    assert told(keys) == []
    assert told(keys, (old, new)) == [(reason, line)]
    if reason in ("unsupported-key-use", "shared-key"):
        with pytest.raises(ConfigError):
            refuse_misused(read(keys / "sovgate.yaml"))


def test_one_key_is_as_many_uses_as_are_named(keys: Path) -> None:
    """A key may sign for several zones, and `trust` names those of zones again."""
    trust = "trust:\n" + "".join(
        f"  - {{name: {name}, key: {key}, may: [signature], from: {zone}}}\n"
        for name, key, zone in (("a", "us-sign", "us"), ("b", "us-sign", "eu"))
    )
    assert told(keys, more=trust) == []
    assert told(keys, ("sign-public: eu-sign", "sign-public: us-sign")) == []
    assert told(keys, more=trust.replace("us-sign, may", "us, may", 1)) == [("shared-key", 11)]
    assert told(keys, more=trust.replace("us-sign, may", "rsa, may", 1)) == [
        ("unsupported-key-use", 11)
    ]
    gone = (("sign-public: eu-sign", "sign-public: nowhere"),)
    assert told(keys, *gone) == []  # `missing-file` says it
    kms = 'encrypt-public: "awskms:///arn:aws:kms:us-east-1:111122223333:alias/a"}'
    assert told(keys, ("encrypt-public: us}", kms)) == []


def test_the_fix_of_a_private_half_makes_the_public_one(keys: Path) -> None:
    assert told(keys, ("sign-public: us-sign", "sign-public: secret.pem"))
    done = commands.run("lint", "--format", "json", cwd=keys)
    assert done.returncode == 3
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["rule"], finding["line"]) == ("private-half", 6)
    *words, out = finding["fix"].split("made by: sovgate ")[1].split()
    try:
        assert commands.run(*words, out, cwd=keys).returncode == 0
        assert told(keys, ("sign-public: us-sign", f"sign-public: {out}")) == []
    finally:
        (keys / out).unlink(missing_ok=True)


def test_nothing_crosses_with_a_key_that_is_anothers(tmp_path: Path) -> None:
    """The version would be spent on what nobody can open."""
    crossing: Crossing = make_crossing(tmp_path / "project")
    (crossing.base / "keys/eu-enc.pub.pem").write_bytes(
        (crossing.base / "keys/home.pub.pem").read_bytes()
    )
    for words in (
        ("push", crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"),
        ("pull", "churn/1.0.0", "--zone", "eu", "-o", "got"),
        ("encrypt", crossing.model, "--to", "eu", "-o", "sealed"),
    ):
        code, said = crossing.run(*words)
        assert code == 3, said
        assert "is the same key as zones.home.keys.sign" in " ".join(said.split())
    assert not (crossing.base / "eu-store").exists()
    doctor = crossing.json("doctor", code=3)["checks"]
    assert [one["status"] for one in doctor if one["name"] == "lint"] == ["missing"]
