"""Keys in AWS KMS, in every partition: `awskms://[ENDPOINT]/ARN`. Talks to one KMS endpoint only.

Signing: ECC_NIST_P256, P384, P521. Wrapping: SYMMETRIC_DEFAULT, bound to the wrap context by KMS;
RSA keys wrap here, with their public half, and open in KMS. No key ever leaves KMS.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.errors import KeyServiceError
from sovgate.keys._crypto import (
    BoundIdentity,
    BoundRecipient,
    OaepIdentity,
    OaepRecipient,
    ServiceSigner,
)
from sovgate.keys.awskms.description import describe as describe
from sovgate.keys.awskms.generation import generate as generate
from sovgate.keys.awskms.key import SIGNING, Key, parse_uri, refuse
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

ALGORITHM = "aws-kms-symmetric-default"
_RSA = ("RSA_2048", "RSA_3072", "RSA_4096")


def check(uri: Uri, base: Path, region: str | None = None) -> None:
    """Asks nobody. Raises ConfigError, ResidencyMismatch."""
    parse_uri(uri, region)


def canonical(uri: Uri, base: Path, region: str | None = None) -> str:
    """Asks nobody, so an alias is another word than the key that it stands for."""
    return parse_uri(uri, region).canonical


def public_key(uri: Uri, base: Path, region: str | None = None) -> PublicKey:
    """Needs kms:DescribeKey and kms:GetPublicKey."""
    key = Key.open(uri, region)
    if key.spec == "SYMMETRIC_DEFAULT":
        refuse(
            key,
            "it is symmetric, and has no public half",
            "name the encryption key under encrypt:, not encrypt-public:",
        )
    return key.public


def facts(uri: Uri, base: Path, region: str | None = None) -> tuple[tuple[str, str], ...]:
    """What KMS says of the key. Needs kms:DescribeKey."""
    key = Key.open(uri, region)
    return (
        ("service", f"AWS KMS in {key.region}"),
        ("key", key.arn),
        ("kind", f"{key.spec} for {key.usage}"),
        ("origin", key.origin),
    )


def signer(uri: Uri, base: Path, region: str | None = None) -> ServiceSigner:
    """Needs kms:DescribeKey, kms:GetPublicKey and kms:Sign."""
    key = Key.open(uri, region)
    if key.usage != "SIGN_VERIFY" or key.spec not in {spec for spec, _ in SIGNING.values()}:
        refuse(key, "signatures are made with ECC_NIST_P256, P384 or P521 keys for SIGN_VERIFY")
    return ServiceSigner(key.held(key.public), partial(_sign, key))


def recipient(uri: Uri, base: Path, region: str | None = None) -> BoundRecipient | OaepRecipient:
    """Needs kms:DescribeKey, and kms:Encrypt; of an RSA key kms:GetPublicKey in its place."""
    key = _wrapping(uri, region)
    if key.spec in _RSA:
        return OaepRecipient(key.held(key.public))
    return BoundRecipient(key.held(None), ALGORITHM, partial(_encrypt, key))


def identity(uri: Uri, base: Path, region: str | None = None) -> BoundIdentity | OaepIdentity:
    """Needs kms:DescribeKey and kms:Decrypt; of an RSA key kms:GetPublicKey too."""
    key = _wrapping(uri, region)
    if key.spec in _RSA:
        return OaepIdentity(key.held(key.public), partial(_oaep_decrypt, key))
    return BoundIdentity(key.held(None), ALGORITHM, partial(_decrypt, key))


def _wrapping(uri: Uri, region: str | None) -> Key:
    key = Key.open(uri, region)
    if key.usage != "ENCRYPT_DECRYPT" or key.spec not in ("SYMMETRIC_DEFAULT", *_RSA):
        refuse(key, "keys are wrapped with SYMMETRIC_DEFAULT or RSA keys for ENCRYPT_DECRYPT")
    return key


def _encrypt(key: Key, secret: bytes, context: bytes) -> bytes:
    """With the wrap context as EncryptionContext, so that key policies can ask for it."""
    answer = key.call(
        "encrypt",
        "kms:Encrypt",
        "wrap a key with",
        Plaintext=secret,
        EncryptionContext=encryption_context(context),
    )
    return bytes(answer["CiphertextBlob"])


def _decrypt(key: Key, wrapped: bytes, context: bytes) -> bytes:
    answer = key.call(
        "decrypt",
        "kms:Decrypt",
        "unwrap a key with",
        CiphertextBlob=wrapped,
        EncryptionContext=encryption_context(context),
    )
    return bytes(answer["Plaintext"])


def _oaep_decrypt(key: Key, wrapped: bytes) -> bytes:
    answer = key.call(
        "decrypt",
        "kms:Decrypt",
        "unwrap a key with",
        CiphertextBlob=wrapped,
        EncryptionAlgorithm="RSAES_OAEP_SHA_256",
    )
    return bytes(answer["Plaintext"])


def _sign(key: Key, digest: bytes) -> bytes:
    answer = key.call(
        "sign",
        "kms:Sign",
        "sign with",
        Message=digest,
        MessageType="DIGEST",
        SigningAlgorithm=SIGNING[key.public.algorithm][1],
    )
    return bytes(answer["Signature"])


def encryption_context(context: bytes) -> dict[str, str]:
    """The fields of the canonical wrap context as KMS takes them: `sovgate:zone`, …; null is out.

    Release names are never empty, so a copy without a release cannot pass for one with.
    """
    fields = strict.loads(context)
    if not isinstance(fields, dict) or not fields:
        raise KeyServiceError("the wrap context is not valid", reason="bad-context")
    named = {f"sovgate:{name}": value for name, value in fields.items() if value is not None}
    if not all(isinstance(value, str) and value for value in named.values()):
        raise KeyServiceError("the wrap context is not valid", reason="bad-context")
    return {name: str(value) for name, value in named.items()}
