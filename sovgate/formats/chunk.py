"""The chunk: what is encrypted, named, sent, resumed, reused and verified. No I/O.

`IV[12] ‖ ciphertext ‖ tag[16]`, AES-256-GCM under a key of its own: Tink's AesGcmKey with a RAW
prefix. Its name is the SHA-256 of these bytes. docs/formats.md, "Chunk".
"""

from __future__ import annotations

import hashlib
import secrets

from sovgate import strict
from sovgate.errors import InternalError, VerificationFailed
from sovgate.records import ZONE_NAME

FORMAT = "sovgate.chunk/v0"
#: Plaintext bytes of a chunk, at most. Always this: a reader accepts no other.
SIZE = 16 * 1024 * 1024
KEY_SIZE = 32
IV_SIZE = 12
TAG_SIZE = 16
OVERHEAD = IV_SIZE + TAG_SIZE

Bytes = bytes | bytearray | memoryview


def new_key() -> bytes:
    """32 random bytes that encrypt one chunk, and nothing else ever (RULES 9)."""
    return secrets.token_bytes(KEY_SIZE)


def new_iv() -> bytes:
    return secrets.token_bytes(IV_SIZE)


def associated_data(zone: str) -> bytes:
    """What a chunk is bound to: format and zone. Its place stays out of it, so that a later release
    can list it again; the signed list binds order and length.
    """
    if not ZONE_NAME.fullmatch(zone):
        raise InternalError("a chunk is bound to something that is no zone")
    return strict.canonical({"format": FORMAT, "zone": zone})


def seal_into(key: bytes, iv: bytes, ad: bytes, plain: memoryview, out: memoryview) -> bytes:
    """Encrypt `plain` into `out`, which is OVERHEAD bytes longer; SHA-256 of what it then holds.

    The caller sees to it that no key is used for two plaintexts. Frees the GIL while it works.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(out) != len(plain) + OVERHEAD or not 0 < len(plain) <= SIZE:
        raise InternalError("a chunk's buffers have the wrong length")
    if len(key) != KEY_SIZE or len(iv) != IV_SIZE:
        raise InternalError("a chunk's key or IV has the wrong length")
    out[:IV_SIZE] = iv
    AESGCM(key).encrypt_into(iv, plain, ad, out[IV_SIZE:])
    return hashlib.sha256(out).digest()


def open_into(key: bytes, ad: bytes, sealed: memoryview, digest: bytes, out: memoryview) -> None:
    """Decrypt a chunk into `out`, exactly as long as its plaintext, if it is the one of `digest`.

    Digest and length are compared before a byte is opened (RULES 12). Raises VerificationFailed,
    reason "damaged"; what `out` holds then is not to be used.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if not 0 < len(out) <= SIZE or len(key) != KEY_SIZE:
        raise InternalError("a chunk's buffer or key has the wrong length")
    if len(sealed) != len(out) + OVERHEAD:
        raise damaged("it is longer or shorter than the model's list of files demands")
    if hashlib.sha256(sealed).digest() != digest:
        raise damaged("its SHA-256 is not the one that was signed")
    try:
        AESGCM(key).decrypt_into(bytes(sealed[:IV_SIZE]), sealed[IV_SIZE:], ad, out)
    except InvalidTag as error:
        raise damaged("it does not open under its key for this zone") from error


def damaged(why: str) -> VerificationFailed:
    """For a chunk that is not what was written."""
    return VerificationFailed(
        "a chunk of the encrypted model is damaged",
        why=why,
        fix="get the encrypted model again from its source, or have it encrypted again",
        reason="damaged",
    )
