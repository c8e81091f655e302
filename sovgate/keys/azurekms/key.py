"""One version of a key in Azure Key Vault: read, pinned, and asked. Talks to one vault.

RULES 10: later calls name the version, and the `kid` of each answer is compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sovgate.keys import _answers
from sovgate.keys._crypto import Held, public_from
from sovgate.keys.azurekms.names import Named
from sovgate.keys.azurekms.vault import Vault, decoded, encoded

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey

SIGNING = {
    "ecdsa-p256-sha256": ("P-256", "ES256"),
    "ecdsa-p384-sha384": ("P-384", "ES384"),
    "ecdsa-p521-sha512": ("P-521", "ES512"),
}
_WANTED = {
    "sign": "signatures are made with EC keys on P-256, P-384 or P-521 whose operations have sign",
    "unwrapKey": "keys are wrapped with RSA keys of 2048, 3072 or 4096 bits whose operations have "
    "unwrapKey",
}


class Key:
    """One version of a key, pinned: later calls name it, and each answer's `kid` is compared."""

    def __init__(self, vault: Vault, version: str, public: PublicKey, kept: str) -> None:
        """`kept`: its type, and what it is for, as the vault says it."""
        named = vault.named
        self._vault, self.public, self.kept = vault, public, kept
        self._path = f"{named.key}/{version}"
        self._kid = f"https://{named.host}/keys/{self._path}"
        self.held = Held(
            name=self._kid,
            canonical=named.canonical,
            public=public,
            version=version,
            region=named.region,
        )

    @classmethod
    def open(cls, named: Named, use: str | None = None) -> Key:
        """`use`: an operation that it must have, and that its kind can do for us."""
        vault = Vault(named)
        path = f"{named.key}/{named.version}" if named.version else named.key
        answer = vault.ask(path, "look up", named.action("read"))
        told, state = answer.get("key"), answer.get("attributes")
        if not isinstance(told, dict) or not isinstance(state, dict):
            raise _answers.bad_answer(named.host, "it describes no key")
        version = version_of(named, told.get("kid"))
        name = f"{named.host}/{named.key}/{version}"
        if state.get("enabled") is not True:
            raise _answers.disabled(name, "disabled")
        kind, operations = str(told.get("kty"))[:40], told.get("key_ops")
        operations = operations if isinstance(operations, list) else []
        if named.protected and not kind.endswith("-HSM"):
            why = f"it is of type {kind}"
            raise _answers.not_in_hsm(name, why, "of type EC-HSM or RSA-HSM")
        shown = f"{kind}, for {', '.join(map(str, operations))[:120] or 'nothing'}"
        fits = kind.removesuffix("-HSM") == ("EC" if use == "sign" else "RSA")
        if use and not (fits and use in operations):
            raise _answers.cannot(name, f"{_WANTED[use]}; it is of type {shown}")
        if named.version is None and use == "sign":
            _answers.tell_version(named.text, version, "the current one", f"/{version}")
        return cls(vault, version, public_half(told, name), shown)

    def sign(self, digest: bytes) -> bytes:
        algorithm = SIGNING[self.public.algorithm][1]
        return self._do("sign", "sign with", self._vault.named.action("sign"), algorithm, digest)

    def unwrap(self, wrapped: bytes) -> bytes:
        action = self._vault.named.action("unwrap")
        return self._do("unwrapkey", "unwrap a key with", action, "RSA-OAEP-256", wrapped)

    def _do(self, verb: str, doing: str, action: str, algorithm: str, data: bytes) -> bytes:
        body = {"alg": algorithm, "value": encoded(data)}
        answer = self._vault.ask(f"{self._path}/{verb}", doing, action, body)
        if str(answer.get("kid")).casefold() != self._kid.casefold():
            raise _answers.another(self._kid, str(answer.get("kid") or ""))
        return decoded(answer.get("value"), self._kid)


def version_of(named: Named, kid: object) -> str:
    """Of the key that answered, which has to be the one that was asked (RULES 10)."""
    head, _, version = str(kid).rpartition("/")
    same = head.casefold() == f"https://{named.host}/keys/{named.key}".casefold()
    hexadecimal = len(version) == 32 and set(version) <= set("0123456789abcdef")
    if not same or not hexadecimal or named.version not in (None, version):
        raise _answers.another(f"{named.text}/{named.version or ''}".rstrip("/"), str(kid))
    return version


def public_half(told: dict[str, Any], name: str) -> PublicKey:
    """The public half of a JSON Web Key (RFC 7518, 6). Raises KeyServiceError, "bad-key"."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    kind, curve = str(told.get("kty")).removesuffix("-HSM"), told.get("crv")
    curves = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
    if kind not in ("EC", "RSA") or (kind == "EC" and curve not in curves):
        shown = str(curve or kind)[:40]
        raise _answers.cannot(name, f"{'; '.join(_WANTED.values())}; it is {shown}")

    def number(field: str) -> int:
        return int.from_bytes(decoded(told.get(field), name))

    made: Any
    try:
        if kind == "EC":
            made = ec.EllipticCurvePublicNumbers(number("x"), number("y"), curves[str(curve)])
        else:
            made = rsa.RSAPublicNumbers(number("e"), number("n"))
        der = made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError:
        der = b""  # no key: told below
    return public_from(der, name)
