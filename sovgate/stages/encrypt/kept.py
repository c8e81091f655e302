"""Keeps the keys of what a push sends, in a private folder on this machine, until it is through.

Touches that folder and no other place. What lies there is used only where this zone's key signed
its header for this very push, and never but to make the same chunk again (RULES 9, 31).
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import KeyServiceError, SovgateError, UsageError, disk_error
from sovgate.files import replace_at
from sovgate.formats import chunk, wrap
from sovgate.formats.resume import (
    ENTRY_SIZE,
    MAX_DOCUMENT,
    Course,
    Entry,
    Header,
    Signed,
    signed_bytes,
)
from sovgate.formats.wrap import Wrapped
from sovgate.stages.encrypt.folder import PrivateFolder
from sovgate.stages.seal import checked_signature

if TYPE_CHECKING:
    from sovgate.keys._api import Identity, Recipient, Signer

HEADER, OUTBOX, ENTRIES = "header.json", "outbox.key", "entries"
#: Synced without the file's times, where the system can.
_sync = getattr(os, "fdatasync", os.fsync)


class Folder(PrivateFolder):
    """A push's own folder below `base`: its name tells which push it is for."""

    def __init__(self, base: Path, course: Course) -> None:
        super().__init__(base, course.name, HEADER)
        self.course = course

    def in_use(self) -> UsageError:
        return UsageError(
            f"another push of {self.course.release} to zone {self.course.zone} is under way here",
            fix="let it finish, and run this again",
            reason="in-use",
        )


def open_keys(folder: Folder, chunks: int, signer: Signer, own: OwnKey | None) -> KeptKeys:
    """The keys that an earlier run of this push kept, and room for those of this one.

    What is not authentic for this very push is no earlier run's, and is replaced: a header of
    another key or push, an outbox key that is not the header's, an entry that does not open for
    its place. `own` None: the outbox key is a file. Raises OSError, KeyServiceError.
    """
    found = _earlier(folder, chunks, signer, own)
    header, outbox, entries = found or _anew(folder, chunks, signer, own)
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    return KeptKeys(os.open(ENTRIES, flags, dir_fd=folder.handle), outbox, header, entries)


def _earlier(
    folder: Folder, chunks: int, signer: Signer, own: OwnKey | None
) -> tuple[bytes, bytes, dict[int, Entry]] | None:
    try:
        signed = Signed.parse(folder.read(HEADER, MAX_DOCUMENT))
        signer.public_key.verify(signed_bytes(signed.payload), signed.signature)
        header = Header.parse(signed.payload)
        if header.course != folder.course or (header.recipient is None) != (own is None):
            return None
        if header.recipient is None or own is None:
            outbox = folder.read(OUTBOX, wrap.KEY_SIZE)
        else:
            outbox = own.unwrap(header.recipient, folder.course.context())
        data = folder.read(ENTRIES, chunks * ENTRY_SIZE)
    except (SovgateError, FileNotFoundError):
        return None
    if len(outbox) != wrap.KEY_SIZE or not wrap.committed(outbox, header.commit):
        return None
    if len(data) != chunks * ENTRY_SIZE:
        return None
    entries: dict[int, Entry] = {}
    for place in range(chunks):
        one = data[place * ENTRY_SIZE : (place + 1) * ENTRY_SIZE]
        if any(one) and (entry := Entry.opened(one, outbox, header.digest, place)) is not None:
            entries[place] = entry
    # Only whoever has the outbox key could have done this; a key for two places encrypts nothing.
    if len({entry.key for entry in entries.values()}) != len(entries):
        return None
    return header.digest, outbox, entries


def _anew(
    folder: Folder, chunks: int, signer: Signer, own: OwnKey | None
) -> tuple[bytes, bytes, dict[int, Entry]]:
    """The entries first go, and come last: none stands under a header that is not its own. Closed
    parts stay, since they have signatures of their own.
    """
    folder.clear([ENTRIES, OUTBOX, HEADER])
    outbox = chunk.new_key()
    wrapped = None if own is None else own.wrap(outbox, folder.course.context())
    header = Header(course=folder.course, commit=wrap.commit(outbox), recipient=wrapped)
    signature = checked_signature(signer, signed_bytes(header.canonical()))
    signed = Signed(payload=header.canonical(), signature=signature)
    if wrapped is None:
        replace_at(folder.handle, OUTBOX, outbox, mode=0o600)
    replace_at(folder.handle, HEADER, signed.canonical(), mode=0o600)
    # Room for all of them now: a disk that fills up later stops no entry.
    replace_at(folder.handle, ENTRIES, bytes(chunks * ENTRY_SIZE), mode=0o600)
    return header.digest, outbox, {}


