"""The encrypted blob: Tink AES256-GCM-HKDF streaming, one segment or chunk at a time. No I/O.

Layout of FORMATS "Blob": header 40 bytes (0x28 ‖ salt ‖ nonce prefix), then segments; segment i
ends at (i+1)·SEGMENT. A chunk is CHUNK_SEGMENTS ciphertext segments and is hashed by itself, so
that a range gives out verified bytes only (RULES 12).
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

from sovgate import strict
from sovgate.errors import InternalError, VerificationFailed

FORMAT = "sovgate.blob/v0"
KEY_SIZE = 32
SALT_SIZE = 32
PREFIX_SIZE = 7
HEADER_SIZE = 1 + SALT_SIZE + PREFIX_SIZE
TAG_SIZE = 16
SEGMENT = 1024 * 1024
CHUNK_SEGMENTS = 8
CHUNK = CHUNK_SEGMENTS * SEGMENT
#: Plaintext bytes that one segment carries, but for the first, which shares its place with the
#: header.
BODY = SEGMENT - TAG_SIZE
MAX_SEGMENTS = 2**32

Buffer = bytes | bytearray | memoryview


def associated_data(zone: str, sha256: str, size: int) -> bytes:
    """What a blob is bound to: format, zone, and its plaintext's digest and size."""
    return strict.canonical({"format": FORMAT, "zone": zone, "sha256": sha256, "size": size})


def new_key() -> bytes:
    return secrets.token_bytes(KEY_SIZE)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the bytes of a plaintext of `size` bytes lie. Offsets and sizes in bytes."""

    size: int

    def __post_init__(self) -> None:
        if not 0 <= self.size <= strict.MAX_INT or self.segments > MAX_SEGMENTS:
            raise VerificationFailed("a blob of that size is not possible", reason="limits")

    @cached_property
    def segments(self) -> int:
        """Never zero: an empty plaintext has one empty last segment."""
        return max(1, -(-(self.size + HEADER_SIZE) // BODY))

    @property
    def ciphertext_size(self) -> int:
        return HEADER_SIZE + self.size + TAG_SIZE * self.segments

    @property
    def chunks(self) -> int:
        return -(-self.segments // CHUNK_SEGMENTS)

    def plain_start(self, segment: int) -> int:
        """Where segment `segment` starts in the plaintext; of one past the last: the size."""
        return min(self.size, max(0, segment * BODY - HEADER_SIZE))

    def plain_of_chunk(self, chunk: int) -> tuple[int, int]:
        """(start, size) of a chunk's bytes in the plaintext."""
        start = self.plain_start(chunk * CHUNK_SEGMENTS)
        return start, self.plain_start((chunk + 1) * CHUNK_SEGMENTS) - start

    def cipher_of_chunk(self, chunk: int) -> tuple[int, int]:
        """(start, size) of a chunk in the ciphertext."""
        start = chunk * CHUNK
        return start, min(CHUNK, self.ciphertext_size - start)

    def chunk_at(self, plain_offset: int) -> int:
        """The chunk that holds the plaintext byte at an offset inside the plaintext."""
        return (plain_offset + HEADER_SIZE) // BODY // CHUNK_SEGMENTS


class _Stream:
    """One key, header and associated data: the segment key and the nonces that follow from them.

    Holds secrets: its repr is the default one, which shows none of them.
    """

    def __init__(self, key: bytes, ad: bytes, size: int, salt: bytes, prefix: bytes) -> None:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        if len(key) != KEY_SIZE or len(salt) != SALT_SIZE or len(prefix) != PREFIX_SIZE:
            raise InternalError("a stream's key, salt or nonce prefix has a wrong length")
        self.layout = Layout(size=size)
        self._key = HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=salt, info=ad).derive(key)
        self._prefix = prefix

    def _nonce(self, segment: int) -> bytes:
        last = segment == self.layout.segments - 1
        return self._prefix + segment.to_bytes(4, "big") + (b"\x01" if last else b"\x00")

    def _parts(self, chunk: int) -> Iterator[tuple[int, slice, slice]]:
        """(segment, its place in the chunk's plaintext, its place in the chunk's ciphertext)."""
        layout = self.layout
        first = chunk * CHUNK_SEGMENTS
        if not 0 <= chunk < layout.chunks:
            raise InternalError("a stream has no such chunk")
        base = layout.plain_start(first)
        at = HEADER_SIZE if chunk == 0 else 0
        for segment in range(first, min(first + CHUNK_SEGMENTS, layout.segments)):
            start, end = layout.plain_start(segment), layout.plain_start(segment + 1)
            sealed = end - start + TAG_SIZE
            yield segment, slice(start - base, end - base), slice(at, at + sealed)
            at += sealed


