"""A key's objects in a token: exactly one private half, and the public half that belongs to it.

What a token tells is hostile: points are checked to lie on their curve, and two public halves that
differ are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sovgate.errors import ConfigError, KeyServiceError
from sovgate.formats.pkcs11uri import Pkcs11Uri, escape
from sovgate.keys._answers import bad_answer, no_such_key
from sovgate.keys._crypto import public_from
from sovgate.keys.pkcs11.process import FailedError

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey
    from sovgate.keys.pkcs11.token import Token

# CKK_RSA, CKK_EC.
_RSA, _EC = 0, 3
#: DER of CKA_EC_PARAMS: the object identifier of the named curve -> bytes of a coordinate.
_CURVES = {
    "06082a8648ce3d030107": ("SECP256R1", 32),
    "06052b81040022": ("SECP384R1", 48),
    "06052b81040023": ("SECP521R1", 66),
}
_FACTS = {
    "SENSITIVE": "sensitive",
    "EXTRACTABLE": "extractable",
    "ALWAYS_SENSITIVE": "always-sensitive",
    "NEVER_EXTRACTABLE": "never-extractable",
    "LOCAL": "made-in-token",
}


@dataclass(frozen=True, kw_only=True)
class Private:
    """`at`: its number in the module's process. `told`: attributes; None: it did not say."""

    at: int
    told: dict[str, Any]

    def may(self, use: str) -> bool:
        """CKA_SIGN, CKA_DECRYPT or CKA_DERIVE."""
        return self.told.get(use) is True

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """How well the secret is kept, as the token says it itself; nobody else vouches for it."""
        words = {True: "yes", False: "no", None: "not told"}
        return tuple((word, words[self.told.get(name)]) for name, word in _FACTS.items())


def private(token: Token, uri: Pkcs11Uri) -> Private:
    """Raises KeyServiceError: "no-such-key", "two-keys", "bare-key"."""
    found = _find(token, "PRIVATE_KEY", uri.label, uri.id, uri.key)
    if not found and uri.label is not None:
        number = _named_by_halves(token, uri)
        if number is not None:
            found = _find(token, "PRIVATE_KEY", None, number, uri.key)
    if not found:
        raise no_such_key(uri.key, f"among the private keys of the token {token.info}")
    if len(found) > 1:
        shown = ", ".join(
            f"object={escape(str(one.get('LABEL')))};id={escape(_bytes(one, 'ID') or b'')}"
            for one in found
        )
        raise KeyServiceError(
            f"{len(found)} private keys fit {uri.key[:200]}",
            why=f"they are {shown[:600]}",
            fix="name one by both, object= and id=",
            reason="two-keys",
        )
    told = found[0]
    if told.get("SENSITIVE") is False and told.get("EXTRACTABLE") is True:
        raise KeyServiceError(
            f"the key {uri.key[:200]} lies open in its token",
            why="it is extractable and not sensitive: whoever has the PIN reads its secret, so it "
            "is no better kept than in a file",
            fix="make a new key in the token that is sensitive and not extractable, and trust "
            "that one",
            reason="bare-key",
        )
    return Private(at=told["at"], told=told)


def there(token: Token, uri: Pkcs11Uri) -> bool:
    """Whether anything bears the key's label or id: either would be taken for the other."""
    wanted = [(uri.label, None), (None, uri.id)]
    return any(
        _find(token, kind, label, number, uri.key)
        for label, number in wanted
        if label is not None or number is not None
        for kind in ("PRIVATE_KEY", "PUBLIC_KEY", "CERTIFICATE")
    )


def _named_by_halves(token: Token, uri: Pkcs11Uri) -> bytes | None:
    """The CKA_ID of what bears the label where the private half bears none: in NSS, which names a
    key by its certificate. None where that is nothing, or several."""
    numbers = {
        number
        for kind in ("PUBLIC_KEY", "CERTIFICATE")
        for one in _find(token, kind, uri.label, uri.id, uri.key)
        if (number := _bytes(one, "ID"))
    }
    return numbers.pop() if len(numbers) == 1 else None


