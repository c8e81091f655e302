"""Sigstore bundles v0.3 that hold one DSSE envelope with one signature, as we write them.

Bytes <-> record, no I/O. What other tools write is read by `formats.foreign`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sovgate import strict
from sovgate.errors import Malformed
from sovgate.formats.envelope import PAYLOAD_TYPE, pae

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_CERTIFICATES = 16
MAX_CERTIFICATE_BYTES = 64 * 1024
MAX_SIGNATURE_BYTES = 1024


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
        """What `emit` wrote, and nothing else. Raises Malformed.

        Whether the signature is right is not looked at here.
        """
        top = strict.Fields(strict.loads(data), "bundle")
        material = top.object("verificationMaterial")
        certificates: tuple[bytes, ...] = ()
        hint = ""
        if material.has("x509CertificateChain"):
            chain = material.object("x509CertificateChain")
            certificates = tuple(
                entry.base64("rawBytes", max_bytes=MAX_CERTIFICATE_BYTES)
                for entry in chain.objects("certificates", most=MAX_CERTIFICATES)
            )
        else:
            hint = material.object("publicKey").text("hint", max_length=512)
        envelope = top.object("dsseEnvelope")
        signatures = list(envelope.objects("signatures", most=1))
        if not signatures:
            raise Malformed("the bundle holds no signature")
        bundle = cls(
            payload=envelope.base64("payload"),
            signature=signatures[0].base64("sig", max_bytes=MAX_SIGNATURE_BYTES),
            hint=hint,
            certificates=certificates,
        )
        if bundle.emit() != data:  # so no field is left that was not looked at
            raise Malformed("the bundle is not in its canonical form", reason="not-canonical")
        return bundle