class Sealer(_Stream):
    """Encrypts one plaintext of a known size under a key that encrypts nothing else.

    `salt` and `prefix` are random; only test vectors name them. Threads may seal different chunks
    at once. No chunk is sealed twice: that would use a nonce for two plaintexts (RULES 9).
    """

    def __init__(
        self,
        key: bytes,
        ad: bytes,
        size: int,
        *,
        salt: bytes | None = None,
        prefix: bytes | None = None,
    ) -> None:
        salt = secrets.token_bytes(SALT_SIZE) if salt is None else salt
        prefix = secrets.token_bytes(PREFIX_SIZE) if prefix is None else prefix
        super().__init__(key, ad, size, salt, prefix)
        self.header = bytes([HEADER_SIZE]) + salt + prefix
        self._sealed: set[int] = set()
        self._lock = threading.Lock()

    def seal_chunk(self, chunk: int, plain: memoryview, out: memoryview) -> bytes:
        """Encrypt a chunk's plaintext into `out`, exactly as long as the chunk.

        Returns the SHA-256 of the chunk (32 bytes). Frees the GIL while it works.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if (len(plain), len(out)) != (
            self.layout.plain_of_chunk(chunk)[1],
            self.layout.cipher_of_chunk(chunk)[1],
        ):
            raise InternalError("a chunk's buffers have the wrong length")
        with self._lock:
            if chunk in self._sealed:
                raise InternalError("a chunk was to be sealed twice under one nonce")
            self._sealed.add(chunk)
        cipher = AESGCM(self._key)
        digest = hashlib.sha256()
        if chunk == 0:
            out[:HEADER_SIZE] = self.header
            digest.update(self.header)
        for segment, clear, sealed in self._parts(chunk):
            cipher.encrypt_into(self._nonce(segment), plain[clear], None, out[sealed])
            digest.update(out[sealed])
        return digest.digest()


class Opener(_Stream):
    """Decrypts one stream whose plaintext's size is known from something signed.

    Knowing the size is what makes a cut-off stream fail: it says which segment is the last.
    """

    def __init__(self, key: bytes, ad: bytes, size: int, header: Buffer) -> None:
        header = bytes(header)
        if len(header) != HEADER_SIZE or header[0] != HEADER_SIZE:
            _damaged("its header is not that of the format")
        super().__init__(key, ad, size, header[1 : 1 + SALT_SIZE], header[1 + SALT_SIZE :])

    def open_chunk(self, chunk: int, sealed: memoryview, out: memoryview) -> None:
        """Decrypt a chunk into `out`, exactly as long as its plaintext.

        Raises VerificationFailed, reason "damaged"; what `out` holds then is not to be used.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if len(sealed) != self.layout.cipher_of_chunk(chunk)[1]:
            _damaged("it has another length than its plaintext's size demands")
        if len(out) != self.layout.plain_of_chunk(chunk)[1]:
            raise InternalError("a chunk's buffer has the wrong length")
        cipher = AESGCM(self._key)
        try:
            for segment, clear, part in self._parts(chunk):
                cipher.decrypt_into(self._nonce(segment), sealed[part], None, out[clear])
        except InvalidTag as error:
            raise _damage("a segment of it does not authenticate") from error


