"""What a log holds of a signature: its entry must be of this very envelope and certificate. No I/O.

Rekor v1 `dsse` 0.0.1 and Rekor v2 `hashedrekord` 0.0.2, the two that hold enough to compare.
"""

from __future__ import annotations

import hashlib
from typing import NoReturn

from sovgate import strict
from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats.foreign import Foreign
from sovgate.formats.keyless.certificate import Leaf
from sovgate.formats.keyless.proof import Entry

_DSSE, _HASHED = ("dsse", "0.0.1"), ("hashedrekord", "0.0.2")


def check(entry: Entry, found: Foreign, leaf: Leaf) -> None:
    """Raises VerificationFailed, reason "other-log-entry" or "bad-log-entry"."""
    kind = (entry.kind, entry.version)
    if kind not in (_DSSE, _HASHED):
        raise VerificationFailed(
            f"the log entry is of the kind {entry.kind} {entry.version}",
            why="such an entry does not show that the log holds this signature: those that do are "
            "dsse 0.0.1 and hashedrekord 0.0.2",
            fix="have it signed again by a current tool",
            reason="bad-log-entry",
        )
    try:
        top = strict.Fields(strict.loads(entry.body), "log entry")
        top.exactly("kind", entry.kind)
        top.exactly("apiVersion", entry.version)
        spec = top.object("spec")
        same = _dsse(spec, found, leaf) if kind == _DSSE else _hashed(spec, found)
        top.done()
    except Malformed as error:
        raise VerificationFailed(
            "the log entry cannot be read",
            why=": ".join(text for text in (error.what, error.why) if text)[:300],
            fix="get the signature again from where it was made",
            reason="bad-log-entry",
        ) from error
    if not same:
        _other()


def _dsse(spec: strict.Fields, found: Foreign, leaf: Leaf) -> bool:
    """The log's own digest of the envelope is of a spelling that nobody has: it is not compared."""
    payload = spec.object("payloadHash")
    payload.exactly("algorithm", "sha256")
    (signed,) = _one(spec)
    same = payload.sha256("value") == hashlib.sha256(found.bundle.payload).hexdigest()
    same &= signed.base64("signature") == found.bundle.signature
    return same and signed.base64("verifier") == leaf.pem


def _hashed(spec: strict.Fields, found: Foreign) -> bool:
    record = spec.object("hashedRekordV002")
    data, signed = record.object("data"), record.object("signature")
    data.exactly("algorithm", "SHA2_256")
    verifier = signed.object("verifier")
    certificate = verifier.object("x509Certificate").base64("rawBytes")
    same = data.base64("digest") == hashlib.sha256(found.bundle.signed_bytes).digest()
    same &= signed.base64("content") == found.bundle.signature
    return same and certificate == found.bundle.certificates[0]


def _one(spec: strict.Fields) -> list[strict.Fields]:
    signatures = list(spec.objects("signatures", most=16))
    if len(signatures) != 1:
        raise Malformed(f"it holds {len(signatures)} signatures, not one")
    return signatures


def _other() -> NoReturn:
    raise VerificationFailed(
        "the log entry is of another signature",
        why="what the log holds is not this statement, by this certificate, with this signature",
        fix="get the signature again from where it was made",
        reason="other-log-entry",
    )
