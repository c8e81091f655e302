"""The tables of services in docs/stores.md, from what is known of each. Pure: records to text.

The rest of that page is written by hand, around the marks of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sovgate.clouds import services as others
from sovgate.clouds.aws.profiles import COLUMNS, PROFILES, READ, Fact, Source
from sovgate.surface.reference import cell, table

SOURCE = "docs/stores.md"
_BEGIN = (
    "<!-- Made from {} by `python -m sovgate.surface`. Do not edit: change that\n     and run this "
    "again; `--check` compares. -->\n\n"
)
BEGIN = _BEGIN.format("sovgate/clouds/aws/profiles.py")
BEGIN_OTHERS = _BEGIN.format("sovgate/clouds/services.py")
END = "<!-- End of what is made. -->\n"


class _Row(Protocol):
    @property
    def title(self) -> str: ...

    def fact(self, column: str) -> Fact: ...


def page(written: str) -> str:
    """The page with its tables anew. Raises ValueError where a mark is missing."""
    written = _between(written, BEGIN, _table(PROFILES, COLUMNS))
    return _between(written, BEGIN_OTHERS, _table(others.SERVICES, others.COLUMNS))


def _between(written: str, begin: str, table: str) -> str:
    before, begun, rest = written.partition(begin)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"{SOURCE} has lost a mark: {begin!r} or {END!r}")
    return before + begin + table + "\n" + END + after


def _table(made: Sequence[_Row], columns: Mapping[str, str]) -> str:
    """The table, and its sources by number."""
    sources: list[Source] = []
    rows = [_row(one, columns, sources) for one in made]
    listed = "\n".join(f"{number}. {_source(one)}" for number, one in enumerate(sources, 1))
    head = ("service", "run here", *columns.values())
    return f"{table(head, rows)}\nSources, all read on {READ}:\n\n{listed}\n"


def _row(one: _Row, columns: Mapping[str, str], sources: list[Source]) -> tuple[str, ...]:
    facts = [one.fact(column) for column in columns]
    here = next((f.source.dated for f in facts if f.source is not None and f.source.here), "no")
    return (one.title, here, *(_said(fact, sources) for fact in facts))


def _said(fact: Fact, sources: list[Source]) -> str:
    """A fact and the number of its source; none for what was run here, or is not said."""
    if fact.source is None or fact.source.here:
        return cell(fact.says)
    if fact.source not in sources:
        sources.append(fact.source)
    return f"{cell(fact.says)} ({sources.index(fact.source) + 1})"


def _source(one: Source) -> str:
    where = f"<{one.page}>" if one.page.startswith("https://") and " " not in one.page else one.page
    return f"{where}, {f'of {one.dated}' if one.dated else 'which gives no date'}"
