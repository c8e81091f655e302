"""A registry behind a connection that breaks, changes, doubles: no wrong byte is taken for right,
and a clean run afterwards finds or finishes everything."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sovgate.errors import AlreadyExists, SovgateError, StoreError
from sovgate.records import Sized
from sovgate.stores._api import Held, Store
from sovgate.stores.oci import OciStore
from sovgate.stores.registry import open_store
from tests.conformance.stores import put
from tests.faultproxy import FaultProxy, What, between
from tests.ociregistry import Registry, serving

CHUNK = b"ciphertext" * 5000
SHA = hashlib.sha256(CHUNK).hexdigest()
RECORD = "releases/churn/1.0.0.json"
NAMES = (
    f"chunks/sha256/{SHA}",
    f"objects/sha256/{SHA}",
    RECORD,
    f"receipts/churn/1.0.0/{SHA}.json",
)


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with serving(Registry()) as registry, between(registry.url) as made:
        yield made


def opened(proxy: FaultProxy) -> OciStore:
    store = open_store(f"oci://127.0.0.1:{proxy.server_port}/churn", Path())
    assert isinstance(store, OciStore)
    return store


def write(store: OciStore) -> None:
    """All that a release has, each as `put` and what is above it do: there already is well."""
    for name in NAMES[:2]:
        _put(store, name)
    try:
        held = Held(chunks=[Sized.of(CHUNK)], objects=[Sized.of(CHUNK)], evidence=[Sized.of(CHUNK)])
        store.put_release(RECORD, CHUNK, held)
    except AlreadyExists:
        assert store.get(RECORD, most=len(CHUNK)) == CHUNK
    _put(store, NAMES[3])


def _put(store: Store, name: str) -> None:
    try:
        put(store, name, CHUNK)
    except AlreadyExists:
        assert store.get(name, most=len(CHUNK)) == CHUNK


@pytest.mark.parametrize(
    ("what", "method", "part"),
    [
        (What.LOSE_REQUEST, "PUT", "/uploads/"),
        (What.BUSY, "POST", "/uploads/"),
        (What.LOSE_REPLY, "POST", "/uploads/"),
        (What.LOSE_REPLY, "PUT", "/uploads/"),
        (What.LOSE_REPLY, "PUT", "/manifests/sha256:"),
        (What.LOSE_REPLY, "PUT", "/manifests/churn-V1.0.0"),
        (What.LOSE_REPLY, "HEAD", "/blobs/"),
        (What.TWICE, "PUT", "/uploads/"),
        (What.TWICE, "PUT", "/manifests/"),
        (What.TWICE, "PUT", "/manifests/churn-V1.0.0"),
    ],
)
def test_what_breaks_once_is_done_again(
    proxy: FaultProxy, what: What, method: str, part: str
) -> None:
    fault = proxy.fault(what, method, part)
    write(opened(proxy))
    assert fault.struck == 1
    after = opened(proxy)
    for name in NAMES:
        assert after.get(name, most=len(CHUNK)) == CHUNK, name
    assert list(after.list("releases/")) == [RECORD]
    assert list(after.list("receipts/")) == [NAMES[3]]


@pytest.mark.parametrize("what", [What.FLIP_REQUEST, What.DENY])
@pytest.mark.parametrize("part", ["/uploads/", "/manifests/"])
def test_what_was_changed_or_refused_is_told_and_done_by_the_next_run(
    proxy: FaultProxy, what: What, part: str
) -> None:
    proxy.fault(what, "PUT", part)
    with pytest.raises(StoreError):
        write(opened(proxy))
    assert list(opened(proxy).list("releases/")) == []
    write(opened(proxy))
    for name in NAMES:
        assert opened(proxy).get(name, most=len(CHUNK)) == CHUNK, name


@pytest.mark.parametrize("what", [What.CUT_REPLY, What.FLIP_REPLY, What.LOSE_REPLY, What.TRICKLE])
@pytest.mark.parametrize("part", ["/blobs/", "/manifests/"])
@pytest.mark.parametrize("name", [NAMES[0], RECORD])
def test_no_wrong_byte_is_read(proxy: FaultProxy, what: What, part: str, name: str) -> None:
    write(opened(proxy))
    proxy.fault(what, "GET", part)
    try:
        found = opened(proxy).get(name, most=len(CHUNK))
    except SovgateError as error:
        assert int(error.exit_code) in (11, 21)
    else:
        assert found == CHUNK
    assert opened(proxy).get(name, most=len(CHUNK)) == CHUNK
