"""What the services of a Sigstore are asked for, and what they answer: bytes <-> records, no I/O.

Fulcio's interface v2, Rekor's v1 (`dsse` 0.0.1) and v2 (`hashedrekord` 0.0.2), RFC 3161. Nothing
that is read here is believed: `judge` verifies the bundle that is made of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sovgate import strict
from sovgate.errors import Malformed
from sovgate.formats import x509 as certificates
from sovgate.formats.bundle import MAX_CERTIFICATES, MEDIA_TYPE
from sovgate.formats.envelope import PAYLOAD_TYPE, pae
from sovgate.formats.keyless.proof import MAX_BODY, MAX_CHECKPOINT, MAX_HASHES, MAX_PROMISE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

#: An entry repeats what it is of, in base64 of base64.
MAX_ANSWER = 4 * MAX_BODY
_UUID = re.compile(r"[0-9a-f]{64,80}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PEM_BYTES = 64 * 1024


def certificate_request(key: EllipticCurvePrivateKey) -> bytes:
    """The body that asks for a certificate: a request that `key` signed, so that nobody gets one
    for a key of others. Whom it is for is told by the token, which is a header."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    made = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    return strict.canonical({"certificateSigningRequest": strict.b64encode(pem)})


def certificate(answer: bytes) -> bytes:
    """The certificate in Fulcio's answer, DER. What it sends above that one is not looked at: the
    trusted root has its own. Raises Malformed."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    top = strict.Fields(strict.loads(answer, max_bytes=MAX_ANSWER), "answer")
    chain = top.object("signedCertificateEmbeddedSct").object("chain")
    pems = chain.list("certificates", most=MAX_CERTIFICATES)
    first = pems[0] if pems else None
    if type(first) is not str or len(first) > _PEM_BYTES:
        raise Malformed("answer.signedCertificateEmbeddedSct.chain holds no certificate")
    with certificates.parsing():
        return x509.load_pem_x509_certificate(first.encode()).public_bytes(Encoding.DER)


def entry_request(version: int, payload: bytes, signature: bytes, leaf: bytes) -> bytes:
    """The body that asks a log of this version for an entry. `leaf` is DER."""
    if version == 1:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding

        pem = x509.load_der_x509_certificate(leaf).public_bytes(Encoding.PEM)
        envelope = strict.canonical(_envelope(payload, signature)).decode()
        proposed: strict.JSON = {"envelope": envelope, "verifiers": [strict.b64encode(pem)]}
        spec: strict.JSON = {"proposedContent": proposed}
        return strict.canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
    digest = hashlib.sha256(pae(PAYLOAD_TYPE, payload)).digest()
    verifier: strict.JSON = {
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "x509Certificate": {"rawBytes": strict.b64encode(leaf)},
    }
    signed: strict.JSON = {"content": strict.b64encode(signature), "verifier": verifier}
    asked: strict.JSON = {"digest": strict.b64encode(digest), "signature": signed}
    return strict.canonical({"hashedRekordRequestV002": asked})


def entry(version: int, answer: bytes) -> strict.JSON:
    """The entry in a log's answer, as a bundle holds it. Raises Malformed."""
    value = strict.loads(answer, max_bytes=MAX_ANSWER)
    return _entry1(value) if version == 1 else value


def _entry1(value: strict.JSON) -> strict.JSON:
    """Rekor v1 has a form of its own: one entry by its id, with hashes in hex."""
    names = list(value) if isinstance(value, dict) else []
    if len(names) != 1 or not _UUID.fullmatch(names[0]):
        raise Malformed("the answer is not one entry by its id")
    held = strict.Fields(value, "answer").object(names[0])
    shown = held.object("verification")
    proof = shown.object("inclusionProof")
    hashes = proof.list("hashes", most=MAX_HASHES)
    body = held.base64("body", max_bytes=MAX_BODY)
    kind = strict.Fields(strict.loads(body), "entry")
    promise = shown.base64("signedEntryTimestamp", max_bytes=MAX_PROMISE)
    return {
        "logIndex": str(held.integer("logIndex")),
        "logId": {"keyId": _unhexed(held.raw("logID"))},
        "kindVersion": {"kind": kind.text("kind"), "version": kind.text("apiVersion")},
        "integratedTime": str(held.integer("integratedTime")),
        "inclusionPromise": {"signedEntryTimestamp": strict.b64encode(promise)},
        "inclusionProof": {
            "logIndex": str(proof.integer("logIndex")),
            "treeSize": str(proof.integer("treeSize")),
            "rootHash": _unhexed(proof.raw("rootHash")),
            "hashes": [_unhexed(one) for one in hashes],
            "checkpoint": {"envelope": proof.text("checkpoint", max_length=MAX_CHECKPOINT)},
        },
        "canonicalizedBody": strict.b64encode(body),
    }


def _unhexed(value: strict.JSON) -> str:
    if type(value) is not str or not _HEX.fullmatch(value):
        raise Malformed("a hash in the answer is not 32 bytes in lower-case hex")
    return strict.b64encode(bytes.fromhex(value))


def _envelope(payload: bytes, signature: bytes) -> dict[str, strict.JSON]:
    return {
        "payload": strict.b64encode(payload),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": strict.b64encode(signature)}],
    }


def bundle(
    payload: bytes, signature: bytes, leaf: bytes, logged: strict.JSON, stamps: Sequence[bytes]
) -> bytes:
    """The bundle of all that came back, to be read and judged before anybody else gets it."""
    material: dict[str, Any] = {
        "certificate": {"rawBytes": strict.b64encode(leaf)},
        "tlogEntries": [logged],
    }
    if stamps:
        rows = [{"signedTimestamp": strict.b64encode(one)} for one in stamps]
        material["timestampVerificationData"] = {"rfc3161Timestamps": rows}
    return strict.canonical(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": _envelope(payload, signature),
        }
    )
