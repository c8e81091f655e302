"""Access tokens for Google's services, from a file or a variable that the user named.

Reads os.environ and the file it names; asks the token services of the credential's own universe and
GitHub's. Never a metadata service, a program, or gcloud's own files.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

from sovgate.clouds.tokens import MAX_TOKEN, Token, Tokens, json_object
from sovgate.errors import DOCS, SovgateError, workflow_permissions
from sovgate.links import read_unshared
from sovgate.transport.client import Client, Request
from sovgate.transport.wire import Failure, explain
from sovgate.uri import split_url

#: Google's own universe; others name themselves in the credential and are compared.
GOOGLE = "googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_MAX_FILE, _MAX_ANSWER = 64 * 1024, 256 * 1024
_LIFE = 3600
#: Who may be asked for the token of a workload, beside a file.
_WORKLOADS = ".actions.githubusercontent.com"
_ACCOUNT = re.compile(r"[A-Za-z0-9._@-]{1,200}", re.ASCII)
_TOKEN = re.compile(r"[!-~]+", re.ASCII)
#: A header's name and value, a line each.
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}\n[ -~]{0,16384}", re.ASCII)


def tokens(provider: str, universe: str, kind: type[SovgateError]) -> Tokens:
    """Tokens for the services of a universe ("googleapis.com", "s3nsapis.fr").

    From PROVIDER_APPLICATION_CREDENTIALS (GCP_…, S3NS_…), else GOOGLE_APPLICATION_CREDENTIALS: a
    file; from PROVIDER_ACCESS_TOKEN, else, for Google's own universe, GOOGLE_OAUTH_ACCESS_TOKEN: a
    token. Nothing else is looked at. Raises `kind`: "no-credentials", "credentials".
    """
    prefix = provider.upper().replace("-", "_")
    for name in (f"{prefix}_APPLICATION_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"):
        if path := os.environ.get(name, ""):
            return Tokens(_File(name, path, universe, kind).fetch)
    for name in (
        f"{prefix}_ACCESS_TOKEN",
        *(("GOOGLE_OAUTH_ACCESS_TOKEN",) if universe == GOOGLE else ()),
    ):
        if text := os.environ.get(name, "").strip():
            if not _TOKEN.fullmatch(text) or len(text) > MAX_TOKEN:
                raise kind(
                    f"{name} holds no access token",
                    fix="set it to what `gcloud auth print-access-token` prints",
                    reason="credentials",
                )
            return Tokens(partial(Token, text=text, ends=float("inf")))
    raise kind(
        f"there are no credentials for {universe}",
        why=f"neither {prefix}_APPLICATION_CREDENTIALS nor GOOGLE_APPLICATION_CREDENTIALS is set, "
        "and no metadata service and no file of gcloud's is looked at",
        fix="set GOOGLE_APPLICATION_CREDENTIALS to a file of credentials, in GitHub Actions by "
        f"google-github-actions/auth ({DOCS}/gcs.md)",
        details=workflow_permissions("id-token: write", "contents: read"),
        reason="no-credentials",
    )


def _fix(error: SovgateError, fix: str) -> str:
    """What ends it where others can write the file; else `fix`."""
    return error.fix if error.reason == "secret-file" and error.fix else fix


class _File:
    """One file of credentials, read anew for each token: a job may replace it."""

    def __init__(self, name: str, path: str, universe: str, kind: type[SovgateError]) -> None:
        self._name, self._path, self._universe, self._kind = name, path, universe, kind

    def fetch(self) -> Token:
        told = self._read()
        universe = told.get("universe_domain") or GOOGLE
        if universe != self._universe:
            self._refuse(
                f"these are credentials of {str(universe)[:80]!r}, and what they are for is in "
                f"{self._universe}",
                f"name a file of credentials of {self._universe}",
            )
        match told.get("type"):
            case "service_account":
                return self._service_account(told)
            case "external_account":
                return self._external_account(told)
            case "authorized_user":
                return self._user(told)
            case other:
                return self._refuse(
                    f"credentials of the type {str(other)[:60]!r} are not taken",
                    "use a service account's key, or workload identity federation",
                )

    def _refuse(self, why: str, fix: str, details: tuple[str, ...] = ()) -> NoReturn:
        raise self._kind(
            f"the credentials that {self._name} names cannot be used",
            why=why,
            fix=f"{fix} ({DOCS}/gcs.md)",
            details=details,
            reason="credentials",
        )

    def _read(self) -> dict[str, Any]:
        """What it holds is repeated in no error."""
        again = "make the file anew"
        if self._path.lstrip().startswith("{"):
            self._refuse("it holds the credentials themselves", "write them to a file, and name it")
        try:
            data = read_unshared(Path(self._path), most=_MAX_FILE, what="file of credentials")
        except SovgateError as error:
            self._refuse(error.what, _fix(error, "correct the path"))
        found = json_object(data)
        return self._refuse("it is not an object of JSON", again) if found is None else found

    def _text(self, told: Mapping[str, Any], *path: str) -> str:
        value: Any = told
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, str) or not value or len(value) > _MAX_FILE:
            self._refuse(f"it has no {'.'.join(path)}", "make the file anew")
        return value

    # -- the kinds of credentials

    def _service_account(self, told: Mapping[str, Any]) -> Token:
        """A signed claim is exchanged for a token; in other universes it is the token."""
        now = int(time.time())
        email = self._text(told, "client_email")
        claims: dict[str, object] = {"iss": email, "scope": _SCOPE, "iat": now, "exp": now + _LIFE}
        if self._universe != GOOGLE:
            return Token(text=self._signed(told, {**claims, "sub": email}), ends=now + _LIFE)
        service = f"https://oauth2.{GOOGLE}"
        assertion = self._signed(told, {**claims, "aud": f"{service}/token"})
        grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        return self._granted(
            self._form(service, "/token", {"grant_type": grant, "assertion": assertion})
        )

    def _signed(self, told: Mapping[str, Any], claims: Mapping[str, object]) -> str:
        """A JWT, RS256 (RFC 7519)."""
        import base64

        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa

        try:
            key = serialization.load_pem_private_key(
                self._text(told, "private_key").encode(), password=None
            )
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, rsa.RSAPrivateKey):
            self._refuse("its private_key is no RSA key in PEM", "make the file anew")
        head = {"alg": "RS256", "typ": "JWT", "kid": self._text(told, "private_key_id")}
        parts = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
            for part in (head, claims)
        ]
        signature = key.sign(b".".join(parts), padding.PKCS1v15(), hashes.SHA256())
        return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()

    def _external_account(self, told: Mapping[str, Any]) -> Token:
        """Workload identity federation: another issuer's token for one of Google's (RFC 8693)."""
        service = f"https://sts.{self._universe}"
        self._expect(told, "token_url", f"{service}/v1/token")
        granted = self._granted(
            self._form(
                service,
                "/v1/token",
                {
                    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                    "audience": self._text(told, "audience"),
                    "scope": _SCOPE,
                    "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
                    "subject_token_type": self._text(told, "subject_token_type"),
                    "subject_token": self._subject(told),
                },
            )
        )
        if told.get("service_account_impersonation_url") is None:
            return granted
        return self._as_account(told, granted)

    def _as_account(self, told: Mapping[str, Any], granted: Token) -> Token:
        """The token of the service account that the workload may be."""
        service = f"https://iamcredentials.{self._universe}"
        url = self._text(told, "service_account_impersonation_url")
        account = url.rpartition("/")[2].removesuffix(":generateAccessToken")
        if not _ACCOUNT.fullmatch(account):
            self._refuse("it names no service account", "make the file anew")
        target = f"/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        self._expect(told, "service_account_impersonation_url", service + target)
        body = json.dumps({"scope": [_SCOPE], "lifetime": f"{_LIFE}s"}).encode()
        headers = {"Authorization": f"Bearer {granted.text}", "Content-Type": "application/json"}
        answer = self._ask(
            service,
            Request(
                method="POST",
                target=quote(target, safe="/:@-._"),
                headers=headers,
                body=(body,),
                again=True,
            ),
        )
        try:
            ends = datetime.fromisoformat(str(answer.get("expireTime"))).timestamp()
        except ValueError:
            ends = time.time() + 2 * _LIFE / 3
        return Token(text=self._token(answer.get("accessToken"), service), ends=ends)

    def _subject(self, told: Mapping[str, Any]) -> str:
        """The workload's own token: from a file, or of GitHub's service in a job."""
        source = told.get("credential_source")
        if not isinstance(source, dict):
            self._refuse("it has no credential_source", "make the file anew")
        if isinstance(source.get("file"), str):
            if "\0" in source["file"]:
                self._refuse("its credential_source.file is no path", "correct it")
            try:
                data = read_unshared(Path(source["file"]), most=_MAX_FILE, what="token file")
            except SovgateError as error:
                self._refuse(error.what, _fix(error, "see that the token is written there"))
        elif isinstance(source.get("url"), str):
            data = self._github(source)
        else:
            self._refuse(
                "its token comes neither from a file nor from GitHub",
                "let the workload write its token to a file, and name that as credential_source",
            )
        form = source.get("format")
        text = data.decode("utf-8", "replace")
        if isinstance(form, dict) and form.get("type") == "json":
            try:
                text = str(json.loads(text)[str(form.get("subject_token_field_name"))])
            except (ValueError, LookupError, TypeError):
                self._refuse(
                    "the token's file has no such field", "correct credential_source.format"
                )
        return self._token(text.strip(), "the workload's issuer")

    def _github(self, source: Mapping[str, Any]) -> bytes:
        found = split_url(str(source["url"]))
        if found is None:
            self._refuse("its credential_source.url is no URL", "make the file anew")
        parts, host, _ = found
        headers = source.get("headers") or {}
        if (
            parts.scheme != "https"
            or not host.endswith(_WORKLOADS)
            or not isinstance(headers, dict)
        ):
            self._refuse(
                f"it would fetch its token from {host[:100]!r}",
                "let the workload write its token to a file, and name that as credential_source",
            )
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        asked = {str(name): str(value) for name, value in headers.items()}
        sendable = all(_HEADER.fullmatch(f"{name}\n{value}") for name, value in asked.items())
        if not _TOKEN.fullmatch(target) or not sendable:
            self._refuse("its credential_source cannot be sent by HTTP", "make the file anew")
        return json.dumps(
            self._ask(f"https://{host}", Request(method="GET", target=target, headers=asked))
        ).encode()

    def _user(self, told: Mapping[str, Any]) -> Token:
        """A person's own login, as `gcloud auth application-default login` keeps it."""
        fields = {n: self._text(told, n) for n in ("client_id", "client_secret", "refresh_token")}
        return self._granted(
            self._form(
                f"https://oauth2.{self._universe}",
                "/token",
                {"grant_type": "refresh_token", **fields},
            )
        )

    # -- asking

    def _expect(self, told: Mapping[str, Any], name: str, url: str) -> None:
        """The file says where a token goes; it goes to the universe's own service (RULES 36)."""
        if self._text(told, name) != url:
            self._refuse(f"its {name} is not {url}", "make the file anew, with Google's own tools")

    def _form(self, service: str, target: str, fields: Mapping[str, str]) -> dict[str, Any]:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(fields).encode()
        return self._ask(
            service,
            Request(method="POST", target=target, headers=headers, body=(body,), again=True),
        )

    def _ask(self, service: str, request: Request) -> dict[str, Any]:
        doing = f"get a token of {service}"
        try:
            with Client(service, what="credentials") as client, client.ask(request) as answer:
                data = answer.read(_MAX_ANSWER)
        except Failure as failure:
            raise explain(failure, doing, self._kind) from None
        found = json_object(data)
        if answer.status == 200 and found is not None:
            return found
        error = (found or {}).get("error")
        code = error.get("status") if isinstance(error, dict) else error
        return self._refuse(
            f"{service} answered {answer.status}: {str(code or 'no reason')[:100]}",
            "see that the account, the pool and its conditions still fit this workload",
        )

    def _granted(self, answer: Mapping[str, Any]) -> Token:
        life = answer.get("expires_in")
        seconds = life if isinstance(life, int) and 0 < life <= 12 * _LIFE else _LIFE
        return Token(
            text=self._token(answer.get("access_token"), "the token service"),
            ends=time.time() + seconds,
        )

    def _token(self, value: object, whose: str) -> str:
        if not isinstance(value, str) or not _TOKEN.fullmatch(value) or len(value) > MAX_TOKEN:
            self._refuse(f"{whose} gave no token", "run it again; ask whoever runs that service")
        return value
