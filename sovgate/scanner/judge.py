"""Whether a file counts as a pickle, and where in it: by content first, in whatever wrapping.

Runs in the child. Every loader's way in is tried: the unpicklers at the beginning, archives and
packed streams again and again under one budget, NumPy's header. Doubt counts as the bad case
(docs/rules.md, rule 34).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from sovgate.formats.containers import certain, kind_of
from sovgate.scanner import arrays, names, tars, texts, unpickler, zips
from sovgate.scanner.streams import (
    Budget,
    Part,
    Stream,
    TooMuchError,
    Unpacked,
    UnreadableError,
    all_of,
    length,
    unpack,
)

#: A text is read whole before it is believed to be one.
MAX_TEXT = 64 * 1024 * 1024
#: Members that torch.load of old takes pickles from, in a tar.
_IN_TARS = frozenset({"storages", "tensors", "pickle"})
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_PNM = re.compile(rb"P[1-7]\n(?:#[^\n]*\n)*[\sA-Z0-9]{3,}")


class Found(NamedTuple):
    """`why` it counts, e.g. "a pickle that asks for os.system"; `inside` is the way to it.

    `by_name`: its content did not decide.
    """

    why: str
    inside: tuple[str, ...] = ()
    by_name: bool = False


class Judge:
    """Looks at one file after the other, under one budget."""

    def __init__(self) -> None:
        self.budget = Budget()
        #: What texts would import, if it were there.
        self.modules: set[str] = set()

    def look(self, name: str, stream: Stream) -> Found | None:
        self.budget.add(length(stream))
        return self._look(name, stream, 0)

    def _look(self, name: str, stream: Stream, depth: int) -> Found | None:
        try:
            return self._content(name, stream, depth)
        except UnreadableError as error:
            return Found(f"{error}, which may hold a pickle")
        except (TooMuchError, MemoryError, RecursionError):
            return Found("a file that is more than can be looked through, and may hold a pickle")

    def _content(self, name: str, stream: Stream, depth: int) -> Found | None:
        head = stream.read(0, names.HEAD)
        if not head:
            return None
        zipped = cache(lambda: self._zip(stream, head, depth))
        if head.startswith((names.ZIP, names.ZIP_END)) and (found := zipped().found):
            return found
        if found := _pickle(stream, _known(name, stream, head, zipped), modules=self.modules):
            return found
        found = self._by_head(name, stream, head, depth)
        return found or zipped().found or _by_name(name, head)

    def _by_head(self, name: str, stream: Stream, head: bytes, depth: int) -> Found | None:
        if head.startswith(names.NUMPY):
            return self._arrays(stream, depth)
        if names.may_be_tar(head) and tars.is_tar(stream):
            found = self._members(self._in_tar(stream), depth)
            if found:
                return found
        if found := self._packed(name, stream, head, depth):
            return found
        if texts.is_json(head) and (found := self._in_texts(stream, depth)):
            return found
        for magic, what in names.UNOPENED:
            if head.startswith(magic):
                return Found(f"{what}, which may hold a pickle")
        return None

    def _zip(self, stream: Stream, head: bytes, depth: int) -> _Zip:
        members = zips.members(stream, head, self.budget)
        if members is None:
            return _Zip(opened=False, found=None)
        return _Zip(opened=True, found=self._members(members, depth))

    def _members(self, members: Iterator[tuple[str, Stream]], depth: int) -> Found | None:
        if depth >= Budget.DEPTH:
            raise TooMuchError
        for name, content in members:
            found = self._look(name, content, depth + 1) or _damaged(content)
            if found:
                return Found(found.why, (name, *found.inside), found.by_name)
        return None

    def _in_tar(self, stream: Stream) -> Iterator[tuple[str, Stream]]:
        for name, content in tars.members(stream, self.budget):
            # torch.load of old reads these three, whatever begins in them.
            named = name.rstrip("/").rpartition("/")[2] in _IN_TARS
            yield (f"{name}.pt" if named else name), content

    def _in_texts(self, stream: Stream, depth: int) -> Found | None:
        """Of what a text of JSON is by accident, no class has a name, and no protocol is marked."""
        for text in texts.texts(stream):
            for data, packed in texts.decoded(text):
                self.budget.spend(len(data))
                content = _Held(data)
                if packed:
                    if depth >= Budget.DEPTH:
                        raise TooMuchError
                    found = self._look("", content, depth + 1)
                else:
                    found = _pickle(content, lambda: False, named=data[0] != 0x80)
                if found:
                    return found._replace(why=f"{found.why}, in base64")
        return None

    def _packed(self, name: str, stream: Stream, head: bytes, depth: int) -> Found | None:
        kind = kind_of(head)
        if kind is None:
            return None
        sure = certain(head)
        content = Unpacked(lambda: unpack(kind, stream), self.budget, certain=sure)
        found = None
        if content.read(0, 1):
            if depth >= Budget.DEPTH:
                raise TooMuchError
            inner = names.unpacked(name) if sure or kind == "zlib" else ""
            found = self._look(inner, content, depth + 1)
        if sure:
            found = found or _damaged(content)
        return found and found._replace(why=f"{found.why}, compressed")

    def _arrays(self, stream: Stream, depth: int) -> Found | None:
        """One array after the other, as they are saved into one open file, and what is behind."""
        at = 0
        while (head := stream.read(at, names.HEAD)).startswith(names.NUMPY):
            self.budget.member()
            if arrays.may_hold_objects(head):
                return Found("a NumPy array of Python objects")
            size = arrays.size(head)
            if size is None:
                return Found("a NumPy array of unknown size, which may hold a pickle")
            at += size
        if not head:
            return None
        if depth >= Budget.DEPTH:
            raise TooMuchError
        found = self._look("", Part(stream, at, length(stream) - at), depth + 1)
        return found and found._replace(why=f"{found.why}, behind an array")


class _Held:
    """Bytes in memory as a stream."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]


