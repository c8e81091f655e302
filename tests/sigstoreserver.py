"""The private Sigstore of `sigstores`, served on loopback to the signing clients of others.

Fulcio looks at the identity token (signature, audience, time) and at the proof that the client has
the key; Rekor at the signature. Opens one port of 127.0.0.1.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from sovgate.formats.envelope import pae
from tests.der import parts
from tests.sigstores import Sigstore, canonical, entry1, named, new_key

#: Who vouches for identities; it is nobody that a client knows.
ISSUER = "https://login.firm.example"
AUDIENCE = "sigstore"
#: Who signs, where nothing else is said.
IDENTITY = "release@firm.example"


class RefusedError(Exception):
    """What the service does not do."""


@dataclass(frozen=True)
class Reply:
    """An answer of HTTP in the place of the service's own."""

    status: int
    data: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Served:
    """`address` is the base of all services, `issuers` whose tokens it takes. `asked` are the paths
    that were asked for, `heard` the bearers of them.

    lies  by path: gets the request's body and the honest answer, and gives another, or a Reply
    """

    instance: Sigstore
    address: str
    login: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    asked: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    issuers: set[str] = field(default_factory=lambda: {ISSUER})
    lies: dict[str, Callable[[bytes, Any], Any]] = field(default_factory=dict)

    def token(self, identity: str, **claims: Any) -> str:
        now = int(datetime.now(UTC).timestamp())
        said = {"iss": ISSUER, "sub": identity, "aud": AUDIENCE, "iat": now, "exp": now + 300}
        return jwt.encode(said | claims, self.login, algorithm="ES256")

    def trust_config(self, version: int) -> dict[str, Any]:
        """Sigstore's ClientTrustConfig: where to sign, with Rekor of this version, and its root."""
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.instance.trusted_root(),
            "signingConfig": self.signing_config(version),
        }

    def signing_config(self, version: int) -> dict[str, Any]:
        """Sigstore's SigningConfig: where to sign, with Rekor of this version."""

        def service(address: str, major: int = 1) -> list[dict[str, Any]]:
            spans = {"start": "2020-01-01T00:00:00Z"}
            one = {"url": address, "majorApiVersion": major, "validFor": spans, "operator": "us"}
            return [one]

        stamps = service(f"{self.address}/api/v1/timestamp") if version == 2 else []
        return {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": service(self.address),
            "oidcUrls": service(self.address),
            "rekorTlogUrls": service(self.address, version),
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": stamps,
            "tsaConfig": {"selector": "ANY"},
        }

    def answer(self, path: str, body: bytes, bearer: str) -> tuple[str, bytes | Reply]:
        """Content type and body. Raises RefusedError."""
        lie = self.lies.get(path, lambda _, made: made)
        if path == "/api/v1/timestamp":
            return "application/timestamp-reply", lie(body, self._stamp(body))
        said = json.loads(body)
        if path == "/api/v2/signingCert":
            made = self._certify(said, bearer)
        elif path == "/api/v1/log/entries":
            made = self._log1(said)
        elif path == "/api/v2/log/entries":
            made = self._log2(said)
        else:
            raise RefusedError(path)
        made = lie(body, made)
        return "application/json", made if isinstance(made, Reply) else json.dumps(made).encode()

    def _certify(self, said: dict[str, Any], bearer: str) -> dict[str, Any]:
        try:
            claims = jwt.decode(bearer, self.login.public_key(), ["ES256"], audience=AUDIENCE)
        except jwt.PyJWTError as error:
            raise RefusedError(f"the token: {error}") from error
        if claims["iss"] not in self.issuers:
            raise RefusedError(f"the issuer {claims['iss']}")
        request = x509.load_pem_x509_csr(base64.b64decode(said["certificateSigningRequest"]))
        key = request.public_key()
        if not request.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
            raise RefusedError("the request is not signed by its key")
        now = datetime.now(UTC).replace(microsecond=0)
        leaf = self.instance.certificate(key, named(_name(claims), claims["iss"]), now)
        pems = [leaf.public_bytes(Encoding.PEM).decode()]
        for der in self.instance.authority.chain:
            above = x509.load_der_x509_certificate(der)
            pems.append(above.public_bytes(Encoding.PEM).decode())
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": pems}}}

    def _log1(self, said: dict[str, Any]) -> dict[str, Any]:
        proposed = said["spec"]["proposedContent"]
        envelope = json.loads(proposed["envelope"])
        payload = base64.b64decode(envelope["payload"])
        signature = base64.b64decode(envelope["signatures"][0]["sig"])
        leaf = x509.load_pem_x509_certificate(base64.b64decode(proposed["verifiers"][0]))
        _verify(leaf, signature, hashlib.sha256(pae(envelope["payloadType"], payload)).digest())
        now = datetime.now(UTC)
        entry = self.instance.rekor1.add(entry1(payload, signature, leaf), now)
        proof = entry["inclusionProof"]
        inclusion = {
            "checkpoint": proof["checkpoint"]["envelope"],
            "hashes": [base64.b64decode(one).hex() for one in proof["hashes"]],
            "logIndex": int(proof["logIndex"]),
            "rootHash": base64.b64decode(proof["rootHash"]).hex(),
            "treeSize": int(proof["treeSize"]),
        }
        promise = entry["inclusionPromise"]["signedEntryTimestamp"]
        answer = {
            "body": entry["canonicalizedBody"],
            "integratedTime": int(entry["integratedTime"]),
            "logID": self.instance.rekor1.id.hex(),
            "logIndex": int(entry["logIndex"]),
            "verification": {"inclusionProof": inclusion, "signedEntryTimestamp": promise},
        }
        return {"0" * 80: answer}

    def _log2(self, said: dict[str, Any]) -> dict[str, Any]:
        asked = said["hashedRekordRequestV002"]
        signed, digest = asked["signature"], asked["digest"]
        der = signed["verifier"]["x509Certificate"]["rawBytes"]
        leaf = x509.load_der_x509_certificate(base64.b64decode(der))
        _verify(leaf, base64.b64decode(signed["content"]), base64.b64decode(digest))
        data = {"algorithm": "SHA2_256", "digest": digest}
        spec = {"hashedRekordV002": {"data": data, "signature": signed}}
        body = canonical({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec})
        return self.instance.rekor2.add(body, datetime.now(UTC))

    def _stamp(self, query: bytes) -> bytes:
        fields = parts(parts(query)[0][1])
        digest = parts(fields[1][1])[1][1]
        nonce = next((int.from_bytes(body, "big") for tag, body in fields[2:] if tag == 2), None)
        return self.instance.stamp_digest(digest, datetime.now(UTC), nonce)


