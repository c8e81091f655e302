"""Where a zone's region has a service, by the catalogue, or where a person says that it is.

For the clouds that are spoken to by plain HTTP. No I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from sovgate.errors import ConfigError, ResidencyMismatch
from sovgate.regions import DECLARED, Region, all_regions, lookup
from sovgate.transport.client import origin


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a client goes.

    declared   the row of the zone's region, if one was named
    catalogued whether `url` is that row's own endpoint, over TLS
    site       "declared:NAME", where the zone lies in a region that its project declares by itself
    """

    url: str
    declared: Region | None
    catalogued: bool
    site: str | None = None

    @property
    def provider(self) -> str:
        """Whose credentials it gets; "" where nobody says what it belongs to."""
        if self.declared is not None:
            return self.declared.provider
        return DECLARED if self.site is not None else ""

    def refuse_elsewhere(self, service: str, store: str) -> None:
        """Raises ResidencyMismatch where a custom endpoint is one of another catalogued region."""
        if self.catalogued or not self.provider:
            return
        host = urlsplit(self.url).hostname or ""
        owners = [row for row in all_regions() if row.serves(service, host)]
        if owners and self.declared not in owners:
            raise ResidencyMismatch(
                f"the endpoint of {store} belongs to {owners[0].provider}",
                why=f"the zone was declared as {self.declared.id if self.declared else self.site}",
                fix="remove endpoint= from the URI, or correct the zone's region",
                reason="endpoint-elsewhere",
            )


def endpoint(service: str, region: str | None, custom: str | None, *, label: str = "") -> Endpoint:
    """Where a store of a zone in `region` is, or `custom`, which is checked. `label` is what stands
    before the catalogued host ("account.").

    Raises ConfigError where neither says it: an endpoint is never guessed.
    """
    site = region if region is not None and region.startswith(f"{DECLARED}:") else None
    row = lookup(region) if region is not None and site is None else None
    if custom is not None:
        return Endpoint(url=origin(custom, what="store"), declared=row, catalogued=False, site=site)
    if row is None:
        raise ConfigError(
            "the region of the store is not known"
            if site is None
            else f"{site} has no {service} endpoint that the catalogue knows",
            why="no zone names it"
            if site is None
            else "the project declares this region by itself",
            fix="name the zone"
            if site is None
            else "name it in the URI of the store: ?endpoint=https://HOST",
            reason="no-region" if site is None else "no-endpoint",
        )
    host = row.endpoint(service)
    if host is None:
        raise ConfigError(
            f"{row.id} has no {service} endpoint in the catalogue",
            fix="name it in the URI of the store; the location is then only declared",
            reason="no-endpoint",
        )
    return Endpoint(url=f"https://{label}{host}", declared=row, catalogued=True)


def split_options(text: str, allowed: dict[str, tuple[str, str]]) -> tuple[str, dict[str, str]]:
    """`rest?name=value&…` -> rest, options. `allowed`: name -> (pattern, what it is in words).

    Raises ConfigError, reason "bad-uri".
    """
    rest, mark, query = text.partition("?")
    if not mark:
        return rest, {}
    known = ", ".join(sorted(allowed))
    try:
        pairs = parse_qsl(query or "?", strict_parsing=True, max_num_fields=8)
    except ValueError as error:
        raise ConfigError(
            "what follows ? in the store URI is not name=value",
            fix=f"write ?NAME=VALUE; the options are {known}",
            reason="bad-uri",
        ) from error
    options = dict(pairs)
    strange = sorted(set(options) - set(allowed))
    if strange or len(options) != len(pairs):
        raise ConfigError(
            f"the store URI has an option {strange[0][:40]!r}"
            if strange
            else "the store URI has an option twice",
            fix=f"the options are {known}, each once",
            reason="bad-uri",
        )
    for name, value in options.items():
        pattern, form = allowed[name]
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ConfigError(f"{name}= in the store URI is not {form}", reason="bad-uri")
    return rest, options
