"""Issues certificates for tests: a small authority whose mistakes are arguments."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sovgate.formats.x509 import low_form
from tests.signers import CURVES, KeySigner


def issue(
    subject: str,
    key: KeySigner,
    issuer: str,
    issuer_key: KeySigner,
    *,
    ca: bool = False,
    digital_signature: bool = True,
    key_usage: bool = True,
    san: str | x509.GeneralName | None = "dpo@bank.example",
    signs: bool = False,
    age: datetime.timedelta = datetime.timedelta(),
    high_s: bool = False,
) -> x509.Certificate:
    """Valid from an hour ago for a day, or `age` before that; a leaf may sign code and names `san`.

    `high_s`: the authority's signature is the one of its two forms that no bundle of ours has.
    `signs`: an authority's key may sign data too, and no certificates.
    """

    def name(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])

    public = key.private.public_key()
    now = datetime.datetime.now(datetime.UTC) - age
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.private.public_key()),
            critical=False,
        )
    )
    if key_usage:
        usage = x509.KeyUsage(
            digital_signature=signs or (digital_signature and not ca),
            key_cert_sign=ca and not signs,
            crl_sign=ca and not signs,
            content_commitment=not ca,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
    if not ca:
        code = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
        builder = builder.add_extension(code, critical=False)
        if san is not None:
            named = x509.RFC822Name(san) if isinstance(san, str) else san
            names = x509.SubjectAlternativeName([named])
            builder = builder.add_extension(names, critical=False)
    made = builder.sign(issuer_key.private, hashes.SHA256())
    low = low_form(made.public_bytes(Encoding.DER))
    return x509.load_der_x509_certificate(high_form(low, issuer_key) if high_s else low)


def high_form(der: bytes, issuer_key: KeySigner) -> bytes:
    """The same certificate with the other form of its issuer's signature: anybody can write it."""
    certificate = x509.load_der_x509_certificate(der)
    r, s = utils.decode_dss_signature(certificate.signature)
    other = utils.encode_dss_signature(r, CURVES[issuer_key.curve][2] - s)

    def bits(signature: bytes) -> bytes:
        size = len(signature) + 1
        return b"\x03" + (b"\x81" if size > 127 else b"") + bytes([size, 0]) + signature

    body = der[4 : -len(bits(certificate.signature))] + bits(other)
    return b"\x30\x82" + len(body).to_bytes(2, "big") + body
