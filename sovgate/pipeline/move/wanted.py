"""Which file of a release is wanted, and which of its bytes, by the signed manifest. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sovgate.errors import UsageError
from sovgate.formats.manifest import FILE_NAME

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest, Resource
    from sovgate.stages.encrypt import Span

_RANGE = re.compile(r"(0|[1-9][0-9]{0,15})-(|0|[1-9][0-9]{0,15})", re.ASCII)
#: Names that are looked through for one like the name that was asked for.
_MAX_COMPARED = 2_000


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file by its name in the manifest; of it the bytes `first` to `last`, both counted from 0
    and both given out. `last` is None up to the end.
    """

    name: str
    first: int = 0
    last: int | None = None

    @classmethod
    def parse(cls, name: str, text: str | None) -> Wanted:
        """`text` as HTTP writes it: "0-99" are a hundred bytes, "100-" is all after them. Raises
        UsageError, reason "bad-range".
        """
        if text is None:
            return cls(name=name)
        match = _RANGE.fullmatch(text)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise UsageError(
                f"--range {text[:80]!r} is no range of bytes",
                fix="write START-END, both from 0 and both given out: 0-1023 is the first KiB, "
                "and 1024- is all after it",
                reason="bad-range",
            )
        return cls(name=name, first=int(match[1]), last=int(match[2]) if match[2] else None)


def resource_of(manifest: Manifest, name: str) -> Resource:
    """By its exact name. Raises UsageError, reason "no-such-file", with the names most like it."""
    for resource in manifest.resources:
        if resource.name == name:
            return resource
    names = [resource.name for resource in manifest.resources]
    if names == [FILE_NAME]:
        fix = f"the model is one file: --file {FILE_NAME}"
    elif near := _nearest(name, names):
        fix = f"did you mean {' or '.join(repr(one[:160]) for one in near)}?"
    else:
        more = f", and {len(names) - 5} more" if len(names) > 5 else ""
        fix = f"there are {', '.join(repr(one[:80]) for one in names[:5])}{more}"
    raise UsageError(
        f"the release has no file {name[:160]!r}",
        why="a file is named as the signed manifest names it, from the model's folder on",
        fix=fix,
        reason="no-such-file",
    )


def _nearest(name: str, names: list[str]) -> list[str]:
    """The file's own name elsewhere counts more than a name that is like it."""
    from difflib import get_close_matches

    folder, _, own = name.casefold().rpartition("/")
    same = [one for one in names if one.rpartition("/")[2].casefold() == own]
    beside = [one for one in names if one.rpartition("/")[0].casefold() == folder]
    return same[:3] or get_close_matches(
        name[:200], list(dict.fromkeys([*beside, *names]))[:_MAX_COMPARED], n=3
    )


def span_of(resource: Resource, wanted: Wanted) -> Span:
    """Raises UsageError, reason "bad-range": less than was asked for is not given out as if it were
    that."""
    from sovgate.formats.plan import Content
    from sovgate.stages.encrypt import Span

    content = Content(digest=resource.digest, size=resource.size, name=resource.name)
    last = resource.size - 1 if wanted.last is None else wanted.last
    if wanted.last is None and wanted.first == 0:
        return Span(content=content, start=0, stop=resource.size)
    if wanted.first > last or last >= resource.size:
        asked = f"{wanted.first}-{'' if wanted.last is None else wanted.last}"
        all_of_it = f"its bytes are 0-{resource.size - 1}" if resource.size else "it is empty"
        raise UsageError(
            f"{resource.name[:160]!r} ends before the range {asked}",
            why=f"it has {resource.size} bytes: {all_of_it}",
            fix="ask for a range within it, or leave --range out",
            reason="bad-range",
        )
    return Span(content=content, start=wanted.first, stop=last + 1)
