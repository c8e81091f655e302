"""Keys in an HSM or a token, by PKCS#11: `pkcs11:token=LABEL;object=LABEL` (RFC 7512).

Signing: CKM_ECDSA over our own digest, on P-256, P-384 and P-521. Wrapping is done here with the
public half; RSA opens by CKM_RSA_PKCS_OAEP with SHA-256, and EC P-256 by CKM_ECDH1_DERIVE. Loads
the module that sovgate.yaml names, in a process of its own. Needs the PIN of the token's user, and
of the key CKA_SIGN, CKA_DECRYPT or CKA_DERIVE.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import ConfigError, KeyServiceError, SovgateError
from sovgate.files import read_descriptor
from sovgate.formats import hpke, pkcs11uri, wrap
from sovgate.formats.pkcs11uri import Pkcs11Uri
from sovgate.keys._answers import another, bad_answer, cannot
from sovgate.keys._api import Made
from sovgate.keys._crypto import (
    Held,
    HpkeIdentity,
    HpkeRecipient,
    OaepIdentity,
    OaepRecipient,
    ServiceSigner,
    public_from,
)
from sovgate.keys._opened import opened as opened_file
from sovgate.keys.pkcs11 import module, objects, token
from sovgate.keys.pkcs11.description import described
from sovgate.keys.pkcs11.generation import make
from sovgate.keys.pkcs11.process import FailedError
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey
    from sovgate.keys._api import KeyFacts, Wanted
    from sovgate.keys.pkcs11.objects import Private
    from sovgate.keys.pkcs11.token import Token

# CKM_RSA_PKCS_OAEP, CKM_ECDSA, CKM_ECDH1_DERIVE.
_OAEP, _ECDSA, _ECDH = 0x9, 0x1041, 0x1050
#: So tokens say that they do not know the hash, or do not take the template.
_NO_SHA256 = ("ArgumentsBad", "MechanismParamInvalid", "MechanismInvalid", "FunctionNotSupported")
_NOT_OPENED = (
    "EncryptedDataInvalid",
    "EncryptedDataLenRange",
    "DataInvalid",
    "DataLenRange",
    "WrappedKeyInvalid",
)
_MAX_PEM = 64 * 1024


def check(uri: Uri, base: Path, region: str | None = None) -> None:
    """Asks nobody. Raises ConfigError."""
    pkcs11uri.parse(uri.text)


def canonical(uri: Uri, base: Path, region: str | None = None) -> str:
    """Asks nobody, so a label is another word than the serial number of the same token."""
    return pkcs11uri.parse(uri.text).key


def public_key(uri: Uri, base: Path, region: str | None = None) -> PublicKey:
    """Without a login where the token shows it so, else with the PIN."""
    return _shown(module.named(uri.text), base).public_half


def recipient(uri: Uri, base: Path, region: str | None = None) -> OaepRecipient | HpkeRecipient:
    """Wraps here; as `public_key`."""
    held = _held(_shown(module.named(uri.text), base))
    return OaepRecipient(held) if _is_rsa(held) else HpkeRecipient(held)


def signer(uri: Uri, base: Path, region: str | None = None) -> ServiceSigner:
    """Needs the PIN, CKA_SIGN and CKM_ECDSA."""
    key = _Key.open(module.named(uri.text), base)
    made = ServiceSigner(_held(key), key.sign, raw=True)
    key.require("SIGN", _ECDSA, "CKM_ECDSA", "sign")
    return made


def identity(uri: Uri, base: Path, region: str | None = None) -> OaepIdentity | HpkeIdentity:
    """Needs the PIN, and CKA_DECRYPT and CKM_RSA_PKCS_OAEP, or CKA_DERIVE and CKM_ECDH1_DERIVE.

    Tried once with bytes of our own: what a token lists is no promise.
    """
    key = _Key.open(module.named(uri.text), base)
    held = _held(key)
    made: OaepIdentity | HpkeIdentity
    if _is_rsa(held):
        made = OaepIdentity(held, key.decrypt)
        key.require("DECRYPT", _OAEP, "CKM_RSA_PKCS_OAEP", "decrypt")
        key.try_decrypt()
    else:
        made = HpkeIdentity(held, key.derive)
        key.require("DERIVE", _ECDH, "CKM_ECDH1_DERIVE", "decrypt")
        key.try_derive()
    return made


def facts(uri: Uri, base: Path, region: str | None = None) -> tuple[tuple[str, str], ...]:
    """What the token says of the key. More than its token is told to whoever has the PIN."""
    named = module.named(uri.text)
    shown = _shown(named, base)
    key = _Key.open(named, base) if shown.token.can_login() else shown
    info = key.token.info
    return (
        ("token", f"{info}, {info.manufacturer} {info.model}"),
        *(key.private.facts if key.private is not None else ()),
    )


def describe(uri: Uri, base: Path, region: str | None = None) -> KeyFacts:
    """What the token says of the key. Needs the PIN."""
    key = _Key.open(module.named(uri.text), base)
    assert key.private is not None  # noqa: S101 - `open` looked
    return described(key.uri.key, key.token.info, key.private, key.public_half)


def generate(uri: Uri, base: Path, region: str | None, wanted: Wanted) -> Made:
    """Needs the PIN, and CKM_EC_KEY_PAIR_GEN or CKM_RSA_PKCS_KEY_PAIR_GEN."""
    named = replace(module.named(uri.text), public_key=None)
    make(named, base, wanted)
    key = _Key.open(named, base)
    if wanted.use == "encrypt" and key.public_half.algorithm.startswith("rsa-"):
        try:  # only a key that is there tells whether its token has SHA-256
            key.try_decrypt()
        except ConfigError as error:
            raise ConfigError(
                f"the key is made, and its token cannot decrypt with it: {named.key[:200]}",
                why=error.why,
                fix="remove it there (pkcs11-tool --delete-object --type privkey), and run this "
                "again with --algorithm ec-p256",
                reason=error.reason,
            ) from error
    return Made(uri=uri.text, name=named.key, public=key.public_half)


def _is_rsa(held: Held) -> bool:
    return held.public is not None and held.public.algorithm.startswith("rsa-")


def _held(key: _Key) -> Held:
    public = key.public_half
    return Held(name=key.uri.key, canonical=f"pkcs11:{public.key_id}", public=public)


def _pinned(uri: Pkcs11Uri, base: Path) -> PublicKey | None:
    """The public half that stands beside the key. Raises KeyServiceError, ConfigError."""
    if uri.public_key is None:
        return None
    path = base / uri.public_key
    data = read_descriptor(opened_file(path), most=_MAX_PEM, what=f"public key {str(path)!r}")
    return public_from(data, uri.public_key)


def _shown(uri: Pkcs11Uri, base: Path) -> _Key:
    """A key whose public half alone is needed: without a login, if the token shows it so."""
    opened = token.opened(uri, base, private=False)
    found = objects.public(opened, uri, None)
    pinned = _pinned(uri, base)
    if found is None and pinned is None and opened.can_login():
        return _Key.open(uri, base)
    return _Key(uri, opened, None, _agreed(found, pinned, opened, uri))


def _agreed(
    found: PublicKey | None, pinned: PublicKey | None, opened: Token, uri: Pkcs11Uri
) -> PublicKey:
    if found is not None and pinned is not None and found != pinned:
        raise another(
            f"{uri.key[:120]} with the public half {pinned.key_id}", f"one with {found.key_id}"
        )
    return pinned or objects.require_public(found, opened, uri)


class _Key:
    """A key in a token that is open. `private` is None where there was no login."""

    def __init__(
        self, uri: Pkcs11Uri, opened: Token, private: Private | None, public: PublicKey
    ) -> None:
        self.uri, self.token, self.private, self.public_half = uri, opened, private, public

    @classmethod
    def open(cls, uri: Pkcs11Uri, base: Path) -> _Key:
        opened = token.opened(uri, base, private=True)
        private = objects.private(opened, uri)
        found = objects.public(opened, uri, private)
        return cls(uri, opened, private, _agreed(found, _pinned(uri, base), opened, uri))

    def require(self, use: str, mechanism: int, name: str, doing: str) -> None:
        """Raises ConfigError, "unsupported-key-use"; KeyServiceError, "no-mechanism"."""
        if self.private is None or not self.private.may(use):
            raise cannot(self.uri.key, f"the token says that its CKA_{use} is not true")
        if mechanism not in self.token.mechanisms:
            raise KeyServiceError(
                f"{self.uri.key[:200]} cannot {doing}",
                why=f"the token {self.token.info} lists no {name}",
                fix=f"name a key in a token that has {name}: "
                "pkcs11-tool --module PATH --list-mechanisms",
                reason="no-mechanism",
            )

    def sign(self, digest: bytes) -> bytes:
        doing = "sign with"
        try:
            return self._bytes("sign", doing, digest=digest.hex())
        except FailedError as error:
            raise self.token.explained(error, doing, self.uri.key) from None

    def decrypt(self, wrapped: bytes) -> bytes:
        doing = "unwrap a key with"
        try:
            return self._bytes("decrypt", doing, wrapped=wrapped.hex())
        except FailedError as error:
            if error.name in _NOT_OPENED:
                raise wrap.damaged() from None
            raise self.token.explained(error, doing, self.uri.key) from None

    def derive(self, point: bytes) -> bytes:
        doing = "unwrap a key with"
        try:
            return self._bytes("derive", doing, point=point.hex())
        except FailedError as error:
            raise self.token.explained(error, doing, self.uri.key) from None

    def try_decrypt(self) -> None:
        """Open what was wrapped here, so that a token which lacks SHA-256 says so now."""
        context = b"sovgate asks the token before anything is wrapped for it"
        wrapped = wrap.oaep_wrap(self.public_half, bytes(wrap.KEY_SIZE), context)
        try:
            opened = self._bytes("decrypt", "try", wrapped=wrapped.hex())
        except FailedError as error:
            if error.name not in _NO_SHA256:
                raise self._not_ours(error) from None
            raise cannot(
                self.uri.key,
                f"its token takes no RSA-OAEP with SHA-256 ({error.name}; SoftHSM 2 has SHA-1 "
                "alone), and sovgate never falls back to SHA-1 or to raw RSA",
                "make an EC key on P-256 in this token (CKA_DERIVE), and name it under encrypt: "
                "and its public half under encrypt-public:",
            ) from None
        if opened != wrap.bind(bytes(wrap.KEY_SIZE), context):
            raise another(self.uri.key, "one that opened to other bytes")

    def try_derive(self) -> None:
        """One exchange with a key of our own: the private half must belong to the public one."""
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        ours = ec.generate_private_key(ec.SECP256R1())
        point = ours.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        theirs = hpke.check_point(self.public_half.der[-hpke.POINT_SIZE :])
        try:
            shared = self._bytes("derive", "try", point=point.hex())
        except FailedError as error:
            raise self._not_ours(error) from None
        if shared != ours.exchange(ec.ECDH(), theirs):
            raise another(self.uri.key, "one whose private half is not of that public half")

    def _not_ours(self, error: FailedError) -> SovgateError:
        return self.token.explained(error, "try", self.uri.key)

    def _bytes(self, do: str, doing: str, **parameters: str) -> bytes:
        assert self.private is not None  # noqa: S101 - `require` looked
        told = self.token.ask(do, doing, at=self.private.at, **parameters)
        try:
            return bytes.fromhex(told["bytes"])
        except (KeyError, TypeError, ValueError):
            raise bad_answer(self.uri.key, "its module gave no bytes") from None
