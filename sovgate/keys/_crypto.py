"""What all key adapters share: signing, RSA-OAEP and bound wrapping around a service's own calls.

An adapter brings one function that asks its service; everything that can be done or checked here is
done here, under the public half that was pinned when the key was opened. No I/O, no SDK.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate.errors import KeyServiceError, SovgateError, VerificationFailed
from sovgate.formats import wrap, xwing
from sovgate.keys._answers import cannot
from sovgate.records import GRADE

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

#: What a service may give as a signature. DER of P-521 has 139 bytes.
_MAX_SIGNATURE = 1024


@dataclass(frozen=True, kw_only=True)
class Held:
    """One key as it was when it was opened: pinned, and no secret.

    name       by which its service is asked, its answers are compared, and people are told
    canonical  one spelling for all URIs of the key, by the name that the service gives; None for
               a file, which is compared before it is opened
    public     None for a symmetric key
    version    as the service calls it; None where it has none
    region     "provider:region", where it is known; grade: how well (records.GRADE)
    """

    name: str
    canonical: str | None
    public: PublicKey | None
    version: str | None = None
    region: str | None = None
    grade: int = GRADE["declared"]


class _Opened:
    """What signers, recipients and identities share. A repr shows names alone."""

    def __init__(self, held: Held) -> None:
        self.name = held.name
        self.canonical, self.version = held.canonical, held.version
        self.region, self.grade = held.region, held.grade

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name[:200]!r})"


class ServiceSigner(_Opened):
    """ECDSA on the curve of `held.public`.

    `sign` gets the digest (`hashed=False`: the message) and gives DER (`raw=True`: r ‖ s). Whatever
    it gives is brought into the one form that is ours, and verified under the pinned public half.
    Raises ConfigError for a key that is none to sign with.
    """

    def __init__(
        self,
        held: Held,
        sign: Callable[[bytes], bytes],
        *,
        raw: bool = False,
        hashed: bool = True,
        certificates: tuple[bytes, ...] = (),
    ) -> None:
        super().__init__(held)
        if held.public is None or not held.public.can_verify:
            kind = held.public.algorithm if held.public else "symmetric"
            raise cannot(
                held.name,
                f"it is a key of kind {kind}; signatures are made with EC P-256, P-384 or P-521",
                "name a signing key, or make one with: sovgate keys generate sign -o FILE",
            )
        self.public_key = held.public
        self.certificates = certificates
        self._sign, self._raw, self._hashed = sign, raw, hashed

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name[:200]!r}, key_id={self.public_key.key_id})"

    def sign(self, message: bytes) -> bytes:
        """DER, low S: of the two signatures (r, s) and (r, n-s) only one is ever ours.

        Raises KeyServiceError, "bad-signature", and what the service's call raises.
        """
        from sovgate.formats.spki import from_raw, low_s

        algorithm = self.public_key.algorithm
        given = self._sign(digest(algorithm, message) if self._hashed else message)
        try:
            if len(given) > _MAX_SIGNATURE:
                raise ValueError(f"a signature of {len(given)} bytes")
            signature = low_s(from_raw(given, algorithm) if self._raw else given, algorithm)
            self.public_key.verify(message, signature)
        except (ValueError, VerificationFailed) as error:
            raise KeyServiceError(
                f"{self.name[:200]} gave a signature that does not verify",
                why="checked here with the public half that this key had when it was opened",
                fix="find out which service answers there, and whether the key was replaced",
                reason="bad-signature",
            ) from error
        return signature


def digest(algorithm: str, message: bytes) -> bytes:
    """The message hashed as the key's curve demands."""
    from sovgate.formats.spki import hash_name

    return hashlib.new(hash_name(algorithm), message).digest()


class _Oaep(_Opened):
    """Named by the public key, as its PEM file is: what was wrapped with that file opens here."""

    algorithm = wrap.RSA_ALGORITHM

    def __init__(self, held: Held) -> None:
        super().__init__(held)
        if held.public is None or not held.public.algorithm.startswith("rsa-"):
            kind = held.public.algorithm if held.public else "symmetric"
            raise cannot(
                held.name,
                f"it is a key of kind {kind}; RSA-OAEP needs RSA 2048, 3072 or 4096",
            )
        self.public_key = held.public
        self.key_id = held.public.key_id


