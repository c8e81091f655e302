"""Where a storage account lies, by its resource: one GET at the Resource Manager of a zone's cloud.

No request to the account itself tells it. Asks only where the store's URI names the resource group,
follows no redirect, and sends its token to that one host. Needs the right
Microsoft.Storage/storageAccounts/read on the account, which the role Reader has.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sovgate.clouds import endpoints, refusals
from sovgate.clouds.azure import credentials
from sovgate.clouds.tokens import json_object
from sovgate.errors import ResidencyMismatch, SovgateError
from sovgate.transport.client import Client, Request
from sovgate.transport.objects import Answer, whole
from sovgate.transport.wire import Failure, explain

_VERSION = "2023-05-01"
_MAX_ANSWER = 1024 * 1024
_RIGHT = "Microsoft.Storage/storageAccounts/read"
_REGION = re.compile(r"[a-z0-9]{2,40}", re.ASCII)
#: Kinds of redundancy within one region. All that are not known count as copies elsewhere.
_ONE_REGION = re.compile(r"(Standard|Premium)(V2)?_(LRS|ZRS)", re.ASCII)
#: SUBSCRIPTION/GROUP, as `resource-group=` in a store's URI has it.
GROUP = (
    r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}/[A-Za-z0-9._()-]{0,89}[A-Za-z0-9_()-]",
    "SUBSCRIPTION-ID/RESOURCE-GROUP",
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the resource says. `region`: without its provider, None where it names none; `may_read`:
    False where these credentials may not ask; `direct`: whether it was asked as RULES 15 wants."""

    region: str | None = None
    may_read: bool = True
    direct: bool = False


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A storage account: where its cloud's Resource Manager is, and what names it there.

    `blob`: the URL that its data is sent to; `store`: its name in errors; `wait` sleeps between two
    tries.
    """

    manager: endpoints.Endpoint
    group: str
    account: str
    blob: str
    store: str
    kind: type[SovgateError]
    wait: Callable[[float], object] = time.sleep

    def ask(self) -> Told:
        """Each time anew. Raises `kind` where it does not answer; ResidencyMismatch where it is
        another account, or has copies in another region."""
        row = self.manager.declared
        host = self.manager.url.removeprefix("https://")
        bearer = None if row is None else credentials.manager_tokens(row, host, self.kind)
        if bearer is None:
            return Told(may_read=False)
        path = f"{self._path}?api-version={_VERSION}"
        headers = {"Authorization": f"Bearer {bearer()}"}
        doing = f"ask where the account of {self.store} lies"
        with Client(self.manager.url, wait=self.wait) as client:
            try:
                with client.ask(Request(method="GET", target=path, headers=headers)) as response:
                    answer = whole(response, _MAX_ANSWER)
            except Failure as failure:
                raise explain(failure, doing, self.kind) from failure
            if answer.status == 403:
                return Told(may_read=False)
            if answer.status != 200:
                raise self._refused(answer, doing)
            return Told(region=self._region(answer), direct=client.direct)

    @property
    def _path(self) -> str:
        subscription, _, group = self.group.partition("/")
        return (
            f"/subscriptions/{subscription}/resourceGroups/{group}"
            f"/providers/Microsoft.Storage/storageAccounts/{self.account}"
        )

    def _region(self, answer: Answer) -> str | None:
        found = json_object(answer.body)
        if found is None:
            raise refusals.unreadable(self.manager.url, "JSON", self.kind)
        properties = _object(found, "properties")
        blob = _object(properties, "primaryEndpoints").get("blob")
        if str(found.get("id")).lower() != self._path.lower() or blob != f"{self.blob}/":
            raise self._elsewhere(
                "is not the one that is written to",
                f"it is {str(found.get('id'))[:300]!r}, with its data at {str(blob)[:200]!r}",
                "correct resource-group= in the store's URI",
            )
        if found.get("extendedLocation") is not None:
            raise self._elsewhere(
                "lies in an edge zone", "that is outside of its region", "use an account in none"
            )
        redundancy = str(_object(found, "sku").get("name"))
        second = properties.get("secondaryLocation")
        if second is not None or not _ONE_REGION.fullmatch(redundancy):
            raise self._elsewhere(
                "is not of one region alone",
                f"its redundancy is {redundancy[:80]!r}"
                + (f", with a copy in {str(second)[:80]!r}" if second is not None else ""),
                "use an account with the redundancy LRS or ZRS",
            )
        region, primary = _plain(found.get("location")), _plain(properties.get("primaryLocation"))
        if region != primary:
            raise self._elsewhere(
                "is in two places at once",
                f"its location is {region!r}, and its primary location {primary!r}",
                "wait until its failover or move is over, or use another account",
            )
        return region if region is not None and _REGION.fullmatch(region) else None

    def _elsewhere(self, what: str, why: str, fix: str) -> ResidencyMismatch:
        """`what` completes "the account of …"."""
        return ResidencyMismatch(
            f"the account of {self.store} {what}",
            why=f"its resource says so: {why}",
            fix=fix,
            reason="store-elsewhere",
        )

    def _refused(self, answer: Answer, doing: str) -> SovgateError:
        error = _object(json_object(answer.body) or {}, "error")
        told = refusals.Refusal(
            doing=doing,
            status=answer.status,
            code=str(error.get("code") or ""),
            text=str(error.get("message") or ""),
            needed=f"{_RIGHT} on the account {self.account!r}",
            page="azure.md",
            unknown=answer.status == 401,
        )
        return refusals.explain(told, self.kind)


def _object(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def _plain(said: object) -> str | None:
    """A region as the catalogue names it: older resources have "Germany West Central"."""
    return said.replace(" ", "").lower()[:80] if isinstance(said, str) else None
