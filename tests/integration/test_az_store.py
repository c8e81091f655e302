"""A container of Azure: faults before Azurite, and what real hosts would hear.

Azurite keeps no location and ignores encryption scopes, and a token needs TLS there: for those the
tests speak in Azure's place, over TLS, behind a proxy.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from sovgate.errors import (
    AlreadyExists,
    ConfigError,
    ExitCode,
    NotFound,
    ResidencyMismatch,
    StoreError,
    StoreUnfit,
    VerificationFailed,
)
from sovgate.records import GRADE
from sovgate.stages.transfer import locate, put_object
from sovgate.stores._api import Store
from sovgate.stores.registry import open_store
from tests import components, servers
from tests.conformance.stores import put
from tests.faultproxy import FaultProxy, What, between
from tests.hostilecloud import Answer, serving
from tests.vendor import Asked as Heard
from tests.vendor import Said, vendor

NAME = "releases/kyc/1.0.0.json"
ZONE = "azure:germanywestcentral"
HOST = "kyceu.blob.core.windows.net"
LOGIN = "login.microsoftonline.com"
PROVIDERS = ("AZURE", "AZURE_CHINA", "AZURE_USGOV", "BLEU", "DELOS")


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET", "FEDERATED_TOKEN_FILE", "ACCESS_TOKEN")
    for prefix in PROVIDERS:
        for end in ends:
            monkeypatch.delenv(f"{prefix}_{end}", raising=False)
    for name in ("AZURE_STORAGE_KEY", "AZURE_AUTHORITY_HOST"):
        monkeypatch.delenv(name, raising=False)
    for end in ("URL", "TOKEN"):
        monkeypatch.delenv(f"ACTIONS_ID_TOKEN_REQUEST_{end}", raising=False)


def patient(store: Store) -> Store:
    """One that does not sleep between two tries."""
    store._client._wait = lambda _: None  # type: ignore[attr-defined]
    return store


@pytest.fixture
def azure() -> str:
    return components.found(servers.azurite)


@pytest.fixture
def proxy(azure: str) -> Iterator[FaultProxy]:
    with between(azure) as made:
        yield made


@pytest.fixture
def store(proxy: FaultProxy, azure: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    name = f"{servers.AZURE_ACCOUNT}/{servers.azure_container(azure)}"
    monkeypatch.setenv("AZURE_STORAGE_KEY", servers.AZURE_KEY)
    text = f"az://{name}/{secrets.token_hex(8)}?endpoint={proxy.url}"
    return patient(open_store(text, Path(), ZONE))


# -- RULES 13: replies that are lost


@pytest.mark.parametrize("what", [What.LOSE_REPLY, What.LOSE_REQUEST, What.BUSY])
@pytest.mark.parametrize("times", [1, 3])
def test_rule_13_a_write_outlives_a_few_faults(
    store: Store, proxy: FaultProxy, what: What, times: int
) -> None:
    fault = proxy.fault(what, "PUT", NAME, times)
    put(store, NAME, b"the record")
    assert fault.struck == times
    assert store.get(NAME, most=100) == b"the record"


def test_rule_13_a_write_whose_every_answer_is_lost_is_read_back(
    store: Store, proxy: FaultProxy
) -> None:
    proxy.fault(What.LOSE_REPLY, "PUT", NAME, 100)
    put(store, NAME, b"the record")
    assert store.get(NAME, most=100) == b"the record"


@pytest.mark.parametrize("what", [What.LOSE_REPLY, What.BUSY])
def test_rule_13_other_bytes_behind_a_lost_reply_stay_and_are_21(
    store: Store, proxy: FaultProxy, what: What
) -> None:
    put(store, NAME, b"theirs")
    proxy.fault(what, "PUT", NAME, 100)
    with pytest.raises(AlreadyExists) as caught:
        put(store, NAME, b"ours")
    assert caught.value.exit_code == ExitCode.STORE
    assert store.get(NAME, most=100) == b"theirs"


def test_a_service_that_never_answers_is_21_and_leaves_nothing(
    store: Store, proxy: FaultProxy
) -> None:
    proxy.fault(What.BUSY, "PUT", NAME, 100)
    with pytest.raises(StoreError) as caught:
        put(store, NAME, b"the record")
    assert caught.value.reason == "slow-down"
    proxy.faults.clear()
    assert store.stat(NAME) is None


def test_bytes_that_change_on_the_way_never_become_visible(store: Store, proxy: FaultProxy) -> None:
    proxy.fault(What.FLIP_REQUEST, "PUT", NAME)
    with pytest.raises(StoreError) as caught:
        put(store, NAME, bytes(100_000))
    assert "MD5" in str(caught.value.why)
    assert store.stat(NAME) is None


@pytest.mark.parametrize("what", [What.CUT_REPLY, What.LOSE_REPLY, What.BUSY, What.LOSE_REQUEST])
def test_a_read_goes_on_after_a_break(store: Store, proxy: FaultProxy, what: What) -> None:
    data = secrets.token_bytes(700_001)
    put(store, NAME, data)
    fault = proxy.fault(what, "GET", NAME, 2)
    into = memoryview(bytearray(len(data)))
    assert store.get_into(NAME, into) == len(data)
    assert into == data
    assert fault.struck == 2


@pytest.mark.parametrize("operation", ["put", "get", "stat", "list"])
def test_rule_15_no_redirect_is_followed(store: Store, proxy: FaultProxy, operation: str) -> None:
    for method in ("GET", "PUT", "HEAD"):
        proxy.fault(What.REDIRECT, method, "", 100)
    with pytest.raises(ResidencyMismatch) as caught:
        {
            "put": lambda: put(store, NAME, b"x"),
            "get": lambda: store.get(NAME, most=1),
            "stat": lambda: store.stat(NAME),
            "list": lambda: list(store.list("audit/")),
        }[operation]()
    assert caught.value.reason == "redirected"
    assert len(proxy.seen) == 1


def test_a_key_of_another_account_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", base64.b64encode(b"S3CRET" * 10).decode())
    with pytest.raises(StoreError) as caught:
        store.get(NAME, most=10)
    assert caught.value.reason in ("bad-credentials", "access-denied")
    assert "S3CRET" not in f"{caught.value.what} {caught.value.why}"


def test_a_container_that_is_not_there_is_no_missing_object(
    azure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", servers.AZURE_KEY)
    text = f"az://{servers.AZURE_ACCOUNT}/not-there?endpoint={azure}"
    store = open_store(text, Path(), ZONE)
    for call in (
        lambda: store.stat(NAME),
        lambda: store.get(NAME, most=1),
        lambda: put(store, NAME, b"x"),
        lambda: list(store.list("audit/")),
    ):
        with pytest.raises(StoreError) as caught:
            call()
        assert caught.value.reason == "no-bucket"
        assert not isinstance(caught.value, NotFound)


# -- where it lies


def test_azure_tells_no_location_so_it_is_declared(store: Store) -> None:
    assert store.location() is None
    assert locate(store, zone="eu", declared=ZONE).grade == GRADE["declared"]


@pytest.mark.parametrize(
    ("zone", "host"),
    [
        (ZONE, "kyceu.blob.core.chinacloudapi.cn"),
        ("azure-china:chinanorth3", HOST),
        ("bleu:bleufrancecentral", HOST),
    ],
)
def test_an_endpoint_of_another_cloud_is_12(zone: str, host: str) -> None:
    store = open_store(f"az://kyceu/models?endpoint=https://{host}", Path(), zone)
    with pytest.raises(ResidencyMismatch) as caught:
        store.location()
    assert caught.value.reason == "endpoint-elsewhere"


# -- answers that make no sense


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<html/>",
        b"<EnumerationResults/>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><EnumerationResults><Blobs/></EnumerationResults>",
        b"<EnumerationResults><Blobs>" + b"<a>" * 10,
        b"<EnumerationResults><Blobs><Blob><Name>audit/x</Name></Blob></Blobs></EnumerationResults>",
    ],
)
def test_a_listing_that_is_none_is_21(body: bytes) -> None:
    with serving(lambda _: Answer(body=body)) as cloud:
        store = open_store(f"az://kyceu/models?endpoint={cloud.url}", Path(), ZONE)
        with pytest.raises(StoreError) as caught:
            list(store.list("audit/"))
    assert caught.value.exit_code == ExitCode.STORE


SIZE = "<Properties><Content-Length>1</Content-Length></Properties>"


def listing(inner: str) -> bytes:
    mark = b"\xef\xbb\xbf<?xml version='1.0' encoding='utf-8'?>"
    return mark + f"<EnumerationResults>{inner}</EnumerationResults>".encode()


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        (f"<Blobs><Blob><Name>audit/../x</Name>{SIZE}</Blob></Blobs>", "unsafe-name"),
        (f"<Blobs><Blob><Name>other/x</Name>{SIZE}</Blob></Blobs>", "unsafe-name"),
        (f"<Blobs><Blob>{SIZE}</Blob></Blobs>", "unsafe-name"),
        ("<Blobs/><NextMarker>same</NextMarker>", "limits"),
    ],
)
def test_a_hostile_listing_is_refused(inner: str, reason: str) -> None:
    with serving(lambda _: Answer(body=listing(inner))) as cloud:
        store = open_store(f"az://kyceu/models?endpoint={cloud.url}", Path(), ZONE)
        with pytest.raises(VerificationFailed) as caught:
            list(store.list("audit/"))
    assert caught.value.reason == reason


def test_folders_of_an_account_with_folders_are_no_objects() -> None:
    about = "<Content-Length>0</Content-Length><ResourceType>{}</ResourceType>"
    blob = f"<Blob><Name>audit/{{}}</Name><Properties>{about}</Properties></Blob>"
    inner = f"<Blobs>{blob.format('x', 'directory')}{blob.format('x/1.json', 'file')}</Blobs>"
    with serving(lambda _: Answer(body=listing(inner))) as cloud:
        store = open_store(f"az://kyceu/models?endpoint={cloud.url}", Path(), ZONE)
        assert list(store.list("audit/")) == ["audit/x/1.json"]


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (409, "BlobAlreadyExists", "already-exists"),
        (409, "ContainerBeingDeleted", "service"),
        (409, "", "service"),
        (403, "AuthorizationPermissionMismatch", "access-denied"),
        (403, "AuthenticationFailed", "bad-credentials"),
        (401, "InvalidAuthenticationInfo", "bad-credentials"),
        (404, "ContainerNotFound", "no-bucket"),
        (400, "Md5Mismatch", "service"),
    ],
)
def test_each_refusal_of_a_write_is_its_own(status: int, code: str, reason: str) -> None:
    """409 says many things, and one alone is that the name is taken."""
    answer = Answer(status=status, headers=(("x-ms-error-code", code),))
    with serving(lambda _: answer) as cloud:
        store = patient(open_store(f"az://kyceu/models?endpoint={cloud.url}", Path(), ZONE))
        with pytest.raises(StoreError) as caught:
            put(store, NAME, b"x")
    assert (type(caught.value) is AlreadyExists) == (reason == "already-exists")
    if reason != "already-exists":
        assert caught.value.reason == reason
    if reason == "access-denied":
        assert "blobs/add/action" in str(caught.value.why)


# -- in Azure's place

TENANT = "11112222-3333-4444-5555-666677778888"


def reply(value: object, status: int = 200) -> Said:
    return status, {}, json.dumps(value).encode()


def whole(heard: Heard) -> Said:
    """A login service, GitHub's token service, and a container."""
    path = urlsplit(heard.path)
    if heard.host.startswith("login."):
        form = {n: v[0] for n, v in parse_qs(heard.body.decode()).items()}
        assert path.path == f"/{TENANT}/oauth2/v2.0/token"
        assert form["scope"] == "https://storage.azure.com/.default"
        assert form.get("client_secret", form.get("client_assertion")) in ("pr00f", "workload.t0k")
        return reply({"access_token": "az-token", "expires_in": 3599})
    if heard.host.endswith("githubusercontent.com"):
        assert heard.headers["authorization"] == "bearer job"
        assert parse_qs(path.query)["audience"] == ["api://AzureADTokenExchange"]
        return reply({"value": "workload.t0k"})
    assert heard.headers["authorization"] == "Bearer az-token"
    if heard.method != "PUT":
        return 404, {"x-ms-error-code": "BlobNotFound"}, b""
    md5 = base64.b64encode(hashlib.md5(heard.body, usedforsecurity=False).digest()).decode()
    assert heard.headers["content-md5"] == md5
    assert heard.headers["if-none-match"] == "*"
    assert heard.headers["x-ms-meta-sovgatesha256"] == hashlib.sha256(heard.body).hexdigest()
    scope = heard.headers.get("x-ms-encryption-scope")
    return 201, {"Content-MD5": md5} | ({"x-ms-encryption-scope": scope} if scope else {}), b""


