"""A bucket of Cloud Storage: faults before fake-gcs-server, and what real hosts would hear.

fake-gcs-server has neither credentials nor keys of a customer, and checks no sums: for those the
tests speak in Google's place, over TLS, behind a proxy.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import google_crc32c
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

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
from sovgate.stores import _sums
from sovgate.stores._api import Location, Store
from sovgate.stores.registry import open_store
from tests import components, servers
from tests.conformance.stores import put
from tests.faultproxy import FaultProxy, What, between
from tests.hostilecloud import Answer, Asked, serving
from tests.vendor import Asked as Heard
from tests.vendor import Said, vendor

NAME = "releases/kyc/1.0.0.json"
ZONE = "gcp:europe-west3"
STORAGE = "storage.googleapis.com"


def patient(store: Store) -> Store:
    """One that does not sleep between two tries."""
    store._client._wait = lambda _: None  # type: ignore[attr-defined]
    return store


@pytest.fixture
def google() -> str:
    return components.found(servers.fake_gcs)


@pytest.fixture
def proxy(google: str) -> Iterator[FaultProxy]:
    with between(google) as made:
        yield made


@pytest.fixture
def store(proxy: FaultProxy, google: str) -> Store:
    text = f"gs://{servers.gcs_bucket(google)}/{secrets.token_hex(8)}?endpoint={proxy.url}"
    return patient(open_store(text, Path(), ZONE))


# -- RULES 13: replies that are lost


@pytest.mark.parametrize("what", [What.LOSE_REPLY, What.LOSE_REQUEST, What.BUSY, What.CUT_REPLY])
@pytest.mark.parametrize("times", [1, 3])
def test_rule_13_a_write_outlives_a_few_faults(
    store: Store, proxy: FaultProxy, what: What, times: int
) -> None:
    fault = proxy.fault(what, "POST", "upload", times)
    put(store, NAME, b"the record")
    assert fault.struck >= 1
    assert store.get(NAME, most=100) == b"the record"


def test_rule_13_a_write_whose_every_answer_is_lost_is_read_back(
    store: Store, proxy: FaultProxy
) -> None:
    proxy.fault(What.LOSE_REPLY, "POST", "upload", 100)
    put(store, NAME, b"the record")
    assert store.get(NAME, most=100) == b"the record"


@pytest.mark.parametrize("what", [What.LOSE_REPLY, What.BUSY])
def test_rule_13_other_bytes_behind_a_lost_reply_stay_and_are_21(
    store: Store, proxy: FaultProxy, what: What
) -> None:
    put(store, NAME, b"theirs")
    proxy.fault(what, "POST", "upload", 100)
    with pytest.raises(AlreadyExists) as caught:
        put(store, NAME, b"ours")
    assert caught.value.exit_code == ExitCode.STORE
    assert store.get(NAME, most=100) == b"theirs"


def test_a_service_that_never_answers_is_21_and_leaves_nothing(
    store: Store, proxy: FaultProxy
) -> None:
    proxy.fault(What.BUSY, "POST", "upload", 100)
    with pytest.raises(StoreError) as caught:
        put(store, NAME, b"the record")
    assert caught.value.reason == "slow-down"
    proxy.faults.clear()
    assert store.stat(NAME) is None


def test_rule_13_a_service_without_the_precondition_is_found_by_the_probe(
    store: Store, proxy: FaultProxy
) -> None:
    proxy.fault(What.IGNORE_CONDITION, "POST", "upload", 100)
    with pytest.raises(StoreError) as caught:
        store.probe()
    assert caught.value.reason == "not-create-only"


def test_bytes_that_change_on_the_way_are_told(store: Store, proxy: FaultProxy) -> None:
    """This server ignores the sum that it was sent, and says its own."""
    proxy.fault(What.FLIP_REQUEST, "POST", "upload")
    with pytest.raises(StoreError) as caught:
        put(store, NAME, bytes(100_000))
    assert caught.value.reason == "wrong-bytes"


@pytest.mark.parametrize("what", [What.CUT_REPLY, What.LOSE_REPLY, What.BUSY, What.LOSE_REQUEST])
def test_a_read_goes_on_after_a_break(store: Store, proxy: FaultProxy, what: What) -> None:
    data = secrets.token_bytes(700_001)
    put(store, NAME, data)
    fault = proxy.fault(what, "GET", "alt=media", 2)
    into = memoryview(bytearray(len(data)))
    assert store.get_into(NAME, into) == len(data)
    assert into == data
    assert fault.struck == 2


def test_a_read_that_breaks_off_for_good_is_21(store: Store, proxy: FaultProxy) -> None:
    put(store, NAME, bytes(1000))
    proxy.fault(What.CUT_REPLY, "GET", "alt=media", 1000)
    with pytest.raises(StoreError) as caught:
        store.get(NAME, most=1000)
    assert caught.value.reason == "broken-off"


@pytest.mark.parametrize("operation", ["put", "get", "stat", "list", "location"])
def test_rule_15_no_redirect_is_followed(store: Store, proxy: FaultProxy, operation: str) -> None:
    for method in ("GET", "POST"):
        proxy.fault(What.REDIRECT, method, "", 100)
    with pytest.raises(ResidencyMismatch) as caught:
        {
            "put": lambda: put(store, NAME, b"x"),
            "get": lambda: store.get(NAME, most=1),
            "stat": lambda: store.stat(NAME),
            "list": lambda: list(store.list("audit/")),
            "location": store.location,
        }[operation]()
    assert caught.value.reason == "redirected"
    assert len(proxy.seen) == 1


def test_a_listing_of_many_pages_is_whole(store: Store) -> None:
    names = [f"audit/x/{number:04}.json" for number in range(25)]
    for name in names:
        put(store, name, b"x")
    pages = store.page  # type: ignore[attr-defined]

    def small(prefix: str, token: str):  # type: ignore[no-untyped-def]
        request, read = pages(prefix, token)
        target = request.target.replace("maxResults=1000", "maxResults=7")
        return type(request)(method="GET", target=target), read

    store.page = small  # type: ignore[attr-defined]
    assert list(store.list("audit/")) == names


# -- where it lies


def test_the_location_is_that_of_the_bucket(store: Store) -> None:
    """At an endpoint of one's own, whatever it says is a word of the project's."""
    assert store.location() == Location(
        value=ZONE, grade=GRADE["declared"], source="the bucket's location"
    )
    assert locate(store, zone="eu", declared=ZONE).grade == GRADE["declared"]


@pytest.mark.parametrize(
    ("said", "value"),
    [("EU", "gcp:eu"), ("EUR4", "gcp:eur4"), ("US-EAST1", "gcp:us-east1")],
)
def test_a_bucket_elsewhere_or_in_many_places_is_12(said: str, value: str) -> None:
    def answer(_: Asked) -> Answer:
        return Answer(body=json.dumps({"location": said}).encode())

    with serving(answer) as cloud:
        store = open_store(f"gs://kyc-eu?endpoint={cloud.url}", Path(), ZONE)
        with pytest.raises(ResidencyMismatch) as caught:
            locate(store, zone="eu", declared=ZONE)
    assert value in caught.value.what


def test_a_bucket_that_was_replaced_by_one_elsewhere_meanwhile_is_12() -> None:
    """A push asks again just before its record."""
    said = iter(["EUROPE-WEST3", "US-EAST1"])

    def answer(_: Asked) -> Answer:
        return Answer(body=json.dumps({"location": next(said)}).encode())

    with serving(answer) as cloud:
        store = open_store(f"gs://kyc-eu?endpoint={cloud.url}", Path(), ZONE)
        assert locate(store, zone="eu", declared=ZONE).value == ZONE
        with pytest.raises(ResidencyMismatch) as caught:
            locate(store, zone="eu", declared=ZONE)
    assert caught.value.reason == "store-elsewhere"


def test_an_endpoint_of_another_cloud_is_12() -> None:
    store = open_store("gs://kyc-eu?endpoint=https://storage.s3nsapis.fr", Path(), ZONE)
    with pytest.raises(ResidencyMismatch) as caught:
        store.location()
    assert caught.value.reason == "endpoint-elsewhere"


# -- answers that make no sense


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("list", b""),
        ("list", b"[]"),
        ("list", b"{}"),
        ("list", b'{"kind": "storage#objects", "items": {}}'),
        ("list", b'{"kind": "storage#objects", "items": [1]}'),
        ("list", b'{"kind": "storage#objects", "items": [{"name": "audit/x"}]}'),
        ("list", b'{"kind": "storage#objects", "nextPageToken": 5}'),
        ("list", b"[" * 100_000),
        ("stat", b"{}"),
        ("stat", b'{"size": -1}'),
        ("stat", b'{"size": "99999999999999999999"}'),
        ("put", b"{}"),
        ("put", b"never mind"),
        ("put", b'{"generation": "1", "size": "1", "crc32c": "AAAA"}'),
        ("put", b'{"generation": "1", "size": "2", "crc32c": "rHKDjw=="}'),
        ("put", b'{"generation": "1", "size": "1", "md5Hash": "nTpBmJ1MVqUH6P+9FWhiKQ=="}'),
        ("put", b'{"size": "1", "crc32c": "rHKDjw=="}'),
        ("put", b'{"generation": "0", "size": "1", "crc32c": "rHKDjw=="}'),
        ("location", b"<html>"),
    ],
)
def test_an_answer_without_what_was_asked_for_is_21(operation: str, body: bytes) -> None:
    with serving(lambda _: Answer(body=body)) as cloud:
        store = patient(open_store(f"gs://kyc-eu?endpoint={cloud.url}", Path(), ZONE))
        with pytest.raises(StoreError) as caught:
            {
                "put": lambda: put(store, NAME, b"x"),
                "stat": lambda: store.stat(NAME),
                "list": lambda: list(store.list("audit/")),
                "location": store.location,
            }[operation]()
    assert caught.value.exit_code == ExitCode.STORE


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ({"items": [{"name": "audit/../x", "size": "1"}]}, "unsafe-name"),
        ({"items": [{"name": "other/x", "size": "1"}]}, "unsafe-name"),
        ({"items": [{"name": "audit/x", "size": "1"}], "nextPageToken": "same"}, "limits"),
        ({"nextPageToken": "a"}, "limits"),
    ],
)
def test_a_hostile_listing_is_refused(page: dict[str, object], reason: str) -> None:
    body = json.dumps({"kind": "storage#objects", **page}).encode()
    with serving(lambda _: Answer(body=body)) as cloud:
        store = open_store(f"gs://kyc-eu?endpoint={cloud.url}", Path(), ZONE)
        with pytest.raises(VerificationFailed) as caught:
            list(store.list("audit/"))
    assert caught.value.reason == reason


def error(status: int, reason: str, text: str) -> Said:
    body = {"error": {"code": status, "message": text, "errors": [{"reason": reason}]}}
    return status, {}, json.dumps(body).encode()


@pytest.mark.parametrize(
    ("said", "reason", "words"),
    [
        (error(403, "forbidden", "no access"), "access-denied", "storage.objects.create"),
        (error(401, "authError", "Invalid Credentials"), "bad-credentials", "Invalid Credentials"),
        (
            error(404, "notFound", "The specified bucket does not exist."),
            "no-bucket",
            "gs://kyc-eu",
        ),
        (error(400, "invalid", "Provided MD5 hash is wrong"), "service", "Provided MD5 hash"),
    ],
)
def test_an_error_names_what_is_missing(said: Said, reason: str, words: str) -> None:
    with serving(lambda _: Answer(status=said[0], body=said[2])) as cloud:
        store = patient(open_store(f"gs://kyc-eu?endpoint={cloud.url}", Path(), ZONE))
        with pytest.raises(StoreError) as caught:
            put(store, NAME, b"x")
    assert caught.value.reason == reason
    assert words in f"{caught.value.what} {caught.value.why}"


def test_a_missing_bucket_is_no_missing_object() -> None:
    said = error(404, "notFound", "The specified bucket does not exist.")
    with serving(lambda _: Answer(status=404, body=said[2])) as cloud:
        store = open_store(f"gs://kyc-eu?endpoint={cloud.url}", Path(), ZONE)
        for call in (lambda: store.stat(NAME), lambda: store.get(NAME, most=1)):
            with pytest.raises(StoreError) as caught:
                call()
            assert caught.value.reason == "no-bucket"
            assert not isinstance(caught.value, NotFound)


# -- in Google's place

KEY = "projects/p/locations/europe-west3/keyRings/r/cryptoKeys/k"


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for prefix in ("GOOGLE", "GCP", "S3NS"):
        monkeypatch.delenv(f"{prefix}_APPLICATION_CREDENTIALS", raising=False)
        monkeypatch.delenv(f"{prefix}_ACCESS_TOKEN", raising=False)
    monkeypatch.delenv("GOOGLE_OAUTH_ACCESS_TOKEN", raising=False)


def reply(value: object, status: int = 200) -> Said:
    return status, {}, json.dumps(value).encode()


def both_sums(content: bytes) -> dict[str, str]:
    """As Google gives them: CRC32C in the order of its bytes on the wire."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    sums = {
        "crc32c": (crc ^ 0xFFFFFFFF).to_bytes(4, "big"),
        "md5Hash": hashlib.md5(content, usedforsecurity=False).digest(),
    }
    return {name: base64.b64encode(value).decode() for name, value in sums.items()}