class _Zip(NamedTuple):
    """Whether it is one, and what was found in it."""

    opened: bool
    found: Found | None


def _damaged(content: Stream) -> Found | None:
    """What is packed was looked at as far as it opens."""
    if isinstance(content, Unpacked) and content.error is not None:
        return Found(f"{content.error}, which may hold a pickle")
    return None


def _by_name(name: str, head: bytes) -> Found | None:
    ending = names.ending(name)
    if ending in names.ENDINGS and not head.startswith((b"GGUF", b"\x89HDF\r\n\x1a\n")):
        return Found(f"a file named .{ending}, which is loaded as a pickle", (), True)
    return None


# --- pickles --------------------------------------------------------------------------------------
def _pickle(
    stream: Stream,
    harmless: Callable[[], bool],
    *,
    named: bool = False,
    modules: set[str] | None = None,
) -> Found | None:
    """What the unpicklers do with it from the beginning. `named`: it counts by a class alone.

    `modules` takes those that it would import, where it is none for lack of them.

    A text, a picture or an archive that begins as a pickle would is none if it is wholly of a
    format that carries no code, and the unpicklers stop before anything that they asked for is
    used, even if they get it.
    """
    outcome = unpickler.unpickle(stream)
    if outcome.rank == unpickler.NOTHING:
        return None
    if named and not any(map(_is_name, outcome.asked)) and outcome.rank < unpickler.CALLS:
        return None
    if outcome.rank in (unpickler.PLAIN, unpickler.ASKS) and harmless():
        outcome = unpickler.unpickle(stream, refuse=False)
        plain = outcome.rank == unpickler.PLAIN and not outcome.asked
        stopped = outcome.rank == unpickler.NOTHING and not _importable(outcome.modules)
        if plain or stopped:
            if modules is not None:
                modules.update(outcome.modules)
            return None
    if outcome.rank == unpickler.DOUBT:
        return Found("a file that no unpickler can be followed through, and may be a pickle")
    if outcome.asked:
        return Found(f"a pickle that asks for {_shown(outcome.asked[0])}")
    head = stream.read(0, 2)
    kind = f"protocol {head[1]}" if head[0] == 0x80 else "protocol 0 or 1"
    return Found(f"a pickle of {kind}")


def _is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _importable(modules: list[str]) -> bool:
    """Whether one is a module that every Python has. Words of a text hardly ever are."""
    return any(module.partition(".")[0] in sys.stdlib_module_names for module in modules)


def _shown(text: str) -> str:
    return text[:80] if text.isascii() and text.isprintable() else ascii(text[:80])


# --- what carries no code -------------------------------------------------------------------------
def _known(
    name: str, stream: Stream, head: bytes, zipped: Callable[[], _Zip]
) -> Callable[[], bool]:
    """Whether the file is of a format on the closed list; asked for only where it matters."""

    def known() -> bool:
        zip_ = zipped()
        if zip_.opened:  # each file of which was looked at
            return zip_.found is None
        if head.startswith(b"\x89PNG\r\n\x1a\n") or _PNM.match(head):
            return True
        if head.startswith(b"PAR1"):
            size = length(stream)
            return stream.read(size - 4, 4) == b"PAR1" and size > 8
        return names.is_text(name) and _is_text(stream)

    return known


def _is_text(stream: Stream) -> bool:
    """UTF-8 from the first byte to the last, without control characters."""
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")()
    taken = 0
    try:
        for data in all_of(stream):
            taken += len(data)
            if taken > MAX_TEXT or _CONTROL.search(decoder.decode(data)):
                return False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
