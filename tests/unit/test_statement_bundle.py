"""Envelope, bundle and statement: strict to read, one spelling to write, roles that stay apart."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate.errors import KeyServiceError, Malformed, SovgateError, VerificationFailed
from sovgate.formats.bundle import Bundle
from sovgate.formats.envelope import PAYLOAD_TYPE, pae
from sovgate.formats.statement import PREDICATE_TYPES, SPDX, Statement, role_of
from sovgate.stages.seal import seal
from sovgate.stages.trust import open_statement
from tests.signers import KeySigner

SIGNER = KeySigner()
TRUSTED = [SIGNER.trusted()]
GATE = PREDICATE_TYPES["gate"]


def statement(role: str = "gate", **predicate: Any) -> Statement:
    return Statement(
        subject_name="churn",
        subject_sha256="ab" * 32,
        predicate_type=PREDICATE_TYPES[role],
        predicate=predicate or {"result": "PASSED"},
    )


def foreign(payload: bytes, signer: KeySigner = SIGNER, **more: Any) -> dict[str, Any]:
    """A bundle as another tool spells it, signed by `signer`."""
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": signer.public_key.oms_hint}, **more},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {"sig": base64.b64encode(signer.sign(pae(PAYLOAD_TYPE, payload))).decode()}
            ],
        },
    }


def test_pae_is_that_of_dsse() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("é", b"") == "DSSEv1 2 é 0 ".encode()


@pytest.mark.parametrize("role", PREDICATE_TYPES)
def test_what_is_sealed_opens_in_its_role_and_in_no_other(role: str) -> None:
    data = seal(statement(role), SIGNER)
    verified = open_statement(data, TRUSTED, role=role)
    assert verified.statement == statement(role)
    assert (verified.role, verified.signer.name) == (role, "ci")
    assert verified.sha256 == hashlib.sha256(data).hexdigest()
    for other in set(PREDICATE_TYPES) - {role}:
        with pytest.raises(VerificationFailed) as caught:
            open_statement(data, TRUSTED, role=other)
        assert caught.value.reason == "wrong-role"
        with pytest.raises(VerificationFailed) as caught:
            open_statement(data, [SIGNER.trusted(other)])
        assert caught.value.reason == "untrusted-role"


def test_spdx_is_an_sbom_and_an_unknown_predicate_is_nothing() -> None:
    assert role_of(SPDX) == "sbom"
    payload = json.dumps(json.loads(statement().payload()) | {"predicateType": "https://x/v1"})
    with pytest.raises(VerificationFailed) as caught:
        open_statement(json.dumps(foreign(payload.encode())).encode(), TRUSTED)
    assert caught.value.reason == "unknown-predicate"


def test_emission_is_deterministic() -> None:
    bundle = Bundle.parse(seal(statement(), SIGNER))
    assert bundle.emit() == Bundle.parse(bundle.emit()).emit()
    assert statement(b=1, a="é").payload() == statement(a="é", b=1).payload()


def test_nobody_trusted_is_a_wrong_signer_and_an_empty_list_denies() -> None:
    data = seal(statement(), SIGNER)
    for trusted in ([], [KeySigner().trusted()], [KeySigner("p384").trusted()]):
        with pytest.raises(VerificationFailed) as caught:
            open_statement(data, trusted)
        assert caught.value.reason == "wrong-signer"


def test_rule_05_a_hint_counts_for_nothing() -> None:
    """A bundle that names a trusted key, but was signed by another, is refused; one that names
    another key is refused too, whoever signed it."""
    payload = json.dumps(json.loads(statement().payload())).encode()
    forged = foreign(payload, KeySigner())
    forged["verificationMaterial"]["publicKey"]["hint"] = SIGNER.public_key.oms_hint
    with pytest.raises(VerificationFailed) as caught:
        open_statement(json.dumps(forged).encode(), TRUSTED)
    assert caught.value.reason == "bad-signature"
    renamed = foreign(payload)
    renamed["verificationMaterial"]["publicKey"]["hint"] = KeySigner().public_key.oms_hint
    with pytest.raises(VerificationFailed) as caught:
        open_statement(json.dumps(renamed).encode(), TRUSTED)
    assert caught.value.reason == "wrong-hint"


def test_one_key_in_two_entries_speaks_for_the_entry_that_has_the_role() -> None:
    entries = [SIGNER.trusted("legal", name="dpo"), SIGNER.trusted("gate", name="ci", zone="eu")]
    verified = open_statement(seal(statement(), SIGNER), entries)
    assert (verified.signer.name, verified.signer.zone) == ("ci", "eu")


def test_other_tools_may_spell_freely_and_add_logs_and_timestamps() -> None:
    payload = json.dumps(json.loads(statement().payload()), indent=2).encode()
    hints = sorted(SIGNER.public_key.hints)
    assert len(hints) == 4
    for hint in hints:
        bundle = foreign(
            payload,
            tlogEntries=[{"logIndex": "1", "inclusionProof": {"hashes": []}}],
            timestampVerificationData={"rfc3161Timestamps": []},
        )
        bundle["verificationMaterial"]["publicKey"] = {
            "hint": hint,
            "rawBytes": "",
            "keyDetails": 5,
        }
        bundle["dsseEnvelope"]["signatures"][0]["keyid"] = ""
        verified = open_statement(json.dumps(bundle, indent=1).encode(), TRUSTED)
        assert verified.statement == statement()
    del bundle["verificationMaterial"]["publicKey"]["hint"]
    open_statement(json.dumps(bundle).encode(), TRUSTED)


def test_ours_has_one_spelling() -> None:
    """So that each byte of what we wrote counts, outside of the signed payload too."""
    data = seal(statement(), SIGNER)
    document = json.loads(data)
    for spelling in (
        data + b"\n",
        json.dumps(document).encode(),
        data.replace(b'"keyid":""', b'"keyid":"x"'),
        data.replace(b',"tlogEntries":[]', b""),
    ):
        assert spelling != data
        with pytest.raises(Malformed) as caught:
            open_statement(spelling, TRUSTED)
        assert caught.value.reason == "not-canonical"


def test_high_s_is_refused_in_all_but_foreign_oms_signatures() -> None:
    high = KeySigner("p256", SIGNER.private, high_s=True)
    payload = json.dumps(json.loads(statement().payload())).encode()
    with pytest.raises(VerificationFailed) as caught:
        open_statement(json.dumps(foreign(payload, high)).encode(), TRUSTED)
    assert caught.value.reason == "high-s"


def test_a_signer_that_errs_never_yields_a_bundle() -> None:
    high = KeySigner("p256", SIGNER.private, high_s=True)
    with pytest.raises(KeyServiceError) as caught:
        seal(statement(), high)
    assert caught.value.reason == "signer-fault"


def rejected(change: Any) -> str:
    bundle = foreign(json.dumps(json.loads(statement().payload())).encode())
    change(bundle)
    with pytest.raises(VerificationFailed) as caught:
        open_statement(json.dumps(bundle).encode(), TRUSTED)
    return caught.value.reason


def test_rule_03_a_bundle_is_closed() -> None:
    def put(*path: Any, value: Any) -> Any:
        def change(bundle: Any) -> None:
            for step in path[:-1]:
                bundle = bundle[step]
            bundle[path[-1]] = value

        return change

    envelope, material = "dsseEnvelope", "verificationMaterial"
    for change in (
        put("mediaType", value="application/vnd.dev.sigstore.bundle.v0.2+json"),
        put("messageSignature", value={}),
        put(envelope, "extra", value=1),
        put(envelope, "payloadType", value="application/json"),
        put(envelope, "payload", value="e30"),
        put(envelope, "payload", value=7),
        put(envelope, "signatures", 0, "extra", value=""),
        put(envelope, "signatures", 0, "sig", value="!!"),
        put(envelope, "signatures", value={}),
        put(material, "extra", value=1),
        put(material, "publicKey", "extra", value=1),
        put(material, "publicKey", "hint", value="\n"),
        put(material, "certificate", value={"rawBytes": ""}),
        put(material, value={}),
        put(material, value={"x509CertificateChain": {"certificates": []}}),
        put(material, "tlogEntries", value=[{}] * 65),
        put(envelope, value=[]),
    ):
        assert rejected(change) == "malformed"


def test_rule_05_two_signatures_or_none_are_refused() -> None:
    def twice(bundle: Any) -> None:
        bundle["dsseEnvelope"]["signatures"] *= 2

    def none(bundle: Any) -> None:
        bundle["dsseEnvelope"]["signatures"] = []

    assert rejected(twice) == rejected(none) == "signature-count"


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"subject": []},
        {"subject": [{"name": "a", "digest": {"sha256": "ab" * 32}}] * 2},
        {"subject": [{"name": "", "digest": {"sha256": "ab" * 32}}]},
        {"subject": [{"name": "a", "digest": {"sha256": "AB" * 32}}]},
        {"subject": [{"name": "a", "digest": {"sha256": "ab" * 32, "sha1": ""}}]},
        {"subject": [{"name": "a", "digest": {"sha256": "ab" * 32}, "uri": ""}]},
        {"predicate": []},
        {"predicate": None},
        {"predicate": {"score": 0.5}},
        {"predicateType": 5},
        {"extra": 1},
    ],
    ids=str,
)
def test_rule_03_a_statement_is_closed(change: dict[str, Any]) -> None:
    payload = json.dumps(json.loads(statement().payload()) | change).encode()
    with pytest.raises(Malformed):
        Statement.parse(payload)


def test_fractions_are_admitted_in_sboms() -> None:
    payload = json.loads(statement("sbom").payload()) | {"predicate": {"confidence": 0.5}}
    assert Statement.parse(json.dumps(payload).encode()).predicate == {"confidence": 0.5}


BUNDLE = seal(statement(), SIGNER)


@given(st.integers(0, len(BUNDLE) - 1), st.integers(0, 255), st.sampled_from("fad"))
def test_rule_03_any_changed_byte_of_a_bundle_is_refused(at: int, byte: int, how: str) -> None:
    if how == "f":
        changed = BUNDLE[:at] + bytes([byte]) + BUNDLE[at + 1 :]
    elif how == "a":
        changed = BUNDLE[:at] + bytes([byte]) + BUNDLE[at:]
    else:
        changed = BUNDLE[:at] + BUNDLE[at + 1 :]
    if changed != BUNDLE:
        with pytest.raises(VerificationFailed) as caught:
            open_statement(changed, TRUSTED)
        assert caught.value.reason in {
            "malformed",
            "not-canonical",
            "bad-signature",
            "wrong-signer",
            "wrong-hint",
        }


@given(st.binary(max_size=300))
def test_noise_is_refused_with_our_own_errors(noise: bytes) -> None:
    for read in (Bundle.parse, Statement.parse):
        with pytest.raises(SovgateError):
            read(noise)
