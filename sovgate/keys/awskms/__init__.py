"""Keys in AWS KMS, in every partition: `awskms://[ENDPOINT]/ARN`. Talks to one KMS endpoint only.

Signing: ECC_NIST_P256, P384, P521. Wrapping: SYMMETRIC_DEFAULT, bound to the wrap context by KMS;
RSA keys wrap here, with their public half, and open in KMS. No key ever leaves KMS.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.errors import KeyServiceError, VerificationFailed
from sovgate.formats import wrap
from sovgate.keys.awskms.key import SIGNING, Key, cannot, parse_uri
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

ALGORITHM = "aws-kms-symmetric-default"
_MAX_CIPHERTEXT = 6144  # KMS's own limit, and that of the format that takes it
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
        cannot(
            key,
            "it is symmetric, and has no public half",
            "name the encryption key under encrypt:, not encrypt-public:",
        )
    return key.public


def signer(uri: Uri, base: Path, region: str | None = None) -> KmsSigner:
    """Needs kms:DescribeKey, kms:GetPublicKey and kms:Sign."""
    key = Key.open(uri, region)
    if key.usage != "SIGN_VERIFY" or key.spec not in {spec for spec, _, _ in SIGNING.values()}:
        cannot(key, "signatures are made with ECC_NIST_P256, P384 or P521 keys for SIGN_VERIFY")
    return KmsSigner(key)


def recipient(uri: Uri, base: Path, region: str | None = None) -> KmsRecipient | RsaRecipient:
    """Needs kms:DescribeKey, and kms:Encrypt; of an RSA key kms:GetPublicKey in its place."""
    key = _wrapping(uri, region)
    return RsaRecipient(key) if key.spec in _RSA else KmsRecipient(key)


def identity(uri: Uri, base: Path, region: str | None = None) -> KmsIdentity | RsaIdentity:
    """Needs kms:DescribeKey and kms:Decrypt; of an RSA key kms:GetPublicKey too."""
    key = _wrapping(uri, region)
    return RsaIdentity(key) if key.spec in _RSA else KmsIdentity(key)


def _wrapping(uri: Uri, region: str | None) -> Key:
    key = Key.open(uri, region)
    if key.usage != "ENCRYPT_DECRYPT" or key.spec not in ("SYMMETRIC_DEFAULT", *_RSA):
        cannot(key, "keys are wrapped with SYMMETRIC_DEFAULT or RSA keys for ENCRYPT_DECRYPT")
    return key


class _KmsKey:
    """What signers, recipients and identities share. Their reprs hold no secret.

    `canonical`: as the function of that name says it of the key's own ARN, which KMS told.
    """

    def __init__(self, key: Key) -> None:
        self._key = key
        self.region, self.grade = key.region, key.grade
        self.canonical = key.canonical

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._key.arn})"


class KmsSigner(_KmsKey):
    """ECDSA in KMS. Each signature is verified here before anyone sees it."""

    certificates: tuple[bytes, ...] = ()

    def __init__(self, key: Key) -> None:
        super().__init__(key)
        self.public_key = key.public

    def sign(self, message: bytes) -> bytes:
        from sovgate.formats.spki import low_s

        _, algorithm, digest = SIGNING[self.public_key.algorithm]
        answer = self._key.call(
            "sign",
            "kms:Sign",
            "sign with",
            Message=hashlib.new(digest, message).digest(),
            MessageType="DIGEST",
            SigningAlgorithm=algorithm,
        )
        try:
            signature = low_s(bytes(answer["Signature"]), self.public_key.algorithm)
            self.public_key.verify(message, signature)
        except (ValueError, KeyError, VerificationFailed) as error:
            raise KeyServiceError(
                f"{self._key.arn} gave a signature that does not verify",
                why="checked here with the public key that the same service gave",
                fix="find out which service answers at that endpoint",
                reason="bad-signature",
            ) from error
        return signature


class _Symmetric(_KmsKey):
    algorithm = ALGORITHM

    @property
    def key_id(self) -> str:
        return self._key.arn


class KmsRecipient(_Symmetric):
    """Encrypt with the wrap context as EncryptionContext, so that key policies can ask for it."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        wrap.check_key(key)
        answer = self._key.call(
            "encrypt",
            "kms:Encrypt",
            "wrap a key with",
            Plaintext=key,
            EncryptionContext=encryption_context(context),
        )
        wrapped = bytes(answer["CiphertextBlob"])
        if len(wrapped) > _MAX_CIPHERTEXT:
            raise KeyServiceError(
                f"{self._key.arn} gave a wrapped key that is too large to be read back",
                why=f"it has {len(wrapped)} bytes; KMS gives {_MAX_CIPHERTEXT} at most",
                fix="find out which service answers at that endpoint",
                reason="bad-answer",
            )
        return wrapped


class KmsIdentity(_Symmetric):
    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        answer = self._key.call(
            "decrypt",
            "kms:Decrypt",
            "unwrap a key with",
            CiphertextBlob=wrapped,
            EncryptionContext=encryption_context(context),
        )
        key = bytes(answer["Plaintext"])
        if len(key) != wrap.KEY_SIZE:
            raise wrap.damaged()
        return key


class _Rsa(_KmsKey):
    """Named by the public key, as its PEM file is: what was wrapped with that file opens here."""

    algorithm = wrap.RSA_ALGORITHM

    def __init__(self, key: Key) -> None:
        super().__init__(key)
        self.key_id = key.public.key_id


class RsaRecipient(_Rsa):
    def wrap(self, key: bytes, context: bytes) -> bytes:
        return wrap.oaep_wrap(self._key.public, key, context)


class RsaIdentity(_Rsa):
    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        answer = self._key.call(
            "decrypt",
            "kms:Decrypt",
            "unwrap a key with",
            CiphertextBlob=wrapped,
            EncryptionAlgorithm="RSAES_OAEP_SHA_256",
        )
        return wrap.oaep_opened(bytes(answer["Plaintext"]), context)


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
