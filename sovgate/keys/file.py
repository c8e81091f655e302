"""Keys in PEM files: `file:PATH` and bare paths. Reads the file that the user named, writes none.

Signing: EC P-256, P-384, P-521, with the key's certificates where they stand in its file. Wrapping:
RSA 2048 to 4096 (OAEP), EC P-256 and ML-KEM-768 with X25519 (HPKE). A private key may be encrypted;
its passphrase comes by `_secret`, under the name of SOVGATE_KEY_PASSPHRASE.
"""

from __future__ import annotations

import os
import shlex
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sovgate import files
from sovgate.errors import (
    ConfigError,
    DiskError,
    KeyServiceError,
    SovgateError,
    UsageError,
    VerificationFailed,
)
from sovgate.formats import keyfile, publickey, wrap, xwing
from sovgate.formats.spki import hash_name
from sovgate.keys._api import History, KeyFacts, Lies, Protection
from sovgate.keys._crypto import Held, HpkeRecipient, OaepIdentity, OaepRecipient, ServiceSigner
from sovgate.keys._opened import opened
from sovgate.keys._secret import secret, source
from sovgate.links import may_own, mounted_secret, others_write
from sovgate.uri import Uri

if TYPE_CHECKING:
    from sovgate.formats.bundle import Bundle
    from sovgate.formats.publickey import ZonePublicKey
    from sovgate.formats.spki import PublicKey

PASSPHRASE = "SOVGATE_KEY_PASSPHRASE"  # noqa: S105 (the variable's name)
MAX_PEM = 64 * 1024
#: Of a private key alone.
_WRITABLE = "key-permissions"


def public_key(uri: Uri, base: Path, region: str | None = None) -> PublicKey:
    """The public half of a public or a private key file, or that of an exported key to sign."""
    data, path = _read(uri, base)
    exported = _exported(data, path)
    if exported is not None:
        return publickey.signed_by_itself(*exported, path)
    if _is_private(data):
        return _public_half(_load_private(data, path), path)
    return _load_public(data, path)


def exported(uri: Uri, base: Path) -> tuple[bytes, ZonePublicKey] | None:
    """What `keys export` wrote there: its bytes, whose signature is not verified yet, and what they
    say. None for another file. Raises UnbelievedKeyError."""
    data, path = _read(uri, base)
    found = _exported(data, path)
    return None if found is None else (data, found[1])


def _exported(data: bytes, path: str) -> tuple[Bundle, ZonePublicKey] | None:
    if not publickey.looks_like(data):
        _refuse_foreign(data, path)
    return publickey.in_file(data, path)


def is_private(uri: Uri, base: Path) -> bool:
    """Whether the file holds a private half. One that cannot be read is told by who opens it."""
    try:
        return _is_private(_read(uri, base)[0])
    except SovgateError as error:
        return error.reason == _WRITABLE


def canonical(uri: Uri, base: Path, region: str | None = None) -> str:
    """By its path, links followed; a copy has another."""
    return f"file:{os.path.realpath(base / uri.rest)}"


def describe(uri: Uri, base: Path, region: str | None = None) -> KeyFacts:
    """What a key's file tells: nothing of its age. An encrypted one is not opened for it."""
    mounted = mounted_secret(uri.rest, base)
    if mounted is not None:
        uri = Uri(scheme=uri.scheme, rest=os.fspath(mounted), text=uri.text)
    data, path = _read(uri, base)
    exported = _exported(data, path)
    private, locked = _is_private(data), b"ENCRYPTED" in data
    public: PublicKey | None = None
    if exported is not None:
        public = exported[1].key
    elif not private:
        public = _load_public(data, path)
    elif not locked:
        public = _public_half(_load_private(data, path), path)
    mode = stat.S_IMODE(os.stat(base / uri.rest).st_mode)  # noqa: PTH116 (Path's raises otherwise)
    half = "private" if private else "public"
    encrypted = ", encrypted with a passphrase" if locked else ""
    kind = public.algorithm if public is not None else None
    return KeyFacts(
        service="file",
        name=path,
        state="enabled",
        uses=_uses(kind) if kind is not None else None,
        algorithm=kind,
        protection=Protection(
            hsm=False,
            told=f"software, a {half} key file of mode {mode:04o}{encrypted}",
            exportable=private,
        ),
        history=History(),
        lies=Lies(),
        public=public,
    )


def _uses(kind: str) -> tuple[str, ...]:
    """On P-256 it does both."""
    signs, wraps = kind.startswith("ecdsa-"), kind.startswith("rsa-") or kind in wrap.HPKE
    return tuple(use for use, does in (("sign", signs), ("encrypt", wraps)) if does)