def parted(heard: Heard) -> tuple[dict[str, Any], bytes]:
    """What an upload says of its object, and its bytes."""
    boundary = heard.headers["content-type"].partition("boundary=")[2].encode()
    _, about, data, end = heard.body.split(b"--" + boundary)
    assert end == b"--\r\n"
    told: dict[str, Any] = json.loads(about.partition(b"\r\n\r\n")[2])
    return told, data.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


def storage(heard: Heard) -> Said:
    """A bucket that takes each object, and says of it what Google would."""
    if heard.method == "POST":
        told, content = parted(heard)
        sums = both_sums(content)
        assert {each: told[each] for each in sums if each in told}.items() <= sums.items()
        assert len(sums.keys() & told.keys()) == 1
        assert told["metadata"] == {"sovgate-sha256": hashlib.sha256(content).hexdigest()}
        asked = parse_qs(urlsplit(heard.path).query)
        assert asked["ifGenerationMatch"] == ["0"]
        made = {"generation": "1764400000000001", "size": str(len(content)), **sums}
        if key := asked.get("kmsKeyName"):
            made["kmsKeyName"] = f"{key[0]}/cryptoKeyVersions/1"
        return reply(made)
    return reply({"location": "EUROPE-WEST3", "projectNumber": "123456"})


@pytest.fixture(params=["crc32c", "md5Hash"])
def summed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The sum that is sent: with the extra `gcp`, and without it."""
    if request.param == "md5Hash":
        monkeypatch.setitem(sys.modules, "google_crc32c", None)
    _sums._package.cache_clear()
    yield request.param
    _sums._package.cache_clear()


def test_google_compares_the_sum_that_this_machine_can_make_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, summed: str
) -> None:
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "t")
    with vendor(tmp_path, [STORAGE], storage) as cloud:
        put(open_store("gs://kyc-eu", Path(), ZONE), NAME, b"the record")
    told = cloud.seen[0].body
    other = {"crc32c", "md5Hash"} - {summed}
    assert summed.encode() in told
    assert other.pop().encode() not in told


@pytest.mark.parametrize("field", ["size", "sum", "generation"])
def test_an_object_that_google_holds_otherwise_than_it_was_sent_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, summed: str, field: str
) -> None:
    """The acknowledgement of a write is its generation, with the size and sum of what is there."""
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "t")

    def other(heard: Heard) -> Said:
        status, headers, body = storage(heard)
        made = json.loads(body)
        made |= {"size": {"size": "9"}, "sum": both_sums(b"x"), "generation": {"generation": ""}}[
            field
        ]
        return status, headers, json.dumps(made).encode()

    with vendor(tmp_path, [STORAGE], other), pytest.raises(StoreError) as caught:
        put(open_store("gs://kyc-eu", Path(), ZONE), NAME, b"the record")
    assert caught.value.exit_code == ExitCode.STORE
    assert caught.value.reason == ("no-answer" if field == "generation" else "wrong-bytes")


def test_a_library_that_sums_in_python_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk would take seconds there, and Google compares an MD5 as well."""
    slow = types.ModuleType("google_crc32c")
    slow.implementation = "python"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "google_crc32c", slow)
    _sums._package.cache_clear()
    assert not _sums.has_crc32c()
    _sums._package.cache_clear()


