"""Countries and groups of countries: what `stays-in` may name. Reads `data/groups.json` once.

Groups hold exactly the codes that their source lists. A territory with a code of its own (GP, AX,
HK) is in none of its state's groups: to be left out denies, to be let in wrongly would not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sovgate.errors import ConfigError, Where

#: Longer text is no name of ours. Bounds what an error has to compare.
MAX_TEXT = 128

#: What people write for a country whose code is another.
_COMMON_CODES = {"UK": "GB", "EL": "GR", "USA": "US", "GER": "DE", "SUI": "CH", "EUROPE": "EU"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A country alone (`members` is itself), or a treaty's members, sorted."""

    code: str
    name: str
    members: tuple[str, ...]
    source: str
    date: str


@cache
def _table() -> dict[str, Group]:
    path = Path(__file__).parent / "data" / "groups.json"
    data = json.loads(path.read_bytes())
    table = {
        code: Group(
            code=code,
            name=row["name"],
            members=tuple(row["members"]),
            source=row["source"],
            date=row["date"],
        )
        for code, row in data["groups"].items()
    }
    for code, name in data["countries"].items():
        table[code] = Group(
            code=code,
            name=name,
            members=(code,),
            source=data["countries-source"],
            date=data["date"],
        )
    return table


@cache
def groups_of(country: str) -> tuple[str, ...]:
    """The country, then the groups that have it, e.g. "NO" -> ("NO", "EEA", "EFTA").

    Empty for a code that is none ("ZZ"): such a place is in no group.
    """
    table = _table()
    if country not in table or table[country].members != (country,):
        return ()
    wider = sorted(g.code for g in table.values() if country in g.members and g.code != country)
    return (country, *wider)


def known_group(name: str) -> bool:
    """Whether a `stays-in` value is a country code or a group: exactly so, upper case."""
    return name in _table()


def all_groups() -> tuple[Group, ...]:
    """The groups of several countries, then every country; each sorted by code."""
    return tuple(sorted(_table().values(), key=lambda g: (g.members == (g.code,), g.code)))


def group(name: str, *, where: Where | None = None) -> Group:
    """The country or group of that name. ConfigError "unknown-group", with a did-you-mean."""
    found = _table().get(name)
    if found is not None:
        return found
    raise ConfigError(
        f"{quoted(name)} is neither a country code nor a group",
        why="stays-in takes ISO 3166-1 alpha-2 codes (DE, NO, GB) and EU, EEA, EFTA, in capitals",
        fix=_suggest(name),
        where=where,
        reason="unknown-group",
    )


def quoted(text: str) -> str:
    """A stranger's text for an error: cut, and anything but ASCII written as its escape."""
    shown = ascii(text[:64])
    return shown + "…" if len(text) > 64 else shown


def _suggest(name: str) -> str:
    import difflib

    table = _table()
    given = name[:MAX_TEXT].strip().upper()
    if given in _COMMON_CODES:
        return f"did you mean {_COMMON_CODES[given]}?"
    if given in table:
        return f"did you mean {given}?"
    by_name = {g.name.upper(): g.code for g in table.values()}
    close = difflib.get_close_matches(given, by_name, n=1, cutoff=0.8) if len(given) > 3 else []
    if close:
        return f"did you mean {by_name[close[0]]} ({table[by_name[close[0]]].name})?"
    codes = [] if len(given) > 3 else difflib.get_close_matches(given, table, n=3, cutoff=0.5)
    if codes:
        named = [f"{code} ({table[code].name})" for code in sorted(codes)]
        return f"did you mean {' or '.join(named)}?"
    return "`sovgate regions list` shows the countries and groups of every region"
