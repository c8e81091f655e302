"""Sends a model's chunks: one read fills one buffer, which is hashed, encrypted and handed on.

No copy of the model is made. Reads exactly the files that the manifest lists; touches no store and
no network: what takes a chunk is a function that the caller gives.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sovgate import files
from sovgate.blocks import Blocks, Compared, compared
from sovgate.errors import SovgateError, VerificationFailed, disk_error
from sovgate.formats import chunk
from sovgate.formats.plan import Content
from sovgate.links import opened_model
from sovgate.records import Advance
from sovgate.work import Buffer, Buffers, Ordered, Step, Workers

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.plan import Plan, Unit

#: 160 MiB at any size of model, and for any number of zones.
PLAIN_BUFFERS, SEALED_BUFFERS = 4, 6
#: Each sealed buffer may wait for a far store, and reading, hashing and encrypting go on.
THREADS = SEALED_BUFFERS + 2


class Keys(Protocol):
    """Where a zone's chunk keys come from: new ones, or those that a killed run kept."""

    def take(self, place: int) -> tuple[bytes, bytes]:
        """Key and IV for the chunk at that place of the plan; each serves one plaintext."""
        ...

    def sealed(self, place: int, digest: bytes) -> bool:
        """Called before the chunk is handed on. False where key and IV had made another chunk: they
        are gone, nothing of them leaves, and `take` gives new ones (RULES 9)."""
        ...


class NewKeys:
    """Keys that no run had before, and that nobody keeps."""

    def take(self, place: int) -> tuple[bytes, bytes]:
        return chunk.new_key(), chunk.new_iv()

    def sealed(self, place: int, digest: bytes) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Where a zone's chunks go. `put(name, data)`: SHA-256 in hex, and bytes that are the caller's
    until it returns; it is called from several threads.
    """

    zone: str
    put: Callable[[str, memoryview], None]
    keys: Keys = field(default_factory=NewKeys)


@dataclass(frozen=True, kw_only=True, repr=False)
class Sent:
    """One zone's chunks in the plan's order: SHA-256 of each, and its key. Holds secrets: its repr
    shows none of them.
    """

    zone: str
    digests: tuple[bytes, ...]
    keys: tuple[bytes, ...]


def send(
    manifest: Manifest,
    plan: Plan,
    root: Path,
    zones: Sequence[Bound],
    *,
    looked: Mapping[str, Blocks] | None = None,
    advance: Advance | None = None,
) -> tuple[Sent, ...]:
    """Read the contents of `plan` below `root`, and hand each chunk to each zone's `put`.

    `root` is the model's folder or, for a manifest of kind "file", that file. Further files of one
    content are read and compared, and sent once.
    Chunks leave before the last byte of their file was hashed: where a file differs from its
    signed digest this raises, and the keys of all that left are gone, so that nobody can open it
    (RULES 44). So it is where `looked`, by name what was read of each file to say what is in it,
    are not the bytes that were signed.

    Raises VerificationFailed ("digest-mismatch", "changed-while-reading", "missing-file",
    "not-regular"), DiskError, and what `put` raises.
    """
    single = manifest.kind == "file"
    with opened_model(root.parent if single else root) as handle, Workers(THREADS) as workers:
        asked = _Asked(root.name if single else None, looked)
        run = _Run(workers, handle, asked, plan, zones, advance)
        for unit in plan.units:
            run.read(unit)
        for content in _further(manifest, plan):
            run.compare(content)
    return tuple(lane.done() for lane in run.lanes)


def _further(manifest: Manifest, plan: Plan) -> Iterator[Content]:
    """Files that no chunk comes from: they are empty, or another one has the same content."""
    sent = {content.digest: content.name for content in plan.contents}
    for resource in manifest.resources:
        if not resource.size or sent.get(resource.digest, resource.name) != resource.name:
            yield Content(digest=resource.digest, size=resource.size, name=resource.name)


class _Lane:
    """One zone's chunks so far. Holds secrets: has no repr of its own."""

    def __init__(self, bound: Bound, chunks: int) -> None:
        self._bound = bound
        self._ad = chunk.associated_data(bound.zone)
        self._digests = [b""] * chunks
        self._keys = [b""] * chunks

    def step(self, place: int, plain: Buffer, size: int, out: Buffer) -> Step:
        """Encrypt a chunk, and hand it on."""

        def seal() -> None:
            keys, view, same = self._bound.keys, out.view(size + chunk.OVERHEAD), False
            while not same:
                key, iv = keys.take(place)
                digest = chunk.seal_into(key, iv, self._ad, plain.view(size), view)
                same = keys.sealed(place, digest)
            plain.drop()
            self._bound.put(digest.hex(), view)
            out.drop()
            self._digests[place], self._keys[place] = digest, key

        return seal

    def done(self) -> Sent:
        return Sent(zone=self._bound.zone, digests=tuple(self._digests), keys=tuple(self._keys))


class _Asked:
    """What each file must be: the one that was signed, and that was looked into."""

    def __init__(self, alone: str | None, looked: Mapping[str, Blocks] | None) -> None:
        self._alone, self._looked = alone, looked

    def named(self, content: Content) -> str:
        """A model that is a file is named by where it lies."""
        return content.name if self._alone is None else self._alone

    def whole(self, content: Content) -> _Whole:
        looked = compared(self._looked, content.name)
        return _Whole(self.named(content), content.digest, looked)


