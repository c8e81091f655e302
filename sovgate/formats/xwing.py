"""Keys for the hybrid of ML-KEM-768 and X25519 (X-Wing), as files hold them. No I/O.

draft-connolly-cfrg-xwing-kem: the private half is a seed of 32 bytes, from which both keys come; a
public half is the two public keys, one after the other. Both have one spelling in DER.
`cryptography` has the two and their combination in HPKE, and no file of theirs.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any

#: As `spki` names such a key.
NAME = "ml-kem-768-x25519"
SEED_SIZE = 32
_ML_KEM_PUBLIC, _ML_KEM_SEED = 1184, 64
_X25519, _PRIME = 32, 2**255 - 19
PUBLIC_SIZE = _ML_KEM_PUBLIC + _X25519
# AlgorithmIdentifier: 1.3.6.1.4.1.62253.25722, without parameters.
_ALGORITHM = bytes.fromhex("300d060b2b0601040183e62d81c87a")
SPKI_PREFIX = bytes.fromhex("308204d4") + _ALGORITHM + bytes.fromhex("038204c100")
_PKCS8_PREFIX = bytes.fromhex("3034020100") + _ALGORITHM + bytes.fromhex("0420")
_BEGIN, _END = b"-----BEGIN PRIVATE KEY-----", b"-----END PRIVATE KEY-----"


class Private:
    """The private half. Its repr shows nothing of it."""

    def __init__(self, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

        if len(seed) != SEED_SIZE:
            raise ValueError("a seed has another length")
        expanded = hashlib.shake_256(seed).digest(_ML_KEM_SEED + _X25519)
        self._seed = seed
        self._ml_kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:_ML_KEM_SEED])
        self._x25519 = x25519.X25519PrivateKey.from_private_bytes(expanded[_ML_KEM_SEED:])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({NAME})"

    @classmethod
    def generate(cls) -> Private:
        return cls(secrets.token_bytes(SEED_SIZE))

    @classmethod
    def from_pem(cls, data: bytes) -> Private | None:
        """None for a file that is no such key, whatever else it is."""
        start, end = data.find(_BEGIN), data.find(_END)
        if data.count(b"-----BEGIN ") != 1 or start < 0 or end < start:
            return None
        try:
            body = b"".join(data[start + len(_BEGIN) : end].split())
            der = base64.b64decode(body, validate=True)
        except ValueError:
            return None
        if not der.startswith(_PKCS8_PREFIX) or len(der) != len(_PKCS8_PREFIX) + SEED_SIZE:
            return None
        return cls(der[len(_PKCS8_PREFIX) :])

    def pem(self) -> bytes:
        """PKCS#8. Holds the secret."""
        body = base64.b64encode(_PKCS8_PREFIX + self._seed)
        lines = [body[at : at + 64] for at in range(0, len(body), 64)]
        return b"\n".join([_BEGIN, *lines, _END, b""])

    def public_der(self) -> bytes:
        """SubjectPublicKeyInfo."""
        ml_kem = self._ml_kem.public_key().public_bytes_raw()
        return SPKI_PREFIX + ml_kem + self._x25519.public_key().public_bytes_raw()

    def loaded(self) -> Any:
        """As HPKE in `cryptography` takes it."""
        from cryptography.hazmat.primitives import hpke

        return hpke.MLKEM768X25519PrivateKey(self._ml_kem, self._x25519)


def loaded(der: bytes) -> Any:
    """A public half as HPKE in `cryptography` takes it. Raises ValueError."""
    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.asymmetric import mlkem

    raw = der[len(SPKI_PREFIX) :]
    if not der.startswith(SPKI_PREFIX) or len(raw) != PUBLIC_SIZE:
        raise ValueError("no such key")
    return hpke.MLKEM768X25519PublicKey(
        mlkem.MLKEM768PublicKey.from_public_bytes(raw[:_ML_KEM_PUBLIC]),
        _classical(raw[_ML_KEM_PUBLIC:]),
    )


def _classical(raw: bytes) -> Any:
    """The X25519 half. Raises ValueError for a point of small order, with which everybody agrees on
    the same secret, and for a second spelling: RFC 7748 reads some numbers as another one."""
    from cryptography.hazmat.primitives.asymmetric import x25519

    if int.from_bytes(raw, "little") >= _PRIME:
        raise ValueError("another spelling")
    key = x25519.X25519PublicKey.from_public_bytes(raw)
    x25519.X25519PrivateKey.from_private_bytes(bytes(_X25519)).exchange(key)
    return key
