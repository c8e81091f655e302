"""Azure Key Vault on loopback, with real keys: its REST API, as the vendor's own client speaks it.

Asks for a token by a challenge where it is told one. A test makes it misbehave: `refuses` before an
answer, `edits` after it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from tests import pace

#: Whose vault it is: no resolver knows it.
HOST = "bank-keys.vault.azure.net"
TENANT = "72f988bf-0000-41af-91ab-2d7cd011db47"
CHALLENGE = (
    f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", '
    'resource="https://vault.azure.net"'
)
_CURVES = {
    "P-256": (ec.SECP256R1(), "ES256", hashes.SHA256()),
    "P-384": (ec.SECP384R1(), "ES384", hashes.SHA384()),
    "P-521": (ec.SECP521R1(), "ES512", hashes.SHA512()),
}
_PATH = re.compile(
    r"/keys/([\w-]+)(?:/([0-9a-f]{32}))?(?:/(sign|unwrapkey|create|rotationpolicy))?/?"
)
_NEEDS = {"sign": "sign", "unwrapkey": "unwrapKey"}


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """`inner` is the code within, which tells one 403 from another."""

    status: int
    code: str
    message: str = "no"
    inner: str | None = None


@dataclass
class Key:
    """`kind` as Key Vault has it: EC, EC-HSM, RSA, RSA-HSM; `size`: a curve, or bits."""

    kind: str
    size: str
    operations: list[str]
    versions: dict[str, Any] = field(default_factory=dict)
    enabled: bool = True
    #: More attributes, as `exp`; and when a version is replaced, as "P90D" after it was made.
    attributes: dict[str, Any] = field(default_factory=dict)
    rotates: str | None = None

    def add(self) -> None:
        made: Any
        if self.kind.startswith("EC"):
            curve = _CURVES[self.size][0] if self.size in _CURVES else ec.SECP256K1()
            made = ec.generate_private_key(curve)
        else:
            made = rsa.generate_private_key(65537, int(self.size))
        self.versions[f"{len(self.versions) + 1:032x}"] = made

    @property
    def current(self) -> str:
        return list(self.versions)[-1]


class Vault(ThreadingHTTPServer):
    """`seen`: (method, path without query); `tokens`: what came as authorization."""

    daemon_threads = True

    def __init__(self, token: str | None, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.keys: dict[str, Key] = {}
        self.token, self.challenge = token, CHALLENGE
        self.seen: list[tuple[str, str]] = []
        self.tokens: list[str | None] = []
        #: Of requests to make a key.
        self.bodies: list[dict[str, Any]] = []
        self.refuses: Callable[[str, str], Refusal | None] = lambda _verb, _name: None
        self.edits: Callable[[str, dict[str, Any]], Any] = lambda _verb, answer: answer
        #: A status and headers in place of any answer.
        self.instead: tuple[int, dict[str, str]] | None = None

    def make(self, kind: str, size: str, *operations: str) -> str:
        """A new key of one version; its name."""
        name = f"key-{len(self.keys)}"
        usual = ["sign", "verify"] if kind.startswith("EC") else ["wrapKey", "unwrapKey"]
        self.keys[name] = Key(kind=kind, size=size, operations=list(operations) or usual)
        self.keys[name].add()
        return name

    def uri(self, name: str, **settings: str) -> str:
        more = "".join(f"&{key}={value}" for key, value in settings.items())
        return f"azurekms://{HOST}/{name}?address=http://127.0.0.1:{self.server_port}{more}"

    def pinned(self, name: str, **settings: str) -> str:
        return self.uri(f"{name}/{self.keys[name].current}", **settings)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that goes away is part of the play


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int, size: int | None = None) -> str:
    return _b64(value.to_bytes(size or (value.bit_length() + 7) // 8))


class _Handler(BaseHTTPRequestHandler):
    server: Vault
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self._take({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._take(json.loads(body or b"{}"))

    def _take(self, body: dict[str, Any]) -> None:
        vault, path = self.server, self.path.partition("?")[0]
        vault.seen.append((self.command, path))
        said = self.headers.get("Authorization")
        vault.tokens.append(said)
        if vault.instead is not None:
            self._answer(vault.instead[0], {}, vault.instead[1])
            return
        if vault.token is not None and said != f"Bearer {vault.token}":
            told = {"error": {"code": "Unauthorized", "message": "AKV10000: no token"}}
            self._answer(401, told, {"WWW-Authenticate": vault.challenge})
            return
        found = _PATH.fullmatch(path)
        if found is None or "api-version=" not in self.path:
            self._refuse(Refusal(status=400, code="BadParameter"))
            return
        name, version, verb = found.groups()
        refused = vault.refuses(verb or "get", name)
        if refused is None:
            refused = self._missing(name, version, verb)
        if refused is not None:
            self._refuse(refused)
            return
        if verb == "create":
            self._create(name, body)
            verb = None
        answer = self._do(vault.keys[name], name, version, verb, body)
        if isinstance(answer, Refusal):
            self._refuse(answer)
        else:
            self._answer(200, vault.edits(verb or "get", answer))

    def _create(self, name: str, body: dict[str, Any]) -> None:
        """As the service does it: of a name that is there, another version."""
        vault = self.server
        vault.bodies.append(body)
        size = str(body.get("crv") or body.get("key_size"))
        made = Key(kind=body["kty"], size=size, operations=body["key_ops"])
        vault.keys.setdefault(name, made).add()

    def _missing(self, name: str, version: str | None, verb: str | None) -> Refusal | None:
        key = self.server.keys.get(name)
        if verb == "create":
            return None
        if key is None or (version is not None and version not in key.versions):
            said = f"A key with (name/id) {name} was not found in this key vault."
            return Refusal(status=404, code="KeyNotFound", message=said)
        if not key.enabled and verb in _NEEDS:
            said = f"Operation {verb} is not allowed on a disabled key."
            return Refusal(status=403, code="Forbidden", message=said, inner="KeyDisabled")
        if verb in _NEEDS and _NEEDS[str(verb)] not in key.operations:
            said = f"Operation {verb} is not permitted on this key."
            return Refusal(
                status=403, code="Forbidden", message=said, inner="KeyOperationForbidden"
            )
        return None

    def _do(
        self, key: Key, name: str, version: str | None, verb: str | None, body: dict[str, Any]
    ) -> Any:
        version = version or key.current
        secret, kid = key.versions[version], f"https://{HOST}/keys/{name}/{version}"
        if verb is None:
            told = {"kid": kid, "kty": key.kind, "key_ops": key.operations}
            numbers = secret.public_key().public_numbers()
            if key.kind.startswith("EC"):
                size = (secret.curve.key_size + 7) // 8
                told |= {
                    "crv": key.size,
                    "x": _number(numbers.x, size),
                    "y": _number(numbers.y, size),
                }
            else:
                told |= {"n": _number(numbers.n), "e": _number(numbers.e)}
            state: dict[str, Any] = {
                "enabled": key.enabled,
                "created": 1760000000,
                "updated": 1760000000,
            }
            if "api-version=7.5" in self.path:
                state |= {"hsmPlatform": "2" if key.kind.endswith("-HSM") else "0"}
            state |= {"exportable": False, "recoveryLevel": "Recoverable", **key.attributes}
            return {"key": told, "attributes": state}
        if verb == "rotationpolicy":
            soon = {"timeBeforeExpiry": "P30D"}
            actions: list[Any] = [{"action": {"type": "Notify"}, "trigger": soon}]
            if key.rotates is not None:
                rotate = {"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": key.rotates}}
                actions.append(rotate)
            return {"lifetimeActions": actions, "attributes": {}}
        value = base64.urlsafe_b64decode(body["value"] + "==")
        bad = Refusal(status=400, code="BadParameter", message="The parameter is incorrect.")
        if verb == "sign":
            _, algorithm, digest = _CURVES[key.size]
            if body["alg"] != algorithm or len(value) != digest.digest_size:
                return bad
            pair = utils.decode_dss_signature(secret.sign(value, ec.ECDSA(utils.Prehashed(digest))))
            size = (secret.curve.key_size + 7) // 8
            return {"kid": kid, "value": _b64(b"".join(part.to_bytes(size) for part in pair))}
        digest = hashes.SHA256()
        try:
            opened = secret.decrypt(value, padding.OAEP(padding.MGF1(digest), digest, None))
        except ValueError:
            return bad
        return bad if body["alg"] != "RSA-OAEP-256" else {"kid": kid, "value": _b64(opened)}

    def _refuse(self, refusal: Refusal) -> None:
        error: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
        if refusal.inner is not None:
            error["innererror"] = {"code": refusal.inner}
        self._answer(refusal.status, {"error": error})

    def _answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def azure_vault(token: str | None = None, tls: ssl.SSLContext | None = None) -> Iterator[Vault]:
    vault = Vault(token, tls)
    thread = threading.Thread(target=vault.serve_forever, args=(pace.SOON,), daemon=True)
    thread.start()
    try:
        yield vault
    finally:
        vault.shutdown()
        vault.server_close()
        thread.join()


def _main() -> None:
    with azure_vault() as vault:
        sign, wrap = vault.make("EC-HSM", "P-256"), vault.make("RSA-HSM", "3072")
        lines = [
            *("version: 1", "model: churn", "zones:", "  eu:"),
            *("    region: azure:germanywestcentral", "    keys:"),
            f"      sign: {vault.pinned(sign)}",
            f"      encrypt: {vault.pinned(wrap)}",
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    _main()
