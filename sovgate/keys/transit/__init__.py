"""Keys in the transit engine of OpenBao and HashiCorp Vault: `openbao://NAME`, `hashivault://NAME`.

Signing: ecdsa-p256, p384, p521. Wrapping: aes256-gcm96, bound to the wrap context by the engine and
inside; RSA keys wrap here, with their public half, and open there. Talks to one server only.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.errors import Malformed, SovgateError
from sovgate.formats import wrap
from sovgate.keys import _answers
from sovgate.keys._crypto import (
    BoundIdentity,
    BoundRecipient,
    Held,
    OaepIdentity,
    OaepRecipient,
    ServiceSigner,
)
from sovgate.keys.transit.description import describe as describe
from sovgate.keys.transit.generation import generate as generate
from sovgate.keys.transit.key import RSA, SIGNING, SYMMETRIC, Key
from sovgate.keys.transit.place import located
from sovgate.keys.transit.server import Call, Said
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

ALGORITHM = "transit-aes256-gcm96"
#: What the engine writes before a signature and a ciphertext.
_MARKED = re.compile(r"vault:v([1-9][0-9]{0,5}):([A-Za-z0-9+/]{1,8192}={0,2})", re.ASCII)
#: nonce, key and bound context, tag.
_CIPHERTEXT = 12 + 2 * wrap.KEY_SIZE + 16


def check(uri: Uri, base: Path, region: str | None = None) -> None:
    """Asks nobody. Raises ConfigError."""
    located(uri)


def canonical(uri: Uri, base: Path, region: str | None = None) -> str:
    """Asks nobody; all versions of a key are one key, by whichever of the two schemes."""
    return located(uri).canonical


def facts(uri: Uri, base: Path, region: str | None = None) -> tuple[tuple[str, str], ...]:
    """What the engine says of a key, for people. Needs `read` on MOUNT/keys/NAME."""
    return Key.open(uri).told()


def public_key(uri: Uri, base: Path, region: str | None = None) -> PublicKey:
    """Needs `read` on MOUNT/keys/NAME."""
    key = Key.open(uri)
    if key.symmetric:
        raise _answers.cannot(
            key.name,
            "it is symmetric, and has no public half",
            "name the encryption key under encrypt:, not encrypt-public:",
        )
    _one_of(key, (*SIGNING, *RSA), "it has no public half that sovgate knows")
    return key.public


def signer(uri: Uri, base: Path, region: str | None = None) -> ServiceSigner:
    """Needs `read` on MOUNT/keys/NAME, and `update` on MOUNT/sign/NAME."""
    key = Key.open(uri, "sign")
    _one_of(key, tuple(SIGNING), "signatures are made with ecdsa-p256, ecdsa-p384 or ecdsa-p521")
    return ServiceSigner(_held(key), lambda digest: _sign(key, digest))


def recipient(uri: Uri, base: Path, region: str | None = None) -> BoundRecipient | OaepRecipient:
    """Needs `read` on MOUNT/keys/NAME; of a symmetric key also `update` on MOUNT/encrypt/NAME."""
    key = _wrapping(uri, "encrypt")
    if not key.symmetric:
        return OaepRecipient(_held(key))
    return BoundRecipient(_held(key), ALGORITHM, lambda plain, bound: _encrypt(key, plain, bound))


def identity(uri: Uri, base: Path, region: str | None = None) -> BoundIdentity | OaepIdentity:
    """Needs `read` on MOUNT/keys/NAME, and `update` on MOUNT/decrypt/NAME."""
    key = _wrapping(uri, "decrypt")
    if not key.symmetric:
        return OaepIdentity(_held(key), lambda wrapped: _decrypt_rsa(key, wrapped))
    return BoundIdentity(
        _held(key), ALGORITHM, lambda wrapped, bound: _decrypt(key, wrapped, bound)
    )


def _wrapping(uri: Uri, operation: str) -> Key:
    key = Key.open(uri, operation)
    _one_of(key, (SYMMETRIC, *RSA), f"keys are wrapped with {SYMMETRIC} or {', '.join(RSA)}")
    return key


def _one_of(key: Key, kinds: tuple[str, ...], why: str) -> None:
    if key.kind not in kinds:
        raise _answers.cannot(
            key.name,
            f"{why}; it is of kind {key.kind}",
            f"name another, or make one: {key.at.tool} write {key.at.mount}/keys/NAME "
            f"type={kinds[0]}",
        )


def _held(key: Key) -> Held:
    if key.symmetric:
        return Held(name=key.name, canonical=key.canonical, public=None)
    return Held(name=key.name, canonical=key.canonical, public=key.public, version=str(key.version))


def _sign(key: Key, digest: bytes) -> bytes:
    """The digest, signed by the pinned version: DER."""
    _, hashed = SIGNING[key.kind]
    data = key.call(
        Call(
            method="POST",
            path=key.at.path("sign"),
            doing="sign with",
            body={
                "input": strict.b64encode(digest),
                "prehashed": True,
                "hash_algorithm": hashed,
                "marshaling_algorithm": "asn1",
                "key_version": key.version,
            },
            meant=lambda said: key.refused(said, key.version),
        )
    )
    return _marked(key, data.get("signature"))[1]


def _encrypt(key: Key, plain: bytes, context: bytes) -> bytes:
    """The engine's own text, "vault:vN:…". An engine too old to know associated data leaves it
    out and says nothing, so the context is inside as well."""
    bound = wrap.bind(plain, context)
    sent = strict.b64encode(bound)
    data = key.call(
        Call(
            method="POST",
            path=key.at.path("encrypt"),
            doing="wrap a key with",
            body={
                "plaintext": sent,
                "associated_data": strict.b64encode(context),
                "key_version": key.version,
            },
            meant=lambda said: key.refused(said, key.version),
            secrets=(sent,),
        )
    )
    text = data.get("ciphertext")
    _, raw = _marked(key, text)
    if len(raw) != _CIPHERTEXT or plain in raw:
        raise _answers.bad_answer(key.name, "what it calls wrapped is no ciphertext of that key")
    return str(text).encode("ascii")


def _decrypt(key: Key, wrapped: bytes, context: bytes) -> bytes:
    match = _MARKED.fullmatch(wrapped.decode("ascii", "replace"))
    if match is None:
        raise wrap.damaged()
    opened = _opened(
        key, match.group(), int(match.group(1)), {"associated_data": strict.b64encode(context)}
    )
    return wrap.unbind(opened, context)


def _decrypt_rsa(key: Key, wrapped: bytes) -> bytes:
    """RSAES-OAEP with SHA-256, MGF1 with SHA-256 and no label is all that the engine has."""
    text = f"vault:v{key.version}:{strict.b64encode(wrapped)}"
    return _opened(key, text, key.version, {})


def _opened(key: Key, ciphertext: str, version: int, more: dict[str, str]) -> bytes:
    if version < key.policy.least_decrypting:
        raise key.shut(version)

    def meant(said: Said) -> SovgateError | None:
        damage = ("authentication failed", "decryption error", "invalid ciphertext length")
        broken = "invalid ciphertext" in said.text and "too new" not in said.text
        if said.status in (400, 500) and (broken or any(word in said.text for word in damage)):
            return wrap.damaged()
        return key.refused(said, version)

    data = key.call(
        Call(
            method="POST",
            path=key.at.path("decrypt"),
            doing="unwrap a key with",
            body={"ciphertext": ciphertext, **more},
            meant=meant,
        )
    )
    opened = data.get("plaintext")
    try:
        if not isinstance(opened, str):
            raise Malformed("no text")
        return strict.b64decode(opened)
    except Malformed:
        # The cause is left out: it is what a secret was read from.
        raise _answers.bad_answer(key.name, "what it opened is no base64") from None


def _marked(key: Key, text: object) -> tuple[int, bytes]:
    """RULES 10: the version in an answer is the pinned one."""
    match = _MARKED.fullmatch(text) if isinstance(text, str) else None
    try:
        raw = strict.b64decode(match.group(2)) if match else b""
    except Malformed:
        raw = b""
    if match is None or not raw:
        raise _answers.bad_answer(key.name, "it is not vault:vN: and base64")
    if int(match.group(1)) != key.version:
        raise _answers.another(key.name, f"version {match.group(1)} of it")
    return int(match.group(1)), raw
