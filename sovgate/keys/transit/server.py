"""One server of Vault's protocol, asked for one key. Talks to the address that the project names.

Every answer is bounded and read strictly; no redirect is followed. What a server says of an error
is shown shortened, and without whatever might be a secret that it repeats (RULES 29).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sovgate import strict
from sovgate.errors import KeyServiceError, Malformed, ResidencyMismatch, SovgateError
from sovgate.keys import _answers
from sovgate.keys.transit.place import PAGE, Place
from sovgate.transport import wire
from sovgate.transport.client import Client, Request

#: A key of a thousand versions of RSA-4096 has 900 KB.
MAX_ANSWER = 2 * 1024 * 1024
_MAX_SAID = 200
#: Tokens, ids of secrets, keys and ciphertexts are such words; those of errors are not.
_MAY_BE_SECRET = re.compile(r"[A-Za-z0-9+/=_.~-]{16,}")
#: A name as engines, policies and hosts have them: no capital letters, no long run with a digit in
#: it, and no UUID, as tokens were once.
_PLAIN = re.compile(
    r"(?!.*(?:(?=[a-z]*[0-9])[a-z0-9]{16}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}))"
    r"[a-z0-9.:\[\]/_-]{1,253}",
    re.ASCII,
)
_POLICY = 'path "{}" {{ capabilities = ["{}"] }}'


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request. `doing` completes "could not … KEY"; `needs` is the capability on its path.

    meant   what this call alone makes of a refusal: an error, or None for what all calls mean
    secrets what is sent in the body and may be in no error
    """

    method: str
    path: str
    doing: str
    needs: str = "update"
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    meant: Callable[[Said], SovgateError | None] = lambda _: None
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Said:
    """A refusal. `text` in small letters, to be compared; `shown` may be shown."""

    status: int
    text: str
    shown: str


@functools.cache
def _client(address: str) -> Client:
    return Client(address, what="key", attempts=1)


