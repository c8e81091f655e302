"""Encrypts a signed model for one or more zones in one read of its bytes. No network.

Reads exactly the files that the manifest lists, writes one folder, which appears whole or not at
all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import files
from sovgate.errors import (
    AlreadyExists,
    ConfigError,
    InternalError,
    KeyServiceError,
    SovgateError,
    UsageError,
    VerificationFailed,
    disk_error,
)
from sovgate.formats import keytable, stream
from sovgate.formats.oms import GIT_NAMES
from sovgate.formats.sealed import Blob, Evidence, Sealed, Wrapped
from sovgate.formats.wrap import Context, commit
from sovgate.links import opened_model
from sovgate.records import ZONE_NAME, Advance, Release, Sized
from sovgate.stages.encrypt.maker import SIGNATURE_NAME, sign_record
from sovgate.stages.inventory import refuse_git
from sovgate.staging import Staging, require_free
from sovgate.work import Buffer, Buffers, Ordered, Workers

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest, Resource
    from sovgate.keys._api import Recipient, Signer

#: Chunks in flight: 4 of plaintext and 6 of ciphertext, 80 MiB at any size of model.
PLAIN_BUFFERS = 4
SEALED_BUFFERS = 6

SEALED_NAME = "sealed.json"


@dataclass(frozen=True, kw_only=True)
class ZoneKey:
    """A zone and what wraps keys for it; `maker` signs the copy, which else nobody sends."""

    zone: str
    recipient: Recipient
    maker: Signer | None = None


def blob_path(folder: Path, sha256: str) -> Path:
    """Where a blob lies in an encrypted copy's zone folder."""
    return folder / "blobs" / "sha256" / sha256


def seal_model(
    manifest: Manifest,
    root: Path,
    signature: bytes,
    zones: Sequence[ZoneKey],
    release: Release | None,
    out: Path,
    *,
    evidence: Sequence[tuple[Evidence, bytes]] = (),
    advance: Advance | None = None,
) -> dict[str, Sealed]:
    """Write `out/<zone>/{blobs/sha256/…, sealed.signature.json, sealed.json}` for each zone.

    `root` is the model's directory or, for a manifest of kind "file", that file; `signature` its
    bundle, verified by the caller. Every zone has its own release key, blob keys, salts and nonces
    (RULES 8), and every run new ones (RULES 9). The digest of each file is computed again while it
    is encrypted: a difference from the manifest aborts.

    `out` must not exist, or be an empty folder; after a failure or a kill it is as it was.

    Raises VerificationFailed ("digest-mismatch", "changed-while-reading", "missing-file",
    "not-regular", "git-name", "limits"), UsageError ("output-exists"), ConfigError,
    KeyServiceError, DiskError.
    """
    _check_zones(zones)
    _check_manifest(manifest)
    require_free(out)
    with Staging(out) as staging:
        folder = staging.path / "out"
        try:
            copies = [_Copy(zone, folder, manifest, release) for zone in zones]
            _seal_files(manifest, root, copies, staging.path, advance)
            documents = [signature, manifest.canonical(), *(data for _, data in evidence)]
            records = tuple(item for item, _ in evidence)
            done = {copy.zone: copy.finish(signature, documents, records) for copy in copies}
            files.sync_dir(folder)
        except OSError as error:
            raise disk_error(error, "write the encrypted copy") from error
        staging.commit("out")
    return done


def _check_zones(zones: Sequence[ZoneKey]) -> None:
    if not zones:
        raise UsageError("no zone to encrypt for", fix="name one with --to", reason="no-zone")
    for zone in zones:
        if not ZONE_NAME.fullmatch(zone.zone):
            raise UsageError(f"{zone.zone[:80]!r} is not a zone's name", reason="bad-zone")
    if len({zone.zone for zone in zones}) != len(zones):
        raise UsageError("a zone is named twice", fix="name each once", reason="zone-twice")
    if len({zone.recipient.key_id for zone in zones}) != len(zones):
        raise ConfigError(
            "two zones have the same encryption key",
            why="what is encrypted for one zone could be opened in the other",
            fix="give each zone a key of its own: sovgate keys generate encrypt -o FILE",
            reason="shared-zone-key",
        )


def _check_manifest(manifest: Manifest) -> None:
    """RULES 2: nothing below the root may look like Git's own to a tool that unpacks it."""
    names = [resource.name for resource in manifest.resources]
    refuse_git(name for name in names if name not in GIT_NAMES)


