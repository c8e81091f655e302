"""RULES 29, 38: no evidence and no message holds a secret, and none is lost among words."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import ConfigError, PolicyDenied
from sovgate.formats import dataset, disclosed
from sovgate.pipeline.rollout.rollback import rollback
from sovgate.stages import attest
from tests.crossing import Crossing, make_crossing

#: In two pieces, since a guard looks through this file too.
KUBE = "kind: " + "Config\nclusters: []\nusers:\n  token: abcdefgh12345678"
TOKEN = "ghp_" + "aB3dE6gH9j" * 3 + "kLmN0p"
PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    + base64.b64encode(bytes(range(48))).decode()
    + "\n-----END PRIVATE KEY-----\n"
)
COMMITMENT = base64.b64encode(bytes(range(32))).decode()
SAS = "https://a.blob.example/c/d.csv?sp=r&sv=2024-11-04&sr=b&sig=" + "Ab3%2F" * 8
S3 = "https://b.s3.example/d.csv?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=" + "a1" * 32
KEY = ("--key", "keys/home.pem")


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    return make_crossing(tmp_path / "project")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"parameters": {"hub_token": TOKEN}}, "a GitHub token in parameters.hub_token"),
        ({"parameters": {"pem": PEM}}, "a private key in parameters.pem"),
        ({"a": [{"pem": json.dumps({"key": PEM})}]}, "a private key in a.pem"),
        ({"a": {"aws_secret_access_key": "wJalrXUt" * 5}}, "an AWS secret key in a.aws_secret"),
        ({"a": {"WANDB_API_KEY": "0a" * 20}}, "a Weights & Biases key in a.WANDB_API_KEY"),
        ({"a": {"key": f"{COMMITMENT}\n"}}, "a commitment key in a.key"),
        ({"a": {f"x {TOKEN}": "1"}}, "a GitHub token in a"),
        ({"jwk": {"kty": "OKP", "crv": "Ed25519", "d": "a" * 43}}, "a private JSON Web Key"),
        ({"a": {"kube": KUBE}}, "Kube"),
        ({"url": "postgresql://user:hunter2@db.example/x"}, "a password or token in a URL in url"),
        ({"url": "https://" + "a1b2c3d4" * 4 + "@git.example/x"}, "a password or token in a URL"),
        ({"pointer": SAS}, " in pointer"),
        ({"pointer": S3}, "a password or token in a URL in pointer"),
        ({"pointer": "https://c.example/d?Expires=9&Signature=abc~def-ghi_&Key-Pair-Id=K"}, "URL"),
    ],
)
def test_rule_29_a_secret_in_evidence_is_found_and_not_quoted(value: Any, told: str) -> None:
    found = disclosed.in_value(value, commitments=True)
    assert found is not None
    assert told in found
    for secret in (TOKEN, "MDEC", COMMITMENT, "hunter2", "wJalr", "0a0a"):
        assert secret not in found
    bundle = json.dumps({"payload": base64.b64encode(json.dumps(value).encode()).decode()}).encode()
    if "commitment" not in told:
        for data in (bundle, bundle.decode().encode("utf-16"), bundle.decode().encode("utf-16-le")):
            assert disclosed.in_bundle(data) is not None


@pytest.mark.parametrize(
    "value",
    [
        {"parameters": {"pad_token": "<|endoftext|>", "max_tokens": "4096", "secret": "none"}},
        {"a": "git+https://git.example/x@0123456789abcdef0123456789abcdef01234567"},
        {"a": "ssh://git@git.example:22/x", "b": "docker://python:3.11@sha256:" + "ab" * 32},
        {
            "a": "oci://registry.example:5000/x:1@sha256:" + "ab" * 32,
            "b": "s3://bucket/x?versionId=3",
        },
        {"a": "https://user:$PASSWORD@h.example", "b": "https://<user>:<password>@h.example/"},
        {"a": "https://data.example/d.csv?version=2&signed=yes", "hash": "ab" * 32},
        {"a": "-----BEGIN PRIVATE KEY----- is the first line of a key"},
        {"a": "ask for a token: https://h.example/settings/token", "purl": "pkg:pypi/x@1?arch=any"},
    ],
)
def test_words_about_secrets_are_none(value: Any) -> None:
    assert disclosed.in_value(value, commitments=True) is None
    assert disclosed.in_bundle(json.dumps(value).encode()) is None
    text = json.dumps(value)
    assert disclosed.shown(text) == text


def test_rule_29_a_message_shows_no_credential(crossing: Crossing) -> None:
    """Whatever it quotes, on whichever way it came."""
    lines = (
        f"pkg @ git+https://{TOKEN}@git.example/pkg",
        "pkg @ https://user:hunter2x@git.example/pkg.tar.gz",
        f"pkg @ {SAS}",
    )
    for line in lines:
        (crossing.base / "req.txt").write_text(f"{line}\n")
        for form in ("text", "json"):
            code, text = crossing.run(
                "sbom", crossing.model, "-v", "--requirements", "req.txt", "--format", form
            )
            assert code == 2
            assert "pins" in text
            for secret in (TOKEN, "hunter2x", "Ab3%2F"):
                assert secret not in text
    for words in (("sign", lines[1][6:]), (f"https://user:hunter2x@{TOKEN}",)):
        code, text = crossing.run(*words)
        assert code == 2
        assert "hunter2x" not in text
        assert TOKEN not in text


@pytest.mark.parametrize(
    "pointer", [SAS, S3, "s3://AKIAX:secret1@bucket/x", f"https://h/{TOKEN}?a"]
)
def test_rule_29_a_pointer_that_opens_the_data_is_refused(pointer: str) -> None:
    text = f"version: 1\nid: kyc\ncategory: personal\npointer: {pointer}\nstays-in: [EU]\n"
    with pytest.raises(ConfigError) as caught:
        dataset.parse(text.encode(), "data/kyc.yaml")
    error = caught.value
    assert (error.reason, error.where and error.where.line) == ("secret-in-uri", 4)
    assert pointer[-12:] not in str(vars(error))


def test_rule_38_no_command_writes_evidence_that_holds_a_secret(crossing: Crossing) -> None:
    folder = attest.evidence_dir(crossing.model)
    before = sorted(folder.rglob("*"))
    for more in ((), KEY):
        told = ("--dataset", "public", "--parameter", f"hub_token={TOKEN}", *more)
        error = crossing.json("record", crossing.model, *told, code=10)["error"]
        assert error["reason"] == "no-secrets"
        assert "parameters.hub_token" in error["what"]
        assert TOKEN not in json.dumps(error)
        told = ("--license", f"see https://u:{TOKEN}@h/x", *more)
        error = crossing.json("sbom", crossing.model, *told, "-o", "bom.json", code=10)["error"]
        assert "the SBOM would hold a secret" in error["what"]
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "x": PEM}
    (crossing.base / "foreign.json").write_text(json.dumps(bom))
    said = ("attest", crossing.model, "foreign.json", "--type", "sbom", *KEY)
    assert "foreign.json holds a secret" in crossing.json(*said, code=10)["error"]["what"]
    assert not (crossing.base / "bom.json").exists()
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "reason",
    [
        f"the token {TOKEN} leaked",
        f"see https://u:{TOKEN}@h/incident",
        "see https://h/x?sig=" + "a1" * 20,
        "it was " + PEM.replace("\n", " "),
    ],
)
def test_rule_29_a_reason_that_is_signed_and_committed_holds_no_secret(reason: str) -> None:
    with pytest.raises(PolicyDenied) as caught:
        rollback(zone="eu", reason=reason)
    error = caught.value
    assert (error.reason, int(error.exit_code)) == ("no-secrets", 10)
    assert "the reason holds a secret: a" in error.what
    assert TOKEN not in str(vars(error))


@pytest.mark.parametrize("readable", [True, False])
def test_rule_38_evidence_with_a_secret_does_not_cross(crossing: Crossing, readable: bool) -> None:
    """One that was signed before, or that nobody here can read, and binds all the same."""
    found = next(attest.evidence_dir(crossing.model).glob("provenance-*"))
    bundle = json.loads(found.read_bytes())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    predicate = statement["predicate"]
    predicate["buildDefinition"]["externalParameters"]["parameters"] = {"hub_token": TOKEN}
    path = crossing.evidence("provenance", predicate)
    if not readable:
        path.write_bytes(path.read_bytes().replace(b'"payloadType"', b'"newer":1,"payloadType"'))
    for asked in (
        ("push", crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"),
        ("check", crossing.model, "--zone", "home", "--to", "eu"),
    ):
        said = crossing.json(*asked, code=10)
        assert TOKEN not in json.dumps(said)
        if readable or asked[0] == "push":
            assert said["error"]["reason"] == "no-secrets"
            assert path.name in said["error"]["what"]
    assert crossing.objects("releases/") == crossing.objects("chunks/") == []
    path.unlink()
    crossing.push()
