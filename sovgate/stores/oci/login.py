"""Logs in to a registry: credentials from a file of docker's form, tokens from its token service.

Reads that one file; asks the token service, which is the registry's own host or one that is named.
No credential helper is run. Sends a secret to nobody else, and says none (RULES 29).
"""

from __future__ import annotations

import base64
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, urlencode

from sovgate import host, strict
from sovgate.errors import ConfigError, Malformed, ResidencyMismatch, StoreError
from sovgate.files import read_bounded
from sovgate.transport.client import Client, Request, origin
from sovgate.transport.wire import Failure, explain
from sovgate.uri import split_url

_MAX_FILE, _MAX_ANSWER = 1024 * 1024, 256 * 1024
_MAX_CHALLENGE = 4096
_PARAMETER = re.compile(r'([a-z]{1,20})="([^"]{0,2000})"')
#: Docker Hub's registry stands under another name in these files.
_OTHER = {"registry-1.docker.io": "index.docker.io"}
_TOKEN = re.compile(r"[!-~]{1,65536}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A name with a password, or an identity token in place of the password."""

    user: str
    password: str = field(repr=False)
    identity: str | None = field(default=None, repr=False)

    @property
    def basic(self) -> str:
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"


@dataclass(frozen=True, kw_only=True)
class Account:
    """Whose credentials are asked for: `host[:port]` of the registry and a repository there.

    `file` is the file that the URI names, `tokens` the hosts that may hand out tokens besides.
    """

    host: str
    repository: str
    file: Path | None
    tokens: frozenset[str]


class Login:
    """What goes into `Authorization`, for reading and for writing. From several threads."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._lock = threading.Lock()
        self._given: dict[bool, str] = {}
        self._asked = False
        self._found: Credentials | None = None

    def headers(self, *, writing: bool) -> dict[str, str]:
        given = self._given.get(writing)
        return {} if given is None else {"Authorization": given}

    def answer(self, challenge: str, refused: dict[str, str], *, writing: bool) -> None:
        """After a 401: get what the registry wants. `refused` are the headers that it refused.

        Raises StoreError ("credentials", "no-credentials"), ResidencyMismatch, ConfigError.
        """
        with self._lock:
            if self.headers(writing=writing) != refused:
                return  # another thread was faster
            scheme, told = _challenge(challenge)
            if scheme == "bearer":
                self._given[writing] = f"Bearer {self._token(told, writing=writing)}"
            elif scheme == "basic" and not refused:
                found = self._credentials()
                if found is None or found.identity is not None:
                    self.refuse()
                self._given[writing] = found.basic
            else:
                self.refuse()

    def refuse(self) -> NoReturn:
        """Raises StoreError: what there is was not enough, or there is nothing."""
        host, path = self._account.host, _file(self._account)
        reason = "credentials"
        what = f"the registry {host} refuses the credentials"
        why = f"those that {path} names for it"
        fix = f"log in again, and check that the account may use {self._account.repository}"
        if self._credentials() is None:
            reason = "no-credentials"
            what = f"the registry {host} wants credentials, and there are none"
            why = f"{path} names none for it; a credential helper is never run"
            fix = f"write them to a file with skopeo login --authfile FILE {host}, and name it in "
            fix += "the store's URI: ?auth=FILE"
        raise StoreError(what, why=why, fix=fix, reason=reason)

    # -- tokens

    def _token(self, told: dict[str, str], *, writing: bool) -> str:
        client, target = self._realm(told.get("realm", ""))
        scope = f"repository:{self._account.repository}:{'pull,push' if writing else 'pull'}"
        asked = {"service": told.get("service", self._account.host), "scope": scope}
        found = self._credentials()
        with client:
            try:
                with client.ask(_request(target, asked, found)) as answer:
                    data = answer.read(_MAX_ANSWER) if answer.status == 200 else b""
                    status = answer.status
            except Failure as failure:
                raise explain(failure, f"get a token of {client.url}", StoreError) from failure
        if status in (400, 401, 403):
            self.refuse()
        token = _read(data)
        if token is None:
            raise StoreError(
                f"could not get a token of {client.url}",
                why=f"it answered {status}, and no token",
                fix="run it again; if the error stays, ask the registry's operator",
                reason="no-token",
            )
        return token

    def _realm(self, realm: str) -> tuple[Client, str]:
        """The token service, and the path there. Raises ResidencyMismatch."""
        found = split_url(realm)
        host = "" if found is None else _written(found[1], found[2])
        try:
            if found is None or (host != self._account.host and host not in self._account.tokens):
                raise ConfigError("not the registry's")
            parts = found[0]
            client = Client(origin(f"{parts.scheme}://{parts.netloc}", what="registry"))
        except ConfigError:
            raise ResidencyMismatch(
                f"the registry {self._account.host} sends its callers to another host for a token",
                why=f"to {host[:200]!r}, which would get the credentials",
                fix=f"if that host belongs to the registry, name it in the store's URI: "
                f"?token={host[:200]}",
                reason="redirected",
            ) from None
        target = parts.path or "/"
        return client, f"{target}?{parts.query}" if parts.query else target

    # -- credentials

    def _credentials(self) -> Credentials | None:
        if not self._asked:
            self._found = read_credentials(self._account)
            self._asked = True
        return self._found


def _written(host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


def _challenge(text: str) -> tuple[str, dict[str, str]]:
    """Scheme in small letters, and what comes with it. A token is preferred to a password."""
    text = text[:_MAX_CHALLENGE]
    at = re.search(r"(?:^|,\s*)Bearer\s", text, re.IGNORECASE)
    if at is not None:
        return "bearer", dict(_PARAMETER.findall(text[at.end() :]))
    return ("basic" if re.match(r"Basic\b", text, re.IGNORECASE) else ""), {}


def _request(target: str, asked: dict[str, str], found: Credentials | None) -> Request:
    if found is not None and found.identity is not None:
        fields = {
            **asked,
            "grant_type": "refresh_token",
            "client_id": "sovgate",
            "refresh_token": found.identity,
        }
        return Request(
            method="POST",
            target=target,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=(urlencode(fields).encode("ascii"),),
            again=True,
        )
    mark = "&" if "?" in target else "?"
    return Request(
        method="GET",
        target=f"{target}{mark}{urlencode(asked, quote_via=quote)}",
        headers={} if found is None else {"Authorization": found.basic},
    )


def _read(data: bytes) -> str | None:
    try:
        value = strict.loads(data, max_bytes=_MAX_ANSWER, lenient=True, any_number=True)
    except Malformed:
        return None
    if not isinstance(value, dict):
        return None
    token = value.get("token") or value.get("access_token")
    return token if isinstance(token, str) and _TOKEN.fullmatch(token) else None


# -- the file


def _file(account: Account) -> Path:
    """The file that is named, else docker's own. It holds credentials alone (RULES 36)."""
    if account.file is not None:
        return account.file
    folder = os.environ.get("DOCKER_CONFIG")
    home = os.environ.get("HOME") or host.login_home() or "/"
    return (Path(folder) if folder else Path(home) / ".docker") / "config.json"


def read_credentials(account: Account) -> Credentials | None:
    """Those of the registry; None where the file has none. Raises ConfigError, DiskError."""
    path = _file(account)
    if account.file is None and not path.is_file():
        return None
    data = read_bounded(path, most=_MAX_FILE, what="file of credentials")
    try:
        value = strict.loads(data, lenient=True, any_number=True)
        rows = value.get("auths", {}) if isinstance(value, dict) else {}
        for name, row in rows.items():
            if _host_of(name) in (account.host, _OTHER.get(account.host)) and isinstance(row, dict):
                return _entry(row)
    except (Malformed, ValueError, AttributeError) as error:
        # Its cause would quote what may be a password.
        raise ConfigError(
            f"the credentials in {str(path)!r} cannot be read",
            why=f"it is not a file of docker's form ({type(error).__name__})",
            fix=f"write it anew: skopeo login --authfile FILE {account.host}",
            reason="bad-credentials",
        ) from None
    return None


def _host_of(name: str) -> str:
    """`host[:port]` of a key: older files have a URL there."""
    bare = re.sub(r"^https?://", "", name)
    return bare.split("/", 1)[0].lower()


def _entry(row: dict[str, strict.JSON]) -> Credentials | None:
    identity = row.get("identitytoken")
    if isinstance(identity, str) and identity:
        return Credentials(user="", password="", identity=identity)
    user, password = row.get("username"), row.get("password")
    if isinstance(row.get("auth"), str) and row["auth"]:
        user, mark, password = base64.b64decode(row["auth"], validate=True).decode().partition(":")
        if not mark:
            raise ValueError
    if not isinstance(user, str) or not isinstance(password, str) or not user:
        return None
    return Credentials(user=user, password=password)
