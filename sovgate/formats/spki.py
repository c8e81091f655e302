"""Public keys as X.509 SubjectPublicKeyInfo, and the one place that checks ECDSA signatures.

No I/O. `cryptography` is imported inside functions. A key has one spelling here: canonical DER, and
the PEM made of it, so that equal keys have equal identifiers.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats import xwing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

MAX_PEM_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """A NIST curve: RFC 5480 SPKI bytes before the point, group order, name of its hash."""

    spki_prefix: bytes
    point_bytes: int
    order: int
    attribute: str
    hash_name: str


_CURVES: dict[str, _Curve] = {
    "ecdsa-p256-sha256": _Curve(
        spki_prefix=bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"),
        point_bytes=65,
        order=0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        attribute="SECP256R1",
        hash_name="SHA256",
    ),
    "ecdsa-p384-sha384": _Curve(
        spki_prefix=bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200"),
        point_bytes=97,
        order=int(
            "ffffffffffffffffffffffffffffffffffffffffffffffff"
            "c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
            16,
        ),
        attribute="SECP384R1",
        hash_name="SHA384",
    ),
    "ecdsa-p521-sha512": _Curve(
        spki_prefix=bytes.fromhex("30819b301006072a8648ce3d020106052b8104002303818600"),
        point_bytes=133,
        order=int(
            "01" + "ff" * 32 + "fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
            16,
        ),
        attribute="SECP521R1",
        hash_name="SHA512",
    ),
}

#: Sizes of RSA keys that may wrap for a zone; RSA signs nothing here.
_RSA_BITS = (2048, 3072, 4096)

_BEGIN, _END = b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----"


def _refuse(why: str, fix: str | None = None) -> NoReturn:
    raise Malformed("this public key cannot be used", why=why, fix=fix, reason="bad-key")


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """`pem` and `der` are canonical.

    `algorithm` is "ecdsa-p256-sha256", "ecdsa-p384-sha384", "ecdsa-p521-sha512", or, for wrapping
    only, "rsa-2048", "rsa-3072", "rsa-4096", and "ml-kem-768-x25519".
    """

    pem: bytes
    der: bytes
    algorithm: str

    @cached_property
    def key_id(self) -> str:
        """SHA-256 of the DER SPKI in lower-case hex."""
        return hashlib.sha256(self.der).hexdigest()

    @cached_property
    def oms_hint(self) -> str:
        """What OMS writes as `publicKey.hint`: SHA-256 of the PEM text in lower-case hex."""
        return hashlib.sha256(self.pem).hexdigest()

    @property
    def hints(self) -> frozenset[str]:
        """All spellings of this key that a bundle may carry: OMS, cosign, ours, and none."""
        digest = hashlib.sha256(self.der).digest()
        return frozenset({"", self.oms_hint, self.key_id, base64.b64encode(digest).decode("ascii")})

    @property
    def can_verify(self) -> bool:
        return self.algorithm in _CURVES

    @classmethod
    def from_pem(cls, data: bytes) -> PublicKey:
        """One `PUBLIC KEY` block, and no other. Raises Malformed (never repeats the bytes)."""
        if len(data) > MAX_PEM_BYTES:
            _refuse(f"a PEM file of {len(data)} bytes")
        body = _block(data)
        if body is None:
            if b"PRIVATE KEY-----" in data:
                _refuse("it is a private key", "give the public half")
            if b"-----BEGIN CERTIFICATE-----" in data:
                _refuse(
                    "it is a certificate",
                    "take the public key out of it: openssl x509 -in FILE -noout -pubkey > NEW",
                )
            _refuse("it does not hold exactly one PEM block, of type PUBLIC KEY")
        try:
            der = base64.b64decode(body, validate=True)
        except ValueError:
            _refuse("its base64 is invalid")
        return cls.from_der(der)

    @classmethod
    def from_der(cls, data: bytes) -> PublicKey:
        """Raises Malformed: other algorithms, other spellings (compressed points, explicit curves),
        points that are not on their curve."""
        data = bytes(data)
        algorithm = next((a for a, c in _CURVES.items() if data.startswith(c.spki_prefix)), None)
        if data.startswith(xwing.SPKI_PREFIX):
            algorithm = _hybrid(data)
        elif algorithm is None:
            algorithm = _rsa_algorithm(data)
        else:
            curve = _CURVES[algorithm]
            if len(data) != len(curve.spki_prefix) + curve.point_bytes:
                _refuse("its point has another length than its curve demands")
            _load_point(curve, data)
        text = base64.b64encode(data)
        lines = [text[at : at + 64] for at in range(0, len(text), 64)]
        pem = b"\n".join([b"-----BEGIN PUBLIC KEY-----", *lines, b"-----END PUBLIC KEY-----", b""])
        return cls(pem=pem, der=data, algorithm=algorithm)

    def verify(self, message: bytes, signature: bytes, *, low_s: bool = True) -> None:
        """Check an ECDSA signature in DER over `message`, hashed as the curve demands.

        `low_s=False` admits s above half the order: only for signatures of other OMS tools.
        Raises VerificationFailed, reasons "bad-signature", "high-s", "unsupported-key".
        """
        curve = _CURVES.get(self.algorithm)
        if curve is None:
            raise VerificationFailed(
                f"a key of type {self.algorithm} verifies no signature",
                fix="sign with an ECDSA key on P-256, P-384 or P-521",
                reason="unsupported-key",
            )
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        why = "it was made by another key, or over other bytes"
        try:
            r, s = utils.decode_dss_signature(signature)
            if utils.encode_dss_signature(r, s) != signature:
                why = "its DER is not canonical"
                raise InvalidSignature
            _load_point(curve, self.der).verify(
                signature, message, ec.ECDSA(getattr(hashes, curve.hash_name)())
            )
        except (InvalidSignature, ValueError) as error:
            raise VerificationFailed(
                "the signature does not verify", why=why, reason="bad-signature"
            ) from error
        if low_s and s > curve.order // 2:
            raise VerificationFailed(
                "the signature is not in its canonical form",
                why="s is above half the group order, so a second form of the signature exists",
                fix="sign again",
                reason="high-s",
            )


def hash_name(algorithm: str) -> str:
    """What a signature by a key of this algorithm hashes with, "sha256", as hashlib has it."""
    return _CURVES[algorithm].hash_name.lower()


def from_raw(signature: bytes, algorithm: str) -> bytes:
    """r ‖ s, each as long as the curve's order (RFC 7518, 3.4; PKCS#11), as DER.

    Raises ValueError for another length.
    """
    from cryptography.hazmat.primitives.asymmetric import utils

    size = (_CURVES[algorithm].order.bit_length() + 7) // 8
    if len(signature) != 2 * size:
        raise ValueError(f"{len(signature)} bytes, not {2 * size}")
    r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
    return utils.encode_dss_signature(r, s)


def low_s(signature: bytes, algorithm: str) -> bytes:
    """The same DER signature with s in the lower half: for signers whose service may give any."""
    from cryptography.hazmat.primitives.asymmetric import utils

    order = _CURVES[algorithm].order
    r, s = utils.decode_dss_signature(signature)
    return utils.encode_dss_signature(r, min(s, order - s))


def _block(data: bytes) -> bytes | None:
    """What the one PEM block of `data` holds, in base64; None where there is no such block.

    Text may stand above and below it (RFC 7468, 2): certtool and `openssl -text` write that.
    """
    if data.count(b"-----BEGIN ") != 1 or data.count(b"-----END ") != 1:
        return None
    lines = [line.strip() for line in data.splitlines()]
    if _BEGIN not in lines or _END not in lines:
        return None
    body = b"".join(lines[lines.index(_BEGIN) + 1 : lines.index(_END)])
    return b"".join(body.split())


def _load_point(curve: _Curve, der: bytes) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    point = der[len(curve.spki_prefix) :]
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(getattr(ec, curve.attribute)(), point)
    except ValueError:
        _refuse("its point is not on its curve")


def _hybrid(der: bytes) -> str:
    """Raises Malformed where either of its two keys cannot be one."""
    try:
        xwing.loaded(der)
    except ValueError:
        _refuse("it is no public key of ML-KEM-768 and X25519")
    return xwing.NAME


def _rsa_algorithm(der: bytes) -> str:
    """The name of an RSA key of an admitted size. Raises Malformed for everything else."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        _refuse("it is not a SubjectPublicKeyInfo that is known here")
    fix = "use ECDSA on P-256, P-384 or P-521, or RSA of 2048, 3072 or 4096 bits for wrapping"
    if not isinstance(key, rsa.RSAPublicKey):
        _refuse_kind(key, fix)
    if key.key_size not in _RSA_BITS:
        _refuse(f"it is an RSA key of {key.key_size} bits", fix)
    again = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if again != der or key.public_numbers().e < 65537:
        _refuse("it is spelled unusually, or its exponent is small", fix)
    return f"rsa-{key.key_size}"


def _refuse_kind(key: object, fix: str) -> NoReturn:
    """By its name: who brings a key of another kind knows that name."""
    curve = getattr(key, "curve", None)
    if curve is None:
        _refuse(f"it is a key of {type(key).__name__.removesuffix('PublicKey')}", fix)
    if curve.name.upper() in {one.attribute for one in _CURVES.values()}:
        _refuse(
            "its point is compressed, or its curve is not written by name",
            "write it anew: openssl ec -pubin -in FILE -conv_form uncompressed -param_enc "
            "named_curve -out NEW",
        )
    _refuse(f"it is an EC key on {curve.name}", fix)
