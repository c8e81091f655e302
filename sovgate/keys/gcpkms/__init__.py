"""Keys in Google Cloud KMS, in every universe: `gcpkms://projects/P/locations/L/keyRings/R/
cryptoKeys/K[/cryptoKeyVersions/N]`. Talks to one KMS endpoint only.

Signing: EC_SIGN_P256_SHA256, EC_SIGN_P384_SHA384. Wrapping: GOOGLE_SYMMETRIC_ENCRYPTION, with the
wrap context as associated data; RSA_DECRYPT_OAEP_*_SHA256 keys wrap here, with their public half,
and open in KMS. CRC32C is sent with all that is sent, and compared with all that comes back.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import ConfigError
from sovgate.keys import _answers
from sovgate.keys._crypto import (
    BoundIdentity,
    BoundRecipient,
    OaepIdentity,
    OaepRecipient,
    ServiceSigner,
)
from sovgate.keys.gcpkms.description import describe as describe
from sovgate.keys.gcpkms.generation import generate as generate
from sovgate.keys.gcpkms.names import Named, parse_uri
from sovgate.keys.gcpkms.version import (
    OPENING,
    SIGNING,
    SYMMETRIC,
    Version,
    compare,
    compare_protection,
    wanted,
    word,
)
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

ALGORITHM = "gcp-kms-symmetric"


def check(uri: Uri, base: Path, region: str | None = None) -> None:
    """Asks nobody. Raises ConfigError, ResidencyMismatch."""
    parse_uri(uri, region)


def canonical(uri: Uri, base: Path, region: str | None = None) -> str:
    """Asks nobody. All versions of a key are one: who may use one is said of the key."""
    return parse_uri(uri, region).canonical


def public_key(uri: Uri, base: Path, region: str | None = None) -> PublicKey:
    """Needs cloudkms.cryptoKeyVersions.viewPublicKey; without a version in the URI also
    cloudkms.cryptoKeyVersions.list."""
    named = parse_uri(uri, region)
    return Version.open(named, {**SIGNING, **OPENING}).public


def facts(uri: Uri, base: Path, region: str | None = None) -> tuple[tuple[str, str], ...]:
    """What KMS says of the key. Needs what `public_key` needs; of a symmetric key
    cloudkms.cryptoKeys.get."""
    named = parse_uri(uri, region)
    service = ("service", f"Google Cloud KMS in {named.row.id}, {named.service.place.url}")
    try:
        version = Version.open(named, {**SIGNING, **OPENING})
    except ConfigError as error:
        if error.reason != "unsupported-key-use":
            raise
        symmetric = _Symmetric.found(named)
        if symmetric is None:
            raise
        return service, ("kind", SYMMETRIC), ("protection level", symmetric.protection)
    return service, ("version", version.name), ("protection level", version.protection)


def signer(uri: Uri, base: Path, region: str | None = None) -> ServiceSigner:
    """Needs cloudkms.cryptoKeyVersions.viewPublicKey and .useToSign; without a version in the URI
    also cloudkms.cryptoKeyVersions.list."""
    version = Version.open(parse_uri(uri, region), SIGNING)
    return ServiceSigner(version.held(), version.sign)


def recipient(uri: Uri, base: Path, region: str | None = None) -> BoundRecipient | OaepRecipient:
    """Needs cloudkms.cryptoKeys.get; of a symmetric key cloudkms.cryptoKeyVersions.useToEncrypt, of
    an RSA key .viewPublicKey, and .list without a version in the URI."""
    named = parse_uri(uri, region)
    symmetric = _Symmetric.found(named)
    if symmetric is not None:
        return BoundRecipient(symmetric.held(), ALGORITHM, symmetric.encrypt)
    return OaepRecipient(Version.open(named, OPENING).held())


def identity(uri: Uri, base: Path, region: str | None = None) -> BoundIdentity | OaepIdentity:
    """Needs cloudkms.cryptoKeys.get and cloudkms.cryptoKeyVersions.useToDecrypt; of an RSA key also
    .viewPublicKey, and .list without a version in the URI."""
    named = parse_uri(uri, region)
    symmetric = _Symmetric.found(named)
    if symmetric is not None:
        return BoundIdentity(symmetric.held(), ALGORITHM, symmetric.decrypt)
    version = Version.open(named, OPENING)
    return OaepIdentity(version.held(), version.decrypt)


class _Symmetric:
    """A symmetric key. Its id is its name without a version: Decrypt finds the version itself."""

    def __init__(self, named: Named, protection: str) -> None:
        self.named, self.protection = named, protection
        self.held = partial(named.held, named.key, None, protection)

    @classmethod
    def found(cls, named: Named) -> _Symmetric | None:
        """None for a key that decrypts asymmetrically. Raises ConfigError for any other purpose."""
        permission = "cloudkms.cryptoKeys.get"
        found = named.ask("get_crypto_key", "look up", permission, name=named.key)
        compare(named.key, found.name)
        purpose = word(found, "purpose")
        if purpose == "ASYMMETRIC_DECRYPT":
            return None
        if purpose != "ENCRYPT_DECRYPT":
            raise _answers.cannot(named.key, f"its purpose is {purpose}; {wanted(OPENING)}")
        primary = found.primary
        if named.version is None and word(primary, "state") != "ENABLED":
            raise _answers.disabled(named.key, f"{word(primary, 'state')} (its primary version)")
        return cls(named, named.protection_of(word(found.version_template, "protection_level")))

    def encrypt(self, key: bytes, context: bytes) -> bytes:
        named = self.named
        answer = named.ask(
            "encrypt",
            "wrap a key with",
            "cloudkms.cryptoKeyVersions.useToEncrypt",
            name=named.version or named.key,
            plaintext=key,
            plaintext_crc32c=named.sum(key),
            additional_authenticated_data=context,
            additional_authenticated_data_crc32c=named.sum(context),
        )
        named.heard(answer.verified_plaintext_crc32c)
        named.heard(answer.verified_additional_authenticated_data_crc32c)
        compare_protection(named.key, self.protection, word(answer, "protection_level"))
        compare(named.version or named.key, answer.name, version=named.version is None)
        return named.whole(answer.ciphertext, answer.ciphertext_crc32c)

    def decrypt(self, wrapped: bytes, context: bytes) -> bytes:
        named = self.named
        answer = named.ask(
            "decrypt",
            "unwrap a key with",
            "cloudkms.cryptoKeyVersions.useToDecrypt",
            name=named.key,
            ciphertext=wrapped,
            ciphertext_crc32c=named.sum(wrapped),
            additional_authenticated_data=context,
            additional_authenticated_data_crc32c=named.sum(context),
        )
        compare_protection(named.key, self.protection, word(answer, "protection_level"))
        return named.whole(answer.plaintext, answer.plaintext_crc32c)