HOSTS = [
    HOST,
    LOGIN,
    "login.partner.microsoftonline.cn",
    "kyceu.blob.core.chinacloudapi.cn",
    "login.sovcloud-identity.fr",
    "kyceu.blob.core.sovcloud-api.fr",
    "run.actions.githubusercontent.com",
    "evil.example",
]


def test_a_token_file_that_others_can_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("workload.t0k\n")
    token.chmod(0o622)
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", "app")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token))
    with vendor(tmp_path, HOSTS, whole) as cloud:
        store = open_store("az://kyceu/models/p", Path(), ZONE)
        with pytest.raises(StoreError) as caught:
            store.stat(NAME)
        assert cloud.hosts() == []
    assert "its mode is 0622" in str(caught.value.why)
    assert f"chmod 600 {token}" in str(caught.value.fix)


@pytest.mark.parametrize("kind", ["secret", "file", "github"])
def test_each_kind_of_credentials_becomes_a_token_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "token").write_text("workload.t0k\n")
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", "app")
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://evil.example")
    hosts = [LOGIN]
    if kind == "secret":
        monkeypatch.setenv("AZURE_CLIENT_SECRET", "pr00f")
    elif kind == "file":
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    else:
        url = "https://run.actions.githubusercontent.com/token?x=1"
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", url)
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "job")
        hosts = ["run.actions.githubusercontent.com", LOGIN]
    with vendor(tmp_path, HOSTS, whole) as cloud:
        store = open_store("az://kyceu/models/p?encryption-scope=eu-keys", Path(), ZONE)
        put(store, NAME, b"the record")
        assert store.stat(NAME) is None
        assert cloud.hosts() == [*hosts, HOST, HOST]
        assert cloud.seen[-1].path == f"/models/p/{NAME}"
    assert repr(store) == "AzureStore('az://kyceu/models/p')"


