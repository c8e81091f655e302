"""Who may say what: opens statements against a list of trusted keys. No I/O. `seal` makes them.

Stands below the stages, because nearly all of them say or hear something signed. Opening yields a
statement only if a trusted key signed it, and only in a role that this key may take (RULES 3, 6).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sovgate import notices
from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats.bundle import Bundle
from sovgate.formats.foreign import Foreign
from sovgate.formats.spki import PublicKey
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.records import ROLES

if TYPE_CHECKING:
    from sovgate.formats.keyless import KeylessRule, Logged
    from sovgate.formats.x509 import CertificateRule
    from sovgate.keys._api import Signer


@dataclass(frozen=True, kw_only=True)
class Trusted:
    """A key, the roles in which it is believed, and the zone that it speaks for (None: any).

    With `certificate`, `key` is that of the root, which signs certificates and no statements: the
    signers are those whose certificate the rule admits. Who signed comes back with their own key,
    and in `unsafe` the options of the rule by which they were admitted, and else would not be.
    A keyless signer's key is of one signature: who it was, in which log and when, is in `logged`.
    """

    name: str
    key: PublicKey
    may: frozenset[str]
    zone: str | None = None
    certificate: CertificateRule | KeylessRule | None = None
    unsafe: tuple[str, ...] = ()
    logged: Logged | None = None

    @property
    def identity(self) -> bytes:
        """By what two statements are one signer's: the key, or issuer and identity (RULES 5)."""
        if self.logged is None:
            return self.key.der
        return f"{self.logged.issuer}\0{self.logged.identity}".encode()


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A statement that a trusted key signed. `sha256` is of the bundle's bytes.

    `signer` is the first entry that admits it; `also` are further entries of the same signer, who
    may speak for more zones than one. `zones` are those whose key it is by any entry, whatever role
    that one is for.
    """

    statement: Statement
    role: str
    signer: Trusted
    sha256: str
    also: tuple[Trusted, ...] = ()
    zones: frozenset[str] = frozenset()

    def speaking_for(self, zone: str) -> Trusted | None:
        """The entry by which the signer may say this for `zone`; None where there is none."""
        entries = [e for e in (self.signer, *self.also) if e.zone in (None, zone)]
        # The zone's own entry first: an entry for any zone says less.
        return min(entries, key=lambda e: e.zone is None, default=None)

    def own_word(self, zone: str) -> Trusted | None:
        """As `speaking_for`, of what `zone` alone can say: what it opened, decided, rolled out.

        There the zone asks no border any more, so whoever may speak for any zone, and whose key is
        not this one's, could say it in its place.
        """
        return self.speaking_for(zone) if zone in self.zones else None


def open_statement(
    data: bytes,
    trusted: Sequence[Trusted],
    *,
    role: str | None = None,
    now: datetime | None = None,
) -> Verified:
    """What a trusted key said. `role`, if given, is the only role that is welcome.

    Certificates must be valid at `now`, by default the clock's time.

    Raises VerificationFailed, reasons "wrong-signer" (nobody trusted signed it), "bad-signature"
    (it names a trusted key, whose signature this is not), "untrusted-role", "wrong-role", "high-s",
    "wrong-hint", "unknown-predicate", "untrusted-certificate"; Malformed.
    """
    found = Foreign.parse(data)
    bundle = found.bundle
    signers = _signers(found, trusted, now)
    key = signers[0].key
    statement = found.statement()
    if signers[0].logged is None:  # the log holds a keyless one's signature and certificate
        _check_spelling(bundle, data, statement, key)
    said = statement.role
    if role is not None and said != role:
        raise VerificationFailed(
            f"a statement of role {said} stands where one of role {role} belongs",
            reason="wrong-role",
        )
    # Who is admitted without an unsafe option first.
    able = sorted((s for s in signers if said in s.may), key=lambda s: len(s.unsafe))
    for entry in able:
        _warn(entry)
    if able:
        return Verified(
            statement=statement,
            role=said,
            signer=able[0],
            sha256=hashlib.sha256(data).hexdigest(),
            also=tuple(able[1:]),
            zones=frozenset(_own_zones(signers, said)),
        )
    names = ", ".join(signer.name for signer in signers)
    raise VerificationFailed(
        f"{names} signed this, but is not trusted for the role {said}",
        why=f"trusted for: {', '.join(sorted(frozenset().union(*(s.may for s in signers))))}",
        fix=f"have it signed by a key that may say {said}, or add {said} to that key's `may`",
        reason="untrusted-role",
    )


def identity(data: bytes, trusted: Sequence[Trusted]) -> tuple[str, bytes] | None:
    """(SHA-256 of the payload, key) of a bundle, however it is spelt (RULES 43); None where it
    cannot be read, or where neither a key of `trusted` nor its own certificate's signed it.

    It says that two bundles are one statement, and nothing of whether that one may be believed.
    """
    try:
        bundle = Foreign.parse(data).bundle
        keys = [entry.key for entry in trusted if entry.certificate is None]
        if bundle.certificates:
            from sovgate.formats.x509 import leaf_key

            keys.append(leaf_key(bundle.certificates))
    except VerificationFailed:
        return None
    for key in {key.der: key for key in keys if key.can_verify}.values():
        if _signed_by(bundle, key):
            return hashlib.sha256(bundle.payload).hexdigest(), key.der
    return None


def said_by(
    data: bytes, signer: Signer, trusted: Sequence[Trusted], role: str | None = None
) -> Statement | None:
    """What `signer` itself said in a bundle; None where another identity signed it (RULES 32).

    A key is known by itself; a certificate by its subject and issuer, since keys are renewed, if
    one of `trusted` admits it; who is keyless by identity and issuer.
    """
    own = Trusted(name="this key", key=signer.public_key, may=frozenset(ROLES))
    mine = [replace(own, certificate=rule) for rule in getattr(signer, "rules", ())] or [own]
    with contextlib.suppress(VerificationFailed):
        return open_statement(data, mine, role=role).statement
    if not signer.certificates:
        return None
    from sovgate.formats.x509 import described

    with contextlib.suppress(VerificationFailed):
        chain = Foreign.parse(data).bundle.certificates
        if chain and described(chain[0]) == described(signer.certificates[0]):
            return open_statement(data, trusted, role=role).statement
    return None


def keyless_of(signer: Signer, trusted: Sequence[Trusted]) -> list[Trusted]:
    """Entries that believe a keyless signer of its instance, by all the names that it may have."""
    own: Sequence[KeylessRule] = getattr(signer, "rules", ())
    rules = [(entry, rule) for entry in trusted if (rule := _keyless(entry)) is not None]
    return [entry for entry, rule in rules if any(rule.may_fit(one) for one in own)]


def _own_zones(signers: Sequence[Trusted], role: str) -> Iterator[str]:
    """The zones whose key the signer's is. An entry that admits whoever comes by an unsafe option
    says so in its own roles alone: it lends its zone to no entry beside it."""
    for signer in signers:
        if signer.zone is not None and (not signer.unsafe or role in signer.may):
            yield signer.zone


def _warn(entry: Trusted) -> None:
    if entry.unsafe:
        notices.unsafe(
            f"{entry.name} is trusted by {' and '.join(entry.unsafe)}: see its entry under trust"
        )


def _signers(found: Foreign, trusted: Sequence[Trusted], now: datetime | None) -> list[Trusted]:
    """All entries whose key made the signature; one key may stand in several entries.

    A key that is trusted by itself may be trusted for more by its certificate: a zone's own key is,
    for words about itself, whatever the file says of it.
    """
    bundle = found.bundle
    # A keyless signer's certificate says nothing without its log.
    chain = bundle.certificates and not found.keyless
    raw = [entry for entry in trusted if entry.certificate is None]
    for key in {entry.key.der: entry.key for entry in raw if entry.key.can_verify}.values():
        if _signed_by(bundle, key):
            signers = [entry for entry in raw if entry.key.der == key.der]
            if chain:
                with contextlib.suppress(VerificationFailed):  # then by itself alone
                    signers += _certified(bundle, trusted, now)
            return signers
    if chain:
        signers = _certified(bundle, trusted, now)
        if signers:
            return signers
    if found.keyless and (signers := _logged(found, trusted)):
        return signers
    named = [entry.name for entry in raw if bundle.hint and bundle.hint in entry.key.hints]
    if named:
        raise VerificationFailed(
            "the signature does not verify",
            why=f"it names the key of {named[0]}, but was changed since that key signed it, "
            "or another key made it",
            fix="get the file again from its source, or sign again",
            reason="bad-signature",
        )
    from sovgate.formats import stranger

    rows = [(one.name, one.key.key_id, _keyless(one)) for one in trusted[:8]]
    raise stranger.refusal(found, [stranger.called(*row) for row in rows])


def _keyless(entry: Trusted) -> KeylessRule | None:
    if entry.certificate is None:
        return None
    from sovgate.formats.keyless import KeylessRule

    return entry.certificate if isinstance(entry.certificate, KeylessRule) else None


def _signed_by(bundle: Bundle, key: PublicKey) -> bool:
    try:
        key.verify(bundle.signed_bytes, bundle.signature, low_s=False)
    except VerificationFailed:
        return False
    return True


def certified(
    chain: Sequence[bytes], trusted: Sequence[Trusted], now: datetime | None = None
) -> list[Trusted]:
    """Entries whose certificate rule admits the chain, each with the signer's own key.

    Raises VerificationFailed "untrusted-certificate" where rules there are, but none admits it.
    """
    from sovgate.formats.keyless import KeylessRule
    from sovgate.formats.x509 import signer_key

    found, refusals = list[Trusted](), list[VerificationFailed]()
    for entry in trusted:
        rule = entry.certificate
        if rule is None or isinstance(rule, KeylessRule):
            continue
        try:
            signer = signer_key(tuple(chain), rule, now or datetime.now(UTC))
        except VerificationFailed as error:
            refusals.append(error)
            continue
        found.append(replace(entry, key=signer.key, certificate=None, unsafe=signer.unsafe))
    if refusals and not found:
        raise refusals[0]
    return found


def _certified(bundle: Bundle, trusted: Sequence[Trusted], now: datetime | None) -> list[Trusted]:
    """Of the entries that admit the bundle's chain, those whose signer made its signature."""
    found = certified(bundle.certificates, trusted, now)
    return [entry for entry in found if _signed_by(bundle, entry.key)]