class _Whole:
    """One file's bytes as they are read, in order."""

    def __init__(self, name: str, digest: str, looked: Compared | None) -> None:
        self._name, self._digest, self._looked = name, digest, looked
        self._hash = hashlib.sha256()

    def update(self, view: memoryview) -> None:
        self._hash.update(view)
        if self._looked is not None:
            self._looked.update(view)

    def check(self) -> None:
        """When all of it was read. Raises VerificationFailed."""
        digest = self._hash.hexdigest()
        if digest != self._digest:
            why = f"its SHA-256 is {digest}; {self._digest} was signed"
            raise changed(self._name, why, "digest-mismatch")
        if self._looked is not None and not self._looked.same:
            raise VerificationFailed(
                f"{self._name[:160]!r} changed while it was read",
                why="it was another file when it was looked into: something writes to the model, "
                "or its file system serves other bytes on a second read",
                fix="let whatever writes to it finish, and run it again; or copy the model to a "
                "disk of your own, and name that",
                reason="changed-while-reading",
            )


class _Run:
    """The reading thread's side: takes buffers, fills them, and leaves the rest to the workers."""

    def __init__(
        self,
        workers: Workers,
        root: int,
        asked: _Asked,
        plan: Plan,
        zones: Sequence[Bound],
        advance: Advance | None,
    ) -> None:
        self._workers, self._root, self._asked = workers, root, asked
        self._plan, self._advance = plan, advance
        self.lanes = [_Lane(bound, plan.chunks) for bound in zones]
        self._plain = Buffers(workers, PLAIN_BUFFERS, chunk.SIZE)
        self._sealed = Buffers(workers, SEALED_BUFFERS, chunk.SIZE + chunk.OVERHEAD)

    def read(self, unit: Unit) -> None:
        """Returns when all of it is read, not when all of it is sent."""
        if unit.chunks == 1:
            self._read_pack(unit)
        else:
            self._read_large(unit)

    def _read_pack(self, unit: Unit) -> None:
        buffer = self._plain.take()
        view = buffer.view(unit.size)
        for piece in self._plan.pieces(unit.first):
            with self._opened(piece.content) as descriptor:
                part = view[piece.at : piece.at + piece.size]
                _read_exactly(descriptor, part, 0, self._asked.named(piece.content))
        hashed = partial(self._hash_pack, unit, view, buffer)
        self._spread(unit.first, buffer, unit.size, partial(self._workers.submit, hashed))

    def _hash_pack(self, unit: Unit, view: memoryview, buffer: Buffer) -> None:
        at = 0
        for content in unit.contents:
            whole = self._asked.whole(content)
            whole.update(view[at : at + content.size])
            whole.check()
            at += content.size
        buffer.drop()

    def _read_large(self, unit: Unit) -> None:
        (content,) = unit.contents
        whole, steps = self._asked.whole(content), Ordered(self._workers)

        def count(buffer: Buffer, size: int, last: bool) -> None:
            whole.update(buffer.view(size))
            buffer.drop()
            if last:
                whole.check()

        with self._opened(content) as descriptor:
            for number in range(unit.chunks):
                place = unit.first + number
                size, buffer = unit.length(place), self._plain.take()
                offset = number * chunk.SIZE
                _read_exactly(descriptor, buffer.view(size), offset, self._asked.named(content))
                hashed = partial(count, buffer, size, number == unit.chunks - 1)
                self._spread(place, buffer, size, partial(steps.put, number, hashed))

    def compare(self, content: Content) -> None:
        """Read a file, and hash it; returns as `read` does."""
        whole, steps = self._asked.whole(content), Ordered(self._workers)

        def count(buffer: Buffer, size: int) -> None:
            whole.update(buffer.view(size))
            buffer.drop()
            if self._advance is not None:
                self._advance(size)

        offset = 0
        with self._opened(content) as descriptor:
            for number in range(-(-content.size // chunk.SIZE)):
                size, buffer = min(chunk.SIZE, content.size - offset), self._plain.take()
                _read_exactly(descriptor, buffer.view(size), offset, self._asked.named(content))
                steps.put(number, partial(count, buffer, size))
                offset += size
        steps.put(-(-content.size // chunk.SIZE), whole.check)

    def _spread(self, place: int, buffer: Buffer, size: int, hash_it: Step) -> None:
        buffer.hold(len(self.lanes))
        hash_it()
        for lane in self.lanes:
            self._workers.submit(lane.step(place, buffer, size, self._sealed.take()))
        if self._advance is not None:
            self._advance(size)

    @contextmanager
    def _opened(self, content: Content) -> Iterator[int]:
        """A descriptor of the file: as long as was signed, and not changed meanwhile."""
        name = self._asked.named(content)
        try:
            descriptor = files.open_below(self._root, name)
        except FileNotFoundError as error:
            raise changed(name, "it is not there", "missing-file") from error
        except OSError as error:
            raise disk_error(error, f"read {name!r}") from error
        try:
            before = os.fstat(descriptor)
            if before.st_size != content.size:
                why = f"it has {before.st_size} bytes; {content.size} were signed"
                raise changed(name, why, "digest-mismatch")
            yield descriptor
            if not files.same_file(before, os.fstat(descriptor)):
                why = "it was written to while it was read"
                raise changed(name, why, "changed-while-reading")
        finally:
            os.close(descriptor)


def _read_exactly(descriptor: int, view: memoryview, offset: int, name: str) -> None:
    while view:
        try:
            count = os.preadv(descriptor, [view], offset)
        except OSError as error:
            raise disk_error(error, f"read {name!r}") from error
        if count == 0:
            raise changed(name, "it became shorter while it was read", "changed-while-reading")
        view = view[count:]
        offset += count


def changed(name: str, why: str, reason: str) -> SovgateError:
    """For a file that is not what its signature says."""
    return VerificationFailed(
        f"{name[:160]!r} is not what was signed",
        why=why,
        fix="let whatever writes to it finish, and run it again"
        if reason == "changed-while-reading"
        else "restore the file, or sign the model again",
        reason=reason,
        data={"file": name},
    )
