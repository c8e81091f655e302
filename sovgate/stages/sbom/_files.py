"""Files of a model as the readers of formats take them, and what was searched in them already."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from sovgate.blocks import Blocks, ChangedError, Reader
from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats import archives, claims, remotecode, secrets, standins
from sovgate.formats.claims import Claim
from sovgate.formats.standins import StandIn

HEAD = 64 * 1024


class File:
    """An open file as a source of bytes; the first of them are kept.

    Raises VerificationFailed, reason "changed-while-reading".
    """

    def __init__(self, reader: Reader) -> None:
        self.reader, self.size = reader, reader.size
        self.head = self._read(0, min(reader.size, HEAD))

    def _read(self, offset: int, count: int) -> bytes:
        try:
            return self.reader.read(offset, count)
        except ChangedError as error:
            raise changed() from error

    def read(self, offset: int, count: int) -> bytes:
        if offset < 0 or count < 0 or offset + count > self.size:
            raise Malformed("the file ends too early")
        if offset + count <= len(self.head):
            return self.head[offset : offset + count]
        return self._read(offset, count)


def changed() -> VerificationFailed:
    return VerificationFailed(
        "it changed while it was read",
        why="something is still writing to the model",
        fix="let the training or download finish, and run it again",
        reason="changed-while-reading",
    )


@dataclass(frozen=True)
class Beginning:
    """A file up to a place as a source of bytes."""

    file: File
    size: int

    def read(self, offset: int, count: int) -> bytes:
        return self.file.read(offset, count)


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A secret in a file, and what lies in it, where it is an archive.

    `pointer`: the way to a file that stands for another one, and what it is.
    """

    secret: tuple[str, int | None] | None
    code: str | None = None
    claims: tuple[Claim, ...] = ()
    pointer: tuple[str, StandIn] | None = None


#: What was searched by this process already, by name and state, and which bytes that is said of:
#: `release` asks at each step.
_SEARCHED: dict[tuple[object, ...], tuple[Searched, Blocks]] = {}
_MAX_SEARCHED = 10_000


def search(path: str, source: secrets.Bytes, state: os.stat_result, reader: Reader) -> Searched:
    """Once a file in one state; a small file is searched anew. `source` reads through `reader`.

    Of files in an archive the same is asked as of those beside it: RULES 34, 38, 39.
    """
    if source.size <= HEAD:
        return _Search(path).result(source)
    times = (state.st_mtime_ns, state.st_ctime_ns)
    key = (path, state.st_dev, state.st_ino, state.st_size, source.size, *times)
    if key not in _SEARCHED:
        if len(_SEARCHED) >= _MAX_SEARCHED:
            _SEARCHED.clear()
        result = _Search(path).result(source)
        _SEARCHED[key] = result, reader.blocks
    result, blocks = _SEARCHED[key]
    reader.blocks.merge(blocks)
    return result


class _Search:
    def __init__(self, path: str) -> None:
        self.path = path
        self.code: str | None = None
        self.claims: list[Claim] = []
        self.pointer: tuple[str, StandIn] | None = None

    def result(self, source: secrets.Bytes) -> Searched:
        return Searched(
            secret=secrets.search(self.path, source, self.visit),
            code=self.code,
            claims=tuple(self.claims),
            pointer=self.pointer,
        )

    def visit(self, way: tuple[str, ...], content: archives.Content) -> None:
        name, shown = way[-1], " > ".join(part[:160] for part in way if part)
        head = content.read(HEAD)
        if self.pointer is None and len(head) < HEAD:
            found = standins.find(name, head, len(head))
            # Others may be meant, in an archive: empty files, say, in a data set.
            if found is not None and found.reason.endswith("-pointer") and found.target is None:
                self.pointer = shown, found
        if self.code is None and remotecode.may_bring(name, head):
            code = remotecode.find(name, archives.Whole(content), head)
            self.code = None if code is None else f"{code}, in {shown}"
        if claims.is_settings(name) and len(self.claims) < claims.MAX_CLAIMS:
            for claim in claims.of_file(name, archives.Whole(content)):
                self.claims.append(replace(claim, file=f"{self.path} > {shown}"[: claims.MAX_TEXT]))
