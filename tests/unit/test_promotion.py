"""Promotion records: signed, numbered, chained; they alone decide what is a step back (RULES 26).

Real keys, a real folder as the store, and stores that lie.
"""

from __future__ import annotations

import dataclasses
import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovgate import strict
from sovgate.errors import (
    Malformed,
    PolicyDenied,
    SovgateError,
    StoreError,
    VerificationFailed,
)
from sovgate.formats.promotion import Previous, Promotion, object_name, parse_object_name
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.records import Release
from sovgate.stages.past import Known
from sovgate.stages.promote import OverlayState, append, is_recorded, read_ledger
from sovgate.stages.seal import seal
from sovgate.stores._api import Store
from sovgate.stores.registry import open_store
from tests.conformance.stores import Fault, Faulty, put
from tests.effort import examples
from tests.signers import KeySigner

SIGNER = KeySigner()
TRUSTED = (SIGNER.trusted(zone="eu"),)


def promotion(version: str = "1.0.0", sequence: int = 1, **changes: object) -> Promotion:
    base = Promotion(
        number=1,
        kind="promote",
        reason=None,
        release=Release(model="churn", version=version),
        sequence=sequence,
        record=f"{sequence:064x}",
        manifest="a" * 64,
        zone="eu",
        repo="https://git.example.eu/ml/serving.git",
        path="overlays/eu",
        branch="main",
        commit="c" * 40,
        previous=None,
        decision="d" * 64,
        receipt="e" * 64,
        audit_head="f" * 64,
        created=datetime(2026, 11, 24, 4, 0, 0, tzinfo=UTC),
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store("store", tmp_path)


def add(store: Store, wanted: Promotion, signer: KeySigner = SIGNER) -> Promotion:
    return append(store, signer, TRUSTED, wanted)[0]


def ledger(store: Store):  # type: ignore[no-untyped-def]
    return read_ledger(store, "eu", "churn", TRUSTED)


def sealed(wanted: Promotion, signer: KeySigner = SIGNER, role: str = "promotion") -> bytes:
    return seal(
        Statement(
            subject_name=wanted.release.model,
            subject_sha256=wanted.manifest,
            predicate_type=PREDICATE_TYPES[role],
            predicate=wanted.predicate(),
        ),
        signer,
    )


# --- the format ---------------------------------------------------------------------------------


def test_a_promotion_reads_back_as_it_was_written() -> None:
    previous = Previous(
        release=Release(model="churn", version="0.9.0"), manifest="b" * 64, sha256="1" * 64
    )
    for wanted in (
        promotion(),
        promotion(number=2, previous=previous, commit="c" * 64),
        promotion(release_file="2" * 64),
    ):
        predicate = strict.loads(strict.canonical(wanted.predicate()))
        assert Promotion.parse(predicate, name="churn", manifest="a" * 64) == wanted
    assert parse_object_name(promotion().object_name) == ("eu", "churn", 1)


def test_rule_41_a_proposal_lies_in_a_folder_of_its_own() -> None:
    previous = Previous(
        release=Release(model="churn", version="0.9.0"), manifest="b" * 64, sha256="1" * 64
    )
    back = promotion(kind="proposal", number=7, previous=previous, reason="slow")
    for wanted in (promotion(kind="proposal"), promotion(kind="proposal", number=7), back):
        predicate = strict.loads(strict.canonical(wanted.predicate()))
        assert Promotion.parse(predicate, name="churn", manifest="a" * 64) == wanted
        assert wanted.object_name.startswith("proposals/eu/churn/")
        assert parse_object_name(wanted.object_name) == ("eu", "churn", wanted.number)


def test_a_file_whose_bytes_no_record_says_is_nobodys() -> None:
    state = OverlayState(tip="c" * 40, branch="main", pinned=None, release_file="1" * 64)
    assert state.is_as_written("1" * 64)
    assert not state.is_as_written("2" * 64)
    assert not state.is_as_written(None)
    assert not dataclasses.replace(state, release_file=None).is_as_written(None)


@pytest.mark.parametrize("field", sorted(promotion().predicate()))
def test_rule_03_every_field_is_required_and_of_its_type(field: str) -> None:
    whole = promotion().predicate()
    for changed in (
        {k: v for k, v in whole.items() if k != field},
        {**whole, field: 1.5},
        {**whole, field: []},
        {**whole, field: True},
    ):
        with pytest.raises(Malformed):
            Promotion.parse(changed, name="churn", manifest="a" * 64)


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": 1},
        {"number": 0},
        {"number": 2},
        {"kind": "demote"},
        {"kind": "proposal", "reason": "back to what?"},
        {"sequence": 0},
        {"release": "churn/1.0.0@sha256:" + "a" * 64},
        {"release": "other/1.0.0"},
        {"manifest": "b" * 64},
        {"commit": "c" * 41},
        {"commit": "C" * 40},
        {"zone": "EU"},
        {"repo": "https://user:secret@git.example.eu/x"},
        {"repo": "https://token@git.example.eu/x"},
        {"repo": "ssh://git:secret@git.example.eu/x"},
        {"branch": "main\nx"},
        {"path": ""},
        {"previous": {"release": "other/1.0.0", "manifest": "a" * 64, "sha256": "a" * 64}},
        {"record": {"sha256": "a" * 64, "sha512": "x"}},
        {"created": "2026-11-24 04:00:00"},
    ],
)
def test_rule_03_what_is_not_closed_and_consistent_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        Promotion.parse({**promotion().predicate(), **changes}, name="churn", manifest="a" * 64)


