"""HPKE with a private half elsewhere: what is wrapped opens by ECDH alone, and only by that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from sovgate.errors import VerificationFailed
from sovgate.formats import hpke
from sovgate.formats.spki import PublicKey

CURVE = ec.SECP256R1()
PRIVATE = ec.derive_private_key(0x1234567890ABCDEF, CURVE)
PUBLIC = PublicKey.from_der(
    PRIVATE.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
)


def ecdh(point: bytes) -> bytes:
    return PRIVATE.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, point))


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=300))
def test_what_is_wrapped_opens_by_ecdh_and_by_a_key_at_hand(key: bytes, context: bytes) -> None:
    wrapped = hpke.wrapped(PUBLIC, key, context)
    assert hpke.opened(wrapped, PUBLIC, context, ecdh) == key
    assert hpke.suite().decrypt(wrapped, PRIVATE, context) == key


def test_another_context_byte_or_key_does_not_open() -> None:
    wrapped = hpke.wrapped(PUBLIC, bytes(32), b"context")
    other = ec.generate_private_key(CURVE).public_key()
    half = PublicKey.from_der(
        other.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    attempts: list[Callable[[], bytes]] = [
        lambda: hpke.opened(wrapped, PUBLIC, b"other", ecdh),
        lambda: hpke.opened(wrapped, half, b"context", ecdh),
        lambda: hpke.opened(wrapped, PUBLIC, b"context", lambda _: bytes(32)),
        lambda: hpke.opened(wrapped, PUBLIC, b"context", lambda _: ecdh(wrapped[:65])[:31]),
        lambda: hpke.opened(wrapped, PUBLIC, b"context", lambda _: ecdh(wrapped[:65]) + b"\0"),
        lambda: hpke.opened(wrapped + b"\0", PUBLIC, b"context", ecdh),
        lambda: hpke.opened(wrapped[:-1], PUBLIC, b"context", ecdh),
        lambda: hpke.opened(b"", PUBLIC, b"context", ecdh),
    ]
    for at in (65, 80, 97, 112):
        damaged = wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :]
        attempts.append(lambda one=damaged: hpke.opened(one, PUBLIC, b"context", ecdh))  # type: ignore[misc]
    for attempt in attempts:
        with pytest.raises(VerificationFailed) as caught:
            attempt()
        assert caught.value.reason == "wrapped-key"


@given(st.binary(min_size=113, max_size=113))
def test_no_point_off_the_curve_reaches_the_private_half(wrapped: bytes) -> None:
    """An answer for such a point would tell bits of the private half."""
    asked: list[bytes] = []

    def noted(point: bytes) -> bytes:
        asked.append(point)
        return ecdh(point)

    for tried in (wrapped, b"\x04" + wrapped[1:], PUBLIC.der[-65:-1] + b"\0" + wrapped[65:]):
        with pytest.raises(VerificationFailed):
            hpke.opened(tried, PUBLIC, b"", noted)
    for point in asked:
        ec.EllipticCurvePublicKey.from_encoded_point(CURVE, point)
