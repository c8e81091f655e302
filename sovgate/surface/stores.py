"""The table of services in docs/stores.md, from what is known of each. Pure: records to text.

The rest of that page is written by hand, around two marks.
"""

from __future__ import annotations

from sovgate.clouds.aws.profiles import COLUMNS, PROFILES, READ, Fact, Profile, Source
from sovgate.surface.reference import cell, table

SOURCE = "docs/stores.md"
BEGIN = (
    "<!-- Made from sovgate/clouds/aws/profiles.py by `python -m sovgate.surface`. Do not edit: "
    "change that\n     and run this again; `--check` compares. -->\n\n"
)
END = "<!-- End of what is made. -->\n"


def page(written: str) -> str:
    """The page with its table anew. Raises ValueError where a mark is missing."""
    before, begun, rest = written.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"{SOURCE} has lost a mark: {BEGIN!r} or {END!r}")
    return before + BEGIN + services() + "\n" + END + after


def services() -> str:
    """The table, and its sources by number."""
    sources: list[Source] = []
    rows = [_row(one, sources) for one in PROFILES]
    listed = "\n".join(f"{number}. {_source(one)}" for number, one in enumerate(sources, 1))
    head = ("service", "run here", *COLUMNS.values())
    return f"{table(head, rows)}\nSources, all read on {READ}:\n\n{listed}\n"


def _row(one: Profile, sources: list[Source]) -> tuple[str, ...]:
    facts = [one.fact(column) for column in COLUMNS]
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