class Server:
    """The place of a key. Its repr and its errors hold no secret."""

    def __init__(self, at: Place) -> None:
        self.at = at
        self._client = _client(at.address)

    def __repr__(self) -> str:
        return f"Server({self.at.canonical!r})"

    def ask(self, call: Call, *, token: str | None, namespace: str | None = None) -> dict[str, Any]:
        """The whole answer; {} where there is none. Raises KeyServiceError, ResidencyMismatch.

        Tries again where the server is busy or does not answer (`_answers.patiently`).
        """
        return _answers.patiently(lambda: self.once(call, token=token, namespace=namespace))

    def once(
        self, call: Call, *, token: str | None, namespace: str | None = None
    ) -> dict[str, Any]:
        headers = {"X-Vault-Request": "true"}
        if token is not None:
            headers["X-Vault-Token"] = token
        if where := self.at.namespace if namespace is None else namespace:
            headers["X-Vault-Namespace"] = where
        body: tuple[bytes, ...] = ()
        if call.body is not None:
            headers["Content-Type"] = "application/json"
            body = (json.dumps(call.body).encode(),)
        request = Request(
            method=call.method,
            target=f"/v1/{call.path}",
            headers=headers,
            body=body,
            again=False,
            redirects=True,
        )
        try:
            with self._client.ask(request) as answer:
                if 300 <= answer.status < 400:
                    raise self._redirected(answer.status, answer.headers.get("location", ""))
                data = answer.read(MAX_ANSWER)
        except wire.Failure as failure:
            raise self._failed(failure, call) from None
        return self._read(call, answer.status, data, (token or "", *call.secrets))

    def _read(
        self, call: Call, status: int, data: bytes, secrets: tuple[str, ...]
    ) -> dict[str, Any]:
        if status == 204 or (status == 200 and not data):
            return {}
        try:
            found = strict.loads(data, max_bytes=MAX_ANSWER, floats=True)
        except Malformed:
            found = None
        if status == 200:
            if not isinstance(found, dict):
                raise _answers.bad_answer(self.at.canonical, "it is no object of JSON")
            return found
        said = _said(status, found, secrets)
        raise call.meant(said) or self._refused(call, said)

    def _refused(self, call: Call, said: Said) -> SovgateError:
        """What every call means by a refusal; `denied` is told by those who know the token."""
        name, status = self.at.canonical, said.status
        if status == 403:
            return Denied(name, call, self.at)
        if status == 429:
            return _answers.throttled(name, call.doing, said.shown)
        if status == 503 and "sealed" in said.text:
            return _error(
                f"could not {call.doing} {name}",
                why="the server is sealed: it has started, and cannot read its own storage yet",
                fix=f"have its operators unseal it ({self.at.tool} operator unseal)",
                reason="sealed",
            )
        if status in (472, 473, 502, 503, 504):
            return _answers.down(name, call.doing, f"it answered {status}: {said.shown}")
        if status == 404 and "namespace not found" in said.text:
            return _error(
                f"there is no namespace {self.at.namespace!r} at {self.at.address}",
                fix="correct namespace beside the key in sovgate.yaml",
                reason="no-such-namespace",
            )
        if status == 404 and "no handler for route" in said.text:
            inside = f" of the namespace {self.at.namespace!r}" if self.at.namespace else ""
            return _error(
                f"nothing is mounted at {self.at.mount}/{inside}, at {self.at.address}",
                fix="correct mount (and namespace) beside the key in sovgate.yaml, or enable it: "
                f"{self.at.tool} secrets enable -path={self.at.mount} transit",
                reason="no-such-mount",
            )
        if status == 404:
            return _answers.no_such_key(self.at.canonical)
        return _answers.refused(name, call.doing, f"it answered {status}: {said.shown}")

    def _redirected(self, status: int, location: str) -> SovgateError:
        """A standby node that does not forward requests answers so."""
        there = ""
        try:
            host = urlsplit(location).netloc
        except ValueError:
            host = ""
        if _PLAIN.fullmatch(host[:254]):
            there = f", to {host}"
        return ResidencyMismatch(
            f"{self.at.address} redirects to another place",
            why=f"it answered with a redirect ({status}{there}), which is never followed; a "
            "standby node does so if it cannot forward",
            fix="write the active node's address, or that of a load balancer that finds it "
            "(/v1/sys/health answers 200 there alone), as address beside the key",
            reason="redirected",
        )

    def _failed(self, failure: wire.Failure, call: Call) -> SovgateError:
        name = self.at.canonical
        if failure.reason == "too-slow":
            return _answers.timed_out(name, call.doing, wire.READ_TIMEOUT)
        if failure.reason in ("bad-answer", "too-large"):
            return _answers.bad_answer(name, str(failure))
        return wire.explain(failure, f"{call.doing} {name}", KeyServiceError)


class Denied(KeyServiceError):
    """403: the token is not valid, or its policies lack this. `explained` tells which."""

    default_reason = "access-denied"

    def __init__(self, name: str, call: Call, at: Place) -> None:
        self.call, self.at = call, at
        super().__init__(
            f"could not {call.doing} {name}",
            why="the server answered: permission denied",
            fix=f"give the token this policy ({PAGE} has the whole one)",
            details=policy(at, (call.path, call.needs)),
        )


def policy(at: Place, *rules: tuple[str, str]) -> tuple[str, ...]:
    """Lines to paste into a policy, each a path and a capability."""
    where = f"in the namespace {at.namespace}" if at.namespace else "of the token"
    return (f"policy {where}:", *("  " + _POLICY.format(*rule) for rule in rules))


def words(text: str) -> str:
    """A name that a server tells, to be shown: without what might be a secret that it repeats."""
    text = text[:253]  # the pattern looks ahead, which costs the square of the length
    return text if _PLAIN.fullmatch(text) else _MAY_BE_SECRET.sub("…", text)


def _error(what: str, *, fix: str, reason: str, why: str | None = None) -> KeyServiceError:
    return KeyServiceError(what, why=why, fix=fix, reason=reason)


def _said(status: int, found: Any, secrets: tuple[str, ...]) -> Said:
    errors = found.get("errors") if isinstance(found, dict) else None
    texts = [text for text in errors if isinstance(text, str)] if isinstance(errors, list) else []
    whole = " ".join(" ".join(texts).split())[:4096]
    shown = whole
    for secret in secrets:
        if secret:
            shown = shown.replace(secret, "…")
    shown = _MAY_BE_SECRET.sub("…", shown)[:_MAX_SAID]
    return Said(status=status, text=whole.lower(), shown=shown or "and does not say why")