@pytest.mark.parametrize("size", [0, 9, 1024 * 1024, 1024 * 1024 + 1, 3 * 1024 * 1024 - 1])
def test_a_sum_over_pieces_is_that_of_the_whole(size: int) -> None:
    data = (b"123456789" * (size // 9 + 1))[:size]
    found = _sums.crc32c(memoryview(bytearray(data)))
    assert found == base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
    if size == 9:
        assert found == both_sums(data)["crc32c"] == "4waSgw=="  # the check value of CRC-32C


@pytest.mark.parametrize(
    "taken",
    [
        (412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."),
        (
            *(403, "forbidden"),
            "push@p.iam.gserviceaccount.com does not have storage.objects.delete access to the "
            "Google Cloud Storage object. Permission 'storage.objects.delete' denied on resource "
            "(or it may not exist).",
        ),
    ],
)
def test_whoever_may_not_delete_is_told_that_a_name_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: tuple[int, str, str]
) -> None:
    """Nobody is to have that right, and Google asks for it where an object would be replaced."""
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "t")
    there: dict[str, bytes] = {}

    def once(heard: Heard) -> Said:
        if heard.method == "POST":
            told, content = parted(heard)
            if told["name"] in there:
                return error(*taken)
            there[told["name"]] = content
            return storage(heard)
        return 200, {"x-goog-generation": "1"}, there[".probe/create-only"]

    with vendor(tmp_path, [STORAGE], once):
        store = open_store("gs://kyc-eu", Path(), ZONE)
        store.probe()
        put(store, NAME, b"theirs")
        with pytest.raises(AlreadyExists):
            put(store, NAME, b"ours")


def test_without_credentials_that_were_named_nothing_is_asked(tmp_path: Path) -> None:
    with vendor(tmp_path, [STORAGE], storage) as cloud:
        with pytest.raises(StoreError) as caught:
            open_store("gs://kyc-eu", Path(), ZONE).location()
        assert cloud.seen == []
    assert caught.value.reason == "no-credentials"
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(caught.value.fix)


@pytest.mark.parametrize("name", ["GOOGLE_OAUTH_ACCESS_TOKEN", "GCP_ACCESS_TOKEN"])
def test_a_token_is_sent_to_the_catalogued_host_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "ya29.t0k")
    with vendor(tmp_path, [STORAGE], storage) as cloud:
        store = open_store(f"gs://kyc-eu/p?kms-key={KEY}&project=123456", Path(), ZONE)
        put(store, NAME, b"the record")
        located = store.location()
        assert {h.headers["authorization"] for h in cloud.seen} == {"Bearer ya29.t0k"}
        assert set(cloud.hosts()) == {STORAGE}
    # It was reached through a proxy, and with a root of one's own.
    assert located == Location(value=ZONE, grade=GRADE["declared"], source="the bucket's location")
    assert repr(store) == "GoogleStore('gs://kyc-eu/p')"
    with serving(lambda _: Answer(body=b'{"location": "x"}')) as other:
        own = open_store(f"gs://kyc-eu?endpoint={other.url}", Path(), ZONE)
        own.location()
    assert len(other.seen) == 1


