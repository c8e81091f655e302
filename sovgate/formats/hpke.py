"""HPKE base mode (RFC 9180) with HKDF-SHA256 and AES-256-GCM, by two KEMs. No I/O.

DHKEM(P-256, HKDF-SHA256), and the hybrid MLKEM768-X25519. What is wrapped is enc (65 or 1,120
bytes), then ciphertext and tag. `cryptography` wraps, and opens with a key that is at hand;
`opened` is for a private half on P-256 elsewhere, which only does ECDH.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

from sovgate.formats import wrap, xwing
from sovgate.formats.spki import PublicKey

#: The one curve, as `spki` names it.
CURVE = "ecdsa-p256-sha256"
#: Uncompressed point (RFC 9180, 4.1: Nenc, Npk), and the x-coordinate that ECDH gives (Ndh).
POINT_SIZE, SHARED_SIZE = 65, 32
_TAG_SIZE, _NONCE_SIZE, _HASH_SIZE = 16, 12, 32
# RFC 9180, 4.1 and 5.1: "KEM" and "HPKE" with the registered numbers of section 7.
_KEM = b"KEM" + (0x0010).to_bytes(2, "big")
_SUITE = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0010, 0x0001, 0x0002))
_BASE = b"\x00"


def suite(kind: str = CURVE) -> Any:
    """The same in `cryptography`, for keys of that kind that are at hand."""
    from cryptography.hazmat.primitives import hpke

    kem = hpke.KEM.MLKEM768_X25519 if kind == xwing.NAME else hpke.KEM.P256
    return hpke.Suite(kem, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def wrapped(public: PublicKey, key: bytes, context: bytes) -> bytes:
    """The 32-byte key, wrapped for a public half, with the context as `info`."""
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    wrap.check_key(key)
    hybrid = public.algorithm == xwing.NAME
    loaded = xwing.loaded(public.der) if hybrid else load_der_public_key(public.der)
    made: bytes = suite(public.algorithm).encrypt(key, loaded, context)
    return made


def opened(
    wrapped: bytes, public: PublicKey, context: bytes, ecdh: Callable[[bytes], bytes]
) -> bytes:
    """The 32-byte key in `wrapped`. `ecdh` gives the x-coordinate for the sender's point.

    The point is checked to lie on P-256 before the private half sees it: an answer for one that
    does not would tell bits of that half. Raises VerificationFailed, and what `ecdh` raises.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    sealed = wrapped[POINT_SIZE:]
    if len(sealed) != wrap.KEY_SIZE + _TAG_SIZE:
        raise wrap.damaged()
    point = wrapped[:POINT_SIZE]
    check_point(point)
    key, nonce = _schedule(ecdh(point), point + _point(public), context)
    try:
        return AESGCM(key).decrypt(nonce, sealed, b"")
    except InvalidTag:
        raise wrap.damaged() from None


def check_point(point: bytes) -> Any:
    """The point as a public key. Raises VerificationFailed unless it is one of P-256."""
    from cryptography.hazmat.primitives.asymmetric import ec

    if len(point) != POINT_SIZE or point[0] != 4:
        raise wrap.damaged()
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise wrap.damaged() from None


def _point(public: PublicKey) -> bytes:
    if public.algorithm != CURVE:
        raise wrap.damaged()
    return public.der[-POINT_SIZE:]


def _schedule(shared: bytes, kem_context: bytes, context: bytes) -> tuple[bytes, bytes]:
    """AES key and nonce: 4.1 ExtractAndExpand, then 5.1 KeySchedule without a PSK."""
    if len(shared) != SHARED_SIZE:
        raise wrap.damaged()
    secret = _expand(
        _KEM, _extract(_KEM, b"", b"eae_prk", shared), b"shared_secret", kem_context, _HASH_SIZE
    )
    bound = (
        _BASE
        + _extract(_SUITE, b"", b"psk_id_hash", b"")
        + _extract(_SUITE, b"", b"info_hash", context)
    )
    mixed = _extract(_SUITE, secret, b"secret", b"")
    return (
        _expand(_SUITE, mixed, b"key", bound, wrap.KEY_SIZE),
        _expand(_SUITE, mixed, b"base_nonce", bound, _NONCE_SIZE),
    )


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    """LabeledExtract, section 4."""
    return hmac.digest(salt or bytes(_HASH_SIZE), b"HPKE-v1" + suite + label + material, "sha256")


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """LabeledExpand, section 4, of at most one block."""
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, labelled + b"\x01", "sha256")[:length]
