"""The chunk: what it is made of, what it is bound to, and its refusal of every change."""

from __future__ import annotations

import hashlib
import random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from sovgate.errors import InternalError, VerificationFailed
from sovgate.formats import chunk

KEY, IV = bytes(range(32)), bytes(range(12))
AD = chunk.associated_data("eu")


def sealed(data: bytes, key: bytes = KEY, iv: bytes = IV, ad: bytes = AD) -> tuple[bytes, bytes]:
    """A chunk's bytes and its digest."""
    out = bytearray(len(data) + chunk.OVERHEAD)
    digest = chunk.seal_into(key, iv, ad, memoryview(data), memoryview(out))
    return bytes(out), digest


def opened(data: bytes, digest: bytes, size: int, key: bytes = KEY, ad: bytes = AD) -> bytes:
    out = bytearray(size)
    chunk.open_into(key, ad, memoryview(data), digest, memoryview(out))
    return bytes(out)


@pytest.mark.parametrize("size", [1, 15, 16, 17, 4096, chunk.SIZE])
def test_a_chunk_is_iv_ciphertext_and_tag_under_its_own_name(size):
    data = random.Random(size).randbytes(size)
    made, digest = sealed(data)
    assert made == IV + AESGCM(KEY).encrypt(IV, data, b'{"format":"sovgate.chunk/v0","zone":"eu"}')
    assert digest == hashlib.sha256(made).digest()
    assert opened(made, digest, size) == data


@given(data=st.binary(min_size=1, max_size=300), at=st.integers(0), flip=st.integers(1, 255))
def test_a_changed_chunk_is_refused_by_its_digest_and_by_its_tag(data, at, flip):
    made, digest = sealed(data)
    bad = bytearray(made)
    bad[at % len(bad)] ^= flip
    for named in (digest, hashlib.sha256(bad).digest()):
        with pytest.raises(VerificationFailed) as refused:
            opened(bytes(bad), named, len(data))
        assert refused.value.reason == "damaged"


@pytest.mark.parametrize("size", [99, 101])
def test_a_chunk_of_another_length_is_refused_before_it_is_opened(size):
    made, digest = sealed(bytes(100))
    with pytest.raises(VerificationFailed, match="damaged") as refused:
        opened(made, digest, size)
    assert "longer or shorter" in refused.value.why


def test_a_chunk_opens_for_its_zone_and_under_its_key_alone():
    made, digest = sealed(b"weights")
    with pytest.raises(VerificationFailed):
        opened(made, digest, 7, ad=chunk.associated_data("ch"))
    with pytest.raises(VerificationFailed):
        opened(made, digest, 7, key=bytes(32))


def test_what_no_caller_may_do_is_a_defect():
    for call in (
        lambda: sealed(b""),
        lambda: sealed(bytes(chunk.SIZE + 1)),
        lambda: sealed(b"x", key=bytes(16)),
        lambda: sealed(b"x", iv=bytes(8)),
        lambda: chunk.seal_into(KEY, IV, AD, memoryview(b"xy"), memoryview(bytearray(29))),
        lambda: chunk.associated_data("No Zone"),
        lambda: opened(bytes(28), bytes(32), 0),
    ):
        with pytest.raises(InternalError):
            call()


def test_keys_and_ivs_are_new_each_time():
    assert (
        len({chunk.new_key() for _ in range(50)}) == len({chunk.new_iv() for _ in range(50)}) == 50
    )
