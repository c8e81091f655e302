"""Where a zone's region has a service, by the catalogue, or where a person says that it is.

What keys and stores of every cloud share. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from sovgate.errors import ConfigError, ResidencyMismatch
from sovgate.regions import DECLARED, Region, all_regions, lookup
from sovgate.transport.client import origin

#: For an option of a URI whose value is checked by whoever takes it.
ANY = (r"(?s:.*)", "a value")


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

    def other(self, service: str) -> Region | None:
        """The catalogued region that a custom endpoint belongs to, if that is not the declared one;
        of a host that serves several, any of them."""
        if self.catalogued or not self.provider:
            return None
        host = urlsplit(self.url).hostname or ""
        owners = [row for row in all_regions() if row.serves(service, host)]
        return None if not owners or self.declared in owners else owners[0]

    def refuse_elsewhere(self, service: str, store: str) -> None:
        """Raises ResidencyMismatch where a custom endpoint is one of another catalogued region."""
        other = self.other(service)
        if other is not None:
            raise ResidencyMismatch(
                f"the endpoint of {store} belongs to {other.id}",
                why=f"the zone was declared as {self.declared.id if self.declared else self.site}",
                fix="remove endpoint= from the URI, or correct the zone's region",
                reason="endpoint-elsewhere",
            )


def endpoint(
    service: str, region: str | None, custom: str | None, *, what: str = "store", label: str = ""
) -> Endpoint:
    """Where a service is for a zone in `region` ("provider:region"), or `custom`, which is checked.
    `label` is what stands before the catalogued host ("account.").

    Raises ConfigError where neither says it: an endpoint is never guessed.
    """
    site = region if region is not None and region.startswith(f"{DECLARED}:") else None
    row = lookup(region) if region is not None and site is None else None
    if custom is not None:
        return Endpoint(url=origin(custom, what=what), declared=row, catalogued=False, site=site)
    if site is not None:
        raise ConfigError(
            f"{site} has no {service} endpoint that the catalogue knows",
            why="the project declares this region by itself",
            fix=f"name it in the URI of the {what}: ?endpoint=https://HOST",
            reason="no-endpoint",
        )
    if row is None:
        raise ConfigError(
            f"the region of the {what} is not known",
            why="no zone names it",
            fix="name the zone",
            reason="no-region",
        )
    host = row.endpoint(service)
    if host is None:
        raise ConfigError(
            f"{row.id} has no {service} endpoint in the catalogue",
            fix=f"name it in the URI of the {what}; the location is then only declared",
            reason="no-endpoint",
        )
    return Endpoint(url=f"https://{label}{host}", declared=row, catalogued=True)


def split_options(
    text: str, allowed: Mapping[str, tuple[str, str]], *, what: str = "store"
) -> tuple[str, dict[str, str]]:
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
            f"what follows ? in the {what} URI is not name=value",
            fix=f"write ?NAME=VALUE; the options are {known}",
            reason="bad-uri",
        ) from error
    options = dict(pairs)
    strange = sorted(set(options) - set(allowed))
    if strange or len(options) != len(pairs):
        raise ConfigError(
            f"the {what} URI has an option {strange[0][:40]!r}"
            if strange
            else f"the {what} URI has an option twice",
            fix=f"the options are {known}, each once",
            reason="bad-uri",
        )
    for name, value in options.items():
        pattern, form = allowed[name]
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ConfigError(f"{name}= in the {what} URI is not {form}", reason="bad-uri")
    return rest, options