def test_a_token_for_google_never_goes_to_another_universe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "ya29.t0k")
    with vendor(tmp_path, ["storage.s3nsapis.fr"], storage) as cloud:
        with pytest.raises(StoreError) as caught:
            open_store("gs://kyc-fr", Path(), "s3ns:u-france-east1").location()
        assert cloud.seen == []
    assert caught.value.reason == "no-credentials"


def test_a_bucket_of_another_project_is_refused_before_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "t")
    with vendor(tmp_path, [STORAGE], storage) as cloud:
        store = open_store("gs://kyc-eu?project=999999", Path(), ZONE)
        with pytest.raises(StoreUnfit) as caught:
            put_object(store, b"the record")  # which looks whether it is there, after a StoreError
        assert [heard.method for heard in cloud.seen] == ["GET"]
    assert caught.value.reason == "store-owner"


def test_a_customers_key_that_was_not_used_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "t")

    def without(heard: Heard) -> Said:
        status, headers, body = storage(heard)
        made = json.loads(body)
        made.pop("kmsKeyName", None)
        return status, headers, json.dumps(made).encode()

    with vendor(tmp_path, [STORAGE], without), pytest.raises(StoreUnfit) as caught:
        put(open_store(f"gs://kyc-eu?kms-key={KEY}", Path(), ZONE), NAME, b"the record")
    assert caught.value.reason == "not-under-key"