@pytest.mark.parametrize(
    "name",
    [
        "promotions/eu/churn/1.json",
        "promotions/eu/churn/000001.json.tmp",
        "promotions/eu/000001.json",
        "promotions/eu/churn/00001a.json",
        "promotions/EU/churn/000001.json",
    ],
)
def test_names_that_are_not_of_promotions(name: str) -> None:
    with pytest.raises(Malformed):
        parse_object_name(name)


# --- the ledger ---------------------------------------------------------------------------------


def test_promotions_are_numbered_and_chained(store: Store) -> None:
    assert ledger(store).floor == 0
    first = add(store, promotion("1.0.0", 1))
    second = add(store, promotion("1.1.0", 4))
    found = ledger(store)
    assert found.promotions == (first, second)
    assert (first.number, first.previous) == (1, None)
    data = store.get(first.object_name, most=10**6)
    assert second.previous == Previous(
        release=first.release, manifest="a" * 64, sha256=hashlib.sha256(data).hexdigest()
    )
    assert found.floor == 4


def test_rule_27_a_lower_sequence_is_denied(store: Store) -> None:
    add(store, promotion("1.0.0", 1))
    add(store, promotion("1.1.0", 2))
    found = ledger(store)
    with pytest.raises(PolicyDenied) as caught:
        found.require_forward(Release(model="churn", version="1.0.0"), 1, f"{1:064x}")
    assert (caught.value.exit_code, caught.value.reason) == (10, "sequence-went-back")
    assert "churn/1.1.0 has sequence 2" in str(caught.value.why)
    found.require_forward(Release(model="churn", version="1.1.0"), 2, f"{2:064x}")
    found.require_forward(Release(model="churn", version="1.2.0"), 3, f"{3:064x}")
    with pytest.raises(PolicyDenied):  # another release under the last one's number
        found.require_forward(Release(model="churn", version="9.0.0"), 2, f"{2:064x}")


def test_rule_26_what_the_overlay_claims_only_raises_the_bar(store: Store) -> None:
    add(store, promotion("1.1.0", 2))
    found = ledger(store)
    new = Release(model="churn", version="1.2.0")
    with pytest.raises(PolicyDenied, match="older than"):
        found.require_forward(new, 3, f"{3:064x}", claimed=4)
    with pytest.raises(PolicyDenied):  # a claim of something old does not lower it
        found.require_forward(Release(model="churn", version="1.0.0"), 1, f"{1:064x}", claimed=1)


def test_rule_41_proposals_are_no_promotions(store: Store) -> None:
    add(store, promotion("1.0.0", 1))
    proposed = add(store, promotion("1.2.0", 3, kind="proposal", branch="x", audit_head="1" * 64))
    other = add(store, promotion("1.1.0", 2, kind="proposal", branch="y", audit_head="2" * 64))
    found = ledger(store)
    assert [str(p.release) for p in found.promotions] == ["churn/1.0.0"]
    assert (found.floor, found.proposals, found.waiting) == (
        1,
        (proposed, other),
        (proposed, other),
    )
    assert (proposed.number, other.number) == (1, 2)
    assert proposed.previous is not None
    assert proposed.previous.sha256 == found.digests[0]
    assert add(store, dataclasses.replace(proposed, audit_head="3" * 64)) == proposed
    merged = add(store, promotion("1.1.0", 2, audit_head="2" * 64))
    found = ledger(store)
    assert (found.floor, found.waiting) == (2, (proposed,))
    assert found.proposal_of(merged) == other
    assert found.proposal_of(found.promotions[0]) is None


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("promote", "proposals/eu/churn/000001.json", "promotion-foreign"),
        ("proposal", "promotions/eu/churn/000001.json", "promotion-foreign"),
        ("proposal", "proposals/eu/churn/000002.json", "promotion-gap"),
        ("proposal", "proposals/eu/churn/x.json", "malformed"),
    ],
)
def test_rule_41_none_passes_for_the_other(store: Store, kind: str, name: str, reason: str) -> None:
    put(store, name, sealed(promotion(kind=kind)))
    with pytest.raises(VerificationFailed) as caught:
        ledger(store)
    assert caught.value.reason == reason


