"""Whether a keyless bundle is by the pinned identity, at a time that its certificate was valid.

The library `sigstore` verifies chain, receipts, log and signature. It gets nothing but what was
read strictly here, and of the trusted root only what may vouch for this bundle at its time: one
log, the authorities of those days. No I/O, no network; it is imported inside functions.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from sovgate.errors import ConfigError, VerificationFailed
from sovgate.formats import x509 as certificates
from sovgate.formats.foreign import Foreign
from sovgate.formats.keyless import KeylessRule, Logged, body, kind_of
from sovgate.formats.keyless.certificate import Leaf, read
from sovgate.formats.keyless.proof import Entry, Proof, spelled
from sovgate.formats.keyless.root import Authority, Instance, TrustedRoot, named
from sovgate.formats.keyless.root import spelled as spelled_root
from sovgate.formats.spki import PublicKey

#: How far the clock of a log or a timestamp authority may be ahead of ours.
SKEW = timedelta(minutes=5)
#: How many bundles a process remembers as verified.
MAX_VERIFIED = 4096
_verified: set[bytes] = set()


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """The key of the signer's certificate, good for this one signature."""

    key: PublicKey
    logged: Logged


def admitted(found: Foreign, rule: KeylessRule) -> Admitted:
    """Raises VerificationFailed: "wrong-signer" where another identity signed it; else why that of
    the pinned one does not verify: "keyless-certificate", "no-log-entry", "no-inclusion-proof",
    "bad-log-entry", "other-log-entry", "untrusted-log", "untrusted-authority", "no-trusted-time",
    "bad-timestamp", "outside-validity", "from-the-future", "keyless-proof"; Malformed. ConfigError
    "missing-package".
    """
    leaf = read(found.bundle.certificates[0])
    signer = (leaf.identity, leaf.kind, leaf.issuer)
    if signer != (rule.identity, kind_of(rule.identity), rule.issuer):
        raise _another(leaf, rule)
    proof = Proof.parse(found)
    body.check(proof.entry, found, leaf)
    candidates = named(rule.root.instances, proof.entry.log)
    if not candidates:
        _refuse(
            "the signature is in a log that the trusted root does not name",
            f"the log is {proof.entry.log.hex()[:16]}…",
            "name the trusted root of the instance that signed it; if it is that instance, its "
            "trusted root has changed since: get it again",
            "untrusted-log",
        )
    refusals = []
    for instance, log in candidates:
        try:
            return _judged(found, proof, leaf, replace(instance, logs=(log,)), rule)
        except VerificationFailed as error:
            refusals.append(error)
    raise refusals[0]


def require_possible(
    leaf: Leaf, signature: bytes, stamps: Sequence[bytes], root: TrustedRoot, *, now: datetime
) -> None:
    """Before a log takes it, which forgets nothing: that the root could vouch for the certificate
    and each timestamp. Raises VerificationFailed, as `admitted` would; Malformed."""
    refusals = []
    for instance in root.instances:
        try:
            times = [_stamped(der, signature, instance) for der in stamps]
            for when in times:
                _check_time(when, leaf)
            _narrowed(instance, leaf, times or [now])
        except VerificationFailed as error:
            refusals.append(error)
        else:
            return
    raise refusals[0]


def _judged(
    found: Foreign, proof: Proof, leaf: Leaf, instance: Instance, rule: KeylessRule
) -> Admitted:
    times = _times(found, proof, instance)
    for when in times:
        _check_time(when, leaf)
    one = _narrowed(instance, leaf, times)
    _check_above(found, one)
    _check_checkpoint(proof.entry)
    _ask_library(found, proof, one)
    log = one.logs[0]
    tells = bool(proof.entry.promise and proof.entry.integrated)
    logged = Logged(
        identity=leaf.identity,
        issuer=leaf.issuer,
        time=min(times),
        log=proof.entry.log.hex(),
        url=log.url,
        # Without the log's promise only the number in the proof is shown.
        index=proof.entry.index if proof.entry.promise else proof.entry.inclusion.index,
        by=("the log",) * tells + ("a timestamp authority",) * bool(proof.timestamps),
        root=rule.root.sha256,
    )
    return Admitted(key=leaf.key, logged=logged)


