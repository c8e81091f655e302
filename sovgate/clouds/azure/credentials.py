"""Access tokens for Azure's services, from variables that the user set; and keys of an emulator.

Reads os.environ and the token file it names; asks the login service of the zone's own cloud, and
GitHub's in a job. Never a metadata service, a program, or files of `az`.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

from sovgate.clouds import github
from sovgate.clouds.tokens import MAX_TOKEN, Token, Tokens, json_object
from sovgate.errors import DOCS, SovgateError, workflow_permissions
from sovgate.links import read_unshared
from sovgate.regions import Region
from sovgate.transport.client import Client, Request
from sovgate.transport.wire import Failure, explain

#: What the catalogue calls a partition -> who logs in there, and for whom a workload's own issuer
#: makes its token. From azure-cli's and azure-identity's tables; no variable changes it (RULES 36).
LOGIN: Mapping[str, tuple[str, str]] = {
    "AzureCloud": ("login.microsoftonline.com", "api://AzureADTokenExchange"),
    "AzureUSGovernment": ("login.microsoftonline.us", "api://AzureADTokenExchangeUSGov"),
    "AzureChinaCloud": ("login.partner.microsoftonline.cn", "api://AzureADTokenExchangeChina"),
    "AzureBleuCloud": ("login.sovcloud-identity.fr", "api://AzureADTokenExchangeFrance"),
    "AzureDelosCloud": ("login.sovcloud-identity.de", "api://AzureADTokenExchangeGermany"),
}
#: The same in each of these clouds.
STORAGE = "https://storage.azure.com/.default"
_MANAGEMENT, _LOGIN_BY = "MANAGEMENT_TOKEN", ("TENANT_ID", "CLIENT_ID")
_MAX_FILE, _MAX_ANSWER, _LIFE = 64 * 1024, 256 * 1024, 3600
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,127}", re.ASCII)
_TOKEN = re.compile(r"[!-~]+", re.ASCII)


def prefix_of(provider: str) -> str:
    """`AZURE`, `AZURE_CHINA`, `BLEU`: no cloud takes what was set for another."""
    return provider.upper().replace("-", "_")


def tokens(
    provider: str,
    partition: str,
    scope: str,
    kind: type[SovgateError],
    *,
    variable: str = "ACCESS_TOKEN",
) -> Tokens:
    """Tokens for services of a partition's cloud.

    From PROVIDER_ACCESS_TOKEN (or another `variable`): a token; else from PROVIDER_TENANT_ID and
    PROVIDER_CLIENT_ID with PROVIDER_CLIENT_SECRET, PROVIDER_FEDERATED_TOKEN_FILE, or in a job of
    GitHub's its own token. Nothing else is looked at. Raises `kind`: "no-credentials",
    "credentials".
    """
    prefix = prefix_of(provider)
    if text := os.environ.get(f"{prefix}_{variable}", "").strip():
        if not _TOKEN.fullmatch(text) or len(text) > MAX_TOKEN:
            raise kind(
                f"{prefix}_{variable} holds no access token",
                fix="set it to the accessToken that `az account get-access-token` prints",
                reason="credentials",
            )
        return Tokens(partial(Token, text=text, ends=float("inf")))
    if partition not in LOGIN:
        raise kind(
            f"sovgate does not know where one logs in to {partition}",
            fix=f"set {prefix}_ACCESS_TOKEN to a token of that cloud",
            reason="no-credentials",
        )
    login = _Login(prefix, partition, scope, kind)
    login.check()
    return Tokens(login.fetch)


def manager_tokens(row: Region, host: str, kind: type[SovgateError]) -> Tokens | None:
    """Tokens for a cloud's Resource Manager; None where nothing is set that could give one: a token
    for storage is not sent to another service.

    From PROVIDER_MANAGEMENT_TOKEN, else as `tokens`. Raises `kind`, reason "credentials".
    """
    prefix = prefix_of(row.provider)
    login = any(os.environ.get(f"{prefix}_{name}", "").strip() for name in _LOGIN_BY)
    if not login and not os.environ.get(f"{prefix}_{_MANAGEMENT}", "").strip():
        return None
    scope = f"https://{host}/.default"
    return tokens(row.provider, row.partition, scope, kind, variable=_MANAGEMENT)


def shared_key(kind: type[SovgateError]) -> bytes | None:
    """AZURE_STORAGE_KEY, for an endpoint of one's own: an emulator. None where it is not set."""
    text = os.environ.get("AZURE_STORAGE_KEY", "").strip()
    if not text:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise kind(
            "AZURE_STORAGE_KEY is no key of a storage account",
            fix="set it to the key in base64, as the emulator's configuration has it",
            reason="credentials",
        ) from None