@pytest.mark.parametrize("key", [None, f"{KEY}/cryptoKeyVersions/3"])
@pytest.mark.parametrize("lost", [False, True])
def test_that_the_bytes_are_there_does_not_heal_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool, key: str | None
) -> None:
    """Whoever writes an object looks after an error whether it is there after all."""
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "t")
    data = b"the record"

    def there(heard: Heard) -> Said:
        if heard.method == "POST" and lost:
            return reply({}, 503)
        if heard.method == "POST" or "fields=" in heard.path:
            told = {"generation": "1", "size": str(len(data)), **both_sums(data)}
            return reply(told if key is None else {**told, "kmsKeyName": key})
        return 200, {"x-goog-generation": "1"}, data

    with vendor(tmp_path, [STORAGE], there):
        store = patient(open_store(f"gs://kyc-eu?kms-key={KEY}", Path(), ZONE))
        if key is not None:
            put_object(store, data)
            return
        with pytest.raises(StoreUnfit) as caught:
            put_object(store, data)
    assert caught.value.reason == "not-under-key"


# -- credentials

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = RSA.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
SERVICE_ACCOUNT = {
    "type": "service_account",
    "private_key_id": "k1",
    "private_key": PEM,
    "client_email": "push@p.iam.gserviceaccount.com",
    "token_uri": "https://oauth2.googleapis.com/token",
}
WORKLOAD = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/"
    "providers/g",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
}
ACT_AS = "/v1/projects/-/serviceAccounts/push@p.iam.gserviceaccount.com:generateAccessToken"
HOSTS = [
    STORAGE,
    "storage.s3nsapis.fr",
    "oauth2.googleapis.com",
    "sts.googleapis.com",
    "iamcredentials.googleapis.com",
    "run.actions.githubusercontent.com",
]


