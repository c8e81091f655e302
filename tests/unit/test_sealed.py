"""sealed.json and wrap context: closed, canonical, and refusing every other byte."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sovgate import strict
from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats import wrap
from sovgate.formats.part import Part
from sovgate.formats.sealed import Evidence, Sealed
from sovgate.formats.wrap import Wrapped
from sovgate.records import Sized

KEY = bytes(range(32))
CONTEXT = wrap.Context(zone="eu", release="churn/1.0", manifest="ab" * 32)


def part(**other) -> Part:
    fields = {
        "number": 1,
        "of": 1,
        "units": (0, 2),
        "reused": (),
        "list": Sized(sha256="34" * 32, size=64),
        "keytable": Sized(sha256="12" * 32, size=2 * 32 + 28),
        "recipient": Wrapped(
            key_id="ef" * 32,
            algorithm="rsa-oaep-sha256",
            wrapped=bytes(384),
            commit=wrap.commit(KEY),
        ),
    }
    return Part(**(fields | other))


def sealed(**other) -> Sealed:
    fields = {
        "zone": "eu",
        "release": "churn/1.0",
        "manifest": Sized(sha256="ab" * 32, size=300),
        "signature": Sized(sha256="cd" * 32, size=1000),
        "parts": (part(),),
        "evidence": (
            Evidence(
                role="gate",
                predicate_type="https://in-toto.io/attestation/test-result/v0.1",
                sha256="78" * 32,
                size=700,
            ),
        ),
    }
    return Sealed(**(fields | other))


def test_the_context_is_canonical_and_names_zone_release_and_manifest():
    assert CONTEXT.canonical() == (
        b'{"format":"sovgate.wrap/v0","manifest":"' + b"ab" * 32 + b'","release":"churn/1.0",'
        b'"zone":"eu"}'
    )
    assert (
        b'"release":null' in wrap.Context(zone="eu", release=None, manifest="ab" * 32).canonical()
    )


def test_rule_10_a_commitment_tells_one_key_from_all_others():
    assert wrap.committed(KEY, wrap.commit(KEY))
    assert not wrap.committed(bytes(32), wrap.commit(KEY))
    assert KEY.hex() not in wrap.commit(KEY)


def test_sealed_reads_back_as_it_was_written():
    for item in (sealed(), sealed(release=None), sealed(evidence=())):
        assert Sealed.parse(item.canonical()) == item


BYTES = sealed().canonical()


@given(st.integers(0, len(BYTES)), st.binary(max_size=2), st.integers(0, 2))
@example(0, b" ", 0)
@example(len(BYTES), b"\n", 0)
def test_no_other_spelling_of_sealed_is_read_as_the_same(position, added, removed):
    bad = BYTES[:position] + added + BYTES[position + removed :]
    try:
        read = Sealed.parse(bad)
    except VerificationFailed:
        return
    assert bad == BYTES or read != sealed()


RECIPIENT = part().json()["recipient"]


@pytest.mark.parametrize(
    "change",
    [
        {"zone": "EU"},
        {"zone": "../eu"},
        {"release": "churn"},
        {"release": "churn/../x"},
        {"manifest": {"sha256": "AB" * 32, "size": 1}},
        {"signature": {"sha256": "ab" * 32, "size": -1}},
        {"parts": []},
        {"parts": [part(number=2).json()]},
        {"parts": [part(keytable=Sized(sha256="ab" * 32, size=2**40)).json()]},
        {"parts": [part(list=Sized(sha256="ab" * 32, size=2**40)).json()]},
        {"parts": [part().json(), part().json()]},
        {"format": "sovgate.sealed/v1"},
        {"more": 1},
        {"parts": [{**part().json(), "recipient": {"key-id": "x y"}}]},
        {"parts": [{**part().json(), "recipient": {**RECIPIENT, "key-id": "x y"}}]},
        {"parts": [{**part().json(), "recipient": {**RECIPIENT, "wrapped": "A"}}]},
        {"evidence": [{"role": "rumour", "predicateType": "x", "sha256": "ab" * 32, "size": 1}]},
    ],
)
def test_a_record_outside_its_closed_form_is_refused(change):
    with pytest.raises(Malformed):
        Sealed.parse(strict.canonical({**strict.loads(BYTES), **change}))


def test_rule_08_parts_that_share_a_number_a_table_a_key_or_have_two_recipients_are_refused():
    first = part(of=2)
    other = Wrapped(
        key_id="ef" * 32, algorithm="rsa-oaep-sha256", wrapped=bytes(3), commit="aa" * 32
    )
    good = part(
        number=2, of=2, units=(2, 2), keytable=Sized(sha256="99" * 32, size=92), recipient=other
    )
    assert Sealed.parse(sealed(parts=(first, good)).canonical()).parts == (first, good)
    for change in (
        {"number": 1},
        {"keytable": first.keytable},
        {"recipient": dataclasses.replace(other, commit=first.recipient.commit)},
        {"recipient": dataclasses.replace(other, key_id="aa" * 32)},
        {"recipient": dataclasses.replace(other, algorithm="hpke")},
    ):
        bad = sealed(parts=(first, dataclasses.replace(good, **change)))
        with pytest.raises(Malformed):
            Sealed.parse(bad.canonical())