class _Login:
    """One application's ways to a token. What proves who it is is read anew each time."""

    def __init__(self, prefix: str, partition: str, scope: str, kind: type[SovgateError]) -> None:
        self._prefix, self._scope, self._kind = prefix, scope, kind
        self._host, self._audience = LOGIN[partition]

    def _given(self, name: str) -> str:
        return os.environ.get(f"{self._prefix}_{name}", "").strip()

    def check(self) -> None:
        """Raises where what is set cannot be enough."""
        tenant, client = self._given("TENANT_ID"), self._given("CLIENT_ID")
        proof = self._given("CLIENT_SECRET") or self._given("FEDERATED_TOKEN_FILE")
        job = all(os.environ.get(name) for name in github.VARIABLES)
        if not tenant and not client and not proof:
            raise self._kind(
                f"there are no credentials for {self._host}",
                why=f"{self._prefix}_TENANT_ID and {self._prefix}_CLIENT_ID are not set, and no "
                "metadata service and no file of az is looked at",
                fix=f"set them, and {self._prefix}_FEDERATED_TOKEN_FILE or "
                f"{self._prefix}_CLIENT_SECRET; in GitHub Actions the first two are enough "
                f"({DOCS}/azure.md)",
                details=workflow_permissions("id-token: write", "contents: read"),
                reason="no-credentials",
            )
        for name, value in (("TENANT_ID", tenant), ("CLIENT_ID", client)):
            if not _ID.fullmatch(value):
                self._refuse(
                    f"{self._prefix}_{name} is {'not set' if not value else 'no id'}",
                    "set it to the id that the directory shows",
                )
        if not proof and not job:
            self._refuse(
                "nothing proves who this is",
                f"set {self._prefix}_FEDERATED_TOKEN_FILE or {self._prefix}_CLIENT_SECRET",
            )

    def _refuse(self, why: str, fix: str) -> NoReturn:
        raise self._kind(
            f"the credentials for {self._host} cannot be used",
            why=why,
            fix=f"{fix} ({DOCS}/azure.md)",
            reason="credentials",
        )

    def fetch(self) -> Token:
        self.check()
        fields = {
            "grant_type": "client_credentials",
            "client_id": self._given("CLIENT_ID"),
            "scope": self._scope,
        }
        if secret := self._given("CLIENT_SECRET"):
            fields["client_secret"] = secret
        else:
            bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            fields |= {"client_assertion_type": bearer, "client_assertion": self._workload()}
        answer = self._ask(
            f"https://{self._host}",
            Request(
                method="POST",
                target=f"/{self._given('TENANT_ID')}/oauth2/v2.0/token",
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=(urlencode(fields).encode(),),
                again=True,
            ),
        )
        life = answer.get("expires_in")
        seconds = life if isinstance(life, int) and 0 < life <= 24 * _LIFE else _LIFE
        return Token(
            text=self._token(answer.get("access_token"), self._host), ends=time.time() + seconds
        )

    def _workload(self) -> str:
        """The workload's own token: from a file, or of GitHub's service in a job."""
        path = self._given("FEDERATED_TOKEN_FILE")
        if path:
            try:
                data = read_unshared(Path(path), most=_MAX_FILE, what="token file")
            except SovgateError as error:
                shared = error.fix if error.reason == "secret-file" else None
                self._refuse(error.what, shared or "see that the token is written there")
            return self._token(data.decode("utf-8", "replace").strip(), "the token file")
        return self._token(github.job_token(self._audience, self._kind), "GitHub")

    def _ask(self, service: str, request: Request) -> dict[str, Any]:
        try:
            with Client(service, what="credentials") as client, client.ask(request) as answer:
                data = answer.read(_MAX_ANSWER)
        except Failure as failure:
            raise explain(failure, f"get a token of {service}", self._kind) from None
        found = json_object(data)
        if answer.status == 200 and found is not None:
            return found
        code = str((found or {}).get("error") or "no reason")
        # AADSTS700213 and its fellows say which condition did not hold; what follows may quote.
        said = re.match(r"AADSTS[0-9]{4,9}", str((found or {}).get("error_description") or ""))
        return self._refuse(
            f"{service} answered {answer.status}: {code[:100]}" + (f", {said[0]}" if said else ""),
            "see that the application, its secret or its federated credential still fit",
        )

    def _token(self, value: object, whose: str) -> str:
        if not isinstance(value, str) or not _TOKEN.fullmatch(value) or len(value) > MAX_TOKEN:
            self._refuse(f"{whose} gave no token", "run it again; ask whoever runs that service")
        return value