@pytest.mark.parametrize(
    ("zone", "prefix", "login", "host"),
    [
        (
            "azure-china:chinanorth3",
            "AZURE_CHINA",
            "login.partner.microsoftonline.cn",
            "kyceu.blob.core.chinacloudapi.cn",
        ),
        (
            "bleu:bleufrancecentral",
            "BLEU",
            "login.sovcloud-identity.fr",
            "kyceu.blob.core.sovcloud-api.fr",
        ),
    ],
)
def test_each_cloud_has_credentials_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str, prefix: str, login: str, host: str
) -> None:
    """What was set for one cloud is sent to the login service of no other."""
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", "app")
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "S3CRET")
    with vendor(tmp_path, HOSTS, whole) as cloud:
        with pytest.raises(StoreError) as caught:
            put(open_store("az://kyceu/models", Path(), zone), NAME, b"x")
        assert caught.value.reason == "no-credentials"
        assert f"{prefix}_TENANT_ID" in str(caught.value.why)
        assert cloud.seen == []
        monkeypatch.setenv(f"{prefix}_TENANT_ID", TENANT)
        monkeypatch.setenv(f"{prefix}_CLIENT_ID", "app")
        monkeypatch.setenv(f"{prefix}_CLIENT_SECRET", "pr00f")
        put(open_store("az://kyceu/models", Path(), zone), NAME, b"x")
        assert cloud.hosts() == [login, host]


