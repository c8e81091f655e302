"""Google Cloud KMS on loopback, with real keys: gRPC as the vendor's own client speaks it.

Checks what the service checks: sums, sizes, states, purposes, and the bearer token where it is told
one. A test makes it misbehave: `refuses` before a call, `edits` after it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # before it is imported

import google_crc32c
import grpc
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.cloud.kms_v1.types import resources, service

RING = "projects/bank-kms/locations/europe-west3/keyRings/models/cryptoKeys"
_SERVICE = "google.cloud.kms.v1.KeyManagementService"
_ALGORITHM = resources.CryptoKeyVersion.CryptoKeyVersionAlgorithm
_STATE = resources.CryptoKeyVersion.CryptoKeyVersionState
_PURPOSE = resources.CryptoKey.CryptoKeyPurpose
_LEVEL = resources.ProtectionLevel
_HASHES = {
    "EC_SIGN_P256_SHA256": ("sha256", hashes.SHA256()),
    "EC_SIGN_P384_SHA384": ("sha384", hashes.SHA384()),
    "EC_SIGN_SECP256K1_SHA256": ("sha256", hashes.SHA256()),
}
_RPC = {
    "GetCryptoKey": (service.GetCryptoKeyRequest, resources.CryptoKey),
    "ListCryptoKeyVersions": (
        service.ListCryptoKeyVersionsRequest,
        service.ListCryptoKeyVersionsResponse,
    ),
    "GetCryptoKeyVersion": (service.GetCryptoKeyVersionRequest, resources.CryptoKeyVersion),
    "CreateCryptoKey": (service.CreateCryptoKeyRequest, resources.CryptoKey),
    "GetPublicKey": (service.GetPublicKeyRequest, resources.PublicKey),
    "AsymmetricSign": (service.AsymmetricSignRequest, service.AsymmetricSignResponse),
    "AsymmetricDecrypt": (service.AsymmetricDecryptRequest, service.AsymmetricDecryptResponse),
    "Encrypt": (service.EncryptRequest, service.EncryptResponse),
    "Decrypt": (service.DecryptRequest, service.DecryptResponse),
}


class RefusedError(Exception):
    """A status of gRPC by its name, and what the service says."""

    def __init__(self, status: str, said: str) -> None:
        super().__init__(said)
        self.status, self.said = grpc.StatusCode[status], said


@dataclass
class Version:
    """`made`: seconds since 1970; `job`: the import job that brought it, if one did."""

    secret: Any
    state: Any = _STATE.ENABLED
    made: int = 1_760_000_000
    job: str = ""


@dataclass
class CryptoKey:
    """`algorithm` as KMS calls it. Versions count from 1; the last is primary."""

    algorithm: str
    level: str = "SOFTWARE"
    versions: list[Version] = field(default_factory=list)
    #: Seconds: of one rotation to the next, and when that is.
    rotates: tuple[int, int] | None = None

    def add(self) -> None:
        kind = self.algorithm
        if kind.startswith("EC_SIGN"):
            curves = {"P256": ec.SECP256R1(), "P384": ec.SECP384R1(), "SECP": ec.SECP256K1()}
            self.versions.append(Version(ec.generate_private_key(curves[kind[8:12]])))
        elif kind.startswith("RSA"):
            self.versions.append(Version(rsa.generate_private_key(65537, int(kind.split("_")[3]))))
        else:
            self.versions.append(Version(AESGCM.generate_key(256)))

    @property
    def purpose(self) -> Any:
        if self.algorithm.startswith("EC_SIGN"):
            return _PURPOSE.ASYMMETRIC_SIGN
        opens = self.algorithm.startswith("RSA_DECRYPT")
        return _PURPOSE.ASYMMETRIC_DECRYPT if opens else _PURPOSE.ENCRYPT_DECRYPT


class GoogleKms:
    """`seen`: (call, name) of all that was asked; `tokens`: what came as authorization."""

    DISABLED = _STATE.DISABLED
    DESTROYED = _STATE.DESTROYED

    def __init__(self, token: str | None = None) -> None:
        self.keys: dict[str, CryptoKey] = {}
        self.token = token
        self.seen: list[tuple[str, str]] = []
        self.tokens: list[str | None] = []
        self.refuses: Callable[[str, str], RefusedError | None] = lambda _call, _name: None
        self.edits: Callable[[str, Any], Any] = lambda _call, answer: answer
        self.port = 0

    def make(self, algorithm: str, *, level: str = "SOFTWARE") -> str:
        """A new key of one version; its name."""
        name = f"{RING}/key-{len(self.keys)}"
        self.keys[name] = CryptoKey(algorithm=algorithm, level=level)
        self.keys[name].add()
        return name

    def uri(self, name: str, **settings: str) -> str:
        written = "".join(f"&{key}={value}" for key, value in settings.items())
        return f"gcpkms://{name}?address=http://127.0.0.1:{self.port}{written}"

    # -- the calls

    def call(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        about = getattr(request, "name", "") or getattr(request, "parent", "")
        said = dict(context.invocation_metadata()).get("authorization")
        self.seen.append((name, about))
        self.tokens.append(said if isinstance(said, str) or said is None else said.decode())
        try:
            if self.token is not None and said != f"Bearer {self.token}":
                raise RefusedError("UNAUTHENTICATED", "Request had invalid authentication.")
            refused = self.refuses(name, about)
            if refused is not None:
                raise refused
            return self.edits(name, getattr(self, f"_{name}")(request))
        except RefusedError as error:
            context.abort(error.status, error.said)

    def _key(self, name: str) -> CryptoKey:
        if name not in self.keys:
            raise RefusedError("NOT_FOUND", f"CryptoKey {name} not found.")
        return self.keys[name]

    def _version(self, name: str) -> tuple[CryptoKey, Version]:
        parent, _, number = name.partition("/cryptoKeyVersions/")
        key = self._key(parent)
        if not number or int(number) > len(key.versions):
            raise RefusedError("NOT_FOUND", f"CryptoKeyVersion {name} not found.")
        version = key.versions[int(number) - 1]
        if version.state != _STATE.ENABLED:
            state = _STATE(version.state).name
            raise RefusedError(
                "FAILED_PRECONDITION", f"{name} is not enabled, current state is: {state}."
            )
        return key, version

    def _GetCryptoKey(self, request: Any) -> Any:
        key = self._key(request.name)
        found = resources.CryptoKey(name=request.name, purpose=key.purpose)
        found.version_template.protection_level = _LEVEL[key.level]
        found.version_template.algorithm = _ALGORITHM[key.algorithm]
        found.create_time = _moment(1_750_000_000)
        if key.rotates is not None:
            found.rotation_period = timedelta(seconds=key.rotates[0])
            found.next_rotation_time = _moment(key.rotates[1])
        if key.purpose == _PURPOSE.ENCRYPT_DECRYPT and key.versions:
            found.primary = self._described(request.name, len(key.versions))
        return found

    def _GetCryptoKeyVersion(self, request: Any) -> Any:
        parent, _, number = request.name.partition("/cryptoKeyVersions/")
        if int(number) > len(self._key(parent).versions):
            raise RefusedError("NOT_FOUND", f"CryptoKeyVersion {request.name} not found.")
        return self._described(parent, int(number))

    def _described(self, name: str, number: int) -> Any:
        key = self.keys[name]
        version = key.versions[number - 1]
        return resources.CryptoKeyVersion(
            name=f"{name}/cryptoKeyVersions/{number}",
            state=version.state,
            algorithm=_ALGORITHM[key.algorithm],
            protection_level=_LEVEL[key.level],
            create_time=_moment(version.made),
            import_job=version.job,
        )

    def _CreateCryptoKey(self, request: Any) -> Any:
        name = f"{request.parent}/cryptoKeys/{request.crypto_key_id}"
        template = request.crypto_key.version_template
        if name in self.keys:
            raise RefusedError("ALREADY_EXISTS", f"CryptoKey {name} already exists.")
        if request.parent != RING.removesuffix("/cryptoKeys"):
            raise RefusedError("NOT_FOUND", f"KeyRing {request.parent} not found.")
        made = CryptoKey(algorithm=template.algorithm.name, level=template.protection_level.name)
        if made.purpose != request.crypto_key.purpose:
            raise RefusedError("INVALID_ARGUMENT", "the algorithm is not for that purpose")
        made.add()
        self.keys[name] = made
        return self._GetCryptoKey(service.GetCryptoKeyRequest(name=name))

    def _ListCryptoKeyVersions(self, request: Any) -> Any:
        key = self._key(request.parent)
        listed = [
            self._described(request.parent, number)
            for number, version in enumerate(key.versions, 1)
            if request.filter != "state=ENABLED" or version.state == _STATE.ENABLED
        ]
        return service.ListCryptoKeyVersionsResponse(
            crypto_key_versions=listed, total_size=len(listed)
        )

    def _GetPublicKey(self, request: Any) -> Any:
        key, version = self._version(request.name)
        if isinstance(version.secret, bytes):
            raise RefusedError("FAILED_PRECONDITION", "the key is symmetric")
        pem = version.secret.public_key().public_bytes(
            form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
        )
        return resources.PublicKey(
            pem=pem.decode(),
            algorithm=_ALGORITHM[key.algorithm],
            pem_crc32c=google_crc32c.value(pem),
            name=request.name,
            protection_level=_LEVEL[key.level],
        )

    def _AsymmetricSign(self, request: Any) -> Any:
        key, version = self._version(request.name)
        if key.purpose != _PURPOSE.ASYMMETRIC_SIGN:
            raise RefusedError("FAILED_PRECONDITION", "the key's purpose is another")
        name, algorithm = _HASHES[key.algorithm]
        digest = bytes(getattr(request.digest, name))
        if len(digest) != algorithm.digest_size:
            raise RefusedError("INVALID_ARGUMENT", "the digest has another length")
        heard = _compared(request.digest_crc32c, digest, "digest")
        signature = version.secret.sign(digest, ec.ECDSA(utils.Prehashed(algorithm)))
        return service.AsymmetricSignResponse(
            signature=signature,
            signature_crc32c=google_crc32c.value(signature),
            verified_digest_crc32c=heard,
            name=request.name,
            protection_level=_LEVEL[key.level],
        )

    def _AsymmetricDecrypt(self, request: Any) -> Any:
        key, version = self._version(request.name)
        heard = _compared(request.ciphertext_crc32c, bytes(request.ciphertext), "ciphertext")
        digest = hashes.SHA256()
        oaep = padding.OAEP(padding.MGF1(digest), digest, None)
        try:
            plain = version.secret.decrypt(bytes(request.ciphertext), oaep)
        except ValueError:
            raise RefusedError("INVALID_ARGUMENT", "Decryption failed: it is invalid.") from None
        return service.AsymmetricDecryptResponse(
            plaintext=plain,
            plaintext_crc32c=google_crc32c.value(plain),
            verified_ciphertext_crc32c=heard,
            protection_level=_LEVEL[key.level],
        )

    def _Encrypt(self, request: Any) -> Any:
        name = request.name
        if "/cryptoKeyVersions/" not in name:
            name += f"/cryptoKeyVersions/{len(self._key(name).versions)}"
        key, version = self._version(name)
        plain, bound = bytes(request.plaintext), bytes(request.additional_authenticated_data)
        heard = _compared(request.plaintext_crc32c, plain, "plaintext")
        sum_ = request.additional_authenticated_data_crc32c
        bound_heard = _compared(sum_, bound, "additional_authenticated_data")
        nonce = os.urandom(12)
        number = name.rpartition("/")[2].encode()
        sealed = AESGCM(version.secret).encrypt(nonce, plain, bound)
        ciphertext = bytes([len(number)]) + number + nonce + sealed
        return service.EncryptResponse(
            name=name,
            ciphertext=ciphertext,
            ciphertext_crc32c=google_crc32c.value(ciphertext),
            verified_plaintext_crc32c=heard,
            verified_additional_authenticated_data_crc32c=bound_heard,
            protection_level=_LEVEL[key.level],
        )

    def _Decrypt(self, request: Any) -> Any:
        key = self._key(request.name)
        data, bound = bytes(request.ciphertext), bytes(request.additional_authenticated_data)
        _compared(request.ciphertext_crc32c, data, "ciphertext")
        sum_ = request.additional_authenticated_data_crc32c
        _compared(sum_, bound, "additional_authenticated_data")
        try:
            number, rest = int(data[1 : 1 + data[0]]), data[1 + data[0] :]
            version = key.versions[number - 1]
            plain = AESGCM(version.secret).decrypt(rest[:12], rest[12:], bound)
        except (InvalidTag, ValueError, IndexError):
            said = "Decryption failed: verify that 'name' refers to the correct CryptoKey."
            raise RefusedError("INVALID_ARGUMENT", said) from None
        return service.DecryptResponse(
            plaintext=plain,
            plaintext_crc32c=google_crc32c.value(plain),
            used_primary=number == len(key.versions),
            protection_level=_LEVEL[key.level],
        )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _compared(said: int | None, data: bytes, name: str) -> bool:
    if said is None:
        return False
    if said != google_crc32c.value(data):
        raise RefusedError("INVALID_ARGUMENT", f"The checksum in field {name}_crc32c did not match")
    return True


@contextlib.contextmanager
def google_kms(
    token: str | None = None, tls: tuple[bytes, bytes] | None = None
) -> Iterator[GoogleKms]:
    """`tls`: a private key and its certificate, in PEM."""
    kms = GoogleKms(token)

    def handler(name: str) -> grpc.RpcMethodHandler:
        request, answer = _RPC[name]
        return grpc.unary_unary_rpc_method_handler(
            lambda asked, context: kms.call(name, asked, context),
            request_deserializer=request.deserialize,
            response_serializer=answer.serialize,
        )

    server = grpc.server(futures.ThreadPoolExecutor(16))
    calls = {name: handler(name) for name in _RPC}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, calls),))
    if tls is None:
        kms.port = server.add_insecure_port("127.0.0.1:0")
    else:
        kms.port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tls]))
    server.start()
    try:
        yield kms
    finally:
        server.stop(None).wait()


def _main() -> None:
    with google_kms() as kms:
        sign, wrap = kms.make("EC_SIGN_P256_SHA256"), kms.make("GOOGLE_SYMMETRIC_ENCRYPTION")
        lines = [
            *("version: 1", "model: churn", "zones:", "  eu:", "    region: gcp:europe-west3"),
            *("    keys:", f"      sign: {kms.uri(f'{sign}/cryptoKeyVersions/1')}"),
            f"      encrypt: {kms.uri(wrap)}",
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    _main()
