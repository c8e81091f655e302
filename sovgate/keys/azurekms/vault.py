"""One vault asked by its REST API 7.4. Talks to the vault, and to the login of its own cloud.

The first request to a vault has no token: its challenge must name the login and the service of the
zone's cloud, and only then a token is sent. No redirect is followed.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from typing import Any
from urllib.parse import urlsplit

from sovgate import strict
from sovgate.clouds.azure import credentials
from sovgate.clouds.tokens import Tokens
from sovgate.errors import DOCS, KeyServiceError, Malformed, ResidencyMismatch, SovgateError
from sovgate.keys import _answers
from sovgate.keys.azurekms.names import Named
from sovgate.transport import wire
from sovgate.transport.client import Client, Request, Response

API = "7.4"
#: Bytes of an answer: a key of RSA-4096 has two thousand.
MAX_ANSWER = 64 * 1024
_BASE64 = re.compile(r"[A-Za-z0-9_-]{1,8192}", re.ASCII)
_CHALLENGE = re.compile(r'\b(authorization|authorization_uri|resource|scope)="([^"]{1,300})"')
_UNUSABLE = re.compile(r"disabled|expired|not yet valid|NotYetValid|deleted", re.IGNORECASE)


@functools.cache
def _client(url: str) -> Client:
    return Client(url, what="key", attempts=1)


@functools.cache
def _tokens(provider: str, partition: str, suffix: str) -> Tokens:
    return credentials.tokens(
        provider,
        partition,
        f"https://{suffix}/.default",
        KeyServiceError,
        variable="KEYVAULT_TOKEN",
    )


class Vault:
    """The vault of a key."""

    def __init__(self, named: Named) -> None:
        self.named = named
        self._challenged = False

    def __repr__(self) -> str:
        return f"Vault({self.named.host!r})"

    def ask(
        self,
        path: str,
        doing: str,
        permission: str,
        body: dict[str, Any] | None = None,
        *,
        api: str = API,
        again: bool = True,
    ) -> dict[str, Any]:
        """`path` below /keys/; `permission` is the data action that it needs; `again`: whether it
        is asked once more where the vault is busy.

        Raises KeyServiceError, ResidencyMismatch; VerificationFailed where it does not open.
        """
        target = f"{path}?api-version={api}"
        if not again:
            return self._once(target, doing, permission, body)
        return _answers.patiently(lambda: self._once(target, doing, permission, body))

    def _once(
        self, path: str, doing: str, permission: str, body: dict[str, Any] | None
    ) -> dict[str, Any]:
        token: str | None = None
        if self.named.official:
            if not self._challenged:
                self._challenge(path, doing)
            partition = self.named.partition or self.named.suffix
            token = _tokens(self.named.provider, partition, self.named.suffix)()
        status, data = self._send(path, doing, body, token)
        found = _object(data)
        if status == 200 and found is not None:
            return found
        if status == 200:
            raise _answers.bad_answer(self._name, "it is no object of JSON")
        raise self._refused(status, found or {}, doing, permission)

    @property
    def _name(self) -> str:
        named = self.named
        return f"{named.host}/{named.key}" + (f"/{named.version}" if named.version else "")

    def _challenge(self, path: str, doing: str) -> None:
        """Raises ResidencyMismatch, "challenge-elsewhere"."""
        with self._asked(path, doing, None, None) as answer:
            status, said = answer.status, answer.headers.get("www-authenticate", "")
            answer.read(MAX_ANSWER)
        fields = dict(_CHALLENGE.findall(said))
        login = _host(fields.get("authorization") or fields.get("authorization_uri") or "")
        service = _host(fields.get("resource") or fields.get("scope") or "")
        wanted = self.named.login
        if status in (429, 500, 502, 503, 504):
            raise self._refused(status, {}, doing, "")
        if status != 401 or service != self.named.suffix or wanted not in (None, login):
            raise ResidencyMismatch(
                f"the vault {self.named.host} asks for a token of another service or cloud",
                why=f"it answered {status}, for {service[:80] or 'nobody'} by "
                f"{login[:80] or 'nobody'}; vaults of the zone's cloud ask for "
                f"{self.named.suffix} by {wanted or 'their own login'}",
                fix="check the vault's host, and the address beside the key in sovgate.yaml",
                reason="challenge-elsewhere",
            )
        self._challenged = True

    def _send(
        self, path: str, doing: str, body: dict[str, Any] | None, token: str | None
    ) -> tuple[int, bytes]:
        with self._asked(path, doing, body, token) as answer:
            try:
                return answer.status, answer.read(MAX_ANSWER)
            except wire.Failure as failure:
                raise self._failed(failure, doing) from None

    def _asked(
        self, path: str, doing: str, body: dict[str, Any] | None, token: str | None
    ) -> Response:
        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = Request(
            method="GET" if body is None else "POST",
            target=f"/keys/{path}",
            headers=headers,
            body=() if body is None else (json.dumps(body).encode(),),
            again=False,
        )
        try:
            return _client(self.named.url).ask(request)
        except wire.Failure as failure:
            raise self._failed(failure, doing) from None

    def _failed(self, failure: wire.Failure, doing: str) -> SovgateError:
        if failure.reason == "too-slow":
            return _answers.timed_out(self._name, doing, wire.READ_TIMEOUT)
        if failure.reason in ("bad-answer", "too-large"):
            return _answers.bad_answer(self._name, str(failure))
        return wire.explain(failure, f"{doing} {self._name}", KeyServiceError)

    def _refused(
        self, status: int, found: dict[str, Any], doing: str, permission: str
    ) -> SovgateError:
        """By the status and the code within; the vault's words go in shortened."""
        error = found.get("error")
        error = error if isinstance(error, dict) else {}
        inner = error.get("innererror")
        code = str(
            (inner if isinstance(inner, dict) else {}).get("code") or error.get("code") or ""
        )
        said = f"{code[:60]}: {str(error.get('message') or '')[:200]}"
        name = self._name
        if status == 409 and doing == "make":
            return KeyServiceError(
                f"a deleted key {name[:200]} is still kept",
                why=said,
                fix="name another key; or have that one recovered, or purged: az keyvault key "
                "recover|purge",
                reason="output-exists",
            )
        if status == 404:
            return _answers.no_such_key(name, "in that vault")
        if status == 401:
            return _answers.bad_credentials(
                name,
                doing,
                f"the vault does not accept these credentials ({said})",
                f"check that they are of the vault's own tenant ({DOCS}/azure-key-vault.md)",
            )
        if status in (403, 409) and _UNUSABLE.search(said):
            return _answers.disabled(name, said)
        if status == 403:
            return _answers.denied(name, doing, permission)
        if status == 429:
            return _answers.throttled(name, doing, said)
        if status in (500, 502, 503, 504):
            return _answers.down(name, doing, f"the vault answered {status}")
        if status == 408:
            return _answers.timed_out(name, doing, wire.READ_TIMEOUT)
        if status == 400 and doing.startswith("unwrap"):
            return _answers.damaged()
        if status == 400:
            return _answers.cannot(name, f"the vault says: {said}")
        return _answers.refused(name, doing, f"{status} {said}")


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        found = strict.loads(data, max_bytes=MAX_ANSWER, floats=True)
    except Malformed:
        return None
    return found if isinstance(found, dict) else None


def _host(text: str) -> str:
    """Of a challenge's URL."""
    try:
        return (urlsplit(text).hostname or "").lower()
    except ValueError:
        return ""


def encoded(data: bytes) -> str:
    """base64url without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decoded(value: object, name: str) -> bytes:
    """Raises KeyServiceError, "bad-answer"."""
    if isinstance(value, str) and _BASE64.fullmatch(value):
        try:
            return base64.b64decode(value + "=" * (-len(value) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            pass
    raise _answers.bad_answer(name, "what it gives is no base64url")
