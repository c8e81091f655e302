"""Signing without a key that stays, through a Sigstore instance: `sigstore:SIGNING_CONFIG`.

A new key, a certificate for ten minutes to whom the identity token names, an entry in the
instance's log. All that its services answer is verified against the trusted root before it is given
on. Talks to the services that the signing config names, and to none else.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from sovgate import notices, strict
from sovgate.errors import KeyServiceError, Malformed, VerificationFailed
from sovgate.formats.envelope import PAYLOAD_TYPE, pae
from sovgate.formats.foreign import Foreign
from sovgate.formats.keyless import (
    KeylessRule,
    Logged,
    asked,
    certificate,
    judge,
    kind_of,
    proof,
    services,
)
from sovgate.formats.keyless.token import EARLY, SKEW, IdentityToken
from sovgate.formats.spki import PublicKey, low_s
from sovgate.keys import _answers
from sovgate.keys.sigstore import login
from sovgate.keys.sigstore.place import Place, located, require_library
from sovgate.keys.sigstore.service import Services
from sovgate.uri import Uri

#: A certificate that ends sooner signs nothing more: log and authorities need their time too.
_LEFT = timedelta(minutes=1)


def signer(uri: Uri, base: Path, region: str | None = None) -> KeylessSigner:
    """Reads the two files and gets the token; asks the instance nothing yet.

    The token's identity needs to be one that the instance's Fulcio knows. Raises ConfigError,
    Malformed, UsageError, KeyServiceError.
    """
    if region is not None:
        raise _answers.cannot(
            uri.text,
            "a keyless signer has a new key each time, and what a zone says of itself is verified "
            "by one key",
            "name a key as the zone's, and this one with --key for what is signed beside a model",
        )
    require_library()
    return KeylessSigner(located(uri, base))


class KeylessSigner:
    """Seals statements as whom its token names. Its repr tells no token."""

    #: It has no path to a root of its own, and no name by which two URIs would be one key.
    certificates: tuple[bytes, ...] = ()
    canonical: str | None = None

    def __init__(self, place: Place) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self._place = place
        self._services = Services(public=place.public)
        self._chosen = services.chosen(place.config, _now())
        self._services.require_addresses(self._chosen.all)
        self._token = login.token(place)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf: certificate.Leaf | None = None
        self._der = b""
        self.logged: Logged | None = None
        self.public_key = PublicKey.from_der(
            self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )

    def __repr__(self) -> str:
        return f"KeylessSigner({self._place.name[:200]!r})"

    @property
    def rules(self) -> tuple[KeylessRule, ...]:
        """By which its signatures are known: once it has a certificate by that one's names, before
        by all that a certificate for its token may say."""
        if self._leaf is not None:
            return (self._rule(self._leaf.identity, self._leaf.issuer),)
        return tuple(
            self._rule(identity, issuer)
            for identity in self._names(self._token)
            for issuer in self._token.issuers
        )

    def _rule(self, identity: str, issuer: str) -> KeylessRule:
        return KeylessRule(identity=identity, issuer=issuer, root=self._place.root)

    def _names(self, token: IdentityToken) -> tuple[str, ...]:
        return token.identities if self._place.identity is None else (self._place.identity,)

    def sign(self, message: bytes) -> bytes:
        """Nobody could verify it without a log's entry. Raises ConfigError."""
        raise _answers.cannot(
            self._place.name,
            "a keyless signature is of a statement, with an entry in a log",
            "name a key there",
        )

    def prepare(self) -> None:
        """Get the certificate, so that an instance that gives none is known before any work."""
        if self._leaf is not None and _now() + _LEFT < self._leaf.end:
            return
        if self._token.ends <= _now() + EARLY:
            self._token = self._renewed()
        request = asked.certificate_request(self._key)
        der = self._services.certificate(self._chosen.issuer, request, self._token.text)
        try:
            leaf = certificate.read(der)
        except (Malformed, VerificationFailed) as error:
            raise _answers.bad_answer(
                self._chosen.issuer.url, ": ".join(t for t in (error.what, error.why) if t)
            ) from error
        self._check(leaf)
        self._leaf, self._der = leaf, der

    def _renewed(self) -> IdentityToken:
        """Another of the same holder: what this run may say was asked of that one's names."""
        token = login.token(self._place)
        if (token.identities, token.issuers) != (self._token.identities, self._token.issuers):
            raise KeyServiceError(
                "the identity token was renewed for somebody else",
                why=f"this run began as {self._token.identities[0][:200]!r} of "
                f"{self._token.issuers[0][:200]!r}; the new one names "
                f"{token.identities[0][:200]!r} of {token.issuers[0][:200]!r}, and was not sent",
                fix="run it again; if it stays so, see who writes the token there",
                reason="wrong-identity",
            )
        return token

    def seal(self, payload: bytes) -> bytes:
        """The bundle's bytes, verified as everybody else will. Raises KeyServiceError: what is not
        right with an answer is its `reason`, as `judge.admitted` has them."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        self.prepare()
        begun = _now()
        given = self._key.sign(pae(PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA256()))
        signature = low_s(given, self.public_key.algorithm)
        stamps = [self._stamp(one, signature) for one in self._chosen.stampers]
        self._require_possible(signature, stamps, begun)
        log = self._chosen.log
        request = asked.entry_request(log.version, payload, signature, self._der)
        entry = self._services.entry(log, request)
        (rule,) = self.rules
        try:
            data = asked.bundle(payload, signature, self._der, entry, stamps)
            found = Foreign.parse(data)
            made = judge.admitted(found, rule)
            if made.key != self.public_key or found.bundle.payload != payload:
                self._lied("its entry is of another key", "other-log-entry")
            _check_time(made.logged, begun)
            sealed = proof.spelled(found, proof.Proof.parse(found))
        except (Malformed, VerificationFailed) as error:
            self._lied(
                ": ".join(text for text in (error.what, error.why) if text), error.reason, error
            )
        self.logged = made.logged
        _tell(made.logged)
        return sealed

    def _require_possible(self, signature: bytes, stamps: list[bytes], now: datetime) -> None:
        """What no trusted root vouches for is not logged: an entry stays."""
        try:
            leaf = certificate.read(self._der)
            judge.require_possible(leaf, signature, stamps, self._place.root, now=now)
        except (Malformed, VerificationFailed) as error:
            self._lied(
                ": ".join(text for text in (error.what, error.why) if text), error.reason, error
            )

    def _stamp(self, service: services.Service, signature: bytes) -> bytes:
        """A timestamp of the signature, for this very question: an older answer does not do."""
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response

        asking = TimestampRequestBuilder().hash_algorithm(HashAlgorithm.SHA256).data(signature)
        request = asking.nonce(nonce=True).build()
        answer = self._services.timestamp(service, request.as_bytes())
        try:
            same = decode_timestamp_response(answer).tst_info.nonce == request.nonce
        except ValueError:
            raise _answers.bad_answer(service.url, "it is no timestamp of RFC 3161") from None
        if not same:
            raise _answers.bad_answer(service.url, "it is the answer to another question")
        return answer

    def _check(self, leaf: certificate.Leaf) -> None:
        """RULES 10: it is for this key, to whom the token names, and good now."""
        url, now = self._chosen.issuer.url, _now()
        if leaf.key != self.public_key:
            raise _answers.another("the key that was made here", f"one in a certificate of {url}")
        names, issuers = self._names(self._token), self._token.issuers
        # Two kinds of names can be one text: it is the kind that everybody else will compare.
        kind = kind_of(leaf.identity) == leaf.kind
        if leaf.identity not in names or not kind or leaf.issuer not in issuers:
            meant = " or ".join(f"{kind_of(one) or 'name'} {one[:200]!r}" for one in names)
            raise KeyServiceError(
                f"{url} gave a certificate for somebody else",
                why=f"it is for the {leaf.kind} {leaf.identity[:200]!r} of {leaf.issuer[:200]!r}; "
                f"the token names the {meant} of {issuers[0][:200]!r}",
                fix="find out which service answers there; if your instance makes names in a way "
                "of its own, write the name with identity= in the key",
                reason="wrong-identity",
            )
        if not leaf.start - SKEW <= now < leaf.end - _LEFT:
            raise KeyServiceError(
                f"{url} gave a certificate that is not valid now",
                why=f"it is valid from {strict.format_time(leaf.start)} until "
                f"{strict.format_time(leaf.end)}, and it is {strict.format_time(now)}",
                fix="check this machine's clock, and find out which service answers there",
                reason="outside-validity",
            )

    def _lied(self, why: str, reason: str, cause: Exception | None = None) -> NoReturn:
        raise KeyServiceError(
            "what the Sigstore instance answered does not verify",
            why=why[:400],
            fix="find out which services answer there; if they are the right ones, the trusted "
            "root is of another instance, or has changed since: get it again",
            reason=reason,
        ) from cause


def _check_time(logged: Logged, begun: datetime) -> None:
    """A certificate that ran out verifies with an old time: this signature is of now."""
    if logged.time < begun - SKEW:
        raise VerificationFailed(
            "the time that it shows is not the one of this signature",
            why=f"it is {strict.format_time(logged.time)}, and the signature was made at "
            f"{strict.format_time(begun)}; if that is wrong, set this machine's clock",
            reason="outside-validity",
        )


def _tell(logged: Logged) -> None:
    notices.note(
        f"signed as {logged.identity} of {logged.issuer}, at {strict.format_time(logged.time)} by "
        f"{' and '.join(logged.by)}; entry {logged.index} of {logged.url or logged.log[:16]}"
    )


def _now() -> datetime:
    return datetime.now(UTC)
