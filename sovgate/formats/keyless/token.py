"""An identity token (a JWT), before it is shown to an instance: whom it names, for whom it is.

Who issued it is for the instance to verify, which knows the issuer's keys. Here it is looked at so
that a token for another service is never sent, and that the certificate is of whom it names.
No I/O. Its text is in no repr and in no error (RULES 29).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from urllib.parse import urlsplit

from sovgate import strict
from sovgate.errors import KeyServiceError, Malformed

MAX_TOKEN = 16 * 1024
#: A token that ends sooner begins nothing; how far the clock of its issuer may be ahead.
EARLY, SKEW = timedelta(seconds=10), timedelta(minutes=5)
_FORM = re.compile(r"([\w-]{1,4096})\.([\w-]{1,16384})\.([\w-]{1,4096})", re.ASCII)
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,1024}")
_GITHUB = "https://token.actions.githubusercontent.com"


@dataclass(frozen=True, kw_only=True)
class IdentityToken:
    """`identities` and `issuers`: what a certificate for it may say, the likeliest first.

    Fulcio makes a certificate's name from the claims by the issuer's kind, which it knows alone.
    """

    text: str = field(repr=False)
    identities: tuple[str, ...]
    issuers: tuple[str, ...]
    ends: datetime


def read(text: str, audience: str, *, now: datetime, source: str) -> IdentityToken:
    """`source` says where it was found, for errors.

    Raises KeyServiceError: "bad-token", "other-audience", "token-ended".
    """
    claims = _claims(text, source)
    try:
        issuer = claims.text("iss", pattern=_NAME)
        ends = _time(claims, "exp")
        begins = _time(claims, "nbf") if claims.has("nbf") else None
        said = claims.raw("aud")
        audiences = said if isinstance(said, list) else [said]
        found = IdentityToken(
            text=text,
            identities=_identities(claims, issuer),
            issuers=_issuers(claims, issuer),
            ends=ends,
        )
    except Malformed as error:
        _bad(source, error.what)
    others = [one for one in audiences if one != audience]
    if others or not audiences:
        names = ", ".join(repr(one[:80]) for one in audiences[:4] if isinstance(one, str))
        raise KeyServiceError(
            f"the identity token of {source} is for another service",
            why=f"its audience is {names or 'not said'}, not {audience!r} alone; it was not sent, "
            "since whoever gets it could use it there",
            fix=f"have a token made for the audience {audience!r} alone, or name the instance's "
            "own with audience= in the key",
            reason="other-audience",
        )
    if ends <= now + EARLY or (begins is not None and begins > now + SKEW):
        raise KeyServiceError(
            f"the identity token of {source} cannot be used now",
            why=f"it is good until {strict.format_time(ends)}, and it is {strict.format_time(now)}",
            fix="have a new one made; if that is wrong, set this machine's clock",
            reason="token-ended",
        )
    return found


def _claims(text: str, source: str) -> strict.Fields:
    match = _FORM.fullmatch(text) if len(text) <= MAX_TOKEN else None
    if match is None:
        _bad(source, "it is no JWT: three parts with dots between them")
    try:
        raw = base64.urlsafe_b64decode(match[2] + "=" * (-len(match[2]) % 4))
        return strict.Fields(strict.loads(raw, max_bytes=MAX_TOKEN, floats=True), "claims")
    except (ValueError, Malformed):  # not its cause: it quotes what it read
        _bad(source, "its claims cannot be read")


def _time(claims: strict.Fields, name: str) -> datetime:
    value = claims.raw(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e11:
        raise Malformed(f"its claim {name} is no time")
    return datetime.fromtimestamp(int(value), UTC)


def _issuers(claims: strict.Fields, issuer: str) -> tuple[str, ...]:
    """Dex logs in for others, and Fulcio names those."""
    found = [issuer]
    if claims.has("federated_claims"):
        held = claims.object("federated_claims")
        if held.has("connector_id"):
            found.append(held.text("connector_id", pattern=_NAME))
    return tuple(dict.fromkeys(found))


def _host(issuer: str) -> str:
    """Of a GitHub Enterprise's server, or of one that keeps its data in a region."""
    try:
        return (urlsplit(issuer).hostname or "").removeprefix("token.actions.")
    except ValueError:
        raise Malformed("its claim iss is no URL") from None


def _identities(claims: strict.Fields, issuer: str) -> tuple[str, ...]:
    """As github.com/sigstore/fulcio, pkg/identity, makes them from the claims."""
    found = []
    if claims.has("job_workflow_ref"):
        host = _host(issuer)
        host = "github.com" if issuer == _GITHUB or issuer.startswith(f"{_GITHUB}/") else host
        found.append(f"https://{host}/{claims.text('job_workflow_ref', pattern=_NAME)}")
    if claims.has("ci_config_ref_uri") and claims.raw("ci_config_ref_uri") is not None:
        found.append(f"https://{claims.text('ci_config_ref_uri', pattern=_NAME)}")
    if claims.has("kubernetes.io"):
        of = claims.object("kubernetes.io")
        account = of.object("serviceaccount").text("name", pattern=_NAME)
        space = of.text("namespace", pattern=_NAME)
        found.append(f"https://kubernetes.io/namespaces/{space}/serviceaccounts/{account}")
    if claims.has("email"):
        if claims.has("email_verified") and claims.raw("email_verified") in (False, "false"):
            raise Malformed("its issuer has not verified the e-mail address in it")
        found.append(claims.text("email", pattern=_NAME))
    found.append(claims.text("sub", pattern=_NAME))
    return tuple(dict.fromkeys(found))


def _bad(source: str, why: str) -> NoReturn:
    raise KeyServiceError(
        f"the identity token of {source} cannot be used",
        why=why[:300],
        fix="see what wrote it there",
        reason="bad-token",
    ) from None
