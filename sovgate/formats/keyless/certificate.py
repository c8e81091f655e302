"""The certificate of a keyless signer: whom an issuer of identities vouched for. No I/O.

Fulcio's profile: one name, the issuer as an extension, a receipt of a certificate log, ten minutes
of life. What is read here is believed only after the chain above it verified (`judge`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats import x509 as certificates
from sovgate.formats.keyless import EMAIL, URI, USER
from sovgate.formats.spki import PublicKey

if TYPE_CHECKING:
    from cryptography import x509

#: Sigstore's arc of object identifiers: https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
_ARC = "1.3.6.1.4.1.57264.1."
#: The issuer as bare bytes, as the first version wrote it, and as a DER string.
ISSUER_V1, ISSUER_V2 = _ARC + "1", _ARC + "8"
_OTHER_NAME = _ARC + "7"
_UTF8 = 0x0C
#: The one algorithm that tools sign with keylessly, and that the library verifies with.
ALGORITHM = "ecdsa-p256-sha256"


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """`identity` is the one subject alternative name, `issuer` the issuer of identities.

    `kind` is which kind of name it is: `keyless.URI`, EMAIL or USER. `receipt` is (log id, time) of
    the signed certificate timestamp; None where there is none.
    """

    identity: str
    kind: str
    issuer: str
    key: PublicKey
    start: datetime
    end: datetime
    receipt: tuple[bytes, datetime] | None
    pem: bytes


def read(der: bytes) -> Leaf:
    """Raises VerificationFailed, reason "keyless-certificate"; Malformed."""
    from cryptography.hazmat.primitives.serialization import Encoding

    with certificates.parsing():
        leaf = certificates.canonical(der)
        _check_use(leaf)
        identity, kind = _identity(leaf)
        return Leaf(
            identity=identity,
            kind=kind,
            issuer=_issuer(leaf),
            key=_key(leaf),
            start=leaf.not_valid_before_utc,
            end=leaf.not_valid_after_utc,
            receipt=_receipt(leaf),
            pem=leaf.public_bytes(Encoding.PEM),
        )


def _check_use(leaf: x509.Certificate) -> None:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    if certificates.is_authority(leaf):
        _refuse("it is marked as a certificate authority's")
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound as error:
        _refuse(f"it does not say what it is for: {error}")
    if not usage.digital_signature or ExtendedKeyUsageOID.CODE_SIGNING not in extended:
        _refuse("it is not for signing code")


def _identity(leaf: x509.Certificate) -> tuple[str, str]:
    """The name and its kind: as mere texts two kinds of names can be one."""
    from cryptography import x509

    try:
        names = list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        _refuse("it names nobody: it has no subject alternative name")
    if len(names) != 1:
        _refuse(f"it has {len(names)} subject alternative names, not one")
    (name,) = names
    if isinstance(name, x509.OtherName) and name.type_id.dotted_string == _OTHER_NAME:
        return _text(name.value), USER
    if isinstance(name, x509.UniformResourceIdentifier):
        return str(name.value), URI
    if not isinstance(name, x509.RFC822Name):
        _refuse("its subject alternative name is no e-mail address, URI or user name")
    return str(name.value), EMAIL


def _issuer(leaf: x509.Certificate) -> str:
    """Both spellings where both are there: a certificate that tells two issuers tells none."""
    from cryptography import x509

    found = {}
    for extension in leaf.extensions:
        oid, value = extension.oid.dotted_string, extension.value
        if oid in (ISSUER_V1, ISSUER_V2) and isinstance(value, x509.UnrecognizedExtension):
            found[oid] = (_decoded if oid == ISSUER_V1 else _text)(value.value)
    if not found:
        _refuse("it does not name the issuer of the identity")
    if len(set(found.values())) != 1:
        _refuse("it names two issuers of the identity")
    return next(iter(found.values()))


def _text(der: bytes) -> str:
    """A UTF8String in its one spelling."""
    body = der[2:] if len(der) > 1 and der[1] < 0x80 else der[3:]
    length = bytes([len(body)]) if len(body) < 0x80 else bytes([0x81, len(body) & 0xFF])
    if len(body) > 0xFF or bytes([_UTF8]) + length + body != der:
        _refuse("a name in it is no DER string")
    return _decoded(body)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        _refuse("a name in it is not UTF-8")


def _key(leaf: x509.Certificate) -> PublicKey:
    key = certificates.key_of(leaf)
    if key.algorithm != ALGORITHM:
        _refuse(f"its key is of type {key.algorithm}, and keyless signatures are {ALGORITHM}")
    return key


def _receipt(leaf: x509.Certificate) -> tuple[bytes, datetime] | None:
    from cryptography import x509

    try:
        stamps = list(
            leaf.extensions.get_extension_for_class(
                x509.PrecertificateSignedCertificateTimestamps
            ).value
        )
    except x509.ExtensionNotFound:
        return None
    if len(stamps) != 1:
        raise Malformed(f"the certificate has {len(stamps)} signed certificate timestamps, not one")
    return stamps[0].log_id, stamps[0].timestamp.replace(tzinfo=UTC)


def _refuse(why: str) -> NoReturn:
    raise VerificationFailed(
        "the keyless signer's certificate is not of its kind",
        why=why,
        fix="have it signed again through the Sigstore instance that the trusted root is of",
        reason="keyless-certificate",
    )