class OaepRecipient(_Oaep):
    """Wraps here, with the pinned public half, and asks nobody (`formats.wrap`)."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        return wrap.oaep_wrap(self.public_key, key, context)


class OaepIdentity(_Oaep):
    """`decrypt` opens RSAES-OAEP with SHA-256, MGF1 with SHA-256 and no label.

    It raises `wrap.damaged()` where the service says that the bytes do not open.
    """

    def __init__(self, held: Held, decrypt: Callable[[bytes], bytes]) -> None:
        super().__init__(held)
        self._decrypt = decrypt

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return wrap.unbind(self._decrypt(wrapped), context)


class _Hpke(_Opened):
    """As `_Oaep`, on P-256 or the hybrid: named by the public key, as its PEM file is."""

    def __init__(self, held: Held) -> None:
        super().__init__(held)
        if held.public is None or held.public.algorithm not in wrap.HPKE:
            kind = held.public.algorithm if held.public else "symmetric"
            raise cannot(
                held.name,
                f"it is a key of kind {kind}; keys are wrapped with RSA 2048, 3072 or 4096, "
                f"with EC P-256, or with {xwing.NAME}",
            )
        self.algorithm = wrap.HPKE[held.public.algorithm]
        self.public_key = held.public
        self.key_id = held.public.key_id


class HpkeRecipient(_Hpke):
    """Wraps here, with the pinned public half, and asks nobody (`formats.hpke`)."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        from sovgate.formats import hpke

        return hpke.wrapped(self.public_key, key, context)


class HpkeIdentity(_Hpke):
    """`ecdh` gives the x-coordinate, 32 bytes, for a point that was checked to be on P-256."""

    def __init__(self, held: Held, ecdh: Callable[[bytes], bytes]) -> None:
        super().__init__(held)
        self._ecdh = ecdh

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        from sovgate.formats import hpke

        return hpke.opened(wrapped, self.public_key, context, self._ecdh)


class _Bound(_Opened):
    def __init__(self, held: Held, algorithm: str) -> None:
        super().__init__(held)
        self.key_id = held.name
        self.algorithm = algorithm


class BoundRecipient(_Bound):
    """A symmetric key: `encrypt(key, context)` binds the context as associated data.

    Where a service has none, the adapter encrypts `wrap.bind(key, context)`, and its identity
    gives `wrap.unbind(opened, context)`.
    """

    def __init__(self, held: Held, algorithm: str, encrypt: Callable[[bytes, bytes], bytes]):
        super().__init__(held, algorithm)
        self._encrypt = encrypt

    def wrap(self, key: bytes, context: bytes) -> bytes:
        wrap.check_key(key)
        wrapped = self._encrypt(key, context)
        if not 0 < len(wrapped) <= wrap.MAX_WRAPPED:
            raise KeyServiceError(
                f"{self.name[:200]} gave a wrapped key that cannot be read back",
                why=f"it has {len(wrapped)} bytes; the format takes 1 to {wrap.MAX_WRAPPED}",
                fix="find out which service answers there",
                reason="bad-answer",
            )
        if key in wrapped:
            raise KeyServiceError(
                f"{self.name[:200]} gave the release key back unwrapped",
                why="whoever reads the store could read it",
                fix="find out which service answers there",
                reason="bad-answer",
            )
        return wrapped


class BoundIdentity(_Bound):
    """`decrypt(wrapped, context)` raises `wrap.damaged()` where the bytes do not open."""

    def __init__(self, held: Held, algorithm: str, decrypt: Callable[[bytes, bytes], bytes]):
        super().__init__(held, algorithm)
        self._decrypt = decrypt

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        key = self._decrypt(wrapped, context)
        if len(key) != wrap.KEY_SIZE:
            raise wrap.damaged()
        return key


def public_from(data: bytes, name: str) -> PublicKey:
    """The public half that a service gives, as DER or PEM. Raises KeyServiceError, "bad-key"."""
    from sovgate.formats.spki import PublicKey

    try:
        if data.lstrip().startswith(b"-----BEGIN"):
            return PublicKey.from_pem(data)
        return PublicKey.from_der(data)
    except SovgateError as error:
        raise KeyServiceError(
            f"the public half of {name[:200]} cannot be used",
            why=error.why,
            fix="name a key on EC P-256, P-384 or P-521, or of RSA 2048, 3072 or 4096",
            reason="bad-key",
        ) from error