def test_a_token_of_ones_own_is_sent_to_the_catalogued_host_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_ACCESS_TOKEN", "az-token")
    with vendor(tmp_path, HOSTS, whole) as cloud:
        put(open_store("az://kyceu/models", Path(), ZONE), NAME, b"x")
        assert cloud.hosts() == [HOST]


def test_an_encryption_scope_that_was_not_used_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_ACCESS_TOKEN", "az-token")

    def without(heard: Heard) -> Said:
        status, headers, body = whole(heard)
        return status, {"Content-MD5": headers["Content-MD5"]}, body

    with vendor(tmp_path, HOSTS, without), pytest.raises(StoreUnfit) as caught:
        put(open_store("az://kyceu/models?encryption-scope=eu-keys", Path(), ZONE), NAME, b"x")
    assert caught.value.reason == "not-under-key"


@pytest.mark.parametrize("scope", [None, "eu-keys"])
@pytest.mark.parametrize("lost", [False, True])
def test_that_the_bytes_are_there_does_not_heal_another_scope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool, scope: str | None
) -> None:
    """Whoever writes an object looks after an error whether it is there after all."""
    monkeypatch.setenv("AZURE_ACCESS_TOKEN", "az-token")
    data = b"the record"
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    told = {"Content-MD5": md5, "ETag": '"1"'}
    told |= {} if scope is None else {"x-ms-encryption-scope": scope}

    def there(heard: Heard) -> Said:
        if heard.method == "PUT":
            return (503, {}, b"") if lost else (201, told, b"")
        return 200, told, data

    with vendor(tmp_path, HOSTS, there):
        store = patient(open_store("az://kyceu/models?encryption-scope=eu-keys", Path(), ZONE))
        if scope is not None:
            put_object(store, data)
            return
        with pytest.raises(StoreUnfit) as caught:
            put_object(store, data)
    assert caught.value.reason == "not-under-key"


