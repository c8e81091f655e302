"""Where a storage account lies: its resource is asked, at the Resource Manager of the zone's cloud.

The tests speak in the place of both, over TLS, behind a proxy.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from sovgate.errors import ConfigError, ResidencyMismatch, StoreError
from sovgate.records import GRADE
from sovgate.stages.transfer import locate
from sovgate.stores._api import Location
from sovgate.stores.az import AzureStore
from sovgate.stores.registry import open_store
from sovgate.transport.client import Client
from tests.conformance.stores import put
from tests.vendor import Asked as Heard
from tests.vendor import Said, vendor

NAME = "releases/kyc/1.0.0.json"
ZONE = "azure:germanywestcentral"
HOST = "kyceu.blob.core.windows.net"
LOGIN = "login.microsoftonline.com"
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
HOSTS = [HOST, LOGIN, "evil.example"]

MANAGER = "management.azure.com"
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
NAMED = f"az://kyceu/models?resource-group={SUBSCRIPTION}/rg-eu"
RESOURCE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-eu"
    "/providers/Microsoft.Storage/storageAccounts/kyceu"
)


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET", "FEDERATED_TOKEN_FILE")
    for end in (*ends, "ACCESS_TOKEN", "MANAGEMENT_TOKEN"):
        monkeypatch.delenv(f"AZURE_{end}", raising=False)
    for end in ("URL", "TOKEN"):
        monkeypatch.delenv(f"ACTIONS_ID_TOKEN_REQUEST_{end}", raising=False)


def reply(value: object, status: int = 200) -> Said:
    return status, {}, json.dumps(value).encode()


def resource(**changes: Any) -> dict[str, Any]:
    """A storage account as the Resource Manager describes it, with some fields changed."""
    properties = {
        "primaryEndpoints": {"blob": f"https://{HOST}/", "dfs": "https://kyceu.dfs.x/"},
        "primaryLocation": "germanywestcentral",
        "provisioningState": "Succeeded",
    }
    properties |= changes.pop("properties", {})
    return {
        "id": RESOURCE,
        "name": "kyceu",
        "type": "Microsoft.Storage/storageAccounts",
        "location": "germanywestcentral",
        "sku": {"name": "Standard_ZRS", "tier": "Standard"},
        "kind": "StorageV2",
        "properties": properties,
        **changes,
    }


def managed(said: Said, expected: str = "arm-token") -> Callable[[Heard], Said]:
    """A login service and a Resource Manager, which says that."""

    def answers(heard: Heard) -> Said:
        if heard.host == LOGIN:
            scope = parse_qs(heard.body.decode())["scope"]
            assert scope == [f"https://{MANAGER}/.default"]
            return reply({"access_token": "arm-token", "expires_in": 3599})
        assert (heard.host, heard.method) == (MANAGER, "GET")
        assert heard.path == f"{RESOURCE}?api-version=2023-05-01"
        assert heard.headers["authorization"] == f"Bearer {expected}"
        return said

    return answers


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", "application")
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "pr00f")


@pytest.mark.usefixtures("logged_in")
def test_the_resource_says_where_an_account_lies(tmp_path: Path) -> None:
    """RULES 15: through a proxy, and with a root of one's own, it is a word of the project's."""
    said = resource(location="Germany West Central")
    with vendor(tmp_path, [*HOSTS, MANAGER], managed(reply(said))) as cloud:
        store = open_store(NAMED, Path(), ZONE)
        located = store.location()
        assert cloud.hosts() == [LOGIN, MANAGER]
        store.location()
        assert cloud.hosts()[2:] == [LOGIN, MANAGER]  # asked anew each time
    assert located == Location(value=ZONE, grade=GRADE["declared"], source="the account's resource")


@pytest.mark.usefixtures("logged_in")
def test_asked_straight_over_tls_with_the_default_roots_it_is_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vendor(tmp_path, [*HOSTS, MANAGER], managed(reply(resource()))):
        monkeypatch.setattr(Client, "direct", property(lambda client: MANAGER in client.url))
        assert open_store(NAMED, Path(), ZONE).location().grade == GRADE["declared"]  # type: ignore[union-attr]
        monkeypatch.setattr(Client, "direct", True)
        assert open_store(NAMED, Path(), ZONE).location().grade == GRADE["api"]  # type: ignore[union-attr]


def test_nobody_is_asked_where_no_resource_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_ACCESS_TOKEN", "az-token")
    with vendor(tmp_path, [*HOSTS, MANAGER], managed(reply(resource()))) as cloud:
        assert open_store("az://kyceu/models", Path(), ZONE).location() is None
        # A token for storage is not shown to another service.
        located = open_store(NAMED, Path(), ZONE).location()
        assert cloud.seen == []
    assert located is not None
    assert (located.value, located.grade) == (ZONE, GRADE["declared"])
    assert "may not read" in located.source


def test_a_token_for_the_resource_manager_is_sent_to_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_MANAGEMENT_TOKEN", "own-token")
    answers = managed(reply(resource()), "own-token")
    with vendor(tmp_path, [*HOSTS, MANAGER], answers) as cloud:
        assert locate(open_store(NAMED, Path(), ZONE), zone="eu", declared=ZONE).value == ZONE
        with pytest.raises(StoreError) as caught:
            put(open_store(NAMED, Path(), ZONE), NAME, b"x")
        assert cloud.hosts() == [MANAGER]
    assert caught.value.reason == "no-credentials"


@pytest.mark.usefixtures("logged_in")
def test_who_may_not_read_the_resource_has_what_the_zone_declares(tmp_path: Path) -> None:
    said = reply({"error": {"code": "AuthorizationFailed", "message": "no"}}, 403)
    with vendor(tmp_path, [*HOSTS, MANAGER], managed(said)):
        located = open_store(NAMED, Path(), ZONE).location()
    assert located is not None
    assert (located.value, located.grade) == (ZONE, GRADE["declared"])


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ((401, {}, b""), "bad-credentials"),
        (reply({"error": {"code": "ResourceNotFound"}}, 404), "service"),
        ((503, {}, b""), "slow-down"),
        ((500, {}, b"oops"), "service"),
        ((200, {}, b"<html>"), "no-answer"),
        (reply([resource()]), "no-answer"),
    ],
)
def test_a_resource_that_is_asked_for_and_not_told_denies(
    tmp_path: Path, said: Said, reason: str
) -> None:
    store = open_store(NAMED, Path(), ZONE)
    assert isinstance(store, AzureStore)
    assert store.resource is not None
    store.resource = replace(store.resource, wait=lambda _: None)
    with vendor(tmp_path, [*HOSTS, MANAGER], managed(said)), pytest.raises(StoreError) as caught:
        locate(store, zone="eu", declared=ZONE)
    assert caught.value.reason == reason


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize(
    ("said", "words"),
    [
        (resource(id=RESOURCE.replace("kyceu", "kycus")), "storageAccounts/kycus"),
        (resource(id=RESOURCE.replace("rg-eu", "rg-us")), "rg-us"),
        (resource(id=None), "None"),
        (resource(properties={"primaryEndpoints": {"blob": "https://kyceu.blob.x/"}}), "blob.x"),
        (resource(properties={"primaryEndpoints": None}), "None"),
        (resource(sku={"name": "Standard_RAGRS"}), "Standard_RAGRS"),
        (resource(sku={"name": "Standard_GZRS"}), "Standard_GZRS"),
        (resource(sku={"name": "Standard_ZRS_and_more"}), "Standard_ZRS_and_more"),
        (resource(sku=None), "None"),
        (resource(properties={"secondaryLocation": "germanynorth"}), "germanynorth"),
        (resource(properties={"primaryLocation": "westus"}), "westus"),
        (resource(properties={"primaryLocation": None}), "None"),
        (resource(extendedLocation={"name": "losangeles", "type": "EdgeZone"}), "region"),
        (
            resource(location="mars", properties={"primaryLocation": "mars"}),
            "the account's resource says so",
        ),
        (
            resource(location="westus", properties={"primaryLocation": "westus"}),
            "the zone was declared as azure:germanywestcentral",
        ),
    ],
)
def test_an_account_that_is_elsewhere_or_in_two_places_is_12(
    tmp_path: Path, said: dict[str, Any], words: str
) -> None:
    answers = managed(reply(said))
    with vendor(tmp_path, [*HOSTS, MANAGER], answers), pytest.raises(ResidencyMismatch) as caught:
        locate(open_store(NAMED, Path(), ZONE), zone="eu", declared=ZONE)
    assert caught.value.reason == "store-elsewhere"
    assert words in str(caught.value.why)


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize("location", [None, 5, "", "Mars; DROP"])
def test_a_resource_without_a_region_is_unknown(tmp_path: Path, location: object) -> None:
    said = resource(location=location, properties={"primaryLocation": location})
    with vendor(tmp_path, [*HOSTS, MANAGER], managed(reply(said))):
        located = locate(open_store(NAMED, Path(), ZONE), zone="eu", declared=ZONE)
    assert (located.value, located.grade) == (None, GRADE["unknown"])


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize("status", [301, 307])
def test_rule_15_the_resource_manager_leads_nowhere_else(tmp_path: Path, status: int) -> None:
    said = (status, {"Location": "https://evil.example/x"}, b"")
    with vendor(tmp_path, [*HOSTS, MANAGER], managed(said)) as cloud:
        with pytest.raises(ResidencyMismatch) as caught:
            open_store(NAMED, Path(), ZONE).location()
        assert "evil.example" not in cloud.hosts()
    assert caught.value.reason == "redirected"


@pytest.mark.parametrize(
    "text",
    [
        f"{NAMED}&endpoint=http://127.0.0.1:1",
        "az://kyceu/models?resource-group=rg-eu",
        f"az://kyceu/models?resource-group={SUBSCRIPTION}/..",
        f"az://kyceu/models?resource-group={SUBSCRIPTION}/a/b",
        f"az://kyceu/models?resource-group={SUBSCRIPTION}/a%3Fb",
    ],
)
def test_a_resource_that_a_uri_cannot_name_is_3(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(text, Path(), ZONE)
    assert caught.value.reason == "bad-uri"
