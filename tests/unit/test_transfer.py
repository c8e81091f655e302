"""A release through a store: whole or not at all, and nothing in the store is believed."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import (
    Inconclusive,
    NotFound,
    PolicyDenied,
    ResidencyMismatch,
    SovgateError,
    StoreError,
    VerificationFailed,
)
from sovgate.formats.receipt import Check, Receipt
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.formats.transfer import Claim, chunk_name, object_name, record_name, sequence_name
from sovgate.records import Release, Sized
from sovgate.stages.seal import seal
from sovgate.stages.transfer import (
    carry,
    claim,
    fetch_documents,
    find_receipt,
    get_chunk,
    get_object,
    locate,
    newer,
    open_receipt,
    predecessor,
    put_chunk,
    put_receipt,
    receipt_statement,
)
from sovgate.stages.transfer import sequence as sequences
from sovgate.stages.transfer.sequence import MAX_NEWER
from sovgate.stores._api import Location, Store
from sovgate.stores.registry import open_store
from tests.conformance.stores import Fault, Faulty, put
from tests.movement import Shipment, make_signer, trusting


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store("eu-store", tmp_path)


@pytest.fixture
def ship(tmp_path: Path) -> Shipment:
    return Shipment(tmp_path)


def objects(tmp: Path) -> list[Path]:
    return sorted(p for p in (tmp / "eu-store").rglob("*") if p.is_file())


def visible(store: Store) -> list[str]:
    return list(store.list("releases/"))


def test_what_was_published_is_fetched_and_opens(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    done = ship.publish(store)
    assert not done.already
    assert done.written.skipped == 0
    record = ship.fetch(store)
    assert record.sha256 == done.record.sha256
    assert record.transfer.sequence == 1
    assert record.transfer.predecessor is None
    fetched = fetch_documents(store, record.transfer)
    assert fetched.signature == ship.signature
    assert [ref.role for ref, _ in fetched.evidence] == ["provenance", "decision"]
    into = tmp_path / "into"
    into.mkdir()
    model = ship.open(store, record, into)
    assert (model / "sub" / "b.bin").read_bytes() == b"weights"


def test_no_plaintext_is_in_the_store(tmp_path: Path, store: Store) -> None:
    ship = Shipment(tmp_path, content=b"SECRET WEIGHTS " * 1000)
    ship.publish(store)
    for path in objects(tmp_path):
        assert b"SECRET WEIGHTS" not in path.read_bytes()


def test_a_second_push_of_the_same_is_success_and_changes_nothing(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    first = ship.publish(store)
    before = {path: path.read_bytes() for path in objects(tmp_path) if "releases" in str(path)}
    ship.seal(tmp_path, b"weights")  # encrypted anew, with other keys
    again = ship.publish(store)
    assert again.already
    assert again.record.sha256 == first.record.sha256
    assert {p: p.read_bytes() for p in objects(tmp_path) if "releases" in str(p)} == before


def test_rule_13_another_release_under_one_name_is_21_and_the_old_bytes_stay(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    ship.publish(store)
    path = tmp_path / "eu-store" / record_name(ship.release)
    before = path.read_bytes()
    ship.seal(tmp_path, b"other weights")
    with pytest.raises(StoreError) as caught:
        ship.publish(store)
    assert caught.value.reason == "release-differs"
    assert caught.value.exit_code == 21
    assert path.read_bytes() == before


def test_rule_13_the_same_release_under_another_policy_is_21(store: Store, ship: Shipment) -> None:
    ship.publish(store)
    with pytest.raises(StoreError) as caught:
        ship.publish(store, draft=ship.draft(policy="f" * 64))
    assert caught.value.reason == "release-differs"


def test_rule_13_a_record_that_does_not_verify_is_no_success(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    stranger = Shipment(tmp_path / "stranger")
    stranger.publish(store)
    with pytest.raises(SovgateError) as caught:
        ship.publish(store)
    assert caught.value.exit_code in (11, 21)


@pytest.mark.parametrize("what", ["chunk", "keytable", "signature", "evidence"])
def test_a_release_that_lost_an_object_is_not_called_pushed(
    store: Store, ship: Shipment, tmp_path: Path, what: str
) -> None:
    told = ship.publish(store).record.transfer
    names = {
        "chunk": chunk_name(next(iter(ship.chunks))),
        "keytable": object_name(told.parts[0].keytable.sha256),
        "signature": object_name(told.signature.sha256),
        "evidence": object_name(told.evidence[0].sha256),
    }
    path = tmp_path / "eu-store" / names[what]
    data = path.read_bytes()
    path.unlink()
    ship.draft = functools.partial(ship.draft, signature=b"", evidence=())  # type: ignore[method-assign]
    for left in (None, data[:-1]):
        if left is not None:
            path.write_bytes(left)
        ship.seal(tmp_path, b"weights")
        with pytest.raises(StoreError) as caught:
            ship.publish(store)
        assert caught.value.reason == "release-incomplete"


def test_nothing_is_visible_if_policy_says_no_at_the_end(store: Store, ship: Shipment) -> None:
    def denied() -> Any:
        raise PolicyDenied("the store moved meanwhile")

    with pytest.raises(PolicyDenied):
        ship.publish(store, recheck=denied)
    assert visible(store) == []
    ship.publish(store)
    assert visible(store) == [record_name(ship.release)]


@pytest.mark.parametrize("fault", [Fault.LOST_REPLY, Fault.FAILED_WRITE])
@pytest.mark.parametrize("prefix", ["chunks/", "objects/", "sequences/", "releases/"])
def test_a_fault_at_any_write_is_survived_or_leaves_nothing_visible(
    store: Store, ship: Shipment, fault: Fault, prefix: str
) -> None:
    faulty = Faulty(store, fault, hits=lambda name: name.startswith(prefix))
    if fault is Fault.LOST_REPLY:
        done = ship.publish(faulty)
        assert done.already is (prefix == "releases/") or not done.already
    else:
        with pytest.raises(StoreError):
            ship.publish(faulty)
        assert visible(store) == []
        ship.publish(store)
    assert ship.fetch(store).transfer.sequence == 1
    fetch_documents(store, ship.fetch(store).transfer)


def test_every_write_may_fail_in_turn_and_the_next_run_finishes(
    ship: Shipment, tmp_path: Path
) -> None:
    for step in range(100):
        store = open_store(f"store-{step}", tmp_path)
        writes = iter(range(1000))
        faulty = Faulty(store, Fault.FAILED_WRITE, hits=lambda _n, w=writes, s=step: next(w) == s)  # type: ignore[misc]
        try:
            ship.publish(faulty)
        except StoreError:
            assert visible(store) == []
            assert not ship.publish(store).already
            assert ship.fetch(store).transfer.sequence == 1
            continue
        break
    # a chunk, the claim, list, signature, manifest, two documents, key table, the record
    assert step == 9


def chunk_of(ship: Shipment) -> tuple[str, Sized, bytes]:
    sha256, data = next(iter(ship.chunks.items()))
    return chunk_name(sha256), Sized(sha256=sha256, size=len(data)), data


def filled(data: bytes) -> Callable[[str, memoryview], None]:
    def fill(_: str, into: memoryview) -> None:
        into[:] = data

    return fill


def test_rule_14_a_chunk_is_passed_over_only_after_it_was_read_again(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    name, sized, data = chunk_of(ship)
    done: list[int] = []
    made = carry(filled(data), store, [sized], advance=done.append)
    assert (made.objects, made.bytes, made.skipped) == (1, sized.size, 0)
    again = carry(_never, store, [sized], advance=done.append)
    assert (again.objects, again.bytes, again.skipped) == (0, 0, 1)
    assert done == [len(b"weights")] * 2
    path = tmp_path / "eu-store" / name
    for wrong in (data[:-1], b"\x00" * len(data), data + b"\x00"):
        path.unlink()
        path.write_bytes(wrong)
        for attempt in (
            lambda: carry(_never, store, [sized]),
            lambda: put_chunk(store, sized.sha256, data),
        ):
            with pytest.raises(StoreError) as caught:
                attempt()
            assert caught.value.reason == "damaged-object"
        assert path.read_bytes() == wrong


def _never(*_: Any) -> Any:
    raise AssertionError("it was to be read again, not written")


def test_a_chunk_that_is_not_what_its_name_says_is_not_carried(
    store: Store, ship: Shipment
) -> None:
    name, sized, data = chunk_of(ship)
    with pytest.raises(VerificationFailed) as caught:
        carry(filled(data[:-1] + b"?"), store, [sized])
    assert caught.value.reason == "damaged"
    assert store.stat(name) is None


def test_rule_14_a_provider_that_keeps_a_digest_need_not_be_read(
    store: Store, ship: Shipment
) -> None:
    name, sized, data = chunk_of(ship)
    put(store, name, data)

    class Digests(Faulty):
        def stat(self, name: str) -> Any:
            found = self.inner.stat(name)
            return found and dataclasses.replace(found, sha256=name.rsplit("/", 1)[1])

        def open(self, name: str) -> Any:
            raise AssertionError("no need to read")

    digests = Digests(store, Fault.LOST_REPLY, times=0)
    assert carry(_never, digests, [sized]).skipped == 1
    assert not put_chunk(digests, sized.sha256, data)


def test_rule_44_no_list_and_no_key_table_is_there_before_the_last_word(
    store: Store, ship: Shipment
) -> None:
    """And the parts are not even made before it: whoever denies has thrown the keys away."""
    seen: list[str] = []

    class Told(Faulty):
        def put(self, name: str, *words: Any, **more: Any) -> None:
            seen.append(name)
            self.inner.put(name, *words, **more)

    def asked() -> Any:
        seen.append("asked")
        return ship.final()

    told = Told(store, Fault.LOST_REPLY, times=0)
    transfer = ship.publish(told, recheck=asked).record.transfer
    at = seen.index("asked")
    (part,) = transfer.parts
    table, chunks = object_name(part.keytable.sha256), [chunk_name(one) for one in ship.chunks]
    assert seen[: len(chunks)] == chunks
    assert {name.split("/")[0] for name in seen[len(chunks) : at]} == {"sequences"}
    assert seen[at + 1] == object_name(part.list.sha256)
    assert seen[-2:] == [table, record_name(ship.release)]


class Kept(Faulty):
    """A store that can protect what it holds; `seen` tells the order of what was asked of it."""

    keeps = True

    def __init__(self, inner: Store) -> None:
        super().__init__(inner, Fault.LOST_REPLY, times=0)
        self.seen: list[str] = []

    def put(self, name: str, *words: Any, **more: Any) -> None:
        self.inner.put(name, *words, **more)
        self.seen.append(f"put {name}")

    def keep(self, name: str) -> None:
        assert self.inner.stat(name) is not None
        self.seen.append(f"keep {name}")

    def locked_on_arrival(self) -> str | None:
        return None


def test_all_that_a_record_names_is_protected_just_before_it_is_written(
    store: Store, ship: Shipment
) -> None:
    kept = Kept(store)
    transfer = ship.publish(kept).record.transfer
    named = [transfer.manifest, transfer.signature, *transfer.evidence]
    named += [item for part in transfer.parts for item in (part.list, part.keytable)]
    names = {object_name(item.sha256) for item in named} | set(map(chunk_name, ship.chunks))
    *before, record = kept.seen
    protected = [what.removeprefix("keep ") for what in before if what.startswith("keep ")]
    assert record == f"put {record_name(ship.release)}"
    assert len(protected) == len(set(protected))
    assert set(protected) == names
    # Nothing is protected while it is still open whether a record will name it.
    first = next(at for at, what in enumerate(before) if what.startswith("keep "))
    assert all(what.startswith("keep ") for what in before[first:])


@pytest.mark.parametrize("keeps", [False, True])
def test_what_no_record_will_name_is_not_protected(
    store: Store, ship: Shipment, keeps: bool
) -> None:
    def denied() -> Any:
        raise PolicyDenied("no")

    kept = Kept(store)
    kept.keeps = keeps
    with pytest.raises(PolicyDenied):
        ship.publish(kept, recheck=denied)
    assert not [what for what in kept.seen if what.startswith("keep ")]
    if not keeps:
        ship.publish(kept)
        assert not [what for what in kept.seen if what.startswith("keep ")]


def test_a_release_that_cannot_be_protected_is_not_published(store: Store, ship: Shipment) -> None:
    class Cannot(Kept):
        def keep(self, name: str) -> None:
            super().keep(name)
            raise StoreError("it has no lock", reason="no-object-lock")

    kept = Cannot(store)
    with pytest.raises(StoreError, match="no lock"):
        ship.publish(kept)
    assert visible(store) == []
    assert len([what for what in kept.seen if what.startswith("keep ")]) == 1


# -- sequence numbers


def test_numbers_go_up_and_each_release_names_the_one_before(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    first = ship.publish(store).record.transfer
    ship.release = Release(model="churn", version="1.1.0")
    ship.seal(tmp_path, b"better weights")
    second = ship.publish(store).record.transfer
    assert (first.sequence, second.sequence) == (1, 2)
    assert second.predecessor is not None
    assert str(second.predecessor.release) == "churn/1.0.0"
    assert second.predecessor.manifest == first.manifest.sha256
    assert ship.fetch(store, "churn/1.1.0").transfer == second
    assert newer(store, "churn", 1) == (ship.release,)
    assert newer(store, "churn", 2) == ()


def test_a_store_full_of_claims_does_not_hold_up_a_pull(
    store: Store, ship: Shipment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims are not signed: whoever can write to the store can make any number of them."""
    ship.publish(store)
    for number in range(2, 102):
        planted = Claim(
            release=Release(model="churn", version=f"9.{number}"),
            manifest="0" * 64,
            sequence=number,
        )
        put(store, sequence_name("churn", number), planted.emit())
    put(store, sequence_name("churn", 102), b"damaged")
    get, read = type(store).get, []
    monkeypatch.setattr(
        type(store), "get", lambda self, name, **more: read.append(name) or get(self, name, **more)
    )
    assert newer(store, "churn", 1) == ()
    assert len(read) == MAX_NEWER


