"""Public keys: one spelling, few algorithms, and signatures that nobody can restate."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils

from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats.spki import PublicKey, low_s
from tests.signers import CURVES, KeySigner

DER = serialization.Encoding.DER
PEM = serialization.Encoding.PEM
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.mark.parametrize("curve", CURVES)
def test_a_key_reads_the_same_from_pem_and_der(curve: str) -> None:
    signer = KeySigner(curve)
    der = signer.private.public_key().public_bytes(DER, SPKI)
    pem = signer.private.public_key().public_bytes(PEM, SPKI)
    key = PublicKey.from_pem(pem)
    assert key == PublicKey.from_der(der) == PublicKey.from_pem(b"\n" + pem.replace(b"\n", b"\r\n"))
    assert (key.der, key.pem) == (der, pem)
    assert key.key_id == hashlib.sha256(der).hexdigest()
    assert key.oms_hint == hashlib.sha256(pem).hexdigest()
    assert key.algorithm.startswith(f"ecdsa-{curve}")


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_rsa_keys_wrap_but_verify_nothing(bits: int) -> None:
    private = rsa.generate_private_key(65537, bits)
    key = PublicKey.from_der(private.public_key().public_bytes(DER, SPKI))
    assert key.algorithm == f"rsa-{bits}"
    with pytest.raises(VerificationFailed) as caught:
        key.verify(b"m", b"s")
    assert caught.value.reason == "unsupported-key"


def test_other_algorithms_are_refused() -> None:
    others = [
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.SECP224R1()),
        rsa.generate_private_key(65537, 1024),  # noqa: S505
        rsa.generate_private_key(3, 2048),
    ]
    for private in others:
        with pytest.raises(Malformed):
            PublicKey.from_der(private.public_key().public_bytes(DER, SPKI))


def test_a_key_has_one_spelling() -> None:
    """Otherwise one key could count as two (RULES 5)."""
    public = KeySigner().private.public_key()
    der = public.public_bytes(DER, SPKI)
    point = public.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )
    compressed = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + point
    for spelling in (compressed, der + b"\0", der[:-1], b"", b"\x30"):
        with pytest.raises(Malformed):
            PublicKey.from_der(spelling)


def test_a_point_off_its_curve_is_refused() -> None:
    der = bytearray(KeySigner().public_key.der)
    der[-1] ^= 1
    with pytest.raises(Malformed):
        PublicKey.from_der(bytes(der))


def test_a_private_key_or_certificate_is_not_a_public_key_and_is_not_repeated() -> None:
    signer = KeySigner()
    for text in (signer.private_pem, b"-----BEGIN CERTIFICATE-----\n", b"", b"x" * 100_000):
        with pytest.raises(Malformed) as caught:
            PublicKey.from_pem(text)
        assert "MIG" not in f"{caught.value.what}{caught.value.why}{caught.value.fix}"
    two = signer.public_key.pem + KeySigner().public_key.pem
    with pytest.raises(Malformed):
        PublicKey.from_pem(two)


@pytest.mark.parametrize("curve", CURVES)
def test_high_s_is_refused_unless_it_is_admitted(curve: str) -> None:
    signer = KeySigner(curve)
    signature = signer.sign(b"message")
    signer.public_key.verify(b"message", signature)
    high = KeySigner(curve, signer.private, high_s=True).sign(b"message")
    signer.public_key.verify(b"message", high, low_s=False)
    with pytest.raises(VerificationFailed) as caught:
        signer.public_key.verify(b"message", high)
    assert caught.value.reason == "high-s"
    signer.public_key.verify(b"message", low_s(high, signer.public_key.algorithm))


@pytest.mark.parametrize("curve", CURVES)
def test_a_wrong_signature_is_refused(curve: str) -> None:
    signer = KeySigner(curve)
    signature = signer.sign(b"message")
    r, s = utils.decode_dss_signature(signature)
    padded = b"\x30" + bytes([signature[1] + 1]) + b"\x02" + bytes([signature[3] + 1]) + b"\0"
    order = CURVES[curve][2]
    wrong = [
        b"",
        signature + b"\0",
        signature[:-1],
        padded + signature[4:],
        utils.encode_dss_signature(0, s),
        utils.encode_dss_signature(r, 0),
        utils.encode_dss_signature(r, s + order),
        KeySigner(curve).sign(b"message"),
    ]
    for other in wrong:
        with pytest.raises(VerificationFailed) as caught:
            signer.public_key.verify(b"message", other, low_s=False)
        assert caught.value.reason == "bad-signature"
    with pytest.raises(VerificationFailed):
        signer.public_key.verify(b"massage", signature)
