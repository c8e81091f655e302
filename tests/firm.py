"""A firm with a CA of its own, and a server's certificate under it. Writes files."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

#: Known to no resolver: only a proxy reaches it.
HOST = "services.bank.invalid"
#: As Private Service Connect names a firm's own way to Google's KMS: tokens of Google's go there.
GOOGLE_HOST = "cloudkms-bank.p.googleapis.com"
VAULT_HOST = "bank-keys.vault.azure.net"


@dataclass(frozen=True, kw_only=True)
class Firm:
    """A CA's certificate, its private key, the server's certificate, and TLS for 127.0.0.1."""

    root: Path
    key: Path
    leaf: Path
    tls: ssl.SSLContext


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def issue(
    subject: str, public: ec.EllipticCurvePublicKey, by: ec.EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(name("a firm's CA"), name(subject), public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if not ca:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        names = x509.SubjectAlternativeName(
            [address, x509.DNSName(HOST), x509.DNSName(GOOGLE_HOST), x509.DNSName(VAULT_HOST)]
        )
        builder = builder.add_extension(names, critical=False)
    return builder.sign(by, hashes.SHA256())


def firm_in(folder: Path) -> Firm:
    folder.mkdir()
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = issue("a firm's CA", root_key.public_key(), root_key, ca=True)
    leaf = issue("a server", key.public_key(), root_key, ca=False)
    plain = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "ca.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.key").write_bytes(root_key.private_bytes(*plain))
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    (folder / "leaf.key").write_bytes(key.private_bytes(*plain))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "leaf.pem", folder / "leaf.key")
    return Firm(root=folder / "ca.pem", key=folder / "ca.key", leaf=folder / "leaf.pem", tls=tls)
