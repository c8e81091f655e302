"""lock= against real servers: a release is locked whole, and what no record names is not."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import ConfigError, ExitCode, StoreError, StoreUnfit
from sovgate.formats.transfer import chunk_name, object_name, record_name
from sovgate.pipeline.look.diagnosis import SKIPPED, WARN, Diagnosis, zones
from sovgate.stages.transfer import put_chunk
from sovgate.stores._api import Keeping
from sovgate.stores.registry import open_store
from sovgate.stores.s3 import S3Store
from sovgate.stores.s3.lock import Retention, retention
from tests import components, servers
from tests.conformance.stores import put
from tests.faultproxy import What, between
from tests.hostilecloud import Answer, Asked, serving, xml
from tests.movement import Shipment

CENTRAL = "aws:eu-central-1"
SERVERS = [servers.ministack, servers.seaweedfs]


def bucket(url: str) -> tuple[str, Any]:
    """A new bucket with object lock enabled, and an SDK's client for it."""
    sdk, name = servers.sdk("s3", url), f"locked-{secrets.token_hex(8)}"
    where = {"LocationConstraint": "eu-central-1"}
    sdk.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True, CreateBucketConfiguration=where)
    return name, sdk


def at(url: str, name: str, lock: str = "governance:90d") -> S3Store:
    store = open_store(f"s3://{name}/m?endpoint={url}&lock={lock}", Path(), CENTRAL)
    assert isinstance(store, S3Store)
    return store


@pytest.mark.parametrize("server", SERVERS)
def test_a_release_is_locked_whole_and_what_no_record_names_is_not(
    server: Callable[[], str], tmp_path: Path
) -> None:
    url = components.found(server)
    name, sdk = bucket(url)
    store, ship = at(url, name), Shipment(tmp_path)
    assert isinstance(store, Keeping)
    store.probe()
    left = b"a chunk of a push that broke off"
    put_chunk(store, hashlib.sha256(left).hexdigest(), left)
    transfer = ship.publish(store).record.transfer
    (part,) = transfer.parts
    named = [object_name(each.sha256) for each in (transfer.manifest, part.list, part.keytable)]
    named += [*map(chunk_name, ship.chunks), record_name(transfer.release)]
    heads = [sdk.head_object(Bucket=name, Key=f"m/{each}") for each in named]
    assert {head["ObjectLockMode"] for head in heads} == {"GOVERNANCE"}
    (until,) = {head["ObjectLockRetainUntilDate"] for head in heads}
    assert timedelta(days=89) < until - datetime.now(UTC) <= timedelta(days=90)
    free = chunk_name(hashlib.sha256(left).hexdigest())
    assert "ObjectLockMode" not in sdk.head_object(Bucket=name, Key=f"m/{free}")


