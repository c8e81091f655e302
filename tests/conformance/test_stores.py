"""What every store adapter must do. Runs once for each entry of `stores.ADAPTERS`."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sovgate.errors import AlreadyExists, NotFound, StoreError, VerificationFailed
from sovgate.stores._api import Dated, Store
from tests.conformance.stores import ADAPTERS, put

BLOB = "blobs/sha256/" + "a" * 64


@pytest.fixture(params=sorted(ADAPTERS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return ADAPTERS[request.param](tmp_path)


def _sha(data: bytes | bytearray | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024 - 1, 1024 * 1024, 3 * 1024 * 1024 + 7])
def test_what_was_put_is_read_back(store: Store, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    put(store, BLOB, data)
    assert store.get(BLOB, most=size) == data
    with store.open(BLOB) as reader:
        assert reader.read() == data
    stat = store.stat(BLOB)
    assert stat is not None
    assert stat.size == size
    assert stat.sha256 in (None, _sha(data))
    assert list(store.list("blobs/")) == [BLOB]


@pytest.mark.parametrize("spare", [0, 5])
def test_a_buffer_goes_and_comes_back_whole(store: Store, spare: int) -> None:
    """A chunk has 16 MiB and 28 bytes, and the last of a file has fewer."""
    size = 16 * 1024 * 1024 + 28
    data = bytearray(hashlib.shake_128(b"chunk").digest(1021) * (size // 1021 + 1))[: size + spare]
    view = memoryview(data)[:size]
    name = f"chunks/sha256/{_sha(view)}"
    store.put(name, view, sha256=_sha(view))
    into = memoryview(bytearray(size + spare))[:size]
    assert store.get_into(name, into) == size
    assert into == view
    stat = store.stat(name)
    assert stat is not None
    assert (stat.size, stat.sha256 or _sha(view)) == (size, _sha(view))


@pytest.mark.parametrize("size", [0, 4, 6, 4096])
def test_an_object_of_another_size_than_the_buffer_says_so(store: Store, size: int) -> None:
    put(store, BLOB, b"12345")
    assert store.get_into(BLOB, memoryview(bytearray(size))) == 5
    exact = bytearray(5)
    assert store.get_into(BLOB, memoryview(exact)) == 5
    assert exact == b"12345"


def test_an_empty_object_fills_an_empty_buffer(store: Store) -> None:
    put(store, BLOB, b"")
    assert store.get_into(BLOB, memoryview(bytearray(0))) == 0


def test_of_a_buffer_that_part_is_sent_which_was_given(store: Store) -> None:
    data = memoryview(bytearray(b"these bytes and more"))[:11]
    store.put(BLOB, data, sha256=_sha(data))
    with pytest.raises(AlreadyExists):
        store.put(BLOB, data, sha256=_sha(data))
    assert store.get(BLOB, most=11) == b"these bytes"


def test_an_empty_store_has_nothing(store: Store) -> None:
    assert store.stat(BLOB) is None
    assert list(store.list("blobs/sha256/")) == []
    with pytest.raises(NotFound):
        store.get(BLOB, most=10)
    with pytest.raises(NotFound):
        store.open(BLOB)
    with pytest.raises(NotFound):
        store.get_into(BLOB, memoryview(bytearray(1)))


def test_rule_13_a_name_is_written_once_and_the_old_bytes_stay(store: Store) -> None:
    put(store, "releases/m/1.json", b"first")
    with pytest.raises(AlreadyExists):
        put(store, "releases/m/1.json", b"second")
    with pytest.raises(AlreadyExists):
        put(store, "releases/m/1.json", b"first")
    assert store.get("releases/m/1.json", most=100) == b"first"


def test_rule_13_create_only_is_probed_and_the_probe_leaves_no_object(store: Store) -> None:
    store.probe()
    store.probe()
    for prefix in ("blobs/", "releases/", "sequences/", "audit/", "receipts/"):
        assert list(store.list(prefix)) == []


@pytest.mark.parametrize("given", [b"other", b"", bytes(3_000_000)])
@pytest.mark.parametrize("name", sorted(set(ADAPTERS) - {"file", "gs-fake", "az-azurite"}))
def test_bytes_that_arrive_changed_never_become_visible(
    name: str, tmp_path: Path, given: bytes
) -> None:
    """Between a caller's memory and a folder there is nothing that could change them, and the sum
    that Google and Azure compare is made of that memory: what changes behind it their own tests
    try."""
    store = ADAPTERS[name](tmp_path)
    with pytest.raises(StoreError):
        store.put(BLOB, given, sha256=_sha(b"what was sent"))
    assert store.stat(BLOB) is None
    assert list(store.list("blobs/")) == []
    put(store, BLOB, b"a later write still works")


def test_a_read_is_bounded(store: Store) -> None:
    put(store, BLOB, b"12345678")
    with pytest.raises(VerificationFailed) as caught:
        store.get(BLOB, most=7)
    assert caught.value.reason == "limits"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../outside",
        "blobs/../../outside",
        "blobs//x",
        "blobs/./x",
        "blobs/",
        ".incoming/x",
        "blobs/a\\b",
        "blobs/a:b",
        "blobs/a\nb",
        "blobs/a\x00b",
        "blobs/Ä",
        "Blobs/x",
        "blobs/" + "x" * 4096,
        "/".join("abcdefghijkl"),
    ],
)
def test_rule_4_names_outside_the_layout_are_refused(store: Store, name: str) -> None:
    for attempt in (
        lambda: put(store, name, b"x"),
        lambda: store.get(name, most=1),
        lambda: store.open(name),
        lambda: store.get_into(name, memoryview(bytearray(1))),
        lambda: store.stat(name),
    ):
        with pytest.raises(VerificationFailed) as caught:
            attempt()
        assert caught.value.reason == "unsafe-name"


def test_a_listing_is_complete_sorted_and_holds_only_its_prefix(store: Store) -> None:
    names = [f"audit/{run}/{index:04}.json" for run in ("b1", "a1", "a-1") for index in (2, 0, 1)]
    for name in [*names, "releases/m/1.json", "auditor/x.json"]:
        put(store, name, name.encode())
    assert list(store.list("audit/")) == sorted(names)
    assert list(store.list("audit/a1/")) == [f"audit/a1/{index:04}.json" for index in range(3)]
    assert list(store.list("audit/none/")) == []


#: moto looks whether a name is taken, and writes later: two may both be told that it was not. A
#: registry whose tags move cannot tell: there a release needs its pin.
ATOMIC = sorted(set(ADAPTERS) - {"s3-moto", "oci-registry"})


@pytest.mark.parametrize("store", ATOMIC, indirect=True)
def test_of_many_writers_of_one_name_exactly_one_wins(store: Store) -> None:
    outcomes: list[tuple[int, bool]] = []

    def write(number: int) -> None:
        try:
            put(store, "releases/m/1.json", str(number).encode() * 1000)
            outcomes.append((number, True))
        except AlreadyExists:
            outcomes.append((number, False))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for number, won in outcomes if won]
    assert len(outcomes) == 10
    assert len(winners) == 1
    assert store.get("releases/m/1.json", most=10_000) == str(winners[0]).encode() * 1000


def test_the_uri_says_which_store_it_is(store: Store) -> None:
    assert ":" in store.uri
    assert store.uri in repr(store)


@pytest.mark.parametrize("name", [name for name in sorted(ADAPTERS) if name[:4] != "oci-"])
def test_a_listing_tells_sizes_and_times_of_each_object(name: str, tmp_path: Path) -> None:
    """A power that all but registries have; `audit sweep` asks for it."""
    store = ADAPTERS[name](tmp_path)
    assert isinstance(store, Dated)
    for number, size in enumerate((0, 7, 300)):
        put(store, f"chunks/sha256/{number:064x}", bytes(size))
    put(store, "objects/sha256/" + "a" * 64, b"elsewhere")
    found = list(store.entries("chunks/"))
    assert [one.name for one in found] == list(store.list("chunks/"))
    assert [one.size for one in found] == [0, 7, 300]
    now = datetime.now(UTC)
    for one in found:
        assert one.written is not None
        assert abs(now - one.written) < timedelta(days=1)
