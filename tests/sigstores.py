"""A private Sigstore with real keys: Fulcio, certificate log, Rekor v1 and v2, timestamp authority.

In this process, no network: it makes what those services answer. Each fault that an attacker or a
broken service could bring is one argument or one edit of what comes back. `sigstoreserver` serves
it on loopback to clients of others.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from sovgate.formats.envelope import PAYLOAD_TYPE, pae
from tests.der import OCTETS, SEQUENCE, SET, integer, oid, set_of, tlv

#: When its test bundles are signed: long ago, so that nothing rests on the clock.
WHEN = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
BEGIN, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2060, 1, 1, tzinfo=UTC)
IDENTITY = "https://github.com/example/churn/.github/workflows/release.yml@refs/heads/main"
ISSUER = "https://token.actions.githubusercontent.com"

_SHA256, _ECDSA = "2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2"
_SCT = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_FULCIO = "1.3.6.1.4.1.57264.1."

Key = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey
LogKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spki(key: LogKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signed(key: LogKey, data: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


# --- authorities ----------------------------------------------------------------------------


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Authority:
    """A root and what stands below it. `chain` is DER, leaf first."""

    key: Key
    certificate: x509.Certificate
    chain: tuple[bytes, ...]

    @classmethod
    def make(cls, name: str, *, stamps: bool = False) -> Authority:
        top, below = new_key(), new_key()
        root = _authority(f"{name} root", top, f"{name} root", top, ca=True)
        own = _authority(name, below, f"{name} root", top, ca=not stamps)
        chain = tuple(one.public_bytes(Encoding.DER) for one in (own, root))
        return cls(below, own, chain)


def _authority(name: str, key: Key, above: str, by: Key, *, ca: bool) -> x509.Certificate:
    use = ExtendedKeyUsageOID.CODE_SIGNING if ca else ExtendedKeyUsageOID.TIME_STAMPING
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(above))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(END)
        .add_extension(usage(ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
        )
    )
    if ca:
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if name != above:
        made = made.add_extension(x509.ExtendedKeyUsage([use]), critical=not ca)
    return made.sign(by, hashes.SHA256())


def usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


# --- logs -----------------------------------------------------------------------------------


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right)


def _root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    cut = 1 << ((len(leaves) - 1).bit_length() - 1)
    return _node(_root(leaves[:cut]), _root(leaves[cut:]))


def _path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    cut = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < cut:
        return [*_path(leaves[:cut], index), _root(leaves[cut:])]
    return [*_path(leaves[cut:], index - cut), _root(leaves[:cut])]


@dataclass
class Log:
    """A Merkle tree after RFC 6962, with a key. `version` 1 tells the time, 2 does not."""

    origin: str
    version: int = 1
    key: LogKey = field(default_factory=new_key)
    leaves: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number in range(5):  # others' entries: a path of some length
            self.leaves.append(sha256(b"\x00" + f"{self.origin} {number}".encode()))

    @property
    def id(self) -> bytes:
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            return sha256(self.origin.encode() + b"\n\x01" + raw)
        return sha256(spki(self.key))

    def instance(self) -> dict[str, Any]:
        plain = isinstance(self.key, ed25519.Ed25519PrivateKey)
        return {
            "baseUrl": f"https://{self.origin}",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": b64(spki(self.key)),
                "keyDetails": "PKIX_ED25519" if plain else "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": "2020-01-01T00:00:00Z"},
            },
            "logId": {"keyId": b64(self.id)},
        }

    def promise(self, body: bytes, index: int, when: int) -> bytes:
        said = {
            "body": b64(body),
            "integratedTime": when,
            "logID": self.id.hex(),
            "logIndex": index,
        }
        return signed(self.key, canonical(said))

    def add(self, body: bytes, when: datetime) -> dict[str, Any]:
        """The body's entry, as a bundle holds it. Another entry follows."""
        index = len(self.leaves)
        self.leaves += [sha256(b"\x00" + body), sha256(b"\x00the next")]
        kind, seconds = json.loads(body), int(when.timestamp())
        entry: dict[str, Any] = {
            "logIndex": str(index),
            "logId": {"keyId": b64(self.id)},
            "kindVersion": {"kind": kind["kind"], "version": kind["apiVersion"]},
            "integratedTime": str(seconds if self.version == 1 else 0),
            "inclusionProof": self.proof(index),
            "canonicalizedBody": b64(body),
        }
        if self.version == 1:
            promise = self.promise(body, index, seconds)
            entry["inclusionPromise"] = {"signedEntryTimestamp": b64(promise)}
        return entry

    def proof(self, index: int) -> dict[str, Any]:
        root = _root(self.leaves)
        note = f"{self.origin}\n{len(self.leaves)}\n{b64(root)}\n"
        mark = b64(self.id[:4] + signed(self.key, note.encode()))
        return {
            "logIndex": str(index),
            "treeSize": str(len(self.leaves)),
            "rootHash": b64(root),
            "hashes": [b64(one) for one in _path(self.leaves, index)],
            "checkpoint": {"envelope": f"{note}\n— {self.origin} {mark}\n"},
        }


