"""The services of a Sigstore, asked by HTTP: certificate, log entry, timestamp.

Goes to the addresses of the signing config and nowhere else; no redirect is followed, each answer
is bounded. Not the clients of the library `sigstore`: those take proxies and CAs from the
environment, follow redirects, and read answers of any size (docs/adr/0009-keyless-signing.md).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from sovgate import strict
from sovgate.errors import KeyServiceError, Malformed, SovgateError
from sovgate.formats.keyless import asked
from sovgate.formats.keyless.services import Service
from sovgate.keys import _answers
from sovgate.keys.sigstore.place import address
from sovgate.transport import wire
from sovgate.transport.client import Client, Request

MAX_SAID = 200
#: Tokens, signatures and certificates are such words; those of errors are not.
_MAY_BE_SECRET = re.compile(r"[A-Za-z0-9+/=_.~-]{24,}")
_JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to a service. `doing` completes "could not … at URL".

    again   whether it may be asked twice: a log would get two entries
    """

    service: Service
    path: str
    doing: str
    body: bytes = field(repr=False)
    kind: str = _JSON
    bearer: str = field(default="", repr=False)
    again: bool = True


class Services:
    """Each asked at its own address; `public`: whether that may be Sigstore's public instance."""

    def __init__(self, *, public: bool) -> None:
        self._public = public

    def require_addresses(self, services: tuple[Service, ...]) -> None:
        """Before any is asked. Raises ConfigError: "bad-endpoint", "public-log"."""
        for one in services:
            address(one, public=self._public)

    def certificate(self, service: Service, request: bytes, token: str) -> bytes:
        """The certificate, DER, for the key that signed `request`. `token` goes to Fulcio alone."""
        data = self._ask(
            Call(
                service=service,
                path="/api/v2/signingCert",
                doing="get a certificate",
                body=request,
                bearer=token,
            )
        )
        with _reading(service):
            return asked.certificate(data)

    def entry(self, service: Service, request: bytes) -> strict.JSON:
        path = f"/api/v{service.version}/log/entries"
        data = self._ask(
            Call(service=service, path=path, doing="log the signature", body=request, again=False)
        )
        with _reading(service):
            return asked.entry(service.version, data)

    def timestamp(self, service: Service, request: bytes) -> bytes:
        """An RFC 3161 response, DER. The service is named by its whole path."""
        return self._ask(
            Call(
                service=service,
                path="",
                doing="get a timestamp",
                body=request,
                kind="application/timestamp-query",
            )
        )

    def _ask(self, call: Call) -> bytes:
        if not call.again:
            return self._once(call)
        return _answers.patiently(lambda: self._once(call))

    def _once(self, call: Call) -> bytes:
        there, path = address(call.service, public=self._public)
        headers = {"Content-Type": call.kind}
        if call.kind == _JSON:
            headers["Accept"] = _JSON
        if call.bearer:
            headers["Authorization"] = f"Bearer {call.bearer}"
        request = Request(
            method="POST",
            target=path + call.path or "/",
            headers=headers,
            body=(call.body,),
            again=False,
        )
        try:
            client = Client(there, what="Sigstore service", attempts=1)
            with client, client.ask(request) as answer:
                data = answer.read(asked.MAX_ANSWER)
        except wire.Failure as failure:
            raise _failed(failure, call) from None
        if answer.status not in (200, 201):
            raise _refused(answer.status, data, call)
        return data


@contextlib.contextmanager
def _reading(service: Service) -> Iterator[None]:
    try:
        yield
    except Malformed as error:
        raise _answers.bad_answer(service.url, error.what) from error


def _failed(failure: wire.Failure, call: Call) -> SovgateError:
    if failure.reason == "too-slow":
        return _answers.timed_out(call.service.url, f"{call.doing} at", wire.READ_TIMEOUT)
    if failure.reason in ("bad-answer", "too-large", "broken-off") and failure.heard:
        return _answers.bad_answer(call.service.url, str(failure))
    return wire.explain(failure, f"{call.doing} at {call.service.url}", KeyServiceError)


def _refused(status: int, data: bytes, call: Call) -> SovgateError:
    url, doing = call.service.url, f"{call.doing} at"
    said = _said(data, call.bearer)
    if status == 429:
        return _answers.throttled(url, doing, said)
    if status in (502, 503, 504):
        return _answers.down(url, doing, f"it answered {status}: {said}")
    if call.bearer and status in (400, 401, 403):
        return KeyServiceError(
            f"{url} gave no certificate",
            why=f"it did not take the identity token ({status}: {said})",
            fix="see that the instance knows the token's issuer and audience, and that the token "
            "was made for this run",
            reason="token-refused",
        )
    return _answers.refused(url, doing, f"it answered {status}: {said}")


def _said(data: bytes, secret: str) -> str:
    """Shortened, and without what might be the token that it repeats (RULES 29)."""
    try:
        found = strict.loads(data[: 64 * 1024])
        text = found.get("message") if isinstance(found, dict) else None
    except Malformed:
        text = None
    whole = " ".join(str(text).split())[:4096] if isinstance(text, str) else ""
    if secret and any(part in "".join(whole.split()) for part in secret.split(".")):
        return "it repeats the identity token, so the rest is not shown"
    return _MAY_BE_SECRET.sub("…", whole)[:MAX_SAID] or "and does not say why"
