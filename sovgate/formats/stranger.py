"""Of a bundle that nobody trusted signed: who made it by its own word, and whether it is whole.

No I/O. It is for error texts alone: what it says is not verified, and nothing may rest on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sovgate import strict
from sovgate.errors import SovgateError
from sovgate.formats.foreign import Foreign
from sovgate.formats.spki import PublicKey

#: What model_signing 0.2 wrote; its signatures cover other bytes than those of DSSE.
OLDEST = "https://model_signing/Digests/v0.1"


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """`who` is text for people. `intact` is None where the bundle carries no key to tell by."""

    who: str
    intact: bool | None = None
    keyless: bool = False


def describe(found: Foreign) -> Stranger:
    """Raises nothing: what cannot be read is said to be so."""
    if found.bundle.certificates:
        return _certificate(found)
    if found.key:
        try:
            read = PublicKey.from_pem if found.key.startswith(b"-----") else PublicKey.from_der
            key = read(found.key)
        except SovgateError:
            return Stranger(who="a key of a kind that is not known here")
        return Stranger(who=f"the key {key.key_id[:16]}…", intact=_signed(found, key))
    if found.bundle.hint:
        return Stranger(who=f"a key that it calls {found.bundle.hint[:16]}…")
    return Stranger(who="a key that it does not name")


def is_oldest(payload: bytes) -> bool:
    """Whether a payload is of the format before OMS 1.0."""
    try:
        value = strict.loads(payload, any_number=True)
    except SovgateError:
        return False
    return type(value) is dict and value.get("predicateType") == OLDEST


def _certificate(found: Foreign) -> Stranger:
    from sovgate.formats import x509

    keyless = found.keyless
    kind = "the keyless signer" if keyless else "the certificate of"
    try:
        name, issuer = x509.described(found.bundle.certificates[0])
    except SovgateError:
        return Stranger(who="a certificate that cannot be read", keyless=keyless)
    who = f"{kind} {name[:160]!r}, issued by {issuer[:160]!r}"
    try:
        intact = _signed(found, x509.leaf_key(found.bundle.certificates))
    except SovgateError:
        return Stranger(who=f"{who}, with a key of a kind that is not known here", keyless=keyless)
    return Stranger(who=who, intact=intact, keyless=keyless)


def _signed(found: Foreign, key: PublicKey) -> bool | None:
    if not key.can_verify:
        return None
    try:
        key.verify(found.bundle.signed_bytes, found.bundle.signature, low_s=False)
    except SovgateError:
        return False
    return True
