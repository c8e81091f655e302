"""What a wrapped release key is bound to, and how a wrong key is told from damage. No I/O.

RSA-OAEP is here too: wherever the private half lies, the bytes are the same.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sovgate import strict
from sovgate.errors import KeyServiceError, VerificationFailed

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

RSA_ALGORITHM = "rsa-oaep-sha256"
HPKE_ALGORITHM = "hpke-p256-hkdf-sha256-aes256gcm"
HYBRID_ALGORITHM = "hpke-mlkem768-x25519-hkdf-sha256-aes256gcm"
#: Kind of key -> what HPKE with it is called. The name pins the KEM: 0x0010 and 0x647a.
HPKE = {"ecdsa-p256-sha256": HPKE_ALGORITHM, "ml-kem-768-x25519": HYBRID_ALGORITHM}
KEY_SIZE = 32
FORMAT = "sovgate.wrap/v0"
_COMMIT = b"sovgate/commit"
#: A wrapped key: RSA-4096 gives 512 bytes, HPKE 113 or
#: 1168; services add their own framing.
MAX_WRAPPED = 6144
_KEY_ID = re.compile(r"[\x21-\x7e]{1,2048}", re.ASCII)
_ALGORITHM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Context:
    """Zone, release (`NAME/VERSION`, or None for a copy that is not pushed), manifest digest."""

    zone: str
    release: str | None
    manifest: str

    def canonical(self) -> bytes:
        """HPKE's `info`; its SHA-256 travels inside RSA-OAEP; KMS take it as associated data."""
        return strict.canonical(
            {
                "format": FORMAT,
                "zone": self.zone,
                "release": self.release,
                "manifest": self.manifest,
            }
        )


@dataclass(frozen=True, kw_only=True)
class Wrapped:
    """The release key as wrapped for one recipient; `commit` tells a wrong key from damage."""

    key_id: str
    algorithm: str
    wrapped: bytes
    commit: str

    def json(self) -> dict[str, strict.JSON]:
        return {
            "key-id": self.key_id,
            "algorithm": self.algorithm,
            "wrapped": strict.b64encode(self.wrapped),
            "commit": self.commit,
        }

    @classmethod
    def read(cls, fields: strict.Fields) -> Wrapped:
        """Raises Malformed."""
        wrapped = cls(
            key_id=fields.text("key-id", pattern=_KEY_ID),
            algorithm=fields.text("algorithm", pattern=_ALGORITHM),
            wrapped=fields.base64("wrapped", max_bytes=MAX_WRAPPED),
            commit=fields.sha256("commit"),
        )
        fields.done()
        return wrapped


def commit(key: bytes) -> str:
    """HMAC-SHA256(key, "sovgate/commit") in hex. AES-GCM does not commit to its key; this does."""
    return hmac.digest(key, _COMMIT, "sha256").hex()


def committed(key: bytes, expected: str) -> bool:
    return hmac.compare_digest(commit(key), expected)


def check_key(key: bytes) -> None:
    """Raises KeyServiceError unless `key` has the size of a release key."""
    if len(key) != KEY_SIZE:
        raise KeyServiceError(f"only keys of {KEY_SIZE} bytes are wrapped", reason="bad-key-size")


def damaged() -> VerificationFailed:
    """For what the right key does not open; no cause of it is told."""
    return VerificationFailed(
        "the wrapped key does not open",
        why="it was damaged, or wrapped for another zone, release or manifest",
        fix="get the encrypted model again from its source",
        reason="wrapped-key",
    )


def oaep() -> Any:
    """RFC 8017, SHA-256 and MGF1 with SHA-256, empty label: KMS's RSAES_OAEP_SHA_256."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    digest = hashes.SHA256()
    return padding.OAEP(mgf=padding.MGF1(algorithm=digest), algorithm=digest, label=None)


def bind(key: bytes, context: bytes) -> bytes:
    """key ‖ SHA-256(context): for whatever has no associated data of its own (RULES 10).

    Raises KeyServiceError for a key of another size.
    """
    check_key(key)
    return key + hashlib.sha256(context).digest()


def oaep_wrap(public: PublicKey, key: bytes, context: bytes) -> bytes:
    """OAEP has no associated data that services agree on, so the context is bound inside."""
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    bound = bind(key, context)
    loaded: Any = load_der_public_key(public.der)
    wrapped: bytes = loaded.encrypt(bound, oaep())
    return wrapped


def unbind(opened: bytes, context: bytes) -> bytes:
    """The key in what `bind` made. Raises VerificationFailed for another context."""
    key, bound = opened[:KEY_SIZE], opened[KEY_SIZE:]
    if len(opened) != 2 * KEY_SIZE or not hmac.compare_digest(
        bound, hashlib.sha256(context).digest()
    ):
        raise damaged()
    return key