def signer(uri: Uri, base: Path, region: str | None = None) -> ServiceSigner:
    try:
        key, path, data = _private(uri, base, "sign")
    except UsageError as error:
        if error.reason == "missing-path":
            half = f"{uri.rest.removesuffix('.pem')}.pub.pem"
            error.fix = (
                f"restore the key that belongs to {half}: a new key is another signer"
                if os.path.exists(base / half)  # noqa: PTH110 (Path's raises)
                else f"{error.fix}; sovgate keys generate sign -o FILE makes a new key"
            )
        raise
    public = _public_half(key, path)
    held = Held(name=path, canonical=None, public=public)
    return ServiceSigner(
        held, partial(_signed, key, public), certificates=_certificates(data, public, path)
    )


def _signed(key: Any, public: PublicKey, digest: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    algorithm = getattr(hashes, hash_name(public.algorithm).upper())()
    signature: bytes = key.sign(digest, ec.ECDSA(utils.Prehashed(algorithm)))
    return signature


def recipient(uri: Uri, base: Path, region: str | None = None) -> OaepRecipient | HpkeRecipient:
    return recipient_of(public_key(uri, base), uri.rest)


def recipient_of(public: PublicKey, name: str) -> OaepRecipient | HpkeRecipient:
    """Wraps for a public half that is at hand. Raises ConfigError for one that is none for that."""
    held = Held(name=name, canonical=None, public=public)
    if _wrap_algorithm(public, name) == wrap.RSA_ALGORITHM:
        return OaepRecipient(held)
    return HpkeRecipient(held)


def identity(uri: Uri, base: Path, region: str | None = None) -> OaepIdentity | HpkeIdentity:
    key, path, _ = _private(uri, base, "decrypt")
    public = _public_half(key, path)
    if _wrap_algorithm(public, path) == wrap.RSA_ALGORITHM:
        held = Held(name=path, canonical=None, public=public)
        return OaepIdentity(held, partial(_decrypted, key))
    return HpkeIdentity(key, public)


def _decrypted(key: Any, wrapped: bytes) -> bytes:
    try:
        opened: bytes = key.decrypt(wrapped, wrap.oaep())
    except ValueError as error:
        raise wrap.damaged() from error
    return opened


class HpkeIdentity:
    def __init__(self, key: Any, public: PublicKey) -> None:
        self._key = key.loaded() if isinstance(key, xwing.Private) else key
        self._kind, self.key_id = public.algorithm, public.key_id
        self.algorithm = wrap.HPKE[public.algorithm]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.algorithm}, key_id={self.key_id})"

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        from sovgate.formats import hpke

        try:
            key: bytes = hpke.suite(self._kind).decrypt(wrapped, self._key, context)
        except (InvalidTag, ValueError) as error:
            raise wrap.damaged() from error
        if len(key) != wrap.KEY_SIZE:
            raise wrap.damaged()
        return key


def _wrap_algorithm(public: PublicKey, path: str) -> str:
    if public.algorithm.startswith("rsa-"):
        return wrap.RSA_ALGORITHM
    if public.algorithm in wrap.HPKE:
        return wrap.HPKE[public.algorithm]
    raise ConfigError(
        f"{path} cannot wrap keys",
        why=f"it is a key of kind {public.algorithm}; keys are wrapped with RSA 2048, 3072 or "
        f"4096, with EC P-256, or with {xwing.NAME}",
        fix="make one with: sovgate keys generate encrypt -o FILE",
        reason="unsupported-key-use",
    )


def _read(uri: Uri, base: Path) -> tuple[bytes, str]:
    """The file's bytes and its path. Links are followed as Kubernetes mounts secrets (RULES 40)."""
    path = base / uri.rest
    descriptor = opened(path)
    state = os.fstat(descriptor)
    if not may_own(state):
        os.close(descriptor)
        raise ConfigError(
            f"the key {os.fspath(path)!r} belongs to another user",
            why="its project was found above this folder, and says whom to trust",
            fix=f"if you mean that project, name it: --project {shlex.quote(str(base))}",
            reason="key-owner",
        )
    try:
        data = files.read_descriptor(descriptor, most=MAX_PEM, what=f"key {os.fspath(path)!r}")
    except VerificationFailed as error:
        raise _bad_file(str(path), error) from error
    data = keyfile.decoded(data)
    if _is_private(data) and others_write(state):
        # Readable by a group or by all is how containers mount secrets; writable never is.
        raise DiskError(
            f"the private key {os.fspath(path)!r} can be written by others",
            why=f"its mode is {stat.S_IMODE(state.st_mode):04o}, so they could have put it there",
            fix=f"make a new key; if you trust this one: chmod 600 {path}",
            reason=_WRITABLE,
        )
    return data, str(path)


