"""The rows of `data/*.json` as records, and the lookup. Reads its own data files, nothing else.

Text is never corrected, only answered with a suggestion: it goes into signed statements, and a
name that was nearly right is how a model ends up in the wrong country.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from sovgate.errors import ConfigError, Where
from sovgate.regions._record import Claim, Region
from sovgate.regions.groups import MAX_TEXT, groups_of, quoted

#: One file a family. `aws.json` is generated (generate.py); the others are written by hand.
FILES = ("aws.json", "google.json", "azure.json", "europe.json", "others.json")

#: What stands before the colon of a region that a project file declares by itself.
DECLARED = "declared"
_DATA = Path(__file__).parent / "data"
_SEE = "`sovgate regions list` shows them all"


def _read(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((_DATA / name).read_bytes())
    data.pop("//", None)
    return data


@cache
def _providers() -> dict[str, dict[str, Any]]:
    return {name: row for file in FILES for name, row in _read(file).items()}


@cache
def _operators() -> dict[str, dict[str, Any]]:
    return _read("operators.json")


@cache
def _index() -> dict[str, tuple[str, str]]:
    return {
        f"{provider}:{region}": (provider, region)
        for provider, row in _providers().items()
        for region in row["regions"]
    }


def _hosts(region: str, hosts: str | list[str]) -> tuple[str, ...]:
    each = [hosts] if isinstance(hosts, str) else hosts
    return tuple(host.replace("{region}", region) for host in each)


@cache
def _build(key: str) -> Region:
    provider, region = _index()[key]
    # A region's own line overrides what its provider says of all.
    row = {**_providers()[provider], **_providers()[provider]["regions"][region]}
    operator = _operators()[row["operator"]]
    claims = [*_providers()[provider].get("claims", ())]
    claims += _providers()[provider]["regions"][region].get("claims", ())
    return Region(
        id=key,
        provider=provider,
        region=region,
        name=row["name"],
        country=row["country"],
        groups=groups_of(row["country"]),
        operator=row["operator"],
        operator_name=operator["name"],
        operator_country=operator["country"],
        operator_control=operator["control"],
        operator_source=operator["source"],
        operator_primary=operator["primary"],
        operator_date=operator["date"],
        partition=row["partition"],
        dns_suffix=row["dns-suffix"],
        endpoints=tuple((s, _hosts(region, h)) for s, h in row["endpoints"].items()),
        source=row["source"],
        date=row["date"],
        note=row.get("note"),
        claims=tuple(
            Claim(
                scheme=c["scheme"],
                value=c["value"],
                claimed_by=c["claimed-by"],
                source=c["source"],
                date=c["date"],
            )
            for c in claims
        ),
    )


def providers() -> tuple[str, ...]:
    """The names that may stand before the colon, sorted."""
    return tuple(sorted(_providers()))


def provider_title(provider: str) -> str:
    """What the provider calls itself. KeyError for a name that is not in `providers()`."""
    title: str = _providers()[provider]["title"]
    return title


def all_regions() -> tuple[Region, ...]:
    """Every row, sorted by id."""
    return tuple(_build(key) for key in sorted(_index()))


def provider_regions(provider: str) -> tuple[Region, ...]:
    """The rows of one provider, sorted by id; empty where there is no such provider."""
    return tuple(_build(key) for key in sorted(_index()) if _index()[key][0] == provider)


def lookup(text: str, *, where: Where | None = None) -> Region:
    """The row `provider:region`, character by character.

    Raises ConfigError, reason "unknown-region", or "bare-region" for a region without its provider;
    the fix names what was probably meant.
    """
    if text in _index():
        return _build(text)
    if ":" not in text:
        raise _bare(text, where)
    provider, _, region = text.partition(":")
    if provider == DECLARED:
        raise ConfigError(
            f"the region {quoted(text)} is not in the catalogue",
            why="a region of one's own is declared under regions: in sovgate.yaml",
            fix="declare it there, or run this in the folder of the project that does",
            where=where,
            reason="unknown-region",
        )
    if provider in _providers():
        why = f"{_providers()[provider]['title']} has no such region in the catalogue"
    else:
        why = f"no provider {quoted(provider)}; there are {', '.join(providers())}"
    raise ConfigError(
        f"the region {quoted(text)} is not in the catalogue",
        why=_strange(text) or why,
        fix=_suggest(text, provider, region),
        where=where,
        reason="unknown-region",
    )


def _having(region: str) -> list[Region]:
    return [_build(key) for key, (_, name) in sorted(_index().items()) if name == region]


def _bare(text: str, where: Where | None) -> ConfigError:
    having = _having(text)
    if not having:
        return ConfigError(
            f"the region {quoted(text)} is not in the catalogue",
            why=_strange(text) or "a region is written provider:region, e.g. aws:us-east-1",
            fix=_suggest(text, "", text),
            where=where,
            reason="unknown-region",
        )
    places = " and ".join(f"{r.name} ({r.country}) at {r.provider}" for r in having)
    return ConfigError(
        f"the region {quoted(text)} lacks its provider",
        why=f"names repeat between providers: {text} is {places}",
        fix="write " + " or ".join(r.id for r in having),
        where=where,
        reason="bare-region",
    )


def _strange(text: str) -> str | None:
    """What the eye does not see: look-alike letters, spaces, capitals, length."""
    import unicodedata

    if len(text) > MAX_TEXT:
        return f"it has {len(text)} characters, and no region more than {MAX_TEXT}"
    odd = next((c for c in text if not "!" <= c <= "~"), None)
    if odd is not None:
        name = unicodedata.name(odd, "a control character")
        return f"it has U+{ord(odd):04X} ({name}) at character {text.index(odd) + 1}"
    return "regions are written in small letters" if text != text.lower() else None


def _suggest(text: str, provider: str, region: str) -> str:
    """The likely rows with their countries: a suggestion must not move a zone unseen."""
    close = _close(text, provider, region) if len(text) <= MAX_TEXT else []
    if not close:
        return _SEE
    likely = " or ".join(f"{r.id} ({r.name}, {r.country})" for r in map(_build, close))
    return f"did you mean {likely}? {_SEE}"


def _close(text: str, provider: str, region: str) -> list[str]:
    import difflib
    import unicodedata

    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    folded = "".join(folded.split())
    if folded in _index():
        return [folded]
    known = [key for key, (of, _) in _index().items() if of == provider]
    # Under exactly that name elsewhere: the slip is likely the provider.
    elsewhere = [r.id for r in _having(region)]
    if elsewhere:
        spelt = difflib.get_close_matches(folded, known, n=1, cutoff=0.9)
        near = difflib.get_close_matches(provider, _providers(), n=1, cutoff=0.6)
        return spelt + ([key for key in elsewhere if _index()[key][0] in near] or elsewhere)[:3]
    if not provider:
        names = {name for _, name in _index().values()}
        return [
            r.id for name in difflib.get_close_matches(folded, names, n=2) for r in _having(name)
        ][:4]
    return difflib.get_close_matches(folded, known or _index(), n=3, cutoff=0.75)
