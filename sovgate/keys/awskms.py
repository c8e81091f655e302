"""Keys in AWS KMS, in every partition: `awskms://[ENDPOINT]/ARN`. Talks to one KMS endpoint only.

Signing: ECC_NIST_P256, P384, P521. Wrapping: SYMMETRIC_DEFAULT, bound to the wrap context by KMS;
RSA keys wrap here, with their public half, and open in KMS. No key ever leaves KMS.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sovgate import strict
from sovgate.clouds.aws import answers
from sovgate.clouds.aws import client as aws
from sovgate.errors import (
    ConfigError,
    KeyServiceError,
    ResidencyMismatch,
    SovgateError,
    VerificationFailed,
)
from sovgate.formats import wrap
from sovgate.records import GRADE
from sovgate.regions import Region, all_regions, lookup
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

ALGORITHM = "aws-kms-symmetric-default"
_ID = r"key/[A-Za-z0-9-]{1,64}|alias/[A-Za-z0-9/_-]{1,250}"
_ARN = re.compile(
    rf"arn:(aws[a-z0-9-]{{0,20}}):kms:([a-z0-9-]{{1,40}}):([0-9]{{12}}):({_ID})", re.ASCII
)
_BARE = re.compile(r"(alias/[A-Za-z0-9/_-]{1,250})|((?:mrk-)?[0-9a-f-]{32,36})", re.ASCII)
_SIGNING = {
    "ecdsa-p256-sha256": ("ECC_NIST_P256", "ECDSA_SHA_256", "sha256"),
    "ecdsa-p384-sha384": ("ECC_NIST_P384", "ECDSA_SHA_384", "sha384"),
    "ecdsa-p521-sha512": ("ECC_NIST_P521", "ECDSA_SHA_512", "sha512"),
}
_MAX_CIPHERTEXT = 6144  # KMS's own limit, and that of the format that takes it
_RSA = ("RSA_2048", "RSA_3072", "RSA_4096")


def public_key(uri: Uri, base: Path, region: str | None = None) -> PublicKey:
    """Needs kms:DescribeKey and kms:GetPublicKey."""
    key = _Key.open(uri, region)
    if key.spec == "SYMMETRIC_DEFAULT":
        _cannot(
            key,
            "it is symmetric, and has no public half",
            "name the encryption key under encrypt:, not encrypt-public:",
        )
    return key.public


def signer(uri: Uri, base: Path, region: str | None = None) -> KmsSigner:
    """Needs kms:DescribeKey, kms:GetPublicKey and kms:Sign."""
    key = _Key.open(uri, region)
    if key.usage != "SIGN_VERIFY" or key.spec not in {spec for spec, _, _ in _SIGNING.values()}:
        _cannot(key, "signatures are made with ECC_NIST_P256, P384 or P521 keys for SIGN_VERIFY")
    return KmsSigner(key)


def recipient(uri: Uri, base: Path, region: str | None = None) -> KmsRecipient | RsaRecipient:
    """Needs kms:DescribeKey, and kms:Encrypt; of an RSA key kms:GetPublicKey in its place."""
    key = _wrapping(uri, region)
    return RsaRecipient(key) if key.spec in _RSA else KmsRecipient(key)


def identity(uri: Uri, base: Path, region: str | None = None) -> KmsIdentity | RsaIdentity:
    """Needs kms:DescribeKey and kms:Decrypt; of an RSA key kms:GetPublicKey too."""
    key = _wrapping(uri, region)
    return RsaIdentity(key) if key.spec in _RSA else KmsIdentity(key)


def _wrapping(uri: Uri, region: str | None) -> _Key:
    key = _Key.open(uri, region)
    if key.usage != "ENCRYPT_DECRYPT" or key.spec not in ("SYMMETRIC_DEFAULT", *_RSA):
        _cannot(key, "keys are wrapped with SYMMETRIC_DEFAULT or RSA keys for ENCRYPT_DECRYPT")
    return key


@dataclass(frozen=True, kw_only=True)
class _Named:
    """What a URI says: the key as KMS takes it, where, and in which account (None: any)."""

    name: str
    place: aws.Endpoint
    row: Region
    account: str | None
    profile: str | None


def _parse(uri: Uri, region: str | None) -> _Named:
    rest, options = aws.split_options(uri.rest, {"region", "profile", "account"}, what="key")
    host, slash, name = rest.partition("/")
    arn = _ARN.fullmatch(name)
    if not slash or host.startswith("arn:") or not (arn or _BARE.fullmatch(name)):
        raise ConfigError(
            f"{uri.text[:200]!r} names no KMS key",
            fix="write awskms:///arn:PARTITION:kms:REGION:ACCOUNT:key/ID, or alias/NAME for key/ID",
            reason="bad-uri",
        )
    account = options.get("account")
    written = options.get("region")
    row = lookup(written) if written is not None else None
    if arn is not None:
        row = _row(arn.group(1), arn.group(2))
        if written not in (None, row.id) or account not in (None, arn.group(3)):
            raise ConfigError(
                f"{uri.text[:200]!r} contradicts itself", fix="the ARN is enough", reason="bad-uri"
            )
        account = arn.group(3)
    if row is None and region is not None:
        row = lookup(region)
    if row is None:
        raise ConfigError(
            f"the region of {uri.text[:200]!r} is not known",
            why="neither an ARN nor a zone says it, and it is not guessed",
            fix="write the ARN, or add ?region=aws:eu-central-1",
            reason="no-region",
        )
    if region is not None and row.id != region:
        raise _outside(uri.text, row.id, region)
    custom = None
    if host:
        bare = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
        custom = f"{'http' if aws.is_loopback(bare) else 'https'}://{host}"
    place = aws.endpoint("kms", row.id, custom, what="key")
    other = aws.elsewhere("kms", place)
    if other is not None:
        raise _outside(uri.text, other.id, row.id)
    return _Named(name=name, place=place, row=row, account=account, profile=options.get("profile"))


def _row(partition: str, region: str) -> Region:
    row = next((r for r in all_regions() if (r.partition, r.region) == (partition, region)), None)
    if row:
        return row
    raise ConfigError(
        f"no region {region!r} of partition {partition!r} is in the catalogue",
        fix="check the ARN; `sovgate regions list` shows them all",
        reason="unknown-region",
    )


@functools.cache
def _client(place: aws.Endpoint, profile: str | None) -> aws.Client:
    return aws.client("kms", place, kind=KeyServiceError, profile=profile)


class _Key:
    """One key, pinned (RULES 10): later calls name its ARN, and each answer's ARN is compared.

    region, grade   where the key lies, "provider:region", and how well that is known
    """

    def __init__(self, named: _Named, facts: dict[str, Any]) -> None:
        self._named = named
        self.arn = str(facts.get("Arn", ""))
        self.spec = str(facts.get("KeySpec", ""))
        self.usage = str(facts.get("KeyUsage", ""))
        self.region = named.row.id
        self.grade = _client(named.place, named.profile).grade
        if facts.get("Origin") == "EXTERNAL_KEY_STORE":  # it lies wherever its owner keeps it
            self.grade = min(self.grade, GRADE["declared"])
        self._check(facts)

    @classmethod
    def open(cls, uri: Uri, region: str | None) -> _Key:
        named = _parse(uri, region)
        with _errors("look up", "kms:DescribeKey", named.name):
            sdk = _client(named.place, named.profile).sdk
            facts = answers.ask(sdk, "describe_key", KeyId=named.name)["KeyMetadata"]
        return cls(named, facts)

    def _check(self, facts: dict[str, Any]) -> None:
        named, arn = self._named, _ARN.fullmatch(self.arn)
        if arn is None or not arn.group(4).startswith("key/"):
            raise _another(named.name, self.arn)
        row = named.row
        if (arn.group(1), arn.group(2)) != (row.partition, row.region):
            raise _outside(named.name, f"{arn.group(1)}:{arn.group(2)}", row.id)
        asked = named.name.rpartition(":")[2]
        same = asked.startswith("alias/") or asked.removeprefix("key/") == arn.group(4)[4:]
        if named.account not in (None, arn.group(3)) or not same:
            raise _another(named.name, self.arn)
        configuration = facts.get("MultiRegionConfiguration") or {}
        copies = [configuration.get("PrimaryKey"), *(configuration.get("ReplicaKeys") or ())]
        if facts.get("MultiRegion") and copies == [None]:
            copies = [{}]  # it has copies, and the service does not say where
        for copy in copies:
            if copy is not None and copy.get("Region") != row.region:
                there = str(copy.get("Region") or "a region that is not named")[:80]
                raise ResidencyMismatch(
                    f"{self.arn} has a copy outside its zone",
                    why=f"it is a multi-Region key, and one copy lies in {there}",
                    fix="use a key of one region, or delete that replica",
                    reason="key-elsewhere",
                )
        if facts.get("KeyState") != "Enabled":
            raise KeyServiceError(
                f"{self.arn} cannot be used",
                why=f"its state is {str(facts.get('KeyState'))[:40]}",
                fix="enable it, or name another key",
                reason="key-disabled",
            )

    def call(self, operation: str, permission: str, doing: str, **parameters: Any) -> Any:
        """One request about this key. Raises KeyServiceError; VerificationFailed on damage."""
        with _errors(doing, permission, self.arn):
            sdk = _client(self._named.place, self._named.profile).sdk
            answer = answers.ask(sdk, operation, KeyId=self.arn, **parameters)
        if answer.get("KeyId") != self.arn:
            raise _another(self.arn, str(answer.get("KeyId")))
        return answer

    @cached_property
    def public(self) -> PublicKey:
        from sovgate.formats.spki import PublicKey

        answer = self.call("get_public_key", "kms:GetPublicKey", "get the public half of")
        try:
            public = PublicKey.from_der(bytes(answer["PublicKey"]))
        except VerificationFailed as error:
            raise KeyServiceError(
                f"the public half of {self.arn} is none that can be used",
                why=error.why,
                reason="bad-key",
            ) from error
        named = public.algorithm.upper().replace("-", "_")  # "rsa-4096" as KMS writes it
        if _SIGNING.get(public.algorithm, (named,))[0] != self.spec:
            raise _another(f"a key of kind {self.spec}", public.algorithm)
        return public


class _Held:
    """What signers, recipients and identities share. Their reprs hold no secret."""

    def __init__(self, key: _Key) -> None:
        self._key = key
        self.region, self.grade = key.region, key.grade

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._key.arn})"


class KmsSigner(_Held):
    """ECDSA in KMS. Each signature is verified here before anyone sees it."""

    certificates: tuple[bytes, ...] = ()

    def __init__(self, key: _Key) -> None:
        super().__init__(key)
        self.public_key = key.public

    def sign(self, message: bytes) -> bytes:
        from sovgate.formats.spki import low_s

        _, algorithm, digest = _SIGNING[self.public_key.algorithm]
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
                fix="find out what answers at that endpoint",
                reason="bad-signature",
            ) from error
        return signature


class _Symmetric(_Held):
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
                f"{self._key.arn} gave a wrapped key that nobody could read back",
                why=f"it has {len(wrapped)} bytes; KMS gives {_MAX_CIPHERTEXT} at most",
                fix="find out what answers at that endpoint",
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


class _Rsa(_Held):
    """Named by the public key, as its PEM file is: what was wrapped with that file opens here."""

    algorithm = wrap.RSA_ALGORITHM

    def __init__(self, key: _Key) -> None:
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
        raise KeyServiceError("the wrap context is none", reason="bad-context")
    named = {f"sovgate:{name}": value for name, value in fields.items() if value is not None}
    if not all(isinstance(value, str) and value for value in named.values()):
        raise KeyServiceError("the wrap context is none", reason="bad-context")
    return {name: str(value) for name, value in named.items()}


@contextlib.contextmanager
def _errors(doing: str, permission: str, key: str) -> Iterator[None]:
    try:
        yield
    except SovgateError:
        raise
    except answers.failures() as error:
        code = answers.code_of(error)
        if code == "InvalidCiphertextException":
            # The cause is left out: nothing of what was sent belongs into a trace.
            raise wrap.damaged() from None
        if code == "NotFoundException":
            raise KeyServiceError(
                f"there is no key {key} in that account and region",
                fix="check the URI in sovgate.yaml",
                reason="no-such-key",
            ) from error
        if code in ("DisabledException", "KMSInvalidStateException"):
            raise KeyServiceError(
                f"{key} cannot be used now",
                why=code,
                fix="enable it, or name another key",
                reason="key-disabled",
            ) from error
        raise aws.explain(
            error, f"{doing} {key}", KeyServiceError, permission=permission, resource=key
        ) from error


def _cannot(key: _Key, why: str, fix: str = "name a key of another kind there") -> NoReturn:
    raise ConfigError(
        f"{key.arn} cannot do that",
        why=f"{why}; it is {key.spec} for {key.usage}",
        fix=fix,
        reason="unsupported-key-use",
    )


def _outside(name: str, found: str, declared: str) -> ResidencyMismatch:
    return ResidencyMismatch(
        f"the key {name[:200]} lies in {found[:80]}",
        why=f"it was declared for {declared}",
        fix=f"name a key in {declared}, or correct the zone's region",
        reason="key-elsewhere",
    )


def _another(asked: str, answered: str) -> KeyServiceError:
    return KeyServiceError(
        f"another key answered for {asked[:200]}",
        why=f"it was {answered[:200]}",
        fix="find out what answers at that endpoint, and which account it is",
        reason="wrong-key",
    )