def _times(found: Foreign, proof: Proof, instance: Instance) -> list[datetime]:
    """What log and authorities say of the time; the library verifies the log's word after."""
    stamps = [_stamped(der, found.bundle.signature, instance) for der in proof.timestamps]
    entry, (log,) = proof.entry, instance.logs
    if entry.promise and entry.integrated:
        stamps.append(datetime.fromtimestamp(entry.integrated, UTC))
    if not stamps:
        _refuse(
            "nothing shows when the keyless signature was made",
            "it has neither the log's promise with a time, nor a timestamp",
            "have it signed again: with Rekor v1 the log tells the time, with Rekor v2 a timestamp "
            "authority must",
            "no-trusted-time",
        )
    for when in stamps:
        if not log.span.holds(when):
            _refuse(
                "the log's key was not in use when the signature was made",
                f"the signature is of {_told(when)}, the key in use from {_told(log.span.start)}"
                + (f" until {_told(log.span.end)}" if log.span.end else ""),
                "get the trusted root of the instance again",
                "untrusted-log",
            )
    return stamps


def _check_time(when: datetime, leaf: Leaf) -> None:
    if not leaf.start <= when <= leaf.end:
        _refuse(
            "the keyless signer's certificate was not valid when it signed",
            f"it was valid from {_told(leaf.start)} until {_told(leaf.end)}, and the signature is "
            f"of {_told(when)}",
            "have it signed again",
            "outside-validity",
        )
    if when > datetime.now(UTC) + SKEW:
        _refuse(
            "the keyless signature is from the future",
            f"it is of {_told(when)}",
            "check this machine's clock",
            "from-the-future",
        )


def _narrowed(instance: Instance, leaf: Leaf, times: Sequence[datetime]) -> Instance:
    """Of an instance what was in use at these times: the library looks at no such span itself."""
    issuers = tuple(one for one in instance.issuers if _in_use(one, times))
    if not issuers:
        _refuse(
            "no certificate authority of the trusted root was in use when the signature was made",
            f"the signature is of {_told(min(times))}",
            "get the trusted root of the instance again",
            "untrusted-authority",
        )
    if leaf.receipt is None:
        _refuse(
            "the keyless signer's certificate is in no certificate log",
            "it has no signed certificate timestamp",
            "have it signed again through the Sigstore instance that the trusted root is of",
            "keyless-certificate",
        )
    logged, when = leaf.receipt
    receipts = tuple(
        log for log in instance.certificate_logs if log.id == logged and log.span.holds(when)
    )
    if not receipts:
        _refuse(
            "the keyless signer's certificate is in a log that the trusted root does not name",
            f"the log is {logged.hex()[:16]}…",
            "name the trusted root of the instance that signed it, or get it again",
            "untrusted-log",
        )
    return replace(instance, issuers=issuers, certificate_logs=receipts)


def _check_above(found: Foreign, instance: Instance) -> None:
    """Older bundles hold the certificates above too: none may be unused (RULES 43)."""
    known = {der for one in instance.issuers for der in one.chain}
    if not known.issuperset(found.bundle.certificates[1:]):
        _refuse(
            "the keyless bundle came with certificates that do not belong to its signer's",
            "the trusted root does not name them",
            "get the signature again from where it was made",
            "untrusted-authority",
        )


def _in_use(authority: Authority, times: Sequence[datetime]) -> bool:
    """By its span in the file, and by each of its certificates."""
    spans = [certificates.validity((der,)) for der in authority.chain]
    return all(
        authority.span.holds(when) and all(start <= when <= end for start, end in spans)
        for when in times
    )


def _check_checkpoint(entry: Entry) -> None:
    """The library compares the root that the log signed, and not the size of its tree; and passes
    over a promise without a time, by which the entry's number is told."""
    if entry.promise and not entry.integrated:
        _refuse(
            "the log's promise does not say when the log took the entry",
            "it has no integratedTime, so the promise cannot be verified",
            "get the signature again from where it was made",
            "bad-log-entry",
        )
    lines = entry.inclusion.checkpoint.split("\n")
    if len(lines) < 4 or lines[1] != str(entry.inclusion.size):
        _refuse(
            "the inclusion proof does not fit what the log signed",
            "the log's checkpoint is of a tree of another size",
            "get the signature again from where it was made",
            "bad-log-entry",
        )
    if entry.version != "0.0.1" and entry.index != entry.inclusion.index:
        _refuse(
            "the log entry tells two numbers of itself",
            f"they are {entry.index} and {entry.inclusion.index}",
            "get the signature again from where it was made",
            "bad-log-entry",
        )


