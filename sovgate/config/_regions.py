"""`regions:` of sovgate.yaml: sites that the catalogue lacks, by the project's own word. No I/O.

What a project says of a site is never better known than `declared` (RULES 15), and no name of one
can be taken for a region, a provider, a country or a group that the catalogue has.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping

from sovgate import regions
from sovgate.errors import ConfigError
from sovgate.formats.sections import Section, did_you_mean
from sovgate.formats.yaml12 import load
from sovgate.regions import DECLARED, Region

MAX_SITES = 64
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]{1,200}")
_SOURCE = "the contract of 2026"
_LINE = "one line of at most 200 characters"
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def declared(top: Section) -> dict[str, Region]:
    """`declared:NAME` -> what the file says of it. Raises ConfigError with the line."""
    found = {
        f"{DECLARED}:{name}": _site(name, section) for name, section in top.sections("regions")
    }
    if len(found) > MAX_SITES:
        top.refuse("regions", f"the file declares more than {MAX_SITES} regions")
    return found


def zone_region(section: Section, sites: Mapping[str, Region]) -> Region:
    """The region of a zone: of the file's own, or of the catalogue. Raises ConfigError."""
    text = section.text("region")
    if text in sites:
        return sites[text]
    where = section.document.where((*section.path, "region"))
    if text.startswith(f"{DECLARED}:"):
        names = list(sites)
        raise ConfigError(
            f"the region {text[:128]!a} is not declared in this file",
            why="a region of one's own stands under regions:, with its country and operator",
            fix=(did_you_mean(text, names) if names else None)
            or f"add it to regions:, for example {EXAMPLE_REGION}",
            where=where,
            reason="unknown-region",
        )
    return regions.lookup(text, where=where)


def declared_in(text: str, name: str) -> dict[str, Region]:
    """The same of one entry by itself, `fra-dc1: {country: …}`. `name` is what errors call it.

    Raises ConfigError.
    """
    return declared(Section(load(f"regions:\n  {text}\n".encode(), name)))


#: One entry as it stands in the file.
EXAMPLE_REGION = (
    'fra-dc1: {country: DE, operator: Bank GmbH, controlled-from: DE, source: "https://…", '
    "date: 2026-11-01}"
)


def _site(name: str, section: Section) -> Region:
    if not _NAME.fullmatch(name):
        section.refuse(
            None,
            f"{name[:80]!a} cannot be the name of a region",
            fix="use a-z, 0-9 and hyphens, at most 63, for example fra-dc1",
        )
    _refuse_known(name, section)
    country = _country(section, "country")
    controlled = _country(section, "controlled-from")
    operator = section.text("operator", pattern=_TEXT, form=_LINE, example="Bank GmbH")
    source, date = (
        section.text("source", pattern=_TEXT, form=_LINE, example=_SOURCE),
        _date(section),
    )
    section.done()
    return Region(
        id=f"{DECLARED}:{name}",
        provider=DECLARED,
        region=name,
        name=name,
        country=country,
        groups=regions.groups_of(country),
        operator=operator,
        operator_name=operator,
        operator_country=controlled,
        operator_control="as this project declares it",
        operator_source=source,
        operator_primary=False,
        operator_date=date,
        partition=DECLARED,
        dns_suffix="",
        endpoints=(),
        source=source,
        date=date,
        note="the project's own word: nobody was asked, so it is known as `declared` at most",
    )


def _refuse_known(name: str, section: Section) -> None:
    """A name that means something else already would mislead whoever reads a decision."""
    what = None
    if name in regions.providers() or name == DECLARED:
        what = "a provider"
    elif regions.known_group(name.upper()):
        what = "a country or a group of countries"
    elif any(row.region == name for row in regions.all_regions()):
        what = "a region of the catalogue"
    if what is not None:
        section.refuse(
            None,
            f"a region of your own cannot be called {name!a}, which is {what}",
            fix=f"give it a name of its own, for example {name}-dc1",
        )


def _country(section: Section, key: str) -> str:
    code = section.text(key)
    found = regions.group(code, where=section.document.where((*section.path, key)))
    if found.members != (code,):
        section.refuse(
            key,
            f"{section.title(key)}: {code} is a group of countries, and a site stands in one",
            fix=f"name the country, for example {key}: {found.members[0]}",
        )
    return code


def _date(section: Section) -> str:
    text = section.text("date", pattern=_DATE, form="a date", example="2026-11-01")
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        section.refuse("date", f"{section.title('date')}: there is no day {text}")
    return text