def test_a_proposal_knows_of_a_promotion_that_was_removed(store: Store, tmp_path: Path) -> None:
    add(store, promotion("1.0.0", 1))
    add(store, promotion("1.1.0", 2))
    add(store, promotion("1.2.0", 3, kind="proposal", branch="x"))
    _replace(store, tmp_path, "promotions/eu/churn/000002.json", None)
    with pytest.raises(VerificationFailed) as caught:
        ledger(store)
    assert caught.value.reason == "promotion-cut"


def test_only_a_signed_rollback_lowers_the_bar(store: Store) -> None:
    add(store, promotion("1.0.0", 1))
    add(store, promotion("1.1.0", 2))
    add(store, promotion("1.0.0", 1, kind="rollback", reason="slow"))
    assert ledger(store).floor == 1
    add(store, promotion("1.2.0", 3))
    assert ledger(store).floor == 3


def test_records_that_were_written_late_do_not_lower_the_bar(store: Store) -> None:
    """Two runs pushed 1.1.0 then 1.2.0, and wrote their records the other way round."""
    add(store, promotion("1.2.0", 3))
    add(store, promotion("1.1.0", 2))
    assert ledger(store).floor == 3


def test_a_release_record_that_was_replaced_is_refused(store: Store) -> None:
    add(store, promotion("1.0.0", 1))
    with pytest.raises(VerificationFailed) as caught:
        ledger(store).require_forward(Release(model="churn", version="1.0.0"), 1, "9" * 64)
    assert caught.value.reason == "record-changed"


def test_rule_07_promotions_of_a_former_key_still_hold_the_zone(store: Store) -> None:
    """Nobody goes back because a key was taken back; and it says nothing after its end."""
    new, day = KeySigner(), datetime(2026, 11, 24, tzinfo=UTC)
    add(store, promotion())
    add(store, promotion("1.1.0", 2))
    ends = [day + timedelta(days=1)]

    def known() -> Known:
        return Known((new.trusted(zone="eu"),), lambda: [(SIGNER.trusted(zone="eu"), ends[0])])

    found = read_ledger(store, "eu", "churn", known())
    assert (found.floor, len(found.promotions)) == (2, 2)
    assert not found.is_by(new, known())
    with pytest.raises(PolicyDenied):
        found.require_forward(Release(model="churn", version="1.0.0"), 1, f"{1:064x}")
    append(store, new, known(), promotion("1.2.0", 3, created=day + timedelta(days=2)))
    assert read_ledger(store, "eu", "churn", known()).floor == 3
    # Whoever has the old key still cannot go on, nor date back what stands after a later one.
    forged = known()
    old = (*forged, SIGNER.trusted(zone="eu"))
    append(store, SIGNER, old, promotion("1.3.0", 4))
    with pytest.raises(VerificationFailed) as refused:
        read_ledger(store, "eu", "churn", known())
    assert refused.value.reason == "former-signer"
    ends[0] = day
    with pytest.raises(VerificationFailed) as refused:
        read_ledger(store, "eu", "churn", known())
    assert refused.value.reason == "former-signer"


def test_what_is_recorded_is_not_recorded_again(store: Store) -> None:
    wanted = promotion()
    assert not is_recorded(None, wanted)
    last = add(store, wanted)
    assert is_recorded(last, dataclasses.replace(wanted, commit="9" * 40, decision="9" * 64))
    for change in ({"branch": "prod"}, {"path": "x"}, {"repo": "x"}, {"record": "9" * 64}):
        assert not is_recorded(last, dataclasses.replace(wanted, **change))
    # Of another release file it says nothing; a record of an earlier version names none.
    ours = dataclasses.replace(last, release_file="1" * 64)
    assert is_recorded(ours, wanted) and is_recorded(last, ours)
    assert is_recorded(ours, dataclasses.replace(wanted, release_file="1" * 64))
    assert not is_recorded(ours, dataclasses.replace(wanted, release_file="2" * 64))
    assert is_recorded(
        dataclasses.replace(last, repo="https://git.example.eu/ml/s.git"),
        dataclasses.replace(wanted, repo="git@git.example.eu:ml/s"),
    )


# --- hostile stores -----------------------------------------------------------------------------


def _replace(store: Store, root: Path, name: str, data: bytes | None) -> None:
    path = root / "store" / name
    path.unlink()
    if data is not None:
        put(store, name, data)