def _stamped(der: bytes, message: bytes, instance: Instance) -> datetime:
    """The time of a timestamp over `message`, which an authority of the instance made.

    All of them must verify: the library passes over those that do not, as if they were not there.
    """
    client = _sdk("rfc3161_client")
    with _library_errors("bad-timestamp", "the timestamp does not verify"):
        response = client.decode_timestamp_response(der)
        when: datetime = response.tst_info.gen_time.astimezone(UTC)
        for authority in instance.timestampers:
            if len(authority.chain) < 2 or not _in_use(authority, [when]):
                continue
            if _verifies(client, authority, response, message):
                return when
    raise VerificationFailed(
        "the timestamp does not verify",
        why="no timestamp authority of the trusted root made it of this signature"
        if instance.timestampers
        else "the trusted root names no timestamp authority",
        fix="name the trusted root of the instance that signed it, or get it again",
        reason="bad-timestamp",
    )


def _verifies(client: Any, authority: Authority, response: Any, message: bytes) -> bool:
    from cryptography import x509

    own, *between, top = [x509.load_der_x509_certificate(der) for der in authority.chain]
    builder = client.VerifierBuilder().tsa_certificate(own).add_root_certificate(top)
    for one in between:
        builder = builder.add_intermediate_certificate(one)
    try:
        builder.build().verify_message(response, message)
    except client.VerificationError:
        return False
    return True


class _Compared:
    """The policy that the library wants: whose certificate it is was compared before."""

    def verify(self, cert: object) -> None:
        """Says yes."""


def _ask_library(found: Foreign, proof: Proof, instance: Instance) -> None:
    """Raises VerificationFailed "keyless-proof"; ConfigError "missing-package".

    One command looks at a bundle several times: the same bytes get the same verdict.
    """
    data, instances = spelled(found, proof), spelled_root(instance)
    asked = hashlib.sha256(instances).digest() + hashlib.sha256(data).digest()
    if asked in _verified:
        return
    models, verifying = _sdk("sigstore.models"), _sdk("sigstore.verify")
    with _library_errors("keyless-proof", "the keyless signature does not verify"), _quiet():
        root = models.ClientTrustConfig.from_json(instances.decode()).trusted_root
        bundle = models.Bundle.from_json(data)
        _, payload = verifying.Verifier(trusted_root=root).verify_dsse(bundle, _Compared())
    if payload != found.bundle.payload:
        _refuse(
            "the keyless signature does not verify",
            "the library read another payload",
            "report this: it is a defect",
            "keyless-proof",
        )
    if len(_verified) < MAX_VERIFIED:
        _verified.add(asked)


@contextlib.contextmanager
def _library_errors(reason: str, what: str) -> Iterator[None]:
    """The library turns not all that is wrong with a bundle into errors of its own."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a library still puts up with
            yield
    except VerificationFailed:
        raise
    except (
        _sdk("sigstore.errors").Error,
        _sdk("rfc3161_client").VerificationError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        InvalidSignature,
        UnsupportedAlgorithm,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise VerificationFailed(
            what,
            why=" ".join(str(error).split())[:300],
            fix="get the signature again from where it was made; if it is whole, the trusted root "
            "is of another instance, or has changed since",
            reason=reason,
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The library logs what it finds odd; here each oddity is a refusal, or was looked at."""
    logger = logging.getLogger("sigstore")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _sdk(name: str) -> Any:
    try:
        importlib.import_module("sigstore")  # which brings the others
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            "a keyless signature needs a package that is not installed",
            why=str(error),
            fix="pip install 'sovgate[sigstore]'",
            reason="missing-package",
        ) from error


def _another(leaf: Leaf, rule: KeylessRule) -> VerificationFailed:
    return VerificationFailed(
        "another identity signed this",
        why=f"it is by the {leaf.kind} {leaf.identity[:200]!r}, of the issuer "
        f"{leaf.issuer[:200]!r}; trusted is {rule.identity[:200]!r} of {rule.issuer[:200]!r}",
        fix="if you trust who signed it, write that identity and issuer under trust in "
        "sovgate.yaml, letter by letter",
        reason="wrong-signer",
    )


def _told(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def _refuse(what: str, why: str, fix: str, reason: str) -> NoReturn:
    raise VerificationFailed(what, why=why, fix=fix, reason=reason)
