"""The blob's stream: its edges, its refusal of every change, and ranges of verified bytes only."""

from __future__ import annotations

import hashlib
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovgate.errors import InternalError, SovgateError, VerificationFailed
from sovgate.formats import stream
from sovgate.formats.stream import BODY, CHUNK, HEADER_SIZE, SEGMENT, TAG_SIZE, Layout
from tests.effort import examples

KEY = bytes(range(32))
AD = stream.associated_data("eu", "00" * 32, 0)
FIRST = SEGMENT - HEADER_SIZE - TAG_SIZE
EDGES = [
    0,
    1,
    FIRST - 1,
    FIRST,
    FIRST + 1,
    FIRST + BODY - 1,
    FIRST + BODY,
    FIRST + BODY + 1,
    FIRST + 7 * BODY - 1,
    FIRST + 7 * BODY,
    FIRST + 7 * BODY + 1,
]


def plaintext(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def parts(sealed: bytes, size: int) -> list[bytes]:
    layout = Layout(size=size)
    places = [layout.cipher_of_chunk(chunk) for chunk in range(layout.chunks)]
    return [sealed[start : start + length] for start, length in places]


def digests(sealed: bytes, size: int) -> list[bytes]:
    return [hashlib.sha256(part).digest() for part in parts(sealed, size)]


@pytest.mark.parametrize("size", EDGES)
def test_what_is_sealed_opens_at_every_edge(size):
    data = plaintext(size)
    sealed = stream.seal(KEY, AD, data)
    layout = Layout(size=size)
    assert len(sealed) == layout.ciphertext_size
    assert sealed[0] == HEADER_SIZE
    assert stream.size_from_ciphertext(len(sealed)) == size
    assert stream.unseal(KEY, AD, sealed) == data
    assert b"".join(parts(sealed, size)) == sealed
    assert layout.segments == 1 + max(0, -(-(size - FIRST) // BODY))
    with pytest.raises(VerificationFailed):
        stream.unseal(KEY, AD + b" ", sealed)
    with pytest.raises(VerificationFailed):
        stream.unseal(bytes(32), AD, sealed)


@given(st.integers(min_value=0, max_value=2**45))
def test_the_layout_covers_every_byte_once(size):
    layout = Layout(size=size)
    assert layout.chunks == -(-layout.ciphertext_size // CHUNK)
    assert layout.plain_start(layout.segments) == size
    last = layout.chunks - 1
    start, length = layout.plain_of_chunk(last)
    assert start + length == size
    begin, amount = layout.cipher_of_chunk(last)
    assert begin + amount == layout.ciphertext_size
    assert 0 < amount <= CHUNK
    if size:
        assert layout.chunk_at(0) == 0
        assert layout.chunk_at(size - 1) == last
    for chunk in {0, last // 2, last}:
        start, length = layout.plain_of_chunk(chunk)
        if length:
            assert layout.chunk_at(start) == layout.chunk_at(start + length - 1) == chunk


def test_sizes_beyond_the_counter_are_refused():
    assert Layout(size=2**32 * BODY - HEADER_SIZE).segments == 2**32
    for size in (2**32 * BODY - HEADER_SIZE + 1, 2**53, -1):
        with pytest.raises(VerificationFailed) as refused:
            Layout(size=size)
        assert refused.value.reason == "limits"


@pytest.mark.parametrize("length", [0, 39, 40, 55, SEGMENT + 1, SEGMENT + TAG_SIZE])
def test_a_length_that_no_plaintext_gives_is_refused(length):
    with pytest.raises(VerificationFailed):
        stream.size_from_ciphertext(length)
    with pytest.raises(VerificationFailed):
        stream.unseal(KEY, AD, b"\x28" + bytes(length - 1) if length else b"")


SMALL = plaintext(100)
SMALL_SEALED = stream.seal(KEY, AD, SMALL)


def test_every_flipped_bit_of_a_small_blob_is_refused():
    for position in range(len(SMALL_SEALED)):
        for bit in range(8):
            bad = bytearray(SMALL_SEALED)
            bad[position] ^= 1 << bit
            with pytest.raises(VerificationFailed) as refused:
                stream.unseal(KEY, AD, bytes(bad))
            assert refused.value.reason == "damaged"


@given(st.data())
def test_any_cut_addition_or_removal_is_refused(data):
    position = data.draw(st.integers(0, len(SMALL_SEALED)))
    extra = data.draw(st.binary(max_size=3))
    removed = data.draw(st.integers(0, 3))
    bad = SMALL_SEALED[:position] + extra + SMALL_SEALED[position + removed :]
    if bad == SMALL_SEALED:
        return
    with pytest.raises(VerificationFailed):
        stream.unseal(KEY, AD, bad)


def test_a_stream_cut_at_a_segment_is_refused():
    """The classic truncation: whole segments missing at the end, so that every tag is right."""
    data = plaintext(FIRST + 3 * BODY)
    sealed = stream.seal(KEY, AD, data)
    for segments in (1, 2, 3):
        with pytest.raises(VerificationFailed):
            stream.unseal(KEY, AD, sealed[: segments * SEGMENT])
    swapped = sealed[:SEGMENT] + sealed[2 * SEGMENT : 3 * SEGMENT] + sealed[SEGMENT : 2 * SEGMENT]
    with pytest.raises(VerificationFailed):
        stream.unseal(KEY, AD, swapped + sealed[3 * SEGMENT :])


def test_rule_09_no_chunk_is_sealed_twice_under_one_nonce():
    sealer = stream.Sealer(KEY, AD, 10)
    out = memoryview(bytearray(sealer.layout.ciphertext_size))
    sealer.seal_chunk(0, memoryview(b"0123456789"), out)
    with pytest.raises(InternalError):
        sealer.seal_chunk(0, memoryview(b"9876543210"), out)
    with pytest.raises(InternalError):
        sealer.seal_chunk(1, memoryview(b""), out)
    with pytest.raises(InternalError):
        stream.Sealer(KEY, AD, 10).seal_chunk(0, memoryview(b"short"), out)


def test_rule_08_each_stream_has_its_own_salt_prefix_and_ciphertext():
    sealed = {stream.seal(KEY, AD, SMALL) for _ in range(50)}
    assert len({item[1:33] for item in sealed}) == 50
    assert len({item[33:40] for item in sealed}) == 50
    assert len({item[40:] for item in sealed}) == 50


def test_threads_may_seal_chunks_in_any_order():
    size = FIRST + 20 * BODY + 5
    data, key = plaintext(size), stream.new_key()
    sealer = stream.Sealer(key, AD, size)
    layout, out = sealer.layout, bytearray(sealer.layout.ciphertext_size)

    def work(chunk: int) -> None:
        start, length = layout.plain_of_chunk(chunk)
        at, amount = layout.cipher_of_chunk(chunk)
        clear = memoryview(data)[start : start + length]
        sealer.seal_chunk(chunk, clear, memoryview(out)[at : at + amount])

    threads = [threading.Thread(target=work, args=(n,)) for n in reversed(range(layout.chunks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stream.unseal(key, AD, bytes(out)) == data


RANGE_SIZE = 2 * CHUNK + 12345
RANGE_DATA = plaintext(RANGE_SIZE)
RANGE_SEALED = stream.seal(KEY, AD, RANGE_DATA)
RANGE_DIGESTS = digests(RANGE_SEALED, RANGE_SIZE)


def ranges(sealed: bytes = RANGE_SEALED, size: int = RANGE_SIZE) -> stream.Ranges:
    return stream.Ranges(KEY, AD, size, RANGE_DIGESTS, lambda at, n: sealed[at : at + n])


@settings(max_examples=examples(25))
@given(st.integers(0, RANGE_SIZE + 10), st.integers(0, 2 * CHUNK))
def test_a_range_is_what_the_plaintext_has_there(offset, size):
    assert b"".join(ranges().read(offset, size)) == RANGE_DATA[offset : offset + size]


@pytest.mark.parametrize("position", [CHUNK, CHUNK + 5, 2 * CHUNK - 1])
def test_rule_12_a_range_gives_no_byte_of_a_chunk_that_is_damaged(position):
    bad = bytearray(RANGE_SEALED)
    bad[position] ^= 1
    reader = ranges(bytes(bad))
    assert b"".join(reader.read(0, 1000)) == RANGE_DATA[:1000]
    first = Layout(size=RANGE_SIZE).plain_of_chunk(0)[1]
    got = []
    with pytest.raises(VerificationFailed) as refused:
        got.extend(reader.read(first - 10, 1000))
    assert refused.value.reason == "damaged"
    assert b"".join(got) == RANGE_DATA[first - 10 : first]


def test_rule_12_a_damaged_header_gives_no_range_at_all():
    bad = bytearray(RANGE_SEALED)
    bad[3] ^= 1
    with pytest.raises(VerificationFailed):
        ranges(bytes(bad))


def test_rule_12_chunks_that_authenticate_but_are_not_the_tables_are_refused():
    """AES-GCM does not commit to its key: the digests of the table decide, before decryption."""
    other = stream.seal(KEY, AD, RANGE_DATA)
    with pytest.raises(VerificationFailed):
        ranges(other)
    with pytest.raises(VerificationFailed):
        ranges(RANGE_SEALED, RANGE_SIZE + CHUNK)
    with pytest.raises(VerificationFailed):
        list(ranges(RANGE_SEALED[:-1]).read(RANGE_SIZE - 1, 1))


def test_a_sealer_shows_no_key():
    sealer = stream.Sealer(KEY, AD, 10)
    assert KEY.hex() not in repr(sealer) + str(sealer)
    with pytest.raises(SovgateError):
        stream.Sealer(KEY[:31], AD, 10)
