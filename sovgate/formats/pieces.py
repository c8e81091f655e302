"""Files that somebody cut into pieces of bytes, which no reader takes before they are joined.

`model.safetensors.aa`, `w.gguf.part1of2`, `m.tar.gz.part-aa`, `m.zip.001`. By their names. No I/O.
"""

from __future__ import annotations

import re
import shlex
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sovgate.errors import VerificationFailed
from sovgate.formats import unfinished
from sovgate.formats.endings import WEIGHTS

#: Archives that are cut more often than they are not.
_ARCHIVES = frozenset(
    {"tar", "tgz", "gz", "bz2", "xz", "zst", "zip", "7z", "rar", "tbz2", "txz", "mar", "nemo"}
)
#: Of these nobody has a version for each step of a training, with a bare number behind.
_ONE = _ARCHIVES | {"safetensors", "gguf", "ggml", "llamafile", "keras", "tflite"}
_ENDINGS = WEIGHTS | _ONE | {"pte", "task", "litertlm", "pdmodel", "ort", "mlmodel", "torchscript"}
_WHOLE = rf"(?P<whole>.+\.(?:{'|'.join(sorted(_ENDINGS))}))"
_PIECE = re.compile(
    rf"{_WHOLE}(?P<mark>[-._](?:split|part|chunk|piece)[-._]?|[-._])"
    r"(?P<number>[a-z]{1,5}|[0-9]{1,6}(?:[-._]?of[-._]?(?P<count>[0-9]{1,6}))?)",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
#: As `split` names its pieces: the first letters stay the first.
_LETTERS = re.compile(r"a{1,4}[a-z]", re.IGNORECASE)
_MARKED = re.compile(r"[a-z]|[a-z]?a{1,4}[a-z]|[a-f][a-z]", re.IGNORECASE)
#: How many names a command has at most.
_SHOWN = 20
#: How many pieces one file may be in before nobody looks which is missing.
_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """`place` counts from 0 or 1; `count` as its name says it."""

    name: str
    whole: str
    mark: str
    number: str
    count: int | None

    @property
    def letters(self) -> bool:
        return self.number.isalpha()

    @property
    def place(self) -> int:
        if not self.letters:
            return int(re.split(r"(?i)[-._]?of", self.number)[0])
        place = 0
        for letter in self.number.lower():
            place = 26 * place + string.ascii_lowercase.index(letter)
        return place

    @property
    def padded(self) -> bool:
        return len(self.number) > 1 and self.number[0] == "0"


def refuse(names: Iterable[str]) -> None:
    """RULES 38: what is in pieces is no model yet. `names` are all of the model.

    Raises VerificationFailed, reason "stand-in".
    """
    there = frozenset(names)
    sets: dict[tuple[object, ...], list[_Piece]] = {}
    for one in filter(None, map(_piece, sorted(there))):
        key = (one.whole, one.mark.lower(), one.letters, one.count)
        sets.setdefault(key, []).append(one)
    for found in sets.values():
        if _meant(found, whole=found[0].whole in there):
            raise _refused(found, there)


def _piece(name: str) -> _Piece | None:
    folder, slash, base = name.rpartition("/")
    match = _PIECE.fullmatch(base)
    if match is None or unfinished.is_unfinished(name):
        return None
    number, marked, count = match["number"], len(match["mark"]) > 1, match["count"]
    if number.isalpha():
        shape = _MARKED if marked else _LETTERS
        if not shape.fullmatch(number) or number.lower() in _ENDINGS:
            return None
        if marked and match["mark"][-1].isalpha() and not _LETTERS.fullmatch(number):
            return None  # "parts"
    elif not marked and (match["mark"] != "." or count is not None):
        return None
    return _Piece(
        name=name,
        whole=folder + slash + match["whole"],
        mark=match["mark"],
        number=number,
        count=None if count is None else int(count),
    )


def _meant(found: Sequence[_Piece], *, whole: bool) -> bool:
    """Whether what is behind a name is that of a piece, and no step, copy or language."""
    first = found[0]
    if len(first.mark) > 1:
        return True
    places = {one.place for one in found}
    one = first.whole.rpartition(".")[2].lower() in _ONE
    if first.letters:
        return one or 0 in places
    if not one and len(places) > 2 and max(places) - min(places) >= 2 * len(places):
        return False  # steps of a training: more is missing than is there. Of two nobody can tell
    if any(each.padded for each in found):
        return one or 0 in places or (1 in places and len(first.number) == 3)
    return one and not whole and len(places) > 1 and bool(places & {0, 1})


def _refused(found: Sequence[_Piece], there: frozenset[str]) -> VerificationFailed:
    found = sorted(found, key=lambda one: one.place)
    first = found[0]
    missing = next(_missing(found), None)
    get = "" if missing is None else f"get {missing[:160]!r} too, which is not there; then "
    whole = first.whole.rpartition("/")[2]
    return VerificationFailed(
        f"{first.name[:160]!r} is a piece of a file that was cut, not the file itself",
        why=f"no program loads {len(found)} {'piece' if len(found) == 1 else 'pieces'} of "
        f"{whole[:160]!r}: they have to be one file",
        fix=f"remove the pieces, if {whole[:160]!r}, which is there, is whole"
        if first.whole in there
        else f"{get}join the pieces in their order, and remove them: "
        f"cat {_listed(found, there)} > {shlex.quote(whole)}",
        reason="stand-in",
    )


def _listed(found: Sequence[_Piece], there: frozenset[str]) -> str:
    """The pieces for a shell, in their order, from the folder in which they lie."""
    bases = [one.name.rpartition("/")[2] for one in found]
    if len({len(base) for base in bases}) == 1:  # so that a shell sorts them as they are counted
        stem, own = f"{found[0].whole}{found[0].mark}", {one.name for one in found}
        if all(name in own for name in there if name.startswith(stem)):
            return f"{shlex.quote(stem.rpartition('/')[2])}*"
    listed = " ".join(map(shlex.quote, bases[:_SHOWN]))
    return listed if len(bases) <= _SHOWN else f"{listed} … (all {len(bases)})"


def _missing(found: Sequence[_Piece]) -> Iterator[str]:
    """Names of pieces that are not there, as far as the others tell."""
    first, places = found[0], {one.place for one in found}
    begin = 0 if first.letters or 0 in places else 1
    end = max(places) if first.count is None else first.count - (begin == 0)
    for place in range(begin, min(end, _MAX) + 1):
        if place not in places:
            yield f"{first.whole}{first.mark}{_number(first, place)}"


def _number(like: _Piece, place: int) -> str:
    if not like.letters:
        digits = re.split(r"(?i)(?=[-._]?of)", like.number, maxsplit=1)
        return f"{place:0{len(digits[0])}d}" + "".join(digits[1:])
    letters = ""
    for _ in like.number:
        place, letter = divmod(place, 26)
        letters = string.ascii_lowercase[letter] + letters
    return letters