def _logged(found: Foreign, trusted: Sequence[Trusted]) -> list[Trusted]:
    """Entries whose keyless rule admits the bundle; none where they pin other identities.

    Raises VerificationFailed where the pinned identity's bundle does not verify.
    """
    from sovgate.formats.keyless.judge import admitted

    rules = [(entry, rule) for entry in trusted if (rule := _keyless(entry)) is not None]
    signers, refusals = list[Trusted](), list[VerificationFailed]()
    for entry, rule in rules:
        try:
            made = admitted(found, rule)
            signers.append(replace(entry, key=made.key, certificate=None, logged=made.logged))
        except VerificationFailed as error:
            refusals.append(error)
    if not signers and (own := [e for e in refusals if e.reason != "wrong-signer"]):
        raise own[0]
    return [entry for entry in signers if _signed_by(found.bundle, entry.key)]


def _check_spelling(bundle: Bundle, data: bytes, statement: Statement, key: PublicKey) -> None:
    """What we wrote must be the very bytes that we write; what others wrote may be spelled freely.

    The signed payload tells which it is, so nobody can turn one into the other.
    """
    ours = statement.is_canonical(bundle.payload) and not _foreign_oms(statement, bundle.payload)
    if ours and (bundle.emit() != data or not _is_path(bundle.certificates)):
        raise Malformed(
            "the bundle is not in its canonical form",
            why="bytes outside the signed payload were changed",
            fix="get the file again from its source",
            reason="not-canonical",
        )
    if ours or statement.role != "signature":
        key.verify(bundle.signed_bytes, bundle.signature)
    named = _leaf_is(bundle, key) if bundle.certificates else bundle.hint in key.hints
    if not named:
        raise VerificationFailed(
            "the bundle names a key other than the one that signed it",
            why=f"the signature is by {key.key_id[:16]}…",
            fix="get the file again from its source",
            reason="wrong-hint",
        )


def _is_path(certificates: tuple[bytes, ...]) -> bool:
    if not certificates:
        return True
    from sovgate.formats.x509 import own_path

    return own_path(certificates) == certificates


def _leaf_is(bundle: Bundle, key: PublicKey) -> bool:
    """Whether the bundle's own certificate is of the key that signed, whoever vouches for it."""
    from sovgate.formats.x509 import leaf_key

    return leaf_key(bundle.certificates).der == key.der


def _foreign_oms(statement: Statement, payload: bytes) -> bool:
    """Other OMS tools may happen on the canonical spelling, but tell no sizes."""
    if statement.role != "signature":
        return False
    return statement.predicate_type != PREDICATE_TYPES["signature"] or b'"size":' not in payload