@pytest.fixture
def three(store: Store) -> list[Promotion]:
    return [add(store, promotion(f"1.{n}.0", n)) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        ("remove first", "promotion-gap"),
        ("remove middle", "promotion-gap"),
        ("swap", "promotion-foreign"),
        ("rewrite middle", "promotion-chain"),
        ("other zone", "wrong-source"),
        ("other signer", "wrong-signer"),
        ("other role", "wrong-role"),
        ("garbage", "malformed"),
        ("strange name", "malformed"),
        ("empty", "malformed"),
        ("huge", "limits"),
    ],
)
def test_rule_26_records_that_were_tampered_with_stop_it(
    store: Store, tmp_path: Path, three: list[Promotion], attack: str, reason: str
) -> None:
    first, middle, last = (p.object_name for p in three)
    data = {name: store.get(name, most=10**6) for name in (first, middle, last)}
    if attack == "remove first":
        _replace(store, tmp_path, first, None)
    elif attack == "remove middle":
        _replace(store, tmp_path, middle, None)
    elif attack == "swap":
        _replace(store, tmp_path, middle, data[last])
    elif attack == "rewrite middle":
        other = dataclasses.replace(three[1], commit="9" * 40)
        _replace(store, tmp_path, middle, sealed(other))
    elif attack == "other zone":
        _replace(store, tmp_path, last, sealed(dataclasses.replace(three[2], zone="us")))
    elif attack == "other signer":
        _replace(store, tmp_path, last, sealed(three[2], KeySigner()))
    elif attack == "other role":
        _replace(store, tmp_path, last, sealed(three[2], role="receipt"))
    elif attack == "garbage":
        _replace(store, tmp_path, last, b"{}")
    elif attack == "strange name":
        put(store, "promotions/eu/churn/x.json", data[last])
    elif attack == "empty":
        _replace(store, tmp_path, last, b"")
    elif attack == "huge":
        _replace(store, tmp_path, last, b" " * 2_000_000)
    for act in (lambda: ledger(store), lambda: add(store, promotion("1.9.0", 9))):
        with pytest.raises(VerificationFailed) as caught:
            act()
        assert caught.value.exit_code == 11
        assert caught.value.reason == reason


def test_a_signer_of_another_zone_is_refused(store: Store, three: list[Promotion]) -> None:
    with pytest.raises(VerificationFailed) as caught:
        read_ledger(store, "eu", "churn", (SIGNER.trusted(zone="us"),))
    assert caught.value.reason == "wrong-source"


@settings(max_examples=examples(300))
@given(st.data())
def test_rule_03_one_changed_byte_is_refused(data: st.DataObject) -> None:
    whole = data.draw(st.just(WHOLE))
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["flip", "remove", "add", "cut"]))
    byte = bytes([whole[at] ^ data.draw(st.sampled_from([1, 2, 32, 128]))])
    changed = {
        "flip": whole[:at] + byte + whole[at + 1 :],
        "remove": whole[:at] + whole[at + 1 :],
        "add": whole[:at] + byte + whole[at:],
        "cut": whole[:at],
    }[kind]
    with pytest.raises(VerificationFailed):
        read_ledger(_Memory({object_name("eu", "churn", 1): changed}), "eu", "churn", TRUSTED)


WHOLE = sealed(promotion())


class _Memory:
    """A store in memory, for reading."""

    uri = "memory:"

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def list(self, prefix: str) -> list[str]:
        return sorted(name for name in self._objects if name.startswith(prefix))

    def get(self, name: str, *, most: int) -> bytes:
        return self._objects[name]


def test_the_unchanged_record_is_accepted() -> None:
    found = read_ledger(_Memory({object_name("eu", "churn", 1): WHOLE}), "eu", "churn", TRUSTED)
    assert found.floor == 1


# --- faults and races ---------------------------------------------------------------------------


def test_rule_13_a_lost_reply_is_read_back(store: Store) -> None:
    faulty = Faulty(inner=store, fault=Fault.LOST_REPLY)
    add(faulty, promotion())  # type: ignore[arg-type]
    assert [p.number for p in ledger(store).promotions] == [1]


def test_a_write_that_failed_leaves_nothing_and_can_be_run_again(store: Store) -> None:
    faulty = Faulty(inner=store, fault=Fault.FAILED_WRITE)
    with pytest.raises(StoreError):
        add(faulty, promotion())  # type: ignore[arg-type]
    assert ledger(store).promotions == ()
    add(faulty, promotion())  # type: ignore[arg-type]
    assert len(ledger(store).promotions) == 1


def test_many_writers_at_once_lose_no_record(store: Store) -> None:
    def write(n: int) -> int | str:
        try:
            return add(store, promotion(f"1.{n}.0", n + 1)).number
        except SovgateError as error:
            return error.reason

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(write, range(16)))
    assert sorted(numbers, key=str) == sorted(range(1, 17), key=str)
    assert {p.sequence for p in ledger(store).promotions} == set(range(1, 17))
