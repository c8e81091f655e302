"""Bundles that any tool wrote, read as tolerantly as their specifications ask for. No I/O.

Model signatures may be spelled in more ways than other statements (OMS v1.0, 4.1 and 11). What we
wrote ourselves has one spelling (RULES 43): `Bundle.parse` and `stages.trust` hold it to that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sovgate import strict
from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats.bundle import (
    MAX_CERTIFICATE_BYTES,
    MAX_CERTIFICATES,
    MAX_SIGNATURE_BYTES,
    MEDIA_TYPE,
    Bundle,
)
from sovgate.formats.envelope import PAYLOAD_TYPE
from sovgate.formats.statement import Statement

#: How Sigstore spelled the type before: versions 0.1 to 0.3 of the same format.
OLDER_MEDIA_TYPES = tuple(
    f"application/vnd.dev.sigstore.bundle+json;version=0.{minor}" for minor in (1, 2, 3)
)
MAX_SKIPPED = 64
MAX_KEY_BYTES = 64 * 1024

_HINT = re.compile(r"[\x20-\x7e]{0,512}")


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """A bundle as it was found; nothing in it is verified.

    key     the public key that the bundle carries, PEM or DER; it counts for nothing (RULES 5)
    oddity  what only a model's signature may be like; empty if there is nothing of the kind
    keyless whether its certificate is of the kind that Sigstore issues for one signature
    entries, timestamps  what shows its time, as it stands there: `keyless.proof` reads it
    """

    bundle: Bundle
    key: bytes = b""
    oddity: str = ""
    keyless: bool = False
    entries: tuple[strict.JSON, ...] = ()
    timestamps: strict.JSON = None

    def statement(self) -> Statement:
        """What the payload says. Raises Malformed; VerificationFailed as `Statement.parse`."""
        statement = Statement.parse(self.bundle.payload)
        if self.oddity and statement.role != "signature":
            raise Malformed(self.oddity)
        return statement

    @classmethod
    def parse(cls, data: bytes) -> Foreign:
        """Raises Malformed; VerificationFailed "signature-count" where not exactly one signature.

        Whether the signature is right is not looked at here.
        """
        top = strict.Fields(strict.loads(data), "bundle")
        oddity = ""
        if top.raw("mediaType") in OLDER_MEDIA_TYPES:
            oddity = f"bundle.mediaType is an older spelling of {MEDIA_TYPE!r}"
        else:
            top.exactly("mediaType", MEDIA_TYPE)
        material = _material(top.object("verificationMaterial"))
        if oddity and material.entries and material.certificates:
            # So Sigstore's tools wrote keyless bundles of any statement until 2024.
            material, oddity = replace(material, keyless=True), ""
        payload, signature, null = _envelope(top.object("dsseEnvelope"))
        top.done()
        if null:
            oddity = oddity or "bundle.dsseEnvelope.signatures[0].keyid is not text"
        bundle = Bundle(
            payload=payload,
            signature=signature,
            hint=material.hint,
            certificates=material.certificates,
        )
        return cls(
            bundle=bundle,
            key=material.key,
            oddity=oddity,
            keyless=material.keyless,
            entries=material.entries,
            timestamps=material.timestamps,
        )


def statement(data: bytes) -> Statement:
    """What a bundle says, whoever signed it. Raises as `Foreign.parse` and `statement` do."""
    return Foreign.parse(data).statement()


def _envelope(envelope: strict.Fields) -> tuple[bytes, bytes, bool]:
    """(payload, signature, whether its key id is null)."""
    payload = envelope.base64("payload")
    envelope.exactly("payloadType", PAYLOAD_TYPE)
    signatures = list(envelope.objects("signatures"))
    envelope.done()
    if len(signatures) != 1:
        raise VerificationFailed(
            f"the bundle holds {len(signatures)} signatures, not one",
            why="k signatures are k bundles, each by its own key",
            reason="signature-count",
        )
    only = signatures[0]
    signature = only.base64("sig", max_bytes=MAX_SIGNATURE_BYTES)
    # It says nothing that is needed: the key is found by trying those that are trusted.
    null = only.has("keyid") and only.raw("keyid") is None
    if only.has("keyid") and not null:
        only.text("keyid", max_length=512)
    only.done()
    return payload, signature, null


@dataclass(frozen=True, kw_only=True)
class _Material:
    hint: str = ""
    key: bytes = b""
    certificates: tuple[bytes, ...] = ()
    keyless: bool = False
    entries: tuple[strict.JSON, ...] = ()
    timestamps: strict.JSON = None


def _material(fields: strict.Fields) -> _Material:
    """Exactly one kind of key material."""
    kinds = [k for k in ("publicKey", "x509CertificateChain", "certificate") if fields.has(k)]
    if len(kinds) != 1:
        raise Malformed(
            "the bundle does not hold exactly one kind of key material",
            why=" and ".join(kinds) or "none",
        )
    holder = fields.object(kinds[0])
    found = _public_key(holder) if kinds[0] == "publicKey" else _certificates(holder, kinds[0])
    holder.done()
    # Logs and timestamps prove a time. `keyless.judge`, which needs one, reads them itself; nobody
    # else does, so an attacker gains nothing by adding or dropping them.
    entries: list[strict.JSON] = []
    if fields.has("tlogEntries"):
        entries = fields.list("tlogEntries", most=MAX_SKIPPED)
    if kinds[0] == "certificate" and not any(type(e) is dict and e for e in entries):
        raise Malformed(
            "the bundle has a certificate of the kind that Sigstore issues, but no log entry",
            why="such a certificate is short-lived: without an entry in a transparency log nothing "
            "shows that it was valid when it signed",
            fix="get the signature again from where it was made; where that writes to no log, as "
            "GitHub for private repositories, have it signed with a key or a certificate chain",
            reason="no-log-entry",
        )
    stamps = None
    if fields.has("timestampVerificationData"):
        stamps = fields.raw("timestampVerificationData")
    fields.done()
    return replace(found, entries=tuple(entries), timestamps=stamps)


def _public_key(holder: strict.Fields) -> _Material:
    hint, key = "", b""
    if holder.has("hint"):
        hint = holder.text("hint", max_length=512, pattern=_HINT)
    if holder.has("rawBytes"):
        key = holder.base64("rawBytes", max_bytes=MAX_KEY_BYTES)
    for name in ("keyDetails", "validFor"):
        if holder.has(name):
            holder.raw(name)
    return _Material(hint=hint, key=key)


def _certificates(holder: strict.Fields, kind: str) -> _Material:
    chain = kind == "x509CertificateChain"
    entries = holder.objects("certificates", most=MAX_CERTIFICATES) if chain else (holder,)
    found = []
    for entry in entries:
        found.append(entry.base64("rawBytes", max_bytes=MAX_CERTIFICATE_BYTES))
        entry.done()
    if not found:
        raise Malformed("the bundle's certificate chain is empty")
    return _Material(certificates=tuple(found), keyless=not chain)