def test_a_record_goes_with_its_lock_and_the_name_of_its_sum(moto: str) -> None:
    """moto demands it as S3's own description does."""
    name, sdk = bucket(moto)
    store = at(moto, name, "compliance:7y")
    put(store, "releases/m/1.json", b"the record")
    put(store, "objects/sha256/" + "a" * 64, b"a document")
    head = sdk.head_object(Bucket=name, Key="m/releases/m/1.json")
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert head["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=7 * 365 - 1)
    other = sdk.head_object(Bucket=name, Key="m/objects/sha256/" + "a" * 64)
    assert "ObjectLockMode" not in other


def test_a_stronger_lock_stays(ministack: str) -> None:
    name, sdk = bucket(ministack)
    put(at(ministack, name), "a/b", b"x")
    at(ministack, name, "compliance:2y").keep("a/b")
    at(ministack, name, "compliance:90d").keep("a/b")
    at(ministack, name, "governance:90d").keep("a/b")
    head = sdk.head_object(Bucket=name, Key="m/a/b")
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert head["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=700)


@pytest.mark.parametrize("server", SERVERS)
def test_a_bucket_without_object_lock_is_21_before_anything_is_sent(
    server: Callable[[], str],
) -> None:
    url = components.found(server)
    store = at(url, servers.bucket(url))
    with pytest.raises(StoreError) as caught:
        store.probe()
    assert (caught.value.reason, caught.value.exit_code) == ("no-object-lock", ExitCode.STORE)
    put(store, "a/b", b"x")
    with pytest.raises(StoreError) as caught:
        store.keep("a/b")
    assert caught.value.reason == "no-object-lock"


def test_a_service_that_only_says_that_it_locks_is_21() -> None:
    with serving(lambda _: Answer()) as cloud, pytest.raises(StoreUnfit) as caught:
        at(cloud.url, "kyc-eu").keep("a/b")
    assert (caught.value.reason, caught.value.exit_code) == ("no-object-lock", ExitCode.STORE)
    assert "s3:GetObjectRetention" in str(caught.value.fix)


def test_rights_that_are_missing_are_named(ministack: str) -> None:
    name, _ = bucket(ministack)
    with between(ministack) as proxy:
        store = at(proxy.url, name)
        put(store, "a/b", b"x")
        proxy.fault(What.DENY, "PUT", "retention", 100)
        with pytest.raises(StoreError) as caught:
            store.keep("a/b")
        assert "s3:PutObjectRetention on arn:aws:s3:::" in str(caught.value.why)
        proxy.fault(What.DENY, "GET", "object-lock", 100)
        with pytest.raises(StoreError) as caught:
            at(proxy.url, name).probe()
        assert f"s3:GetBucketObjectLockConfiguration on arn:aws:s3:::{name};" in str(
            caught.value.why
        )
        proxy.faults.clear()
        proxy.fault(What.DENY, "PUT", "releases", 100)
        with pytest.raises(StoreError) as caught:
            put(store, "releases/m/1.json", b"x")
        assert "s3:PutObjectRetention" in str(caught.value.why)


def test_one_that_is_not_there_cannot_be_kept(ministack: str) -> None:
    name, _ = bucket(ministack)
    with pytest.raises(StoreError):
        at(ministack, name).keep("chunks/sha256/" + "a" * 64)


# -- what the bucket does by itself


def said(store: object) -> list[tuple[str, str, str | None]]:
    found = Diagnosis(None, offline=False)
    zones._locked_on_arrival(found, "eu: store", store)  # type: ignore[arg-type]
    return [(check.status, check.detail, check.fix) for check in found.checks]


@pytest.mark.parametrize("server", SERVERS)
def test_doctor_names_a_bucket_that_locks_whatever_arrives(server: Callable[[], str]) -> None:
    url = components.found(server)
    name, sdk = bucket(url)
    plain = open_store(f"s3://{name}?endpoint={url}", Path(), CENTRAL)
    assert said(plain) == []
    for time, told in (({"Days": 3}, "COMPLIANCE, 3 days)"), ({"Years": 1}, "COMPLIANCE, 1 year)")):
        rule = {"DefaultRetention": {"Mode": "COMPLIANCE", **time}}
        sdk.put_object_lock_configuration(
            Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
        )
        ((status, detail, fix),) = said(plain)
        assert status == WARN
        assert told in detail
        assert "lock=" in str(fix)


def test_doctor_says_nothing_of_stores_that_lock_nothing(seaweedfs: str, tmp_path: Path) -> None:
    assert said(open_store("store", tmp_path)) == []
    text = f"s3://{servers.bucket(seaweedfs)}?endpoint={seaweedfs}"
    assert said(open_store(text, Path(), CENTRAL)) == []


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "AccessDenied", [SKIPPED]),
        (501, "NotImplemented", []),
        (405, "MethodNotAllowed", []),
        (404, "ObjectLockConfigurationNotFoundError", []),
        (404, "NoSuchBucket", [SKIPPED]),
    ],
)
def test_doctor_does_not_fail_where_that_cannot_be_asked(
    status: int, code: str, told: list[str]
) -> None:
    def answer(_: Asked) -> Answer:
        return xml(f"<Error><Code>{code}</Code></Error>", status)

    with serving(answer) as cloud:
        store = open_store(f"s3://kyc-eu?endpoint={cloud.url}", Path(), CENTRAL)
        assert [line[0] for line in said(store)] == told


# -- how it is written


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("governance:1d", Retention(mode="GOVERNANCE", days=1)),
        ("compliance:365d", Retention(mode="COMPLIANCE", days=365)),
        ("compliance:7y", Retention(mode="COMPLIANCE", days=7 * 365)),
        ("governance:100y", Retention(mode="GOVERNANCE", days=36_500)),
    ],
)
def test_a_lock_is_a_mode_and_a_time(text: str, meant: Retention) -> None:
    assert retention(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7y",
        "compliance",
        "legal:7y",
        "COMPLIANCE:7y",
        "compliance:0d",
        "compliance:101y",
        "compliance:7",
        "compliance:7m",
        "compliance:-7d",
        "compliance:99999d",
        "compliance:7y\n",
    ],
)
def test_what_is_no_lock_is_3(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        retention(text)
    assert caught.value.reason == "bad-uri"
    assert "lock=governance:90d" in str(caught.value.fix)