def public(token: Token, uri: Pkcs11Uri, held: Private | None) -> PublicKey | None:
    """The public half: of a public key object, a certificate, or the private object itself.

    Objects of one key share their CKA_ID; where the private half has none, or there is no login to
    see it, they are found by what the URI says. None: the token has it nowhere.
    Raises KeyServiceError: "two-keys", "bad-key", "bad-answer".
    """
    label, number = uri.label, uri.id
    if held is not None and _bytes(held.told, "ID"):
        label, number = None, _bytes(held.told, "ID")
    for kind in ("PUBLIC_KEY", "CERTIFICATE"):
        found = {
            key
            for one in _find(token, kind, label, number, uri.key)
            if (key := _half(one, uri.key)) is not None
        }
        if len(found) > 1:
            raise KeyServiceError(
                f"{len(found)} public halves fit {uri.key[:200]}",
                why=f"the token {token.info} has them as objects of kind {kind}",
                fix="name one key by both, object= and id=",
                reason="two-keys",
            )
        if found:
            return found.pop()
    return _half(held.told, uri.key) if held is not None else None


def require_public(found: PublicKey | None, token: Token, uri: Pkcs11Uri) -> PublicKey:
    if found is None:
        raise KeyServiceError(
            f"the token {token.info} has no public half of {uri.key[:200]}",
            why="neither a public key nor a certificate with its id or label can be seen"
            + ("" if token.logged_in else " without the PIN"),
            fix="write the key's public half, or its certificate, into the token with the same "
            "id; or name it beside the key: public-key: keys/NAME.pub.pem",
            reason="no-public-half",
        )
    return found


def _find(
    token: Token, kind: str, label: str | None, number: bytes | None, key: str
) -> list[dict[str, Any]]:
    doing = "look for"
    try:
        told = token.ask(
            "find", doing, kind=kind, label=label, id=number.hex() if number is not None else None
        ).get("objects")
    except FailedError as error:
        raise token.explained(error, doing, key) from None
    if not isinstance(told, list) or not all(
        isinstance(one, dict) and isinstance(one.get("at"), int) for one in told
    ):
        raise bad_answer(key, "its module told no list of objects")
    return told


def _half(told: dict[str, Any], key: str) -> PublicKey | None:
    """The public half that an object's attributes tell; None where they tell none."""
    certificate = _bytes(told, "VALUE")
    if certificate:
        return _of_certificate(certificate, key)
    if told.get("KEY_TYPE") == _EC:
        return _of_point(told, key)
    if told.get("KEY_TYPE") == _RSA:
        return _of_numbers(told, key)
    return None


def _of_certificate(der: bytes, key: str) -> PublicKey:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        loaded = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise bad_answer(key, "its certificate in the token cannot be read") from error
    return _spki(loaded, key)


def _of_point(told: dict[str, Any], key: str) -> PublicKey | None:
    from cryptography.hazmat.primitives.asymmetric import ec

    point, parameters = _bytes(told, "EC_POINT"), _bytes(told, "EC_PARAMS")
    if not point or not parameters:
        return None
    if parameters.hex() not in _CURVES:
        raise ConfigError(
            f"{key[:200]} is on a curve that is not used here",
            why=f"its CKA_EC_PARAMS are {parameters.hex()[:60]}",
            fix="make a key on P-256, P-384 or P-521, as a named curve",
            reason="unsupported-key-use",
        )
    curve, size = _CURVES[parameters.hex()]
    try:
        loaded = ec.EllipticCurvePublicKey.from_encoded_point(
            getattr(ec, curve)(), _unpacked(point, 2 * size + 1)
        )
    except ValueError as error:
        raise bad_answer(key, "its point is not on its curve") from error
    return _spki(loaded, key)


def _unpacked(point: bytes, size: int) -> bytes:
    """The point, out of the OCTET STRING that PKCS#11 2.20 asks for; some tokens give it bare."""
    length = bytes([size]) if size < 0x80 else bytes([0x81, size])
    head = b"\x04" + length
    return (
        point[len(head) :] if len(point) == len(head) + size and point.startswith(head) else point
    )


def _of_numbers(told: dict[str, Any], key: str) -> PublicKey | None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    modulus, exponent = _bytes(told, "MODULUS"), _bytes(told, "PUBLIC_EXPONENT")
    if not modulus or not exponent:
        return None
    try:
        loaded = rsa.RSAPublicNumbers(
            int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")
        ).public_key()
    except ValueError as error:
        raise bad_answer(key, "its modulus and exponent are no RSA key") from error
    return _spki(loaded, key)


def _spki(loaded: Any, key: str) -> PublicKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return public_from(loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), key)


def _bytes(told: dict[str, Any], name: str) -> bytes | None:
    value = told.get(name)
    try:
        return bytes.fromhex(value) if isinstance(value, str) else None
    except ValueError:
        return None