class _Copy:
    """One zone's encrypted copy while it is being made. Holds secrets: has no repr of its own."""

    def __init__(
        self, key: ZoneKey, folder: Path, manifest: Manifest, release: Release | None
    ) -> None:
        self.zone = key.zone
        self.folder = folder / key.zone
        self.manifest = manifest
        self.release = str(release) if release else None
        self.context = Context(zone=key.zone, release=self.release, manifest=manifest.digest)
        self._recipient, self._maker = key.recipient, key.maker
        self._key = stream.new_key()
        #: by position among the plaintexts, so that the order does not depend on threads
        self.entries: dict[int, keytable.Entry] = {}
        blob_path(self.folder, "").mkdir(parents=True)

    def finish(
        self, signature: bytes, documents: Sequence[bytes], evidence: tuple[Evidence, ...]
    ) -> Sealed:
        """Write the key table and the plain documents, and last the record of it all."""
        entries = [self.entries[position] for position in sorted(self.entries)]
        table = keytable.seal(entries, self._key, self.context)
        for document in (table, *documents):
            self._put(document)
        sealed = Sealed(
            zone=self.zone,
            release=self.release,
            manifest=self.manifest.sized,
            signature=_sized(signature),
            recipient=Wrapped(
                key_id=self._recipient.key_id,
                algorithm=self._recipient.algorithm,
                wrapped=self._wrap(),
                commit=commit(self._key),
            ),
            keytable=_sized(table),
            blobs=tuple(
                Blob(
                    sha256=entry.blob,
                    size=stream.Layout(size=entry.plaintext.size).ciphertext_size,
                    plaintext=entry.plaintext,
                    commit=commit(entry.key),
                )
                for entry in entries
            ),
            evidence=evidence,
        )
        data = sealed.canonical()
        if Sealed.parse(data) != sealed:
            raise InternalError("an encrypted copy's record does not read back as it was written")
        for folder in (blob_path(self.folder, ""), self.folder / "blobs"):
            files.sync_dir(folder)
        if self._maker is not None:
            files.atomic_write(self.folder / SIGNATURE_NAME, sign_record(data, self._maker))
        files.atomic_write(self.folder / SEALED_NAME, data)
        return sealed

    def _wrap(self) -> bytes:
        wrapped = self._recipient.wrap(self._key, self.context.canonical())
        if self._key in wrapped:
            raise KeyServiceError(
                "the key service returned the key unwrapped", reason="not-wrapped"
            )
        return wrapped

    def _put(self, data: bytes) -> None:
        path = blob_path(self.folder, hashlib.sha256(data).hexdigest())
        if not files.create_only(path, data) and path.read_bytes() != data:
            raise AlreadyExists(f"another blob has the name {path.name}")


