"""Decrypts an encrypted copy inside its zone, every chunk verified before it is used. No network.

Writes below one private folder that the caller made and will remove (RULES 11); reads blobs through
a function that the caller gives.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sovgate import files
from sovgate.errors import KeyServiceError, Malformed, VerificationFailed, disk_error
from sovgate.formats import keytable, stream, wrap
from sovgate.formats.sealed import Blob, Sealed
from sovgate.records import Advance
from sovgate.stages.encrypt.tree import Tree
from sovgate.work import Buffer, Buffers, Ordered, Workers

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest, Resource
    from sovgate.keys._api import Identity

#: Chunks in flight: 80 MiB at any size of model.
SEALED_BUFFERS = 5
PLAIN_BUFFERS = 5
#: Files of one content that are written while it is decrypted; more of them are copied afterwards,
#: since a process may have only so many files open.
MAX_OPEN_COPIES = 16

ReadBlob = Callable[[str], BinaryIO]


def open_keys(sealed: Sealed, read_blob: ReadBlob, identity: Identity) -> dict[str, keytable.Entry]:
    """Unwrap the release key and open the key table: entries by blob digest.

    Raises KeyServiceError ("wrong-key": this identity is not the one that it was encrypted for),
    VerificationFailed (damage: "wrapped-key", "keytable", "damaged", "commit-mismatch"), Malformed.
    """
    recipient = sealed.recipient
    if (recipient.key_id, recipient.algorithm) != (identity.key_id, identity.algorithm):
        raise KeyServiceError(
            "this key does not open it",
            why=f"it was encrypted for key {recipient.key_id} ({recipient.algorithm}); "
            f"this one is {identity.key_id} ({identity.algorithm})",
            fix="use the key of the zone that it was encrypted for",
            reason="wrong-key",
        )
    context = wrap.Context(
        zone=sealed.zone, release=sealed.release, manifest=sealed.manifest.sha256
    )
    key = identity.unwrap(recipient.wrapped, context.canonical())
    if not wrap.committed(key, recipient.commit):
        raise KeyServiceError(
            "this key does not open it",
            why="what it unwraps is not the key that the model was encrypted with",
            fix="use the key of the zone that it was encrypted for",
            reason="wrong-key",
        )
    data = bytearray(sealed.keytable.size)
    with read_blob(sealed.keytable.sha256) as source:
        whole = read_into(source, memoryview(data)) == len(data) and not source.read(1)
    if not whole or hashlib.sha256(data).hexdigest() != sealed.keytable.sha256:
        raise VerificationFailed(
            "the key table is damaged",
            why="its bytes are not those that its record names",
            fix="get the encrypted model again from its source",
            reason="keytable",
        )
    entries = {entry.blob: entry for entry in keytable.unseal(bytes(data), key, context)}
    _check_entries(sealed, entries)
    return entries


def _check_entries(sealed: Sealed, entries: dict[str, keytable.Entry]) -> None:
    """The table, which is authenticated, against the record, which alone is not."""
    if set(entries) != {blob.sha256 for blob in sealed.blobs}:
        raise Malformed("the key table lists other blobs than its record", reason="keytable")
    for blob in sealed.blobs:
        entry = entries[blob.sha256]
        if entry.zone != sealed.zone or entry.plaintext != blob.plaintext:
            raise Malformed("the key table binds a blob to something else", reason="keytable")
        if not wrap.committed(entry.key, blob.commit):
            raise VerificationFailed(
                "a blob's key is not the one that its record commits to",
                fix="get the encrypted model again from its source",
                reason="commit-mismatch",
            )


def open_model(
    sealed: Sealed,
    read_blob: ReadBlob,
    identity: Identity,
    into: Path,
    manifest: Manifest,
    *,
    advance: Advance | None = None,
) -> Path:
    """Decrypt and verify a model below the private folder `into`. Returns its path, `into/model`.

    `manifest` comes from a signature that verified. Exactly the files that it lists are written;
    each chunk is verified before it is decrypted, each file against its signed digest. Until this
    returns nothing in `into` is to be used, and after an error `into` is to be removed.

    Raises what `open_keys` raises, VerificationFailed ("damaged", "digest-mismatch",
    "manifest-mismatch"), DiskError, and whatever `read_blob` raises.
    """
    if manifest.sized != sealed.manifest:
        raise VerificationFailed(
            "it is an encrypted copy of another model",
            why=f"its manifest is {sealed.manifest.sha256}; {manifest.digest} was signed",
            reason="manifest-mismatch",
        )
    blobs = {(blob.plaintext.sha256, blob.plaintext.size): blob for blob in sealed.blobs}
    wanted: dict[tuple[str, int], list[Resource]] = {}
    for resource in manifest.resources:
        wanted.setdefault((resource.digest, resource.size), []).append(resource)
    if set(blobs) != set(wanted):
        raise VerificationFailed(
            "it does not hold exactly the files that were signed",
            why=f"{len(wanted)} contents were signed, {len(blobs)} are there",
            fix="get the encrypted model again from its source",
            reason="manifest-mismatch",
        )
    entries = open_keys(sealed, read_blob, identity)
    target = into / "model"
    try:
        tree = Tree(target, single=manifest.kind == "file")
        outputs: list[_Output] = []
        try:
            with Workers() as workers:
                sealed_buffers = Buffers(workers, SEALED_BUFFERS, stream.CHUNK)
                plain_buffers = Buffers(workers, PLAIN_BUFFERS, stream.CHUNK)
                for content, resources in wanted.items():
                    names = [resource.name for resource in resources]
                    output = _Output(workers, blobs[content], entries[blobs[content].sha256])
                    outputs = [output, *(other for other in outputs if other.descriptors)]
                    output.create(tree, names)
                    with read_blob(output.blob.sha256) as source:
                        output.read(source, sealed_buffers, plain_buffers, advance)
        finally:
            for output in outputs:
                output.close()
        for first, *others in wanted.values():
            for other in others[MAX_OPEN_COPIES - 1 :]:
                tree.copy(first.name, other.name)
        tree.publish()
    except OSError as error:
        raise disk_error(error, "write the decrypted model") from error
    return target


class _Output:
    """One blob on its way to the one or more files that hold its plaintext."""

    def __init__(self, workers: Workers, blob: Blob, entry: keytable.Entry) -> None:
        self._workers = workers
        self.blob = blob
        self._entry = entry
        self._digests = entry.digests
        self.layout = stream.Layout(size=blob.plaintext.size)
        self._digest = hashlib.sha256()
        self._steps = Ordered(workers)
        self.descriptors: list[int] = []
        self._tree: Tree | None = None
        self._times = 0

    def create(self, tree: Tree, names: list[str]) -> None:
        self._tree, self._times = tree, len(names)
        for name in names[:MAX_OPEN_COPIES]:
            self.descriptors.append(tree.create(name))

    def close(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.pop())

    def read(
        self, source: BinaryIO, sealed: Buffers, plain: Buffers, advance: Advance | None
    ) -> None:
        """Runs in the reading thread. Returns when all is read, not when all is written."""
        opener: stream.Opener | None = None
        for chunk in range(self.layout.chunks):
            size = self.layout.cipher_of_chunk(chunk)[1]
            buffer = sealed.take()
            view = buffer.view(size)
            try:
                got = read_into(source, view)
            except OSError as error:
                raise disk_error(error, f"read the blob {self.blob.sha256}") from error
            if opener is None:
                # Not verified yet. A wrong header makes every segment fail, and so does a wrong
                # chunk 0; nothing is given out before both are right.
                opener = stream.Opener(
                    self._entry.key,
                    self._entry.associated_data,
                    self.layout.size,
                    view[: min(got, stream.HEADER_SIZE)],
                )
            self._workers.submit(self._step(opener, chunk, buffer, got, plain.take(), advance))
        if source.read(1):
            raise VerificationFailed(
                "the encrypted data is damaged",
                why="there is more of it than its record names",
                fix="get it again from its source",
                reason="damaged",
            )

    def _step(
        self,
        opener: stream.Opener,
        chunk: int,
        sealed: Buffer,
        got: int,
        plain: Buffer,
        advance: Advance | None,
    ) -> Callable[[], None]:
        start, size = self.layout.plain_of_chunk(chunk)
        length = self.layout.cipher_of_chunk(chunk)[1]

        def open_() -> None:
            stream.check_chunk(sealed.view(got), self._digests[chunk], length)
            view = plain.view(size)
            opener.open_chunk(chunk, sealed.view(length), view)
            sealed.drop()
            for descriptor in self.descriptors:
                files.write_at(descriptor, view, start)
                if chunk < self.layout.chunks - 1:
                    files.begin_sync(descriptor, start, size)
            self._steps.put(chunk, count)

        def count() -> None:
            self._digest.update(plain.view(size))
            plain.drop()
            if advance is not None and size:
                advance(size * self._times)
            if chunk == self.layout.chunks - 1:
                self._finish()

        return open_

    def _finish(self) -> None:
        if self._digest.hexdigest() != self.blob.plaintext.sha256:
            raise VerificationFailed(
                "what was decrypted is not what was signed",
                why=f"its SHA-256 is {self._digest.hexdigest()}; "
                f"{self.blob.plaintext.sha256} was signed",
                fix="do not use it; get the model again from its source",
                reason="digest-mismatch",
            )
        for descriptor in self.descriptors:
            if self._tree is not None:
                self._tree.finish(descriptor)
        self.close()


def read_into(source: BinaryIO, view: memoryview) -> int:
    """Fill `view` from a reader as far as it goes; returns how many bytes came."""
    into = getattr(source, "readinto", None)
    done = 0
    while done < len(view):
        if into is not None:
            count = into(view[done:]) or 0
        else:
            data = source.read(len(view) - done)
            count = len(data)
            view[done : done + count] = data
        if count == 0:
            break
        done += count
    return done
