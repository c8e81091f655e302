"""Of a bundle that nobody trusted signed: who made it by its own word, and whether it is whole.

No I/O. It is for error texts alone: what it says is not verified, and nothing may rest on it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sovgate import strict
from sovgate.errors import DOCS, SovgateError, VerificationFailed
from sovgate.formats.foreign import Foreign
from sovgate.formats.spki import PublicKey

if TYPE_CHECKING:
    from sovgate.formats.keyless import KeylessRule

#: What model_signing 0.2 wrote; its signatures cover other bytes than those of DSSE.
OLDEST = "https://model_signing/Digests/v0.1"

_ADD = "if you trust who signed it, add to `trust` in sovgate.yaml: "


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """`who` is text for people. `intact` is None where the bundle carries no key to tell by."""

    who: str
    intact: bool | None = None
    keyless: bool = False
    #: What to do if one trusts who is keyless.
    fix: str = ""


def called(name: str, key_id: str, rule: KeylessRule | None) -> str:
    """Whom an entry of `trust` believes, for people."""
    who = f"{key_id[:16]}…" if rule is None else f"{rule.identity} of {rule.issuer}"
    return f"{name} ({who})"


def refusal(found: Foreign, trusted: Sequence[str]) -> VerificationFailed:
    """Tells an intact bundle of somebody else from one that was damaged. `trusted` for people."""
    if is_oldest(found.bundle.payload):
        return VerificationFailed(
            "the model was signed in a format that is not read here",
            why=f"its predicate type is {OLDEST!r}, of model_signing 0.2",
            fix="sign it again with model_signing 1.0 or newer, or with sovgate",
            reason="unknown-predicate",
        )
    by = describe(found)
    if by.intact is False:
        return VerificationFailed(
            "the signature does not verify",
            why=f"it claims to be by {by.who}, but does not match that signature: "
            "it was changed since",
            fix="get the file again from its source",
            reason="bad-signature",
        )
    whole = (
        f"the signature is intact, and was made by {by.who}; "
        if by.intact
        else f"it is by {by.who}; "
    )
    fix = "if you trust who signed it, add its public key under `trust` in sovgate.yaml"
    if by.keyless:
        fix = by.fix or f"{_ADD}its identity and issuer"
    return VerificationFailed(
        "no trusted signer signed this",
        why=whole + (f"trusted are {', '.join(trusted)}" if trusted else "no key is trusted here"),
        fix=fix,
        reason="wrong-signer",
    )


def describe(found: Foreign) -> Stranger:
    """Raises nothing: what cannot be read is said to be so."""
    if found.bundle.certificates:
        if found.keyless:
            return _keyless(found)
        return _by_certificate(found, "the certificate of")
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


def _by_certificate(found: Foreign, kind: str) -> Stranger:
    from sovgate.formats import x509

    try:
        name, issuer = x509.described(found.bundle.certificates[0])
    except SovgateError:
        return Stranger(who="a certificate that cannot be read")
    who = f"{kind} {name[:160]!r}, issued by {issuer[:160]!r}"
    try:
        intact = _signed(found, x509.leaf_key(found.bundle.certificates))
    except SovgateError:
        return Stranger(who=f"{who}, with a key of a kind that is not known here")
    return Stranger(who=who, intact=intact)


def _keyless(found: Foreign) -> Stranger:
    from sovgate.formats.keyless import certificate, kind_of

    try:
        leaf = certificate.read(found.bundle.certificates[0])
    except SovgateError as error:
        odd = _by_certificate(found, "the keyless signer")
        return replace(odd, who=f"{odd.who} ({error.why or error.what})", keyless=True)
    who = f"the keyless signer {leaf.identity[:160]!r}, of the issuer {leaf.issuer[:160]!r}"
    identity, issuer = json.dumps(leaf.identity[:300]), json.dumps(leaf.issuer[:300])
    fix = (
        f"{_ADD}{{name: NAME, may: [ROLE], keyless: {{identity: {identity}, issuer: {issuer}, "
        f"trusted-root: FILE}}}} ({DOCS}/keyless.md)"
    )
    if kind_of(leaf.identity) != leaf.kind:
        who += f", whose certificate has that name as one of the kind {leaf.kind}"
        fix = (
            "trust nobody by that name, which reads like one of another kind: no entry of `trust` "
            "believes it"
        )
    return Stranger(who=who, intact=_signed(found, leaf.key), keyless=True, fix=fix)


def _signed(found: Foreign, key: PublicKey) -> bool | None:
    if not key.can_verify:
        return None
    try:
        key.verify(found.bundle.signed_bytes, found.bundle.signature, low_s=False)
    except SovgateError:
        return False
    return True
