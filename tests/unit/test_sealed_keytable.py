"""sealed.json, key table and wrap context: closed, canonical, and refusing every other byte."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sovgate import strict
from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats import keytable, stream, wrap
from sovgate.formats.sealed import Blob, Evidence, Sealed, Wrapped
from sovgate.records import Sized

KEY = bytes(range(32))
CONTEXT = wrap.Context(zone="eu", release="churn/1.0", manifest="ab" * 32)


def entry(number: int = 0, size: int = 5, **other) -> keytable.Entry:
    fields = {
        "blob": f"{number:064x}",
        "key": bytes([number]) * 32,
        "zone": "eu",
        "plaintext": Sized(sha256=f"{number + 100:064x}", size=size),
        "chunks": bytes(32) * stream.Layout(size=size).chunks,
    }
    return keytable.Entry(**(fields | other))


def sealed(**other) -> Sealed:
    fields = {
        "zone": "eu",
        "release": "churn/1.0",
        "manifest": Sized(sha256="ab" * 32, size=300),
        "signature": Sized(sha256="cd" * 32, size=1000),
        "recipient": Wrapped(
            key_id="ef" * 32,
            algorithm="rsa-oaep-sha256",
            wrapped=bytes(384),
            commit=wrap.commit(KEY),
        ),
        "keytable": Sized(sha256="12" * 32, size=500),
        "blobs": (
            Blob(
                sha256="34" * 32,
                size=stream.Layout(size=5).ciphertext_size,
                plaintext=Sized(sha256="56" * 32, size=5),
                commit=wrap.commit(bytes(32)),
            ),
        ),
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
    assert b'"part":"keytable"' in CONTEXT.keytable_ad()


def test_rule_10_a_commitment_tells_one_key_from_all_others():
    assert wrap.committed(KEY, wrap.commit(KEY))
    assert not wrap.committed(bytes(32), wrap.commit(KEY))
    assert KEY.hex() not in wrap.commit(KEY)


def test_a_key_table_opens_under_its_key_and_context_only():
    entries = tuple(entry(n, size) for n, size in enumerate([0, 5, 2**24]))
    data = keytable.seal(entries, KEY, CONTEXT)
    assert keytable.unseal(data, KEY, CONTEXT) == entries
    assert entries[2].digests == (bytes(32),) * 3
    others = [
        wrap.Context(zone="ch", release="churn/1.0", manifest="ab" * 32),
        wrap.Context(zone="eu", release="churn/1.1", manifest="ab" * 32),
        wrap.Context(zone="eu", release=None, manifest="ab" * 32),
        wrap.Context(zone="eu", release="churn/1.0", manifest="ac" * 32),
    ]
    for other in others:
        with pytest.raises(VerificationFailed):
            keytable.unseal(data, KEY, other)
    with pytest.raises(VerificationFailed):
        keytable.unseal(data, bytes(32), CONTEXT)


def test_every_flipped_byte_of_a_key_table_is_refused():
    data = keytable.seal((entry(),), KEY, CONTEXT)
    for position in range(len(data)):
        bad = bytearray(data)
        bad[position] ^= 1 + position % 255
        with pytest.raises(VerificationFailed):
            keytable.unseal(bytes(bad), KEY, CONTEXT)


def test_rule_29_an_entry_hides_its_key():
    item = entry(7)
    assert repr(item.key) not in repr(item)
    assert "key" not in repr(item).replace("keytable", "")


@pytest.mark.parametrize(
    "bad",
    [
        (entry(1), entry(1)),
        (entry(1), entry(2, key=bytes([1]) * 32)),
        (entry(1, key=b"short"),),
        (entry(1, chunks=b""),),
        (entry(1, chunks=bytes(64)),),
        (entry(1, zone="EU!"),),
        (entry(1, plaintext=Sized(sha256="x", size=5)),),
    ],
)
def test_rule_08_a_table_with_a_shared_or_malformed_key_is_refused(bad):
    with pytest.raises(VerificationFailed):
        keytable.parse(keytable.serialize(bad))


def test_a_table_of_another_segment_size_or_with_more_fields_is_refused():
    good = strict.loads(keytable.serialize((entry(),)))
    for field, value in [("segment", 4096), ("chunk", 1), ("more", 1), ("blob", None)]:
        bad = {**good, "entries": [{**good["entries"][0], field: value}]}
        with pytest.raises(Malformed):
            keytable.parse(strict.canonical(bad))
    with pytest.raises(Malformed):
        keytable.parse(strict.canonical({**good, "format": "sovgate.keytable/v1"}))


def test_a_table_too_large_for_one_release_is_refused_when_it_is_made():
    huge = entry(1, chunks=bytes(keytable.MAX_BYTES))
    with pytest.raises(VerificationFailed) as refused:
        keytable.serialize((huge,))
    assert refused.value.reason == "limits"


def test_sealed_reads_back_as_it_was_written():
    for item in (sealed(), sealed(release=None), sealed(evidence=(), blobs=())):
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


@pytest.mark.parametrize(
    "change",
    [
        {"zone": "EU"},
        {"zone": "../eu"},
        {"release": "churn"},
        {"release": "churn/../x"},
        {"manifest": {"sha256": "AB" * 32, "size": 1}},
        {"signature": {"sha256": "ab" * 32, "size": -1}},
        {"keytable": {"sha256": "ab" * 32, "size": 2**40}},
        {"format": "sovgate.sealed/v1"},
        {"more": 1},
        {"recipient": {"key-id": "x y", "algorithm": "a", "wrapped": "", "commit": "ab" * 32}},
        {"recipient": {"key-id": "x", "algorithm": "a", "wrapped": "A", "commit": "ab" * 32}},
        {"evidence": [{"role": "rumour", "predicateType": "x", "sha256": "ab" * 32, "size": 1}]},
    ],
)
def test_a_record_outside_its_closed_form_is_refused(change):
    with pytest.raises(Malformed):
        Sealed.parse(strict.canonical({**strict.loads(BYTES), **change}))


def test_a_record_that_lists_a_blob_plaintext_or_commitment_twice_is_refused():
    blob = sealed().blobs[0]
    others = {
        "sha256": Blob(
            sha256="99" * 32, size=blob.size, plaintext=blob.plaintext, commit="aa" * 32
        ),
        "commit": Blob(
            sha256="99" * 32,
            size=blob.size,
            plaintext=Sized(sha256="98" * 32, size=5),
            commit=blob.commit,
        ),
        "size": Blob(
            sha256="99" * 32,
            size=blob.size + 1,
            plaintext=Sized(sha256="98" * 32, size=5),
            commit="aa" * 32,
        ),
    }
    for other in (blob, *others.values()):
        with pytest.raises(Malformed):
            Sealed.parse(sealed(blobs=(blob, other)).canonical())
