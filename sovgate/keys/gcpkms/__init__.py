"""Keys in Google Cloud KMS, in every universe: `gcpkms://projects/P/locations/L/keyRings/R/
cryptoKeys/K[/cryptoKeyVersions/N]`. Talks to one KMS endpoint only.

Signing: EC_SIGN_P256_SHA256, EC_SIGN_P384_SHA384. Wrapping: GOOGLE_SYMMETRIC_ENCRYPTION, with the
wrap context as associated data; RSA_DECRYPT_OAEP_*_SHA256 keys wrap here, with their public half,
and open in KMS. CRC32C is sent with all that is sent, and compared with all that comes back.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sovgate import notices
from sovgate.errors import ConfigError
from sovgate.keys import _answers
from sovgate.keys._crypto import (
    BoundIdentity,
    BoundRecipient,
    OaepIdentity,
    OaepRecipient,
    ServiceSigner,
    public_from,
)
from sovgate.keys.gcpkms.names import Named, parse_uri
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

ALGORITHM = "gcp-kms-symmetric"
SYMMETRIC = "GOOGLE_SYMMETRIC_ENCRYPTION"
SIGNING = {
    "EC_SIGN_P256_SHA256": "ecdsa-p256-sha256",
    "EC_SIGN_P384_SHA384": "ecdsa-p384-sha384",
}
OPENING = {f"RSA_DECRYPT_OAEP_{bits}_SHA256": f"rsa-{bits}" for bits in (2048, 3072, 4096)}
#: Versions of one key that are looked through. Google's own bound for one page.
_MOST_VERSIONS = 1000


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
    return _Version.open(named, {**SIGNING, **OPENING}).public


def facts(uri: Uri, base: Path, region: str | None = None) -> tuple[tuple[str, str], ...]:
    """What KMS says of the key. Needs what `public_key` needs; of a symmetric key
    cloudkms.cryptoKeys.get."""
    named = parse_uri(uri, region)
    service = ("service", f"Google Cloud KMS in {named.row.id}, {named.service.place.url}")
    try:
        version = _Version.open(named, {**SIGNING, **OPENING})
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
    version = _Version.open(parse_uri(uri, region), SIGNING)
    return ServiceSigner(version.held(), version.sign)


def recipient(uri: Uri, base: Path, region: str | None = None) -> BoundRecipient | OaepRecipient:
    """Needs cloudkms.cryptoKeys.get; of a symmetric key cloudkms.cryptoKeyVersions.useToEncrypt, of
    an RSA key .viewPublicKey, and .list without a version in the URI."""
    named = parse_uri(uri, region)
    symmetric = _Symmetric.found(named)
    if symmetric is not None:
        return BoundRecipient(symmetric.held(), ALGORITHM, symmetric.encrypt)
    return OaepRecipient(_Version.open(named, OPENING).held())


def identity(uri: Uri, base: Path, region: str | None = None) -> BoundIdentity | OaepIdentity:
    """Needs cloudkms.cryptoKeys.get and cloudkms.cryptoKeyVersions.useToDecrypt; of an RSA key also
    .viewPublicKey, and .list without a version in the URI."""
    named = parse_uri(uri, region)
    symmetric = _Symmetric.found(named)
    if symmetric is not None:
        return BoundIdentity(symmetric.held(), ALGORITHM, symmetric.decrypt)
    version = _Version.open(named, OPENING)
    return OaepIdentity(version.held(), version.decrypt)


class _Version:
    """One version of an asymmetric key, pinned: later calls name it, and answers are compared."""

    def __init__(self, named: Named, name: str, public: PublicKey, protection: str) -> None:
        self.named, self.name, self.public, self.protection = named, name, public, protection
        self.held = partial(named.held, name, public, protection)

    @classmethod
    def open(cls, named: Named, kinds: dict[str, str]) -> _Version:
        """`kinds`: algorithm of KMS -> that of its public half. Raises ConfigError for another."""
        name = named.version or _newest(named, kinds)
        permission = "cloudkms.cryptoKeyVersions.viewPublicKey"
        found = named.ask("get_public_key", "get the public half of", permission, name=name)
        _compare(name, found.name)
        algorithm = _word(found, "algorithm")
        if algorithm not in kinds:
            raise _answers.cannot(name, f"it is a key for {algorithm}; {_wanted(kinds)}")
        pem = found.pem.encode()
        named.whole(pem, found.pem_crc32c)
        public = public_from(pem, name)
        if public.algorithm != kinds[algorithm]:
            raise _answers.another(f"a key for {algorithm}", public.algorithm)
        protection = named.protection_of(_word(found, "protection_level"))
        return cls(named, name, public, protection)

    def sign(self, digest: bytes) -> bytes:
        hashed = {32: "sha256", 48: "sha384"}[len(digest)]
        answer = self.named.ask(
            "asymmetric_sign",
            "sign with",
            "cloudkms.cryptoKeyVersions.useToSign",
            name=self.name,
            digest={hashed: digest},
            digest_crc32c=self.named.sum(digest),
        )
        self.named.heard(answer.verified_digest_crc32c)
        self._same(answer)
        _compare(self.name, answer.name)
        return self.named.whole(answer.signature, answer.signature_crc32c)

    def decrypt(self, wrapped: bytes) -> bytes:
        answer = self.named.ask(
            "asymmetric_decrypt",
            "unwrap a key with",
            "cloudkms.cryptoKeyVersions.useToDecrypt",
            name=self.name,
            ciphertext=wrapped,
            ciphertext_crc32c=self.named.sum(wrapped),
        )
        self.named.heard(answer.verified_ciphertext_crc32c)
        self._same(answer)
        return self.named.whole(answer.plaintext, answer.plaintext_crc32c)

    def _same(self, answer: Any) -> None:
        _compare_protection(self.name, self.protection, _word(answer, "protection_level"))


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
        _compare(named.key, found.name)
        purpose = _word(found, "purpose")
        if purpose == "ASYMMETRIC_DECRYPT":
            return None
        if purpose != "ENCRYPT_DECRYPT":
            raise _answers.cannot(named.key, f"its purpose is {purpose}; {_wanted(OPENING)}")
        primary = found.primary
        if named.version is None and _word(primary, "state") != "ENABLED":
            raise _answers.disabled(named.key, f"{_word(primary, 'state')} (its primary version)")
        return cls(named, named.protection_of(_word(found.version_template, "protection_level")))

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
        _compare_protection(named.key, self.protection, _word(answer, "protection_level"))
        _compare(named.version or named.key, answer.name, version=named.version is None)
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
        _compare_protection(named.key, self.protection, _word(answer, "protection_level"))
        return named.whole(answer.plaintext, answer.plaintext_crc32c)


def _newest(named: Named, kinds: dict[str, str]) -> str:
    """The newest version that is enabled. Which one it is, is said: it signs what others verify."""
    pages = named.ask(
        "list_crypto_key_versions",
        "list the versions of",
        "cloudkms.cryptoKeyVersions.list",
        parent=named.key,
        page_size=_MOST_VERSIONS,
        filter="state=ENABLED",
    ).pages
    page = next(iter(pages))
    enabled = {}
    for version in page.crypto_key_versions:
        _compare(named.key, version.name, version=True)
        if _word(version, "state") == "ENABLED":
            enabled[int(version.name.rpartition("/")[2])] = version
    if not enabled:
        raise _answers.disabled(named.key, "without an enabled version")
    if page.next_page_token:
        raise _answers.cannot(
            named.key,
            f"it has more than {_MOST_VERSIONS} enabled versions, and the URI names none",
            f"write {named.text}/cryptoKeyVersions/N",
        )
    number = max(enabled)
    if _word(enabled[number], "algorithm") not in kinds:
        algorithm = _word(enabled[number], "algorithm")
        raise _answers.cannot(named.key, f"it is a key for {algorithm}; {_wanted(kinds)}")
    notices.note(
        f"{named.text} names no version: {number} is used, the newest that is enabled; to stay "
        f"with it, add /cryptoKeyVersions/{number}"
    )
    return f"{named.key}/cryptoKeyVersions/{number}"


def _word(answer: Any, field: str) -> str:
    """The name of an enumeration's value; one that the library is too old to know is a number."""
    raw = type(answer).pb(answer)
    number = getattr(raw, field)
    known = raw.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    return str(number if known is None else known.name)


def _wanted(kinds: dict[str, str]) -> str:
    signs = "signatures are made with EC_SIGN_P256_SHA256 or EC_SIGN_P384_SHA384"
    wraps = f"keys are wrapped with {SYMMETRIC} or RSA_DECRYPT_OAEP_2048, _3072, _4096_SHA256"
    return "; ".join(
        text for text, of in ((signs, SIGNING), (wraps, OPENING)) if set(of) & set(kinds)
    )


def _compare(asked: str, answered: str, *, version: bool = False) -> None:
    """RULES 10. `version`: the answer names a version of what was asked."""
    if version:
        key, _, number = str(answered).rpartition("/cryptoKeyVersions/")
        # Google numbers versions in 32 bits or so; int() refuses thousands of digits.
        if key == asked and number.isascii() and number.isdigit() and len(number) <= 10:
            return
    elif answered == asked:
        return
    raise _answers.another(asked, str(answered))


def _compare_protection(name: str, pinned: str, answered: str) -> None:
    if answered != pinned:
        raise _answers.another(f"{name}, which is {pinned}", f"one that is {answered}")
