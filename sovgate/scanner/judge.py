"""Whether a file counts as a pickle, and where in it: by content first, in whatever wrapping.

Runs in the child. Every loader's way in is tried: the unpicklers at the beginning, archives and
packed streams again and again under one budget, NumPy's header. Doubt counts as the bad case
(docs/rules.md, rule 34).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sovgate.scanner import names, tars, texts, unpickler, zips
from sovgate.scanner.streams import (
    Budget,
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
#: No dtype of objects is spelled without one of these, and hardly any other with one: "|O",
#: "i4,O", "object", and by escapes, since a header is read as a literal of Python.
_OBJECT_DTYPE = re.compile(rb"O|object|\\")
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
        members = zips.members(stream, self.budget)
        if members is not None and (found := self._members(members, depth)):
            return found
        harmless = _known(name, stream, head, opened=members is not None)
        if found := _pickle(stream, harmless):
            return found
        if head.startswith(names.NUMPY):
            return Found("a NumPy array of Python objects") if _object_array(head) else None
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
        ending = names.ending(name)
        if ending in names.ENDINGS and not head.startswith((b"GGUF", b"\x89HDF\r\n\x1a\n")):
            return Found(f"a file named .{ending}, which is loaded as a pickle", (), True)
        return None

    def _members(self, members: Iterator[tuple[str, Stream]], depth: int) -> Found | None:
        if depth >= Budget.DEPTH:
            raise TooMuchError
        for name, content in members:
            if found := self._look(name, content, depth + 1):
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
        for magic in names.STREAMS:
            if head.startswith(magic):
                content = Unpacked(unpack(magic, stream), self.budget)
                if not content.read(0, 1):
                    return None
                if depth >= Budget.DEPTH:
                    raise TooMuchError
                inner = names.unpacked(name)
                found = self._look(inner, content, depth + 1)
                return found and found._replace(why=f"{found.why}, compressed")
        return None


class _Held:
    """Bytes in memory as a stream."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]


def _object_array(head: bytes) -> bool:
    """Whether it may be one: of a header that goes on behind `head`, nobody here knows."""
    if len(head) < 12:
        return False
    start = 10 if head[6] == 1 else 12
    end = start + int.from_bytes(head[8:start], "little")
    return end > len(head) or _OBJECT_DTYPE.search(head, start, end) is not None


# --- pickles --------------------------------------------------------------------------------------
def _pickle(stream: Stream, harmless: Callable[[], bool], *, named: bool = False) -> Found | None:
    """What the unpicklers do with it from the beginning. `named`: it counts by a class alone.

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
def _known(name: str, stream: Stream, head: bytes, *, opened: bool) -> Callable[[], bool]:
    """Whether the file is of a format on the closed list; asked for only where it matters."""

    def known() -> bool:
        if opened:  # a zip archive, each file of which was looked at
            return True
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