def test_gaps_are_legal_and_no_predecessor(store: Store, ship: Shipment) -> None:
    for version in ("0.1", "0.2"):
        claim(store, Release(model="churn", version=version), "9" * 64)
    done = ship.publish(store)
    assert done.record.transfer.sequence == 3
    assert done.record.transfer.predecessor is None
    ship.fetch(store)


def test_a_claim_is_found_again_and_another_content_gets_another(store: Store) -> None:
    release = Release(model="churn", version="1.0.0")
    assert claim(store, release, "1" * 64) == 1
    assert claim(store, release, "1" * 64) == 1
    assert claim(store, release, "2" * 64) == 2
    assert claim(store, release, "1" * 64) == 1


def next_one(ship: Shipment, tmp_path: Path, version: str) -> None:
    ship.release = Release(model="churn", version=version)
    ship.seal(tmp_path, version.encode())


def plant(store: Store, number: int, version: str, manifest: str = "0" * 64) -> None:
    """What anybody can do who writes to the store."""
    release = Release(model="churn", version=version)
    data = Claim(release=release, manifest=manifest, sequence=number).emit()
    put(store, sequence_name("churn", number), data)


def test_rule_37_a_claim_below_a_signed_record_counts_for_nothing(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    """Whoever claims a low number for the next release would make it the older one."""
    plant(store, 50, "0.0.1")
    ship.publish(store)
    next_one(ship, tmp_path, "1.1.0")
    plant(store, 10, "1.1.0", ship.manifest.digest)
    done = ship.publish(store).record.transfer
    assert done.sequence == 52
    assert str(done.predecessor.release) == "churn/1.0.0"  # type: ignore[union-attr]
    ship.fetch(store, "churn/1.1.0")
    # Nor is it one that a pull names as newer.
    plant(store, 99, "1.0.0")
    assert newer(store, "churn", 52, ship.trusted) == ()
    assert newer(store, "churn", 51, ship.trusted) == (ship.release,)


def test_rule_37_a_claim_above_the_record_is_kept_and_no_number_leaps(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    plant(store, 7, "1.0.0", ship.manifest.digest)
    assert ship.publish(store).record.transfer.sequence == 7
    for number in (7 + 10_001, 5_000_000, 999_999_999_999):
        plant(store, number, "9.0.0")
    next_one(ship, tmp_path, "1.1.0")
    plant(store, 20_000, "1.1.0", ship.manifest.digest)
    assert ship.publish(store).record.transfer.sequence == 8
    # 10,008 is the last number that counts now, and it is taken: one between is not.
    next_one(ship, tmp_path, "1.2.0")
    assert ship.publish(store).record.transfer.sequence == 9
    ship.fetch(store, "churn/1.2.0")


def test_rule_37_where_no_number_is_left_it_says_so(
    store: Store, ship: Shipment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequences, "MAX_AHEAD", 3)
    for number in (1, 2, 3):
        plant(store, number, "9.0.0")
    with pytest.raises(VerificationFailed) as caught:
        ship.publish(store)
    assert caught.value.reason == "sequence"
    assert "all numbers from 1 to 3 are claimed" in str(caught.value.why)
    assert visible(store) == []


def test_rule_37_a_push_that_was_overtaken_takes_a_number_above(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    """Another push claims later, and its record is there first."""
    other = Shipment.__new__(Shipment)
    other.__dict__.update(ship.__dict__)
    next_one(other, tmp_path, "1.1.0")

    def overtaken() -> Any:
        assert other.publish(store).record.transfer.sequence == 2
        return ship.final()

    done = ship.publish(store, recheck=overtaken).record.transfer
    assert done.sequence == 3
    assert str(done.predecessor.release) == "churn/1.1.0"  # type: ignore[union-attr]
    ship.fetch(store)
    assert ship.publish(store).already


@pytest.mark.parametrize("first", [True, False])
def test_rule_37_a_reader_refuses_a_record_that_leaps(
    store: Store, ship: Shipment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    """Signed by a key that is trusted, with a number that nothing could ever follow."""
    if not first:
        ship.publish(store)
        next_one(ship, tmp_path, "1.1.0")
    leap = 10_001 if first else 10_002
    plant(store, leap, ship.release.version, ship.manifest.digest)
    with monkeypatch.context() as patch:
        patch.setattr(sequences, "MAX_AHEAD", 20_000)
        assert ship.publish(store).record.transfer.sequence == leap
    refused(lambda: ship.fetch(store, str(ship.release)), "sequence")


def test_rule_37_a_record_whose_claim_was_taken_away_is_missed(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    """The claim of the newest record is moved down; numbers would come again."""
    two(store, ship, tmp_path)
    (tmp_path / "eu-store" / sequence_name("churn", 2)).unlink()
    (tmp_path / "eu-store" / sequence_name("churn", 1)).unlink()
    plant(store, 1, "1.1.0")
    plant(store, 3, "1.0.0")
    next_one(ship, tmp_path, "1.2.0")
    refused(lambda: ship.publish(store), "sequence")
    assert len(visible(store)) == 2


def test_a_record_of_a_key_that_is_trusted_no_more_stops_no_push(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    """Its claim still keeps its number from coming again."""
    ship.publish(store)
    assert claim(store, Release(model="churn", version="2"), "2" * 64, ship.trusted[1:]) == 2


def test_rule_27_removed_claims_do_not_let_a_number_come_again(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    ship.publish(store)
    shutil.rmtree(tmp_path / "eu-store" / "sequences")
    ship.release = Release(model="churn", version="1.1.0")
    ship.seal(tmp_path, b"better weights")
    with pytest.raises(VerificationFailed) as caught:
        ship.publish(store)
    assert caught.value.reason == "sequence"
    assert visible(store) == ["releases/churn/1.0.0.json"]


def test_rule_27_a_record_whose_number_belongs_to_another_is_refused(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    ship.publish(store)
    path = tmp_path / "eu-store" / sequence_name("churn", 1)
    path.unlink()
    with pytest.raises(VerificationFailed) as caught:
        ship.fetch(store)
    assert caught.value.reason == "sequence"
    other = Claim(release=Release(model="churn", version="9"), manifest="9" * 64, sequence=1)
    path.write_bytes(other.emit())
    with pytest.raises(VerificationFailed) as caught:
        ship.fetch(store)
    assert caught.value.reason == "sequence"


@pytest.mark.parametrize(
    "planted",
    [
        ("sequences/churn/000000000001.json", b"{}"),
        ("sequences/churn/1.json", b"{}"),
        ("sequences/churn/notes.txt", b""),
        ("sequences/churn/000000000007.json", "other number"),
    ],
)
def test_hostile_claims_stop_a_push_and_nothing_is_visible(
    store: Store, ship: Shipment, planted: tuple[str, Any]
) -> None:
    name, data = planted
    if not isinstance(data, bytes):
        data = Claim(release=ship.release, manifest="9" * 64, sequence=8).emit()
    put(store, name, data)
    with pytest.raises(VerificationFailed) as caught:
        ship.publish(store)
    assert caught.value.reason == "sequence"
    assert visible(store) == []


def test_a_predecessor_that_does_not_verify_stops_a_push(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    ship.publish(store)
    path = tmp_path / "eu-store" / record_name(ship.release)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-2])
    with pytest.raises(VerificationFailed):
        predecessor(store, "churn", 2, ship.trusted)


# -- hostile stores, seen by the destination


def two(store: Store, ship: Shipment, tmp: Path) -> tuple[Path, Path]:
    """Two releases; the paths of their records."""
    ship.publish(store)
    ship.release = Release(model="churn", version="1.1.0")
    ship.seal(tmp, b"better weights")
    ship.publish(store)
    root = tmp / "eu-store" / "releases" / "churn"
    return root / "1.0.0.json", root / "1.1.0.json"


def refused(attempt: Callable[[], Any], reason: str) -> None:
    with pytest.raises(VerificationFailed) as caught:
        attempt()
    assert caught.value.reason == reason
    assert caught.value.exit_code == 11


def test_a_release_that_is_not_there_is_21(store: Store, ship: Shipment) -> None:
    with pytest.raises(NotFound):
        ship.fetch(store)


def test_an_object_that_is_gone_is_21_and_says_what_helps(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    ship.publish(store)
    for path in (tmp_path / "eu-store").glob("*/sha256/*"):
        path.unlink()
    told = ship.fetch(store).transfer
    for attempt in (
        lambda: get_object(store, told.signature, "signature"),
        lambda: get_chunk(store, next(iter(ship.chunks)), memoryview(bytearray(9))),
    ):
        with pytest.raises(NotFound) as caught:
            attempt()
        assert "under a new version" in str(caught.value.fix)


def test_every_changed_byte_of_a_record_is_refused(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    ship.publish(store)
    path = tmp_path / "eu-store" / record_name(ship.release)
    data = path.read_bytes()
    path.unlink()

    def refuse(spoilt: bytes) -> None:
        path.write_bytes(spoilt)
        with pytest.raises(VerificationFailed):
            ship.fetch(store)

    for position in range(len(data)):
        refuse(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
    for position in range(0, len(data), 11):
        refuse(data[:position] + data[position + 1 :])
        refuse(data[:position] + b" " + data[position:])
        refuse(data[:position])
    refuse(data + b"\n")


def test_rule_27_a_pin_is_the_manifest_digest(store: Store, ship: Shipment) -> None:
    ship.publish(store)
    ship.fetch(store, ship.release.pinned(ship.manifest.digest))
    refused(lambda: ship.fetch(store, ship.release.pinned("0" * 64)), "wrong-manifest")


def test_a_record_under_another_name_is_refused(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    first, second = two(store, ship, tmp_path)
    first.unlink()
    shutil.copy(second, first)
    refused(lambda: ship.fetch(store, "churn/1.0.0"), "wrong-release")


def test_a_record_of_another_model_is_refused(store: Store, ship: Shipment, tmp_path: Path) -> None:
    ship.publish(store)
    fraud = tmp_path / "eu-store/releases/fraud/1.0.0.json"
    fraud.parent.mkdir()
    shutil.copy(tmp_path / "eu-store" / record_name(ship.release), fraud)
    refused(lambda: ship.fetch(store, "fraud/1.0.0"), "wrong-release")


def test_a_record_for_another_zone_is_refused(store: Store, ship: Shipment) -> None:
    ship.publish(store)
    refused(lambda: ship.fetch(store, zone="home"), "wrong-destination")


def test_a_record_that_puts_a_zone_elsewhere_is_refused(store: Store, ship: Shipment) -> None:
    final = ship.final()
    moved = dataclasses.replace(final.destination, provider_region="aws:us-west-2")
    ship.publish(store, recheck=lambda: dataclasses.replace(final, destination=moved))
    refused(lambda: ship.fetch(store), "wrong-destination")


def test_a_source_that_puts_itself_elsewhere_is_refused(store: Store, ship: Shipment) -> None:
    source = dataclasses.replace(ship.draft().source, provider_region="aws:eu-central-1")
    ship.publish(store, draft=ship.draft(source=source))
    refused(lambda: ship.fetch(store), "wrong-source")


def test_rule_6_a_signer_that_may_not_speak_for_the_source_is_refused(
    store: Store, ship: Shipment
) -> None:
    ship.publish(store)
    trusted = ship.trusted
    ship.trusted = (trusting(ship.signer, "eu"),)
    refused(lambda: ship.fetch(store), "wrong-source")
    ship.trusted = (trusting(ship.signer, "home", "signature", "receipt"),)
    refused(lambda: ship.fetch(store), "untrusted-role")
    ship.trusted = trusted[1:]
    refused(lambda: ship.fetch(store), "wrong-signer")


def test_rule_3_another_kind_of_statement_is_no_record(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    ship.publish(store)
    path = tmp_path / "eu-store" / record_name(ship.release)
    path.unlink()
    path.write_bytes(ship.document("provenance").data)
    refused(lambda: ship.fetch(store), "wrong-role")


def test_rule_6_a_record_whose_subject_is_another_model_is_refused(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    record = ship.publish(store).record
    statement = Statement(
        subject_name="churn",
        subject_sha256="0" * 64,
        predicate_type=PREDICATE_TYPES["transfer"],
        predicate=record.transfer.predicate(),
    )
    path = tmp_path / "eu-store" / record_name(ship.release)
    path.unlink()
    path.write_bytes(seal(statement, ship.signer))
    refused(lambda: ship.fetch(store), "malformed")


def test_a_stale_predecessor_is_refused(store: Store, ship: Shipment, tmp_path: Path) -> None:
    first, second = two(store, ship, tmp_path)
    good = first.read_bytes()
    first.unlink()
    refused(lambda: ship.fetch(store, "churn/1.1.0"), "stale-predecessor")
    other = Shipment.__new__(Shipment)
    other.__dict__.update(ship.__dict__)
    other.release = Release(model="churn", version="1.0.0")
    other.seal(tmp_path, b"rewritten history")
    side = open_store("side", tmp_path)
    other.publish(side)
    shutil.copy(tmp_path / "side" / "releases/churn/1.0.0.json", first)
    refused(lambda: ship.fetch(store, "churn/1.1.0"), "stale-predecessor")
    first.unlink()
    first.write_bytes(good)
    assert second.is_file()
    ship.fetch(store, "churn/1.1.0")


def test_rule_19_a_record_from_the_future_is_not_decided(store: Store, ship: Shipment) -> None:
    ship.publish(store)
    ship.clock.now -= timedelta(hours=1)
    with pytest.raises(Inconclusive) as caught:
        ship.fetch(store)
    assert caught.value.reason == "clock"


def test_an_oversized_record_is_refused_before_it_is_read(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    path = tmp_path / "eu-store" / record_name(ship.release)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    refused(lambda: ship.fetch(store), "limits")


@pytest.mark.parametrize("name", ["signature", "manifest", "evidence"])
def test_swapped_documents_are_refused(
    store: Store, ship: Shipment, tmp_path: Path, name: str
) -> None:
    transfer = ship.publish(store).record.transfer
    blob = transfer.evidence[0] if name == "evidence" else getattr(transfer, name)
    path = tmp_path / "eu-store/objects/sha256" / blob.sha256
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    refused(lambda: fetch_documents(store, transfer), "digest-mismatch")
    path.write_bytes(data + b" ")
    refused(lambda: fetch_documents(store, transfer), "limits")
    path.write_bytes(data[:-1])
    refused(lambda: fetch_documents(store, transfer), "digest-mismatch")


@pytest.mark.parametrize("fault", [Fault.TRUNCATED_READ, Fault.CORRUPT_READ])
@pytest.mark.parametrize("prefix", ["releases/", "sequences/", "objects/"])
def test_reads_that_lie_are_refused(
    store: Store, ship: Shipment, fault: Fault, prefix: str
) -> None:
    ship.publish(store)

    def through(name: str) -> bool:
        return name.startswith(prefix)

    faulty = Faulty(store, fault, hits=through)
    with pytest.raises(VerificationFailed):
        fetch_documents(faulty, ship.fetch(faulty).transfer)


def test_rule_4_a_planted_link_is_not_followed(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    ship.publish(store)
    path = tmp_path / "eu-store" / record_name(ship.release)
    elsewhere = tmp_path / "elsewhere.json"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    refused(lambda: ship.fetch(store), "not-regular")


# -- receipts


def receipt_for(ship: Shipment, about: Any, **changes: Any) -> bytes:
    base = Receipt(
        release=ship.release,
        record=about.sha256,
        manifest=ship.manifest.digest,
        zone="eu",
        location=None,
        grade=1,
        checks=(Check(id="record", passed=True),),
        decision="1" * 64,
        opened=ship.clock(),
        audit_head="2" * 64,
    )
    receipt = dataclasses.replace(base, **changes)
    return seal(receipt_statement(receipt, PREDICATE_TYPES["receipt"]), ship.eu)


def test_a_receipt_is_found_for_its_own_record_alone(store: Store, ship: Shipment) -> None:
    record = ship.publish(store).record

    def find() -> Any:
        return find_receipt(store, record, ship.trusted, zone="eu")

    assert find() is None
    put_receipt(store, ship.release, receipt_for(ship, record, record="0" * 64))
    failed = (Check(id="record", passed=False),)
    put_receipt(store, ship.release, receipt_for(ship, record, checks=failed))
    assert find() is None
    data = receipt_for(ship, record)
    digest = put_receipt(store, ship.release, data)
    assert find() == (data, digest)
    assert put_receipt(store, ship.release, data) == digest


def test_rule_6_a_receipt_by_another_zones_key_counts_for_nothing(
    store: Store, ship: Shipment
) -> None:
    record = ship.publish(store).record
    ship.eu = ship.signer
    data = receipt_for(ship, record)
    refused(lambda: open_receipt(data, ship.trusted), "wrong-source")
    put_receipt(store, ship.release, data)
    assert find_receipt(store, record, ship.trusted, zone="eu") is None


def test_every_changed_byte_of_a_receipt_is_refused(store: Store, ship: Shipment) -> None:
    data = receipt_for(ship, ship.publish(store).record)
    open_receipt(data, ship.trusted)
    spoilt = [data[:n] + bytes([data[n] ^ 1]) + data[n + 1 :] for n in range(len(data))]
    for n in range(0, len(data), 5):
        spoilt += [data[:n], data[:n] + data[n + 1 :], data[:n] + b" " + data[n:]]
    for one in [*spoilt, data + b"\n"]:
        with pytest.raises(VerificationFailed):
            open_receipt(one, ship.trusted)


# -- location


class Placed(Faulty):
    """A store whose provider says where it lies."""

    def __init__(self, inner: Store, location: Location | None) -> None:
        super().__init__(inner, Fault.LOST_REPLY, times=0)
        self._location = location

    def location(self) -> Location | None:
        return self._location


def test_a_store_that_lies_elsewhere_is_12(store: Store) -> None:
    said = Location(value="aws:us-east-1", grade=2, source="GetBucketLocation")
    with pytest.raises(ResidencyMismatch) as caught:
        locate(Placed(store, said), zone="eu", declared="aws-eusc:eusc-de-east-1")
    assert caught.value.exit_code == 12
    assert "GetBucketLocation" in (caught.value.why or "")


def test_how_well_a_location_is_known_is_said(store: Store) -> None:
    region = "aws-eusc:eusc-de-east-1"
    said = Location(value=region, grade=2, source="GetBucketLocation")
    silent = Location(value=None, grade=0, source="GetBucketLocation")
    assert locate(Placed(store, said), zone="eu", declared=region).grade == 2
    assert locate(Placed(store, silent), zone="eu", declared=region).grade == 0
    assert locate(Placed(store, silent), zone="eu", declared=region).value is None
    assert locate(store, zone="eu", declared=region).grade == 1


def test_records_are_readable_by_people(store: Store, ship: Shipment, tmp_path: Path) -> None:
    ship.publish(store)
    document = json.loads((tmp_path / "eu-store" / record_name(ship.release)).read_text())
    assert document["mediaType"].startswith("application/vnd.dev.sigstore.bundle")


def test_a_stranger_key_is_not_made_trusted_by_its_own_record(
    store: Store, ship: Shipment, tmp_path: Path
) -> None:
    ship.signer = make_signer(tmp_path / "other-keys")
    with pytest.raises(VerificationFailed):
        ship.publish(store)
    assert visible(store) == []