# --- the instance ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Names:
    """What a certificate says of its signer. `sans` are its subject alternative names."""

    sans: tuple[x509.GeneralName, ...] = (x509.UniformResourceIdentifier(IDENTITY),)
    v1: str | None = ISSUER
    v2: str | None = ISSUER
    receipt: bool = True
    ca: bool = False
    eku: ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING


def named(identity: str = IDENTITY, issuer: str = ISSUER) -> Names:
    kind = x509.UniformResourceIdentifier if "://" in identity else x509.RFC822Name
    return Names(sans=(kind(identity),), v1=issuer, v2=issuer)


@dataclass
class Sigstore:
    """One instance. `authority` is Fulcio, `stamper` the timestamp authority."""

    authority: Authority = field(default_factory=lambda: Authority.make("fulcio"))
    stamper: Authority = field(default_factory=lambda: Authority.make("tsa", stamps=True))
    certificate_log: Log = field(default_factory=lambda: Log("ct.example"))
    rekor1: Log = field(default_factory=lambda: Log("rekor.example"))
    rekor2: Log = field(
        default_factory=lambda: Log("log2.example", 2, ed25519.Ed25519PrivateKey.generate())
    )

    def trusted_root(self) -> dict[str, Any]:
        def authority(one: Authority) -> dict[str, Any]:
            return {
                "subject": {"organization": "example", "commonName": "example"},
                "uri": "https://fulcio.example",
                "certChain": {"certificates": [{"rawBytes": b64(der)} for der in one.chain]},
                "validFor": {"start": "2020-01-01T00:00:00Z"},
            }

        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self.rekor1.instance(), self.rekor2.instance()],
            "certificateAuthorities": [authority(self.authority)],
            "ctlogs": [self.certificate_log.instance()],
            "timestampAuthorities": [authority(self.stamper)],
        }

    def certificate(
        self, key: PublicKey, names: Names, begins: datetime, minutes: int = 10
    ) -> x509.Certificate:
        ends = begins + timedelta(minutes=minutes)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.authority.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(usage(False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([names.eku]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.key.public_key()),
                critical=False,
            )
        )
        if names.sans:
            made = made.add_extension(x509.SubjectAlternativeName(names.sans), critical=True)
        if names.ca:
            made = made.add_extension(
                x509.BasicConstraints(ca=True, path_length=None), critical=True
            )
        for number, text in (("1", names.v1), ("8", names.v2)):
            if text is not None:
                value = text.encode() if number == "1" else tlv(0x0C, text.encode())
                own = ObjectIdentifier(_FULCIO + number)
                made = made.add_extension(x509.UnrecognizedExtension(own, value), critical=False)
        if not names.receipt:
            return made.sign(self.authority.key, hashes.SHA256())
        # What a receipt is over does not depend on the receipt.
        draft = self._with_receipt(made, b"\x30\x00", begins)
        return self._with_receipt(made, draft.tbs_precertificate_bytes, begins)

    def _with_receipt(
        self, made: x509.CertificateBuilder, body: bytes, when: datetime
    ) -> x509.Certificate:
        issuer = sha256(spki(self.authority.key))
        stamp = int(when.timestamp() * 1000)
        entry = struct.pack("!BBQH32s", 0, 0, stamp, 1, issuer) + struct.pack("!I", len(body))[1:]
        signature = signed(self.certificate_log.key, entry + body + b"\x00\x00")
        sct = struct.pack("!B32sQH", 0, self.certificate_log.id, stamp, 0)
        sct += struct.pack("!BBH", 4, 3, len(signature)) + signature
        one = struct.pack("!H", len(sct)) + sct
        value = tlv(OCTETS, struct.pack("!H", len(one)) + one)
        listed = x509.UnrecognizedExtension(_SCT, value)
        return made.add_extension(listed, critical=False).sign(self.authority.key, hashes.SHA256())

    def stamp(self, message: bytes, when: datetime, nonce: int | None = None) -> bytes:
        return self.stamp_digest(sha256(message), when, nonce)

    def stamp_digest(self, digest: bytes, when: datetime, nonce: int | None = None) -> bytes:
        """An RFC 3161 response, DER, as the authority makes it."""
        algorithm = tlv(SEQUENCE, oid(_SHA256))
        parts = [
            integer(1),
            oid("1.3.6.1.4.1.57264.2"),
            tlv(SEQUENCE, algorithm, tlv(OCTETS, digest)),
            integer(int.from_bytes(sha256(digest)[:8], "big")),
            tlv(0x18, when.strftime("%Y%m%d%H%M%SZ").encode()),
        ]
        info = tlv(SEQUENCE, *parts, *(() if nonce is None else (integer(nonce),)))
        own = self.stamper.certificate
        certified = tlv(SEQUENCE, tlv(SEQUENCE, tlv(SEQUENCE, tlv(OCTETS, sha256(_der(own))))))
        content = "1.2.840.113549.1.9.16.1.4"
        attributes = [
            tlv(SEQUENCE, oid("1.2.840.113549.1.9.3"), tlv(SET, oid(content))),
            tlv(SEQUENCE, oid("1.2.840.113549.1.9.4"), tlv(SET, tlv(OCTETS, sha256(info)))),
            tlv(SEQUENCE, oid("1.2.840.113549.1.9.16.2.47"), tlv(SET, certified)),
        ]
        signature = signed(self.stamper.key, set_of(SET, attributes))
        signer = tlv(
            SEQUENCE,
            integer(1),
            tlv(SEQUENCE, own.issuer.public_bytes(), integer(own.serial_number)),
            algorithm,
            set_of(0xA0, attributes),
            tlv(SEQUENCE, oid(_ECDSA)),
            tlv(OCTETS, signature),
        )
        data = tlv(
            SEQUENCE,
            integer(3),
            tlv(SET, algorithm),
            tlv(SEQUENCE, oid(content), tlv(0xA0, tlv(OCTETS, info))),
            tlv(0xA0, _der(own)),
            tlv(SET, signer),
        )
        token = tlv(SEQUENCE, oid("1.2.840.113549.1.7.2"), tlv(0xA0, data))
        return tlv(SEQUENCE, tlv(SEQUENCE, integer(0)), token)

    def sign(
        self,
        payload: bytes,
        *,
        names: Names | None = None,
        rekor: int = 1,
        at: datetime = WHEN,
        begins: datetime | None = None,
    ) -> dict[str, Any]:
        """A bundle: Rekor v1 tells the time, beside Rekor v2 the timestamp authority does.

        `begins` is when the certificate's ten minutes begin, by default a minute before `at`.
        """
        key = new_key()
        leaf = self.certificate(
            key.public_key(), names or Names(), begins or at - timedelta(minutes=1)
        )
        signature = key.sign(pae(PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA256()))
        log = self.rekor1 if rekor == 1 else self.rekor2
        body = (entry1 if rekor == 1 else entry2)(payload, signature, leaf)
        material: dict[str, Any] = {
            "certificate": {"rawBytes": b64(_der(leaf))},
            "tlogEntries": [log.add(body, at)],
        }
        if rekor == 2:
            stamps = [{"signedTimestamp": b64(self.stamp(signature, at))}]
            material["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": b64(payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": b64(signature)}],
            },
        }


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def entry1(payload: bytes, signature: bytes, leaf: x509.Certificate) -> bytes:
    """What Rekor v1 holds of an envelope: the kind `dsse`."""
    signer = {"signature": b64(signature), "verifier": b64(leaf.public_bytes(Encoding.PEM))}
    spec = {
        "envelopeHash": {"algorithm": "sha256", "value": sha256(b"some spelling").hex()},
        "payloadHash": {"algorithm": "sha256", "value": sha256(payload).hex()},
        "signatures": [signer],
    }
    return canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})


def entry2(payload: bytes, signature: bytes, leaf: x509.Certificate) -> bytes:
    """What Rekor v2 holds of an envelope: the kind `hashedrekord`."""
    digest = sha256(pae(PAYLOAD_TYPE, payload))
    verifier = {
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "x509Certificate": {"rawBytes": b64(_der(leaf))},
    }
    record = {
        "data": {"algorithm": "SHA2_256", "digest": b64(digest)},
        "signature": {"content": b64(signature), "verifier": verifier},
    }
    spec = {"hashedRekordV002": record}
    return canonical({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec})