def seal(key: bytes, ad: bytes, plaintext: bytes, **fixed: bytes) -> bytes:
    """A whole small plaintext at once. `fixed`: salt and prefix, for test vectors only."""
    sealer = Sealer(key, ad, len(plaintext), **fixed)
    layout = sealer.layout
    out = bytearray(layout.ciphertext_size)
    clear, sealed = memoryview(plaintext), memoryview(out)
    for chunk in range(layout.chunks):
        start, size = layout.plain_of_chunk(chunk)
        at, length = layout.cipher_of_chunk(chunk)
        sealer.seal_chunk(chunk, clear[start : start + size], sealed[at : at + length])
    return bytes(out)


def size_from_ciphertext(length: int) -> int:
    """The plaintext's size of a stream of `length` bytes: only to read streams that were already
    verified as a whole. Raises VerificationFailed, reason "damaged"."""
    segments = max(1, -(-length // SEGMENT))
    size = length - HEADER_SIZE - TAG_SIZE * segments
    if size < 0 or Layout(size=size).ciphertext_size != length:
        _damaged("no plaintext has a ciphertext of that length")
    return size


def unseal(key: bytes, ad: bytes, ciphertext: bytes) -> bytes:
    """A whole small ciphertext at once. Raises VerificationFailed, reason "damaged"."""
    size = size_from_ciphertext(len(ciphertext))
    opener = Opener(key, ad, size, ciphertext[:HEADER_SIZE])
    out = bytearray(size)
    clear, sealed = memoryview(out), memoryview(ciphertext)
    for chunk in range(opener.layout.chunks):
        start, length = opener.layout.plain_of_chunk(chunk)
        at, amount = opener.layout.cipher_of_chunk(chunk)
        opener.open_chunk(chunk, sealed[at : at + amount], clear[start : start + length])
    return bytes(out)


class Ranges:
    """Random access to a blob: a byte is given out only after its whole chunk verified (RULES 12).

    `read_at(offset, size)` gives ciphertext bytes; `digests` are the chunks', from the key table.
    """

    def __init__(
        self,
        key: bytes,
        ad: bytes,
        size: int,
        digests: Sequence[bytes],
        read_at: Callable[[int, int], bytes],
    ) -> None:
        self._read_at = read_at
        self._digests = digests
        self.layout = Layout(size=size)
        if len(digests) != self.layout.chunks:
            _damaged("its key table lists another number of chunks than its size demands")
        # The header is part of chunk 0: it is trusted only once that has verified.
        first = self._verified(0)
        self._opener = Opener(key, ad, size, first[:HEADER_SIZE])

    def _verified(self, chunk: int) -> bytes:
        start, size = self.layout.cipher_of_chunk(chunk)
        sealed = self._read_at(start, size)
        check_chunk(sealed, self._digests[chunk], size)
        return sealed

    def read(self, offset: int, size: int) -> Iterator[bytes]:
        """The plaintext from `offset`, `size` bytes or up to its end, a chunk's part at a time."""
        if offset < 0 or size < 0:
            raise InternalError("a range starts or ends before zero")
        end = min(self.layout.size, offset + size)
        while offset < end:
            chunk = self.layout.chunk_at(offset)
            start, length = self.layout.plain_of_chunk(chunk)
            out = bytearray(length)
            self._opener.open_chunk(chunk, memoryview(self._verified(chunk)), memoryview(out))
            part = out[offset - start : end - start]
            yield bytes(part)
            offset += len(part)


def check_chunk(sealed: Buffer, digest: bytes, size: int) -> None:
    """A chunk's length and SHA-256. Raises VerificationFailed, reason "damaged"."""
    if len(sealed) != size:
        _damaged("it ends too early")
    if not secrets.compare_digest(hashlib.sha256(sealed).digest(), digest):
        _damaged("a chunk's digest differs from the one in the key table")


def _damage(why: str) -> VerificationFailed:
    return VerificationFailed(
        "the encrypted data is damaged",
        why=why,
        fix="get it again from its source",
        reason="damaged",
    )


def _damaged(why: str) -> NoReturn:
    raise _damage(why)