def _name(claims: dict[str, Any]) -> str:
    """As Fulcio names whom a token is for, by the kind of its issuer."""
    if "job_workflow_ref" in claims:
        return f"https://github.com/{claims['job_workflow_ref']}"
    if "ci_config_ref_uri" in claims:
        return f"https://{claims['ci_config_ref_uri']}"
    if "kubernetes.io" in claims:
        space, account = (claims["kubernetes.io"][key] for key in ("namespace", "serviceaccount"))
        return f"https://kubernetes.io/namespaces/{space}/serviceaccounts/{account['name']}"
    return str(claims.get("email", claims["sub"]))


def _verify(leaf: x509.Certificate, signature: bytes, digest: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise RefusedError("another kind of key")
    try:
        key.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except InvalidSignature as error:
        raise RefusedError("the signature is not by the certificate's key") from error


@contextlib.contextmanager
def serving(instance: Sigstore) -> Iterator[Served]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(length)
            served.asked.append(self.path)
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            served.heard.append(bearer)
            try:
                kind, made = served.answer(self.path, body, bearer)
                if isinstance(made, Reply):
                    self._send(made.status, kind, made.data, *made.headers)
                else:
                    self._send(201, kind, made)
            except RefusedError as error:
                self._send(400, "application/json", {"message": str(error)})

        def do_GET(self) -> None:
            """Where to log in, which model_signing wants to know even where it has a token."""
            names = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
            self._send(200, "application/json", dict.fromkeys(names, served.address))

        def _send(self, code: int, kind: str, made: object, *more: tuple[str, str]) -> None:
            data = made if isinstance(made, bytes) else json.dumps(made).encode()
            self.send_response(code)
            for header in more:
                self.send_header(*header)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    gc.collect()  # what a thread may not drop (the engine of policies) is dropped here
    served = Served(instance, f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def laid(folder: Path, served: Served, version: int = 2, *, token: str = "", more: str = "") -> str:
    """The two files of the instance and a token, in a folder; and the key that names them."""
    (folder / "signing.json").write_text(json.dumps(served.signing_config(version)))
    (folder / "trusted_root.json").write_text(json.dumps(served.instance.trusted_root()))
    (folder / "token").write_text(token or served.token(IDENTITY))
    (folder / "token").chmod(0o600)
    return f"sigstore:signing.json?trusted-root=trusted_root.json&token-file=token{more}"
