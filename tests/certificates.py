"""Issues certificates for tests: a small authority whose mistakes are arguments."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.signers import KeySigner


def issue(
    subject: str,
    key: KeySigner,
    issuer: str,
    issuer_key: KeySigner,
    *,
    ca: bool = False,
    digital_signature: bool = True,
    key_usage: bool = True,
    san: str | None = "dpo@bank.example",
    signs: bool = False,
) -> x509.Certificate:
    """Valid from an hour ago for a day; a leaf may sign code and names `san`.

    `signs`: an authority's key may sign data too, and no certificates.
    """

    def name(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])

    public = key.private.public_key()
    now = datetime.datetime.now(datetime.UTC)
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
            names = x509.SubjectAlternativeName([x509.RFC822Name(san)])
            builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key.private, hashes.SHA256())