def _refuse_foreign(data: bytes, path: str) -> None:
    """Before it is asked for a passphrase, and before another reason is given that is not true."""
    found = keyfile.foreign(data)
    if found is not None:
        raise ConfigError(
            f"{path} is not a key that sovgate can use",
            why=f"it is {found.what}",
            fix=found.fix,
            reason="bad-key",
        )


def _is_private(data: bytes) -> bool:
    return b"PRIVATE KEY-----" in data


def _private(uri: Uri, base: Path, use: str) -> tuple[Any, str, bytes]:
    mounted = mounted_secret(uri.rest, base)
    if mounted is not None:
        uri = Uri(scheme=uri.scheme, rest=os.fspath(mounted), text=uri.text)
    data, path = _read(uri, base)
    _refuse_foreign(data, path)
    if not _is_private(data):
        raise ConfigError(
            f"{path} holds no private key",
            why=f"the private half is needed to {use}",
            fix="name the private key file there",
            reason="not-private",
        )
    return _load_private(data, path), path, data


def _certificates(data: bytes, public: PublicKey, path: str) -> tuple[bytes, ...]:
    """The chain that stands in the key's file, leaf first: DER. Usually there is none."""
    if b"-----BEGIN CERTIFICATE-----" not in data:
        return ()
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        chain = x509.load_pem_x509_certificates(data)
        leaf = chain[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError as error:
        raise _bad_file(path, error) from error
    if leaf != public.der:
        raise ConfigError(
            f"the first certificate in {path} is not for the key in it",
            fix="put the key first, then its own certificate, then the certificates above it",
            reason="bad-key",
        )
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in chain)


def _load_private(data: bytes, path: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    hybrid = xwing.Private.from_pem(data)
    if hybrid is not None:
        return hybrid
    passphrase: bytes | None = None
    if b"ENCRYPTED" in data:
        text = secret(
            f"the passphrase of {path}",
            PASSPHRASE,
            why="the private key is encrypted",
            reason="passphrase-missing",
        )
        passphrase = os.fsencode(text)
    try:
        return load_pem_private_key(data, password=passphrase)
    except UnsupportedAlgorithm as error:
        if passphrase is None:
            raise _bad_file(path, error) from error
        raise ConfigError(
            f"{path} is not a key that sovgate can use",
            why="it is encrypted, and the kind of key in it, or the cipher, is not known; a hybrid "
            f"key ({xwing.NAME}) cannot be encrypted with a passphrase",
            fix="name a hybrid key's file as `sovgate keys generate` wrote it, and keep that in a "
            "Secret; encrypt one of another kind anew: openssl pkcs8 -topk8 -in FILE -out NEW",
            reason="bad-key",
        ) from error
    except (ValueError, TypeError) as error:
        if passphrase is not None:
            raise KeyServiceError(
                f"the private key {path} does not open",
                why=f"the passphrase of {source(PASSPHRASE)} is wrong, or the file is damaged",
                fix=f"set {PASSPHRASE} to the passphrase of this key",
                reason="passphrase-wrong",
            ) from error
        raise _bad_file(path, error) from error


def _public_half(key: Any, path: str) -> PublicKey:
    from cryptography.hazmat.primitives import serialization

    from sovgate.formats.spki import PublicKey

    if isinstance(key, xwing.Private):
        der = key.public_der()
    else:
        der = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    try:
        return PublicKey.from_der(der)
    except SovgateError as error:
        raise _bad_file(path, error) from error


def _load_public(data: bytes, path: str) -> PublicKey:
    from sovgate.formats.spki import PublicKey

    try:
        return PublicKey.from_pem(data)
    except SovgateError as error:
        raise _bad_file(path, error) from error


def _bad_file(path: str, error: Exception) -> ConfigError:
    """The library's own words stay out of it: they may describe the inside of a secret."""
    ours = error if isinstance(error, SovgateError) else None
    return ConfigError(
        f"{path} is not a key that sovgate can use",
        why=(ours.why or ours.what)
        if ours
        else "it is not a PKCS#8, SEC1 or SubjectPublicKeyInfo PEM file",
        fix=(ours.fix if ours else None)
        or "make one with: sovgate keys generate sign|encrypt -o FILE",
        reason="bad-key",
    )