def _sized(data: bytes) -> Sized:
    return Sized(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def _seal_files(
    manifest: Manifest, root: Path, copies: list[_Copy], staging: Path, advance: Advance | None
) -> None:
    """Read each file once; hash it, and encrypt and write it, on all cores.

    Files of the same content become one blob, but each is read and compared.
    """
    seen: set[str] = set()
    single = manifest.kind == "file"
    jobs: list[_Job] = []
    try:
        with opened_model(root.parent if single else root) as handle, Workers() as workers:
            plain = Buffers(workers, PLAIN_BUFFERS, stream.CHUNK)
            sealed = Buffers(workers, SEALED_BUFFERS, stream.CHUNK)
            for position, resource in enumerate(manifest.resources):
                name = root.name if single else resource.name
                first = [] if resource.digest in seen else copies
                seen.add(resource.digest)
                job = _Job(workers, resource, name, position, first, staging)
                jobs = [job, *(other for other in jobs if not other.finished)]
                job.read(handle, plain, sealed, advance)
    finally:
        for job in jobs:
            job.close()


class _Job:
    """One file on its way: read once, hashed once, encrypted once for each of `copies`."""

    def __init__(
        self,
        workers: Workers,
        resource: Resource,
        name: str,
        position: int,
        copies: list[_Copy],
        staging: Path,
    ) -> None:
        self._workers = workers
        self._resource = resource
        self._name = name
        self.layout = stream.Layout(size=resource.size)
        self._digest = hashlib.sha256()
        self._steps = Ordered(workers)
        self._parts = [_Part(self, copy, position, staging) for copy in copies]

    @property
    def workers(self) -> Workers:
        return self._workers

    @property
    def resource(self) -> Resource:
        return self._resource

    @property
    def finished(self) -> bool:
        return all(part.descriptor < 0 for part in self._parts)

    def close(self) -> None:
        for part in self._parts:
            part.close()

    def read(self, root: int, plain: Buffers, sealed: Buffers, advance: Advance | None) -> None:
        """Runs in the reading thread. Returns when all is read, not when all is written."""
        try:
            descriptor = files.open_below(root, self._name)
        except FileNotFoundError as error:
            raise _changed(self._name, "it is not there", "missing-file") from error
        except OSError as error:
            raise disk_error(error, f"read {self._name!r}") from error
        try:
            before = os.fstat(descriptor)
            if before.st_size != self._resource.size:
                raise _changed(
                    self._name,
                    f"it has {before.st_size} bytes; {self._resource.size} were signed",
                    "digest-mismatch",
                )
            for chunk in range(self.layout.chunks):
                start, size = self.layout.plain_of_chunk(chunk)
                buffer = plain.take()
                _read_exactly(descriptor, buffer.view(size), start, self._name)
                self._spread(chunk, buffer, sealed)
                if advance is not None and size:
                    advance(size)
            if not files.same_file(before, os.fstat(descriptor)):
                raise _changed(
                    self._name, "it was written to while it was read", "changed-while-reading"
                )
        finally:
            os.close(descriptor)

    def _spread(self, chunk: int, buffer: Buffer, sealed: Buffers) -> None:
        size = self.layout.plain_of_chunk(chunk)[1]
        buffer.hold(len(self._parts))

        def count() -> None:
            self._digest.update(buffer.view(size))
            buffer.drop()
            if chunk == self.layout.chunks - 1 and self._digest.hexdigest() != self.resource.digest:
                raise _changed(
                    self._name,
                    f"its SHA-256 is {self._digest.hexdigest()}; {self.resource.digest} was signed",
                    "digest-mismatch",
                )

        self._steps.put(chunk, count)
        for part in self._parts:
            self._workers.submit(part.step(chunk, buffer, sealed.take()))


class _Part:
    """One file's blob for one zone: its key, its temporary file, its digests."""

    def __init__(self, job: _Job, copy: _Copy, position: int, staging: Path) -> None:
        self._job = job
        self._copy = copy
        self._position = position
        self._plaintext = Sized(sha256=job.resource.digest, size=job.resource.size)
        self._key = stream.new_key()
        self._sealer = stream.Sealer(
            self._key,
            stream.associated_data(copy.zone, self._plaintext.sha256, self._plaintext.size),
            self._plaintext.size,
        )
        self._chunks: list[bytes] = [b""] * job.layout.chunks
        self._whole = hashlib.sha256()
        self._steps = Ordered(job.workers)
        self._temporary = staging / f"{copy.zone}.{position}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self.descriptor = os.open(self._temporary, flags, 0o644)

    def close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def step(self, chunk: int, plain: Buffer, out: Buffer) -> Callable[[], None]:
        layout = self._job.layout

        def seal() -> None:
            clear = layout.plain_of_chunk(chunk)[1]
            start, size = layout.cipher_of_chunk(chunk)
            view = out.view(size)
            self._chunks[chunk] = self._sealer.seal_chunk(chunk, plain.view(clear), view)
            plain.drop()
            files.write_at(self.descriptor, view, start)
            if chunk < layout.chunks - 1:
                files.begin_sync(self.descriptor, start, size)
            self._steps.put(chunk, count)

        def count() -> None:
            # The digest of a blob of one chunk is that chunk's.
            if layout.chunks > 1:
                self._whole.update(out.view(layout.cipher_of_chunk(chunk)[1]))
            out.drop()
            if chunk == layout.chunks - 1:
                self._finish()

        return seal

    def _finish(self) -> None:
        sha256 = self._whole.hexdigest() if len(self._chunks) > 1 else self._chunks[0].hex()
        os.fsync(self.descriptor)
        self.close()
        self._temporary.rename(blob_path(self._copy.folder, sha256))
        self._copy.entries[self._position] = keytable.Entry(
            blob=sha256,
            key=self._key,
            zone=self._copy.zone,
            plaintext=self._plaintext,
            chunks=b"".join(self._chunks),
        )


def _read_exactly(descriptor: int, view: memoryview, offset: int, name: str) -> None:
    while view:
        try:
            count = os.preadv(descriptor, [view], offset)
        except OSError as error:
            raise disk_error(error, f"read {name!r}") from error
        if count == 0:
            raise _changed(name, "it became shorter while it was read", "changed-while-reading")
        view = view[count:]
        offset += count


def _changed(name: str, why: str, reason: str) -> SovgateError:
    return VerificationFailed(
        f"{name[:160]!r} is not what was signed",
        why=why,
        fix="restore the file, or sign the model again",
        reason=reason,
    )
