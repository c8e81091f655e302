"""Bundles that nobody trusted signed: what the error says of them, intact or damaged."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sovgate.errors import VerificationFailed
from sovgate.formats.oms import Oms
from sovgate.stages import inventory
from sovgate.stages.seal import seal
from sovgate.stages.trust import Trusted, open_statement
from tests.certificates import issue
from tests.signers import KeySigner

SIGNER, OURS = KeySigner(), KeySigner()
ROOT_KEY = KeySigner("p384")
LEAF = issue("leaf", SIGNER, "root", ROOT_KEY)


@pytest.fixture
def bundle(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "w").write_bytes(b"w")
    oms = Oms.of(inventory.take(tmp_path).manifest, subject_name="m")
    plain = replace(oms, items=tuple(replace(item, size=None) for item in oms.items))
    made: dict[str, Any] = json.loads(seal(plain.statement(), SIGNER))
    return made


def said(bundle: dict[str, Any], *trusted: Trusted) -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        open_statement(json.dumps(bundle).encode(), trusted or (OURS.trusted("signature"),))
    return caught.value


def key(bundle: dict[str, Any]) -> None:
    raw = base64.b64encode(SIGNER.public_key.pem).decode()
    bundle["verificationMaterial"] = {"publicKey": {"rawBytes": raw}}


def chain(bundle: dict[str, Any]) -> None:
    der = base64.b64encode(LEAF.public_bytes(Encoding.DER)).decode()
    bundle["verificationMaterial"] = {"x509CertificateChain": {"certificates": [{"rawBytes": der}]}}


def keyless(bundle: dict[str, Any]) -> None:
    der = base64.b64encode(LEAF.public_bytes(Encoding.DER)).decode()
    material = {"certificate": {"rawBytes": der}, "tlogEntries": [{"logIndex": "1"}]}
    bundle["verificationMaterial"] = material


@pytest.mark.parametrize(
    ("material", "words"),
    [
        (key, SIGNER.public_key.key_id[:16]),
        (chain, "the certificate of 'dpo@bank.example', issued by 'CN=root'"),
        (keyless, "the keyless signer 'dpo@bank.example', issued by 'CN=root'"),
    ],
    ids=["key", "chain", "keyless"],  # a key id is another one in each worker of pytest
)
def test_an_intact_bundle_of_somebody_else_is_told_from_a_damaged_one(
    bundle: dict[str, Any], material: Callable[[dict[str, Any]], None], words: str
) -> None:
    material(bundle)
    error = said(bundle)
    assert error.reason == "wrong-signer"
    assert "the signature is intact" in str(error.why)
    assert words in str(error.why)
    assert ("keyless: " in str(error.fix) or "identity" in str(error.fix)) == (material is keyless)
    envelope = bundle["dsseEnvelope"]
    text = base64.b64decode(envelope["payload"]).replace(b'"m"', b'"n"')
    envelope["payload"] = base64.b64encode(text).decode()
    error = said(bundle)
    assert error.reason == "bad-signature"
    assert "it was changed since" in str(error.why)
    assert words in str(error.why)


def test_a_keyless_certificate_is_believed_by_no_root_of_another_kind(
    bundle: dict[str, Any],
) -> None:
    """Whoever holds the bundle can write any entry of a log into it."""
    from sovgate.formats.x509 import CertificateRule, root_from_pem

    der, root = root_from_pem(
        issue("root", ROOT_KEY, "root", ROOT_KEY, ca=True).public_bytes(Encoding.PEM)
    )
    by_root = Trusted(
        name="bank",
        key=root,
        may=frozenset({"signature"}),
        certificate=CertificateRule(root=der, san="dpo@bank.example"),
    )
    chain(bundle)
    assert open_statement(json.dumps(bundle).encode(), [by_root]).signer.name == "bank"
    keyless(bundle)
    error = said(bundle, by_root)
    assert error.reason == "wrong-signer"
    assert "add to `trust` in sovgate.yaml" in str(error.fix)
    # A key that is trusted by itself needs no log.
    assert open_statement(json.dumps(bundle).encode(), [SIGNER.trusted("signature")])
    for entries, why in (
        ([], "no-log-entry"),
        ([{}], "no-log-entry"),
        (None, "malformed"),
        ([1], "no-log-entry"),
        ([{}, {}], "no-log-entry"),
    ):
        bundle["verificationMaterial"]["tlogEntries"] = entries
        assert said(bundle, by_root, SIGNER.trusted("signature")).reason == why


def test_a_bundle_that_carries_no_key_is_called_neither(bundle: dict[str, Any]) -> None:
    error = said(bundle)
    assert error.reason == "wrong-signer"
    assert f"it is by a key that it calls {SIGNER.public_key.oms_hint[:16]}" in str(error.why)
    bundle["verificationMaterial"]["publicKey"] = {}
    assert "it is by a key that it does not name" in str(said(bundle).why)


def test_a_key_or_certificate_that_cannot_be_read_is_said_to_be_so(bundle: dict[str, Any]) -> None:
    key(bundle)
    bundle["verificationMaterial"]["publicKey"]["rawBytes"] = "AAAA"
    assert "a key of a kind that is not known here" in str(said(bundle).why)
    chain(bundle)
    bundle["verificationMaterial"]["x509CertificateChain"]["certificates"][0]["rawBytes"] = "AAAA"
    assert said(bundle).reason == "wrong-signer"
    assert "a certificate that cannot be read" in str(said(bundle).why)


def test_the_format_before_1_0_is_named(bundle: dict[str, Any]) -> None:
    old = json.dumps({"predicateType": "https://model_signing/Digests/v0.1"}).encode()
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(old).decode()
    assert said(bundle).reason == "unknown-predicate"
    # Not even where the key is trusted, since it signed something else.
    assert said(bundle, SIGNER.trusted("signature")).reason in (
        "unknown-predicate",
        "bad-signature",
    )


@pytest.mark.parametrize("role", ["gate", "legal", "transfer"])
def test_no_statement_of_another_role_may_be_spelled_as_freely(role: str) -> None:
    """RULES 3, 43: what OMS tolerates of signatures is tolerated of nothing else."""
    from sovgate.formats.statement import PREDICATE_TYPES, Statement

    statement = Statement(
        subject_name="m",
        subject_sha256="ab" * 32,
        predicate_type=PREDICATE_TYPES[role],
        predicate={"x": "y"},
    )
    trusted = SIGNER.trusted(role)
    loose = json.loads(seal(statement, SIGNER))
    loose["dsseEnvelope"]["payload"] = base64.b64encode(
        json.dumps(json.loads(statement.payload()), indent=1).encode()
    ).decode()
    message = base64.b64decode(loose["dsseEnvelope"]["payload"])
    from sovgate.formats.envelope import PAYLOAD_TYPE, pae

    signature = SIGNER.sign(pae(PAYLOAD_TYPE, message))
    loose["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    assert open_statement(json.dumps(loose).encode(), [trusted])
    for change in (
        lambda d: d["dsseEnvelope"]["signatures"][0].update(keyid=None),
        lambda d: d.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"),
    ):
        other = json.loads(json.dumps(loose))
        change(other)
        assert said(other, trusted).reason == "malformed"
