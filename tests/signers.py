"""Signers for tests: the production protocol, real keys, and switches for what an attacker does.

May generate keys; a fault is one argument, never a patch of our code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from sovgate.formats.spki import PublicKey
from sovgate.records import ROLES
from sovgate.stages.trust import Trusted

CURVES: dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm, int]] = {
    "p256": (
        ec.SECP256R1(),
        hashes.SHA256(),
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    ),
    "p384": (
        ec.SECP384R1(),
        hashes.SHA384(),
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    ),
    "p521": (
        ec.SECP521R1(),
        hashes.SHA512(),
        int(
            "01"
            + "ff" * 32
            + "fa"
            + "51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
            16,
        ),
    ),
}


@dataclass(frozen=True)
class KeySigner:
    """`high_s` gives the other half of each signature, which OMS tools may give too."""

    curve: str = "p256"
    private: ec.EllipticCurvePrivateKey = field(default=None, repr=False)  # type: ignore[assignment]
    high_s: bool = False
    certificates: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.private is None:
            key = ec.generate_private_key(CURVES[self.curve][0])
            object.__setattr__(self, "private", key)

    @cached_property
    def public_key(self) -> PublicKey:
        return PublicKey.from_der(
            self.private.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    @property
    def private_pem(self) -> bytes:
        return self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def sign(self, message: bytes) -> bytes:
        _, algorithm, order = CURVES[self.curve]
        r, s = utils.decode_dss_signature(self.private.sign(message, ec.ECDSA(algorithm)))
        low = min(s, order - s)
        return utils.encode_dss_signature(r, order - low if self.high_s else low)

    def trusted(
        self, *may: str, name: str = "ci", zone: str | None = None, key: PublicKey | None = None
    ) -> Trusted:
        """An entry of `trust` for this key; every role where none is named."""
        return Trusted(
            name=name, key=key or self.public_key, may=frozenset(may or ROLES), zone=zone
        )