@pytest.mark.parametrize(
    ("given", "reason", "words"),
    [
        ({}, "no-credentials", "AZURE_TENANT_ID"),
        ({"AZURE_TENANT_ID": TENANT}, "credentials", "AZURE_CLIENT_ID is not set"),
        ({"AZURE_TENANT_ID": "../S3CRET?", "AZURE_CLIENT_ID": "a"}, "credentials", "is no id"),
        ({"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": "a"}, "credentials", "nothing proves"),
        ({"AZURE_CLIENT_SECRET": "S3CRET"}, "credentials", "AZURE_TENANT_ID is not set"),
        (
            {
                "AZURE_TENANT_ID": TENANT,
                "AZURE_CLIENT_ID": "a",
                "AZURE_FEDERATED_TOKEN_FILE": "/nowhere",
            },
            "credentials",
            "/nowhere",
        ),
        (
            {
                "AZURE_TENANT_ID": TENANT,
                "AZURE_CLIENT_ID": "a",
                "ACTIONS_ID_TOKEN_REQUEST_URL": "https://evil.example/",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "S3CRET",
            },
            "credentials",
            "evil.example",
        ),
        ({"AZURE_ACCESS_TOKEN": "S3CRET with space"}, "credentials", "no access token"),
    ],
)
def test_credentials_that_are_not_enough_or_lead_elsewhere_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, str],
    reason: str,
    words: str,
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with vendor(tmp_path, HOSTS, whole) as cloud:
        with pytest.raises(StoreError) as caught:
            put(open_store("az://kyceu/models", Path(), ZONE), NAME, b"x")
        assert cloud.seen == []
    told = f"{caught.value.what} {caught.value.why} {caught.value.fix}"
    assert caught.value.reason == reason
    assert words in told
    assert "S3CRET" not in told


def test_rule_29_a_login_that_is_refused_tells_its_number_and_nothing_that_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", "app")
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "S3CRET")
    text = "AADSTS7000215: Invalid client secret provided: S3CRET"

    def refuse(_: Heard) -> Said:
        return reply({"error": "invalid_client", "error_description": text}, 401)

    with vendor(tmp_path, HOSTS, refuse), pytest.raises(StoreError) as caught:
        put(open_store("az://kyceu/models", Path(), ZONE), NAME, b"x")
    assert "401: invalid_client, AADSTS7000215" in str(caught.value.why)
    assert "S3CRET" not in f"{caught.value.what} {caught.value.why} {caught.value.details}"


# -- URIs


@pytest.mark.parametrize(
    ("text", "zone", "reason"),
    [
        ("az://kyceu", ZONE, "bad-uri"),
        ("az://kyceu/", ZONE, "bad-uri"),
        ("az://Kyceu/models", ZONE, "bad-uri"),
        ("az://kyc-eu/models", ZONE, "bad-uri"),
        ("az://kyceu/mo--dels", ZONE, "bad-uri"),
        ("az://kyceu/models/../x", ZONE, "bad-uri"),
        ("az://kyceu/models?sig=x", ZONE, "bad-uri"),
        ("az://kyceu/models?encryption-scope=a%20b", ZONE, "bad-uri"),
        ("az://kyceu/models?endpoint=http://az.example", ZONE, "bad-endpoint"),
        ("az://kyceu/models", None, "no-region"),
        ("az://kyceu/models", "declared:dc1", "no-endpoint"),
        ("az://kyceu/models", "gcp:europe-west3", "no-endpoint"),
    ],
)
def test_a_uri_that_names_no_container_of_the_zone_is_3(
    text: str, zone: str | None, reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(text, Path(), zone)
    assert caught.value.reason == reason