def claims(token: str) -> dict[str, object]:
    """What a JWT says, after its signature was checked."""
    head, body, signature = token.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    RSA.public_key().verify(raw, f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {
        "alg": "RS256",
        "typ": "JWT",
        "kid": "k1",
    }
    found: dict[str, object] = json.loads(base64.urlsafe_b64decode(body + "=="))
    return found


def whole(heard: Heard) -> Said:
    """Google's token services and GitHub's, and a bucket."""
    form = {n: v[0] for n, v in parse_qs(heard.body.decode("latin-1")).items()}
    match heard.host, urlsplit(heard.path).path:
        case "oauth2.googleapis.com", "/token":
            if form["grant_type"] == "refresh_token":
                return reply({"access_token": "user-token", "expires_in": 3599})
            said = claims(form["assertion"])
            assert said["aud"] == "https://oauth2.googleapis.com/token"
            return reply({"access_token": "account-token", "expires_in": 3599})
        case "sts.googleapis.com", "/v1/token":
            assert form["subject_token"] == "workload.t0k"
            assert form["audience"] == WORKLOAD["audience"]
            return reply({"access_token": "federated-token", "expires_in": 3599})
        case "iamcredentials.googleapis.com", path:
            assert path == ACT_AS
            assert heard.headers["authorization"] == "Bearer federated-token"
            return reply({"accessToken": "acting-token", "expireTime": "2030-01-01T00:00:00Z"})
        case "run.actions.githubusercontent.com", _:
            assert heard.headers["authorization"] == "bearer job"
            return reply({"value": "workload.t0k"})
        case _:
            return storage(heard)


def named(folder: Path, monkeypatch: pytest.MonkeyPatch, content: object) -> None:
    (folder / "credentials.json").write_text(json.dumps(content))
    (folder / "token").write_text("workload.t0k\n")
    (folder / "token.json").write_text('{"jwt": "workload.t0k"}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "credentials.json"))


def source(folder: Path, kind: str) -> dict[str, object]:
    if kind == "file":
        return {"file": str(folder / "token")}
    if kind == "json":
        field = {"type": "json", "subject_token_field_name": "jwt"}
        return {"file": str(folder / "token.json"), "format": field}
    return {
        "url": "https://run.actions.githubusercontent.com/token?audience=x",
        "headers": {"Authorization": "bearer job"},
        "format": {"type": "json", "subject_token_field_name": "value"},
    }


@pytest.mark.parametrize(
    ("kind", "token", "hosts"),
    [
        ("account", "account-token", ["oauth2.googleapis.com"]),
        ("user", "user-token", ["oauth2.googleapis.com"]),
        ("file", "federated-token", ["sts.googleapis.com"]),
        ("json", "federated-token", ["sts.googleapis.com"]),
        ("github", "federated-token", ["run.actions.githubusercontent.com", "sts.googleapis.com"]),
        ("acting", "acting-token", ["sts.googleapis.com", "iamcredentials.googleapis.com"]),
    ],
)
def test_each_kind_of_credentials_becomes_a_token_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, token: str, hosts: list[str]
) -> None:
    content: dict[str, object] = SERVICE_ACCOUNT
    if kind == "user":
        keys = ("client_id", "client_secret", "refresh_token")
        content = {"type": "authorized_user", **dict.fromkeys(keys, "x")}
    elif kind != "account":
        content = {**WORKLOAD, "credential_source": source(tmp_path, kind)}
    if kind == "acting":
        content["credential_source"] = source(tmp_path, "file")
        url = f"https://iamcredentials.googleapis.com{ACT_AS}"
        content["service_account_impersonation_url"] = url
    named(tmp_path, monkeypatch, content)
    with vendor(tmp_path, HOSTS, whole) as cloud:
        store = open_store("gs://kyc-eu", Path(), ZONE)
        store.location()
        put(store, NAME, b"x")
        assert cloud.hosts() == [*hosts, STORAGE, STORAGE]
        assert {h.headers["authorization"] for h in cloud.seen[-2:]} == {f"Bearer {token}"}


def test_in_another_universe_the_signed_claim_is_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(tmp_path, monkeypatch, {**SERVICE_ACCOUNT, "universe_domain": "s3nsapis.fr"})
    path = str(tmp_path / "credentials.json")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("S3NS_APPLICATION_CREDENTIALS", path)
    with vendor(tmp_path, HOSTS, whole) as cloud:
        put(open_store("gs://kyc-fr", Path(), "s3ns:u-france-east1"), NAME, b"x")
        assert cloud.hosts() == ["storage.s3nsapis.fr"]
        said = claims(cloud.seen[0].headers["authorization"].removeprefix("Bearer "))
    assert said["iss"] == said["sub"] == SERVICE_ACCOUNT["client_email"]
    assert "aud" not in said


def other(**changes: object) -> dict[str, object]:
    return {**WORKLOAD, "credential_source": {"file": "/nowhere"}, **changes}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({**SERVICE_ACCOUNT, "universe_domain": "s3nsapis.fr"}, "credentials of 's3nsapis.fr'"),
        ({**SERVICE_ACCOUNT, "private_key": "S3CRET"}, "no RSA key"),
        ({"type": "service_account", "private_key": "S3CRET"}, "it has no client_email"),
        ({"type": "impersonated_service_account", "S3CRET": "S3CRET"}, "are not taken"),
        (["S3CRET"], "not an object of JSON"),
        (other(token_url="https://sts.evil.example/S3CRET"), "token_url is not https://sts."),
        (other(token_url="https://sts.s3nsapis.fr/v1/token"), "token_url is not https://sts."),
        (other(credential_source={"executable": {"command": "S3CRET"}}), "neither from a file"),
        (
            other(credential_source={"environment_id": "aws1", "url": "http://169.254.169.254/x"}),
            "169.254.169.254",
        ),
        (other(credential_source={"url": "https://evil.example/S3CRET"}), "evil.example"),
        (
            other(
                credential_source={"url": "https://actions.githubusercontent.com.evil.example/x"}
            ),
            "evil.example",
        ),
        (other(), "/nowhere"),
        (other(credential_source={}), "neither from a file"),
        (other(credential_source="S3CRET"), "no credential_source"),
    ],
)
def test_credentials_that_would_lead_elsewhere_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object, words: str
) -> None:
    """RULES 36: who answers for a credential is no matter of the environment, nor of that file."""
    named(tmp_path, monkeypatch, content)
    with vendor(tmp_path, [*HOSTS, "evil.example"], whole) as cloud:
        with pytest.raises(StoreError) as caught:
            open_store("gs://kyc-eu", Path(), ZONE).location()
        assert cloud.seen == []
    told = f"{caught.value.what} {caught.value.why} {caught.value.fix}"
    assert caught.value.reason == "credentials"
    assert words in told
    assert "S3CRET" not in told