@dataclass(frozen=True, kw_only=True)
class OwnKey:
    """The sender's own encryption key. `identity` is opened only where something is to be opened.

    It wraps the outbox key for a context that no release key has.
    """

    recipient: Recipient
    identity: Callable[[], Identity]

    def wrap(self, key: bytes, context: bytes) -> Wrapped:
        return Wrapped(
            key_id=self.recipient.key_id,
            algorithm=self.recipient.algorithm,
            wrapped=self.recipient.wrap(key, context),
            commit=wrap.commit(key),
        )

    def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Raises KeyServiceError, VerificationFailed."""
        identity = self.identity()
        if (identity.key_id, identity.algorithm) != (wrapped.key_id, wrapped.algorithm):
            raise KeyServiceError("the outbox key was wrapped by another key", reason="wrong-key")
        return identity.unwrap(wrapped.wrapped, context)


class KeptKeys:
    """`sending.Keys` that outlive the run. Holds secrets: has no repr of its own.

    An entry is on the disk before its chunk may leave. Where one cannot be written the chunk
    leaves all the same, and the next run encrypts it anew: `failed` says why.
    """

    def __init__(
        self, descriptor: int, outbox: bytes, header: bytes, entries: dict[int, Entry]
    ) -> None:
        self._descriptor, self._outbox, self._header = descriptor, outbox, header
        self._entries = entries
        #: Digests of chunks that an earlier run made, and may have sent.
        self.earlier = frozenset(entry.digest for entry in entries.values())
        self._new: dict[int, tuple[bytes, bytes]] = {}
        self.failed: OSError | None = None

    def take(self, place: int) -> tuple[bytes, bytes]:
        entry = self._entries.get(place)
        if entry is not None:
            return entry.key, entry.iv
        self._new[place] = chunk.new_key(), chunk.new_iv()
        return self._new[place]

    def sealed(self, place: int, digest: bytes) -> bool:
        entry = self._entries.get(place)
        if entry is None:
            key, iv = self._new.pop(place)
            self._write(place, Entry(key=key, iv=iv, digest=digest))
            return True
        if hmac.compare_digest(entry.digest, digest):
            return True
        self.forget([place])
        return False

    def of(self, places: Sequence[int], digests: Sequence[bytes]) -> tuple[bytes, ...] | None:
        """The keys of these chunks; None where that of one is not kept."""
        found = [self._entries.get(place) for place in places]
        keys = tuple(
            entry.key
            for entry, digest in zip(found, digests, strict=True)
            if entry is not None and hmac.compare_digest(entry.digest, digest)
        )
        return keys if len(keys) == len(found) else None

    def _write(self, place: int, entry: Entry) -> None:
        try:
            data = entry.sealed(self._outbox, self._header, place)
            os.pwrite(self._descriptor, data, place * ENTRY_SIZE)
            _sync(self._descriptor)
        except OSError as error:
            self.failed = error
        else:
            self._entries[place] = entry

    def forget(self, places: Iterable[int]) -> None:
        """Destroy the entries of these places, on the disk first. Raises DiskError."""
        gone = [place for place in places if place in self._entries]
        try:
            for place in gone:
                os.pwrite(self._descriptor, bytes(ENTRY_SIZE), place * ENTRY_SIZE)
            if gone:
                _sync(self._descriptor)
        except OSError as error:
            raise disk_error(error, "destroy a key that is not to be used again") from error
        for place in gone:
            del self._entries[place]

    def forget_chunk(self, digest: bytes) -> None:
        """The same of the chunk with that SHA-256, which no later run is to make again."""
        self.forget([at for at, one in list(self._entries.items()) if one.digest == digest])

    @property
    def digests(self) -> frozenset[bytes]:
        """Of the chunks whose keys are kept."""
        return frozenset(entry.digest for entry in self._entries.values())

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
