"""One version of an asymmetric key in Google Cloud KMS: found, pinned, and asked.

RULES 10: later calls name the version, and names and protection levels of answers are compared.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sovgate.keys import _answers
from sovgate.keys._crypto import public_from
from sovgate.keys.gcpkms.names import Named

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

SYMMETRIC = "GOOGLE_SYMMETRIC_ENCRYPTION"
SIGNING = {
    "EC_SIGN_P256_SHA256": "ecdsa-p256-sha256",
    "EC_SIGN_P384_SHA384": "ecdsa-p384-sha384",
}
OPENING = {f"RSA_DECRYPT_OAEP_{bits}_SHA256": f"rsa-{bits}" for bits in (2048, 3072, 4096)}
#: Versions of one key that are looked through. Google's own bound for one page.
_MOST_VERSIONS = 1000


class Version:
    """One version of an asymmetric key, pinned: later calls name it, and answers are compared."""

    def __init__(self, named: Named, name: str, public: PublicKey, protection: str) -> None:
        self.named, self.name, self.public, self.protection = named, name, public, protection
        self.held = partial(named.held, name, public, protection)

    @classmethod
    def open(cls, named: Named, kinds: dict[str, str]) -> Version:
        """`kinds`: algorithm of KMS -> that of its public half. Raises ConfigError for another."""
        name = named.version or newest(named, kinds)
        permission = "cloudkms.cryptoKeyVersions.viewPublicKey"
        found = named.ask("get_public_key", "get the public half of", permission, name=name)
        compare(name, found.name)
        algorithm = word(found, "algorithm")
        if algorithm not in kinds:
            raise _answers.cannot(name, f"it is a key for {algorithm}; {wanted(kinds)}")
        pem = found.pem.encode()
        named.whole(pem, found.pem_crc32c)
        public = public_from(pem, name)
        if public.algorithm != kinds[algorithm]:
            raise _answers.another(f"a key for {algorithm}", public.algorithm)
        protection = named.protection_of(word(found, "protection_level"))
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
        compare(self.name, answer.name)
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
        compare_protection(self.name, self.protection, word(answer, "protection_level"))


def numbered(named: Named, *, enabled: bool) -> list[Any]:
    """Versions of a key, at least one; `enabled`: those alone."""
    pages = named.ask(
        "list_crypto_key_versions",
        "list the versions of",
        "cloudkms.cryptoKeyVersions.list",
        parent=named.key,
        page_size=_MOST_VERSIONS,
        filter="state=ENABLED" if enabled else "",
    ).pages
    page = next(iter(pages))
    found = []
    for version in page.crypto_key_versions:
        compare(named.key, version.name, version=True)
        if not enabled or word(version, "state") == "ENABLED":
            found.append(version)
    if not found:
        what = "an enabled version" if enabled else "any version"
        raise _answers.disabled(named.key, f"without {what}")
    if page.next_page_token:
        raise _answers.cannot(
            named.key,
            f"it has more than {_MOST_VERSIONS} {'enabled ' if enabled else ''}versions, and the "
            "URI names none",
            f"write {named.text}/cryptoKeyVersions/N",
        )
    return found


def number_of(version: Any) -> int:
    return int(version.name.rpartition("/")[2])


def newest(named: Named, kinds: dict[str, str]) -> str:
    """The newest version that is enabled. Which one it is, is said: it signs what others verify."""
    version = max(numbered(named, enabled=True), key=number_of)
    number, algorithm = number_of(version), word(version, "algorithm")
    if algorithm not in kinds:
        raise _answers.cannot(named.key, f"it is a key for {algorithm}; {wanted(kinds)}")
    segment = f"/cryptoKeyVersions/{number}"
    _answers.tell_version(named.text, str(number), "the newest that is enabled", segment)
    return f"{named.key}{segment}"


def word(answer: Any, field: str) -> str:
    """The name of an enumeration's value; one that the library is too old to know is a number."""
    raw = type(answer).pb(answer)
    number = getattr(raw, field)
    known = raw.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    return str(number if known is None else known.name)


def wanted(kinds: dict[str, str]) -> str:
    signs = "signatures are made with EC_SIGN_P256_SHA256 or EC_SIGN_P384_SHA384"
    wraps = f"keys are wrapped with {SYMMETRIC} or RSA_DECRYPT_OAEP_2048, _3072, _4096_SHA256"
    return "; ".join(
        text for text, of in ((signs, SIGNING), (wraps, OPENING)) if set(of) & set(kinds)
    )


def compare(asked: str, answered: str, *, version: bool = False) -> None:
    """RULES 10. `version`: the answer names a version of what was asked."""
    if version:
        key, _, number = str(answered).rpartition("/cryptoKeyVersions/")
        # Google numbers versions in 32 bits or so; int() refuses thousands of digits.
        if key == asked and number.isascii() and number.isdigit() and len(number) <= 10:
            return
    elif answered == asked:
        return
    raise _answers.another(asked, str(answered))


def compare_protection(name: str, pinned: str, answered: str) -> None:
    if answered != pinned:
        raise _answers.another(f"{name}, which is {pinned}", f"one that is {answered}")
