"""What all key adapters share, against services that give something else than they should."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sovgate.errors import ConfigError, KeyServiceError, SovgateError, VerificationFailed
from sovgate.formats.spki import _CURVES, PublicKey, from_raw, hash_name
from sovgate.keys import _answers
from sovgate.keys._crypto import (
    BoundIdentity,
    BoundRecipient,
    Held,
    OaepIdentity,
    OaepRecipient,
    ServiceSigner,
    public_from,
)

CURVES = {
    "ecdsa-p256-sha256": ec.SECP256R1(),
    "ecdsa-p384-sha384": ec.SECP384R1(),
    "ecdsa-p521-sha512": ec.SECP521R1(),
}


def public(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> PublicKey:
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return PublicKey.from_der(key.public_key().public_bytes(*form))


def held(half: PublicKey | None) -> Held:
    return Held(name="a key", canonical="a:key", public=half)


@pytest.mark.parametrize("algorithm", CURVES)
@pytest.mark.parametrize("raw", [True, False])
def test_any_form_of_a_good_signature_becomes_the_one_that_is_ours(
    algorithm: str, raw: bool
) -> None:
    key = ec.generate_private_key(CURVES[algorithm])
    order = _CURVES[algorithm].order
    size = (order.bit_length() + 7) // 8

    def sign(digest: bytes) -> bytes:
        method = ec.ECDSA(utils.Prehashed(getattr(hashes, hash_name(algorithm).upper())()))
        r, s = utils.decode_dss_signature(key.sign(digest, method))
        s = max(s, order - s)  # as a service that does not care gives it half of the time
        return r.to_bytes(size) + s.to_bytes(size) if raw else utils.encode_dss_signature(r, s)

    signer = ServiceSigner(held(public(key)), sign, raw=raw)
    signature = signer.sign(b"message")
    public(key).verify(b"message", signature)
    assert signer.certificates == ()
    assert signer.canonical == "a:key"


@pytest.mark.parametrize(
    "given", [b"", b"x", b"\x00" * 64, b"\x30\x06\x02\x01\x01\x02\x01\x01", b"\x30" * 5000]
)
@pytest.mark.parametrize("raw", [True, False])
def test_what_does_not_verify_is_not_given_on(given: bytes, raw: bool) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(KeyServiceError) as caught:
        ServiceSigner(held(public(key)), lambda _: given, raw=raw).sign(b"message")
    assert caught.value.reason == "bad-signature"
    assert caught.value.exit_code == 20


def test_a_raw_signature_has_the_length_of_its_curve() -> None:
    with pytest.raises(ValueError, match="63 bytes, not 64"):
        from_raw(b"\x01" * 63, "ecdsa-p256-sha256")


def test_a_key_of_another_kind_is_3() -> None:
    small = rsa.generate_private_key(65537, 2048)
    curve = ec.generate_private_key(ec.SECP256R1())
    for attempt in (
        lambda: ServiceSigner(held(public(small)), bytes),
        lambda: ServiceSigner(held(None), bytes),
        lambda: OaepRecipient(held(public(curve))),
        lambda: OaepIdentity(held(None), bytes),
    ):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert caught.value.reason == "unsupported-key-use"


def _turned(key: bytes) -> bytes:
    return bytes(byte ^ 255 for byte in key)


def test_a_bound_key_comes_back_and_nothing_of_another_length() -> None:
    recipient = BoundRecipient(held(None), "x", lambda key, context: context + _turned(key))
    identity = BoundIdentity(held(None), "x", lambda wrapped, _: _turned(wrapped[3:]))
    assert identity.unwrap(recipient.wrap(bytes(32), b"ctx"), b"ctx") == bytes(32)
    plain = BoundRecipient(held(None), "x", lambda key, context: context + key)
    with pytest.raises(KeyServiceError) as refused:
        plain.wrap(bytes(32), b"ctx")
    assert refused.value.reason == "bad-answer"
    assert (recipient.key_id, recipient.algorithm) == ("a key", "x")
    with pytest.raises(VerificationFailed):
        identity.unwrap(b"ctx" + bytes(31), b"ctx")
    for size in (0, 6145):
        with pytest.raises(KeyServiceError) as caught:
            BoundRecipient(held(None), "x", lambda *_, n=size: bytes(n)).wrap(bytes(32), b"")
        assert caught.value.reason == "bad-answer"


def test_a_public_half_that_is_none_is_20() -> None:
    for data in (b"", b"\x30\x00", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"):
        with pytest.raises(KeyServiceError) as caught:
            public_from(data, "a key")
        assert caught.value.reason == "bad-key"
    key = ec.generate_private_key(ec.SECP384R1())
    assert public_from(public(key).pem, "a key") == public_from(public(key).der, "a key")


def _failing(error: SovgateError, times: int) -> tuple[list[int], object]:
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        if len(asked) <= times:
            raise error
        return "an answer"

    return asked, ask


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (_answers.throttled("k", "ask"), 4),
        (_answers.down("k", "ask", "refused"), 4),
        (_answers.timed_out("k", "ask", 60), 1),
        (_answers.denied("k", "ask", "p"), 1),
        (_answers.no_such_key("k"), 1),
        (_answers.disabled("k", "DISABLED"), 1),
        (_answers.another("k", "l"), 1),
        (_answers.damaged(), 1),
    ],
    ids=lambda value: getattr(value, "reason", value),
)
def test_a_service_is_asked_again_only_for_what_may_pass(
    monkeypatch: pytest.MonkeyPatch, error: SovgateError, tries: int
) -> None:
    monkeypatch.setattr(_answers, "PAUSES", (0.0, 0.0, 0.0))
    asked, ask = _failing(error, 99)
    with pytest.raises(type(error)):
        _answers.patiently(ask)  # type: ignore[arg-type]
    assert len(asked) == tries
    asked, ask = _failing(error, tries - 1)
    assert _answers.patiently(ask) == "an answer"  # type: ignore[arg-type]