def test_one_who_acts_as_another_asks_only_google(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = other(credential_source=source(tmp_path, "file"))
    content["service_account_impersonation_url"] = f"https://evil.example{ACT_AS}"
    named(tmp_path, monkeypatch, content)
    with vendor(tmp_path, [*HOSTS, "evil.example"], whole) as cloud:
        with pytest.raises(StoreError) as caught:
            open_store("gs://kyc-eu", Path(), ZONE).location()
        assert cloud.hosts() == ["sts.googleapis.com"]
    assert caught.value.reason == "credentials"


def test_rule_29_a_token_service_that_refuses_is_named_without_what_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(tmp_path, monkeypatch, other(credential_source=source(tmp_path, "file")))

    def refuse(heard: Heard) -> Said:
        return reply({"error": "invalid_grant", "error_description": "workload.t0k"}, 400)

    with vendor(tmp_path, HOSTS, refuse), pytest.raises(StoreError) as caught:
        open_store("gs://kyc-eu", Path(), ZONE).location()
    assert "400: invalid_grant" in str(caught.value.why)
    assert "t0k" not in f"{caught.value.what} {caught.value.why} {caught.value.details}"


def test_a_file_of_credentials_that_others_can_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(tmp_path, monkeypatch, other(credential_source=source(tmp_path, "file")))
    file = tmp_path / "credentials.json"
    for path in (tmp_path / "token", file):
        path.chmod(0o666)
        with pytest.raises(StoreError) as caught:
            open_store("gs://kyc-eu", Path(), ZONE).location()
        assert caught.value.reason == "credentials"
        assert "its mode is 0666" in str(caught.value.why)
        assert f"chmod 600 {path}" in str(caught.value.fix)
        path.chmod(0o600)


@pytest.mark.parametrize("value", ['{"type": "S3CRET"}', "/nowhere/S3.json", ""])
def test_a_variable_without_a_file_says_so(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", value)
    with pytest.raises(StoreError) as caught:
        open_store("gs://kyc-eu", Path(), ZONE).location()
    assert caught.value.reason == ("credentials" if value else "no-credentials")
    assert "S3CRET" not in f"{caught.value.what} {caught.value.why}"


# -- URIs


@pytest.mark.parametrize(
    ("text", "zone", "reason"),
    [
        ("gs://KYC", ZONE, "bad-uri"),
        ("gs://a", ZONE, "bad-uri"),
        ("gs://kyc..eu", ZONE, "bad-uri"),
        ("gs://kyc-eu/../x", ZONE, "bad-uri"),
        ("gs://kyc-eu?key=x", ZONE, "bad-uri"),
        ("gs://kyc-eu?project=name", ZONE, "bad-uri"),
        ("gs://kyc-eu?kms-key=k", ZONE, "bad-uri"),
        ("gs://kyc-eu?endpoint=http://gcs.example", ZONE, "bad-endpoint"),
        ("gs://kyc-eu?project=12345&project=12345", ZONE, "bad-uri"),
        ("gs://kyc-eu", None, "no-region"),
        ("gs://kyc-eu", "declared:dc1", "no-endpoint"),
        ("gs://kyc-eu", "aws:eu-central-1", "no-endpoint"),
    ],
)
def test_a_uri_that_names_no_bucket_of_the_zone_is_3(
    text: str, zone: str | None, reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(text, Path(), zone)
    assert caught.value.reason == reason
