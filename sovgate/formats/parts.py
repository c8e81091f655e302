"""Files that say by their name that they are one of several: `NAME-00001-of-00003.ENDING`. No I/O.

What says of itself that it has N parts has N parts, whatever its format (RULES 38).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: Digits, "of", digits, between what is neither letter nor digit.
_PART = re.compile(
    r"(?P<before>(?:.*[-_.])?(?:part|shard|rank|split)?[-_.]?)(?<![0-9])(?P<number>[0-9]{1,6})"
    r"(?P<of>[-_.]?of[-_.]?)(?P<count>[0-9]{1,6})(?P<after>(?:[-_.].*)?)",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)
#: Of these there are several, and each is whole: "epoch-1-of-3.safetensors".
_WHOLE = re.compile(
    r"(?:^|[-_.])(?:epoch|step|fold|seed|run|trial|round|iter|iteration|stage|version|v)[-_.]?$",
    re.ASCII | re.IGNORECASE,
)
#: Endings of what is no weights, data or archive: pictures, pages, results and the like. A name
#: with one of these tells of no part.
_OTHER_ENDINGS = """
    txt png jpg jpeg gif svg webp bmp tif tiff ico pdf ps eps md markdown rst htm html css js ts
    json yaml yml toml ini cfg xml log py ipynb sh mp4 webm mov avi mkv wav mp3 flac ogg docx pptx
"""
_OTHERS = frozenset(_OTHER_ENDINGS.split())
_NAMED = re.compile(r"(?:part|shard|rank|split)[-_.]?$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Part:
    """`group` is what all parts of one set share; `number` as written, from 0 or from 1."""

    name: str
    group: tuple[str, str, str]
    number: int
    count: int
    width: int

    @property
    def family(self) -> tuple[str, str]:
        """Shared with parts of a set of another size, which an earlier save left."""
        return self.group[0], self.group[2]

    def sibling(self, number: int) -> str:
        """What the part of that number is called."""
        before, of, after = self.group
        return f"{before}{number:0{self.width}d}{of}{after}"


def part(name: str) -> Part | None:
    """None where a name says nothing of the kind."""
    folder, slash, base = name.rpartition("/")
    match = _PART.fullmatch(base)
    if match is None or int(match["count"]) == 0 or _WHOLE.search(match["before"]):
        return None
    if match["of"].isalpha() and not _NAMED.search(match["before"]):
        return None  # "7of9.bin"
    before, of = folder + slash + match["before"], match["of"] + match["count"]
    return Part(
        name=name,
        group=(before, of, match["after"]),
        number=int(match["number"]),
        count=int(match["count"]),
        width=len(match["number"]),
    )


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A set that is not whole: `name` is not there, or it is one too many."""

    name: str
    count: int
    extra: bool


def is_other(name: str) -> bool:
    """Whether a name says that the file holds no weights, data or archive."""
    return name.rpartition("/")[2].rpartition(".")[2].lower() in _OTHERS


def is_sibling(name: str, gap: Gap) -> bool:
    """Whether a file is of the set in which there is that gap."""
    one, other = part(name), part(gap.name)
    return one is not None and other is not None and one.group == other.group


def gaps(names: Iterable[str]) -> Iterator[Gap]:
    """The first thing that is wrong with each set, sets in the order of their names."""
    groups: dict[tuple[str, str, str], list[Part]] = {}
    for one in filter(None, map(part, sorted(names))):
        groups.setdefault(one.group, []).append(one)
    for found in groups.values():
        one, count = found[0], found[0].count
        there = {each.number for each in found}
        first = 0 if 0 in there and count not in there else 1
        beyond = sorted(there - set(range(first, first + count)))
        if beyond:
            yield Gap(name=one.sibling(beyond[0]), count=count, extra=True)
        elif len(there) < count:
            missing = next(n for n in range(first, first + count) if n not in there)
            yield Gap(name=one.sibling(missing), count=count, extra=False)
