"""A real OpenBao, as its operators use it: keys, policies, namespaces, and ways to log in.

Asks the server of `tests/servers.py` with its root token, by HTTP alone.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests import servers
from tests.pace import A_TRY


@dataclass(frozen=True, kw_only=True)
class Bao:
    """One namespace of a server, and who asks. `mount` is of its transit engine."""

    url: str
    namespace: str = ""
    mount: str = "transit"
    token: str = servers.BAO_ROOT
    ca: Path | None = None

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """The whole answer. Raises urllib.error.HTTPError."""
        asked = urllib.request.Request(  # noqa: S310 (loopback)
            f"{self.url}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": self.token, **headers},
        )
        if self.namespace:
            asked.add_header("X-Vault-Namespace", self.namespace)
        tls = ssl.create_default_context(cafile=self.ca) if self.ca else None
        with urllib.request.urlopen(asked, timeout=A_TRY, context=tls) as answer:  # noqa: S310
            found: dict[str, Any] = json.loads(answer.read() or b"{}")
            return found

    def mounted(self, kind: str = "transit", at: str = "transit", under: str = "sys/mounts") -> Bao:
        """With an engine, or with `under="sys/auth"` a way to log in. One may be there already."""
        try:
            self.ask("POST", f"{under}/{at}", {"type": kind})
        except urllib.error.HTTPError as error:
            if b"already in use" not in error.read():
                raise
        return replace(self, mount=at) if kind == "transit" else self

    def below(self, name: str) -> Bao:
        """A namespace below this one, with a transit engine of its own."""
        self.ask("POST", f"sys/namespaces/{name}", {})
        path = f"{self.namespace}/{name}" if self.namespace else name
        return replace(self, namespace=path).mounted()

    def key(self, kind: str, **more: Any) -> str:
        """A new key; its name."""
        name = f"k-{secrets.token_hex(6)}"
        self.ask("POST", f"{self.mount}/keys/{name}", {"type": kind, **more})
        return name

    def rotate(self, name: str) -> None:
        self.ask("POST", f"{self.mount}/keys/{name}/rotate", {})

    def configure(self, name: str, **settings: Any) -> None:
        self.ask("POST", f"{self.mount}/keys/{name}/config", settings)

    def uri(self, name: str, scheme: str = "openbao", **settings: object) -> str:
        """As a project names the key."""
        said = {"address": self.url, "mount": self.mount}
        if self.namespace:
            said["namespace"] = self.namespace
        said |= {name: str(value) for name, value in settings.items()}
        return f"{scheme}://{name}?" + "&".join(
            f"{option.replace('_', '-')}={value}" for option, value in said.items()
        )

    def policy(self, *rules: tuple[str, str]) -> str:
        """A new policy of (path, capability); its name."""
        name = f"p-{secrets.token_hex(6)}"
        text = "\n".join(
            f'path "{path}" {{ capabilities = ["{capability}"] }}' for path, capability in rules
        )
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": text})
        return name

    def given(self, *rules: tuple[str, str], **more: Any) -> str:
        """A new token that may do this, and what the default policy lets everyone do."""
        asked = {"policies": [self.policy(*rules)], "ttl": "10m", "no_parent": True, **more}
        token: str = self.ask("POST", "auth/token/create", asked)["auth"]["client_token"]
        return token

    def alive(self, token: str) -> bool:
        """Whether the server knows a token."""
        try:
            self.ask("POST", "auth/token/lookup", {"token": token})
        except urllib.error.HTTPError as error:
            error.close()
            return False
        return True


def here(**more: Any) -> Bao:
    """The server of these tests, with its transit engine. Fails or skips where there is none."""
    from tests import components

    return Bao(url=components.found(servers.openbao), **more).mounted()


def over_tls() -> Bao:
    """Another server, whose certificate a CA of its own issued."""
    from tests import components

    url, ca = components.found(servers.openbao_tls)
    return Bao(url=url, ca=ca).mounted()


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """Makes tokens as a platform of jobs does. `key` is a real one, and signs them."""

    key: ec.EllipticCurvePrivateKey
    name: str = "https://issuer.example"

    @classmethod
    def new(cls) -> Issuer:
        return cls(key=ec.generate_private_key(ec.SECP256R1()))

    @property
    def pem(self) -> str:
        public = self.key.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def token(self, subject: str, audience: str, *, lasts: int = 300, **claims: Any) -> str:
        now = int(time.time())
        body = {"iss": self.name, "sub": subject, "aud": [audience], "iat": now - 900}
        body |= {"nbf": now - 900, "exp": now + lasts, "jti": secrets.token_hex(8), **claims}
        text = ".".join(map(_part, ({"alg": "ES256", "typ": "JWT"}, body)))
        signature = self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = utils.decode_dss_signature(signature)
        return f"{text}.{_base64(r.to_bytes(32) + s.to_bytes(32))}"


def _part(value: Any) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    import base64

    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
