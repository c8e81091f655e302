"""Opens a model's chunks inside its zone: fetched side by side, each verified before it is opened.

Writes below one private folder that the caller made and will remove (RULES 11); fetches chunks
through a function that the caller gives. No network of its own.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import files
from sovgate.errors import VerificationFailed, disk_error
from sovgate.formats import chunk
from sovgate.records import Advance
from sovgate.stages.encrypt.tree import Tree
from sovgate.work import Buffer, Buffers, Ordered, Workers

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.plan import Content, Unit

#: 160 MiB at any size of model.
SEALED_BUFFERS = PLAIN_BUFFERS = 5
THREADS = SEALED_BUFFERS + 2
#: Files of one content that are written while it is decrypted; more of them are copied afterwards,
#: since a process may have only so many files open.
MAX_OPEN_COPIES = 16

#: Fills a buffer with the chunk of a name (SHA-256 in hex), or raises. Called from several threads.
Get = Callable[[str, memoryview], None]


@dataclass(frozen=True, kw_only=True, repr=False)
class Opened:
    """A part whose key table was opened: its units, and digest and key of each chunk, in order.

    Holds secrets: its repr shows none of them.
    """

    units: tuple[Unit, ...]
    digests: tuple[bytes, ...]
    keys: tuple[bytes, ...]


def receive(
    manifest: Manifest,
    zone: str,
    parts: Sequence[Opened],
    get: Get,
    into: Path,
    *,
    advance: Advance | None = None,
) -> Path:
    """Decrypt and verify a model below the private folder `into`. Returns its path, `into/model`.

    `manifest` comes from a signature that verified, `parts` from `formats.part.arrange`. Exactly
    the files that the manifest lists are written; each chunk is verified before it is decrypted,
    each file against its signed digest. Until this returns nothing in `into` is to be used, and
    after an error `into` is to be removed.

    Raises VerificationFailed ("damaged", "digest-mismatch"), DiskError, and what `get` raises.
    """
    names: dict[str, list[str]] = {}
    for resource in manifest.resources:
        names.setdefault(resource.digest, []).append(resource.name)
    target = into / "model"
    try:
        tree = Tree(target, single=manifest.kind == "file")
        run = _Run(tree, names, chunk.associated_data(zone), get, advance)
        try:
            with Workers(THREADS) as workers:
                run.begin(workers)
                for part in parts:
                    for unit in part.units:
                        run.read(part, unit)
        finally:
            run.close()
        _write_empty(manifest, tree)
        for first, *others in names.values():
            for other in others[MAX_OPEN_COPIES - 1 :]:
                tree.copy(first, other)
        tree.publish()
    except OSError as error:
        raise disk_error(error, "write the decrypted model") from error
    return target


def _write_empty(manifest: Manifest, tree: Tree) -> None:
    """Files that hold nothing are in no chunk."""
    empty = [resource.name for resource in manifest.resources if not resource.size]
    for name in empty[:MAX_OPEN_COPIES]:
        descriptor = tree.create(name)
        try:
            tree.finish(descriptor)
        finally:
            os.close(descriptor)


class _Files:
    """The one or more files that hold one content, while it is written.

    One thread writes at a time: the system lets no two write to a file anyway, and has those that
    wait for it turn on their cores, which then decrypt and hash nothing.
    """

    def __init__(self, tree: Tree, names: Sequence[str]) -> None:
        self._tree, self.times = tree, len(names)
        self._descriptors: list[int] = []
        self._lock = threading.Lock()
        for name in names[:MAX_OPEN_COPIES]:
            self._descriptors.append(tree.create(name))

    def write(self, view: memoryview, offset: int, *, last: bool) -> None:
        with self._lock:
            for descriptor in self._descriptors:
                files.write_at(descriptor, view, offset)
        if not last:
            for descriptor in self._descriptors:
                files.begin_sync(descriptor, offset, len(view))

    def finish(self) -> None:
        for descriptor in self._descriptors:
            self._tree.finish(descriptor)
        self.close()

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    @property
    def closed(self) -> bool:
        return not self._descriptors


class _Run:
    """The side of one thread, which takes buffers in order; the rest is the workers'."""

    def __init__(
        self,
        tree: Tree,
        names: dict[str, list[str]],
        ad: bytes,
        get: Get,
        advance: Advance | None,
    ) -> None:
        self._tree, self._names, self._ad = tree, names, ad
        self._get, self._advance = get, advance
        self._large: list[_Files] = []

    def begin(self, workers: Workers) -> None:
        self._workers = workers
        self._sealed = Buffers(workers, SEALED_BUFFERS, chunk.SIZE + chunk.OVERHEAD)
        self._plain = Buffers(workers, PLAIN_BUFFERS, chunk.SIZE)

    def close(self) -> None:
        """Of files that an error left open."""
        for one in self._large:
            one.close()

    def read(self, part: Opened, unit: Unit) -> None:
        """Returns when all of it is on its way, not when all is written."""
        if unit.chunks == 1:
            self._submit(part, unit, unit.first, self._write_pack)
            return
        (content,) = unit.contents
        written = _Files(self._tree, self._names[content.digest])
        self._large = [written, *(one for one in self._large if not one.closed)]
        whole, steps = hashlib.sha256(), Ordered(self._workers)

        def write(unit: Unit, place: int, plain: Buffer) -> None:
            number, size = place - unit.first, unit.length(place)
            last = place == unit.after - 1
            written.write(plain.view(size), number * chunk.SIZE, last=last)

            def count() -> None:
                whole.update(plain.view(size))
                plain.drop()
                self._told(size * written.times)
                if last:
                    check_content(content, whole.hexdigest())
                    written.finish()

            steps.put(number, count)

        for place in range(unit.first, unit.after):
            self._submit(part, unit, place, write)

    def _write_pack(self, unit: Unit, _: int, plain: Buffer) -> None:
        """Each content of a pack is verified before a byte of it is written."""
        at = 0
        for content in unit.contents:
            view = plain.view(unit.size)[at : at + content.size]
            check_content(content, hashlib.sha256(view).hexdigest())
            written = _Files(self._tree, self._names[content.digest])
            try:
                written.write(view, 0, last=True)
                written.finish()
            finally:
                written.close()
            self._told(content.size * written.times)
            at += content.size
        plain.drop()

    def _submit(
        self, part: Opened, unit: Unit, place: int, write: Callable[[Unit, int, Buffer], None]
    ) -> None:
        sealed, plain = self._sealed.take(), self._plain.take()
        self._workers.submit(partial(self._open, part, unit, place, (sealed, plain), write))

    def _open(
        self,
        part: Opened,
        unit: Unit,
        place: int,
        buffers: tuple[Buffer, Buffer],
        write: Callable[[Unit, int, Buffer], None],
    ) -> None:
        sealed, plain = buffers
        size, digest = unit.length(place), part.digests[place]
        view = sealed.view(size + chunk.OVERHEAD)
        self._get(digest.hex(), view)
        chunk.open_into(part.keys[place], self._ad, view, digest, plain.view(size))
        sealed.drop()
        write(unit, place, plain)

    def _told(self, size: int) -> None:
        if self._advance is not None:
            self._advance(size)


def check_content(content: Content, digest: str) -> None:
    """Raises VerificationFailed, reason "digest-mismatch"."""
    if digest != content.digest:
        raise VerificationFailed(
            "what was decrypted is not what was signed",
            why=f"its SHA-256 is {digest}; {content.digest} was signed",
            fix="do not use it; get the model again from its source",
            reason="digest-mismatch",
        )
