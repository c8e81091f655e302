"""A service that stops midway to encrypt under its owner's key: the push ends with that, nothing
of it can be opened, and the next one leaves no chunk of the release under another key."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from sovgate.errors import StoreUnfit
from sovgate.formats import chunk
from sovgate.formats.transfer import chunk_name
from sovgate.records import Sized
from sovgate.stages.transfer import is_there, which_there
from sovgate.stores._api import Store
from sovgate.stores.registry import open_store
from tests import components, servers
from tests.crossing import Crossing, make_crossing, tree
from tests.faultproxy import FaultProxy, What, between

SIZE = 4096
FILES = {"w.bin": random.Random(1).randbytes(5 * SIZE), "config.json": b"{}"}
KEY = "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER = KEY.replace("1234abcd", "ffffffff")
SCOPE = "x-ms-encryption-scope"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("AZURE_STORAGE_KEY", servers.AZURE_KEY)


def crossing(folder: Path, uri: str, region: str) -> Crossing:
    made = make_crossing(folder, FILES)
    made.edit("store: eu-store", f'store: "{uri}"')
    made.edit("aws-eusc:eusc-de-east-1", region)
    return made


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[tuple[Crossing, FaultProxy, Callable[[], set[str]]]]:
    """A bucket whose default key is another than the one that each PUT asks for."""
    url = components.found(servers.moto)
    name, prefix, sdk = servers.bucket(url), secrets.token_hex(8), servers.sdk("s3", url)
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": OTHER}
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}
    sdk.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=rules)

    def under_another() -> set[str]:
        there = sdk.list_objects_v2(Bucket=name, Prefix=f"{prefix}/chunks/").get("Contents", [])
        heads = {one["Key"]: sdk.head_object(Bucket=name, Key=one["Key"]) for one in there}
        return {key for key, head in heads.items() if head.get("SSEKMSKeyId") != KEY}

    with between(url) as proxy:
        uri = f"s3://{name}/{prefix}?endpoint={proxy.url}&kms={quote(KEY, safe='')}"
        yield crossing(tmp_path / "project", uri, "aws:eu-central-1"), proxy, under_another


@pytest.fixture
def container(tmp_path: Path) -> Iterator[tuple[Crossing, FaultProxy, Callable[[], set[str]]]]:
    """Azurite, which takes any scope; that an object lies in it is said on the way."""
    url = components.found(servers.azurite)
    name = f"{servers.AZURE_ACCOUNT}/{servers.azure_container(url)}"
    outside: set[str] = set()

    def scope(method: str, path: str, what: What | None) -> list[tuple[str, str]]:
        if method == "PUT" and what is What.IGNORE_KEY:
            outside.add(path)
        return [] if path in outside else [(SCOPE, "eu-keys")]

    with between(url) as proxy:
        proxy.adds = scope
        uri = f"az://{name}/{secrets.token_hex(8)}?endpoint={proxy.url}&encryption-scope=eu-keys"
        made = crossing(tmp_path / "project", uri, "azure:germanywestcentral")
        yield made, proxy, lambda: set(outside)


@pytest.mark.parametrize("kind", ["bucket", "container"])
@pytest.mark.parametrize("after", [0, 2, 5])
def test_a_key_that_is_no_longer_used_ends_the_push_and_is_made_good_by_the_next(
    request: pytest.FixtureRequest, kind: str, after: int
) -> None:
    work, proxy, under_another = request.getfixturevalue(kind)
    left = after

    def one(method: str, path: str) -> What | None:
        nonlocal left
        if method == "PUT" and "/chunks/" in path:
            left -= 1
            if left == -1:
                return What.IGNORE_KEY
        return None

    proxy.chooses = one
    said = work.push(code=21)
    assert said["error"]["reason"] == "not-under-key"
    store = work_store(work)
    for prefix in ("releases/", "objects/"):
        assert list(store.list(prefix)) == [], "no key table, and no record"
    (spoilt,) = under_another()
    pushed = work.push()
    assert len(list(store.list("chunks/"))) == 7
    assert under_another() == {spoilt}
    work.pull(release=f"churn/1.0.0@sha256:{pushed['manifest']}")
    assert tree(work.base / "pulled") == FILES
    # What lies under another key is no chunk of the release: a sweep lists it.
    code, swept = work.run("audit", "sweep", "--zone", "eu", "--format", "json")
    assert code == 0, swept
    assert spoilt.rpartition("/")[2].partition("?")[0] in swept


def test_a_scope_that_was_switched_off_midway_is_told_and_nothing_is_half_there(
    container: tuple[Crossing, FaultProxy, Callable[[], set[str]]],
) -> None:
    """Azure then refuses to write into it, and to read what is there."""
    work, proxy, _ = container
    left = 3

    def off(method: str, path: str) -> What | None:
        nonlocal left
        left -= method == "PUT" and "/chunks/" in path
        return What.DENY if left < 0 else None

    proxy.chooses = off
    error = work.push(code=21)["error"]
    assert error["reason"] == "access-denied"
    assert "or the encryption scope 'eu-keys' is switched off" in error["why"]
    left = 1000
    store = work_store(work)
    for prefix in ("releases/", "objects/"):
        assert list(store.list(prefix)) == []
    pushed = work.push()
    work.pull(release=f"churn/1.0.0@sha256:{pushed['manifest']}")
    assert tree(work.base / "pulled") == FILES


def work_store(work: Crossing) -> Store:
    text = next(
        line.partition("store:")[2].strip().strip('"')
        for line in (work.base / "sovgate.yaml").read_text().splitlines()
        if "endpoint=" in line
    )
    region = "aws:eu-central-1" if text.startswith("s3:") else "azure:germanywestcentral"
    return open_store(text, Path(), region)


def test_a_chunk_under_another_key_is_not_there(
    bucket: tuple[Crossing, FaultProxy, Callable[[], set[str]]],
) -> None:
    """Killed between the write and its answer, a run did not say so: the next one asks."""
    work, proxy, _ = bucket
    data = b"a chunk"
    sized = Sized.of(data)
    store = work_store(work)
    proxy.chooses = lambda method, path: What.IGNORE_KEY if "/chunks/" in path else None
    with pytest.raises(StoreUnfit):
        store.put(chunk_name(sized.sha256), data, sha256=sized.sha256)
    with pytest.raises(StoreUnfit):
        is_there(store, chunk_name(sized.sha256), sized)
    assert which_there(store, [sized]) == (False,)
