"""Sigstore bundles v0.3 that hold one DSSE envelope with one signature. Bytes <-> record, no I/O.

What is emitted has one spelling. What is read may be another tool's: the fields of Sigstore's
protobuf JSON that model_signing and cosign write are known, and what they add beside is skipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sovgate import strict
from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats.envelope import PAYLOAD_TYPE, pae

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_CERTIFICATES = 16
MAX_CERTIFICATE_BYTES = 64 * 1024
MAX_SIGNATURE_BYTES = 1024
MAX_SKIPPED = 64

_HINT = re.compile(r"[\x20-\x7e]{0,512}")
_SKIPPED_KEY_FIELDS = ("rawBytes", "keyDetails", "validFor")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """`signature` is DER. `certificates` are DER, leaf first, empty for a raw key.

    `hint` is what the bundle says about its raw key; it counts for nothing (RULES 5).
    """

    payload: bytes
    signature: bytes
    hint: str
    certificates: tuple[bytes, ...] = ()

    @property
    def signed_bytes(self) -> bytes:
        return pae(PAYLOAD_TYPE, self.payload)

    def emit(self) -> bytes:
        """The one spelling: canonical JSON. model_signing and cosign read it."""
        if self.certificates:
            chain = [{"rawBytes": strict.b64encode(der)} for der in self.certificates]
            material: dict[str, object] = {"x509CertificateChain": {"certificates": chain}}
        else:
            material = {"publicKey": {"hint": self.hint}}
        return strict.canonical(
            {
                "mediaType": MEDIA_TYPE,
                "verificationMaterial": material | {"tlogEntries": []},
                "dsseEnvelope": {
                    "payload": strict.b64encode(self.payload),
                    "payloadType": PAYLOAD_TYPE,
                    "signatures": [{"keyid": "", "sig": strict.b64encode(self.signature)}],
                },
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Bundle:
        """Raises Malformed; VerificationFailed "signature-count" where not exactly one signature.

        Whether the signature is right is not looked at here.
        """
        top = strict.Fields(strict.loads(data), "bundle")
        top.exactly("mediaType", MEDIA_TYPE)
        hint, certificates = _material(top.object("verificationMaterial"))
        envelope = top.object("dsseEnvelope")
        top.done()
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
        signature = signatures[0].base64("sig", max_bytes=MAX_SIGNATURE_BYTES)
        if signatures[0].has("keyid"):
            signatures[0].text("keyid", max_length=512)
        signatures[0].done()
        return cls(payload=payload, signature=signature, hint=hint, certificates=certificates)


def _material(material: strict.Fields) -> tuple[str, tuple[bytes, ...]]:
    """(hint, certificates). Exactly one kind of key material."""
    hint, certificates = "", []
    kinds = [k for k in ("publicKey", "x509CertificateChain", "certificate") if material.has(k)]
    if len(kinds) != 1:
        raise Malformed(
            "the bundle does not hold exactly one kind of key material",
            why=" and ".join(kinds) or "none",
        )
    holder = material.object(kinds[0])
    if kinds[0] == "publicKey":
        if holder.has("hint"):
            hint = holder.text("hint", max_length=512, pattern=_HINT)
        for name in _SKIPPED_KEY_FIELDS:
            if holder.has(name):
                holder.raw(name)
        holder.done()
    else:
        chain = kinds[0] == "x509CertificateChain"
        entries = holder.objects("certificates", most=MAX_CERTIFICATES) if chain else (holder,)
        for entry in entries:
            certificates.append(entry.base64("rawBytes", max_bytes=MAX_CERTIFICATE_BYTES))
            entry.done()
        holder.done()
        if not certificates:
            raise Malformed("the bundle's certificate chain is empty")
    # Logs and timestamps prove a time. A check that needs one reads them itself; none is needed to
    # know what was signed, so an attacker gains nothing by adding or dropping them.
    if material.has("tlogEntries"):
        material.list("tlogEntries", most=MAX_SKIPPED)
    if material.has("timestampVerificationData"):
        material.raw("timestampVerificationData")
    material.done()
    return hint, tuple(certificates)
